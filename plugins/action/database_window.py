# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils import _database_dump
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._action import NodeAction, Result
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._outcome import StepFailed


class ActionModule(NodeAction):
    """Stop, dump and start as one job on the controller; judges the dump."""

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/database_window.yml."""
        attach = arguments["attach"]
        job_id = f"{attach or arguments['run_id']}-window"
        if arguments["state"] == "cancelled":
            arguments = {**arguments, "dump": {}, "mongodb_connections": {}}
            return {"changed": False} if self.check_mode else self.call_node({**arguments, "_operation": "cancel", "_job_id": job_id}, variables)
        names = _database_dump.names(arguments)
        dump_folder = f"{arguments['staging_directory']}\\{arguments['run_id']}\\files\\database"
        if self.check_mode:
            return {"changed": True, "dump_folder": dump_folder}
        spec = {
            **{key: arguments[key] for key in ("run_id", "executable", "staging_directory", "stop_timeout", "dump_timeout", "start_timeout", "max_downtime")},
            "leftover_timeout": arguments["leftover_timeout"],
            "service": arguments["service_name"],
            "bin_folder": arguments["executable"].rpartition("\\")[0],
            "dump_folder": dump_folder,
            "expected_bytes": arguments["expected_megabytes"] * 1000000,
            "space_reserve": arguments["space_reserve"] * 1000000,
            **_database_dump.method(arguments),
        }
        arguments = {**arguments, "dump": {}, "mongodb_connections": {}}
        # Leftovers are waited for twice, before the dump and before the start.
        limits = ("stop_timeout", "dump_timeout", "start_timeout", "leftover_timeout", "leftover_timeout")
        total = sum(arguments[name] for name in limits) + 300
        try:
            report = self.run_job(job_id, spec, total, arguments, variables, attach=bool(attach))
        except StepFailed as failure:
            failure.detail["downtime"] = downtime(failure.detail.get("marks", {}))
            # The full list belongs to the dump, which has failed.
            failure.detail.pop("files", None)
            raise
        if attach:
            self.call_node({**arguments, "_operation": "adopt"}, variables)
        result = {
            "changed": True,
            "prior_state": report["prior_state"],
            "restored": report["restored"],
            "states": report["states"],
            "downtime": downtime(report["marks"]),
            "dump_folder": dump_folder,
            "events": report["events"],
        }
        return _database_dump.judged(report, names, result)


def downtime(marks: t.Mapping[str, float]) -> dict[str, float]:
    """Seconds of a window from its marks: total, stop, dump, start and the rest; all 0 when the service was not stopped by this run."""
    if "stop_requested" not in marks:
        return dict.fromkeys(("total", "stop", "dump", "start", "rest"), 0.0)
    # A service that was left down has been down as far as the marks go.
    end = marks.get("running", max(marks.values()))
    parts = {
        "total": end - marks["stop_requested"],
        "stop": marks.get("stopped", marks.get("start_requested", end)) - marks["stop_requested"],
        "dump": marks.get("dump_ended", 0.0) - marks["dump_started"] if "dump_ended" in marks else 0.0,
        "start": end - marks["start_requested"] if "start_requested" in marks else 0.0,
    }
    parts["rest"] = parts["total"] - parts["stop"] - parts["dump"] - parts["start"]
    return {name: round(seconds, 3) for name, seconds in parts.items()}

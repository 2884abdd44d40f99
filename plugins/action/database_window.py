# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._action import NodeAction, Result
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import StepFailed
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._database import _dump, _dump_record
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._node import _node_job

# Arguments that the module itself reads. The job gets the others, because a number of bytes can exceed an int.
_OF_THE_MODULE = ("state", "run_id", "attach", "executable", "staging_directory")
_OUTPUT_CHARACTERS = 2000
# Time limit in seconds for the checks of an armed job before it is ready: a verb of the service, folders.
_ARM_SECONDS = 600
# Short, because the services of the other nodes are stopped while this is tried again.
_OPEN_PATIENCE_SECONDS = 60.0
_READY = "ready"


class ActionModule(NodeAction):
    """Stops the service, dumps the database and starts the service as one job on the controller. Checks the dump."""

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/database_window.yml."""
        attach = arguments["attach"]
        of_module = {key: arguments[key] for key in _OF_THE_MODULE}
        job_id = f"{attach or arguments['run_id']}-window"
        if arguments["state"] == "cancelled":
            if self.check_mode:
                return {"changed": False}
            result = self.call_node({**of_module, "_operation": "cancel", "_job_id": job_id}, variables)
            if arguments["armed"]:
                # The job has not done anything yet, so its log is not needed.
                self.call_node({**of_module, "_operation": "discard", "_job_id": job_id}, variables)
            return result
        spec = _dump.build_job_spec(arguments)
        if self.check_mode:
            return {"changed": True, "dump_folder": spec["dump_folder"]}
        judging = {
            "required": _dump.list_databases(arguments),
            "accepted_exit_codes": arguments["emongodump_exit_codes"],
            "removed": arguments["removed_collections"],
        }
        spec["memo"] = _dump_record.write_memo(arguments["plan"], arguments["mongodb"], judging)
        last = _node_job.LastRun(**arguments["last_run"])
        if arguments["state"] == "armed":
            self.run_job(job_id, spec, _ARM_SECONDS, of_module, variables, last=last, until=_READY)
            return {"changed": True, "dump_folder": spec["dump_folder"]}
        if arguments["state"] == "opened":
            opening = {**of_module, "_operation": "open", "_job_id": job_id}
            self.call_node(opening, variables, patience=_OPEN_PATIENCE_SECONDS)
            return {"changed": True, "dump_folder": spec["dump_folder"]}
        # The job waits twice for processes to end: before the dump and before the start.
        limits = ("stop_timeout", "dump_timeout", "start_timeout", "leftover_timeout", "leftover_timeout")
        total = sum(arguments[name] for name in limits) + 300
        try:
            report = self.run_job(
                job_id,
                spec,
                total,
                of_module,
                variables,
                attach=bool(attach) or arguments["armed"],
                last=last,
            )
        except StepFailed as failure:
            failure.detail["downtime"] = _dump.measure_downtime(failure.detail.get("marks", {}))
            # A complete dump is archived, also if a later step has failed, because it has cost a downtime.
            usable, why = _dump.judge_ended(failure.reason, failure.detail, **judging)
            if usable:
                failure.detail |= usable
            elif "exit_code" in failure.detail:
                failure.detail["unusable"] = why
            # The complete lists were needed only for the check.
            failure.detail.pop("files", None)
            failure.detail.pop("last", None)
            # The lists are removed, because Ansible prints the whole result of a failed task.
            if "output" in failure.detail:
                failure.detail["output"] = failure.detail["output"][-_OUTPUT_CHARACTERS:]
            raise
        if attach:
            self.call_node({**of_module, "_operation": "adopt"}, variables)
        result = {
            "changed": True,
            "prior_state": report["prior_state"],
            "restored": report["restored"],
            "states": report["states"],
            "downtime": _dump.measure_downtime(report["marks"]),
            "dump_folder": spec["dump_folder"],
            "events": report["events"],
        }
        return _dump.judge_dump(report, result=result, **judging)

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._action import NodeAction, Result
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._database import _dump, _dump_record
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._node import _node_job


class ActionModule(NodeAction):
    """Dumps a self-managed MongoDB while all services run, and checks the dump."""

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/database_dump.yml."""
        spec = _dump.build_job_spec(arguments)
        dump_folder = spec["dump_folder"]
        if self.check_mode:
            return {"changed": True, "dump_folder": dump_folder}
        judging = {"required": _dump.list_databases(arguments)}
        spec["memo"] = _dump_record.write_memo(arguments["plan"], arguments["mongodb"], judging)
        report = self.run_job(
            f"{arguments['run_id']}-dump",
            spec,
            arguments["dump_timeout"] + 300,
            # The module needs no other arguments, and a number of bytes may be too large for its int.
            {**{key: arguments[key] for key in ("run_id", "staging_directory")}, "dump": {}},
            variables,
            last=_node_job.LastRun(**arguments["last_run"]),
        )
        return {
            "changed": True,
            **_dump.judge_dump(report, result={"dump_folder": dump_folder, "events": report["events"]}, **judging),
        }

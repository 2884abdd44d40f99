# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils import _database_dump
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._action import NodeAction, Result


class ActionModule(NodeAction):
    """Dumps a self-managed MongoDB while every service runs; judges the dump."""

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/database_dump.yml."""
        dump_folder = f"{arguments['staging_directory']}\\{arguments['run_id']}\\files\\database"
        if self.check_mode:
            return {"changed": True, "dump_folder": dump_folder}
        spec = {
            **{key: arguments[key] for key in ("run_id", "staging_directory", "dump_timeout")},
            "dump_folder": dump_folder,
            "expected_bytes": 0,
            "space_reserve": arguments["space_reserve"] * 1000000,
            **_database_dump.method(arguments),
        }
        names = _database_dump.names(arguments)
        report = self.run_job(
            f"{arguments['run_id']}-dump", spec, arguments["dump_timeout"] + 300, {**arguments, "dump": {}, "mongodb_connections": {}}, variables
        )
        return {"changed": True, **_database_dump.judged(report, names, {"dump_folder": dump_folder, "events": report["events"]})}

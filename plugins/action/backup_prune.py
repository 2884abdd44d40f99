# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._action import NodeAction, Result
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._inventory import raw_variables
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._process import describe_operator
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._screen import show_progress
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.text import counted, size
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._retention import _orders


class ActionModule(NodeAction):
    """Deletes on a node exactly what the plan names for it."""

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/backup_prune.yml."""
        host, plan = variables["inventory_hostname"], arguments["plan"]
        held = _read_held(arguments["checked"], plan, variables)
        orders = _orders.list_orders(plan, host, held)
        # As a text, because Ansible writes the arguments of a module to the event log, and the plan of a fleet is
        # longer than an entry of that log can be.
        answer = self.call_node(
            {
                **{key: arguments[key] for key in ("state", "folder", "run_id")},
                "plan": {},
                "_backups": json.dumps({"backups": orders}),
                "_node": host,
                "_who": describe_operator(),
            },
            variables,
        )
        if arguments["state"] == "checked":
            for one in answer["held"]:
                self.note_warning(host, f"{one['name']} is in use and stays on every node: {one['why']}")
        elif arguments["state"] == "finished" and orders:
            verb = "would delete" if self.check_mode else "deleted"
            total = size(sum(file["bytes"] for order in orders for file in (*order["files"], *order["others"])))
            show_progress(host, f"{verb} {counted(len(orders), 'backup')}, {total}")
        return answer


def _read_held(name: str, plan: t.Mapping[str, t.Any], variables: dict[str, t.Any]) -> dict[str, str]:
    if not name:
        return {}
    return _orders.read_held({host: raw_variables(variables, host).get(name) or {} for host in plan["nodes"]})

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._action import NodeAction, Result
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._screen import show_progress
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._node import _node_code

# A lease that is not released keeps a guard on the node until its deadline.
_PATIENCE_SECONDS = {"held": 0.0, "opened": 30.0, "released": 60.0}


class ActionModule(NodeAction):
    """Takes or releases the lease of a node, or informs the node that the window is open."""

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/maintenance_lease.yml."""
        code = {"_code": _node_code.scripts()} if arguments["state"] == "held" else {}
        result = self.call_node({**arguments, **code}, variables, _PATIENCE_SECONDS[arguments["state"]])
        if followed := result.pop("followed", None):
            result |= {"states": followed.get("states", []), "why": followed.get("why", "")}
            result["events"] = [*followed["events"], *result.get("events", ())]
        for event in result.get("events", ()):
            level = "" if event["level"] == "INFO" else f"{event['level']} "
            show_progress(variables["inventory_hostname"], f"{level}{event['text']}", event["at"])
        return result

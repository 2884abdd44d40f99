# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time
import typing as t

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._action import NodeAction, Result
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._screen import show_progress
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._node import _node_code

# A lease that is not released keeps a guard on the node until its deadline.
_PATIENCE_SECONDS = 60.0


class ActionModule(NodeAction):
    """Takes or releases the permission to stop the service."""

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/maintenance_lease.yml."""
        code = {"_code": _node_code.scripts()} if arguments["state"] == "held" else {}
        patience = _PATIENCE_SECONDS if arguments["state"] == "released" else 0.0
        result = self.call_node({**arguments, **code}, variables, patience)
        for event in result.get("events", ()):
            show_progress(variables["inventory_hostname"], f"{event['level']} {event['text']}", event["at"])
        # Taken before this moment, so the node's own count is never ahead of what the gate
        # thinks by more than the call.
        return {**result, "clock": time.monotonic()} if arguments["state"] == "held" else result

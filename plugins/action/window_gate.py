# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time
import typing as t

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._action import NodeAction, Result
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._inventory import raw_variables
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._fleet import _gate


class ActionModule(NodeAction):
    """Opens the window only if every node has reported that it is ready."""

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/window_gate.yml."""
        plan = arguments["plan"]
        if self.check_mode:
            return {"changed": False, "open": True}

        def of_nodes(name: str) -> dict[str, t.Any]:
            return {
                host: raw_variables(variables, host).get(name) or {}
                for host, node in plan["nodes"].items()
                if not node.get("standby")
            }

        leases, stops = of_nodes(arguments["leases"]), of_nodes(arguments["stops"])
        now = time.monotonic()
        age = now - min((stop["clock"] for stop in stops.values() if "clock" in stop), default=now)
        _gate.check(plan["run_id"], plan["controller"], leases, stops, age, arguments["open_within"])
        return {"changed": False, "open": True}

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time
import typing as t

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._action import NodeAction, Result
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._screen import show_progress, warn
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import StepFailed

# Below WinRM's operation time-out, so that each call on the node is short.
_WAIT_SECONDS = 12.0


class ActionModule(NodeAction):
    """Waits until no workflow runs on the node."""

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/workflow_drain.yml."""
        deadline = time.monotonic() + arguments["timeout"]
        first: list[dict[str, t.Any]] | None = None
        while True:
            left = max(0.0, deadline - time.monotonic())
            wait = 0.0 if first is None else min(_WAIT_SECONDS, left)
            running = self.call_node({**arguments, "_wait_seconds": wait}, variables)["running"]
            first = running if first is None else first
            result = {"changed": False, "found": first, "running": running, "forced": False}
            if not running or self.check_mode:
                return result
            names = ", ".join(f"{one['name']} ({one['process_id']}, since {one['started']})" for one in running)
            if arguments["force"]:
                warn(f"{variables['inventory_hostname']}: going on although workflows run: {names}")
                return {**result, "forced": True}
            if time.monotonic() >= deadline:
                raise StepFailed(
                    "drain_timeout",
                    f"workflows still run after {arguments['timeout']} s: {names}",
                    {"running": running},
                )
            show_progress(variables["inventory_hostname"], f"waiting for {names}")

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time
import typing as t

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._action import NodeAction, Result, _display, utc_text
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._outcome import StepFailed

# Below WinRM's operation time-out, so that no call on the node is long.
_WAIT_SECONDS = 12.0
# A node that is gone for a moment gets its start all the same; for longer, its own guard does it.
_PATIENCE_SECONDS = 300.0


class ActionModule(NodeAction):
    """Starts, stops or restores the service and waits for the real state."""

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/alteryx_service.yml."""
        deadline = time.monotonic() + arguments["timeout"]
        first: Result = {}
        states: list[dict[str, t.Any]] = []
        while True:
            wait = min(_WAIT_SECONDS, max(0.0, deadline - time.monotonic()))
            # Asking again is harmless: a service on its way is not asked twice, and one that fell back is.
            answer = self.call_node({**arguments, "_wait_seconds": wait}, variables, patience=min(_PATIENCE_SECONDS, arguments["timeout"]))
            first = first or answer
            states += [seen for seen in answer["states"] if not states or seen["state"] != states[-1]["state"]]
            result = {"changed": first["changed"], "before": first["before"], "goal": first["goal"], "states": states, "service": answer["service"]}
            if answer["reached"] or self.check_mode:
                return result
            state = answer["service"]["state"]
            if time.monotonic() >= deadline:
                problem = f" ({answer['problem']})" if answer.get("problem") else ""
                reason = "service_not_restored" if first["goal"] == "Running" else "stop_timeout"
                raise StepFailed(reason, f"{arguments['service_name']} was not {first['goal']} within {arguments['timeout']} s, it is {state}{problem}", result)
            _display.display(f"{utc_text()} {variables['inventory_hostname']}: {arguments['service_name']} is {state}, waiting for {first['goal']}")

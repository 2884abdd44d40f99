# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time
import typing as t

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._action import NodeAction, Result
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._screen import show_progress
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import StepFailed
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._fleet import _health

# Below WinRM's operation time-out, so that each call on the node is short.
_WAIT_SECONDS = 12.0
# A node that is unreachable for a short time is still started by this module. If that takes longer, the guard of the
# node starts the service.
_PATIENCE_SECONDS = 300.0
_POLL_SECONDS = 2.0


class ActionModule(NodeAction):
    """Starts, stops or restores the service and waits for the real state."""

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/alteryx_service.yml."""
        if arguments["state"] == "answering":
            return {"changed": False} if self.check_mode else self._wait_for_answer(arguments, variables)
        begun = time.monotonic()
        deadline = begun + arguments["timeout"]
        first: Result = {}
        refused = ""
        states: list[dict[str, t.Any]] = []
        undone: list[str] = []
        while True:
            wait = min(_WAIT_SECONDS, max(0.0, deadline - time.monotonic()))
            # Another request does no harm: a service that is starting is not asked again, and one that has stopped
            # again is.
            answer = self.call_node(
                {**arguments, "_wait_seconds": wait}, variables, patience=min(_PATIENCE_SECONDS, arguments["timeout"])
            )
            first = first or answer
            states += [seen for seen in answer["states"] if not states or seen["state"] != states[-1]["state"]]
            result = {"changed": first["changed"], "before": first["before"], "goal": first["goal"], "states": states}
            result |= {"service": answer["service"], "workflows": answer["workflows"], "clock": begun}
            undone = [*undone, *answer.get("undone", ())]
            # Not of a backup.
            result |= {"restore": answer["restore"], "undone": undone} if answer.get("restore") else {}
            if answer["workflows"]:
                names = ", ".join(f"{process['name']} ({process['process_id']})" for process in answer["workflows"])
                raise StepFailed(
                    "processes_left",
                    f"{arguments['service_name']} is Stopped but these workflows still run: {names}",
                    result,
                )
            refused = answer.get("problem") or refused
            if answer["reached"] or self.check_mode:
                if refused:
                    self.note_warning(variables["inventory_hostname"], f"a start request was refused: {refused}")
                return result
            state = answer["service"]["state"]
            problem = f" ({answer['problem']})" if answer.get("problem") else ""
            if answer.get("logon_failed") or answer.get("gave_up"):
                # Only an operator can correct that, so waiting does not help.
                reason = "service_logon_failed" if answer.get("logon_failed") else "service_not_restored"
                raise StepFailed(reason, f"{arguments['service_name']} is {state}{problem}", result)
            if time.monotonic() >= deadline:
                reason = "service_not_restored" if first["goal"] == "Running" else "stop_timeout"
                raise StepFailed(
                    reason,
                    f"{arguments['service_name']} was not {first['goal']} within {arguments['timeout']} s, "
                    f"it is {state}{problem}",
                    result,
                )
            show_progress(
                variables["inventory_hostname"], f"{arguments['service_name']} is {state}, waiting for {first['goal']}"
            )

    def _wait_for_answer(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        deadline = time.monotonic() + arguments["timeout"]
        since, process = 0.0, 0
        while True:
            answer = self.call_node(arguments, variables, patience=min(_PATIENCE_SECONDS, arguments["timeout"]))
            now, service = time.monotonic(), answer["service"]
            lacks = silence(answer, arguments)
            if lacks or service["process_id"] != process:
                since, process = now, service["process_id"]
            if not lacks and now - since >= arguments["stable"]:
                return {"changed": False, "service": service}
            if now >= deadline:
                lacks = lacks or f"its process changes: {process} is not yet {arguments['stable']} s old"
                raise StepFailed(
                    "controller_silent", f"not within {arguments['timeout']} s: {lacks}", {"service": service}
                )
            show_progress(variables["inventory_hostname"], lacks or "answers, looking whether it stays so")
            time.sleep(min(_POLL_SECONDS, max(0.0, deadline - now)))


def silence(answer: t.Mapping[str, t.Any], arguments: t.Mapping[str, t.Any]) -> str:
    """Why the service is not healthy at the moment, "" if it runs and answers."""
    if answer["service"]["state"] != "Running":
        return f"{arguments['service_name']} is {answer['service']['state']}"
    if not answer["port_answers"]:
        return f"the controller does not answer on port {arguments['port']}"
    said = answer["url_answers"]
    if arguments["url"] and not _health.answers(said):
        return f"{arguments['url']} answers {said}"
    return ""

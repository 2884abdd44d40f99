# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import getpass
import os
import socket
import time
import typing as t

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._action import (
    NodeAction,
    Result,
    _display,
    direct_child_groups,
    raw_variables,
    utc_text,
)
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._outcome import StepFailed

# Below WinRM's operation time-out, so that no call on the node is long.
_WAIT_SECONDS = 12.0


class ActionModule(NodeAction):
    """Takes or releases the lock of a run on a node, and cleans up after dead runs."""

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/run_lock.yml."""
        # The process of the whole run, not of this fork.
        if arguments["judged"]:
            arguments["window_over"] = _window_over(arguments["judged"], variables)
        asked = {**arguments, "holder": f"{getpass.getuser()}@{socket.gethostname()} process {os.getppid()}"}
        host = variables["inventory_hostname"]
        deadline = time.monotonic() + arguments["wait_timeout"]
        result: Result = {"changed": False, "did": [], "adopted": "", "inherited": ""}
        while True:
            answer = self.call_node({**asked, "_wait_seconds": _WAIT_SECONDS}, variables)
            result["changed"] = result["changed"] or answer["changed"]
            for key in ("adopted", "inherited"):
                result[key] = answer[key] or result[key]
            for line in answer["did"]:
                if line not in result["did"]:
                    result["did"].append(line)
                    _display.display(f"{utc_text()} {host}: {line}")
            if not answer["pending"] or self.check_mode:
                return {**result, "pending": answer["pending"]}
            pending = "; ".join(answer["pending"])
            if answer.get("logon_failed") or answer.get("gave_up"):
                raise StepFailed(answer["pending_reason"], f"not waited for: {pending}", result)
            if time.monotonic() > deadline:
                raise StepFailed(answer["pending_reason"], f"still waiting after {arguments['wait_timeout']} s for {pending}", result)
            _display.display(f"{utc_text()} {host}: waiting for {pending}")
            time.sleep(1)


def _window_over(judged: str, variables: dict[str, t.Any]) -> bool:
    """Has every node of the fleet answered, and none that a run lives there? Raises StepFailed for the first on which one lives."""
    own = variables["inventory_hostname"]
    answers = {host: raw_variables(variables, host).get(judged) or {} for host in variables["ansible_play_hosts_all"]}
    for host, answer in answers.items():
        if host != own and answer.get("reason") in ("run_locked", "foreign_job_alive"):
            raise StepFailed(answer["reason"], f"{host}: {answer['message']}; so this node is left as it is")
    fleet = next((members for members in direct_child_groups(variables, "alteryx").values() if own in members), {own})
    return all(host in answers and answers[host].get("reason", "window_open") == "window_open" for host in fleet)

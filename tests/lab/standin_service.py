# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated Alteryx service of a stand-in node: a file with its state."""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
from typing import Any

from . import layout, standin_state
from .node import SERVICE, STANDIN_SERVICE, Node
from .standin_failure import NodeFailure
from .standin_files import utc_text, write_text
from .standin_install import BIN

_PENDING = {"Running": "StartPending", "Stopped": "StopPending"}
# Shorter than on any real node, so that it is not mistaken for a real time; long enough that a pending state can be
# seen.
_TRANSITION_SECONDS = 0.1

_process_ids = itertools.count(os.getpid() * 4, 4)


def put(node: Node, state: str) -> None:
    """Set the state, as a person at the node would: Running under a new process id, or another without a process."""
    runs = state == "Running"
    content = {"state": state, "pid": next(_process_ids) if runs else None, "started": time.time() if runs else None}
    write_text(layout.drive(node.folder, "c") / "AlteryxLab" / STANDIN_SERVICE, json.dumps(content))


def change(node: Node, state: str) -> list[dict[str, str]]:
    """Start or stop the service; returns the states seen with their times, none where it is so already."""
    if node.service().state == state:
        return []
    put(node, _PENDING[state])
    pending = {"state": _PENDING[state], "at": utc_text()}
    time.sleep(_TRANSITION_SECONDS)
    put(node, state)
    return [pending, {"state": state, "at": utc_text()}]


def facts(node: Node, name: str) -> dict[str, Any]:
    """The service as node_info and alteryx_service tell it."""
    exists = name.casefold() == SERVICE.casefold()
    fact: dict[str, Any] = {
        "exists": exists,
        "name": name,
        "state": "Absent",
        "start_type": "",
        "account": "",
        "process_id": 0,
        "started": "",
        "executable": "",
        "dependants": [],
    }
    if exists:
        seen = node.service()
        fact |= {
            "state": seen.state,
            "start_type": "Auto",
            "account": "LocalSystem",
            "process_id": seen.pid or 0,
            "started": utc_text(seen.started) if seen.started else "",
            "executable": rf"{BIN}\AlteryxService.exe",
        }
    return fact


def controller_is_back() -> None:
    """What the followers of the fleet are waiting for: each starts its service after its delay."""
    for node, delay, states in list(standin_state.followers.values()):
        timer = threading.Timer(delay, lambda node=node, states=states: states.extend(change(node, "Running")))
        timer.daemon = True
        timer.start()


def alteryx_service(node: Node, arguments: dict[str, Any]) -> dict[str, Any]:
    """The module alteryx_service."""
    name, run_id, wanted = arguments["service_name"], arguments["run_id"], arguments["state"]
    before = facts(node, name)
    if not before["exists"]:
        raise NodeFailure("service_absent", f"There is no Windows service {name} on this node")
    if wanted == "answering":
        return {"service": before, "port_answers": True, "url_answers": "200"}
    lease = standin_state.lease(node)
    prior_state = lease["prior_state"] if lease else before["state"]
    goal = {"started": "Running", "stopped": "Stopped", "restored": prior_state}[wanted]
    restore = {}
    if wanted != "stopped" and standin_state.has_restored(node, run_id):
        goal, restore = "Running", {"restore": "committed", "undone": []}
    states = []
    if before["state"] != goal and not arguments.get("_ansible_check_mode"):
        if goal == "Stopped":
            standin_state.own_lease(node, run_id)
        states = change(node, goal)
    return {
        "before": before["state"],
        "changed": before["state"] != goal,
        "goal": goal,
        "reached": True,
        "states": states,
        "service": facts(node, name),
        "workflows": [],
        **restore,
    }

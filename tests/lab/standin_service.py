# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated Alteryx service of a stand-in node: a state machine whose state is a file, and threads for the time between two states."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from . import alteryx_install, layout
from .node import SERVICE, STANDIN_SERVICE, Node
from .standin_failure import dotnet
from .standin_files import utc_text
from .task_scheduler import behaviour_reader

EXECUTABLE = rf"{alteryx_install.BIN}\AlteryxService.exe"

_lock = threading.RLock()
_TICK_SECONDS = 0.05
# As long as it takes on no real node, so that nobody takes it for one; long enough that a pending state can be seen.
_TRANSITION_SECONDS = 0.1


def behaviour(node: Node) -> dict[str, str]:
    """What the lab told this node to do wrong, read anew."""
    return dict(behaviour_reader(layout.behaviour_file(node.folder))())


def exists(node: Node, name: str) -> bool:
    """Whether the node has a service of this name."""
    return name.casefold() == SERVICE.casefold() and node.service().state != "Absent"


def boot(node: Node) -> None:
    """What the service manager does after a boot: the service is started, where there is one."""
    if node.service().state == "Absent":
        return
    put(node, "Stopped")
    if {"start", "start_delay_ms"} & behaviour(node).keys():
        request_start(node)
    else:  # a lab that comes up has no time to lose
        put(node, "Running")


def shutdown(node: Node) -> None:
    """The service as a node that is switched off leaves it."""
    if node.service().state != "Absent":
        put(node, "Stopped")


def put(node: Node, state: str) -> None:
    """Set the state from outside, as a person at the node would: Running under a new process id, or Stopped."""
    with _lock:
        _write(node, state, _next_pid(node) if state == "Running" else None)


def facts(node: Node, name: str) -> dict[str, Any]:
    """The service as node_info and alteryx_service tell it."""
    if not exists(node, name):
        return {"exists": False, "name": name, "state": "Absent", "start_type": "", "account": "", "process_id": 0, "started": "", "executable": "",
                "dependants": []}
    seen = node.service()
    return {"exists": True, "name": SERVICE, "state": seen.state, "start_type": "Auto", "account": "LocalSystem", "process_id": seen.pid or 0,
            "started": utc_text(seen.started) if seen.started else "", "executable": EXECUTABLE, "dependants": []}


def answers(node: Node, host: str) -> bool:
    """Whether the Alteryx service of a machine of this lab answers, named as another node names it."""
    name = host.partition(".")[0].lower()
    machine = node if name == "localhost" else dataclasses.replace(node, name=name, folder=node.folder.with_name(name))
    return machine.service().state == "Running" and behaviour(machine).get("port") != "closed"


def request_start(node: Node) -> None:
    """Ask for a start; does not wait."""
    with _lock:
        state = node.service().state
        if state in ("Running", "StartPending"):
            return
        if state != "Stopped":
            raise dotnet("Start", f"Cannot start {SERVICE} service on computer '.'.")
        _write(node, "StartPending", _next_pid(node))
        _later(node, "StartPending", "start", "start_delay_ms", _started)


def request_stop(node: Node) -> None:
    """Ask for a stop; does not wait."""
    with _lock:
        state = node.service().state
        if state in ("Stopped", "StopPending"):
            return
        if state != "Running" or behaviour(node).get("stop") == "refuse":
            raise dotnet("Stop", f"Cannot stop {SERVICE} service on computer '.'.")
        _write(node, "StopPending", node.service().pid)
        _later(node, "StopPending", "stop", "stop_delay_ms", lambda node: _write(node, "Stopped", None))


def wait_for(node: Node, state: str, seconds: float, on_tick: Callable[[], None] | None = None) -> tuple[bool, list[dict[str, str]]]:
    """Wait for a state; returns whether it was reached, and the states seen with their times."""
    limit = time.monotonic() + seconds
    seen: list[dict[str, str]] = []
    while True:
        now = node.service().state
        if not seen or seen[-1]["state"] != now:
            seen.append({"state": now, "at": utc_text()})
        if now == state or time.monotonic() > limit:
            return now == state, seen
        if on_tick:
            on_tick()
        time.sleep(_TICK_SECONDS)


def start_surely(node: Node, seconds: float, on_tick: Callable[[], None] | None = None) -> tuple[bool, list[dict[str, str]]]:
    """Ask for a start again and again until the service is Running; returns whether it is, and the states seen with their times."""
    limit = time.monotonic() + seconds
    states: list[dict[str, str]] = []
    while True:
        if node.service().state == "Stopped":
            request_start(node)
        reached, seen = wait_for(node, "Running", min(1.0, max(0.0, limit - time.monotonic())), on_tick)
        states += [state for state in seen if not states or state["state"] != states[-1]["state"]]
        if reached or time.monotonic() > limit:
            return reached, states


def _later(node: Node, pending: str, verb: str, delay: str, end: Callable[[Node], None]) -> None:
    """End a pending state in a thread: after the delay, and not while the node is told to hang."""
    began = node.service().pid

    def finish() -> None:
        while behaviour(node).get(verb) == "hang":
            if not still():
                return
            time.sleep(_TICK_SECONDS)
        time.sleep(_TRANSITION_SECONDS + int(behaviour(node).get(delay) or 0) / 1000)
        with _lock:
            if still():
                end(node)

    def still() -> bool:
        # After a reboot, or where the lab is gone, somebody else's state is not ours to end.
        now = node.service()
        return (now.state, now.pid) == (pending, began)

    threading.Thread(target=finish, name=f"{node.name} {verb}", daemon=True).start()


def _started(node: Node) -> None:
    if behaviour(node).get("start") == "fail":
        _write(node, "Stopped", None)
    else:
        _write(node, "Running", node.service().pid)


def _next_pid(node: Node) -> int:
    """Another process id than ever before on this node; a multiple of four, as on Windows."""
    with (layout.drive(node.folder, "c") / "AlteryxLab" / "standin-last-pid").open("a+", encoding="ascii") as file:
        # The endpoint's process counts here, and so does a test's.
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        number = int(file.read() or 1996) + 4
        file.truncate(0)
        file.write(str(number))
    return number


def _write(node: Node, state: str, pid: int | None) -> None:
    before = node.service()
    started = (before.started if before.pid == pid else time.time()) if pid else None
    file = layout.drive(node.folder, "c") / "AlteryxLab" / STANDIN_SERVICE
    draft = file.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
    draft.write_text(json.dumps({"state": state, "pid": pid, "started": started}), encoding="utf-8")
    draft.replace(file)

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts and ends the lab's daemon, and cleans up behind one that was killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from . import engine, inventory, lab_state, layout, wine_node
from .lab_state import LabState
from .node import Kind

LOG_FILE = layout.LAB / "daemon.log"
PID_FILE = layout.LAB / "daemon.pid"
# The very first Wine node of a machine also unpacks PowerShell, downloads MongoDB and makes the prefix
# all others are copied from.
_UP_SECONDS = 600.0
_TERMINATE_SECONDS = 45.0

Say = Callable[[str], None]


class LabFailed(Exception):
    """The lab did not come up."""


def up(kind: Kind, count: int, *, minute_seconds: float, say: Say) -> LabState:
    """Bring a lab up, fresh; one that is up already with these nodes is left as it is.

    Raises:
        LabFailed: with the end of the daemon's log.
    """
    with lab_state.alone():
        state = lab_state.read()
        if state and state.phase == "up" and state.daemon_lives() and (state.kind, state.count) == (kind, count):
            say(f"already up: {count} {kind} node(s)")
            return state
        _down(say)
        shutil.rmtree(layout.NODES, ignore_errors=True)
        if kind == "wine":
            say(f"PowerShell of the nodes: {layout.shown(engine.windows_source())}")
        daemon = _start(kind, count, minute_seconds)
        try:
            return _wait(daemon)
        except BaseException:
            _down(say)
            raise


def down(say: Say) -> None:
    """End the lab; nothing of it is left running. None up, or only the remains of one: fine."""
    with lab_state.alone():
        _down(say)


def _start(kind: Kind, count: int, minute_seconds: float) -> subprocess.Popen[bytes]:
    layout.LAB.mkdir(parents=True, exist_ok=True)
    with LOG_FILE.open("wb") as log:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "tests.lab.daemon", kind, str(count), str(minute_seconds)],
            cwd=layout.ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    PID_FILE.write_text(f"{daemon.pid} {lab_state.process_start(daemon.pid)}\n", encoding="ascii")
    return daemon


def _wait(daemon: subprocess.Popen[bytes]) -> LabState:
    limit = time.monotonic() + _UP_SECONDS
    while time.monotonic() < limit:
        state = lab_state.read()
        if state and state.pid == daemon.pid:
            if state.phase == "up":
                return state
            if state.phase == "failed":
                raise LabFailed(f"{state.error}; see {_shown()}")
        if daemon.poll() is not None:
            raise LabFailed(f"the lab's daemon ended with {daemon.returncode}; the end of {_shown()}:\n{_log_tail()}")
        time.sleep(0.02)
    raise LabFailed(f"not up after {_UP_SECONDS:.0f} s; the end of {_shown()}:\n{_log_tail()}")


def _down(say: Say) -> None:
    daemon = _recorded_daemon()
    if daemon:
        say(f"ending the lab (process {daemon[0]})")
        _end(*daemon)
    for prefix in layout.NODES.glob("*/prefix"):
        # After a clean end these are off and this takes no time; after a killed daemon it is what ends the node.
        wine_node.power_off(prefix.parent)
    for file in (layout.STATE_FILE, PID_FILE):
        file.unlink(missing_ok=True)
    inventory.remove()


def _recorded_daemon() -> tuple[int, str] | None:
    """Process id and start time of the daemon, if it is running."""
    try:
        number, _unused, started = PID_FILE.read_text(encoding="ascii").strip().partition(" ")
    except FileNotFoundError:
        return None
    return (int(number), started) if started and lab_state.process_start(int(number)) == started else None


def _end(pid: int, started: str) -> None:
    """SIGTERM, and SIGKILL for one that does not listen; only ever this process, and only while it is this process."""
    for number, patience in ((signal.SIGTERM, _TERMINATE_SECONDS), (signal.SIGKILL, 10.0)):
        if lab_state.process_start(pid) != started:
            return
        os.kill(pid, number)
        limit = time.monotonic() + patience
        while lab_state.process_start(pid) == started and time.monotonic() < limit:
            time.sleep(0.02)


def _log_tail() -> str:
    return "\n".join(LOG_FILE.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])


def _shown() -> str:
    return layout.shown(LOG_FILE)

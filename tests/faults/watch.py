# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at a Wine node from outside while a fault is on: host processes, service manager, files of the state folder."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from tests.integration.lab_of_tests import STATE_FOLDER, Lab
from tests.lab import layout
from tests.lab.node import Node
from tests.lab.service_states import ServiceStates

DUMP = "emongodump="
WINDOW_JOB = "window_job"

T = TypeVar("T")


def until(look: Callable[[], T], seconds: float, what: str, pause: float = 0.05) -> T:
    """The first true answer of a look; the test fails when there is none in time."""
    limit = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < limit, f"not within {seconds:.0f} s: {what}"
        time.sleep(pause)
    return found


def host_processes(node: Node, text: str) -> list[int]:
    """Host process ids of the node's processes whose command line holds this text. Reading /proc costs the node
    nothing, unlike asking it."""
    prefix = f"WINEPREFIX={layout.prefix(node.folder)}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes()
                # labhost.exe holds the job object of a task and names the same command.
                if (
                    text.encode() in command
                    and b"labhost.exe" not in command
                    and prefix in (entry / "environ").read_bytes()
                ):
                    found.append(int(entry.name))
    return found


def signal_processes(node: Node, text: str, number: signal.Signals) -> int:
    """Send a signal to these processes; returns how many there were."""
    pids = host_processes(node, text)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
    return len(pids)


def state_file(lab: Lab, name: str) -> Path:
    """Host path of a file of the collection's state folder on the node."""
    return lab.node.path(rf"{STATE_FOLDER}\{name}")


def read_state(lab: Lab, name: str) -> dict[str, Any]:
    """A JSON file of the state folder; empty when it is absent or being replaced."""
    try:
        content: dict[str, Any] = json.loads(state_file(lab, name).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return content


def guard_log(lab: Lab) -> str:
    """What the guard has written; empty while it has never acted."""
    file = state_file(lab, "guard.log")
    return file.read_text(encoding="utf-8") if file.exists() else ""


def guard_acted(lab: Lab) -> bool:
    """Whether the guard has started the service or tried to. The removal of the guard after the end of its work does
    not count."""
    return "Running again" in guard_log(lab) or "next try" in guard_log(lab)


@dataclass(frozen=True)
class Restart:
    """Seconds from the end of a dump: until the service was seen on its way, and until it was Running."""

    asked: float
    running: float

    def assert_within(self, limit: float) -> None:
        """Running within the limit."""
        assert self.running <= limit, f"{self}"


class Watch:
    """Samples service and dump beside the test, so that times are seen when they happen. Use as a context manager.

    Another verb of AlteryxService.exe can take the place of the dump.
    """

    def __init__(self, lab: Lab, verb: str = DUMP) -> None:
        self._lab = lab
        self._verb = verb
        self._end = threading.Event()
        self._threads = [
            threading.Thread(target=self._watch_dump, daemon=True),
            threading.Thread(target=self._watch_service, daemon=True),
        ]
        self.states: list[tuple[float, str]] = []  # changes of the service's state: when, to what
        self.dumps: list[list[float]] = []  # begin and end of each dump; a dump that runs has no end yet

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(30)

    @property
    def state(self) -> str:
        """The state seen last."""
        return self.states[-1][1] if self.states else ""

    @property
    def dump_runs(self) -> bool:
        """Whether a dump is on."""
        return bool(self.dumps) and len(self.dumps[-1]) == 1

    def since(self, moment: float, state: str = "Running") -> float | None:
        """Seconds from a moment until the service was seen in a state for good; None while it is not."""
        if not self.states or self.states[-1][1] != state:
            return None
        return max(0.0, self.states[-1][0] - moment)

    def restart_after_dump(self, seconds: float) -> Restart:
        """Wait until the dump has ended and the service is Running; the times between."""
        until(lambda: self.dumps and not self.dump_runs, 300, "the end of the dump")
        ended = self.dumps[-1][1]
        until(
            lambda: self.since(ended) is not None and self.states[-1][0] >= ended,
            seconds,
            f"Running after the dump; seen {self.history()}",
        )
        asked = next(at for at, state in self.states if state != "Stopped" and at >= ended)
        return Restart(asked - ended, self.states[-1][0] - ended)

    def history(self) -> list[str]:
        """The states in order, with seconds."""
        return [f"{at - self.states[0][0]:.1f} s {state}" for at, state in self.states]

    def _watch_dump(self) -> None:
        while not self._end.is_set():
            runs = bool(host_processes(self._lab.node, self._verb))
            if runs != self.dump_runs:
                if runs:
                    self.dumps.append([time.monotonic()])
                else:
                    self.dumps[-1].append(time.monotonic())
            self._end.wait(0.1)

    def _watch_service(self) -> None:
        states = ServiceStates(self._lab.node)
        while not self._end.is_set():
            with contextlib.suppress(RuntimeError, OSError, TimeoutError):  # a node that is off says nothing
                for state in states.read():
                    if state != self.state:
                        self.states.append((time.monotonic(), state))
            self._end.wait(0.05)

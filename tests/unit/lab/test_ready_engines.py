# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process that was started ahead of time serves the next command only if that would have started it alike."""

from __future__ import annotations

import base64
import dataclasses
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import ready_engines
from tests.lab.ready_engines import ReadyEngines, Start

BOOTSTRAP = (
    "powershell -EncodedCommand "
    + base64.b64encode("begin { $end = '`0`0`0`0' } process { $input }".encode("utf-16-le")).decode()
)
OTHER = "powershell -EncodedCommand " + base64.b64encode("Get-Date".encode("utf-16-le")).decode()


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts a shell that does nothing before it has read its input."""
    return Start(("/bin/sh", "-c", "read line; echo $line"), {"PATH": "/usr/bin:/bin"}, tmp_path, b"")


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> Iterator[ReadyEngines]:
    """Engines of one node, ended after the test."""
    monkeypatch.delenv(ready_engines.SWITCH, raising=False)
    made = ReadyEngines()
    yield made
    made.end()


def ready(engines: ReadyEngines) -> int:
    """The process that waits, once there is one."""
    limit = time.monotonic() + 10
    while (pid := engines.ready_pid) is None:
        assert time.monotonic() < limit, "no process was started ahead of time"
        os.sched_yield()
    return pid


def answer(process: subprocess.Popen[bytes]) -> bytes:
    """What it says to one line of input."""
    return process.communicate(b"hello\n", timeout=10)[0]


def test_the_next_command_gets_the_process_that_waits(engines: ReadyEngines, start: Start) -> None:
    first = engines.spawn(start, BOOTSTRAP)
    waiting = ready(engines)
    assert waiting != first.pid
    second = engines.spawn(start, BOOTSTRAP)
    assert second.pid == waiting
    assert (answer(first), answer(second)) == (b"hello\n", b"hello\n")
    assert ready(engines) not in (first.pid, second.pid), "a process serves one command"


@pytest.mark.parametrize(
    "change",
    [
        {"behaviour": b"emongodump=fail\n"},
        {"environment": {"PATH": "/usr/bin:/bin", "TEMP": "/"}},
        {"directory": Path("/")},
        {"command": ("/bin/sh", "-c", "read line; echo not $line")},
    ],
)
def test_a_process_that_was_started_otherwise_is_ended(
    engines: ReadyEngines, start: Start, change: dict[str, object]
) -> None:
    answer(engines.spawn(start, BOOTSTRAP))
    waiting = ready(engines)
    process = engines.spawn(dataclasses.replace(start, **change), BOOTSTRAP)  # type: ignore[arg-type]
    assert process.pid != waiting
    answer(process)
    limit = time.monotonic() + 10
    while Path(f"/proc/{waiting}").exists():
        assert time.monotonic() < limit, "the process lives on"
        os.sched_yield()


def test_a_process_that_has_died_is_not_used(engines: ReadyEngines, start: Start) -> None:
    answer(engines.spawn(start, BOOTSTRAP))
    waiting = ready(engines)
    os.kill(waiting, 9)
    os.waitid(os.P_PID, waiting, os.WEXITED | os.WNOWAIT)
    assert answer(engines.spawn(start, BOOTSTRAP)) == b"hello\n"


def test_the_node_that_goes_down_takes_it_along(engines: ReadyEngines, start: Start) -> None:
    answer(engines.spawn(start, BOOTSTRAP))
    ready(engines)
    engines.end()
    assert engines.ready_pid is None


@pytest.mark.parametrize("line", [OTHER, "cmd.exe /c ver"])
def test_only_ansibles_bootstrap_is_started_ahead(engines: ReadyEngines, start: Start, line: str) -> None:
    answer(engines.spawn(start, BOOTSTRAP))
    waiting = ready(engines)
    assert engines.spawn(start, line).pid != waiting
    assert ready(engines) == waiting


def test_it_can_be_switched_off(engines: ReadyEngines, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ready_engines.SWITCH, "0")
    answer(engines.spawn(start, BOOTSTRAP))
    assert engines.ready_pid is None

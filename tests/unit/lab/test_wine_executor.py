# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moves a command's input and output; tried with the host's shell in place of Wine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.executor import CommandOutput, InputBusy, InputClosed
from tests.lab.wine_executor import NoiseFilter, WineCommand, WineExecutor

NOISE = b'Read access denied for device L"\\\\??\\\\Z:\\\\", FS volume label and serial are not available.\n'


class Started:
    """A command and its output."""

    def __init__(self, folder: Path, line: str, user: str = "ansible") -> None:
        self.argv: list[str] = []

        def shell(_folder: Path, *argv: str) -> list[str]:
            self.argv = list(argv)
            return ["/bin/sh", "-c", argv[-1]]

        executor = WineExecutor(
            folder,
            command=shell,
            environment=lambda: {"PATH": "/usr/bin:/bin"},
            working_directory=folder,
            path=lambda _: folder / "named",
            behaviour=folder / "none.ini",
        )
        self.output = CommandOutput()
        self.command: WineCommand = executor.start(
            line, user=user, environment={"EXTRA": "x y"}, working_directory=None, output=self.output
        )

    def all(self) -> tuple[bytes, bytes, int | None]:
        """Everything it prints, and its exit code."""
        streams = {"stdout": b"", "stderr": b""}
        while (taken := self.output.take(10, 1 << 20)) is not None:
            for chunk in taken.chunks:
                streams[chunk.stream] += chunk.data
            if taken.exit_code is not None:
                return streams["stdout"], streams["stderr"], taken.exit_code
        raise AssertionError("no end in time")


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[Started]]:
    """Commands to be ended after the test."""
    commands: list[Started] = []
    (tmp_path / "named").mkdir()
    yield commands
    for entry in commands:
        entry.command.kill_tree()


def test_output_error_exit_code_and_environment(tmp_path: Path) -> None:
    assert Started(tmp_path, 'echo "$EXTRA"; echo bad >&2; exit 7').all() == (b"x y\n", b"bad\n", 7)


def test_the_command_line_is_one_argument_under_labhost(tmp_path: Path) -> None:
    assert Started(tmp_path, "true").argv == [r"C:\AlteryxLab\bin\labhost.exe", "--", "true"]
    assert Started(tmp_path, "true", user="operator").argv == [
        r"C:\AlteryxLab\bin\labhost.exe",
        "--not-administrator",
        "--",
        "true",
    ]


def test_input_larger_than_a_pipe(tmp_path: Path) -> None:
    entry = Started(tmp_path, "wc -c")
    entry.command.write(b"x" * 300_000, end=False, timeout=10)
    entry.command.write(b"y" * 300_000, end=True, timeout=10)
    assert entry.all()[0].strip() == b"600000"


def test_input_nobody_reads_times_out_and_then_the_command_is_busy(tmp_path: Path, started: list[Started]) -> None:
    entry = Started(tmp_path, "exec sleep 30")
    started.append(entry)
    with pytest.raises(TimeoutError):
        entry.command.write(b"x" * 300_000, end=False, timeout=0.1)
    with pytest.raises(InputBusy):
        entry.command.write(b"more", end=True, timeout=0.1)


def test_input_after_the_end_of_the_command(tmp_path: Path) -> None:
    entry = Started(tmp_path, "exit 0")
    entry.all()
    with pytest.raises(InputClosed):
        entry.command.write(b"x", end=True, timeout=1)


def test_killing_ends_the_command_and_everyone_who_waits(tmp_path: Path) -> None:
    entry = Started(tmp_path, "exec sleep 30")
    entry.command.kill_tree()
    assert entry.all() == (b"", b"", 1)


def test_a_grandchild_that_holds_the_pipes_does_not_delay_the_end(tmp_path: Path) -> None:
    begun = time.monotonic()
    assert Started(tmp_path, "sleep 5 & echo started").all() == (b"started\n", b"", 0)
    assert time.monotonic() - begun < 3


def test_much_output_nobody_fetches_stands_still_and_nothing_is_lost(tmp_path: Path) -> None:
    entry = Started(tmp_path, "head -c 4000000 /dev/zero")
    time.sleep(0.3)
    assert not entry.output.finished
    assert len(entry.all()[0]) == 4_000_000


def test_wines_own_line_is_left_out_of_standard_error() -> None:
    noise = NoiseFilter()
    passed = noise.feed(b"real\nRead acc") + noise.feed(b"ess denied for device x\nmore\nlast") + noise.rest()
    assert passed == b"real\nmore\nlast"
    assert NoiseFilter().feed(NOISE) == b""

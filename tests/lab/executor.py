# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs the commands of a node: the seam between the WinRM endpoint and the kind of node behind it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

Stream = Literal["stdout", "stderr"]


class InputClosed(Exception):
    """The command reads no more: its pipe has been ended."""


class InputBusy(Exception):
    """An earlier piece of input has not been read yet."""


class RunningCommand(Protocol):
    """A command that was started; its output goes to the CommandOutput it was started with."""

    def write(self, data: bytes, *, end: bool, timeout: float) -> None:
        """Hand input over; ``end`` closes it.

        Raises:
            InputClosed: the command does not read any more.
            InputBusy: an earlier write timed out and is still being taken.
            TimeoutError: not taken in time; it stays queued, so it must not be sent again.
        """

    def kill_tree(self) -> None:
        """End the command and everything it has started; returns once that is on its way."""


class Executor(Protocol):
    """Starts commands on a node."""

    def start(
        self,
        command_line: str,
        *,
        user: str,
        environment: Mapping[str, str],
        working_directory: str | None,
        output: CommandOutput,
    ) -> RunningCommand:
        """Start a Windows command line; its output and its end are reported to ``output``."""


@dataclass(frozen=True)
class Chunk:
    """A piece of a command's output."""

    stream: Stream
    data: bytes


@dataclass(frozen=True)
class Taken:
    """What a reader got: pieces of output, and the exit code if these are the last ones."""

    chunks: list[Chunk]
    exit_code: int | None


class CommandOutput:
    """Output of one command between the thread that produces it and the requests that fetch it."""

    # A command whose output is not fetched is paused, as on Windows, instead of filling the lab's memory.
    LIMIT = 1 << 20

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._chunks: deque[Chunk] = deque()
        self._size = 0
        self._exit_code: int | None = None
        self._abandoned = False

    def append(self, stream: Stream, data: bytes) -> None:
        """Add output; never blocks."""
        if not data:
            return
        with self._changed:
            if self._abandoned:
                return
            self._chunks.append(Chunk(stream, data))
            self._size += len(data)
            self._changed.notify_all()

    def has_room(self) -> bool:
        """Whether a producer that can wait should produce more now."""
        with self._changed:
            return self._size < self.LIMIT

    def finish(self, exit_code: int) -> None:
        """The command has ended; the first call counts."""
        with self._changed:
            if self._exit_code is None:
                self._exit_code = exit_code
            self._changed.notify_all()

    def abandon(self) -> None:
        """No client will read any more: drop the output so far and all later output, and wake the waiting threads."""
        with self._changed:
            self._abandoned = True
            self._chunks.clear()
            self._size = 0
            self._changed.notify_all()

    @property
    def abandoned(self) -> bool:
        """Whether ``abandon`` was called."""
        return self._abandoned

    @property
    def exit_code(self) -> int | None:
        """The exit code; None while the command runs."""
        return self._exit_code

    @property
    def finished(self) -> bool:
        """Whether the command has ended, its output fetched or not."""
        return self._exit_code is not None

    def wait_finished(self, timeout: float | None) -> bool:
        """Wait for the command's end."""
        with self._changed:
            return self._changed.wait_for(lambda: self._exit_code is not None, timeout)

    def take(self, timeout: float, limit: int) -> Taken | None:
        """Wait for output or the end and take at most ``limit`` bytes; None when nothing came in time.

        Raises:
            InterruptedError: the output was abandoned while waiting.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            while not self._chunks and self._exit_code is None:
                if self._abandoned:
                    raise InterruptedError
                rest = deadline - time.monotonic()
                if rest <= 0:
                    return None
                self._changed.wait(rest)
            taken = self._pieces(limit)
            return Taken(taken, None if self._chunks else self._exit_code)

    def put_back(self, taken: Taken) -> None:
        """Undo a ``take`` whose answer did not reach the client."""
        with self._changed:
            for chunk in reversed(taken.chunks):
                self._chunks.appendleft(chunk)
                self._size += len(chunk.data)
            self._changed.notify_all()

    def _pieces(self, limit: int) -> list[Chunk]:
        merged: dict[Stream, bytearray] = {}
        rest = limit
        while self._chunks and rest > 0:
            chunk = self._chunks.popleft()
            piece = chunk.data[:rest]
            if len(piece) < len(chunk.data):
                self._chunks.appendleft(Chunk(chunk.stream, chunk.data[rest:]))
            merged.setdefault(chunk.stream, bytearray()).extend(piece)
            rest -= len(piece)
            self._size -= len(piece)
        return [Chunk(stream, bytes(data)) for stream, data in merged.items()]

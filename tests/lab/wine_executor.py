# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the commands of a Wine node, each under labhost.exe, so that ending one ends everything below it."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

from .executor import CommandOutput, InputBusy, InputClosed, Stream
from .ready_engines import ReadyEngines, Start, behaviour_of

LABHOST = r"C:\AlteryxLab\bin\labhost.exe"
NOT_ADMINISTRATORS = frozenset({"operator"})

# After a command's own end: how long output of children that still hold its pipes is waited for.
_LINGER_SECONDS = 0.5
_READ_SIZE = 64 * 1024
_FULL_PAUSE_SECONDS = 0.02
_NOISE = re.compile(rb"[^\n]*Read access denied for device [^\n]*\n?")


class WineExecutor:
    """Executor of one Wine node.

    Args:
        folder: the node's folder.
        command: makes the host's command line of a Windows program and its arguments (``wine_node.wine_command``).
        environment: gives the environment of the node's processes; asked at each start, as there may be no node yet.
        working_directory: host folder where commands start that name none.
        path: host path of a Windows path.
        behaviour: the node's behaviour.ini.
    """

    def __init__(
        self,
        folder: Path,
        *,
        command: Callable[..., list[str]],
        environment: Callable[[], Mapping[str, str]],
        working_directory: Path,
        path: Callable[[str], Path],
        behaviour: Path,
    ) -> None:
        self._folder = folder
        self._command = command
        self._environment = environment
        self._working_directory = working_directory
        self._path = path
        self._behaviour = behaviour
        self._engines = ReadyEngines()

    def start(
        self,
        command_line: str,
        *,
        user: str,
        environment: Mapping[str, str],
        working_directory: str | None,
        output: CommandOutput,
    ) -> WineCommand:
        """Start a Windows command line under labhost.exe."""
        rights = ["--not-administrator"] if user in NOT_ADMINISTRATORS else []
        directory = self._path(working_directory) if working_directory else self._working_directory
        # One argument: labhost.exe takes the command line as it stands, its quotes are the
        # program's business and not ours.
        start = Start(
            tuple(self._command(self._folder, LABHOST, *rights, "--", command_line)),
            {**self._environment(), **environment},
            directory,
            behaviour_of(self._behaviour),
        )
        return WineCommand(self._engines.spawn(start, command_line), output)

    def end_ready(self) -> None:
        """End what was started ahead of time: the node goes down."""
        self._engines.end()


class WineCommand:
    """A process of the node and the one thread that moves its input and output."""

    def __init__(self, process: subprocess.Popen[bytes], output: CommandOutput) -> None:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        self._process = process
        self._output = output
        self._stdin, self._stdout, self._stderr = process.stdin, process.stdout, process.stderr
        self._changed = threading.Condition()
        self._input: deque[bytes] = deque()
        self._input_ends = False
        self._input_closed = False
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._filter = NoiseFilter()
        threading.Thread(target=self._run, name=f"command-{process.pid}", daemon=True).start()

    @property
    def pid(self) -> int:
        """Process id on the host."""
        return self._process.pid

    def write(self, data: bytes, *, end: bool, timeout: float) -> None:
        """Hand input over and wait until the command's pipe has taken it."""
        with self._changed:
            if self._input_closed or self._input_ends:
                if data:
                    raise InputClosed
                return
            if self._input:
                raise InputBusy
            if data:
                self._input.append(data)
            self._input_ends = end
            self._wake()
            if not self._changed.wait_for(lambda: not self._input or self._input_closed, timeout):
                raise TimeoutError

    def kill_tree(self) -> None:
        """Kill labhost.exe: the only handle of its job goes with it, and Wine ends what is in the job."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError, OSError):
            os.write(self._wake_write, b"\0")

    def _run(self) -> None:
        exit_code = -1
        try:
            self._move()
        finally:
            with self._changed:
                self._input_closed = True
                self._input.clear()
                self._changed.notify_all()
            exit_code = self._process.wait()
            self._output.append("stderr", self._filter.rest())
            # A process ended by a signal has no Windows exit code; 1 is what TerminateProcess callers usually give.
            self._output.finish(exit_code if exit_code >= 0 else 1)
            for pipe in (self._stdin, self._stdout, self._stderr):
                with contextlib.suppress(OSError):
                    pipe.close()
            with self._changed:
                os.close(self._wake_read)
                wake_write, self._wake_write = self._wake_write, -1
                os.close(wake_write)

    def _move(self) -> None:
        """Move input and output until the process has ended and its output has been read."""
        exited = os.pidfd_open(self._process.pid)
        try:
            with selectors.DefaultSelector() as selector:
                for pipe in (self._stdin, self._stdout, self._stderr):
                    os.set_blocking(pipe.fileno(), False)
                selector.register(self._stdout, selectors.EVENT_READ, "stdout")
                selector.register(self._stderr, selectors.EVENT_READ, "stderr")
                selector.register(self._wake_read, selectors.EVENT_READ, "wake")
                selector.register(exited, selectors.EVENT_READ, "exited")
                reading = {"stdout", "stderr"}
                deadline: float | None = None
                while reading or deadline is None:
                    if deadline is not None and time.monotonic() > deadline:
                        return
                    if not (self._output.has_room() or self._output.abandoned):
                        time.sleep(_FULL_PAUSE_SECONDS)
                        if deadline is None:
                            continue
                    ready = selector.select(None if deadline is None else max(0.0, deadline - time.monotonic()))
                    for key, _events in ready:
                        if key.data == "exited":
                            selector.unregister(exited)
                            deadline = time.monotonic() + _LINGER_SECONDS
                        elif key.data == "wake":
                            with contextlib.suppress(BlockingIOError):
                                os.read(self._wake_read, 4096)
                        elif key.data == "stdin":
                            pass
                        elif not self._read(key.data):
                            selector.unregister(key.fileobj)
                            reading.discard(key.data)
                    self._feed(selector)
        finally:
            os.close(exited)

    def _read(self, stream: Stream) -> bool:
        pipe = self._stdout if stream == "stdout" else self._stderr
        try:
            data = os.read(pipe.fileno(), _READ_SIZE)
        except BlockingIOError:
            return True
        if stream == "stderr":
            self._output.append(stream, self._filter.feed(data))
        else:
            self._output.append(stream, data)
        return bool(data)

    def _feed(self, selector: selectors.BaseSelector) -> None:
        """Write what the pipe takes; wait for room in it only while there is something to write."""
        with self._changed:
            if self._input_closed:
                return
            try:
                while self._input:
                    written = os.write(self._stdin.fileno(), self._input[0])
                    rest = self._input.popleft()[written:]
                    if rest:
                        self._input.appendleft(rest)
            except BlockingIOError:
                if self._stdin not in selector.get_map():
                    selector.register(self._stdin, selectors.EVENT_WRITE, "stdin")
                return
            except OSError:
                self._input.clear()
                self._input_ends = True
            if self._stdin in selector.get_map():
                selector.unregister(self._stdin)
            if self._input_ends:
                self._stdin.close()
                self._input_closed = True
            self._changed.notify_all()


class NoiseFilter:
    """Takes the line out of a standard error that is Wine's and no program's; passes everything else on unchanged."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """What may be passed on; the beginning of a line is held back until its end has come."""
        complete, newline, self._held = (self._held + data).rpartition(b"\n")
        return _NOISE.sub(b"", complete + newline)

    def rest(self) -> bytes:
        """What was held back, at the end of the stream."""
        rest, self._held = self._held, b""
        return _NOISE.sub(b"", rest)

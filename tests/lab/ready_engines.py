# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PowerShell processes of a node that are started before they are needed.

Ansible starts the same command line for each module and then sends the module on standard input. So the process of the
next module can be started while the control node is still busy with this one: it waits for its input, as it would if
the input came late. It serves one command, and only one that would have started it in the same way.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import ansible_payload

SWITCH = "ALTERYX_LAB_READY_ENGINES"  # 0: every engine is started when it is asked for


def are_wanted() -> bool:
    """Whether engines are started ahead of time."""
    return os.environ.get(SWITCH, "1") != "0"


@dataclass(frozen=True)
class Start:
    """All that the start of a process depends on; equal starts make processes that cannot be told apart.

    behaviour: the content of behaviour.ini; what it orders of Windows is partly read when a process starts.
    """

    command: Sequence[str]
    environment: Mapping[str, str]
    directory: Path
    behaviour: bytes

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the process, with pipes for its input and output."""
        return subprocess.Popen(
            self.command,
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )


class ReadyEngines:
    """The one process of a node that waits for the next command. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ready: tuple[Start, subprocess.Popen[bytes]] | None = None

    @property
    def ready_pid(self) -> int | None:
        """Host process id of the process that waits; None while there is none."""
        with self._lock:
            return self._ready[1].pid if self._ready else None

    def spawn(self, start: Start, command_line: str) -> subprocess.Popen[bytes]:
        """A process for this command: the one that waits if it was started alike, a new one otherwise."""
        if not (are_wanted() and waits_for_input(command_line)):
            return start.spawn()
        with self._lock:
            ready, self._ready = self._ready, None
        process = None
        if ready and ready[0] == start and ready[1].poll() is None:
            process = ready[1]
        elif ready:
            _end(ready[1])
        process = process or start.spawn()
        threading.Thread(target=self._prepare, args=(start,), name="ready-engine", daemon=True).start()
        return process

    def end(self) -> None:
        """End the process that waits: the node goes down."""
        with self._lock:
            ready, self._ready = self._ready, None
        if ready:
            _end(ready[1])

    def _prepare(self, start: Start) -> None:
        try:
            process = start.spawn()
        except OSError:
            return  # the node is gone, or the machine is full: the next command is started when it comes
        with self._lock:
            former, self._ready = self._ready, (start, process)
        if former:
            _end(former[1])


def waits_for_input(command_line: str) -> bool:
    """Whether it is Ansible's bootstrap, which does nothing before it has read its input."""
    script = ansible_payload.script_of(command_line)
    return script is not None and ansible_payload.reads_payload(script)


def behaviour_of(file: Path) -> bytes:
    """The content of a behaviour.ini; nothing where there is none."""
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return b""


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and what it has started: the job of labhost.exe ends with it."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe:
            with contextlib.suppress(OSError):
                pipe.close()
    threading.Thread(target=process.wait, name="reap-engine", daemon=True).start()

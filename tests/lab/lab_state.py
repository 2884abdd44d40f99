# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a running lab on disk, and whether its daemon is running."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from . import layout
from .node import Kind, Node

Phase = Literal["starting", "up", "failed"]


@dataclass
class LabState:
    """What lab.json holds."""

    pid: int
    started: str  # the kernel's start time of that process: the process id alone may belong to another process by now
    kind: Kind
    count: int
    control_port: int
    phase: Phase = "starting"
    error: str = ""
    nodes: list[Node] = field(default_factory=list)
    ready: dict[str, float] = field(default_factory=dict)  # node: seconds

    def write(self, file: Path = layout.STATE_FILE) -> None:
        """Replace lab.json."""
        content = {**vars(self), "nodes": [node.to_state() for node in self.nodes]}
        draft = file.with_name(f"{file.name}.{os.getpid()}")
        draft.touch(mode=0o600)  # it holds the password
        draft.write_text(json.dumps(content, indent=1), encoding="utf-8")
        draft.replace(file)

    def daemon_lives(self) -> bool:
        """Whether the process that wrote this is still there."""
        return process_start(self.pid) == self.started

    def node(self, name: str) -> Node:
        """A node by name; KeyError names those there are."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(f"no node {name}; there are: {', '.join(node.name for node in self.nodes) or 'none'}")


def read(file: Path = layout.STATE_FILE) -> LabState | None:
    """The state of the lab; None when there is none."""
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return LabState(**{**content, "nodes": [Node.from_state(node) for node in content["nodes"]]})


def nodes() -> list[Node]:
    """The nodes of the lab that is up.

    Raises:
        RuntimeError: none is.
    """
    state = read()
    if state is None or state.phase != "up" or not state.daemon_lives():
        raise RuntimeError("no lab is up: python -m tests.lab up")
    return state.nodes


def process_start(pid: int) -> str:
    """Start time of a process in the kernel's count; empty when there is no such process, or only its remains."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields[0] in "ZX" else fields[19]


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Let one ``up`` or ``down`` work at a time."""
    layout.LAB.mkdir(parents=True, exist_ok=True)
    with (layout.LAB / "lock").open("w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

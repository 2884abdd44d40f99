# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults of the lab itself, told apart from what a test finds: a process that Wine could not
create, an engine that hangs.

Neither is repaired in silence: a test that fails stays red, and the end of the run names the fault beside it.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import pytest

from tests.faults.watch import host_processes
from tests.integration.lab_of_tests import Lab
from tests.lab import control, layout
from tests.lab.node import Node

ENGINES = ("powershell.exe", "pwsh.exe")
WATCH_SECONDS = (
    10.0  # guards look every 2 s, jobs twice a second: a living engine uses some processor time in this time
)
_TICKS = os.sysconf("SC_CLK_TCK")
_LABS = ("lab", "fleet", "session_lab")
_seen: dict[Path, int] = {}  # lab-faults.txt of a node -> bytes that were read


def of(item: pytest.Item, *, failed: bool) -> list[str]:
    """What went wrong with the lab during this test; hung engines are looked for only where it failed."""
    labs = [value for name in _LABS if isinstance(value := getattr(item, "funcargs", {}).get(name), Lab)]
    nodes = {node.name: node for lab in labs for node in lab.nodes or (lab.node,) if lab.kind == "wine"}
    found = [f"{node.name}: {line}" for node in nodes.values() for line in _new_lines(node)]
    if failed and nodes:
        for lab in labs:
            with contextlib.suppress(OSError, RuntimeError):  # the lab may be gone
                control.ask(lab.control_port, "ready_engines")  # ends what only waits
        found += _hung(list(nodes.values()))
    return found


def _new_lines(node: Node) -> list[str]:
    """What labhost.exe has noted since the last look."""
    file = layout.drive(node.folder, "c") / "AlteryxLab" / "lab-faults.txt"
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return []
    known = _seen.get(file, 0)
    _seen[file] = len(content)
    return content[known if known <= len(content) else 0 :].decode(errors="replace").splitlines()


def _hung(nodes: list[Node]) -> list[str]:
    """Engines that used no processor time while they were watched."""
    before = {
        (node.name, pid): used
        for node in nodes
        for name in ENGINES
        for pid in host_processes(node, name)
        if (used := _processor_seconds(pid)) is not None
    }
    time.sleep(WATCH_SECONDS if before else 0)  # what is watched is time itself
    return [
        f"{name}: an engine hangs (host process {pid}, {used:.2f} s of processor time)"
        for (name, pid), used in before.items()
        if _processor_seconds(pid) == used
    ]


def _processor_seconds(pid: int) -> float | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / _TICKS

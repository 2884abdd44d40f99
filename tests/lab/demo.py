# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demonstration: a lab from nothing, one real full backup of it, what was seen from outside meanwhile, and where
its files are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from . import layout, lifecycle
from .fleet_watch import FleetWatch
from .node import Kind, Node

PLAYBOOKS = layout.ROOT / "playbooks"


def run(kind: Kind, count: int, minute_seconds: float) -> int:
    """Bring nodes up, run ``full_backup.yml`` against them, end them. Returns the exit status of ansible-playbook."""
    try:
        state = lifecycle.up(kind, count, minute_seconds=minute_seconds, say=_say)
        marker = (
            " (SIMULATED: Python doubles, no Windows)"
            if kind == "standin"
            else " (Wine: real PowerShell engine, service and MongoDB)"
        )
        for node in state.nodes:
            print(
                f"lab node {node.name}, {node.role}, kind {node.kind}{marker}, "
                f"ready after {state.ready.get(node.name, 0):.1f} s",
                flush=True,
            )
        command = [str(Path(sys.executable).with_name("ansible-playbook")), "full_backup.yml", "-l", "alteryx_lab"]
        print(f"playbooks$ ansible-playbook {' '.join(command[1:])}", flush=True)
        with FleetWatch(state.nodes) as watch:
            status = subprocess.run(
                command, cwd=PLAYBOOKS, env=_environment(), stdin=subprocess.DEVNULL, check=False
            ).returncode
    finally:
        lifecycle.down(_say)
    print(f"Services as seen from outside, in seconds since ansible-playbook was started:\n{watch.table()}")
    for node in state.nodes:
        print(f"{node.name} was not Running for {watch.downtime(node.name):.1f} s")
    for node in state.nodes:
        print(f"Backup folder: {_backup_folder(node)}", flush=True)
    return status


def _environment() -> dict[str, str]:
    # The playbook's own ansible.cfg decides, not what the caller has set for other projects.
    return {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")} | {
        "ANSIBLE_FORCE_COLOR": "false"
    }


def _backup_folder(node: Node) -> str:
    return os.path.relpath(node.path(r"D:\AlteryxBackups"), layout.ROOT)


def _say(text: str) -> None:
    print(text, file=sys.stderr)

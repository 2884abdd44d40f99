# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in node's double of node_removal: there are no tasks, no registry and no scripts on such a node."""

from __future__ import annotations

import shutil
from typing import Any

from . import standin_state
from .node import Node
from .standin_failure import NodeFailure
from .standin_files import STATE_FOLDER


def node_removal(node: Node, arguments: dict[str, Any]) -> dict[str, Any]:
    """The module node_removal."""
    state, acts = arguments["state"], not arguments.get("_ansible_check_mode")
    has_state = node.path(STATE_FOLDER).is_dir()
    _refuse(node, arguments["_run_id"])
    staging = arguments["staging_directory"]
    parts = _parts(node, staging)
    if state == "removed" and acts:
        for path in parts:
            shutil.rmtree(node.path(path))
    if state == "reserved" and acts and has_state:
        standin_state.take_lock(node, arguments["_run_id"], arguments["_holder"], 600)
    kept = []
    if node.path(staging).is_dir():
        kept = [f"the staging directory {staging} stays: SIMULATED it holds other files"]
    return {
        "changed": bool(parts) if state == "removed" else state == "reserved" and has_state,
        "removed": [f"SIMULATED the folder {path}" for path in parts],
        "kept": kept if state == "removed" and acts else [],
        "backups": _sum(node, arguments["archive_folder"]),
    }


def _refuse(node: Node, run_id: str) -> None:
    lock, obstacles = standin_state.lock_fact(node), []
    if lock and lock["fresh"] and lock["run_id"] != run_id:
        obstacles.append({"reason": "run_locked", "message": f"SIMULATED the run {lock['run_id']} holds this node"})
    if standin_state.schedules_left(node):
        message = "SIMULATED a run has left schedules paused"
        obstacles.append({"reason": "schedules_left", "message": message})
    if obstacles:
        message = "; ".join(each["message"] for each in obstacles)
        raise NodeFailure(obstacles[0]["reason"], message, {"obstacles": obstacles})


def _parts(node: Node, staging: str) -> list[str]:
    """Folders that are there, and that go; an empty one that this collection could have made is taken for one."""
    folder = node.path(staging)
    is_empty = folder.is_dir() and not any(folder.iterdir()) and not staging.startswith(STATE_FOLDER)
    return [staging] * is_empty + [STATE_FOLDER] * node.path(STATE_FOLDER).is_dir()


def _sum(node: Node, folder: str) -> dict[str, Any]:
    archives = list(node.path(folder).glob("*.zip"))
    return {"folder": folder, "archives": len(archives), "bytes": sum(file.stat().st_size for file in archives)}

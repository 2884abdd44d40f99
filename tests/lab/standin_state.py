# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state folder of a stand-in node: run lock, lease, record of paused schedules. There is no guard."""

from __future__ import annotations

import datetime
import json
import time
from typing import Any

from .node import Node
from .standin_failure import NodeFailure
from .standin_files import STATE_FOLDER, write_text

_LOCK = rf"{STATE_FOLDER}\run.json"
_LEASE = rf"{STATE_FOLDER}\lease.json"
_SCHEDULES = rf"{STATE_FOLDER}\schedules.json"
RESTORES = rf"{STATE_FOLDER}\restores"
"""Where the records of restores are."""


followers: dict[str, tuple[Node, float, list[dict[str, str]]]] = {}
"""Name of a node that follows the controller -> it, its delay, and the states that its follower has seen."""


def _read(node: Node, path: str) -> dict[str, Any] | None:
    file = node.path(path)
    content: dict[str, Any] | None = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
    return content


def _after(seconds: float) -> str:
    moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def lock_fact(node: Node) -> dict[str, Any] | None:
    """The run lock as node_info tells it; None when there is none."""
    lock = _read(node, _LOCK)
    if lock is None:
        return None
    age = max(0.0, time.time() - lock.pop("taken"))
    left = max(0.0, lock.pop("stale_seconds") - age)
    return {"age": age, "fresh": left > 0, "stale_in": left, "stale_at": _after(left), **lock}


def run_lock(node: Node, arguments: dict[str, Any]) -> dict[str, Any]:
    """The module run_lock. That another run holds the node is seen before, by the plan; there are no dead ones."""
    run_id, state = arguments["run_id"], arguments["state"]
    ours = (_read(node, _LOCK) or {}).get("run_id") == run_id
    changed = ours if state == "released" else state == "acquired" and not ours
    if changed and not arguments.get("_ansible_check_mode"):
        if state == "released":
            node.path(_LOCK).unlink()
        else:
            _try_folders(node, arguments.get("try_folders", []))
            take_lock(node, run_id, arguments["holder"], arguments["stale_seconds"])
    return {
        "changed": changed,
        "adopted": "",
        "unarchived": [],
        "inherited": "",
        "pending": [],
        "pending_reason": "",
        "did": [],
        "left_behind": [],
        "logs": [],
    }


def take_lock(node: Node, run_id: str, holder: str, stale_seconds: int) -> None:
    """The run lock of a run."""
    lock = {
        "run_id": run_id,
        "holder": holder,
        "started": _after(0),
        "taken": time.time(),
        "stale_seconds": stale_seconds,
    }
    write_text(node.path(_LOCK), json.dumps(lock))


def _try_folders(node: Node, folders: list[str]) -> None:
    for folder in folders:
        try:
            node.path(folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise NodeFailure(
                "folder_unwritable", f"SIMULATED cannot write files in {folder}: {error.strerror}"
            ) from None


def lease(node: Node) -> dict[str, Any] | None:
    """The lease; None when there is none."""
    return _read(node, _LEASE)


def own_lease(node: Node, run_id: str) -> dict[str, Any]:
    """The lease of this run; a failure when it has none."""
    found = lease(node)
    if found is None or found["run_id"] != run_id:
        raise NodeFailure("no_lease", "The service is not stopped without a lease of this run on this node")
    return found


def maintenance_lease(node: Node, arguments: dict[str, Any]) -> dict[str, Any]:
    """The module maintenance_lease."""
    found, acts = lease(node), not arguments.get("_ansible_check_mode")
    state = node.service().state
    if arguments["state"] == "held":
        if found and found["run_id"] != arguments["run_id"]:
            message = f"The run {found['run_id']} holds the lease of this node until {found['deadline']}"
            raise NodeFailure("lease_taken", message)
        return {"changed": True, **({"lease": _take(node, arguments, state)} if acts else {})}
    if arguments["state"] == "opened":
        if acts:
            own_lease(node, arguments["run_id"])
        return {"changed": True}
    if found and found["prior_state"] == "Running" != state:
        message = f"The service is {state} and was Running before, so the lease is kept"
        raise NodeFailure("service_not_restored", message)
    if not acts:
        return {"changed": found is not None}
    node.path(_LEASE).unlink(missing_ok=True)
    follower = followers.pop(node.name, None)
    followed = {"followed": {"states": follower[2], "why": "SIMULATED", "events": []}} if follower else {}
    return {"changed": found is not None, **followed}


def _take(node: Node, arguments: dict[str, Any], prior_state: str) -> dict[str, Any]:
    seconds = arguments["hold_seconds"]
    if arguments["controller_host"] and arguments["open_within"] and prior_state == "Running":
        followers[node.name] = (node, arguments["follow_delay"], [])
    taken = {
        "run_id": arguments["run_id"],
        "generation": 1,
        "service": arguments["service_name"],
        "prior_state": prior_state,
        "start_type": "Auto",
        "boot": "SIMULATED",
        "deadline_monotonic": time.monotonic() + seconds,
        "deadline": _after(seconds),
        "heartbeat_stale": arguments["heartbeat_stale"],
        "controller_host": arguments["controller_host"],
        "follower": f"{arguments['run_id']}-follow" if node.name in followers else "",
        "undo_script": "",
        "guard_account": "SIMULATED",
        "drilled": True,
    }
    write_text(node.path(_LEASE), json.dumps(taken))
    return taken


def has_restored(node: Node, run_id: str) -> bool:
    """Has this run restored the node, or rolled a restore back?"""
    return node.path(rf"{RESTORES}\{run_id}.committed.json").exists()


def schedules_left(node: Node) -> str:
    """The record of paused schedules; empty when there is none."""
    file = node.path(_SCHEDULES)
    return file.read_text(encoding="utf-8") if file.exists() else ""


def schedule_pause(node: Node, arguments: dict[str, Any]) -> dict[str, Any]:
    """The module schedule_pause: the node's part of it."""
    before = schedules_left(node)
    if arguments["_operation"] == "write":
        node.path(_SCHEDULES).unlink(missing_ok=True)
        if arguments["_record"]:
            write_text(node.path(_SCHEDULES), arguments["_record"])
    return {"record": before}

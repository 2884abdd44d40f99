# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The run lock of a stand-in node, and what a new run does about the remains of dead ones."""

from __future__ import annotations

import datetime
import json
import time
from typing import Any

from . import standin_jobs, standin_lease, standin_service
from .node import Node
from .standin_failure import NodeFailure
from .standin_files import STATE_FOLDER, write_text
from .standin_window import sweep

_LOCK = rf"{STATE_FOLDER}\run.json"


def read(node: Node) -> dict[str, Any] | None:
    """The lock with its age in seconds and whether it is fresh; None when there is none."""
    try:
        lock = json.loads(node.path(_LOCK).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    age = max(0.0, time.monotonic() - lock["heartbeat_monotonic"])
    return {"run_id": lock["run_id"], "holder": lock["holder"], "started": lock["started"], "age": age, "fresh": age <= lock["stale_seconds"]}


def sign_of_life(node: Node, run_id: str) -> None:
    """A call of the run that holds the lock."""
    try:
        lock = json.loads(node.path(_LOCK).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    if run_id and lock["run_id"] == run_id:
        write_text(node.path(_LOCK), json.dumps(lock | {"heartbeat_monotonic": time.monotonic()}))


def run_lock(node: Node, arguments: dict[str, Any]) -> dict[str, Any]:
    """The module run_lock."""
    run_id, check_mode = arguments["run_id"], bool(arguments.get("_ansible_check_mode"))
    result: dict[str, Any] = {"changed": False, "adopted": "", "inherited": "", "pending": [], "pending_reason": "", "did": []}
    lock = read(node)
    if arguments["state"] == "released":
        result["changed"] = lock is not None and lock["run_id"] == run_id
        if result["changed"] and not check_mode:
            node.path(_LOCK).unlink()
        return result
    if lock and lock["fresh"] and lock["run_id"] != run_id:
        raise NodeFailure("run_locked", f"The run {lock['run_id']} of {lock['holder']} holds this node since {lock['started']}; its last sign of life was "
                                        f"{lock['age']:.0f} s ago", lock)
    ours = lock is not None and lock["run_id"] == run_id
    if arguments["state"] == "acquired":
        result["changed"] = not ours
        if not check_mode:
            now = datetime.datetime.now(datetime.UTC)
            write_text(node.path(_LOCK), json.dumps({
                "run_id": run_id, "holder": arguments["holder"], "started": f"{now:%Y-%m-%d %H:%M:%S} UTC", "heartbeat_monotonic": time.monotonic(),
                "stale_seconds": arguments["stale_seconds"]}))
    try:
        _clear(node, arguments, lock, result)
    except NodeFailure:
        if not ours and not check_mode:
            node.path(_LOCK).unlink(missing_ok=True)
        raise
    return result


def _clear(node: Node, arguments: dict[str, Any], lock: dict[str, Any] | None, result: dict[str, Any]) -> None:
    result["pending"], result["pending_reason"] = _foreign_jobs(node, arguments, result), "foreign_job_alive"
    if not result["pending"] and not _lease(node, arguments, result):
        result["pending"], result["pending_reason"] = ["the start of the service that a dead run has left down"], "service_not_restored"
    if not result["pending"] and not arguments.get("_ansible_check_mode"):
        _leftovers(node, arguments, lock, result)


def _foreign_jobs(node: Node, arguments: dict[str, Any], result: dict[str, Any]) -> list[str]:
    waiting = []
    for job in standin_jobs.living(node):
        if job["run_id"] == arguments["run_id"]:
            continue
        what = f"{job['job']} of the run {job['run_id']} ({job['phase']}, process {job['process_id']})"
        choice = arguments["foreign_job"]
        if choice == "refuse":
            raise NodeFailure("foreign_job_alive", f"A job of a dead run lives on this node: {what}", job)
        if choice == "cancel":
            result["changed"] = True
            if standin_jobs.end(node, job["id"]):
                result["did"].append(f"ended the job {what}")
        elif choice == "take_over" and job["job"] == "WindowJob":
            standin_lease.give_to(node, arguments["run_id"])
            result["adopted"] = job["run_id"]
            result["did"].append(f"took over the window job of the run {job['run_id']}")
        else:
            waiting.append(what)
    return waiting


def _lease(node: Node, arguments: dict[str, Any], result: dict[str, Any]) -> bool:
    lease = standin_lease.read(node)
    if not standin_lease.remains(node) or (lease and lease["run_id"] == arguments["run_id"]):
        return True
    if lease and lease.get("controller_host") and not arguments.get("window_over") and arguments["foreign_job"] != "cancel" \
            and time.monotonic() < lease["deadline_monotonic"]:
        raise NodeFailure("window_open", f"{lease['service']} of this node is {node.service().state}, held for the window of the run {lease['run_id']} on "
                                         f"{lease['controller_host']}, until {lease['deadline']} at the latest; whether that run lives is known there")
    result["changed"] = True
    if arguments.get("_ansible_check_mode"):
        result["did"].append("would resolve the lease of a dead run")
        return True
    if lease and lease["prior_state"] == "Running":
        state = node.service().state
        if state != "Running":
            if standin_lease.held_by_person(node):
                raise NodeFailure("held_by_operator", f"{lease['service']} is {state} since the run {lease['run_id']} and is left so, because the file HOLD "
                                                      "is in the state folder")
            if not standin_service.start_surely(node, float(arguments.get("_wait_seconds") or 0))[0]:
                return False
            result["did"].append(f"started {lease['service']}, which the run {lease['run_id']} had left {state}")
        result["inherited"] = "Running"
    standin_lease.release(node)
    result["did"].append(f"released the lease of {'the run ' + lease['run_id'] if lease else 'a run that is not known any more'}")
    return True


def _leftovers(node: Node, arguments: dict[str, Any], lock: dict[str, Any] | None, result: dict[str, Any]) -> None:
    done = [f"removed the rest of the job {job}" for job in standin_jobs.remove_dead(node, {arguments["run_id"], result["adopted"]} - {""})]
    if arguments["state"] == "recovered" and lock:
        node.path(_LOCK).unlink(missing_ok=True)
        done.append(f"removed the stale lock of the run {lock['run_id']} of {lock['holder']}")
    staging = arguments.get("staging_directory") or ""
    if staging:
        done += [f"removed {staging}\\{name}" for name in sweep(node, staging, {arguments["run_id"], result["adopted"]})]
    result["did"] += done
    result["changed"] = result["changed"] or bool(done)

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lease of a stand-in node and its guard: a thread in place of the scheduled task, which a file stands for."""

from __future__ import annotations

import datetime
import json
import threading
import time
from pathlib import Path
from typing import Any

from . import layout, standin_service
from .node import Node
from .standin_failure import NodeFailure
from .standin_files import STATE_FOLDER, utc_text, write_text

_LEASE = rf"{STATE_FOLDER}\lease.json"
_HOLD = rf"{STATE_FOLDER}\HOLD"
_TASK = r"\AlteryxOps\Guard"
_TASK_FILE = rf"C:\Windows\System32\Tasks{_TASK}"
_GUARD_SECONDS = 0.2  # a real guard fires every minute
_MINUTE_SECONDS = 15.0  # where it matters that it does not fire at once: a run that lives is faster than the guard
_SYSTEM = "S-1-5-18"


def boot(node: Node) -> None:
    """A boot has an identity; a lease of another boot does not count."""
    write_text(_boot_file(node), f"4@{utc_text()}")  # process id and birth of services.exe


def read(node: Node) -> dict[str, Any] | None:
    """The lease; None when there is none or it cannot be read."""
    try:
        lease = json.loads(node.path(_LEASE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return lease if isinstance(lease, dict) else None


def held_by_person(node: Node) -> bool:
    """Whether somebody wants the service to stay down."""
    return node.path(_HOLD).exists()


def give_to(node: Node, run_id: str) -> None:
    """The lease of a dead run becomes this run's; all else stays."""
    lease = read(node)
    if lease:
        write_text(node.path(_LEASE), json.dumps(lease | {"run_id": run_id}))


def remains(node: Node) -> bool:
    """Whether there is a lease, or a guard without one."""
    return node.path(_LEASE).exists() or node.path(_TASK_FILE).exists()


def take(node: Node, arguments: dict[str, Any]) -> dict[str, Any]:
    """Take the lease: written, guard registered, drilled; nothing is left when that fails."""
    run_id, service, hold_seconds = arguments["run_id"], arguments["service_name"], arguments["hold_seconds"]
    found = standin_service.facts(node, service)
    if found["state"] not in ("Running", "Stopped"):
        raise NodeFailure("service_in_transition", f"The service {service} is {found['state']}; a lease is taken only when it is Running or Stopped")
    if held_by_person(node):
        raise NodeFailure("hold_present", f"The file {_HOLD} is there: nothing is stopped or started on this node")
    now = time.monotonic()
    until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=hold_seconds)
    lease = {"run_id": run_id, "generation": 1, "service": service, "prior_state": found["state"], "start_type": found["start_type"], "boot": _boot(node),
             "deadline_monotonic": now + hold_seconds, "deadline": f"{until:%Y-%m-%d %H:%M:%S} UTC",
             "heartbeat_stale": arguments["heartbeat_stale"], "controller_host": arguments["controller_host"], "drilled": False}
    write_text(node.path(_LEASE), json.dumps(lease))
    try:
        _register_guard(node)
        lease |= {"guard_account": _drill(node, arguments["guard_account"]), "drilled": True}
        write_text(node.path(_LEASE), json.dumps(lease))
    except NodeFailure:
        release(node)
        raise
    threading.Thread(target=_guard, args=(node, found["state"] == "Running"), name=f"{node.name} guard", daemon=True).start()
    return lease


def hold(node: Node, run_id: str, service: str) -> dict[str, Any]:
    """The lease of this run for this service; a failure unless it allows a stop."""
    lease = read(node)
    lacks = ""
    if lease is None:
        lacks = "there is none"
    elif lease["run_id"] != run_id:
        lacks = f"it belongs to the run {lease['run_id']}"
    elif lease["service"].casefold() != service.casefold():
        lacks = f"it is for the service {lease['service']}"
    elif not lease.get("drilled"):
        lacks = "its guard has not answered a drill"
    elif lease["boot"] != _boot(node):
        lacks = "it is from before the last boot"
    elif time.monotonic() >= lease["deadline_monotonic"]:
        lacks = "its deadline has passed"
    elif not node.path(_TASK_FILE).exists():
        lacks = "its guard task is not registered"
    if lease is None or lacks:
        raise NodeFailure("no_lease", f"The service {service} is not stopped without a lease of this run on this node: {lacks}")
    return lease


def release(node: Node) -> bool:
    """Give the lease back; returns whether there was anything."""
    files = [node.path(_TASK_FILE), node.path(_LEASE)]
    had = any(file.exists() for file in files)
    for file in files:
        file.unlink(missing_ok=True)
    return had


def maintenance_lease(node: Node, arguments: dict[str, Any]) -> dict[str, Any]:
    """The module maintenance_lease."""
    lease = read(node)
    run_id, check_mode = arguments["run_id"], bool(arguments.get("_ansible_check_mode"))
    foreign = lease is not None and lease["run_id"] != run_id
    if arguments["state"] == "held":
        if lease and foreign:
            raise NodeFailure("lease_taken", f"The run {lease['run_id']} holds the lease of this node until {lease['deadline']}")
        if check_mode:
            return {"changed": True}
        return {"changed": True, "lease": take(node, arguments)}
    if lease and foreign:
        return {"warnings": [f"The lease of this node belongs to the run {lease['run_id']}; it is left alone"]}
    if check_mode:
        return {"changed": remains(node)}
    state = standin_service.facts(node, arguments["service_name"])["state"]
    if lease and lease["prior_state"] == "Running" and state != "Running":
        reason = "held_by_operator" if held_by_person(node) else "service_not_restored"
        raise NodeFailure(reason, f"{lease['service']} is {state} and was Running before, so the lease is kept and the guard goes on trying")
    return {"changed": release(node)}


def _register_guard(node: Node) -> None:
    if standin_service.behaviour(node).get("schtasks") == "deny":
        raise NodeFailure("task_refused", f"The Task Scheduler refused to register the scheduled task {_TASK}: ERROR: Access is denied. (exit code 1)")
    write_text(node.path(_TASK_FILE), "SIMULATED\n")


def _drill(node: Node, account: str) -> str:
    behaviour = standin_service.behaviour(node)
    if behaviour.get("schtasks") == "never_run":
        raise NodeFailure("drill_unanswered", f"The guard task {_TASK} was run but has not answered within 30 s")
    answered = behaviour.get("account") or _SYSTEM
    if answered != account:
        raise NodeFailure("drill_wrong_account", f"The guard runs as {answered}, expected {account}")
    return answered


def _guard(node: Node, restores: bool) -> None:
    """Lives as long as its task is registered; acts when the lease is over, from another boot, or gone, or when the controller is back."""
    seen_down, back_since = False, 0.0
    while node.path(_TASK_FILE).exists():
        lease = read(node)
        over = lease is None or lease["boot"] != _boot(node) or time.monotonic() >= lease["deadline_monotonic"]
        if lease and lease["controller_host"]:
            answers = standin_service.answers(node, lease["controller_host"])
            seen_down = seen_down or not answers
            back_since = (back_since or time.monotonic()) if answers else 0.0
            over = over or (answers and seen_down and time.monotonic() - back_since > _MINUTE_SECONDS)
        if over and restores and not held_by_person(node) and node.service().state == "Stopped":
            standin_service.request_start(node)
        if lease is None:
            # A real guard would stay; here whoever takes the lease away from outside need not know of the file that stands for the task.
            node.path(_TASK_FILE).unlink(missing_ok=True)
        time.sleep(_GUARD_SECONDS)


def _boot(node: Node) -> str:
    return _boot_file(node).read_text(encoding="utf-8")


def _boot_file(node: Node) -> Path:
    return layout.drive(node.folder, "c") / "AlteryxLab" / "standin-boot"

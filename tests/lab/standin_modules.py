# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in node's doubles of modules: state machines and file outputs only. Arguments and results are those of the module's .ps1."""

from __future__ import annotations

import json
import time
from typing import Any

from . import standin_catalogue, standin_config, standin_info, standin_jobs, standin_lease, standin_lock, standin_schedules, standin_service
from .node import Node
from .standin_archive import archive_job, verify_job
from .standin_dump import mongodb_answers
from .standin_failure import NodeFailure
from .standin_files import write_text
from .standin_jobs import JobCode
from .standin_node import ModuleDouble, StandinMachine
from .standin_window import dump_job, window_job


def win_ping(machine: StandinMachine, arguments: dict[str, Any]) -> dict[str, Any]:
    """``ansible.windows.win_ping``: the smallest module there is, for trying the lab and for measuring it."""
    del machine
    data = arguments.get("data") or "pong"
    if data == "crash":
        raise RuntimeError("boom")
    return {"ping": data}


def node_info(machine: StandinMachine, arguments: dict[str, Any]) -> dict[str, Any]:
    """Reads the node."""
    return standin_info.node_info(machine.node, machine.user, arguments, administrator=machine.administrator)


def workflow_drain(machine: StandinMachine, arguments: dict[str, Any]) -> dict[str, Any]:
    """Waits for the node's engine processes."""
    limit = time.monotonic() + float(arguments.get("_wait_seconds") or 0)
    while True:
        running = standin_info.processes(machine.node, "AlteryxEngineCmd.exe")
        if not running or time.monotonic() >= limit:
            return {"running": running}
        time.sleep(0.1)


def maintenance_lease(machine: StandinMachine, arguments: dict[str, Any]) -> dict[str, Any]:
    """Holds or releases the lease."""
    with machine.lock:
        return standin_lease.maintenance_lease(machine.node, arguments)


def alteryx_service(machine: StandinMachine, arguments: dict[str, Any]) -> dict[str, Any]:
    """Starts, stops or restores the service."""
    node, name, run_id = machine.node, arguments["service_name"], arguments["run_id"]
    before = standin_service.facts(node, name)
    if not before["exists"]:
        raise NodeFailure("service_absent", f"There is no Windows service {name} on this node")
    if arguments["state"] == "answering":
        return {"service": before, "port_answers": not arguments["port"] or standin_service.answers(node, "localhost"),
                "url_answers": "200" if arguments["url"] else ""}
    goal = {"started": "Running", "stopped": "Stopped"}.get(arguments["state"])
    if goal is None:
        lease = standin_lease.read(node)
        ours = lease is not None and lease["run_id"] == run_id
        goal = lease["prior_state"] if lease and ours else "Running" if arguments.get("prior_state") == "Running" else before["state"]
    changed = before["state"] != goal
    result: dict[str, Any] = {"before": before["state"], "changed": changed, "goal": goal, "reached": not changed, "states": []}
    if goal == "Stopped" and changed and not arguments.get("_ansible_check_mode"):
        standin_lease.hold(node, run_id, name)
    if changed and not arguments.get("_ansible_check_mode"):
        seconds = float(arguments.get("_wait_seconds") or 0)
        if goal == "Running":
            _refuse_start(node, name, before["state"])
            result["reached"], result["states"] = standin_service.start_surely(node, seconds)
            result["problem"] = ""
        else:
            standin_service.request_stop(node)
            result["reached"], result["states"] = standin_service.wait_for(node, goal, seconds)
    left = standin_info.processes(node, "AlteryxEngineCmd.exe") if goal == "Stopped" and result["reached"] else []
    return {**result, "service": standin_service.facts(node, name), "workflows": left}


def _refuse_start(node: Node, name: str, state: str) -> None:
    for job in standin_jobs.living(node):
        if job["job"] == "WindowJob":
            raise NodeFailure("window_job_alive", f"The window job of the run {job['run_id']} lives ({job['phase']}, process {job['process_id']}); it restores "
                                                  f"{name} itself")
    if standin_lease.held_by_person(node):
        raise NodeFailure("held_by_operator", f"{name} is {state} and is left so, because the file HOLD is in the state folder")


def run_lock(machine: StandinMachine, arguments: dict[str, Any]) -> dict[str, Any]:
    """Holds the node for one run."""
    with machine.lock:
        return standin_lock.run_lock(machine.node, arguments)


def schedule_pause(machine: StandinMachine, arguments: dict[str, Any]) -> dict[str, Any]:
    """Keeps the record of paused schedules."""
    return standin_schedules.schedule_pause(machine.node, arguments)


def config_export(machine: StandinMachine, arguments: dict[str, Any]) -> dict[str, Any]:
    """Copies critical files, encrypts secrets."""
    return standin_config.config_export(machine.node, standin_info.computer(machine.node), arguments)


def mongodb_info(machine: StandinMachine, arguments: dict[str, Any]) -> dict[str, Any]:
    """Asks a MongoDB."""
    return {"answers": mongodb_answers(machine.node, json.loads(arguments["_probes"]))}


def backup_set(machine: StandinMachine, arguments: dict[str, Any]) -> dict[str, Any]:
    """Writes small text files beside the archives."""
    written = []
    for name, text in arguments["files"].items():
        path = rf"{arguments['folder']}\{name}"
        file = machine.path(path)
        if file.exists():
            if file.read_bytes().decode() == text:
                continue
            raise NodeFailure("archive_exists", f"{path} exists already with other content; nothing is overwritten")
        written.append(path)
        if not arguments.get("_ansible_check_mode"):
            write_text(file, text)
    return {"changed": bool(written), "written": written}


def backup_info(machine: StandinMachine, arguments: dict[str, Any]) -> dict[str, Any]:
    """Looks at a destination folder."""
    return standin_catalogue.backup_info(machine.node, arguments)


def _job(name: str, code: JobCode) -> ModuleDouble:
    def double(machine: StandinMachine, arguments: dict[str, Any]) -> dict[str, Any]:
        return standin_jobs.operation(machine.node, name, code, arguments)

    return double


def _of_a_run(double: ModuleDouble) -> ModuleDouble:
    def called(machine: StandinMachine, arguments: dict[str, Any]) -> dict[str, Any]:
        with machine.lock:
            standin_lock.sign_of_life(machine.node, arguments.get("run_id") or arguments.get("_run_id") or "")
        return double(machine, arguments)

    return called


_DOUBLES: dict[str, ModuleDouble] = {
    "run_lock": run_lock,
    "node_info": node_info,
    "mongodb_info": mongodb_info,
    "workflow_drain": workflow_drain,
    "maintenance_lease": maintenance_lease,
    "alteryx_service": alteryx_service,
    "database_window": _job("WindowJob", window_job),
    "database_dump": _job("DumpJob", dump_job),
    "schedule_pause": schedule_pause,
    "config_export": config_export,
    "backup_archive": _job("ArchiveJob", archive_job),
    "backup_verify": _job("VerifyJob", verify_job),
    "backup_set": backup_set,
    "backup_info": backup_info,
}

MODULES: dict[str, ModuleDouble] = {"win_ping": win_ping, **{name: _of_a_run(double) for name, double in _DOUBLES.items()}}
"""Name of a module -> its double. Every call is a sign of life of its run, as on Windows."""

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The node jobs of a stand-in node: the same folder, files and answers as on Windows, a thread in place of the detached task."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import standin_service
from .node import Node
from .standin_failure import NodeFailure
from .standin_files import STATE_FOLDER, utc_text, write_text

JobCode = Callable[["Job", dict[str, Any]], dict[str, Any]]


class Cancelled(Exception):
    """The job's process tree was ended: nothing of it runs any more, no clean-up either."""


class Job:
    """One running job: what its code may say, and whether it shall end."""

    def __init__(self, node: Node, folder: Path, name: str, run_id: str) -> None:
        self.node = node
        self.done = threading.Event()
        self._folder = folder
        self._ending = threading.Event()
        self._events: list[dict[str, str]] = []
        self._status: dict[str, Any] = {"run_id": run_id, "state": "running", "phase": "start", "done_bytes": 0, "total_bytes": 0, "message": "", "job": name,
                                        "process_id": threading.get_native_id(), "process_birth": os.getpid()}
        self.status("begin")
        self.log("SIMULATED: this is a stand-in node")

    def status(self, phase: str, done_bytes: int = 0, total_bytes: int = 0, message: str = "", state: str = "running") -> None:
        """Publish where the job is."""
        self._status |= {"state": state, "phase": phase, "done_bytes": done_bytes, "total_bytes": total_bytes, "message": message}
        write_text(self._folder / "status.json", json.dumps(self._status))

    def log(self, text: str, level: str = "INFO") -> None:
        """One line for the operator."""
        at = utc_text()
        self._events.append({"at": at, "level": level, "text": text})
        with (self._folder / "job.log").open("a", encoding="utf-8", newline="") as log:
            log.write(f"{at} {level} {text}\r\n")

    def about(self, job_id: str) -> dict[str, Any]:
        """What others may know of it."""
        return {"id": job_id, "alive": True} | {key: self._status[key] for key in ("run_id", "job", "phase", "process_id")}

    def look(self) -> None:
        """To be called again and again: the point at which a job can be ended."""
        if self._ending.is_set():
            raise Cancelled

    def end(self) -> None:
        """End it."""
        self._ending.set()
        self.done.wait(10)

    def run(self, code: JobCode, spec: dict[str, Any]) -> None:
        """What JobHost.ps1 does."""
        try:
            outcome, state = self._outcome(code, spec)
            write_text(self._folder / "result.json", json.dumps({**outcome, "events": self._events, "state": state}))
            self.status("end", state=state)
        except Cancelled:
            pass  # as a killed process leaves it
        finally:
            self.done.set()

    def _outcome(self, code: JobCode, spec: dict[str, Any]) -> tuple[dict[str, Any], str]:
        try:
            return code(self, spec), "succeeded"
        except Cancelled:
            raise
        except NodeFailure as failure:
            named = failure
        except Exception as error:  # what a script throws without a name
            named = NodeFailure("unexpected", str(error), {"position": traceback.format_exc()})
        self.log(named.message, "ERROR")
        return {**named.detail, "reason": named.reason, "msg": named.message}, "failed"


_running: dict[Path, Job] = {}


def operation(node: Node, name: str, code: JobCode, arguments: dict[str, Any]) -> dict[str, Any]:
    """The hidden operations start, poll, cancel and discard of a module that has a job."""
    job_id = str(arguments["_job_id"])
    if not re.fullmatch(r"[A-Za-z0-9._-]+", job_id):
        raise NodeFailure("unexpected", f"not a job id: {job_id}", {"position": ""})
    folder = node.path(rf"{STATE_FOLDER}\jobs\{job_id}")
    verb = arguments["_operation"]
    if verb == "start":
        _start(node, folder, name, code, arguments)
        return {"changed": True}
    if verb == "poll":
        return _poll(folder, job_id, float(arguments.get("_wait_seconds") or 0), int(arguments.get("_log_offset") or 0))
    if verb == "cancel":
        return {"changed": end(node, job_id)}
    shutil.rmtree(folder, ignore_errors=True)
    return {}


def living(node: Node) -> list[dict[str, Any]]:
    """Jobs of the node that are alive: id, run_id, job, phase, process_id."""
    root = node.path(rf"{STATE_FOLDER}\jobs")
    return [job.about(folder.name) for folder, job in list(_running.items()) if folder.parent == root]


def end(node: Node, job_id: str) -> bool:
    """End a job with everything it started; returns whether there was one."""
    job = _running.pop(node.path(rf"{STATE_FOLDER}\jobs\{job_id}"), None)
    if job:
        job.end()
    return job is not None


def remove_dead(node: Node, spared_runs: set[str]) -> list[str]:
    """Remove the folders of jobs that are not alive and not of these runs; returns their ids."""
    root = node.path(rf"{STATE_FOLDER}\jobs")
    removed = []
    for folder in sorted(root.iterdir()) if root.is_dir() else []:
        status = folder / "status.json"
        run_id = json.loads(status.read_text(encoding="utf-8")).get("run_id", "") if status.exists() else ""
        if folder not in _running and run_id not in spared_runs:
            shutil.rmtree(folder)
            removed.append(folder.name)
    return removed


def _start(node: Node, folder: Path, name: str, code: JobCode, arguments: dict[str, Any]) -> None:
    task = rf"\AlteryxOps\{folder.name}"
    if folder.exists():
        raise NodeFailure("job_exists", f"A job {folder.name} is on this node already ({STATE_FOLDER}\\jobs\\{folder.name})")
    schtasks = standin_service.behaviour(node).get("schtasks")
    if schtasks == "deny":
        raise NodeFailure("task_refused", f"The Task Scheduler refused to register the scheduled task {task}: ERROR: Access is denied. (exit code 1)")
    if schtasks == "never_run":
        raise NodeFailure("job_not_started", f"The task {task} was started but its script has not begun within 60 s")
    write_text(folder / "spec.json", arguments["_spec"])
    job = Job(node, folder, name, str(json.loads(arguments["_spec"]).get("run_id") or ""))
    _running[folder] = job

    def run() -> None:
        job.run(code, json.loads(arguments["_spec"]))
        _running.pop(folder, None)

    threading.Thread(target=run, name=f"{node.name} {name}", daemon=True).start()


def _poll(folder: Path, job_id: str, wait_seconds: float, log_offset: int) -> dict[str, Any]:
    job = _running.get(folder)
    if job:
        job.done.wait(wait_seconds)
    alive = folder in _running  # asked before the status is read: a job that ends in between has written its last status
    file = folder / "status.json"
    if not file.exists():
        raise NodeFailure("job_lost", f"The job {job_id} is not on this node ({STATE_FOLDER}\\jobs\\{job_id}\\status.json is absent)")
    status = json.loads(file.read_text(encoding="utf-8"))
    if status["state"] == "running" and not alive:
        raise NodeFailure("job_died", f"The job {job_id} (process {status['process_id']}) has ended without a result during {status['phase']}")
    log = folder / "job.log"
    text = log.read_bytes().decode() if log.exists() else ""
    result = (folder / "result.json").read_text(encoding="utf-8") if status["state"] != "running" else ""
    return {"status": status, "log": text[log_offset:], "log_offset": len(text), "result": result}

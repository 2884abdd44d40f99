# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The jobs of a stand-in node that dump: what WindowJob.ps1 and DumpJob.ps1 do, with the simulated service and dump."""

from __future__ import annotations

import re
import shutil
import time
from typing import Any

from . import standin_lease, standin_secret, standin_service
from .node import Node
from .standin_dump import emongodump, mongodump
from .standin_failure import NodeFailure
from .standin_files import bytes_below, files_below
from .standin_jobs import Job

_RUN = re.compile(r"(Full|DB|Config)_\d{8}_\d{6}_[0-9a-f]{4}")


def window_job(job: Job, spec: dict[str, Any]) -> dict[str, Any]:
    """Stop, dump, start; whatever fails, the prior state is restored."""
    lease = standin_lease.hold(job.node, spec["run_id"], spec["service"])
    return _Window(job, spec, lease["prior_state"]).run()


def dump_job(job: Job, spec: dict[str, Any]) -> dict[str, Any]:
    """Dump while the service runs."""
    folder = job.node.path(spec["dump_folder"])
    if folder.is_dir():
        raise NodeFailure("staging_in_use", f"The dump folder {spec['dump_folder']} exists already")
    run_staging(job.node, spec["staging_directory"], spec["run_id"])
    folder.mkdir(parents=True)
    job.status("dump", total_bytes=spec["expected_bytes"])
    job.log(f"dumping to {spec['dump_folder']}")
    code, output = mongodump(job.node, spec["dumps"], job.look)
    return {"dump_folder": spec["dump_folder"], "exit_code": code, "output": standin_secret.hide(output),
            "files": [{"path": found.path, "bytes": found.size} for found in files_below(folder)]}


def run_staging(node: Node, root: str, run_id: str) -> None:
    """The staging folder of a run."""
    node.path(root).mkdir(parents=True, exist_ok=True)
    (node.path(root) / run_id).mkdir(exist_ok=True)


def sweep(node: Node, root: str, spared_runs: set[str]) -> list[str]:
    """Remove what other runs have left; returns the names."""
    folder = node.path(root)
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    stale = [entry for entry in entries if entry.is_dir() and entry.name not in spared_runs and _RUN.fullmatch(entry.name)]
    for entry in stale:
        shutil.rmtree(entry)
    return [entry.name for entry in stale]


class _Window:
    def __init__(self, job: Job, spec: dict[str, Any], prior_state: str) -> None:
        self._job = job
        self._node = job.node
        self._spec = spec
        self._prior_state = prior_state
        self._was_running = prior_state == "Running"
        self._begun = time.monotonic()
        self._marks: dict[str, float] = {}
        self._states: list[dict[str, str]] = []
        self._dump: tuple[int, str] | None = None

    def run(self) -> dict[str, Any]:
        """As a whole."""
        spec = self._spec
        folder = self._node.path(spec["dump_folder"])
        if folder.is_dir():
            raise NodeFailure("staging_in_use", f"The dump folder {spec['dump_folder']} exists already")
        run_staging(self._node, spec["staging_directory"], spec["run_id"])
        folder.mkdir(parents=True)
        failure = None
        try:
            self._stop()
            self._dump_database()
        except NodeFailure as named:
            failure = named
        restored, failure = self._restore(failure)
        self._job.status("collect")
        detail: dict[str, Any] = {
            "prior_state": self._prior_state, "restored": restored, "states": self._states, "marks": self._marks, "dump_folder": spec["dump_folder"],
            "files": [{"path": found.path, "bytes": found.size} for found in files_below(folder)]}
        if self._dump:
            detail |= {"exit_code": self._dump[0], "output": standin_secret.hide(self._dump[1])}
        before = f" (before that: {failure.message})" if failure else ""
        if not restored and standin_lease.held_by_person(self._node):
            raise NodeFailure("held_by_operator", f"{spec['service']} is left down because the file HOLD is in the state folder{before}", detail)
        if not restored:
            raise NodeFailure("service_not_restored", f"{spec['service']} is not Running again{before}", detail)
        if failure:
            raise NodeFailure(failure.reason, failure.message, detail)
        self._job.log(f"{spec['service']} is back as before: {self._prior_state}")
        return detail

    def _stop(self) -> None:
        service = self._spec["service"]
        if self._was_running:
            self._job.status("stop")
            self._job.log(f"stopping {service}")
            self._mark("stop_requested")
            standin_service.request_stop(self._node)
            reached, states = standin_service.wait_for(self._node, "Stopped", self._spec["stop_timeout"], self._job.look)
            self._states += states
            if not reached:
                raise NodeFailure("stop_timeout", f"{service} was not Stopped within {self._spec['stop_timeout']} s (last state {states[-1]['state']})")
            self._mark("stopped")
            self._job.log(f"{service} is Stopped")
        elif self._node.service().state != "Stopped":
            raise NodeFailure("service_moved", f"{service} was Stopped when the lease was taken and is not any more")
        if left := [f"{process.name} ({process.pid})" for process in self._node.processes() if process.name == "AlteryxEngineCmd.exe"]:
            raise NodeFailure("processes_left", f"{service} is Stopped but these processes of the installation still run: {', '.join(left)}")

    def _dump_database(self) -> None:
        spec = self._spec
        self._job.status("dump", total_bytes=spec["expected_bytes"])
        self._job.log(f"dumping to {spec['dump_folder']}")
        self._mark("dump_started")
        limit = time.monotonic() + spec["dump_timeout"]

        def tick() -> None:
            self._job.look()
            self._job.status("dump", bytes_below(self._node.path(spec["dump_folder"])), spec["expected_bytes"])
            if self._node.service().state != "Stopped":
                raise NodeFailure("service_started_during_dump", f"{spec['service']} did not stay Stopped during the dump: somebody else started it")
            if shutil.disk_usage(self._node.path(spec["staging_directory"])).free < spec["space_reserve"]:
                said = f"less than {spec['space_reserve']} bytes are free on the drive of {spec['dump_folder']}, so the dump was ended"
                raise NodeFailure("space_reserve", said)
            down = time.monotonic() - self._begun - self._marks.get("stop_requested", 0.0)
            if self._was_running and down > spec["max_downtime"]:
                raise NodeFailure("downtime_limit", f"the service was down for more than {spec['max_downtime']} s, so the dump was ended")
            if time.monotonic() > limit:
                raise NodeFailure("dump_timeout", f"{spec['method']} was ended because it was not done within {spec['dump_timeout']} s")

        self._dump = (-1, "")  # of one that is ended
        try:
            if spec["method"] == "mongodump":
                self._dump = mongodump(self._node, spec["dumps"], tick)
            else:
                self._dump = emongodump(self._node, spec["dump_folder"], tick)
            tick()
        finally:
            self._mark("dump_ended")

    def _restore(self, failure: NodeFailure | None) -> tuple[bool, NodeFailure | None]:
        restored = not self._was_running
        if self._was_running and not standin_lease.held_by_person(self._node):
            self._mark("start_requested")
            self._job.status("start")
            restored, states = standin_service.start_surely(self._node, self._spec["start_timeout"], self._job.look)
            self._states += states
            self._mark("running")
        return restored, failure

    def _mark(self, name: str) -> None:
        self._marks[name] = time.monotonic() - self._begun

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Wine node of its own for the fault tests, and a clean state before each of them."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import pytest

from tests.integration.lab_of_tests import ARCHIVES, STAGING, Lab, running_lab
from tests.integration.playbook_run import PLAYBOOKS

from . import watch
from .background_run import BackgroundRun

MINUTE = 10.0
"""Seconds of a minute of task triggers: how often the guard fires."""


class Start(Protocol):
    """Starts a playbook against the node; it is killed at the end of the test if it still runs."""

    def __call__(
        self,
        playbook: str | Path,
        *,
        extra_vars: Mapping[str, object] | None = None,
        environment: Mapping[str, str] | None = None,
        playbooks: Path = PLAYBOOKS,
    ) -> BackgroundRun:
        """Start it."""


@pytest.fixture(scope="session")
def session_lab() -> Iterator[Lab]:
    """A lab with one Wine node."""
    with running_lab("wine", "faults") as running:
        yield running


@pytest.fixture
def lab(session_lab: Lab) -> Iterator[Lab]:
    """The lab: its service runs, nothing of an earlier run is left. Whatever a test breaks is repaired
    after it, never in it."""
    repair(session_lab)
    session_lab.minute(MINUTE)
    yield session_lab
    repair(session_lab)


@pytest.fixture
def start(lab: Lab, tmp_path: Path) -> Iterator[Start]:
    """Starts playbooks."""
    runs: list[BackgroundRun] = []

    def begin(
        playbook: str | Path,
        *,
        extra_vars: Mapping[str, object] | None = None,
        environment: Mapping[str, str] | None = None,
        playbooks: Path = PLAYBOOKS,
    ) -> BackgroundRun:
        run = BackgroundRun(
            lab,
            playbook,
            tmp_path / f"run{len(runs)}",
            extra_vars=extra_vars,
            environment=environment,
            playbooks=playbooks,
        )
        runs.append(run)
        return run

    yield begin
    for run in runs:
        run.kill_everything()


@pytest.fixture
def watching(lab: Lab) -> Iterator[watch.Watch]:
    """An observer of service and dump from the beginning of the test."""
    with watch.Watch(lab) as observer:
        yield observer


def repair(lab: Lab) -> None:
    """Reset a node to the state that a test expects, also after a failed test."""
    watch.signal_processes(lab.node, "job_host.ps1", signal.SIGKILL)
    watch.signal_processes(lab.node, watch.DUMP, signal.SIGKILL)
    lab.end_engines()
    lab.node.empty_again()
    lab.node.answer_again()
    top = watch.state_file(lab, "run.json").parent
    for folder in top.glob("*.json/"):  # what a test has put in the way of a file
        folder.rmdir()
    watch.state_file(lab, "HOLD").unlink(missing_ok=True)
    if lab.tasks():
        watch.state_file(lab, "lease.json").touch()  # what recover() takes as the sign that tasks are left
    lab.recover()
    _remove(watch.state_file(lab, "jobs"))
    _remove(lab.node.path(STAGING))
    _remove(lab.node.path(ARCHIVES))
    if top.is_dir():
        for file in top.iterdir():
            if file.is_file():
                file.unlink()


def _remove(folder: Path) -> None:
    """Empty a folder of the node."""
    if folder.is_dir():
        for entry in folder.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

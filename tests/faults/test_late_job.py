# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process of a scheduled task begins late: security software, a busy host or a hung start holds it up."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.lab_of_tests import ARCHIVES, Lab

from .conftest import Start
from .watch import host_processes, until

pytestmark = [pytest.mark.wine, pytest.mark.long, pytest.mark.timeout(900)]


def test_a_job_that_does_not_begin_is_started_again_and_the_late_process_does_nothing(lab: Lab, start: Start) -> None:
    lab.node.behave(schtasks="late")
    run = start("config_backup.yml").finish()
    assert run.rc == 0, run.output
    assert "its task was started again" in run.output
    folder = lab.node.path(f"{ARCHIVES}\\{lab.node.name}")
    archives = files_of(folder)
    assert host_processes(lab.node, "job_host.ps1") == []
    # Now the processes that were held up begin, and find no work.
    lab.node.behave()
    until(lambda: host_processes(lab.node, "job_host.ps1"), 30, "a process that begins late")
    until(lambda: not host_processes(lab.node, "job_host.ps1"), 60, "the end of the late processes")
    assert files_of(folder) == archives
    assert lab.leftovers() == []


def files_of(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}

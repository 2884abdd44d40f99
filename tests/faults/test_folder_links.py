# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder of this collection on the node has become a junction: nothing below it is read or removed, and the service
is started again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.lab_of_tests import STATE_FOLDER, Lab

from .conftest import Start
from .scenes import leave_service_down
from .watch import Watch, state_file

pytestmark = [pytest.mark.wine, pytest.mark.long, pytest.mark.timeout(900)]

TARGET = r"D:\Precious"


@pytest.fixture
def target(lab: Lab) -> Iterator[Path]:
    """What the junction leads to."""
    folder = lab.node.path(TARGET)
    (folder / "Old-run-window").mkdir(parents=True)
    (folder / "Old-run-window" / "spec.json").write_text("{}", encoding="utf-8")
    (folder / "kept.txt").write_text("kept", encoding="utf-8")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def content(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): file.read_text(encoding="utf-8") for file in folder.rglob("*") if file.is_file()
    }


def replace_by_junction(lab: Lab) -> Path:
    """The folder of the jobs becomes a junction; returns the link."""
    jobs = state_file(lab, "jobs")
    if jobs.is_dir():
        shutil.rmtree(jobs)
    lab.node.junction(rf"{STATE_FOLDER}\jobs", TARGET)
    return jobs


def test_recover_brings_the_service_back_and_refuses_the_clean_up_by_name(
    lab: Lab, start: Start, watching: Watch, target: Path
) -> None:
    before = content(target)
    leave_service_down(lab, start)
    link = replace_by_junction(lab)
    try:
        recovered = start("recover.yml").finish()
        assert lab.node.service().state == "Running"
        assert recovered.rc == 3, recovered.output
        assert rf"{STATE_FOLDER}\jobs is a link to somewhere else" in recovered.text
        assert "started AlteryxService" in recovered.text
        assert content(target) == before
    finally:
        link.unlink()


def test_verification_refuses_to_work_in_a_folder_that_leads_elsewhere(lab: Lab, start: Start, target: Path) -> None:
    start("config_backup.yml").finish().assert_ok()
    before = content(target)
    link = replace_by_junction(lab)
    try:
        verified = start("verify_backup.yml").finish()
        assert verified.rc == 3, verified.output
        assert rf"{STATE_FOLDER}\jobs is a link to somewhere else" in verified.text
        assert content(target) == before
    finally:
        link.unlink()


def test_a_backup_refuses_such_a_folder_before_anything_is_stopped(
    lab: Lab, start: Start, watching: Watch, target: Path
) -> None:
    start("config_backup.yml").finish().assert_ok()
    before = content(target)
    link = replace_by_junction(lab)
    try:
        start("database_backup.yml").finish().assert_failed(3, "folder_untrusted")
        assert watching.state == "Running"
        assert watching.dumps == []
        assert content(target) == before
    finally:
        link.unlink()

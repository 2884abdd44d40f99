# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""verify_backup.yml over backups that real runs have made: the newest, a named one, one that was damaged, and none."""

from __future__ import annotations

from .kinds import LONG_ON_WINE
from .lab_of_tests import ARCHIVES, Lab
from .playbook_run import PlaybookRunner

NOWHERE = {"alteryx_archive_directory": r"D:\Nowhere"}


@LONG_ON_WINE
def test_a_backup_is_read_back_until_it_is_damaged(lab: Lab, run_playbook: PlaybookRunner) -> None:
    backup = run_playbook("config_backup.yml")
    backup.assert_ok()
    folder = lab.node.path(rf"{ARCHIVES}\{lab.node.name}")
    archive = max(folder.glob("*.zip"), key=lambda file: file.stat().st_mtime)
    verdicts = len(list(folder.glob(f"{archive.stem}.verify_*")))
    run_playbook("verify_backup.yml", "--check").assert_ended_well()
    assert len(list(folder.glob(f"{archive.stem}.verify_*"))) == verdicts
    run = run_playbook("verify_backup.yml")
    run.assert_ended_well()
    assert f"{archive.stem} is good" in run.text

    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(content)
    damaged = run_playbook("verify_backup.yml", extra_vars={"alteryx_archive_verify_id": backup.outcome["run_id"]})
    assert damaged.rc == 3, damaged.output
    assert f"{archive.name} does not have the SHA-256 of the .sha256 file" in damaged.text
    archive.unlink()


@LONG_ON_WINE
def test_without_a_backup_there_is_nothing_to_verify(run_playbook: PlaybookRunner) -> None:
    run = run_playbook("verify_backup.yml", extra_vars=NOWHERE)
    assert run.rc == 3, run.output
    assert "there is no complete backup in" in run.text


@LONG_ON_WINE
def test_a_name_that_leads_elsewhere_is_refused(run_playbook: PlaybookRunner) -> None:
    run = run_playbook("verify_backup.yml", extra_vars={"alteryx_archive_verify_id": r"..\other"})
    assert run.rc == 3, run.output
    assert "is no name of a backup" in run.text

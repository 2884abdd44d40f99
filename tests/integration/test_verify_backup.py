# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""verify_backup.yml over backups that real runs have made: the newest, a named one, one that was damaged, and none."""

from __future__ import annotations

import os
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults import watch

from .backup_files import flip_bit
from .kinds import on_standin_too, wine_only
from .lab_of_tests import ARCHIVES, STATE_FOLDER, Lab
from .playbook_run import PlaybookRunner

pytestmark = pytest.mark.long
NOWHERE = {"alteryx_archive_directory": r"D:\Nowhere"}


@on_standin_too
def test_the_newest_backup_of_each_mode_is_read_back_whatever_is_wrong_with_one(
    lab: Lab, run_playbook: PlaybookRunner
) -> None:
    database = run_playbook("database_backup.yml")
    database.assert_ok()
    config = run_playbook("config_backup.yml")
    config.assert_ok()
    folder = lab.node.path(rf"{ARCHIVES}\{lab.node.name}")

    def verdicts(run_id: str) -> int:
        return len(list(folder.glob(f"ServerBackup_{run_id[:-5]}.verify_*")))

    runs = [str(run.outcome["run_id"]) for run in (database, config)]
    before = [verdicts(run_id) for run_id in runs]
    check = run_playbook("verify_backup.yml", "--check")
    check.assert_ended_well()
    assert f"would be read back: ServerBackup_{runs[1][:-5]}, " in check.text
    assert [verdicts(run_id) for run_id in runs] == before
    run = run_playbook("verify_backup.yml")
    run.assert_ended_well()
    assert [verdicts(run_id) for run_id in runs] == [number + 1 for number in before]

    archive = folder / f"ServerBackup_{runs[1][:-5]}.zip"
    flip_bit(archive)
    damaged = run_playbook("verify_backup.yml")
    assert damaged.rc == 3, damaged.output
    assert f"{archive.stem} is not good" in damaged.text
    assert f"ServerBackup_{runs[0][:-5]} is good" in damaged.text
    named = run_playbook("verify_backup.yml", extra_vars={"alteryx_catalogue_verify_id": runs[1]})
    assert named.rc == 3, named.output
    assert ".sha256 file" in named.text
    assert f"ServerBackup_{runs[0][:-5]} is good" not in named.text
    run_playbook("verify_backup.yml", extra_vars={"alteryx_archive_verify_id": runs[0]}).assert_ended_well()
    archive.unlink()


@wine_only
def test_a_verification_that_takes_long_refuses_no_backup(lab: Lab, run_playbook: PlaybookRunner) -> None:
    run_playbook("config_backup.yml").assert_ok()
    jobs = lab.node.path(rf"{STATE_FOLDER}\jobs")

    def is_reading() -> bool:
        return any(b"verify_job" in file.read_bytes() for file in jobs.glob("*/status.json"))

    with ThreadPoolExecutor(1) as pool:
        verification = pool.submit(PlaybookRunner(lab), "verify_backup.yml")
        watch.until(lambda: is_reading() or verification.done(), 180, "the job of the verification", pause=0.005)
        stopped = watch.signal_processes(lab.node, "verify_job", signal.SIGSTOP)
        try:
            assert stopped
            run_playbook("config_backup.yml").assert_ok()
            assert not verification.done()
        finally:
            watch.signal_processes(lab.node, "verify_job", signal.SIGCONT)
        verification.result().assert_ended_well()


@wine_only
def test_recover_removes_what_a_verification_has_left_half_an_hour_ago(lab: Lab, run_playbook: PlaybookRunner) -> None:
    old, new = (lab.node.path(rf"{STATE_FOLDER}\jobs\{name}-verify-0000") for name in ("Old", "New"))
    for folder in (old, new):
        folder.mkdir(parents=True)
        (folder / "spec.json").write_text('{"place": {"password": "of a share"}}', encoding="utf-8")
    before = time.time() - 31 * 60
    os.utime(old, (before, before))
    try:
        run = run_playbook("recover.yml")
        run.assert_ended_well()
        assert not old.exists()
        assert new.exists()
        assert "removed the rest of the job Old-verify-0000" in run.text
    finally:
        shutil.rmtree(new)


@on_standin_too
@pytest.mark.reaches("no_good_backup")
def test_without_a_backup_there_is_nothing_to_verify(run_playbook: PlaybookRunner) -> None:
    run = run_playbook("verify_backup.yml", extra_vars=NOWHERE)
    assert run.rc == 3, run.output
    assert "there is no complete backup in" in run.text


@on_standin_too
@pytest.mark.reaches("backup_unknown")
def test_a_backup_that_was_never_made_is_not_called_bad(lab: Lab, run_playbook: PlaybookRunner) -> None:
    run_playbook("config_backup.yml").assert_ok()
    run = run_playbook(
        "verify_backup.yml", extra_vars={"alteryx_catalogue_verify_id": "ServerBackup_Full_20200101_000000"}
    )
    assert run.rc == 3, run.output
    assert rf"in {ARCHIVES}\{lab.node.name} there is no backup ServerBackup_Full_20200101_000000; " in run.text
    assert "list_backups.yml shows the names" in run.text


@on_standin_too
def test_a_name_that_leads_elsewhere_is_refused(run_playbook: PlaybookRunner) -> None:
    run = run_playbook("verify_backup.yml", extra_vars={"alteryx_catalogue_verify_id": r"..\other"})
    assert run.rc == 3, run.output
    assert "is not the name of a backup" in run.text

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An outage has paid for the dump.

Whatever fails after it, the dump goes into a verified archive, or is kept and named.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .backup_files import Backup, published
from .kinds import wine_only
from .lab_of_tests import ARCHIVES, SETTINGS, STAGING, Lab
from .playbook_run import PlaybookRunner, Run

# Up to four runs a test.
pytestmark = [wine_only, pytest.mark.usefixtures("recovered"), pytest.mark.timeout(1200)]

OTHER = r"D:\OtherBackups"
WANTED = {"alteryx_archive_directory": OTHER}


@pytest.fixture
def empty_archives(lab: Lab) -> None:
    """No archive is there at first."""
    shutil.rmtree(lab.node.path(ARCHIVES), ignore_errors=True)


@pytest.fixture
def in_the_way(lab: Lab) -> Iterator[Path]:
    """A file that may come where the archives of the node belong, in another archive directory."""
    folder = lab.node.path(OTHER)
    folder.mkdir()
    yield folder / lab.node.name
    shutil.rmtree(folder)


ON_CONTROL_NODE = {
    "delegate_to": "localhost",
    "vars": {"ansible_connection": "local", "ansible_shell_type": "sh"},
}


def tasks_after(tmp_path: Path, task: dict[str, Any]) -> str:
    """A file with a task that the operator has run after the window."""
    tasks = tmp_path / "after.yml"
    tasks.write_text(json.dumps([{"name": "Spoil it", **task}]))
    return str(tasks)


def the_backup(lab: Lab, run: Run, word: str) -> Backup:
    """The one backup of a run."""
    return Backup.of(lab, run.outcome["run_id"].split("_", 1)[1].rpartition("_")[0], word)


def staging_of(lab: Lab, run: Run) -> Path:
    """The staging folder of a run."""
    return lab.node.path(STAGING) / str(run.outcome["run_id"])


@pytest.mark.long
@pytest.mark.usefixtures("empty_archives")
def test_a_dump_is_archived_without_the_configuration_that_could_not_be_taken(
    lab: Lab, run_playbook: PlaybookRunner, tmp_path: Path
) -> None:
    settings = lab.node.path(SETTINGS)
    aside = settings.with_name("settings.aside")
    move = {"ansible.builtin.command": {"argv": ["mv", str(settings), str(aside)]}, **ON_CONTROL_NODE}
    try:
        run = run_playbook("full_backup.yml", extra_vars={"alteryx_window_after": tasks_after(tmp_path, move)})
    finally:
        aside.rename(settings)
    run.assert_failed(1, "critical_file_missing")
    assert lab.node.service().state == "Running"
    assert (run.node()["dump"], run.node()["verdict"]) == ("archived", "good")
    backup = the_backup(lab, run, "Full")
    backup.assert_complete(secrets=False)
    manifest = backup.manifest()
    assert (manifest["status"], manifest["configuration"]) == ("partial", None)
    assert [each["what"] for each in manifest["missing"]] == ["configuration"]
    assert all(name.startswith(("database/", "BackupManifest.json")) for name in backup.names())
    assert manifest["database"]["proof"] == "counts"
    assert "the dump is archived although the run failed" in run.text
    assert lab.leftovers() == []


def keep_a_dump(run_playbook: PlaybookRunner, playbook: str, in_the_way: Path, tmp_path: Path) -> Run:
    """A run that cannot write its archive: after the window, tasks of the operator put a file in the way."""
    spoil = {"ansible.builtin.copy": {"dest": str(in_the_way), "content": "a file", "mode": "0644"}, **ON_CONTROL_NODE}
    run = run_playbook(playbook, extra_vars={**WANTED, "alteryx_window_after": tasks_after(tmp_path, spoil)})
    run.assert_failed(4, "archive_failed")
    return run


def read_good_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of the only archive in a folder, whose only verdict is good."""
    (archive,) = folder.glob("*.zip")
    (verdict,) = folder.glob("*.verify_*.json")
    assert json.loads(verdict.read_text(encoding="utf-8"))["verdict"] == "good"
    manifest: dict[str, Any] = json.loads(archive.with_suffix(".manifest.json").read_text(encoding="utf-8"))
    return manifest


@pytest.mark.reaches("archive_failed", exit_code=4)
@pytest.mark.usefixtures("empty_archives")
def test_a_dump_that_cannot_be_archived_is_kept_and_recover_archives_it_once_the_cause_is_gone(
    lab: Lab, run_playbook: PlaybookRunner, in_the_way: Path, tmp_path: Path
) -> None:
    run = keep_a_dump(run_playbook, "database_backup.yml", in_the_way, tmp_path)
    assert run.node()["dump"] == "kept"
    staging = rf"{STAGING}\{run.outcome['run_id']}"
    assert f"the dump is good, and in no verified archive. It stays in {staging}" in run.text
    dump = {file: file.stat().st_mtime_ns for file in (staging_of(lab, run) / "files").rglob("*")}
    assert any(file.suffix == ".bson" for file in dump)

    # As long as the cause is there, recovery says so and leaves the dump alone.
    recovered = run_playbook("recover.yml")
    assert recovered.rc == 4, recovered.output
    assert f"the dump of the run {run.outcome['run_id']} is in no archive" in recovered.text
    assert {file: file.stat().st_mtime_ns for file in (staging_of(lab, run) / "files").rglob("*")} == dump

    in_the_way.unlink()
    recovered = run_playbook("recover.yml")
    assert recovered.rc == 0, recovered.output
    assert f"archived the dump of the run {run.outcome['run_id']} (data as of " in recovered.text
    manifest = read_good_manifest(in_the_way)
    assert (manifest["run_id"], manifest["status"]) == (run.outcome["run_id"], "complete")
    assert lab.leftovers() == []
    assert "nothing to recover" in run_playbook("recover.yml").text


@pytest.mark.long
@pytest.mark.usefixtures("empty_archives")
def test_the_next_run_archives_a_kept_dump_and_takes_a_window_of_its_own(
    lab: Lab, run_playbook: PlaybookRunner, in_the_way: Path, tmp_path: Path
) -> None:
    run = keep_a_dump(run_playbook, "database_backup.yml", in_the_way, tmp_path)
    # The cause is not gone: the next run warns, and its own backup is good.
    warned = run_playbook("database_backup.yml")
    warned.assert_ok()
    assert any(
        f"the dump of the run {run.outcome['run_id']} is in no archive" in text for text in warned.outcome["warnings"]
    )
    assert staging_of(lab, run).exists()

    in_the_way.unlink()
    rehearsed = run_playbook("recover.yml", "--check")
    assert rehearsed.rc == 0, rehearsed.output
    assert f"would have archived the dump of the run {run.outcome['run_id']}" in rehearsed.text
    assert not in_the_way.exists()
    following = run_playbook("database_backup.yml")
    following.assert_ok()
    assert following.outcome["downtime"]["total"] > 0
    assert len(list(in_the_way.glob("*.zip"))) == 1
    assert len([name for name in published(lab) if name.endswith(".zip")]) == 2
    assert lab.leftovers() == []


@pytest.mark.long
@pytest.mark.usefixtures("empty_archives")
def test_a_run_that_is_allowed_to_goes_on_with_a_kept_dump_and_stops_nothing(
    lab: Lab, run_playbook: PlaybookRunner, in_the_way: Path, tmp_path: Path
) -> None:
    run = keep_a_dump(run_playbook, "full_backup.yml", in_the_way, tmp_path)
    in_the_way.unlink()
    process = lab.node.service().pid
    adopts = {**WANTED, "alteryx_preflight_adopt_within": 3600}

    rehearsed = run_playbook("full_backup.yml", "--check", extra_vars=adopts)
    rehearsed.assert_ok()
    assert f"would go on with the dump of the run {run.outcome['run_id']}" in rehearsed.text
    assert "No service would be stopped" in rehearsed.text
    assert staging_of(lab, run).exists()

    following = run_playbook("full_backup.yml", extra_vars=adopts)
    following.assert_ok()
    assert following.outcome["downtime"]["total"] == 0
    assert lab.node.service().pid == process
    assert f"the dump is that of the run {run.outcome['run_id']}: data as of " in following.text
    manifest = read_good_manifest(in_the_way)
    assert (manifest["run_id"], manifest["status"]) == (following.outcome["run_id"], "complete")
    assert manifest["database"]["dump_of_run"] == run.outcome["run_id"]
    assert manifest["database"]["method"].endswith("service stopped")
    assert manifest["secrets"]["included"]
    assert not staging_of(lab, run).exists()
    assert lab.leftovers() == []


@pytest.mark.long
@pytest.mark.usefixtures("empty_archives")
def test_a_kept_dump_that_is_too_old_is_archived_and_a_new_one_is_taken(
    lab: Lab, run_playbook: PlaybookRunner, in_the_way: Path, tmp_path: Path
) -> None:
    run = keep_a_dump(run_playbook, "database_backup.yml", in_the_way, tmp_path)
    in_the_way.unlink()
    following = run_playbook("database_backup.yml", extra_vars={**WANTED, "alteryx_preflight_adopt_within": 1})
    following.assert_ok()
    assert f"does not go on with the dump of the run {run.outcome['run_id']}: it ended " in following.text
    assert following.outcome["downtime"]["total"] > 0
    assert len(list(in_the_way.glob("*.zip"))) == 2
    assert lab.leftovers() == []

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Critical files that other programs hold, or that are read-only, and folders that dead runs have left."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .backup_files import Backup
from .kinds import wine_only
from .lab_of_tests import SETTINGS, STAGING, Lab, run_id_pattern
from .playbook_run import PlaybookRunner

pytestmark = [wine_only, pytest.mark.usefixtures("recovered")]

ALIAS = r"C:\ProgramData\Alteryx\Engine\SystemAlias.xml"
DEAD = "Full_20260801_020000_dead"
Hold = Callable[[str], None]


@pytest.fixture
def hold(lab: Lab) -> Iterator[Hold]:
    """Keep a file open without sharing until the test is over."""
    holders: list[subprocess.Popen[bytes]] = []

    def begin(path: str) -> None:
        holder = lab.node.hold(path, 240)
        holders.append(holder)
        assert holder.stdout
        assert holder.stdout.readline().strip() == b"held"

    yield begin
    for holder in holders:
        holder.kill()
        holder.wait(30)


@pytest.fixture
def read_only(lab: Lab) -> Iterator[Path]:
    """The settings file of the node, read-only."""
    file = lab.node.path(SETTINGS)
    mode = file.stat().st_mode
    file.chmod(0o444)
    yield file
    file.chmod(mode)


@pytest.mark.long
def test_an_optional_file_that_stays_held_is_left_out_and_said_everywhere(
    lab: Lab, run_playbook: PlaybookRunner, hold: Hold, read_only: Path
) -> None:
    hold(ALIAS)
    run = run_playbook("config_backup.yml")
    run.assert_ok()
    (warning,) = [words for words in run.outcome["warnings"] if "SystemAlias" in words]
    assert "NOT in this backup (system_alias)" in warning
    assert f"{ALIAS} is held by another program" in warning
    assert warning in run.text
    assert f"system_alias: left out, {ALIAS} is held by another program" in run.log
    match = run_id_pattern("Config").fullmatch(run.outcome["run_id"])
    assert match
    backup = Backup.of(lab, match.group(1), "Config")
    backup.assert_complete(secrets=True)
    assert "configuration/Engine/SystemAlias.xml" not in backup.names()
    (entry,) = [entry for entry in backup.manifest()["configuration"] if entry["id"] == "system_alias"]
    assert (entry["present"], entry["files"]) == (True, 0)
    assert entry["left_out"][0]["path"] == ALIAS
    # The read-only settings are in the backup, and their copy did not stay in staging.
    assert backup.read("configuration/RuntimeSettings.xml") == read_only.read_bytes()
    assert lab.leftovers() == []


@pytest.mark.long
def test_a_required_file_that_stays_held_fails_by_name(
    lab: Lab, run_playbook: PlaybookRunner, hold: Hold, tmp_path: Path
) -> None:
    hold(SETTINGS)
    # The preflight of a whole run would meet the held file first.
    file = {"id": "settings", "source": SETTINGS, "archive_path": "configuration/settings.xml", "required": True}
    folder, program = rf"{STAGING}\{DEAD}", r"C:\AlteryxService.exe"
    task: dict[str, Any] = {
        "alteryx_ops.server_backup.config_export": {
            "run_id": DEAD,
            "staging_directory": folder,
            "executable": program,
            "files": [file],
        }
    }
    playbook = tmp_path / "tasks.yml"
    playbook.write_text(json.dumps([{"hosts": "alteryx", "gather_facts": False, "tasks": [task]}]), encoding="utf-8")
    run = run_playbook(playbook)
    assert run.rc == 4, run.output
    assert "[file_locked]" in run.text
    assert "RuntimeSettings.xml is held by another program" in run.text
    # The next run removes what it left, as below.


@pytest.mark.long
def test_what_cannot_be_swept_is_a_warning_and_what_is_read_only_is_swept(
    lab: Lab, run_playbook: PlaybookRunner, hold: Hold
) -> None:
    left = lab.node.path(rf"{STAGING}\{DEAD}")
    (left / "files").mkdir(parents=True, exist_ok=True)
    for name in ("held", "read-only"):
        (left / "files" / name).write_text("x", encoding="ascii")
        (left / "files" / name).chmod(0o444)
    hold(rf"{STAGING}\{DEAD}\files\held")
    run = run_playbook("config_backup.yml")
    run.assert_ok()
    (warning,) = [words for words in run.outcome["warnings"] if "left behind" in words]
    assert rf"{STAGING}\{DEAD} of a dead run is left behind" in warning
    assert [path.name for path in (left / "files").iterdir()] == ["held"]


@pytest.mark.long
def test_a_read_only_rest_of_a_dead_run_is_swept_by_recovery(lab: Lab, run_playbook: PlaybookRunner) -> None:
    left = lab.node.path(rf"{STAGING}\{DEAD}")
    left.mkdir(parents=True, exist_ok=True)
    (left / "settings.xml").write_text("x", encoding="ascii")
    (left / "settings.xml").chmod(0o444)
    topology = run_playbook("topology.yml")
    topology.assert_ended_well()
    assert rf"note: {lab.node.name}: recover.yml would remove {STAGING}\{DEAD}" in topology.text
    rehearsal = run_playbook("recover.yml", "--check")
    rehearsal.assert_ended_well()
    assert rehearsal.text.count(rf"would remove {STAGING}\{DEAD}") == 1
    assert "removed" not in rehearsal.text
    assert left.exists()
    run = run_playbook("recover.yml")
    run.assert_ended_well()
    assert run.text.count(rf"removed {STAGING}\{DEAD}") == 1
    assert not left.exists()


@pytest.mark.long
def test_a_link_in_the_folder_of_the_database_is_said(lab: Lab, run_playbook: PlaybookRunner) -> None:
    database = lab.settings().findtext("Controller/EmbeddedMongoDBRootPath") or ""
    link = lab.node.path(database) / "elsewhere"
    lab.node.junction(rf"{database}\elsewhere", database)
    try:
        run = run_playbook("database_backup.yml", "--check")
    finally:
        link.unlink()
    run.assert_ok()
    (warning,) = [words for words in run.outcome["warnings"] if "may be larger" in words]
    assert rf"{database}\elsewhere is a link to another folder" in warning
    assert warning in run.text

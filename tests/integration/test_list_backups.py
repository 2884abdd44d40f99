# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of the backups in a destination. The test writes files of every kind, good and bad, and the collection only
reads them."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import schemas

from . import observer
from .kinds import on_standin_too
from .lab_of_tests import Lab
from .playbook_run import PlaybookRunner, Run

FOLDER = r"D:\Catalogue"
HUGE = 120_000_000
DAYS = {
    "good": "01",
    "unverified": "02",
    "bad": "03",
    "no sidecar": "04",
    "partial": "05",
    "no archive": "06",
    "cut manifest": "07",
    "huge": "08",
}


def name(day: str) -> str:
    return f"ServerBackup_Full_202609{day}_020000"


@dataclass(frozen=True)
class Destination:
    """A node's folder in a destination, to be filled."""

    folder: Path

    def backup(self, base: str, without: str = "", files: str = "", verdict: str = "good") -> None:
        """A backup as archive_job.ps1 lays it out, but for its bytes.

        Args:
            without: the ending of the one file that is not there.
            files: the list of files of the manifest.
            verdict: of its verification; none when empty.
        """
        contents = {"zip": "not opened", "manifest.json": self.manifest(base, files), "secrets.pem": "PEM"}
        sums = "".join(
            f"{hashlib.sha256(text.encode()).hexdigest()} *{base}.{ending}\n" for ending, text in contents.items()
        )
        contents["sha256"] = sums
        if verdict:
            problems = ["a.bson is absent"] if verdict == "bad" else []
            contents["verify_20260909_010000.json"] = json.dumps(
                {
                    "schema": 1,
                    "archive": f"{base}.zip",
                    "verified": "2026-09-09T01:00:00.000Z",
                    "method": "read back",
                    "verdict": verdict,
                    "entries": 1,
                    "bytes": 5,
                    "problems": problems,
                    "seconds": 0.1,
                }
            )
        for ending, text in contents.items():
            if ending != without:
                (self.folder / f"{base}.{ending}").write_text(text, encoding="utf-8", newline="")

    def manifest(self, base: str, files: str) -> str:
        """A manifest with this list of files."""
        day = base.split("_")[2]
        content: dict[str, Any] = {
            "schema": 1,
            "tool": "alteryx_ops.server_backup 0.1.0",
            "run_id": base.removeprefix("ServerBackup_") + "_7f3a",
            "mode": "full",
            "fleet": "alteryx_lab",
            "node": self.folder.name,
            "computer": "AYX01",
            "roles": ["controller"],
            "started": f"{day[:4]}-{day[4:6]}-{day[6:]}T02:00:00.000Z",
            "alteryx_version": "2024.2",
            "service": {"name": "AlteryxService"},
            "database": {
                "kind": "embedded",
                "databases": ["AlteryxService"],
                "documents": {"AlteryxService.AS_A": 40, "AlteryxService.AS_B": 2},
                "bytes": 10,
                "downtime_seconds": 12.5,
            },
            "configuration": [{"id": "keys", "source": "C:\\K", "present": True, "files": 2, "bytes": 3}],
            "secrets": {"included": True, "items": [], "recipients": []},
            "status": "complete",
            "file_count": 1,
            "file_bytes": 5,
            "files": "@@",
        }
        return json.dumps(content, indent=2).replace('"@@"', f"[\n    {files}\n  ]") + "\n"


@pytest.fixture(scope="module")
def destination(lab: Lab) -> Iterator[Destination]:
    """A destination with a bit of everything."""
    top = lab.node.path(FOLDER)
    found = Destination(top / lab.node.name)
    found.folder.mkdir(parents=True)
    found.backup(name(DAYS["good"]))
    found.backup(name(DAYS["unverified"]), verdict="")
    found.backup(name(DAYS["bad"]), verdict="bad")
    found.backup(name(DAYS["no sidecar"]), without="sha256")
    (found.folder / f"{name(DAYS['partial'])}.zip.partial").write_bytes(b"begun")
    found.backup(name(DAYS["no archive"]), without="zip")
    found.backup(name(DAYS["cut manifest"]))
    (found.folder / f"{name(DAYS['cut manifest'])}.manifest.json").write_text(
        '{\n  "schema": 1,\n  "tool"', encoding="utf-8"
    )
    entry = (
        '{"path": "files/'
        + "x" * 100
        + '", "bytes": 5, "sha256": "'
        + "0" * 64
        + '", "modified": "2026-09-01T00:00:00.000Z"},\n    '
    )
    found.backup(name(DAYS["huge"]), files=(entry * (HUGE // len(entry))).rstrip(", \n"))
    (found.folder / "holiday.zip").write_bytes(b"foreign")
    (top / "notes.txt").write_text("foreign", encoding="utf-8")
    (top / "BackupLog_Full_20260901_020000.log").write_text("ours", encoding="utf-8")
    (top / f"{name(DAYS['good'])}.set.json").write_text(
        json.dumps({"schema": 1, "run_id": "x", "verdict": "OK"}), encoding="utf-8"
    )
    yield found
    shutil.rmtree(top)


@pytest.fixture(scope="module")
def listed(
    lab: Lab, destination: Destination, run_playbook: PlaybookRunner, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Run, dict[str, Any]]:
    """One run of the playbook and the JSON it wrote; it must have changed nothing on the node."""
    file = tmp_path_factory.mktemp("list") / "new" / "backups.json"
    before = observer.tree(lab.node)
    run = run_playbook(
        "list_backups.yml", extra_vars={"alteryx_archive_directory": FOLDER, "alteryx_catalogue_list_file": str(file)}
    )
    run.assert_ended_well()
    assert observer.difference(before, observer.tree(lab.node)) == []
    assert lab.tasks() == []
    content = json.loads(file.read_text(encoding="utf-8"))
    schemas.assert_valid("catalogue", content)
    return run, content


def _backups(lab: Lab, listed: tuple[Run, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {entry["id"]: entry for entry in listed[1]["nodes"][lab.node.name]["backups"]}


def test_every_backup_is_listed_newest_first_and_foreign_files_are_counted(
    lab: Lab, listed: tuple[Run, dict[str, Any]]
) -> None:
    assert list(_backups(lab, listed)) == [name(day) for day in sorted(DAYS.values(), reverse=True)]
    assert listed[1]["nodes"][lab.node.name]["foreign_files"] == 2


def test_a_backup_is_complete_or_says_why_not(lab: Lab, listed: tuple[Run, dict[str, Any]]) -> None:
    found = _backups(lab, listed)
    why = {case: found[name(day)]["why"] for case, day in DAYS.items()}
    cut = why.pop("cut manifest")
    assert why == {
        "good": [],
        "unverified": [],
        "bad": [],
        "huge": [],
        "no sidecar": ["no .sha256"],
        "no archive": [f"{name(DAYS['no archive'])}.zip is missing"],
        "partial": ["only .zip.partial: it is being written, or its run died"],
    }
    assert cut == ["its manifest cannot be read: it has no list of files"]
    assert all(entry["complete"] == (entry["why"] == []) for entry in found.values())


def test_a_backup_says_what_it_is_and_when_and_how_it_was_verified(
    lab: Lab, listed: tuple[Run, dict[str, Any]]
) -> None:
    found = _backups(lab, listed)
    assert {
        case: found[name(DAYS[case])]["verified"]["verdict"] for case in ("good", "unverified", "bad", "partial")
    } == {"good": "good", "unverified": "not verified", "bad": "bad", "partial": "not verified"}
    assert found[name(DAYS["bad"])]["verified"]["problem"] == "a.bson is absent"
    good = found[name(DAYS["good"])]
    assert good["verified"] == {
        "verdict": "good",
        "at": "2026-09-09T01:00:00.000Z",
        "method": "read back",
        "problems": 0,
        "problem": "",
        "count": 1,
    }
    told = {
        key: good[key]
        for key in (
            "node",
            "mode",
            "started",
            "run_verdict",
            "documents",
            "downtime_seconds",
            "bytes",
            "secrets",
            "databases",
        )
    }
    assert told == {
        "node": lab.node.name,
        "mode": "full",
        "started": "2026-09-01T02:00:00.000Z",
        "run_verdict": "OK",
        "documents": 42,
        "downtime_seconds": 12.5,
        "bytes": 10,
        "secrets": True,
        "databases": ["AlteryxService"],
    }
    assert found[name(DAYS["huge"])]["file_count"] == 1


def test_a_person_reads_one_table(lab: Lab, listed: tuple[Run, dict[str, Any]]) -> None:
    run, _unused = listed
    assert (
        rf"{lab.node.name} {FOLDER}: 8 backups, 2 of them complete and verified good; 2 files that belong to no backup"
        in run.text
    )
    (row,) = [line for line in run.stdout.splitlines() if line.startswith(name(DAYS["good"]))]
    assert row.split() == [
        name(DAYS["good"]),
        lab.node.name,
        "2026-09-01",
        "02:00:00",
        "full",
        "10",
        "B",
        "42",
        "12",
        "s",
        "good",
        "2026-09-09",
        "01:00",
        "complete",
    ]
    assert "NOT COMPLETE: no .sha256" in run.text


@pytest.mark.long
@on_standin_too
@pytest.mark.reaches("no_good_backup", exit_code=3)
def test_a_monitor_is_told_by_the_exit_code(lab: Lab, run_playbook: PlaybookRunner) -> None:
    folder = lab.node.path(rf"D:\Watched\{lab.node.name}")
    folder.mkdir(parents=True)
    watched: dict[str, object] = {"alteryx_archive_directory": r"D:\Watched"}
    alarm = {**watched, "alteryx_catalogue_alarm": True}
    try:
        run_playbook("list_backups.yml", extra_vars=watched).assert_ended_well()
        empty = run_playbook("list_backups.yml", extra_vars=alarm)
        Destination(folder).backup(name(DAYS["good"]))
        run_playbook("list_backups.yml", extra_vars=alarm).assert_ended_well()
        old = run_playbook("list_backups.yml", extra_vars={**alarm, "alteryx_catalogue_max_age": 60})
    finally:
        shutil.rmtree(folder.parent)
    assert (empty.rc, old.rc) == (3, 3), empty.output + old.output
    assert f"problem: {lab.node.name}: there is no good backup" in empty.text
    assert f"problem: {lab.node.name}: the newest backup, {name(DAYS['good'])}, is " in old.text


@pytest.mark.reaches(exit_code=0)
def test_a_folder_that_is_not_there_is_said_and_no_failure(lab: Lab, run_playbook: PlaybookRunner) -> None:
    run = run_playbook("list_backups.yml", extra_vars={"alteryx_archive_directory": r"D:\Nowhere"})
    run.assert_ended_well()
    assert rf"{lab.node.name} D:\Nowhere: there is no such folder on this node, so no backup" in run.text


def test_a_node_that_cannot_be_asked_is_said_and_fails_the_play(lab: Lab, run_playbook: PlaybookRunner) -> None:
    run = run_playbook("list_backups.yml", extra_vars={"alteryx_archive_directory": "relative"})
    assert run.rc == 3, run.output
    assert f"{lab.node.name}: could not be asked: relative is not an absolute path on this node" in run.text


@pytest.mark.long
def test_thousands_of_backups_are_listed_in_bounded_time(lab: Lab, run_playbook: PlaybookRunner) -> None:
    number = 3000
    top = lab.node.path(r"D:\Thousands")
    many = Destination(top / lab.node.name)
    many.folder.mkdir(parents=True)
    try:
        for day in range(number):
            many.backup(f"ServerBackup_Full_{20200101 + day}_020000")
        begun = time.monotonic()
        run = run_playbook("list_backups.yml", extra_vars={"alteryx_archive_directory": r"D:\Thousands"})
        seconds = time.monotonic() - begun
    finally:
        shutil.rmtree(top)
    run.assert_ended_well()
    assert f"{number} backups, {number} of them complete and verified good" in run.text
    # 10 s for 3,000 where the machine is quiet; quadratic would be minutes.
    assert seconds < 120, f"{seconds:.0f} s"

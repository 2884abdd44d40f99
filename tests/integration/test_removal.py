# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""remove_from_nodes.yml takes everything of this collection from a node, leaves the backups, and touches nothing while
the node still holds something of a run. What one node of a fleet does to the others: test_fleet.py."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.faults.watch import until

from . import observer
from .backup_files import published
from .kinds import wine_only
from .lab_of_tests import ARCHIVES, LEASE, STAGING, STATE_FOLDER, Lab
from .playbook_run import PlaybookRunner, Run

CODE_FOLDER = r"C:\Program Files\AlteryxOps"
DEFAULT_STAGING = rf"{STATE_FOLDER}\staging"
OWN_KEY = r"HKLM\SOFTWARE\AlteryxOps"
EVENT_SOURCE = r"HKLM\SYSTEM\CurrentControlSet\Services\EventLog\Application\AlteryxOps"
DEAD = "Full_20260801_020000_dead"
PLAYBOOK = "remove_from_nodes.yml"
TARGET = r"D:\Precious"

pytestmark = [wine_only, pytest.mark.usefixtures("recovered")]

TASK = """<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task"><Principals>
<Principal id="Author"><UserId>S-1-5-18</UserId></Principal></Principals><Settings/>
<Actions Context="Author"><Exec><Command>C:\\Windows\\System32\\whoami.exe</Command></Exec></Actions></Task>"""


def register_task(lab: Lab, name: str) -> None:
    """A task without a trigger."""
    file = lab.node.path(r"C:\task.xml")
    file.write_text(TASK, encoding="utf-16")
    lab.run_program("schtasks.exe", "/Create", "/TN", rf"\AlteryxOps\{name}", "/XML", r"C:\task.xml")
    file.unlink()


def has_key(lab: Lab, key: str) -> bool:
    try:
        lab.run_program("reg.exe", "query", key)
    except RuntimeError:
        return False
    return True


def archives(lab: Lab) -> dict[str, tuple[int, int] | None]:
    """The archive directory, with times."""
    top = str(lab.node.path(ARCHIVES).relative_to(lab.node.folder))
    return {path: state for path, state in observer.tree(lab.node).items() if path.startswith(top)}


def what_is_left(lab: Lab) -> list[str]:
    """What of this collection is on the node."""
    folders = [path for path in (CODE_FOLDER, STATE_FOLDER, STAGING) if lab.node.path(path).exists()]
    return folders + [key for key in (OWN_KEY, EVENT_SOURCE) if has_key(lab, key)] + lab.tasks()


def assert_refused(run: Run, code: int, *said: str) -> None:
    """Refused with this code; every one of these is named."""
    assert run.rc == code, run.output[-4000:]
    assert [words for words in said if words not in run.text] == []
    assert "removed" not in run.text.replace("alteryx_removal", "")


@pytest.fixture
def used(lab: Lab, run_playbook: PlaybookRunner) -> None:
    """The node as backups leave it."""
    if not lab.node.path(CODE_FOLDER).exists() or not published(lab):
        run_playbook("config_backup.yml").assert_ok()
    lab.node.path(STAGING).mkdir(exist_ok=True)


@pytest.fixture
def target(lab: Lab) -> Iterator[Path]:
    """What a junction leads to."""
    folder = lab.node.path(TARGET)
    (folder / DEAD).mkdir(parents=True)
    (folder / DEAD / "kept.txt").write_text("kept", encoding="utf-8")
    yield folder
    assert (folder / DEAD / "kept.txt").read_text(encoding="utf-8") == "kept"
    shutil.rmtree(folder)


@pytest.mark.long
@pytest.mark.usefixtures("used")
def test_everything_goes_but_the_backups_and_a_backup_puts_it_there_again(
    lab: Lab, run_playbook: PlaybookRunner
) -> None:
    register_task(lab, "Old-run-archive")
    lab.run_program("reg.exe", "add", EVENT_SOURCE, "/f")
    dead = lab.node.path(rf"{STAGING}\{DEAD}\files")
    dead.mkdir(parents=True)
    (dead / "settings.xml").write_text("x", encoding="ascii")
    (dead / "settings.xml").chmod(0o444)
    before, backups, service = observer.tree(lab.node), archives(lab), lab.node.service()
    count = len([name for name in published(lab) if name.endswith(".zip")])

    predicted = run_playbook(PLAYBOOK, "--check")
    predicted.assert_ended_well()
    assert observer.difference(before, observer.tree(lab.node)) == []
    assert lab.tasks() == [r"\AlteryxOps\Old-run-archive"]

    run = run_playbook(PLAYBOOK)
    run.assert_ended_well()
    assert what_is_left(lab) == []
    for said, verb in ((predicted, "would remove"), (run, "removed")):
        for what in (
            r"the scheduled task \AlteryxOps\Old-run-archive",
            "the event source AlteryxOps",
            f"the code folder {CODE_FOLDER}",
            rf"the staging folder {STAGING}\{DEAD}",
            f"the staging directory {STAGING}",
            f"the state folder {STATE_FOLDER}",
            f"the registry key {OWN_KEY}",
        ):
            assert f"{lab.node.name}: {verb} {what}" in said.text
        assert re.search(rf"{count} archives? stays? in {re.escape(ARCHIVES)}\\{lab.node.name} \(", said.text)
    assert archives(lab) == backups
    assert lab.node.service() == service

    gone = observer.tree(lab.node)
    again = run_playbook(PLAYBOOK)
    again.assert_ended_well()
    assert "nothing of this collection is on the node" in again.text
    assert re.search(rf"{lab.node.name} +: ok=\d+ +changed=0 ", again.stdout)
    assert observer.difference(gone, observer.tree(lab.node)) == []

    run_playbook("full_backup.yml").assert_ok()
    run_playbook("verify_backup.yml", extra_vars={"alteryx_catalogue_verify_all": True}).assert_ended_well()
    assert lab.leftovers() == []


def put(lab: Lab, path: str, text: str = "{}") -> None:
    file = lab.node.path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


@pytest.fixture
def planted(lab: Lab) -> Iterator[Callable[..., None]]:
    """Puts files on the node that are gone afterwards, with the folders that were made for them."""
    made: list[Path] = []

    def plant(path: str, text: str = "{}") -> None:
        file = lab.node.path(path)
        missing = [folder for folder in (file, *file.parents) if not folder.exists()]
        put(lab, path, text)
        made.extend(missing)

    yield plant
    for one in sorted(set(made), key=lambda path: -len(path.parts)):
        one.rmdir() if one.is_dir() else one.unlink(missing_ok=True)


LEFT_LEASE = {
    "run_id": DEAD,
    "service": "AlteryxService",
    "prior_state": "Running",
    "deadline": "2026-08-01 06:00:00 UTC",
}


def obstacle(name: str, path: str, text: str, reason: str, said: str) -> Any:
    """A file that prevents a removal."""
    return pytest.param(path, text, reason, said, id=name)


UNARCHIVED = "holds a dump that is not in a verified archive"


@pytest.mark.long
@pytest.mark.usefixtures("used")
@pytest.mark.parametrize(
    ("path", "text", "reason", "said"),
    [
        obstacle(
            "lease",
            LEASE,
            json.dumps(LEFT_LEASE),
            "lease_left",
            f"The run {DEAD} has left its lease: AlteryxService was Running before",
        ),
        obstacle("unreadable", LEASE, "not JSON", "lease_left", "a lease is there that cannot be read"),
        obstacle("hold", rf"{STATE_FOLDER}\HOLD", "", "hold_present", rf"The file {STATE_FOLDER}\HOLD exists"),
        obstacle(
            "schedules",
            rf"{STATE_FOLDER}\schedules.json",
            "{}",
            "schedules_left",
            rf"only {STATE_FOLDER}\schedules.json names them",
        ),
        obstacle("dump", rf"{STAGING}\{DEAD}\dump.json", "{}", "dump_left", rf"{STAGING}\{DEAD} {UNARCHIVED}"),
        obstacle(
            "default_dump",
            rf"{DEFAULT_STAGING}\{DEAD}\dump.json",
            "{}",
            "dump_left",
            rf"{DEFAULT_STAGING}\{DEAD} {UNARCHIVED}",
        ),
        obstacle(
            "restore",
            rf"{STATE_FOLDER}\restores\Restore_20260801_020000_7f3a.committed.json",
            json.dumps({"run_id": "Restore_20260801_020000_7f3a", "entries": []}),
            "restore_pending",
            "The restore Restore_20260801_020000_7f3a is neither accepted nor rolled back",
        ),
        obstacle(
            "backup",
            rf"{STATE_FOLDER}\backups\node\ServerBackup_Full_20260801_020000.sha256",
            "",
            "backup_inside",
            rf"A backup is in {STATE_FOLDER}, for example backups\node\ServerBackup_Full_20260801_020000.sha256",
        ),
    ],
)
@pytest.mark.reaches("lease_left", exit_code=3, when="lease")
@pytest.mark.reaches("lease_left", exit_code=3, when="unreadable")
@pytest.mark.reaches("hold_present", exit_code=3, when="hold")
@pytest.mark.reaches("schedules_left", exit_code=3, when="schedules")
@pytest.mark.reaches("dump_left", exit_code=3, when="dump")
@pytest.mark.reaches("dump_left", exit_code=3, when="default_dump")
@pytest.mark.reaches("restore_pending", exit_code=3, when="restore")
@pytest.mark.reaches("backup_inside", exit_code=3, when="backup")
def test_what_only_the_node_has_refuses_the_removal(
    lab: Lab, run_playbook: PlaybookRunner, planted: Callable[..., None], path: str, text: str, reason: str, said: str
) -> None:
    planted(path, text)
    before = observer.tree(lab.node)
    run = run_playbook(PLAYBOOK)
    assert_refused(run, 3, said, f"[{reason}]")
    assert run_playbook(PLAYBOOK, "--check").rc == 3
    assert observer.difference(before, observer.tree(lab.node)) == []


@pytest.mark.long
@pytest.mark.usefixtures("used")
def test_everything_that_stands_against_it_is_named_at_once(
    lab: Lab, run_playbook: PlaybookRunner, planted: Callable[..., None]
) -> None:
    register_task(lab, "Guard")
    for path in (rf"{STATE_FOLDER}\HOLD", rf"{STATE_FOLDER}\schedules.json", rf"{STAGING}\{DEAD}\dump.json"):
        planted(path)
    assert_refused(
        run_playbook(PLAYBOOK),
        3,
        "A guard is registered",
        rf"The file {STATE_FOLDER}\HOLD exists",
        "left schedules paused",
        rf"{STAGING}\{DEAD} holds a dump",
        "[lease_left]",
    )
    assert lab.tasks() == [r"\AlteryxOps\Guard"]


@pytest.mark.long
@pytest.mark.reaches("run_locked", exit_code=8)
def test_a_run_that_is_on_keeps_its_node(lab: Lab, run_playbook: PlaybookRunner) -> None:
    lab.node.behave(emongodump_delay_ms="30000")
    with ThreadPoolExecutor(1) as pool:
        backup = pool.submit(run_playbook, "database_backup.yml")
        until(lambda: lab.node.service().state == "Stopped" or backup.done(), 180, "the stop")
        run = PlaybookRunner(lab)(PLAYBOOK)
        assert not backup.done()
        backup.result().assert_ok()
    assert_refused(
        run,
        8,
        "holds this node since",
        "The window_job of the run DB_",
        "has left its lease: AlteryxService was Running before",
        "[run_locked]",
    )


@pytest.mark.long
@pytest.mark.usefixtures("used")
def test_a_job_of_a_run_without_a_lock_is_named(lab: Lab, run_playbook: PlaybookRunner) -> None:
    # A verification takes no lock. Its task is there before its first status is.
    register_task(lab, "Some-verify-0000")
    folder = lab.node.path(rf"{STATE_FOLDER}\jobs\Some-verify-0000")
    folder.mkdir(parents=True)
    try:
        run = run_playbook(PLAYBOOK)
    finally:
        folder.rmdir()
    assert_refused(run, 8, "The job Some-verify-0000 is registered and has not begun", "[foreign_job_alive]")


@pytest.mark.long
@pytest.mark.usefixtures("used")
@pytest.mark.parametrize(
    "link",
    [rf"{STATE_FOLDER}\jobs", STAGING, rf"{STAGING}\{DEAD}"],
)
def test_a_folder_that_leads_elsewhere_refuses_the_removal(
    lab: Lab, run_playbook: PlaybookRunner, target: Path, link: str
) -> None:
    path = lab.node.path(link)
    if path.is_dir():
        shutil.rmtree(path)
    lab.node.junction(link, TARGET)
    try:
        run = run_playbook(PLAYBOOK)
    finally:
        path.unlink()
    assert_refused(run, 3, f"{link} is a link to somewhere else", "[folder_untrusted]")
    assert lab.node.path(CODE_FOLDER).exists()


@pytest.mark.long
@pytest.mark.usefixtures("used")
def test_a_link_inside_goes_and_what_it_leads_to_stays(lab: Lab, run_playbook: PlaybookRunner, target: Path) -> None:
    lab.node.junction(rf"{STATE_FOLDER}\elsewhere", TARGET)
    lab.node.junction(rf"{CODE_FOLDER}\elsewhere", TARGET)
    run_playbook(PLAYBOOK).assert_ended_well()
    assert not lab.node.path(STATE_FOLDER).exists()
    assert not lab.node.path(CODE_FOLDER).exists()
    assert target.exists()


@pytest.mark.long
@pytest.mark.usefixtures("used")
def test_a_staging_directory_that_others_use_stays_and_is_named(lab: Lab, run_playbook: PlaybookRunner) -> None:
    put(lab, rf"{STAGING}\report.txt", "not ours")
    put(lab, rf"{STAGING}\{DEAD}\files\a.txt")
    try:
        run = run_playbook(PLAYBOOK)
        run.assert_ended_well()
        assert (
            f"the staging directory {STAGING} stays: it holds other files or folders (1), for example report.txt"
            in run.text
        )
        assert [entry.name for entry in lab.node.path(STAGING).iterdir()] == ["report.txt"]
        assert not lab.node.path(STATE_FOLDER).exists()
    finally:
        lab.node.path(rf"{STAGING}\report.txt").unlink()


@pytest.fixture
def hold(lab: Lab) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Keeps a file open without sharing."""
    holders: list[subprocess.Popen[bytes]] = []

    def begin(path: str) -> subprocess.Popen[bytes]:
        holder = lab.node.hold(path, 240)
        holders.append(holder)
        assert holder.stdout
        assert holder.stdout.readline().strip() == b"held"
        return holder

    yield begin
    for holder in holders:
        holder.kill()
        holder.wait(30)


@pytest.mark.long
@pytest.mark.usefixtures("used")
@pytest.mark.reaches("removal_incomplete", exit_code=1)
def test_a_part_that_cannot_be_removed_is_named_and_the_next_run_removes_it(
    lab: Lab, run_playbook: PlaybookRunner, hold: Callable[[str], subprocess.Popen[bytes]]
) -> None:
    file = next(path for path in lab.node.path(CODE_FOLDER).rglob("*.ps1"))
    held = rf"{CODE_FOLDER}\{file.parent.name}\{file.name}"
    holder = hold(held)
    run = run_playbook(PLAYBOOK)
    assert run.rc == 1, run.output[-4000:]
    assert f"Not removed: the code folder {CODE_FOLDER}: {held} cannot be removed" in run.text
    assert f"removed the state folder {STATE_FOLDER}" in run.text
    assert not lab.node.path(STATE_FOLDER).exists()
    holder.kill()
    holder.wait(30)
    with contextlib.suppress(RuntimeError):
        lab.end_engines()
    again = run_playbook(PLAYBOOK)
    again.assert_ended_well()
    assert what_is_left(lab) == []


@pytest.mark.long
@pytest.mark.usefixtures("used")
def test_a_node_that_is_reserved_is_not_to_be_had(lab: Lab, run_playbook: PlaybookRunner, tmp_path: Path) -> None:
    folders = {"staging_directory": STAGING, "archive_folder": rf"{ARCHIVES}\{lab.node.name}"}
    playbook = tmp_path / "reserve.yml"
    task = {"alteryx_ops.server_backup.node_removal": {"state": "reserved", **folders}}
    playbook.write_text(json.dumps([{"hosts": "alteryx", "gather_facts": False, "tasks": [task]}]), encoding="utf-8")
    run_playbook(playbook).assert_ended_well()
    run_playbook("config_backup.yml").assert_failed(8, "run_locked", message="the run Removal_")
    assert_refused(run_playbook(PLAYBOOK), 8, "The run Removal_", "[run_locked]")
    assert lab.node.path(CODE_FOLDER).exists()

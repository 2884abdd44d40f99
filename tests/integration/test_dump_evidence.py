# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""emongodump documents neither its exit codes nor its output: what a backup makes of odd ones."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from pymongo import MongoClient

from .backup_files import Backup
from .lab_of_tests import Lab, run_id_pattern
from .playbook_run import PlaybookRunner, Run

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("recovered", "destination")]

FOLDER = r"D:\Evidence"
WHERE = {"alteryx_archive_directory": FOLDER}


@pytest.fixture
def destination(lab: Lab) -> Iterator[None]:
    """A destination of the test's own, empty at its beginning."""
    yield
    shutil.rmtree(lab.node.path(FOLDER), ignore_errors=True)


def database_of(lab: Lab, run: Run) -> dict[str, Any]:
    """What the manifest of a database backup says of its dump."""
    run.assert_ok()
    match = run_id_pattern("DB").fullmatch(run.outcome["run_id"])
    assert match
    found: dict[str, Any] = Backup.of(lab, match.group(1), "DB", root=FOLDER).manifest()["database"]
    return found


def back_up(lab: Lab, run_playbook: PlaybookRunner, emongodump: str) -> Run:
    """A database backup while emongodump behaves like this."""
    lab.node.behave(emongodump=emongodump)
    return run_playbook("database_backup.yml", extra_vars=WHERE)


def test_exit_code_2_after_a_whole_dump_with_counts_is_a_warning(lab: Lab, run_playbook: PlaybookRunner) -> None:
    run = back_up(lab, run_playbook, "exit2_success")
    database = database_of(lab, run)
    assert database["proof"] == "counts"
    (remark,) = database["remarks"]
    assert "exit code 2" in remark
    assert f" warning  {lab.node.name}: {remark}" in run.stdout


def test_exit_code_2_after_half_a_dump_without_counts_is_a_failed_dump(lab: Lab, run_playbook: PlaybookRunner) -> None:
    run = back_up(lab, run_playbook, "exit2_half")
    run.assert_failed(5, "dump_failed", message="exit code 2")
    assert lab.node.service().state == "Running"


def test_a_dump_whose_counts_stand_in_a_log_only_is_proved_by_them(lab: Lab, run_playbook: PlaybookRunner) -> None:
    database = database_of(lab, back_up(lab, run_playbook, "log_only"))
    assert (database["proof"], database["remarks"]) == ("counts", [])
    assert database["documents"]


def test_a_dump_whose_database_another_process_serves_is_like_any_other(lab: Lab, run_playbook: PlaybookRunner) -> None:
    database = database_of(lab, back_up(lab, run_playbook, "spawn_via_controller"))
    assert (database["proof"], database["remarks"]) == ("counts", [])


def test_a_collection_beyond_ascii_is_counted_though_its_name_comes_in_a_code_page(
    lab: Lab, run_playbook: PlaybookRunner
) -> None:
    name = "AS_Größe"
    with live_database(lab) as client:
        client["AlteryxService"][name].insert_many([{"number": number} for number in range(3)])
    try:
        run = back_up(lab, run_playbook, "cp850")
    finally:
        with live_database(lab) as client:
            client["AlteryxService"].drop_collection(name)
    database = database_of(lab, run)
    assert (database["proof"], database["remarks"]) == ("counts", [])
    counted = {each["namespace"]: (each["documents"], each["reported"]) for each in database["collections"]}
    assert counted[f"AlteryxService.{name}"] == (3, 3)


def test_a_dump_without_counts_is_compared_with_the_last_or_said_to_be_unproved(
    lab: Lab, run_playbook: PlaybookRunner
) -> None:
    first = back_up(lab, run_playbook, "silent")
    assert database_of(lab, first)["proof"] == "none"
    assert f" warning  {lab.node.name}: the dump is not proved: " in first.stdout
    listed = run_playbook("list_backups.yml", extra_vars=WHERE)
    assert "complete, dump not proved" in listed.text

    second = database_of(lab, back_up(lab, run_playbook, "silent"))
    assert (second["proof"], second["remarks"]) == ("compared", [])
    assert "ServerBackup_DB_" in second["proof_text"]

    with live_database(lab) as client:
        kept = list(client["AlteryxGallery"]["appInfos"].find())
        client["AlteryxGallery"].drop_collection("appInfos")
    try:
        third = back_up(lab, run_playbook, "silent")
    finally:
        with live_database(lab) as client:
            client["AlteryxGallery"]["appInfos"].insert_many(kept)
    third.assert_failed(5, "dump_incomplete", message="the dump lacks the collection AlteryxGallery.appInfos")


@pytest.mark.reaches("verb_unusable")
def test_system_that_may_not_read_the_keys_is_found_before_the_stop(lab: Lab, run_playbook: PlaybookRunner) -> None:
    before = lab.node.service()
    lab.node.behave(getemongopassword="deny_system")
    run = run_playbook("database_backup.yml", extra_vars=WHERE)
    run.assert_failed(3, "verb_unusable", message="getemongopassword")
    assert "denied" not in run.output, "what the verb prints is a secret"
    assert lab.node.service() == before
    assert lab.tasks() == []


def live_database(lab: Lab) -> MongoClient[dict[str, Any]]:
    """The embedded MongoDB of the node, as its service uses it."""
    port = int(lab.settings().findtext("Controller/EmbeddedMongoDBPort") or 0)
    password = lab.secrets()["non_admin"]
    return MongoClient(
        "127.0.0.1", port, username="user", password=password, authSource="AlteryxService", directConnection=True
    )

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What topology.yml says of a fleet: everything that is known, and everything that does not fit,
whatever else is wrong."""

from __future__ import annotations

import typing as t

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._plan import _fleet_topology
from tests.unit.plugins import samples


def named(letter: str, computer: str, **changes: t.Any) -> dict[str, t.Any]:
    found = samples.facts(letter, **changes)
    found["system"] = {**found["system"], "computer": computer}
    return found


FLEET = {"ctl": named("b", "AYX-CTL"), "worker1": named("c", "WORKER1"), "ui1": named("d", "UI1")}


def test_a_sound_fleet_has_a_table_and_no_problem() -> None:
    found = _fleet_topology.describe_fleet("alteryx_prod", FLEET)
    assert (found.controller, found.problems) == ("ctl", ())
    assert found.roles == {"ctl": ("controller",), "worker1": ("worker",), "ui1": ("ui",)}
    lines = found.text.splitlines()
    assert lines[0] == "fleet alteryx_prod"
    assert [line.split()[0] for line in lines[2:5]] == ["ctl", "worker1", "ui1"]
    assert "embedded MongoDB" in lines[2]
    assert any(line.startswith("note: ctl: its data is in ") for line in lines)


def test_a_node_that_did_not_answer_is_a_problem_and_hides_no_other() -> None:
    found = _fleet_topology.describe_fleet(
        "f", {**FLEET, "worker2": {"failed": True, "message": "no route to host"}, "worker3": {}}
    )
    assert found.problems == (("worker2", "no route to host"), ("worker3", "no answer"))
    assert {"ctl", "worker1", "worker2", "worker3"} <= {line.split()[0] for line in found.text.splitlines()}


def test_a_worker_of_another_controller_is_named_with_its_element() -> None:
    found = _fleet_topology.describe_fleet("f", {"other": named("b", "OTHER"), "worker1": FLEET["worker1"]})
    assert [node for node, _unused in found.problems] == ["worker1"]
    assert "Worker/ServerName is ayx-ctl.example.test:80" in found.text
    assert (
        _fleet_topology.describe_fleet(
            "f", {"other": named("b", "OTHER"), "worker1": FLEET["worker1"]}, {}, ["ayx-ctl"]
        ).problems
        == ()
    )


def test_no_controller_and_two_of_them_are_problems() -> None:
    assert _fleet_topology.describe_fleet("f", {"worker1": FLEET["worker1"]}).problems == (
        ("", "no node is a controller"),
    )
    assert (
        "not exactly one active controller: a, b"
        in _fleet_topology.describe_fleet("f", {"a": named("b", "A"), "b": named("b", "B")}).text
    )


def test_a_defaults_file_that_cannot_be_read_is_said() -> None:
    broken = named("b", "AYX-CTL")
    broken["settings"] = {**broken["settings"], "defaults": {**broken["settings"]["defaults"], "error": "cut off"}}
    assert "could not be read; known defaults are assumed" in _fleet_topology.describe_fleet("f", {"ctl": broken}).text


def test_where_a_self_managed_mongodb_is_is_said_without_its_password() -> None:
    text = _fleet_topology.describe_fleet("f", {"ctl": named("e", "AYX-CTL")}).text
    assert "self-managed MongoDB" in text
    assert (
        "note: ctl: AlteryxGallery is on mongodb://db1.example.test:27017 (replica set rs0, TLS, user ayx_ui)" in text
    )
    assert "P%40ss" not in text


def test_a_settings_file_that_cannot_be_read_is_a_problem_of_its_node() -> None:
    broken = named("b", "AYX-CTL")
    broken["settings"] = {
        **broken["settings"],
        "overrides": {**broken["settings"]["overrides"], "error": "unexpected end"},
    }
    found = _fleet_topology.describe_fleet("f", {**FLEET, "ctl": broken})
    assert ("ctl", "unexpected end") in {(node, text.rpartition(": ")[2]) for node, text in found.problems}


def test_what_runs_hold_and_have_left_is_a_note_and_no_problem() -> None:
    nodes = {
        "node1": named("b", "A", lock=samples.lock(), lease=samples.lease(), hold=True, schedules_left="{}"),
        "node2": named("c", "B", lock=samples.lock(fresh=False)),
    }
    left = {
        "node1": {"reason": "run_locked", "message": "held"},
        "node2": {"did": ["would remove D:\\x"], "pending": ["a job"]},
        "node3": {"reason": "unreachable"},
    }
    text = _fleet_topology.describe_fleet("prod", nodes, left=left).text
    for words in (
        "note: node1: the lock of the run Full_20260831_020000_0001 of ops@ctl2 process 42, since",
        " UTC, is alive, stale in 168 s, at 2026-09-01 02:03:00 UTC",
        f"note: node1: the run {samples.RUN_ID} holds a lease until 2026-09-01 08:00:00 UTC; its guard",
        "note: node1: the file HOLD",
        "note: node1: schedules that a run has paused",
        "UTC, is stale\n",
        "note: node2: recover.yml would remove D:\\x",
        "note: node2: recover.yml would wait for a job",
    ):
        assert words in text, text
    assert "held" not in text
    alive = {"node1": {"reason": "foreign_job_alive", "message": "a job lives"}}
    assert (
        "note: node1: recover.yml would do nothing: a job lives"
        in _fleet_topology.describe_fleet("prod", nodes, left=alive).text
    )


def test_a_restore_that_waits_for_a_decision_is_a_note_with_the_next_command() -> None:
    def record(run_id: str, word: str, of: str = "") -> dict[str, str]:
        return {"run_id": run_id, "word": word, "of": of, "path": "C:\\x.json"}

    restores = {
        "ctl": {"records": [record("Restore_1", "committed"), record("Restore_2", "committed", "Restore_1")]},
        "node1": {"records": [record("Restore_3", "committed"), record("Restore_4", "undone")]},
        "node2": {"records": [record("", "pending")]},
        "node3": {"reason": "unreachable"},
        "node4": {"records": [record("Restore_5", "committed"), record("Restore_6", "undone", "Restore_5")]},
    }
    nodes = {
        "ctl": named("b", "A"),
        "node1": named("c", "B"),
        "node2": named("d", "C"),
        "node4": named("d", "D"),
    }
    lines = _fleet_topology.describe_fleet("prod", nodes, restores=restores).text.splitlines()
    notes = [line for line in lines if "restore" in line.lower()]
    assert len(notes) == 6
    # After a rollback that was undone, the restore still waits for a decision.
    assert notes[4].endswith("-e alteryx_restore_run=Restore_5")
    assert "the rollback Restore_6 was undone" in notes[5]
    assert "the restore Restore_1 was rolled back" in notes[0]
    assert "accept_restore.yml deletes them, roll_back_restore.yml returns to them" in notes[1]
    assert notes[1].endswith("-e alteryx_restore_run=Restore_3")
    assert "the restore Restore_4 was undone" in notes[2]
    assert notes[3].endswith("the restore C:\\x.json has not ended; if its run has died, recover.yml undoes it")


def test_a_restore_record_that_cannot_be_read_is_a_warning_with_the_file_and_the_next_action() -> None:
    folder = r"C:\ProgramData\AlteryxOps"

    def unread(run_id: str, word: str, file: str) -> dict[str, str]:
        return {"run_id": run_id, "word": word, "of": "", "path": rf"{folder}\{file}", "problem": "it is cut."}

    restores = {
        "ctl": {"records": [unread("", "pending", "restore.json")]},
        "node1": {"records": [unread("Restore_1", "committed", r"restores\Restore_1.committed.json")]},
        "node2": {"reason": "unexpected", "message": "Access to the path is denied."},
    }
    nodes = {"ctl": named("b", "A"), "node1": named("c", "B"), "node2": named("d", "C")}
    lines = _fleet_topology.describe_fleet("prod", nodes, restores=restores).text.splitlines()
    found = [line for line in lines if "restore" in line.lower()]
    assert [line.partition(" of a restore")[0] for line in found[:2]] == [
        rf"warning: ctl: the record {folder}\restore.json",
        rf"warning: node1: the record {folder}\restores\Restore_1.committed.json",
    ]
    assert "cannot be read: it is cut. Do not start the service. Run recover.yml;" in found[0]
    assert found[1].endswith(
        "names contain _Restore_1. Keep or delete them by hand, "
        "then run accept_restore.yml -e alteryx_restore_run=Restore_1"
    )
    assert found[2].startswith("warning: node2: the records of restores in ")
    assert "cannot be read: Access to the path is denied. It is not known" in found[2]
    assert len(found) == 3


def test_a_service_that_does_not_run_stands_out() -> None:
    stopped = {"ctl": named("b", "A")}
    stopped["ctl"]["service"] = {**stopped["ctl"]["service"], "state": "Stopped"}
    text = _fleet_topology.describe_fleet("prod", stopped).text
    assert "Stopped (!)" in text
    assert "warning: ctl: the service AlteryxService is Stopped; start it (Start-Service AlteryxService)" in text
    pending = {"ctl": {"records": [{"run_id": "Restore_1", "word": "pending", "of": "", "path": "C:\\x.json"}]}}
    text = _fleet_topology.describe_fleet("prod", stopped, restores=pending).text
    assert "is Stopped; do not use Start-Service, because a restore has not ended" in text
    stopped["ctl"]["lease"] = samples.lease()
    text = _fleet_topology.describe_fleet("prod", stopped).text
    assert f"is Stopped; the run {samples.RUN_ID} holds its lease and restores Running" in text

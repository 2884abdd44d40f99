# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run holds a node; what dead runs have left is waited for and cleaned up first."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

import pytest
from ansible.errors import AnsibleConnectionFailure

from ansible_collections.alteryx_ops.server_backup.plugins.action import run_lock
from tests.unit.plugins import samples
from tests.unit.plugins.action import harness

ARGUMENTS = {"state": "acquired", "run_id": samples.RUN_ID, "wait_timeout": 60}
JOB = "archive_job of the run Full_20260831_020000_0001 (read, process 77)"
START = "the start of the service that a dead run has left down"


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> harness.Time:
    clock = harness.Time()
    monkeypatch.setattr(run_lock, "time", clock)
    return clock


def answer(**changes: t.Any) -> dict[str, t.Any]:
    nothing: dict[str, t.Any] = {"did": [], "left_behind": [], "logs": [], "unarchived": [], "pending": []}
    return {"changed": False, "adopted": "", "inherited": "", **nothing, **changes}


class Node:
    """A node that gives one answer after another; the last one stays. Every call takes its time."""

    def __init__(self, clock: harness.Time, *answers: dict[str, t.Any], call_seconds: float = 0.5) -> None:
        self.clock, self.answers, self.call_seconds = clock, list(answers), call_seconds
        self.calls: list[dict[str, t.Any]] = []

    def __call__(self, arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        self.calls.append(arguments)
        self.clock.now += self.call_seconds
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def test_a_free_node_is_locked_at_once(clock: harness.Time) -> None:
    node = Node(clock, answer(changed=True))
    result = harness.run(run_lock.ActionModule, ARGUMENTS, node)
    assert {key: result[key] for key in answer()} == answer(changed=True)
    assert len(node.calls) == 1
    assert clock.now == 5000.5


def test_the_holder_is_a_person_a_machine_and_the_process_of_the_whole_run(clock: harness.Time) -> None:
    node = Node(clock, answer())
    harness.run(run_lock.ActionModule, {**ARGUMENTS, "holder": "somebody else"}, node)
    holder = node.calls[0]["holder"]
    # Not this process: a task runs in a fork of the run.
    assert holder.endswith(f" process {os.getppid()}")
    assert "@" in holder


def test_no_call_is_longer_than_winrm_allows(clock: harness.Time) -> None:
    node = Node(clock, answer(pending=[JOB]), answer())
    harness.run(run_lock.ActionModule, ARGUMENTS, node)
    assert all(0 < call["_wait_seconds"] < 20 for call in node.calls)


@pytest.mark.parametrize("state", ["acquired", "recovered"])
def test_what_is_pending_is_waited_for_and_said(
    clock: harness.Time, state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    node = Node(
        clock,
        answer(pending=[JOB]),
        answer(pending=[START]),
        answer(changed=True, inherited="Running", did=["started AlteryxService"]),
    )
    result = harness.run(run_lock.ActionModule, {**ARGUMENTS, "state": state}, node)
    assert (result.get("failed"), result["changed"], result["pending"], result["inherited"]) == (
        None,
        True,
        [],
        "Running",
    )
    assert len(node.calls) == 3
    out = capsys.readouterr().out
    assert f"node1: waiting for {JOB}" in out
    assert f"node1: waiting for {START}" in out
    assert "node1: started AlteryxService" in out


FLEET = "all: {children: {alteryx: {children: {prod: {hosts: {node1: {}, node2: {}, node3: {}}}}}}}"
HELD = {"failed": False, "reason": "window_open", "message": "held for a window"}


@pytest.mark.parametrize(
    ("others", "over"),
    [
        ({"node2": answer(), "node3": answer()}, True),
        ({"node2": HELD, "node3": answer()}, True),
        ({"node2": answer()}, False),
        ({"node2": answer(), "node3": {"failed": False, "reason": "unreachable"}}, False),
    ],
)
def test_windows_are_over_when_the_whole_fleet_says_so(
    clock: harness.Time, tmp_path: t.Any, others: dict[str, t.Any], over: bool
) -> None:
    node = Node(clock, answer())
    result = recovered(node, tmp_path, {"node1": HELD, **others})
    assert not result.get("failed")
    assert node.calls[0]["window_over"] is over


@pytest.mark.parametrize("reason", ["run_locked", "foreign_job_alive"])
def test_a_run_that_lives_on_one_node_lives_on_all(clock: harness.Time, tmp_path: t.Any, reason: str) -> None:
    node = Node(clock, answer())
    result = recovered(
        node, tmp_path, {"node1": answer(), "node2": {"failed": False, "reason": reason, "message": "It lives."}}
    )
    assert (result["reason"], result["exit_code"], node.calls) == (reason, 8, [])
    assert result["message"].startswith("node2: It lives.")


def recovered(node: Node, folder: t.Any, answers: dict[str, dict[str, t.Any]]) -> dict[str, t.Any]:
    """The result on node1 of a fleet of three, whose nodes have answered so when they were asked."""
    hostvars = harness.inventory(folder, FLEET)["hostvars"]
    variables = harness.HostVariables({host: {"judged": given} for host, given in answers.items()})
    variables._inventory = hostvars._inventory
    arguments = {**ARGUMENTS, "state": "recovered", "judged": "judged"}
    return harness.run(
        run_lock.ActionModule, arguments, node, {"hostvars": variables, "ansible_play_hosts_all": list(answers)}
    )


def test_what_an_earlier_answer_has_told_is_not_lost_and_said_once(
    clock: harness.Time, capsys: pytest.CaptureFixture[str]
) -> None:
    first = answer(changed=True, adopted="deadrun", did=["ended the job x"], left_behind=["a folder"], pending=[START])
    node = Node(clock, first, answer(inherited="Running", did=["ended the job x", "released the lease"]))
    result = harness.run(run_lock.ActionModule, ARGUMENTS, node)
    assert (result["changed"], result["adopted"], result["inherited"]) == (True, "deadrun", "Running")
    assert result["did"] == ["ended the job x", "released the lease"]
    assert result["left_behind"] == ["a folder"]
    assert capsys.readouterr().out.count("ended the job x") == 1


@pytest.mark.parametrize(
    ("pending", "reason", "code"), [([JOB], "foreign_job_alive", 8), ([START], "service_not_restored", 7)]
)
@pytest.mark.parametrize("timeout", [0, 60])
def test_waiting_has_an_end_with_the_reason_of_what_is_still_missing(
    clock: harness.Time, pending: list[str], reason: str, code: int, timeout: int
) -> None:
    node = Node(clock, answer(pending=pending, pending_reason=reason, did=["ended the job x"], changed=True))
    result = harness.run(run_lock.ActionModule, {**ARGUMENTS, "wait_timeout": timeout}, node)
    assert (result["failed"], result["reason"], result["exit_code"]) == (True, reason, code)
    assert all(what in result["message"] for what in pending)
    assert f"{timeout} s" in result["message"]
    assert result["detail"]["did"] == ["ended the job x"]
    assert 5000 + timeout <= clock.now <= 5000 + timeout + 2


def test_a_fresh_lock_of_another_run_ends_with_8_and_names_that_run(clock: harness.Time) -> None:
    other = samples.lock()
    refusal = {
        "failed": True,
        "reason": "run_locked",
        "msg": f"The run {other['run_id']} of {other['holder']} holds this node",
        "detail": other,
    }
    node = Node(clock, refusal)
    result = harness.run(run_lock.ActionModule, ARGUMENTS, node)
    assert (result["failed"], result["reason"], result["exit_code"]) == (True, "run_locked", 8)
    assert other["holder"] in result["message"]
    assert result["detail"] == other
    assert len(node.calls) == 1


def test_check_mode_asks_once_and_tells_what_would_be_waited_for(clock: harness.Time) -> None:
    node = Node(clock, answer(changed=True, pending=[JOB], did=["would release the lease of the run x"]))
    result = harness.run(run_lock.ActionModule, ARGUMENTS, node, check_mode=True)
    assert (result.get("failed"), result["changed"], result["pending"], len(node.calls)) == (None, True, [JOB], 1)


def test_an_inspection_asks_once_and_says_nothing_on_the_screen(
    clock: harness.Time, capsys: pytest.CaptureFixture[str]
) -> None:
    node = Node(clock, answer(pending=[JOB], did=["would release the lease of the run x"]))
    result = harness.run(run_lock.ActionModule, {**ARGUMENTS, "state": "inspected"}, node)
    assert (result["did"], len(node.calls)) == (["would release the lease of the run x"], 1)
    assert "would release" not in capsys.readouterr().out


LOG = {"id": "DB_x-window", "run_id": samples.RUN_ID, "path": r"C:\logs\x.log", "text": "2026 INFO stopping\n"}


@pytest.mark.parametrize(
    ("run_id", "folder"), [(samples.RUN_ID, samples.RUN_ID), ("..", "unknown_run"), ("/etc", "unknown_run")]
)
def test_the_log_of_a_dead_job_is_fetched_into_the_folder_of_its_run(
    clock: harness.Time, tmp_path: Path, run_id: str, folder: str
) -> None:
    node = Node(clock, answer(changed=True, logs=[{**LOG, "run_id": run_id}]))
    result = harness.run(run_lock.ActionModule, {**ARGUMENTS, "log_directory": str(tmp_path / "runs")}, node)
    file = tmp_path / "runs" / folder / "node1_DB_x-window.log"
    assert result["logs"] == [{"node_path": LOG["path"], "path": str(file)}]
    assert file.read_text(encoding="utf-8") == LOG["text"]
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_a_log_that_cannot_be_fetched_is_no_failure_and_stays_on_the_node(clock: harness.Time, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="ascii")
    node = Node(clock, answer(changed=True, logs=[LOG]))
    result = harness.run(run_lock.ActionModule, {**ARGUMENTS, "log_directory": str(tmp_path / "file")}, node)
    assert (result.get("failed"), result["logs"]) == (None, [{"node_path": LOG["path"], "path": ""}])


def test_a_release_asks_once(clock: harness.Time) -> None:
    node = Node(clock, answer(changed=True))
    assert harness.run(run_lock.ActionModule, {"state": "released", "run_id": samples.RUN_ID}, node)["changed"] is True
    assert (len(node.calls), node.calls[0]["state"]) == (1, "released")


def test_a_lost_connection_is_a_failure_of_the_step(clock: harness.Time) -> None:
    def silent(_unused: dict[str, t.Any]) -> dict[str, t.Any]:
        raise AnsibleConnectionFailure("no route")

    assert harness.run(run_lock.ActionModule, ARGUMENTS, silent)["reason"] == "connection_lost"


@pytest.mark.parametrize(
    "wrong", [{"state": "held"}, {"foreign_job": "kill"}, {"wait_timeout": "long"}, {"run_id": None}]
)
def test_wrong_arguments_are_refused_before_the_node_is_called(wrong: dict[str, t.Any]) -> None:
    arguments = {key: value for key, value in {**ARGUMENTS, **wrong}.items() if value is not None}
    assert harness.run(run_lock.ActionModule, arguments)["reason"] == "invalid_variable"

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Failures during a run: the service is started again, the cause is named, and no archive has a final name."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import nightly

from . import observer
from .backup_files import published
from .kinds import wine_only
from .lab_of_tests import ARCHIVES, LEASE, STAGING, STATE_FOLDER, Lab
from .playbook_run import PlaybookRunner, Run

RunTasks = Callable[..., Run]
LEASE_MODULE = "alteryx_ops.server_backup.maintenance_lease"
GUARD = r"\AlteryxOps\Guard"
SERVICE_MODULE = "alteryx_ops.server_backup.alteryx_service"
pytestmark = pytest.mark.usefixtures("recovered")


@pytest.fixture
def run_tasks(run_playbook: PlaybookRunner, tmp_path: Path) -> RunTasks:
    """Runs a few tasks as a playbook of their own, as an operator's playbook does that uses single modules."""

    def run(*tasks: dict[str, Any]) -> Run:
        playbook = tmp_path / "tasks.yml"
        playbook.write_text(json.dumps([{"hosts": "alteryx", "gather_facts": False, "tasks": tasks}]), encoding="utf-8")
        return run_playbook(playbook)

    return run


@pytest.fixture(scope="module")
def earlier_archive(lab: Lab, run_playbook: PlaybookRunner) -> None:
    """There is something a failing run could damage."""
    if not published(lab):
        run_playbook("config_backup.yml").assert_ok()


@pytest.fixture
def archives_kept(lab: Lab, earlier_archive: None) -> Iterator[None]:
    """Fails the test if afterwards the archive directory is not as it was."""
    before = {
        path: state
        for path, state in observer.tree(lab.node).items()
        if Path(path).is_relative_to(_relative(lab, ARCHIVES))
    }
    assert before
    yield
    after = {
        path: state
        for path, state in observer.tree(lab.node).items()
        if Path(path).is_relative_to(_relative(lab, ARCHIVES))
    }
    assert observer.difference(before, after) == []


@pytest.mark.usefixtures("archives_kept")
@pytest.mark.parametrize(
    ("damage", "reason", "message"),
    [
        ("fail", "dump_failed", "the tool said: EMongoDump failed"),
        pytest.param("half", "dump_incomplete", "AlteryxGallery is not in the dump", marks=pytest.mark.long),
        pytest.param("exit1", "dump_failed", "exit code 1", marks=pytest.mark.long),
        pytest.param("empty", "dump_incomplete", "AlteryxGallery/users.bson", marks=pytest.mark.long),
    ],
)
@pytest.mark.reaches("dump_failed", exit_code=5, when="fail")
@pytest.mark.reaches("dump_incomplete", when="half")
def test_a_dump_that_fails_brings_the_service_back_and_publishes_nothing(
    lab: Lab, run_playbook: PlaybookRunner, damage: str, reason: str, message: str
) -> None:
    before = lab.node.service()
    lab.node.behave(emongodump=damage)
    run = run_playbook("full_backup.yml")
    run.assert_failed(5, reason, message=message)
    after = lab.node.service()
    assert (before.state, after.state) == ("Running", "Running")
    assert after.pid != before.pid
    assert "service Running -> Running" in run.stdout
    assert run.node()["archive"] == ""
    assert run.outcome["downtime"]["total"] > 0
    assert "ERROR" in run.log
    assert _left(lab) == []


@pytest.mark.long
@pytest.mark.usefixtures("archives_kept")
@pytest.mark.reaches("stop_timeout")
def test_a_service_that_stops_too_late_comes_back(lab: Lab, run_playbook: PlaybookRunner) -> None:
    before = lab.node.service()
    lab.node.behave(stop_delay_ms="8000")
    run = run_playbook("database_backup.yml", extra_vars={"alteryx_window_stop_timeout": 2})
    run.assert_failed(2, "stop_timeout", message="within 2 s")
    after = lab.node.service()
    assert after.state == "Running"
    assert after.pid != before.pid
    assert _left(lab) == []


@pytest.mark.long
@pytest.mark.reaches("service_not_restored", exit_code=7)
def test_a_service_that_does_not_start_again_outranks_all_and_is_still_brought_back(
    lab: Lab, run_playbook: PlaybookRunner
) -> None:
    lab.node.behave(start="fail")
    run = run_playbook("database_backup.yml", extra_vars={"alteryx_window_start_timeout": 3})
    run.assert_failed(7, "service_not_restored")
    assert lab.node.service().state == "Stopped"
    # The outage has paid for the dump.
    assert (run.node()["dump"], run.node()["verdict"]) == ("archived", "good")
    # The lease is kept, so that the guard tries again.
    assert lab.node.path(LEASE).exists()
    lab.node.behave()
    assert lab.tasks() == [GUARD]
    lab.minute(2)
    assert lab.wait_for("Running", 90).state == "Running"
    assert _wait_until_guard_is_gone(lab) == []
    assert lab.node.service().state == "Running"
    assert _left(lab) == []


@pytest.mark.long
@pytest.mark.reaches("service_restored_late")
def test_a_service_that_starts_late_is_not_7(lab: Lab, run_playbook: PlaybookRunner) -> None:
    lab.node.behave(start_delay_ms="5000")
    run = run_playbook("database_backup.yml", extra_vars={"alteryx_window_start_timeout": 3})
    run.assert_failed(2, "service_restored_late", message="it was started again after that")
    assert lab.node.service().state == "Running"
    assert _left(lab) == []


@pytest.fixture
def file_in_the_way(lab: Lab) -> Iterator[str]:
    """A folder that cannot be made, because a file has the name of its parent."""
    file = lab.node.path(r"D:\InTheWay")
    file.write_text("a file", encoding="ascii")
    yield r"D:\InTheWay\Backups"
    file.unlink()


@pytest.mark.long
@pytest.mark.reaches("folder_unwritable", exit_code=4)
def test_a_folder_in_which_nothing_can_be_written_stops_nothing(
    lab: Lab, run_playbook: PlaybookRunner, file_in_the_way: str
) -> None:
    before = lab.node.service()
    run = run_playbook("database_backup.yml", extra_vars={"alteryx_archive_directory": file_in_the_way})
    run.assert_failed(4, "folder_unwritable", message=rf"cannot write files in {file_in_the_way}\{lab.node.name}")
    assert lab.node.service() == before
    assert _left(lab) == []


@pytest.mark.usefixtures("archives_kept")
@pytest.mark.parametrize("options", nightly.after_first([[], ["--check"]]))
@pytest.mark.reaches("secret_unreadable", exit_code=1)
def test_secrets_that_cannot_be_read_fail_the_run(lab: Lab, run_playbook: PlaybookRunner, options: list[str]) -> None:
    before = lab.node.service()
    lab.node.behave(getserversecret="fail")
    # In full mode it is found out before anything is stopped, and a prediction finds it out too.
    run = run_playbook("full_backup.yml", *options)
    run.assert_failed(1, "secret_unreadable", message="getserversecret")
    assert lab.node.service() == before
    assert _left(lab) == []


@pytest.fixture
def workflow(lab: Lab) -> Iterator[None]:
    """A workflow runs on the node."""
    lab.node.start_engine(600)
    yield
    lab.end_engines()


@pytest.mark.long
@pytest.mark.usefixtures("archives_kept", "workflow")
@pytest.mark.reaches("drain_timeout", exit_code=2)
def test_a_workflow_that_does_not_end_in_time_is_named_and_nothing_is_stopped(
    lab: Lab, run_playbook: PlaybookRunner
) -> None:
    before = lab.node.service()
    run = run_playbook("database_backup.yml", extra_vars={"alteryx_window_drain_timeout": 0})
    run.assert_failed(2, "drain_timeout", message="AlteryxEngineCmd.exe")
    # Nothing was archived, so the node has its log in the state folder.
    log = (lab.node.path(STATE_FOLDER) / "logs" / run.outcome["log_name"]).read_text(encoding="utf-8")
    assert f"[drain_timeout, exit code 2]; next: {run.outcome['hint']}" in log
    assert lab.node.service() == before
    assert _left(lab) == []


_BROKEN = "- name: Take it out of the load balancer\n  ansible.builtin.fail:\n    msg: the load balancer says no\n"


@pytest.mark.long
@pytest.mark.usefixtures("archives_kept")
@pytest.mark.parametrize("check", [[], ["--check"]], ids=["run", "check"])
@pytest.mark.reaches("hook_failed")
def test_tasks_of_the_operator_that_fail_before_the_window_stop_nothing(
    lab: Lab, run_playbook: PlaybookRunner, tmp_path: Path, check: list[str]
) -> None:
    before = lab.node.service()
    file = tmp_path / "before.yml"
    file.write_text(_BROKEN, encoding="utf-8")
    run = run_playbook("database_backup.yml", *check, extra_vars={"alteryx_window_before": str(file)})
    run.assert_failed(
        1, "hook_failed", message=f"{file}, task Take it out of the load balancer: the load balancer says no"
    )
    assert lab.node.service() == before
    assert _left(lab) == []


@pytest.mark.long
def test_tasks_of_the_operator_that_fail_after_the_window_cost_no_backup(
    lab: Lab, run_playbook: PlaybookRunner, tmp_path: Path
) -> None:
    file = tmp_path / "after.yml"
    file.write_text(_BROKEN, encoding="utf-8")
    run = run_playbook("database_backup.yml", extra_vars={"alteryx_window_after": str(file)})
    run.assert_failed(1, "hook_failed", message="the load balancer says no")
    assert run.node()["verdict"] == "good"
    assert lab.node.service().state == "Running"
    assert _left(lab) == []


@pytest.mark.long
@pytest.mark.usefixtures("archives_kept", "workflow")
@pytest.mark.reaches("processes_left")
def test_forced_the_run_goes_on_but_never_dumps_over_a_workflow_that_still_runs(
    lab: Lab, run_playbook: PlaybookRunner
) -> None:
    # Alteryx ends its own workflows with the service; this one continues to run.
    run = run_playbook("database_backup.yml", extra_vars={"alteryx_window_force": True})
    assert "going on although workflows run: AlteryxEngineCmd.exe" in run.text
    run.assert_failed(2, "processes_left", message="AlteryxEngineCmd.exe")
    assert lab.node.service().state == "Running"
    assert _left(lab) == []


@pytest.mark.long
@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        pytest.param({"schtasks": "deny"}, "task_refused", id="deny"),
        pytest.param({"schtasks": "never_run"}, "drill_unanswered", id="never_run"),
        pytest.param({"account": "S-1-5-20"}, "drill_wrong_account", id="account"),
    ],
)
@pytest.mark.usefixtures("lab_doubles", "archives_kept")
@pytest.mark.reaches("task_refused", when="deny")
@pytest.mark.reaches("drill_unanswered", when="never_run")
@pytest.mark.reaches("drill_wrong_account", when="account")
def test_without_a_guard_that_has_answered_nothing_is_stopped(
    lab: Lab, run_playbook: PlaybookRunner, behaviour: dict[str, str], reason: str
) -> None:
    before = lab.node.service()
    lab.node.behave(**behaviour)
    run = run_playbook("database_backup.yml")
    run.assert_failed(3, reason)
    assert lab.node.service() == before
    assert _left(lab) == []


@pytest.mark.long
@pytest.mark.reaches("run_locked", exit_code=8)
def test_a_node_that_another_run_holds_is_8(lab: Lab, run_tasks: RunTasks, run_playbook: PlaybookRunner) -> None:
    before = lab.node.service()
    run_tasks(
        {"alteryx_ops.server_backup.run_lock": {"state": "acquired", "run_id": "DB_20260901_020000_7f3a"}}
    ).assert_ended_well()
    run = run_playbook("database_backup.yml")
    run.assert_failed(8, "run_locked", message="DB_20260901_020000_7f3a")
    recovery = run_playbook("recover.yml")
    assert recovery.rc == 8, recovery.output
    assert "DB_20260901_020000_7f3a" in recovery.text
    topology = run_playbook("topology.yml")
    topology.assert_ended_well()
    assert f"note: {lab.node.name}: the lock of the run DB_20260901_020000_7f3a of " in topology.text
    for said in (run, recovery):
        assert re.search(r"its lock is stale in 1\d\d s, at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", said.text), said.text
    run_tasks(
        {"alteryx_ops.server_backup.run_lock": {"state": "released", "run_id": "DB_20260901_020000_7f3a"}}
    ).assert_ended_well()
    assert lab.node.service() == before
    assert _left(lab) == []


@pytest.mark.reaches("no_lease")
def test_no_lease_no_stop(lab: Lab, run_tasks: RunTasks) -> None:
    before = lab.node.service()
    run = run_tasks({SERVICE_MODULE: {"state": "stopped", "run_id": "Full_20260901_020000_7f3a", "timeout": 20}})
    assert run.rc == 3
    assert "[no_lease]" in run.text
    assert lab.node.service() == before


def test_a_hold_that_is_put_before_the_lease_refuses_it_and_nothing_is_stopped(lab: Lab, run_tasks: RunTasks) -> None:
    before = lab.node.service()
    hold = lab.node.path(STATE_FOLDER) / "HOLD"
    hold.parent.mkdir(exist_ok=True)
    hold.touch()
    try:
        run = run_tasks({LEASE_MODULE: {"state": "held", "run_id": "Full_20260901_020000_7f3a", "hold_seconds": 60}})
    finally:
        hold.unlink()
    assert run.rc == 3
    assert "[hold_present]" in run.text
    assert lab.node.service() == before
    assert _left(lab) == []


WINDOW_MODULE, RUN = "alteryx_ops.server_backup.database_window", "Full_20260901_020000_7f3a"
EXECUTABLE = r"C:\Program Files\Alteryx\bin\AlteryxService.exe"
HELD: dict[str, Any] = {LEASE_MODULE: {"state": "held", "run_id": RUN, "hold_seconds": 900, "heartbeat_stale": 180}}
RELEASED: dict[str, Any] = {LEASE_MODULE: {"state": "released", "run_id": RUN}}


def window(folder: str, **options: int) -> dict[str, Any]:
    """The task of a window that may fail."""
    return {
        WINDOW_MODULE: {"run_id": RUN, "executable": EXECUTABLE, "staging_directory": folder, **options},
        "ignore_errors": True,
    }


@pytest.fixture
def folder(lab: Lab) -> Iterator[str]:
    """A staging folder of the test's own."""
    yield r"D:\Limits"
    shutil.rmtree(lab.node.path(r"D:\Limits"), ignore_errors=True)


@pytest.mark.long
@pytest.mark.parametrize(
    ("reason", "options", "said"),
    [
        ("staging_in_use", {}, "exists already"),
        ("space_reserve", {"space_reserve": 10**9}, "bytes are free on the drive of"),
        ("downtime_limit", {"max_downtime": 5}, "the service was down for more than 5 s, so the dump was ended"),
    ],
)
@pytest.mark.reaches("staging_in_use", when="staging_in_use")
@pytest.mark.reaches("space_reserve", when="space_reserve")
@pytest.mark.reaches("downtime_limit", when="downtime_limit")
def test_a_limit_of_the_window_ends_it_and_brings_the_service_back(
    lab: Lab, run_tasks: RunTasks, folder: str, reason: str, options: dict[str, int], said: str
) -> None:
    if reason == "staging_in_use":
        lab.node.path(rf"{folder}\{RUN}\files\database").mkdir(parents=True)
    lab.node.behave(emongodump_delay_ms="20000")
    run = run_tasks(HELD, window(folder, **options), RELEASED)
    run.assert_ended_well()
    assert re.findall(r"FAILED! => .*? \[(\w+)\]", run.text) == [reason], run.output
    assert said in run.text
    assert lab.node.service().state == "Running"
    assert _left(lab) == []


@pytest.mark.long
@pytest.mark.reaches("service_moved")
def test_a_service_that_somebody_started_after_the_lease_is_not_stopped(
    lab: Lab, run_tasks: RunTasks, folder: str
) -> None:
    lab.stop_service()
    started = {SERVICE_MODULE: {"state": "started", "run_id": RUN, "timeout": 60}}
    run = run_tasks(HELD, started, window(folder), RELEASED)
    assert "[service_moved]" in run.text, run.output
    assert lab.node.service().state == "Running"


@pytest.mark.long
@wine_only
def test_the_guard_restores_the_service_at_the_deadline(lab: Lab, run_tasks: RunTasks) -> None:
    before = lab.node.service()
    run_id = "Full_20260901_020000_7f3a"
    run = run_tasks(
        {LEASE_MODULE: {"state": "held", "run_id": run_id, "hold_seconds": 60}},
        {SERVICE_MODULE: {"state": "stopped", "run_id": run_id, "timeout": 20}},
    )
    run.assert_ended_well()
    # The lease is not released, because Ansible has ended.
    assert lab.node.service().state == "Stopped"
    lab.minute(2)
    after = lab.wait_for("Running", 120)
    assert after.state == "Running"
    assert after.pid != before.pid
    # And then it goes by itself, so that the next run finds a clean node.
    assert _wait_until_guard_is_gone(lab) == []
    assert lab.node.service() == after


@pytest.mark.long
def test_a_service_that_was_stopped_stays_stopped_and_is_said(lab: Lab, run_playbook: PlaybookRunner) -> None:
    lab.stop_service()
    run = run_playbook("database_backup.yml")
    run.assert_ok()
    assert lab.node.service().state == "Stopped"
    assert "service Stopped -> Stopped" in run.stdout
    assert any("Stopped already and will be left Stopped" in warning for warning in run.outcome["warnings"])
    assert run.outcome["downtime"]["total"] == 0
    assert run.node()["verdict"] == "good"
    assert lab.leftovers() == []


def _wait_until_guard_is_gone(lab: Lab) -> list[str]:
    """The guard removes its task first and what it watched over then; returns what is left of both."""
    limit = time.monotonic() + 240  # three real minutes where minutes cannot be shortened
    while _left(lab) and time.monotonic() < limit:
        time.sleep(0.2)
    return _left(lab)


def _left(lab: Lab) -> list[str]:
    """Files that a failed run must not leave. Its staging folder stays until the next run, so that the cause can be
    examined."""
    staging = str(lab.node.path(STAGING))
    return [path for path in lab.leftovers() if not path.startswith(staging)]


def _relative(lab: Lab, windows_path: str) -> Path:
    return lab.node.path(windows_path).relative_to(lab.node.folder)

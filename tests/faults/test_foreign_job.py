# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A new run meets the living window job of a dead one, and does with it what the operator has chosen."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.integration.lab_of_tests import Lab

from .conftest import Start
from .scenes import in_dump, next_run_is_good
from .watch import DUMP, Watch, guard_acted, guard_log, host_processes, read_state, state_file, until

pytestmark = [pytest.mark.wine, pytest.mark.long, pytest.mark.timeout(1800)]

# Until a run says what it does with a job: on a busy machine most of it is the start of Ansible and of PowerShell.
WORD_SECONDS = 300


def orphan(lab: Lab, start: Start, dump_seconds: int) -> str:
    """A run that is dead while its window job dumps, and whose lock is stale. Returns its id."""
    lab.node.behave(emongodump_delay_ms=str(dump_seconds * 1000))
    run = start("database_backup.yml", extra_vars={"alteryx_preflight_lock_stale": 2})
    in_dump(lab, run)
    run.kill_everything()
    run_id = str(read_state(lab, "run.json")["run_id"])
    lock = state_file(lab, "run.json")
    # A call that was on its way at the kill still counts as life.
    time.sleep(5)
    until(lambda: time.time() > lock.stat().st_mtime + 3, 60, "a stale lock")
    assert host_processes(lab.node, DUMP)
    return run_id


@pytest.mark.reaches("foreign_job_alive", "window_job_alive")
def test_refuse_is_the_default_and_touches_nothing(lab: Lab, start: Start, watching: Watch, tmp_path: Path) -> None:
    dead = orphan(lab, start, 60)
    refused = start("database_backup.yml").finish()
    refused.assert_failed(8, "foreign_job_alive", message=dead)
    # Nor does a playbook of an operator's own start the service into the dump.
    module = {
        "alteryx_ops.server_backup.alteryx_service": {
            "state": "started",
            "run_id": "DB_20260901_020000_7f3a",
            "timeout": 20,
        }
    }
    playbook = tmp_path / "start.yml"
    playbook.write_text(json.dumps([{"hosts": "alteryx", "gather_facts": False, "tasks": [module]}]), encoding="utf-8")
    started = start(playbook).finish()
    assert started.rc == 1, started.output
    assert "The window job of this node is active" in started.text
    assert watching.dump_runs
    watching.restart_after_dump(90)
    assert not guard_acted(lab)
    lab.node.behave()
    until(lambda: not host_processes(lab.node, "job_host.ps1"), 60, "the end of the job")
    next_run_is_good(lab, start)


def test_wait_lets_the_dump_end_and_then_makes_its_own(lab: Lab, start: Start, watching: Watch) -> None:
    dead = orphan(lab, start, 50)
    run = start("database_backup.yml", extra_vars={"alteryx_preflight_foreign_job": "wait"})
    waits = f"waiting for window_job of the run {dead}"
    until(lambda: waits in run.output or run.ended, WORD_SECONDS, "its word that it waits")
    lab.node.behave()
    run.finish().assert_ok()
    assert len(watching.dumps) == 2
    assert not guard_acted(lab)
    assert lab.leftovers() == []


def test_take_over_makes_the_dead_runs_dump_its_own(lab: Lab, start: Start, watching: Watch) -> None:
    dead = orphan(lab, start, 60)
    run = start("database_backup.yml", extra_vars={"alteryx_preflight_foreign_job": "take_over"})
    finished = run.finish()
    finished.assert_ok()
    assert f"took over the window job of the run {dead}" in finished.text
    assert len(watching.dumps) == 1
    assert finished.node()["verdict"] == "good"
    assert finished.outcome["run_id"] != dead
    assert lab.node.service().state == "Running"
    assert not guard_acted(lab)
    assert lab.leftovers() == []


def test_cancel_ends_the_whole_tree_and_brings_the_service_back_first(lab: Lab, start: Start, watching: Watch) -> None:
    dead = orphan(lab, start, 300)
    run = start("database_backup.yml", extra_vars={"alteryx_preflight_foreign_job": "cancel"})
    ends = f"ended the job window_job of the run {dead}"
    until(lambda: ends in run.output or run.ended, WORD_SECONDS, "its word that it ended the job")
    until(lambda: watching.state == "Running" or run.ended, 90, "Running")
    assert len(watching.dumps) == 1
    lab.node.behave()
    finished = run.finish()
    finished.assert_ok()
    # The job has started the service itself, as after any other failure, so no other step found it Stopped.
    assert "had left Stopped" not in finished.text
    assert f"released the lease of the run {dead}" in finished.text
    assert not guard_acted(lab), guard_log(lab)
    assert len(watching.dumps) == 2
    assert lab.leftovers() == []


@pytest.mark.parametrize("choice", ["refuse", "cancel"])
def test_recover_on_a_node_with_a_living_job(lab: Lab, start: Start, watching: Watch, choice: str) -> None:
    dead = orphan(lab, start, 60)
    recovered = start("recover.yml", extra_vars={"alteryx_preflight_foreign_job": choice}).finish()
    if choice == "refuse":
        assert recovered.rc == 8, recovered.output
        assert dead in recovered.text
        watching.restart_after_dump(90)
    else:
        assert recovered.rc == 0, recovered.output
        assert f"ended the job window_job of the run {dead}" in recovered.text
        assert lab.leftovers() == []
    assert lab.node.service().state == "Running"
    assert not guard_acted(lab)

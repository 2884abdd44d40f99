# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Another actor changes the node during a run: a person with HOLD, a program that starts the service, another run."""

from __future__ import annotations

import contextlib
import subprocess
import threading

import pytest

from tests.integration.lab_of_tests import STATE_FOLDER, Lab
from tests.lab import wine_node

from .conftest import Start
from .scenes import in_dump
from .watch import Watch, guard_acted, guard_log, read_state, state_file, until

pytestmark = [pytest.mark.wine, pytest.mark.long, pytest.mark.timeout(900)]


@pytest.mark.reaches("held_by_operator")
def test_hold_keeps_the_service_down_until_a_person_ends_it(lab: Lab, start: Start, watching: Watch) -> None:
    lab.node.behave(emongodump_delay_ms="4000")
    run = start("database_backup.yml", extra_vars={"alteryx_window_start_timeout": 10})
    in_dump(lab, run)
    assert "DB_" in state_file(lab, "STATUS.txt").read_text(encoding="utf-8")
    state_file(lab, "HOLD").touch()
    run.finish().assert_failed(7, "held_by_operator", message="HOLD")
    lab.node.behave()
    # Neither the guard nor another run moves it, and both say why.
    second = start("database_backup.yml").finish()
    second.assert_failed(3, "hold_present")
    until(lambda: "HOLD is there" in guard_log(lab), 120, "the guard's word")
    assert [state for _unused, state in watching.states] in (
        ["Running", "Stopped"],
        ["Running", "StopPending", "Stopped"],
    )
    wine_node.run(lab.node.folder, "cmd.exe", "/c", rf"{STATE_FOLDER}\restore-service.cmd")
    assert not state_file(lab, "HOLD").exists()
    assert lab.wait_for("Running", 30).state == "Running"
    assert not state_file(lab, "STATUS.txt").exists()
    assert start("recover.yml").finish().rc == 0
    assert lab.tasks() == []


@pytest.mark.reaches("service_started_during_dump")
def test_a_service_that_somebody_starts_during_the_dump_fails_the_dump_and_is_not_killed(
    lab: Lab, start: Start, watching: Watch
) -> None:
    # Its start finds the database in use; it takes a moment to find that out, as the real one does.
    lab.node.behave(emongodump_delay_ms="60000", start_delay_ms="1500")
    run = start("database_backup.yml")
    in_dump(lab, run)
    starter = threading.Thread(target=_start_service, args=(lab,))
    starter.start()
    finished = run.finish()
    starter.join()
    finished.assert_failed(5, "service_started_during_dump", message="AlteryxService")
    assert finished.node()["archive"] == ""
    # The process was started once and was not ended.
    after_dump = [state for _unused, state in watching.states]
    assert after_dump[-1] == "Running"
    assert after_dump.count("Running") == 2, watching.history()
    assert not guard_acted(lab)


def test_of_two_runs_in_the_same_second_one_wins_and_the_other_names_it(lab: Lab, start: Start) -> None:
    runs = [start("config_backup.yml") for _unused in range(2)]
    ends = sorted((run.finish() for run in runs), key=lambda run: run.rc)
    ends[0].assert_ok()
    ends[1].assert_failed(8, "run_locked", message=ends[0].outcome["run_id"])
    assert lab.leftovers() == []
    assert read_state(lab, "run.json") == {}


def _start_service(lab: Lab) -> None:
    with contextlib.suppress(
        RuntimeError, subprocess.TimeoutExpired
    ):  # it may fail at first, because the dump uses the database
        lab.start_service()

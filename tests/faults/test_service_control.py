# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The service manager and the service answer as they do on Windows: late, with errors, or not at all."""

from __future__ import annotations

import datetime
import time

import pytest

from tests.integration.lab_of_tests import Lab

from . import measurements
from .conftest import Start
from .scenes import in_dump
from .watch import DUMP, Watch, guard_acted, guard_log, host_processes, until

pytestmark = [pytest.mark.wine, pytest.mark.long, pytest.mark.timeout(1800)]

WINDOW_SECONDS = 15 * 60
CONTROLLER = "alteryxservice_mongocontroller.exe"
SERVERS = {CONTROLLER, "mongod.exe"}


def test_a_stop_that_windows_reports_as_failed_is_waited_for(lab: Lab, start: Start, watching: Watch) -> None:
    lab.node.behave(stop="slow_handler", stop_delay_ms="2000")
    run = start("database_backup.yml").finish()
    run.assert_ok()
    assert len(watching.dumps) == 1
    assert lab.node.service().state == "Running"
    assert not guard_acted(lab)
    assert lab.leftovers() == []


def test_processes_that_outlive_the_service_are_waited_for_before_the_dump(
    lab: Lab, start: Start, watching: Watch
) -> None:
    # Longer than a heartbeat may be old: the guard sees the job wait.
    lab.node.behave(stop="linger", linger_ms="30000")
    run = start("database_backup.yml").finish()
    run.assert_ok()
    stopped = next(at for at, state in watching.states if state == "Stopped")
    assert watching.dumps[0][0] - stopped > 25
    assert not guard_acted(lab)
    assert lab.leftovers() == []


def test_processes_that_do_not_end_in_time_are_named_and_the_service_comes_back(
    lab: Lab, start: Start, watching: Watch
) -> None:
    lab.node.behave(stop="linger", linger_ms="60000")
    run = start("database_backup.yml", extra_vars={"alteryx_window_leftover_timeout": 5}).finish()
    run.assert_failed(2, "processes_left", message="mongod.exe")
    assert watching.dumps == []
    assert lab.node.service().state == "Running"


def test_a_member_of_the_dump_that_is_dying_saves_no_other(lab: Lab, start: Start, watching: Watch) -> None:
    lab.node.behave(kill="dying_child", emongodump_delay_ms="120000")
    run = start("database_backup.yml", extra_vars={"alteryx_window_dump_timeout": 30})
    in_dump(lab, run)
    until(lambda: "mongod.exe" in {each.name.lower() for each in lab.node.processes()} or run.ended, 60, "its mongod")
    doomed = {each.pid for each in lab.node.processes() if each.name.lower() == "mongod.exe"}
    run.finish().assert_failed(5, "dump_timeout")
    assert host_processes(lab.node, DUMP) == []
    assert [each for each in lab.node.processes() if each.pid in doomed] == []
    assert not [process for process in lab.node.processes() if process.name.lower() == "mongodump.exe"]
    assert lab.node.service().state == "Running"
    assert lab.tasks() == []


def test_a_database_that_another_process_serves_the_dump_goes_with_the_dump(
    lab: Lab, start: Start, watching: Watch
) -> None:
    lab.node.behave(emongodump="spawn_via_controller", emongodump_delay_ms="120000")
    run = start("database_backup.yml", extra_vars={"alteryx_window_dump_timeout": 30})
    in_dump(lab, run)
    until(lambda: {each.name.lower() for each in lab.node.processes()} >= SERVERS or run.ended, 60, "both of them")
    doomed = {each.pid for each in lab.node.processes() if each.name.lower() in SERVERS}
    run.finish().assert_failed(5, "dump_timeout")
    left = [each for each in lab.node.processes() if each.pid in doomed or each.name.lower() == CONTROLLER]
    assert left == []
    assert lab.node.service().state == "Running"
    assert not guard_acted(lab), guard_log(lab)
    assert lab.tasks() == []


@pytest.mark.reaches("service_logon_failed")
def test_a_wrong_password_of_the_service_is_tried_twice_in_fifteen_minutes(
    lab: Lab, start: Start, watching: Watch
) -> None:
    forget_start_attempts(lab)
    lab.node.behave(emongodump_delay_ms="5000")
    run = start("database_backup.yml", extra_vars={"alteryx_window_start_timeout": 60})
    in_dump(lab, run)
    # Rotated while the service ran: noticed at the next start.
    lab.node.behave(start="logon_failed", emongodump_delay_ms="5000")
    finished = run.finish()
    finished.assert_failed(7, "service_logon_failed", message="could not log on")
    # The guard fires every ten seconds here, and recover.yml tries too.
    recovered = start("recover.yml", extra_vars={"alteryx_preflight_lock_stale": 2}).finish()
    assert recovered.rc == 7, recovered.output
    assert "could not log on" in recovered.text
    begun = time.monotonic()
    until(lambda: time.monotonic() > begun + 90, 100, "nine firings of the guard")
    attempts = [datetime.datetime.fromisoformat(line.split()[0]) for line in lab.node.start_attempts()]
    assert most_within(attempts, WINDOW_SECONDS) == 2, lab.node.start_attempts()
    # With the password corrected, a person starts it; the guard then goes by itself.
    lab.node.behave()
    lab.start_service()
    assert lab.wait_for("Running", 60).state == "Running"
    measurements.note("wrong password: start attempts in the first minutes", [float(len(attempts))])
    until(lambda: lab.tasks() == [], 90, "the end of the guard")


def forget_start_attempts(lab: Lab) -> None:
    lab.node.path(r"C:\AlteryxLab\start-attempts.txt").unlink(missing_ok=True)


def most_within(moments: list[datetime.datetime], seconds: float) -> int:
    """The largest number of these moments in a span of that length."""
    return max(
        (sum(0 <= (other - first).total_seconds() <= seconds for other in moments) for first in moments), default=0
    )


def test_a_service_that_is_disabled_meanwhile_is_asked_once_by_the_job(lab: Lab, start: Start) -> None:
    lab.minute(3600)
    forget_start_attempts(lab)
    lab.node.behave(emongodump_delay_ms="5000")
    run = start("database_backup.yml", extra_vars={"alteryx_window_start_timeout": 60})
    in_dump(lab, run)
    lab.node.behave(start="disabled", emongodump_delay_ms="5000")
    begun = time.monotonic()
    run.finish().assert_failed(7, "service_not_restored")
    # The job, and then the playbook in its own calls; neither hammers.
    assert len(lab.node.start_attempts()) <= 12, lab.node.start_attempts()
    assert time.monotonic() - begun < 200
    lab.node.behave()

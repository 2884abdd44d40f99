# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The node or a part of it fails: power, network, the file of the lease, a reused process id, and clocks that jump."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import records
from tests.integration.lab_of_tests import Lab
from tests.lab import control

from . import measurements
from .background_run import HEARTBEAT_STALE
from .conftest import Start
from .scenes import DEAD_LIMIT, guard_restores, in_dump, next_run_is_good, set_start_type, wait_for_stale_lock
from .watch import WINDOW_JOB, Watch, guard_acted, guard_log, read_state, signal_processes, state_file, until

pytestmark = [pytest.mark.wine, pytest.mark.long, pytest.mark.timeout(1800)]

WALL_CLOCK = Path(__file__).with_name("wall_clock.c")


def test_the_network_fails_during_the_dump_the_job_goes_on_and_the_run_attaches_again(
    lab: Lab, start: Start, watching: Watch
) -> None:
    seconds = 2 * HEARTBEAT_STALE
    lab.node.behave(emongodump_delay_ms=str(1000 * (seconds + 15)))
    run = start("database_backup.yml")
    in_dump(lab, run)
    time.sleep(2)
    control.ask(lab.control_port, "cut", node=lab.node.name, seconds=seconds)
    finished = run.finish()
    finished.assert_ok()
    assert "no answer" in finished.text
    assert not guard_acted(lab)
    assert len(watching.dumps) == 1
    assert watching.dumps[0][1] - watching.dumps[0][0] > seconds
    assert finished.node()["verdict"] == "good"
    assert lab.leftovers() == []


def test_the_network_fails_beyond_the_end_of_the_window(lab: Lab, start: Start, watching: Watch) -> None:
    lab.node.behave(emongodump_delay_ms="6000")
    run = start("database_backup.yml")
    in_dump(lab, run)
    control.ask(lab.control_port, "cut", node=lab.node.name, seconds=2 * HEARTBEAT_STALE)
    watching.restart_after_dump(30)
    assert not run.ended
    run.finish().assert_ok()
    assert not guard_acted(lab)
    assert lab.leftovers() == []


@pytest.mark.parametrize("start_type", ["auto", "demand"])
def test_a_node_that_reboots_with_the_service_down_comes_up_with_it(lab: Lab, start: Start, start_type: str) -> None:
    lab.node.behave(emongodump_delay_ms="120000")
    run = start("database_backup.yml")
    in_dump(lab, run)
    run.kill_everything()
    # With "demand" Windows does not start it at boot: only the guard's boot trigger can.
    set_start_type(lab, start_type)
    try:
        began = time.monotonic()
        lab.node.reboot()
        booted = time.monotonic()
        assert lab.wait_for("Running", DEAD_LIMIT).state == "Running", guard_log(lab)
        measurements.note(
            f"reboot with the service down (start type {start_type}): Running after power-off",
            [time.monotonic() - began],
        )
        measurements.note(
            f"reboot with the service down (start type {start_type}): Running after boot",
            [time.monotonic() - booted],
            DEAD_LIMIT,
        )
        if start_type == "demand":
            # It writes once the service has been Running for two seconds.
            until(lambda: "the node has booted since the lease was taken" in guard_log(lab), 15, "the guard's word")
    finally:
        set_start_type(lab, "auto")
    lab.node.behave()
    next_run_is_good(lab, start)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated": lambda file: os.truncate(file, 20),
    "empty": lambda file: os.truncate(file, 0),
    "unreadable": lambda file: file.write_bytes(b"\xff\xfe\x00\x01no lease"),
    "removed": lambda file: file.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.reaches("lease_lost")
def test_a_damaged_lease_ends_the_dump_and_the_service_comes_back(
    lab: Lab, start: Start, watching: Watch, damage: str
) -> None:
    lab.minute(
        3600
    )  # the job looks every second, the guard every minute; with the short one of the lab either may be first
    lab.node.behave(emongodump_delay_ms="120000")
    run = start("database_backup.yml")
    in_dump(lab, run)
    DAMAGES[damage](state_file(lab, "lease.json"))
    damaged = time.monotonic()
    finished = run.finish()
    finished.assert_failed(5, "lease_lost")
    assert lab.node.service().state == "Running"
    measurements.note(
        f"lease {damage} during the dump, job alive: Running after it", [(watching.since(damaged) or 0.0)], DEAD_LIMIT
    )
    lab.node.behave()
    next_run_is_good(lab, start)


@pytest.mark.parametrize("damage", DAMAGES)
def test_with_a_damaged_lease_and_everybody_dead_the_guard_knows_what_to_do(
    lab: Lab, start: Start, watching: Watch, damage: str
) -> None:
    lab.node.behave(emongodump_delay_ms="120000")
    run = start("database_backup.yml")
    in_dump(lab, run)
    run.kill_everything()
    signal_processes(lab.node, WINDOW_JOB, signal.SIGKILL)
    DAMAGES[damage](state_file(lab, "lease.json"))
    seconds = guard_restores(lab, watching, time.monotonic())
    measurements.note(f"lease {damage}, everybody dead: Running after it", [seconds], DEAD_LIMIT)
    assert seconds <= DEAD_LIMIT
    lab.node.behave()
    wait_for_stale_lock(lab)
    next_run_is_good(lab, start)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_lease_does_not_make_the_next_run_forget_that_the_service_was_running(
    lab: Lab, start: Start, damage: str
) -> None:
    lab.minute(3600)  # the next run must start before the guard acts
    lab.node.behave(emongodump_delay_ms="120000")
    run = start("database_backup.yml", extra_vars={"alteryx_preflight_lock_stale": 2})
    in_dump(lab, run)
    run.kill_everything()
    signal_processes(lab.node, WINDOW_JOB, signal.SIGKILL)
    DAMAGES[damage](state_file(lab, "lease.json"))
    lab.node.behave()
    wait_for_stale_lock(lab, 2)
    assert lab.node.service().state == "Stopped"
    next_run_is_good(lab, start)


def test_a_job_without_a_heartbeat_ends_the_dump_before_it_starts_the_service(
    lab: Lab, start: Start, watching: Watch
) -> None:
    lab.node.behave(emongodump_delay_ms="90000")
    run = start("database_backup.yml")
    in_dump(lab, run)
    run.kill_everything()
    heartbeat = state_file(lab, "heartbeat.json")
    heartbeat.unlink()
    heartbeat.mkdir()
    failed = time.monotonic()
    until(
        lambda: watching.since(failed) is not None,
        DEAD_LIMIT,
        f"Running; seen {watching.history()}, guard.log: {guard_log(lab)}",
    )
    measurements.note(
        "job that cannot write its heartbeat: Running after it", [watching.since(failed) or 0.0], DEAD_LIMIT
    )
    assert watching.dumps[0][1] - watching.dumps[0][0] < 80
    assert lab.node.service().state == "Running"


def test_a_job_continues_if_it_cannot_report_its_progress(lab: Lab, start: Start, watching: Watch) -> None:
    lab.node.behave(emongodump_delay_ms="30000")
    run = start("database_backup.yml")
    in_dump(lab, run)
    (status,) = state_file(lab, "jobs").glob("*/status.json")
    with status.open("r+b") as file:
        content = file.read()
        kept = status.with_name("kept.json")
        kept.write_bytes(content)
    status.unlink()
    status.mkdir()
    time.sleep(5)
    status.rmdir()
    kept.rename(status)
    run.finish().assert_ok()
    assert len(watching.dumps) == 1
    assert not guard_acted(lab)
    assert lab.leftovers() == []


def test_a_process_id_that_is_used_again_is_not_taken_for_the_job(lab: Lab, start: Start, watching: Watch) -> None:
    lab.node.behave(emongodump_delay_ms="120000")
    run = start("database_backup.yml")
    in_dump(lab, run)
    run.kill_everything()
    signal_processes(lab.node, WINDOW_JOB, signal.SIGKILL)
    (other,) = [process for process in lab.node.processes() if process.name.lower() == "services.exe"]
    heartbeat = read_state(lab, "heartbeat.json")
    records.write(state_file(lab, "heartbeat.json"), heartbeat | {"process_id": other.pid})
    for file in state_file(lab, "jobs").glob("*/status.json"):
        status = json.loads(file.read_text(encoding="utf-8"))
        assert status["state"] == "running"
        records.write(file, status | {"process_id": other.pid}, 4096)
    seconds = guard_restores(lab, watching, time.monotonic())
    measurements.note("process id used again: Running after it", [seconds], DEAD_LIMIT)
    until(lambda: f"(process {other.pid}) has ended" in guard_log(lab), 15, "the guard's word")
    assert other.pid in [process.pid for process in lab.node.processes()]
    lab.node.behave()
    # Nor does the next run: it is not refused because of a living job.
    wait_for_stale_lock(lab)
    next_run_is_good(lab, start)


@pytest.mark.skipif(not shutil.which("gcc"), reason="no gcc to build the wrong clock; the Debian package gcc has it")
@pytest.mark.parametrize("hours", [1, -1])
def test_the_wall_clock_of_the_control_node_jumps_during_the_dump(
    lab: Lab, start: Start, watching: Watch, tmp_path: Path, hours: int
) -> None:
    clock = tmp_path / "clock"
    clock.write_text("0", encoding="ascii")
    library = tmp_path / "wall_clock.so"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(library), str(WALL_CLOCK)], check=True
    )
    wrong = {"LD_PRELOAD": str(library), "WALL_CLOCK": str(clock)}
    lab.node.behave(emongodump_delay_ms="15000")
    run = start("database_backup.yml", environment=wrong)
    in_dump(lab, run)
    clock.write_text(f"{hours * 3600}", encoding="ascii")
    finished = run.finish()
    finished.assert_ok()
    assert abs(finished.outcome["downtime"]["total"] - _down_seconds(watching)) < 10
    assert not guard_acted(lab)
    assert lab.leftovers() == []
    # The next one begins while the clock is still wrong, then it is right again.
    again = start("config_backup.yml", environment=wrong)
    until(lambda: read_state(lab, "run.json") or again.ended, 120, "its lock")
    clock.write_text("0", encoding="ascii")
    last = again.finish()
    last.assert_ok()
    assert any("clock" in warning for warning in last.outcome["warnings"])


def test_a_run_after_a_failed_restart_inherits_that_the_service_was_running(lab: Lab, start: Start) -> None:
    lab.minute(3600)  # the guard must not act first
    lab.node.behave(start="fail")
    failed = start("database_backup.yml", extra_vars={"alteryx_window_start_timeout": 3}).finish()
    failed.assert_failed(7, "service_not_restored")
    assert lab.node.service().state == "Stopped"
    lab.node.behave()
    run = start("database_backup.yml").finish()
    run.assert_ok()
    assert "had left Stopped" in run.text
    assert lab.node.service().state == "Running"
    assert "service Stopped -> Stopped" not in run.text
    assert lab.leftovers() == []


def _down_seconds(watching: Watch) -> float:
    stopped = next(at for at, state in watching.states if state in ("StopPending", "Stopped"))
    return watching.states[-1][0] - stopped

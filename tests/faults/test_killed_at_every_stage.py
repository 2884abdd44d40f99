# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control node dies at every stage, alone or with its workers, with the job on the node or without it."""

from __future__ import annotations

import random
import signal
import time

import pytest

from tests.integration.lab_of_tests import STAGING, Lab

from . import measurements
from .background_run import LOCK_STALE, BackgroundRun
from .conftest import MINUTE, Start
from .scenes import (
    ALIVE_LIMIT,
    DEAD_LIMIT,
    guard_restores,
    in_dump,
    next_run_is_good,
    note_restarts,
    wait_for_stale_lock,
)
from .watch import (
    DUMP,
    WINDOW_JOB,
    Restart,
    Watch,
    guard_acted,
    guard_log,
    host_processes,
    read_state,
    signal_processes,
    until,
)

pytestmark = [pytest.mark.wine, pytest.mark.long, pytest.mark.timeout(1800)]

KILLS = ["parent", "everything"]
DUMPS = 10
SLOW_START = 2.0  # seconds by which a start takes longer in the scene of that name, so that it can be met


def kill(run: BackgroundRun, what: str) -> None:
    """SIGKILL ansible-playbook alone, or it and everything it has started."""
    run.kill_parent() if what == "parent" else run.kill_everything()


@pytest.mark.parametrize("what", KILLS)
def test_killed_during_the_drain_the_service_is_never_stopped(
    lab: Lab, start: Start, watching: Watch, what: str
) -> None:
    before = lab.node.service()
    lab.node.start_engine(600)
    run = start("database_backup.yml")
    until(lambda: "waiting for AlteryxEngineCmd" in run.output, 120, "the drain")
    kill(run, what)
    lab.end_engines()
    wait_for_stale_lock(lab)
    assert lab.node.service() == before
    assert lab.tasks() == []
    next_run_is_good(lab, start)


@pytest.mark.parametrize("what", KILLS)
def test_killed_after_the_lease_the_service_runs_on_or_again(
    lab: Lab, start: Start, watching: Watch, what: str
) -> None:
    run = start("database_backup.yml")
    until(lambda: read_state(lab, "lease.json").get("drilled") or run.ended, 120, "the lease")
    kill(run, what)
    wait_for_stale_lock(lab)
    assert lab.wait_for("Running", 60).state == "Running", watching.history()
    assert "Stopped" not in [state for _unused, state in watching.states] or watching.dumps
    next_run_is_good(lab, start)


@pytest.mark.parametrize("what", KILLS)
def test_killed_during_the_stop_the_job_goes_on_to_the_end(lab: Lab, start: Start, watching: Watch, what: str) -> None:
    lab.node.behave(stop_delay_ms="6000")
    run = start("database_backup.yml")
    until(lambda: watching.state == "StopPending" or run.ended, 180, "StopPending")
    kill(run, what)
    restart = watching.restart_after_dump(60)
    note_restarts(f"SIGKILL of {what} during the stop", [restart])
    restart.assert_within(ALIVE_LIMIT)
    lab.node.behave()
    wait_for_stale_lock(lab)
    assert not guard_acted(lab)
    next_run_is_good(lab, start)


@pytest.mark.parametrize("what", KILLS)
def test_killed_during_the_start_the_service_comes_up(lab: Lab, start: Start, watching: Watch, what: str) -> None:
    lab.node.behave(start_delay_ms=str(int(SLOW_START * 1000)))
    run = start("database_backup.yml")
    until(lambda: (watching.dumps and watching.state == "StartPending") or run.ended, 180, "StartPending")
    kill(run, what)
    restart = watching.restart_after_dump(60)
    # The limit is what the job may take; the seconds that the scene adds are the service's own.
    limit = ALIVE_LIMIT + SLOW_START
    note_restarts(f"SIGKILL of {what} during the start ({SLOW_START:.0f} s longer than usual)", [restart], limit)
    restart.assert_within(limit)
    lab.node.behave()
    wait_for_stale_lock(lab)
    assert not guard_acted(lab)
    next_run_is_good(lab, start)


def test_killed_during_the_dump_ten_times_at_random(lab: Lab, start: Start, watching: Watch) -> None:
    restarts: list[Restart] = []
    chance = random.Random()
    for number in range(DUMPS):
        lab.node.behave(emongodump_delay_ms="6000")
        run = start("database_backup.yml", extra_vars={"alteryx_preflight_lock_stale": 3})
        in_dump(lab, run)
        after = chance.uniform(0, 6)
        time.sleep(after)
        kill(run, KILLS[number % 2])
        restart = watching.restart_after_dump(60)
        measurements.note(
            f"SIGKILL of {KILLS[number % 2]} {after:.1f} s into the dump: Running after the dump's end",
            [restart.running],
            ALIVE_LIMIT,
        )
        restarts.append(restart)
        assert not guard_acted(lab)
        # The next round is the next run: it begins without a repair.
        lab.node.behave()
        until(lambda: not run.orphans, 60, "the end of the workers")  # noqa: B023
        wait_for_stale_lock(lab, 3)
    note_restarts("SIGKILL at random during the dump, ten times", restarts)
    for restart in restarts:
        restart.assert_within(ALIVE_LIMIT)
    next_run_is_good(lab, start)


@pytest.mark.parametrize("stage", ["stop", "dump", "start"])
def test_killed_with_the_job_the_guard_brings_the_service_back(
    lab: Lab, start: Start, watching: Watch, stage: str
) -> None:
    lab.node.behave(
        **{
            "stop": {"stop_delay_ms": "6000"},
            "dump": {"emongodump_delay_ms": "120000"},
            "start": {"start_delay_ms": "5000"},
        }[stage]
    )
    run = start("database_backup.yml")
    if stage == "dump":
        in_dump(lab, run)
    else:
        wanted = {"stop": "StopPending", "start": "StartPending"}[stage]
        until(lambda: (watching.state == wanted and (stage == "stop" or watching.dumps)) or run.ended, 180, wanted)
    run.kill_everything()
    assert signal_processes(lab.node, WINDOW_JOB, signal.SIGKILL) > 0
    seconds = guard_restores(lab, watching, time.monotonic())
    measurements.note(
        f"SIGKILL of everything and of the job during the {stage}: Running after it (minute {MINUTE:.0f} s)",
        [seconds],
        DEAD_LIMIT,
    )
    assert seconds <= DEAD_LIMIT
    assert host_processes(lab.node, DUMP) == []
    lab.node.behave()
    wait_for_stale_lock(lab)
    next_run_is_good(lab, start)


def test_a_job_that_hangs_is_dead_once_its_heartbeat_is_old(lab: Lab, start: Start, watching: Watch) -> None:
    lab.node.behave(emongodump_delay_ms="120000")
    run = start("database_backup.yml")
    in_dump(lab, run)
    run.kill_everything()
    assert signal_processes(lab.node, WINDOW_JOB, signal.SIGSTOP) > 0
    seconds = guard_restores(lab, watching, time.monotonic())
    measurements.note(f"job frozen during the dump: Running after it (minute {MINUTE:.0f} s)", [seconds], DEAD_LIMIT)
    assert seconds <= DEAD_LIMIT
    until(lambda: "the heartbeat is" in guard_log(lab), 15, "the guard's word")
    assert host_processes(lab.node, WINDOW_JOB) == []
    assert host_processes(lab.node, DUMP) == []
    lab.node.behave()
    wait_for_stale_lock(lab)
    next_run_is_good(lab, start)


def test_a_service_that_was_stopped_before_stays_stopped_whoever_dies(lab: Lab, start: Start, watching: Watch) -> None:
    lab.stop_service()
    lab.node.behave(emongodump_delay_ms="120000")
    run = start("database_backup.yml")
    in_dump(lab, run)
    run.kill_everything()
    assert signal_processes(lab.node, WINDOW_JOB, signal.SIGKILL) > 0
    until(lambda: not lab.tasks(), 6 * MINUTE, "the guard's end")
    assert lab.node.service().state == "Stopped"
    assert "Running" not in [state for _unused, state in watching.states[1:]], watching.history()
    assert host_processes(lab.node, DUMP) == []
    lab.node.behave()
    wait_for_stale_lock(lab, LOCK_STALE)
    last = start("database_backup.yml").finish()
    last.assert_ok()
    assert "service Stopped -> Stopped" in last.text
    assert lab.node.service().state == "Stopped"
    assert lab.node.path(STAGING).is_dir()

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet whose control node, jobs or nodes die: every service is started again, the controller first, and no service
starts during an open window."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.lab_of_tests import Lab, running_lab
from tests.lab.fleet_watch import FleetWatch

from . import measurements
from .background_run import HEARTBEAT_STALE, BackgroundRun
from .conftest import MINUTE, repair
from .watch import WINDOW_JOB, host_processes, signal_processes, state_file, until

pytestmark = [pytest.mark.wine, pytest.mark.long, pytest.mark.timeout(1500)]

CONTROLLER, WORKER, UI = "alteryx-lab-1", "alteryx-lab-2", "alteryx-lab-3"
FOLLOWER = "follow_job"
DUMP_SECONDS = 30
OPEN_WITHIN = 40
DRAIN = 40
LOCK_STALE = 5
TIMES = {
    "alteryx_preflight_lock_stale": LOCK_STALE,
    "alteryx_window_open_within": OPEN_WITHIN,
    "alteryx_window_drain_timeout": DRAIN,
    "alteryx_window_health_timeout": 60,
    "alteryx_window_leftover_timeout": 30,
}
# A busy Wine needs as long for a start, and to see that something is to be done.
SPARE = 40.0


@pytest.fixture(scope="module")
def trio_of_module() -> Iterator[Lab]:
    """A controller, a worker and a UI node."""
    with running_lab("wine", "faults-trio", count=3) as running:
        yield running


@pytest.fixture
def trio(trio_of_module: Lab) -> Iterator[Lab]:
    """The fleet: every service runs, nothing of an earlier run is left."""
    for lab in trio_of_module.each():
        repair(lab)
        lab.minute(MINUTE)
    yield trio_of_module
    for lab in trio_of_module.each():
        repair(lab)


class Fleet:
    """A run against the fleet, watched from outside."""

    def __init__(self, lab: Lab, watch: FleetWatch, folder: Path) -> None:
        self.lab = lab
        self.watch = watch
        self.run = BackgroundRun(lab, "database_backup.yml", folder, extra_vars=TIMES)

    def at(self, name: str) -> Lab:
        """The lab, looked at from one of its nodes."""
        (found,) = [lab for lab in self.lab.each() if lab.node.name == name]
        return found

    def state(self, name: str) -> str:
        """Of the service of a node; unknown where it does not answer."""
        with contextlib.suppress(RuntimeError, OSError, ValueError):
            return self.at(name).node.service().state
        return "unknown"

    def until_task(self, words: str) -> None:
        """Wait until ansible-playbook has begun this task."""
        until(lambda: words in self.run.output or self.run.ended, 300, words, pause=0.02)
        assert not self.run.ended, self.run.output[-4000:]

    def until_state(self, name: str, state: str) -> None:
        """Wait until a service was seen in this state."""
        until(lambda: (name, state) in self.watch.order(state) or self.run.ended, 300, f"{name} {state}", pause=0.02)
        assert not self.run.ended, self.run.output[-4000:]

    def all_run(self) -> bool:
        """Do all services run, and has the observer seen it?"""
        moves = self.watch.order("Stopped", "Running")
        last = dict(moves)
        return all(
            self.state(name) == "Running" and last.get(name, "Running") == "Running"
            for name in (CONTROLLER, WORKER, UI)
        )

    def assert_back(self, seconds: float, words: str) -> None:
        """Every service is Running within that many seconds, and nothing had started into the window."""
        begun = time.monotonic()
        until(self.all_run, seconds, "three services that run")
        measurements.note(f"fleet, {words}: all Running", [time.monotonic() - begun], seconds)
        self.assert_order()

    def assert_order(self) -> None:
        """Down UI, worker, controller; up controller, worker, UI; of those that moved."""
        moves = self.watch.order("Stopped", "Running")
        stopped = [name for name, state in moves if state == "Stopped"]
        first = {name: next(at for at, move in enumerate(moves) if move == (name, "Stopped")) for name in stopped}
        assert sorted(first, key=lambda name: first[name]) == [
            name for name in (UI, WORKER, CONTROLLER) if name in first
        ]
        if CONTROLLER in first:
            back = [name for name, state in moves if state == "Running"]
            assert [name for at, name in enumerate(back) if name not in back[:at]] == [CONTROLLER, WORKER, UI], (
                self.watch.table()
            )


@pytest.fixture
def fleet(trio: Lab, tmp_path: Path) -> Iterator[Fleet]:
    """A run that has just begun; its dump takes half a minute."""
    trio.node.behave(emongodump_delay_ms=str(DUMP_SECONDS * 1000))
    with FleetWatch(trio.nodes) as watch:
        started = Fleet(trio, watch, tmp_path / "run")
        try:
            yield started
        finally:
            started.run.kill_everything()
    print(watch.table())  # noqa: T201


def test_a_control_node_that_is_lost_after_the_first_stop_opens_no_window(fleet: Fleet) -> None:
    fleet.until_state(UI, "Stopped")
    fleet.run.kill_everything()
    fleet.assert_back(OPEN_WITHIN + SPARE, "control node lost after the first stop")
    assert {name for name, _unused in fleet.watch.order("Stopped")} <= {UI, WORKER}
    # A node that was not stopped has also released its lease, when a stop was no longer possible.
    until(
        lambda: not any(lab.tasks() or state_file(lab, "lease.json").exists() for lab in fleet.lab.each()),
        DRAIN + OPEN_WITHIN + SPARE,
        "nodes without a lease",
    )
    until(
        lambda: not any(host_processes(lab.node, job) for lab in fleet.lab.each() for job in (WINDOW_JOB, FOLLOWER)),
        30,
        "nodes without a job",
    )
    fleet.assert_order()


@pytest.mark.parametrize(
    "point",
    [
        "Make the window job ready",
        "Look once more",
        "Ask the window job",
        "Tell the other nodes",
        "Stop, dump, start",
        "dumping to",
    ],
)
def test_the_control_node_is_lost(fleet: Fleet, point: str) -> None:
    fleet.until_task(point)
    fleet.run.kill_everything()
    # If the window opens, the dump continues to its end. If it does not open, the stopped nodes start their services.
    fleet.assert_back(OPEN_WITHIN + DUMP_SECONDS + 2 * SPARE, f"control node lost at {point}")


def kill_armed_job(fleet: Fleet) -> None:
    """The window job before it is asked."""
    fleet.until_task("Look once more")
    assert signal_processes(fleet.at(CONTROLLER).node, WINDOW_JOB, signal.SIGKILL)


def kill_opened_job(fleet: Fleet) -> None:
    """The window job in its dump."""
    fleet.until_task("dumping to")
    assert signal_processes(fleet.at(CONTROLLER).node, WINDOW_JOB, signal.SIGKILL)


def kill_followers(fleet: Fleet) -> None:
    """The jobs that follow the controller, in the window."""
    fleet.until_task("dumping to")
    assert all(signal_processes(fleet.at(name).node, FOLLOWER, signal.SIGKILL) for name in (WORKER, UI))


@pytest.mark.parametrize("kill", [kill_armed_job, kill_opened_job, kill_followers])
def test_a_job_is_killed(fleet: Fleet, kill: Callable[[Fleet], None]) -> None:
    kill(fleet)
    run = fleet.run.finish()
    fleet.assert_back(SPARE, kill.__name__)
    if kill is kill_followers:
        run.assert_ok()
    else:
        run.assert_failed(1, "job_died")
    if kill is kill_armed_job:
        assert CONTROLLER not in {name for name, _unused in fleet.watch.order("Stopped")}


@pytest.mark.parametrize("name", [CONTROLLER, WORKER, UI])
def test_a_node_reboots_in_the_window_and_the_control_node_is_lost(fleet: Fleet, name: str) -> None:
    fleet.until_task("dumping to")
    fleet.run.kill_everything()
    fleet.at(name).node.reboot()
    # A node that boots starts its service at once: what is down for the window is its own affair.
    until(lambda: fleet.state(name) == "Running", MINUTE + 2 * SPARE, f"{name} after its boot")
    until(fleet.all_run, DUMP_SECONDS + HEARTBEAT_STALE + MINUTE + 2 * SPARE, "three services that run")


def test_a_run_takes_over_the_window_of_a_dead_one_and_starts_no_service_during_it(
    fleet: Fleet, tmp_path: Path
) -> None:
    fleet.until_task("dumping to")
    fleet.run.kill_everything()
    locks = [state_file(lab, "run.json") for lab in fleet.lab.each()]
    until(lambda: all(time.time() > lock.stat().st_mtime + LOCK_STALE + 1 for lock in locks), 25, "stale locks")
    more = {**TIMES, "alteryx_preflight_foreign_job": "take_over"}
    second = BackgroundRun(fleet.lab, "database_backup.yml", tmp_path / "second", extra_vars=more)
    try:
        second.finish().assert_ok()
    finally:
        second.kill_everything()
    assert fleet.watch.order("Stopped", "Running") == [
        (UI, "Stopped"), (WORKER, "Stopped"), (CONTROLLER, "Stopped"),
        (CONTROLLER, "Running"), (WORKER, "Running"), (UI, "Running"),
    ], fleet.watch.table()  # fmt: skip

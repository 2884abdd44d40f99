# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of the state folder are held by another program, or its drive is full, while the service is down."""

from __future__ import annotations

import random
import time

import pytest

from tests.integration.lab_of_tests import STAGING, STATE_FOLDER, Lab

from . import measurements
from .conftest import Start
from .scenes import DEAD_LIMIT, guard_restores, in_dump, leave_service_down
from .watch import DUMP, Watch, guard_acted, guard_log, host_processes, state_file, until

pytestmark = [pytest.mark.wine, pytest.mark.long, pytest.mark.timeout(1800)]

RUNS = 20
HELD_SECONDS = 5.0
DUMP_SECONDS = 40.0
FILES = ("heartbeat.json", "lease.json", "run.json", "status.json")


def held(lab: Lab, name: str) -> str:
    """The Windows path of one of FILES on the node."""
    if name != "status.json":
        return rf"{STATE_FOLDER}\{name}"
    (status,) = state_file(lab, "jobs").glob("*/status.json")
    return rf"{STATE_FOLDER}\jobs\{status.parent.name}\status.json"


@pytest.mark.parametrize("seed", range(RUNS))
def test_files_that_are_held_at_random_moments_cost_neither_service_nor_dump(
    lab: Lab, start: Start, watching: Watch, seed: int
) -> None:
    chance = random.Random(seed)
    lab.node.behave(emongodump_delay_ms=str(int(DUMP_SECONDS * 1000)))
    run = start("database_backup.yml")
    in_dump(lab, run)
    begun = time.monotonic()
    # Half of the moments in the dump, half around the start that follows it.
    moments = sorted(
        [chance.uniform(0, DUMP_SECONDS - 5) for _unused in range(5)]
        + [chance.uniform(DUMP_SECONDS - 5, DUMP_SECONDS + 12) for _unused in range(5)]
    )
    holders = []
    for moment in moments:
        due = begun + moment
        until(lambda due=due: time.monotonic() >= due or run.ended, 120, "the next moment")  # type: ignore[misc]
        name = chance.choice(FILES)
        if run.ended or not state_file(lab, "lease.json").exists():
            break
        try:
            holders.append(lab.node.hold(held(lab, name), HELD_SECONDS))
        except ValueError:  # the job is over, its status is gone
            continue
    finished = run.finish()
    for holder in holders:
        holder.wait(60)
    finished.assert_ok()
    assert len(watching.dumps) == 1
    assert lab.node.service().state == "Running"
    assert not guard_acted(lab), guard_log(lab)


def test_a_drive_that_is_full_during_the_window_costs_neither_service_nor_dump(
    lab: Lab, start: Start, watching: Watch
) -> None:
    lab.node.behave(emongodump_delay_ms="30000")
    run = start("database_backup.yml")
    in_dump(lab, run)
    lab.node.fill(STATE_FOLDER)
    try:
        watching.restart_after_dump(60)
    finally:
        lab.node.empty_again()
    run.finish().assert_ok()
    assert len(watching.dumps) == 1
    assert not guard_acted(lab), guard_log(lab)
    assert lab.leftovers() == []


def test_a_drive_that_stays_full_leaves_the_service_running_and_the_dump_where_it_is(
    lab: Lab, start: Start, watching: Watch
) -> None:
    lab.node.behave(emongodump_delay_ms="10000")
    run = start("database_backup.yml")
    in_dump(lab, run)
    lab.node.fill(STATE_FOLDER)
    try:
        watching.restart_after_dump(60)
        finished = run.finish()
        # Nothing new fits on the drive, so the archive job cannot begin. The window itself is over and clean.
        assert finished.rc != 0
        assert finished.outcome["node"] == lab.node.name
        assert lab.node.service().state == "Running"
        assert not guard_acted(lab), guard_log(lab)
        assert list(lab.node.path(r"D:\AlteryxStaging").rglob("*.bson")), "the dump"
    finally:
        lab.node.empty_again()


def test_a_dump_folder_that_cannot_be_listed_any_more_is_a_job_that_the_guard_ends(
    lab: Lab, start: Start, watching: Watch
) -> None:
    # The job looks how large the dump has become; Windows gives no answer, and no time limit helps.
    lab.node.behave(emongodump_delay_ms="120000")
    run = start("database_backup.yml")
    in_dump(lab, run)
    lab.node.hang(STAGING)
    begun = time.monotonic()
    try:
        guard_restores(lab, watching, begun)
    finally:
        lab.node.answer_again()
    measurements.note("folder that hangs: Running again after", [time.monotonic() - begun], DEAD_LIMIT)
    finished = run.finish()
    assert finished.rc != 0
    assert guard_acted(lab)
    assert len(watching.dumps) == 1
    assert not host_processes(lab.node, DUMP)


def test_recover_on_a_full_drive_brings_the_service_back_and_leaves_the_rest(lab: Lab, start: Start) -> None:
    leave_service_down(lab, start)
    lab.node.fill(STATE_FOLDER)
    try:
        recovered = start("recover.yml").finish()
    finally:
        lab.node.empty_again()
    assert recovered.rc != 0, recovered.output
    assert "started AlteryxService" in recovered.text
    assert lab.node.service().state == "Running"
    recovered = start("recover.yml").finish()
    assert recovered.rc == 0, recovered.output
    assert lab.leftovers() == []

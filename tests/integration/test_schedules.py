# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Schedules of the Server are paused before anything is stopped; exactly those that were enabled are enabled after
every ending, by the next run at last."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.background_run import BackgroundRun
from tests.faults.scenes import wait_for_stale_lock
from tests.lab import control
from tests.lab.fleet_watch import FleetWatch
from tests.lab.node import Node
from tests.lab.v3_api import SCHEDULES

from . import observer
from .lab_of_tests import STATE_FOLDER, Lab
from .playbook_run import PlaybookRunner, Run

BEFORE = {identity: enabled for identity, (_name, enabled) in SCHEDULES.items()}
FIRST, *_between, LAST = [identity for identity, enabled in BEFORE.items() if enabled]
NAMES = [name for name, enabled in SCHEDULES.values() if enabled]
PAUSED = dict.fromkeys(BEFORE, False)
WANTED: dict[str, Any] = {
    "alteryx_window_schedules": True,
    "alteryx_window_schedules_timeout": 30,
    "alteryx_window_stop_timeout": 60,
    "alteryx_window_start_timeout": 60,
    "alteryx_window_health_timeout": 30,
    "alteryx_window_health_stable": 1,
}
LOCK_STALE = 3


@pytest.fixture
def run_fleet(fleet: Lab) -> Iterator[PlaybookRunner]:
    """Runs playbooks against the fleet, the schedules as at the beginning; afterwards every node
    behaves again and runs."""
    control.ask(fleet.control_port, "schedules", reset=True)
    yield PlaybookRunner(fleet)
    for lab in fleet.each():
        lab.recover()


def controller(fleet: Lab) -> Node:
    return fleet.nodes[0]


def ui(fleet: Lab) -> Node:
    """Where the API is."""
    return fleet.nodes[-1]


def api(fleet: Lab) -> dict[str, Any]:
    return control.ask(fleet.control_port, "schedules")


def record(fleet: Lab) -> Path:
    return controller(fleet).path(STATE_FOLDER) / "schedules.json"


def assert_as_before(fleet: Lab) -> None:
    assert api(fleet)["enabled"] == BEFORE
    assert not record(fleet).exists()
    assert {each.service().state for each in fleet.nodes} == {"Running"}


def assert_told(run: Run, paused: int, resumed: int, left: list[str]) -> None:
    assert run.outcome["schedules"] == {"paused": paused, "resumed": resumed, "left": left}


@pytest.mark.long
def test_what_was_enabled_is_paused_before_the_first_stop_and_enabled_after_the_last_start(
    fleet: Lab, run_fleet: PlaybookRunner
) -> None:
    with FleetWatch(fleet.nodes) as watch:
        run = run_fleet("database_backup.yml", extra_vars=WANTED)
    run.assert_ok()
    assert_as_before(fleet)
    assert_told(run, 3, 3, [])
    assert "schedules 3 paused, 3 enabled again" in run.text
    assert all(
        f"{step}: {what}: {', '.join(NAMES)}" in run.log
        for step, what in (("pause", "paused, and to be enabled again"), ("resume", "enabled again"))
    )
    asked = api(fleet)["log"]
    assert [each["what"] for each in asked] == [
        f"{what} {identity}" for what in ("disable", "enable") for identity, on in BEFORE.items() if on
    ]
    moves = [change.at for change in watch.changes if change.state != "Running"]
    back = [change.at for change in watch.changes if change.state == "Running" and change.at > min(moves)]
    assert max(each["at"] for each in asked[:3]) < min(moves) < max(back) < min(each["at"] for each in asked[3:])


@pytest.mark.long
def test_a_dump_that_fails_enables_them_too(fleet: Lab, run_fleet: PlaybookRunner) -> None:
    controller(fleet).behave(emongodump="fail")
    run = run_fleet("database_backup.yml", extra_vars=WANTED)
    run.assert_failed(5, "dump_failed")
    assert_as_before(fleet)
    assert_told(run, 3, 3, [])


@pytest.mark.long
@pytest.mark.parametrize(
    ("wrong", "reason", "asked"),
    [
        pytest.param({"api_refuse_disable": LAST}, "schedules_unclear", 6, id="half-way"),
        pytest.param({"api": "deny"}, "schedules_denied", 0, id="wrong-credentials"),
    ],
)
def test_a_pause_that_breaks_ends_the_run_before_anything_is_stopped(
    fleet: Lab, run_fleet: PlaybookRunner, wrong: dict[str, str], reason: str, asked: int
) -> None:
    ui(fleet).behave(**wrong)
    with FleetWatch(fleet.nodes) as watch:
        run = run_fleet("full_backup.yml", extra_vars=WANTED)
    run.assert_failed(3, reason)
    assert watch.order("Stopped", "StopPending") == []
    assert_as_before(fleet)
    assert len(api(fleet)["log"]) == asked


@pytest.mark.long
@pytest.mark.reaches("schedules_not_resumed")
def test_one_that_cannot_be_enabled_fails_the_run_keeps_its_backup_and_is_mended_by_the_next(
    fleet: Lab, run_fleet: PlaybookRunner
) -> None:
    ui(fleet).behave(api_refuse_enable=LAST)
    run = run_fleet("database_backup.yml", extra_vars=WANTED)
    run.assert_failed(1, "schedules_not_resumed", message=NAMES[-1])
    assert_told(run, 3, 2, NAMES[-1:])
    assert api(fleet)["enabled"] == BEFORE | {LAST: False}
    assert [each["id"] for each in json.loads(record(fleet).read_text(encoding="utf-8"))["schedules"]] == [LAST]
    assert run.outcome["nodes"][controller(fleet).name]["verdict"] == "good"
    # Without the API's credentials a run says so, and keeps the record.
    ui(fleet).behave()
    unable = run_fleet("config_backup.yml", extra_vars={"alteryx_window_schedules_api": {}})
    unable.assert_ok()
    (warning,) = [text for text in unable.outcome["warnings"] if "schedule" in text]
    assert all(what in warning for what in (run.outcome["run_id"], NAMES[-1], "alteryx_window_schedules_api"))
    assert f" warning  {warning}" in unable.stdout
    assert warning.partition(": ")[2] in unable.log
    assert_told(unable, 0, 0, NAMES[-1:])
    assert record(fleet).exists()
    mending = run_fleet("database_backup.yml", extra_vars=WANTED)
    mending.assert_ok()
    assert_told(mending, 3, 3, [])
    assert_as_before(fleet)


@pytest.mark.long
@pytest.mark.parametrize("next_run", ["config_backup.yml", "recover.yml"])
def test_after_the_death_of_a_run_the_next_enables_them(
    fleet: Lab, run_fleet: PlaybookRunner, tmp_path: Path, next_run: str
) -> None:
    controller(fleet).behave(emongodump_delay_ms="1500")
    stale = {"alteryx_preflight_lock_stale": LOCK_STALE}
    run = BackgroundRun(fleet, "full_backup.yml", tmp_path / "killed", extra_vars=WANTED | stale)
    limit = time.monotonic() + 240
    while controller(fleet).service().state == "Running":
        assert not run.ended, run.output
        assert time.monotonic() < limit, run.output
        time.sleep(0.02)
    run.kill_everything()
    assert api(fleet)["enabled"] == PAUSED
    assert record(fleet).exists()
    for lab in fleet.each():
        wait_for_stale_lock(lab, LOCK_STALE)
    mending = run_fleet(next_run, extra_vars={"alteryx_preflight_foreign_job": "wait"})
    mending.assert_ended_well()
    assert "enabled schedules that the run Full_" in mending.text
    assert_as_before(fleet)
    assert [path for lab in fleet.each() for path in lab.leftovers() if "AlteryxStaging" not in path] == []


@pytest.mark.long
def test_check_mode_says_how_many_and_changes_nothing(fleet: Lab, run_fleet: PlaybookRunner) -> None:
    before = {each.name: observer.tree(each) for each in fleet.nodes}
    run = run_fleet("full_backup.yml", "--check", extra_vars=WANTED)
    run.assert_ok()
    assert "schedules 3 would be paused" in run.text
    assert_told(run, 3, 0, [])
    assert api(fleet) == {"ok": True, "enabled": BEFORE, "log": []}
    assert [observer.difference(before[each.name], observer.tree(each)) for each in fleet.nodes] == [[], [], []]

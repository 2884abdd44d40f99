# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When time triggers fire, above all in the two nights in which a local clock is changed."""

from __future__ import annotations

import datetime
import itertools
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tests.lab.schtasks import Call, answer
from tests.lab.task_definition import Boundary, Repetition, Trigger, read
from tests.lab.task_scheduler import TaskScheduler
from tests.lab.trigger_times import WallClock, next_moment
from tests.unit.lab.test_task_definition import task
from tests.unit.lab.test_task_scheduler import FakeNode, every_minute, until

BERLIN = ZoneInfo("Europe/Berlin")
BACK = "2026-10-25T01:00:00Z"  # 03:00 becomes 02:00
FORTH = "2026-03-29T01:00:00Z"  # 02:00 becomes 03:00


def at(text: str) -> float:
    return datetime.datetime.fromisoformat(text).timestamp()


def trigger(start: str, *, minutes: float | None = 1, kind: str = "TimeTrigger", end: str = "") -> Trigger:
    repetition = "" if minutes is None else f"<Repetition><Interval>PT{minutes}M</Interval></Repetition>"
    ending = f"<EndBoundary>{end}</EndBoundary>" if end else ""
    day = "<ScheduleByDay/>" if kind == "CalendarTrigger" else ""
    xml = task(triggers=f"<{kind}>{repetition}<StartBoundary>{start}</StartBoundary>{ending}{day}</{kind}>")
    return read(xml, "\\x").triggers[0]


def moments(found: Trigger, after: str, count: int, *, scale: float = 1) -> list[str]:
    moment: float | None = at(after)
    answers: list[str] = []
    for _unused in range(count):
        assert moment is not None
        moment = next_moment(found, moment, scale=scale, zone=BERLIN)
        if moment is None:
            return [*answers, "never"]
        answers.append(f"{datetime.datetime.fromtimestamp(moment, datetime.UTC):%Y-%m-%dT%H:%M:%SZ}")
    return answers


def test_a_start_with_a_zone_is_a_moment() -> None:
    assert trigger("2026-01-01T00:00:00Z").start == Boundary(at("2026-01-01T00:00:00Z"), local=False)
    assert trigger("2026-01-01T00:00:00+02:00").start == Boundary(at("2025-12-31T22:00:00Z"), local=False)
    assert trigger("2026-01-01T00:00:00").start == Boundary(at("2026-01-01T00:00:00Z"), local=True)


@pytest.mark.parametrize(
    ("start", "moment"),
    [
        ("2026-07-01T12:00:00", "2026-07-01T10:00:00Z"),
        ("2026-01-01T12:00:00", "2026-01-01T11:00:00Z"),
        ("2026-07-01T12:00:00Z", "2026-07-01T12:00:00Z"),
        ("2026-10-25T02:30:00", "2026-10-25T00:30:00Z"),  # of the two the first
        ("2026-03-29T02:30:00", FORTH),  # the clock never shows it
    ],
)
def test_a_start(start: str, moment: str) -> None:
    assert moments(trigger(start, minutes=None), "2025-12-01T00:00:00Z", 2) == [moment, "never"]


def test_silence_while_the_hour_repeats() -> None:
    minutely = trigger("2020-01-01T00:00:00")
    assert moments(minutely, "2026-10-25T00:58:30Z", 3) == [
        "2026-10-25T00:59:00Z",
        "2026-10-25T02:00:00Z",
        "2026-10-25T02:01:00Z",
    ]
    # All requests within that time have the same answer.
    assert moments(minutely, "2026-10-25T01:30:00Z", 1) == ["2026-10-25T02:00:00Z"]
    assert moments(trigger("2026-10-25T00:00:00", minutes=7), BACK, 1) == ["2026-10-25T02:02:00Z"]


def test_a_short_minute_is_silent_just_as_long() -> None:
    short = moments(trigger("2020-01-01T00:00:00"), "2026-10-25T00:59:59.95Z", 2, scale=0.1 / 60)
    assert short == ["2026-10-25T02:00:00Z"] * 2


def test_no_silence_when_the_clock_jumps_ahead() -> None:
    assert moments(trigger("2020-01-01T00:00:00"), "2026-03-29T00:58:30Z", 3) == [
        "2026-03-29T00:59:00Z",
        FORTH,
        "2026-03-29T01:01:00Z",
    ]
    assert moments(trigger("2020-01-01T00:00:30"), "2026-03-29T00:59:30Z", 1) == ["2026-03-29T01:00:30Z"]


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
def test_a_trigger_with_a_zone_knows_no_such_nights(day: str) -> None:
    found = moments(trigger("2020-01-01T00:00:00Z"), f"{day}T00:00:00Z", 180)
    steps = {at(later) - at(earlier) for earlier, later in itertools.pairwise(found)}
    assert steps == {60.0}


def test_a_daily_trigger_keeps_the_time_of_day() -> None:
    assert moments(trigger("2026-10-23T04:00:00", minutes=None, kind="CalendarTrigger"), "2026-10-24T00:00:00Z", 3) == [
        "2026-10-24T02:00:00Z",
        "2026-10-25T03:00:00Z",
        "2026-10-26T03:00:00Z",
    ]


def test_the_end_is_local_too() -> None:
    local = trigger("2026-07-01T00:00:00", minutes=30, end="2026-07-01T00:30:00")
    assert moments(local, "2026-06-30T21:59:00Z", 3) == ["2026-06-30T22:00:00Z", "2026-06-30T22:30:00Z", "never"]
    fixed = trigger("2026-07-01T00:00:00", minutes=30, end="2026-06-30T22:10:00Z")
    assert moments(fixed, "2026-06-30T21:59:00Z", 2) == ["2026-06-30T22:00:00Z", "never"]


def test_no_moment_is_named_twice() -> None:
    found = Trigger(
        "TimeTrigger",
        enabled=True,
        start=Boundary(0.0, local=True),
        end=None,
        repetition=Repetition(60.0, None),
        delay=0.0,
    )
    moment = at("2026-07-01T00:00:00Z") + 0.3
    for _unused in range(2000):
        later = next_moment(found, moment, scale=0.001, zone=BERLIN)
        assert later is not None
        assert 0.05 < later - moment < 0.07
        moment = later


def test_readings_of_the_clock() -> None:
    clock = WallClock(BERLIN)
    assert clock.moment(at("2026-03-29T02:30:00Z")) is None
    assert clock.jump(at("2026-03-29T02:30:00Z")) == at(FORTH)
    assert clock.reading(at("2026-10-25T01:30:00Z")) == pytest.approx(at("2026-10-25T03:00:00Z"), abs=0.01)
    assert WallClock(None).reading(5.25) == 5.25


class TestOnANode:
    """The scheduler itself, with a clock of its own."""

    @pytest.fixture(autouse=True)
    def scheduler(self, tmp_path: Path) -> None:
        self.now = at("2026-10-25T00:58:30Z")
        self.node = FakeNode()
        self.behaviour = {"timezone": "Europe/Berlin"}
        self.scheduled = TaskScheduler(
            self.node,
            path=lambda path: tmp_path / path[3:].replace("\\", "/"),
            state_file=tmp_path / "state.json",
            behaviour=lambda: self.behaviour,
            clock=lambda: self.now,
        )
        self.scheduled.start()

    def create(self, start: str) -> None:
        actions = "<Actions><Exec><Command>quick</Command></Exec></Actions>"
        xml = task(triggers=every_minute(start), actions=actions).encode("utf-16")
        call = Call(("/Create", "/TN", "x", "/XML", "f"), xml=xml)
        assert answer(self.scheduled, lambda: self.behaviour, call).rc == 0

    def firings(self, seconds: float) -> int:
        """Let time pass; how often it has fired meanwhile."""
        before = len(self.node.started)
        self.now += seconds
        self.scheduled.set_minute(60)  # wakes it
        until(lambda: len(self.node.started) > before, 0.3)
        return len(self.node.started) - before

    def test_it_is_silent_for_an_hour(self) -> None:
        self.create("2020-01-01T00:00:00")
        assert self.firings(40) == 1
        assert self.firings(60) == 0
        assert self.firings(1800) == 0
        assert self.firings(1800) == 1
        self.scheduled.stop()

    def test_the_zone_may_be_any_and_is_utc_by_default(self) -> None:
        self.create("2026-10-25T04:00:00")
        assert self.scheduled.next_run("x") == at("2026-10-25T03:00:00Z")
        self.behaviour["timezone"] = "America/New_York"
        assert self.scheduled.next_run("x") == at("2026-10-25T08:00:00Z")
        for nothing in ("", "Nowhere/At_All", "../x"):
            self.behaviour["timezone"] = nothing
            assert self.scheduled.next_run("x") == at("2026-10-25T04:00:00Z")
        self.scheduled.stop()

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service is where it should be only when the node has seen it there."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.action import alteryx_service
from tests.unit.plugins.action import harness

ARGUMENTS = {"state": "restored", "run_id": "run1", "timeout": 60}


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> harness.Time:
    clock = harness.Time()
    monkeypatch.setattr(alteryx_service, "time", clock)
    return clock


class Service:
    """A node whose service reaches its goal after so many seconds."""

    def __init__(self, clock: harness.Time, seconds: float, goal: str = "Running", before: str = "Stopped") -> None:
        self.clock, self.goal, self.before = clock, goal, before
        self.reached_at = clock.now + seconds
        self.waits: list[float] = []
        self.workflows: list[dict[str, t.Any]] = []

    def __call__(self, arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        wait = arguments["_wait_seconds"]
        self.waits.append(wait)
        self.clock.now += min(wait, max(0.0, self.reached_at - self.clock.now))
        reached = self.clock.now >= self.reached_at
        on_its_way = "StartPending" if self.goal == "Running" else "StopPending"
        seen = [on_its_way, self.goal] if reached else [on_its_way]
        now = seen[-1]
        first = len(self.waits) == 1
        return {
            "changed": first and self.before != self.goal, "before": self.before if first else on_its_way,
            "goal": self.goal, "reached": reached, "states": [{"state": state, "at": "x"} for state in seen],
            "service": {"state": now}, "workflows": self.workflows if reached else [],
        }  # fmt: skip


def test_a_service_that_comes_up_late_is_waited_for(clock: harness.Time) -> None:
    service = Service(clock, 40)
    result = harness.run(alteryx_service.ActionModule, ARGUMENTS, service)
    assert not result.get("failed")
    assert (result["changed"], result["before"], result["goal"], result["service"]["state"]) == (
        True,
        "Stopped",
        "Running",
        "Running",
    )
    assert [seen["state"] for seen in result["states"]] == ["StartPending", "Running"]
    assert len(service.waits) == 4
    assert max(service.waits) < 20


def test_a_refused_start_of_a_service_that_came_back_is_a_warning_among_the_events(clock: harness.Time) -> None:
    service = Service(clock, 15)

    def node(arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        answer = service(arguments)
        # What the node says of one call is gone with the next.
        return answer | {"problem": "error 1056" if len(service.waits) == 1 else ""}

    result = harness.run(alteryx_service.ActionModule, ARGUMENTS, node)
    assert [(event["level"], event["text"]) for event in result["events"]] == [
        ("WARNING", "a start request was refused: error 1056")
    ]
    assert "events" not in harness.run(alteryx_service.ActionModule, ARGUMENTS, Service(clock, 0))


def test_a_service_that_is_there_already_is_no_change(clock: harness.Time) -> None:
    result = harness.run(alteryx_service.ActionModule, ARGUMENTS, Service(clock, 0, before="Running"))
    assert (result["changed"], result.get("failed")) == (False, None)


@pytest.mark.parametrize(
    ("state", "goal", "reason", "code"),
    [("restored", "Running", "service_not_restored", 7), ("stopped", "Stopped", "stop_timeout", 2)],
)
def test_a_service_that_does_not_get_there_is_a_failure_with_what_was_seen(
    clock: harness.Time, state: str, goal: str, reason: str, code: int
) -> None:
    service = Service(clock, 1000, goal, "Stopped" if goal == "Running" else "Running")
    result = harness.run(alteryx_service.ActionModule, {**ARGUMENTS, "state": state}, service)
    assert (result["failed"], result["reason"], result["exit_code"]) == (True, reason, code)
    assert f"not {goal} within 60 s" in result["message"]
    assert result["detail"]["service"]["state"].endswith("Pending")
    assert clock.now == pytest.approx(5060)


def test_a_workflow_that_outlives_the_service_fails_the_stop_and_is_named(clock: harness.Time) -> None:
    service = Service(clock, 0, "Stopped", "Running")
    service.workflows = [{"name": "AlteryxEngineCmd.exe", "process_id": 4321}]
    result = harness.run(alteryx_service.ActionModule, {**ARGUMENTS, "state": "stopped"}, service)
    assert (result["failed"], result["reason"]) == (True, "processes_left")
    assert "AlteryxEngineCmd.exe (4321)" in result["message"]


def test_check_mode_asks_once(clock: harness.Time) -> None:
    service = Service(clock, 1000)
    result = harness.run(alteryx_service.ActionModule, ARGUMENTS, service, check_mode=True)
    assert (result["changed"], result.get("failed"), len(service.waits)) == (True, None, 1)


def test_a_refusal_of_the_node_is_passed_on(clock: harness.Time) -> None:
    result = harness.run(
        alteryx_service.ActionModule,
        {**ARGUMENTS, "state": "stopped"},
        lambda _: {"failed": True, "reason": "no_lease", "msg": "no lease of this run"},
    )
    assert (result["reason"], result["exit_code"], result["message"]) == ("no_lease", 3, "no lease of this run")


def test_a_service_whose_account_cannot_log_on_is_not_waited_for(clock: harness.Time) -> None:
    service = Service(clock, 10_000)

    def refused(arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        return service(arguments) | {"problem": "the account could not log on", "logon_failed": True}

    result = harness.run(alteryx_service.ActionModule, ARGUMENTS, refused)
    assert (result["reason"], result["exit_code"], len(service.waits)) == ("service_logon_failed", 7, 1)
    assert "the account could not log on" in result["msg"]

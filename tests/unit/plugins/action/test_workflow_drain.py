# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing is stopped while workflows run, and who still runs is named."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.action import workflow_drain
from tests.unit.plugins.action import harness

ARGUMENTS = {"bin_folder": r"C:\Alteryx\bin", "timeout": 60}
WORKFLOW = {"name": "AlteryxEngineCmd.exe", "process_id": 77, "parent_id": 1, "started": "2026-09-01T01:00:00.000Z"}


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> harness.Time:
    clock = harness.Time()
    monkeypatch.setattr(workflow_drain, "time", clock)
    return clock


class Busy:
    """A node on which one workflow runs for so many seconds."""

    def __init__(self, clock: harness.Time, seconds: float) -> None:
        self.clock, self.end = clock, clock.now + seconds
        self.waits: list[float] = []

    def __call__(self, arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        self.waits.append(arguments["_wait_seconds"])
        self.clock.now += min(self.waits[-1], max(0.0, self.end - self.clock.now))
        return {"running": [WORKFLOW] if self.clock.now < self.end else [], "changed": False}


def test_an_idle_node_is_asked_once(clock: harness.Time) -> None:
    node = Busy(clock, 0)
    result = harness.run(workflow_drain.ActionModule, ARGUMENTS, node)
    assert (result["found"], result["running"], result["forced"], result["changed"]) == ([], [], False, False)
    assert node.waits == [0.0]


def test_a_workflow_is_waited_for_and_remembered(clock: harness.Time) -> None:
    node = Busy(clock, 30)
    result = harness.run(workflow_drain.ActionModule, ARGUMENTS, node)
    assert not result.get("failed")
    assert (result["found"], result["running"]) == ([WORKFLOW], [])
    assert max(node.waits) < 20


@pytest.mark.parametrize("timeout", [0, 60])
def test_a_workflow_that_outlives_the_limit_is_named_and_left_alone(clock: harness.Time, timeout: int) -> None:
    result = harness.run(workflow_drain.ActionModule, {**ARGUMENTS, "timeout": timeout}, Busy(clock, 1000))
    assert (result["failed"], result["reason"], result["exit_code"]) == (True, "drain_timeout", 2)
    assert "AlteryxEngineCmd.exe (77, since 2026-09-01T01:00:00.000Z)" in result["message"]
    assert result["detail"] == {"running": [WORKFLOW]}
    assert clock.now == pytest.approx(5000 + timeout)


def test_force_goes_on_at_once_and_says_so(clock: harness.Time, capsys: pytest.CaptureFixture[str]) -> None:
    node = Busy(clock, 1000)
    result = harness.run(workflow_drain.ActionModule, {**ARGUMENTS, "force": True}, node)
    assert (result.get("failed"), result["forced"], result["running"]) == (None, True, [WORKFLOW])
    assert len(node.waits) == 1
    assert "going on although workflows run" in " ".join("".join(capsys.readouterr()).split())


def test_check_mode_looks_once_and_never_waits(clock: harness.Time) -> None:
    node = Busy(clock, 1000)
    result = harness.run(workflow_drain.ActionModule, ARGUMENTS, node, check_mode=True)
    assert (result.get("failed"), result["running"], node.waits) == (None, [WORKFLOW], [0.0])

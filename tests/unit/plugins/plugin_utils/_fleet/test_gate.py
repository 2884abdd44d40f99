# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The window opens only when every node has shown that it is ready."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import StepFailed
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._fleet import _gate
from tests.unit.plugins import samples

NODES = ("controller", "worker1", "ui1")
HELD = {"changed": True, "lease": samples.lease()}
STOPPED = {"changed": True, "service": {"state": "Stopped"}}
FAILED_LEASES: list[dict[str, t.Any]] = [
    {}, {"skipped": True}, {"lease": None}, {"lease": {}}, {"lease": samples.lease(run_id="another")},
    {"lease": samples.lease(drilled=False)}, {"lease": {**samples.lease(), "drilled": None}}, {**HELD, "failed": True},
    {**HELD, "unreachable": True},
]  # fmt: skip
FAILED_STOPS: list[dict[str, t.Any]] = [
    {}, {"skipped": True}, {"service": None}, {"service": {}},
    *({"service": {"state": state}} for state in ("Running", "StopPending", "StartPending", "stopped", "")),
    {**STOPPED, "failed": True}, {**STOPPED, "unreachable": True},
]  # fmt: skip


def check(leases: dict[str, dict[str, t.Any]], stops: dict[str, dict[str, t.Any]]) -> None:
    _gate.check(samples.RUN_ID, "controller", leases, stops)


def closed(leases: dict[str, dict[str, t.Any]], stops: dict[str, dict[str, t.Any]]) -> StepFailed:
    with pytest.raises(StepFailed) as failure:
        check(leases, stops)
    assert (failure.value.reason.name, failure.value.reason.exit_code) == ("gate_closed", 2)
    return failure.value


def everywhere(result: dict[str, t.Any]) -> dict[str, dict[str, t.Any]]:
    return dict.fromkeys(NODES, result)


def test_a_fleet_that_is_ready_gets_its_window() -> None:
    check(everywhere(HELD), everywhere(STOPPED))


def test_the_controller_is_stopped_by_its_own_job_and_not_before() -> None:
    check(everywhere(HELD), {"worker1": STOPPED, "ui1": STOPPED})
    check({"controller": HELD}, {})
    check({"controller": HELD}, {"controller": {"service": {"state": "Running"}}})


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("lease", FAILED_LEASES)
def test_one_node_without_a_proved_lease_closes_the_gate_and_is_named(node: str, lease: dict[str, t.Any]) -> None:
    failure = closed({**everywhere(HELD), node: lease}, everywhere(STOPPED))
    assert failure.detail["node"] == node


@pytest.mark.parametrize("node", NODES[1:])
@pytest.mark.parametrize("stop", FAILED_STOPS)
def test_one_node_that_was_not_seen_stopped_closes_the_gate_and_is_named(node: str, stop: dict[str, t.Any]) -> None:
    failure = closed(everywhere(HELD), {**everywhere(STOPPED), node: stop})
    assert failure.detail["node"] == node
    assert "not Stopped" in failure.message


@pytest.mark.reaches("gate_closed")
def test_the_state_that_was_seen_is_said() -> None:
    assert (
        "(StopPending)"
        in closed(everywhere(HELD), {**everywhere(STOPPED), "ui1": {"service": {"state": "StopPending"}}}).message
    )
    assert "(unknown)" in closed(everywhere(HELD), {}).message


READY = st.sampled_from([(HELD, True), *((lease, False) for lease in FAILED_LEASES)])
STILL = st.sampled_from([(STOPPED, True), *((stop, False) for stop in FAILED_STOPS)])


@given(st.tuples(READY, READY, READY), st.tuples(STILL, STILL, STILL))
def test_the_gate_is_open_only_when_everything_is_good(leases: tuple[t.Any, ...], stops: tuple[t.Any, ...]) -> None:
    given_leases = dict(zip(NODES, (result for result, _unused in leases), strict=True))
    given_stops = dict(zip(NODES, (result for result, _unused in stops), strict=True))
    good = all(ready for _unused, ready in leases) and all(still for _unused, still in stops[1:])
    if good:
        check(given_leases, given_stops)
    else:
        assert closed(given_leases, given_stops).detail["node"] in NODES


@pytest.mark.parametrize(("age", "closes"), [(0.0, False), (890.0, False), (891.0, True), (9999.0, True)])
def test_a_window_does_not_open_when_the_others_may_already_start_again(age: float, closes: bool) -> None:
    arguments = (samples.RUN_ID, "controller", everywhere(HELD), everywhere(STOPPED), age, 900.0)
    if not closes:
        return _gate.check(*arguments)
    with pytest.raises(StepFailed) as failure:
        _gate.check(*arguments)
    assert (failure.value.reason.name, failure.value.detail["node"]) == ("gate_closed", "controller")
    return None


def test_the_lease_of_a_single_node_has_no_others_that_could_act() -> None:
    _gate.check(samples.RUN_ID, "controller", {"controller": HELD}, {}, 99999.0, 3600.0)

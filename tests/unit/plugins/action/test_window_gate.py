# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate looks at what every node of the plan has registered, and asks no node."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.action.window_gate import ActionModule
from tests.unit.plugins import samples
from tests.unit.plugins.action import harness

HELD = {"lease": samples.lease()}
STOPPED = {"service": {"state": "Stopped"}}
READY = {"controller": {"lease": HELD}, "worker1": {"lease": HELD, "stop": STOPPED}}
PLAN = {"run_id": samples.RUN_ID, "controller": "controller", "nodes": {"controller": {}, "worker1": {}}}


def gate(hostvars: dict[str, dict[str, t.Any]], check_mode: bool = False) -> dict[str, t.Any]:
    arguments = {"plan": PLAN, "leases": "lease", "stops": "stop"}
    variables = {"inventory_hostname": "controller", "hostvars": harness.HostVariables(hostvars)}
    return harness.run(ActionModule, arguments, variables=variables, check_mode=check_mode)


def test_the_window_opens_when_every_node_is_ready() -> None:
    result = gate(READY)
    assert (result["open"], result["changed"], result.get("failed")) == (True, False, None)


@pytest.mark.parametrize(
    "registered",
    [{}, {"lease": HELD}, {"stop": STOPPED}, {"lease": None, "stop": STOPPED}, {"lease": HELD, "stop": None}],
)
def test_a_node_that_has_not_reported_closes_the_gate_and_is_named(registered: dict[str, t.Any]) -> None:
    result = gate({**READY, "worker1": registered})
    assert (result["failed"], result["reason"], result["exit_code"], result["node"]) == (
        True,
        "gate_closed",
        2,
        "worker1",
    )
    assert result["msg"].startswith("worker1: ")
    assert "open" not in result


def test_a_host_that_is_not_part_of_the_plan_plays_no_part() -> None:
    assert gate({**READY, "stranger": {}})["open"] is True


def test_in_check_mode_nothing_was_stopped_and_nothing_is_asked() -> None:
    assert gate({"controller": {}, "worker1": {}}, check_mode=True)["open"] is True

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a run over all its nodes."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.action.backup_plan import ActionModule
from tests.unit.plugins import samples
from tests.unit.plugins.action import harness


def planned(letters: dict[str, str], mode: str = "full", **changes: t.Any) -> dict[str, t.Any]:
    """The result for hosts with these sample settings."""
    hostvars = {host: {"facts": samples.facts(letter, **changes)} for host, letter in letters.items()}
    arguments = {"request": samples.request_fields(mode, hosts=list(letters)), "facts": "facts"}
    return harness.run(ActionModule, arguments, variables={"hostvars": hostvars})


def test_a_single_node_fleet_is_planned() -> None:
    plan = planned({"node1": "a"})["plan"]
    assert plan["controller"] == "node1"
    assert plan["nodes"]["node1"]["dumps"] is True
    assert (plan["stops_services"], plan["exports_configuration"]) == (True, True)
    assert plan["run_id"] == samples.RUN_ID
    assert plan["recipients"]


def test_a_fleet_has_one_controller() -> None:
    plan = planned({"worker1": "c", "controller1": "b", "ui1": "d"}, "config")["plan"]
    assert plan["controller"] == "controller1"


def test_services_of_several_nodes_are_not_stopped_so_far() -> None:
    result = planned({"worker1": "c", "controller1": "b", "ui1": "d"})
    assert (result["reason"], result["exit_code"]) == ("fleet_unsupported", 3)


def test_the_plan_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    planned({"node1": "a"}, service__state="Stopped")
    out, err = capsys.readouterr()
    assert "plan: node1 (controller, worker, ui), Alteryx 2024.2.1.14, service Stopped, data files 100.0 MB" in " ".join(out.split())
    assert "will be left Stopped" in " ".join((out + err).split())


def test_configuration_mode_dumps_nothing_and_needs_no_controller() -> None:
    plan = planned({"worker1": "c"}, "config")["plan"]
    assert (plan["controller"], plan["stops_services"], plan["nodes"]["worker1"]["dumps"]) == ("", False, False)


def test_a_run_that_would_stop_services_needs_a_controller() -> None:
    result = planned({"worker1": "c"})
    assert (result["reason"], result["exit_code"]) == ("no_role", 3)


def test_the_node_that_is_refused_is_named_not_the_one_that_asked() -> None:
    hostvars = {"node1": {"facts": samples.facts("b")}, "node2": {"facts": samples.facts("c", system__is_administrator=False)}}
    arguments = {"request": samples.request_fields(hosts=["node1", "node2"]), "facts": "facts"}
    result = harness.run(ActionModule, arguments, variables={"hostvars": hostvars})
    assert (result["reason"], result["node"]) == ("not_administrator", "node2")
    assert result["msg"].startswith("node2: ")


def test_two_controllers_are_refused() -> None:
    assert planned({"one": "a", "two": "b"})["reason"] == "several_fleets"

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a run over all its nodes."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.action.backup_plan import ActionModule
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._report import _report
from tests.unit.plugins import samples
from tests.unit.plugins.action import harness


def planned(
    letters: dict[str, str],
    mode: str = "full",
    left_out: tuple[str, ...] = (),
    options: dict[str, t.Any] | None = None,
    **changes: t.Any,
) -> dict[str, t.Any]:
    """The result for hosts with these sample settings. left_out: further nodes of the fleet. options: of the module."""
    hostvars = {host: {"facts": samples.facts(letter, **changes)} for host, letter in letters.items()}
    arguments = {
        "request": samples.request_fields(mode, hosts=list(letters), members=[*letters, *left_out]),
        "facts": "facts",
        **(options or {}),
    }
    return harness.run(ActionModule, arguments, variables={"hostvars": harness.HostVariables(hostvars)})


def test_a_single_node_fleet_is_planned() -> None:
    plan = planned({"node1": "a"})["plan"]
    assert plan["controller"] == "node1"
    assert plan["nodes"]["node1"]["dumps"] is True
    assert (plan["stops_services"], plan["exports_configuration"]) == (True, True)
    assert plan["run_id"] == samples.RUN_ID
    assert plan["recipients"]


def test_the_last_good_run_is_read_from_the_folder_of_the_reports(tmp_path: Path) -> None:
    composed = _report.compose("full", {"node1": samples.steps()}, False, "2026-09-01T02:05:00.000Z", 1300.0)
    (tmp_path / samples.RUN_ID).mkdir()
    (tmp_path / samples.RUN_ID / "outcome.json").write_text(json.dumps(composed), encoding="utf-8")
    found = planned({"node1": "a"}, options={"report_directory": str(tmp_path)})["last_run"]
    assert found == {"node1": {"seconds": {"stop": 3.0, "dump": 30.0, "start": 7.8}, "bytes": 12_800_000}}
    assert planned({"node1": "a"})["last_run"] == {}
    assert planned({"node1": "a"}, "database", options={"report_directory": str(tmp_path)})["last_run"] == {}


def test_a_fleet_has_one_controller() -> None:
    plan = planned({"worker1": "c", "controller1": "b", "ui1": "d"}, "config")["plan"]
    assert plan["controller"] == "controller1"


def test_the_plan_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    planned({"node1": "a"}, service__state="Stopped")
    out, err = capsys.readouterr()
    assert (
        "plan: node1 (controller, worker, ui), Alteryx 2024.2.1.14, service Stopped, data files 100.0 MB"
        in " ".join(out.split())
    )
    assert "will be left Stopped" in " ".join((out + err).split())


def test_configuration_mode_dumps_nothing_and_needs_no_controller() -> None:
    plan = planned({"worker1": "c"}, "config")["plan"]
    assert (plan["controller"], plan["stops_services"], plan["nodes"]["worker1"]["dumps"]) == ("", False, False)


def test_a_run_that_would_stop_services_needs_a_controller() -> None:
    result = planned({"worker1": "c"})
    assert (result["reason"], result["exit_code"]) == ("no_role", 3)


def test_the_node_that_is_refused_is_named_not_the_one_that_asked() -> None:
    hostvars = {
        "node1": {"facts": samples.facts("b")},
        "node2": {"facts": samples.facts("c", system__is_administrator=False)},
    }
    arguments = {
        "request": samples.request_fields(hosts=["node1", "node2"], members=["node1", "node2"]),
        "facts": "facts",
    }
    result = harness.run(ActionModule, arguments, variables={"hostvars": harness.HostVariables(hostvars)})
    assert (result["reason"], result["node"]) == ("not_administrator", "node2")
    assert result["msg"].startswith("node2: ")


def test_two_controllers_are_refused() -> None:
    assert planned({"one": "a", "two": "b"})["reason"] == "several_fleets"


def test_a_part_of_a_fleet_is_refused_where_services_stop_unless_it_is_wanted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    refused = planned({"controller1": "b"}, left_out=("worker1",))
    assert (refused["reason"], refused["exit_code"]) == ("fleet_partial", 3)
    assert "worker1" in refused["message"]
    assert (
        planned({"controller1": "b"}, left_out=("worker1",), options={"partial_fleet": True})["plan"]["controller"]
        == "controller1"
    )
    assert planned({"worker1": "c"}, "config", left_out=("controller1",))["plan"]["nodes"]
    assert "1 of 2 nodes of the fleet alteryx_prod are left out" in " ".join("".join(capsys.readouterr()).split())


def test_further_names_of_the_controller_are_given_by_the_operator() -> None:
    def warnings(**options: t.Any) -> list[str]:
        result = planned({"controller1": "b", "worker1": "c"}, "config", options=options, system__computer="OTHER")
        return t.cast("list[str]", result["plan"]["nodes"]["worker1"]["warnings"])

    assert any("nothing says that this is the controller controller1" in text for text in warnings())
    assert warnings(controller_names=["ayx-ctl.example.test"]) == []


@pytest.mark.parametrize(
    ("variables", "hooks", "used"),
    [
        ({}, {}, set()),
        ({}, {"before": "hooks/before.yml", "after": ""}, {"before"}),
        # The task sees what is given for its own host only.
        ({"alteryx_window_after": "after.yml"}, {}, {"after"}),
        ({"alteryx_window_schedules": "{{ pauses }}"}, {}, {"schedules", "resume"}),
        ({"alteryx_window_schedules": False}, {}, set()),
    ],
)
def test_what_is_given_for_any_host_is_used_by_the_run(
    variables: dict[str, t.Any], hooks: dict[str, str], used: set[str]
) -> None:
    hostvars = {"controller1": {"facts": samples.facts("b")}, "worker1": {"facts": samples.facts("c"), **variables}}
    arguments = {
        "request": samples.request_fields(hosts=list(hostvars), members=list(hostvars)),
        "facts": "facts", "hooks": hooks, "controller_names": ["ayx-ctl.example.test"],
    }  # fmt: skip
    result = harness.run(ActionModule, arguments, variables={"hostvars": harness.HostVariables(hostvars)})
    optional = {"schedules", "resume", "before", "after"}
    assert optional - set(result["leaves_out"]) == used


def test_a_plan_names_the_nodes_that_lack_room_if_retention_may_find_it(capsys: pytest.CaptureFixture[str]) -> None:
    short = [{**folder, "free_bytes": 1, "volume": "D:\\"} for folder in samples.facts()["folders"]]
    request = samples.request_fields(prunes_for_room=True)
    for folders, bytes_needed in ((samples.facts()["folders"], 0), (short, 3 * samples.facts()["database"]["bytes"])):
        result = planned({"node1": "a"}, options={"request": request}, folders=folders)
        assert result["room"] == ({"node1": {"volume": "D:\\", "bytes": bytes_needed}} if bytes_needed else {})
        assert ("room" in result["leaves_out"]) is not bool(bytes_needed)
        assert ("lacks room on D:" in capsys.readouterr().out) is bool(bytes_needed)

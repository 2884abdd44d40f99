# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every action of the collection has in common: how it validates, fails, and bears with its connection."""

from __future__ import annotations

import json
import re
import typing as t
from pathlib import Path

import pytest
from ansible.errors import AnsibleAuthenticationFailure, AnsibleConnectionFailure

from ansible_collections.alteryx_ops.server_backup.plugins.action import config_export, database_window, maintenance_lease, node_info
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils import _action
from tests.unit.plugins import samples
from tests.unit.plugins.action import harness

MODULES = sorted(path.stem for path in (_action.ROOT / "plugins" / "modules").glob("*.yml"))
WINDOW = {"run_id": "r", "executable": "C:\\b\\AlteryxService.exe", "staging_directory": "D:\\s"}


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_an_action_and_a_spec_from_its_documentation(module: str) -> None:
    assert (_action.ROOT / "plugins" / "action" / f"{module}.py").exists()
    assert _action.argument_spec(module)
    assert all(option["type"] for option in _action.argument_spec(module).values())


@pytest.mark.parametrize("module", MODULES)
def test_the_node_takes_every_documented_option_with_the_same_default(module: str) -> None:
    script = _action.ROOT / "plugins" / "modules" / f"{module}.ps1"
    if not script.exists():
        return  # runs on the control node
    text = script.read_text(encoding="utf-8")
    for name, option in _action.argument_spec(module).items():
        declared = re.search(rf"\b{name} = @\{{([^\n]*)", text)
        assert declared, name
        if isinstance(option.get("default"), int) and not isinstance(option["default"], bool):
            assert f"default = {option['default']}" in declared[1], name


def test_sub_options_are_part_of_the_spec() -> None:
    assert {"id", "source", "archive_path"} <= set(_action.argument_spec("config_export")["files"]["options"])


def test_a_result_carries_node_and_times() -> None:
    result = harness.run(node_info.ActionModule, {}, lambda _: {"changed": True, "service": {}, "invocation": {"secret": 1}})
    assert (result["node"], result["changed"], result["service"]) == ("node1", False, {})
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", result["started"])
    assert result["started"] <= result["finished"]
    assert "invocation" not in result


def test_a_failure_of_the_node_has_reason_hint_and_node() -> None:
    node = {"failed": True, "reason": "critical_file_missing", "msg": "C:\\x is absent", "detail": {"a": 1}}
    result = harness.run(config_export.ActionModule, {"run_id": "r", "staging_directory": "D:\\s", "executable": "e", "files": []}, lambda _: node)
    assert result["failed"] is True
    assert (result["reason"], result["exit_code"], result["message"], result["detail"]) == ("critical_file_missing", 1, "C:\\x is absent", {"a": 1})
    assert result["msg"] == f"node1: C:\\x is absent. {result['hint']}"


@pytest.mark.parametrize("answer", [{"failed": True}, {"failed": True, "msg": "boom", "reason": "invented"}, {"failed": True, "msg": "", "detail": None}])
def test_a_failure_without_a_reason_of_ours_is_unexpected(answer: dict[str, t.Any]) -> None:
    result = harness.run(node_info.ActionModule, {}, lambda _: answer)
    assert (result["reason"], result["exit_code"], result["detail"]) == ("unexpected", 1, {})


HELD = {"state": "held", "run_id": "r"}


@pytest.mark.parametrize("wrong", [{}, {"state": "hold"}, {**HELD, "hold_second": 5}, {**HELD, "hold_seconds": "x"}])
def test_wrong_arguments_are_refused_before_the_node_is_called(wrong: dict[str, t.Any]) -> None:
    result = harness.run(maintenance_lease.ActionModule, wrong)
    assert (result["reason"], result["exit_code"]) == ("invalid_variable", 3)
    assert result["message"].startswith("maintenance_lease: ")


def test_a_misspelled_variable_is_refused_by_every_action_before_the_node_is_called() -> None:
    result = harness.run(node_info.ActionModule, {}, variables={"alteryx_preflight_mod": "full"})
    assert result["reason"] == "unknown_variable"
    assert "alteryx_preflight_mode" in result["message"]


@pytest.mark.parametrize(("plugin", "arguments", "reason", "code"), [
    (node_info.ActionModule, {}, "unreachable", 3),
    (maintenance_lease.ActionModule, {"state": "released", "run_id": "r"}, "connection_lost", 1),
])  # fmt: skip
@pytest.mark.parametrize("error", [AnsibleConnectionFailure, AnsibleAuthenticationFailure])
def test_a_node_that_does_not_answer_is_a_failure_so_that_always_still_runs(
    plugin: type[_action.NodeAction], arguments: dict[str, t.Any], reason: str, code: int, error: type[Exception]
) -> None:
    def silent(_: dict[str, t.Any]) -> dict[str, t.Any]:
        raise error("no route\n to host")

    result = harness.run(plugin, arguments, silent)
    assert (result["failed"], result["reason"], result["exit_code"]) == (True, reason, code)
    assert "unreachable" not in result
    assert "no route to host" in result["message"]


def test_an_error_of_a_library_below_the_connection_is_one_of_the_connection() -> None:
    transport = type("ReadTimeout", (Exception,), {"__module__": "requests.exceptions"})

    def silent(_: dict[str, t.Any]) -> dict[str, t.Any]:
        try:
            raise transport("timed out")
        except transport as error:
            raise RuntimeError("wrapped") from error

    assert harness.run(node_info.ActionModule, {}, silent)["reason"] == "unreachable"


def test_a_bug_is_not_dressed_up_as_a_failure_of_the_node() -> None:
    def buggy(_: dict[str, t.Any]) -> dict[str, t.Any]:
        raise KeyError("bug")

    with pytest.raises(KeyError):
        harness.run(node_info.ActionModule, {}, buggy)


def test_only_taking_a_lease_sends_the_code_along() -> None:
    calls: list[dict[str, t.Any]] = []

    def node(arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        calls.append(arguments)
        return {"changed": True}

    harness.run(maintenance_lease.ActionModule, {"state": "held", "run_id": "r", "hold_seconds": 5}, node)
    harness.run(maintenance_lease.ActionModule, {"state": "released", "run_id": "r"}, node)
    assert "Guard.ps1" in json.loads(calls[0]["_code"])
    assert "_code" not in calls[1]


class Flaky:
    """A node with a window job, whose connection fails at some operations."""

    def __init__(self, trouble: dict[str, list[Exception | dict[str, t.Any]]]) -> None:
        self.trouble = {operation: list(events) for operation, events in trouble.items()}
        self.operations: list[str] = []

    def __call__(self, arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        operation = arguments["_operation"]
        self.operations.append(operation)
        if events := self.trouble.get(operation):
            event = events.pop(0)
            if isinstance(event, Exception):
                raise event
            return event
        ended = {"state": "failed", "reason": "dump_failed", "msg": "over"}
        status = {"state": "failed", "phase": "end", "done_bytes": 0, "total_bytes": 0, "message": ""}
        return {"start": {}, "poll": {"status": status, "log": ""}, "collect": {"result": json.dumps(ended)}}[operation]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> harness.Time:
    clock = harness.Time()
    monkeypatch.setattr(_action, "time", clock)
    return clock


LOST = AnsibleConnectionFailure("lost")


def test_lost_connections_while_polling_are_borne(clock: harness.Time, capsys: pytest.CaptureFixture[str]) -> None:
    node = Flaky({"poll": [LOST, {"failed": True, "msg": "winrm send_input failed"}, LOST]})
    result = harness.run(database_window.ActionModule, WINDOW, node)
    assert result["reason"] == "dump_failed"
    assert node.operations == ["start", "poll", "poll", "poll", "poll", "collect"]
    assert clock.now == 5000 + 1 + 2 + 4
    assert capsys.readouterr().out.count("the job goes on there") == 3


def test_what_the_node_knows_about_its_job_is_no_connection_trouble(clock: harness.Time) -> None:
    node = Flaky({"poll": [{"failed": True, "reason": "job_died", "msg": "gone"}]})
    assert harness.run(database_window.ActionModule, WINDOW, node)["reason"] == "job_died"
    assert node.operations == ["start", "poll"]


def test_a_lost_start_is_not_repeated(clock: harness.Time) -> None:
    node = Flaky({"start": [LOST]})
    assert harness.run(database_window.ActionModule, WINDOW, node)["reason"] == "connection_lost"
    assert node.operations == ["start"]


@pytest.mark.parametrize("operation", ["start", "collect"])
def test_a_module_that_breaks_outside_a_poll_is_a_failure_of_the_step(clock: harness.Time, operation: str) -> None:
    node = Flaky({operation: [{"failed": True, "msg": "the module broke"}]})
    result = harness.run(database_window.ActionModule, WINDOW, node)
    assert (result["failed"], result["reason"], result["message"]) == (True, "unexpected", "the module broke")
    assert node.operations.count(operation) == 1


def test_the_fleets_are_the_direct_children_with_all_their_hosts(tmp_path: Path) -> None:
    text = "all: {children: {alteryx: {children: {alteryx_prod: {children: {deep: {hosts: {a: {}}}}, hosts: {b: {}}}, alteryx_lab: {hosts: {c: {}}}}}}}"
    variables = harness.inventory(tmp_path, text)
    assert _action.direct_child_groups(variables, "alteryx") == {"alteryx_prod": {"a", "b"}, "alteryx_lab": {"c"}}
    assert _action.direct_child_groups(variables, "nobody") == {}


def test_the_version_is_that_of_galaxy_yml() -> None:
    assert re.search(rf"(?m)^version: [\"']?{re.escape(_action.version())}[\"']?$", (_action.ROOT / "galaxy.yml").read_text())


def test_the_sample_results_name_what_the_modules_document() -> None:
    assert set(samples.steps()["archive"]) <= {*_returned("backup_archive")}
    assert set(samples.steps()["window"]) <= {*_returned("database_window")}


def _returned(module: str) -> set[str]:
    text = (_action.ROOT / "plugins" / "modules" / f"{module}.yml").read_text(encoding="utf-8")
    return set(re.findall(r"(?m)^  (\w+):$", text.partition("\nRETURN:")[2])) | {"changed"}

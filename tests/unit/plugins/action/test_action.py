# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every action of the collection has in common: how it validates, fails, and bears with its connection."""

from __future__ import annotations

import itertools
import json
import re
import typing as t
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible.errors import AnsibleAuthenticationFailure, AnsibleConnectionFailure, AnsibleError

from ansible_collections.alteryx_ops.server_backup.plugins.action import (
    config_export,
    database_window,
    maintenance_lease,
    node_info,
)
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible import (
    _action,
    _collection,
    _inventory,
)
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.yaml_text import load_yaml
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._report._steps import STEPS, Step
from tests.unit.plugins import samples
from tests.unit.plugins.action import harness

MODULES = sorted(path.stem for path in (_collection.ROOT / "plugins" / "modules").glob("*.yml"))
LOST = AnsibleConnectionFailure("lost")
WINDOW = {"run_id": "r", "executable": "C:\\b\\AlteryxService.exe", "staging_directory": "D:\\s"}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> harness.Time:
    clock = harness.Time()
    monkeypatch.setattr(_action, "time", clock)
    return clock


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_an_action_and_a_spec_from_its_documentation(module: str) -> None:
    assert (_collection.ROOT / "plugins" / "action" / f"{module}.py").exists()
    # What run_stats tells, it knows itself.
    assert bool(_collection.argument_spec(module)) == (module != "run_stats")
    assert all(option["type"] for option in _collection.argument_spec(module).values())


@pytest.mark.parametrize("module", MODULES)
def test_the_node_takes_every_documented_option_with_the_same_default(module: str) -> None:
    script = _collection.ROOT / "plugins" / "modules" / f"{module}.ps1"
    if not script.exists():
        return  # runs on the control node
    text = script.read_text(encoding="utf-8")
    for name, option in _collection.argument_spec(module).items():
        declared = re.search(rf"\b{name} = @\{{([^\n]*)", text)
        assert declared, name
        if isinstance(option.get("default"), int) and not isinstance(option["default"], bool):
            assert f"default = {option['default']}" in declared[1], name


@pytest.mark.parametrize(
    "script", sorted((_collection.ROOT / "plugins" / "modules").glob("*.ps1")), ids=lambda path: path.stem
)
def test_what_a_job_is_told_is_in_no_invocation_at_any_verbosity(script: Path) -> None:
    # Ansible prints the arguments of every module at -vvv. A spec may come to hold what only the job may
    # know; code is only noise.
    declared = re.findall(r"^\s*(_spec|_code) = @\{(.*)\}$", script.read_text(encoding="utf-8"), re.MULTILINE)
    assert all("no_log = $true" in options for _unused, options in declared)
    assert {name for name, _unused in declared} in (set(), {"_code"}, {"_spec", "_code"})


SECRET_SPEC = {"password": {"type": "str", "no_log": True}, "room": {"type": "dict"}}


def test_a_secret_argument_is_in_no_result_whatever_the_node_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "Pa55word-of-a-share"
    monkeypatch.setattr(_collection, "argument_spec", lambda _: SECRET_SPEC)
    for node in (
        {"output": f"logged in with {secret}", "all": [{"x": secret}]},
        {"failed": True, "reason": "unexpected", "msg": f"{secret} was refused"},
    ):
        result = harness.run(
            node_info.ActionModule, {"password": secret}, lambda _, node=node: {**samples.facts(), **node}
        )
        assert secret not in json.dumps(result)
        assert result["node"] == "node1"


def test_sub_options_are_part_of_the_spec() -> None:
    assert {"id", "source", "archive_path"} <= set(_collection.argument_spec("config_export")["files"]["options"])


def test_a_result_carries_node_and_times() -> None:
    result = harness.run(
        node_info.ActionModule, {}, lambda _: {**samples.facts(), "changed": True, "invocation": {"secret": 1}}
    )
    assert (result["node"], result["changed"], result["service"]["state"]) == ("node1", False, "Running")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", result["started"])
    assert result["started"] <= result["ended"]
    assert "invocation" not in result


def test_a_failure_of_the_node_has_reason_hint_and_node() -> None:
    node = {"failed": True, "reason": "critical_file_missing", "msg": "C:\\x is absent", "detail": {"a": 1}}
    result = harness.run(
        config_export.ActionModule,
        {"run_id": "r", "staging_directory": "D:\\s", "executable": "e", "files": []},
        lambda _: node,
    )
    assert result["failed"] is True
    assert (result["reason"], result["exit_code"], result["message"], result["detail"]) == (
        "critical_file_missing",
        1,
        "C:\\x is absent",
        {"a": 1},
    )
    assert result["msg"] == f"node1: C:\\x is absent. {result['hint']}"


@pytest.mark.parametrize(
    "answer",
    [
        {"failed": True},
        {"failed": True, "msg": "boom", "reason": "invented"},
        {"failed": True, "msg": "", "detail": None},
    ],
)
@pytest.mark.reaches("unexpected", when="answer0")
def test_a_failure_without_a_reason_of_ours_is_unexpected(answer: dict[str, t.Any]) -> None:
    result = harness.run(node_info.ActionModule, {}, lambda _: answer)
    assert (result["reason"], result["exit_code"], result["detail"]) == ("unexpected", 1, {})


@pytest.mark.parametrize("module", MODULES)
def test_a_task_cannot_set_what_the_action_alone_tells_the_node(module: str) -> None:
    documented = load_yaml((_collection.ROOT / "plugins" / "modules" / f"{module}.yml").read_text(encoding="utf-8"))[
        "DOCUMENTATION"
    ]
    assert [name for name in _collection.argument_spec(module) if name.startswith("_")] == []
    assert all(
        "refused in a task" in option["description"]
        for name, option in documented["options"].items()
        if name.startswith("_")
    )


def test_an_internal_option_in_a_task_is_refused_before_the_node_is_called() -> None:
    result = harness.run(database_window.ActionModule, {**WINDOW, "_operation": "start"})
    assert (result["reason"], result["exit_code"]) == ("invalid_variable", 3)
    assert "_operation" in result["message"]


HELD = {"state": "held", "run_id": "r"}


@pytest.mark.parametrize("wrong", [{}, {"state": "hold"}, {**HELD, "hold_second": 5}, {**HELD, "hold_seconds": "x"}])
def test_wrong_arguments_are_refused_before_the_node_is_called(wrong: dict[str, t.Any]) -> None:
    result = harness.run(maintenance_lease.ActionModule, wrong)
    assert (result["reason"], result["exit_code"]) == ("invalid_variable", 3)
    assert result["message"].startswith("module maintenance_lease: ")


def test_a_misspelled_variable_does_not_prevent_the_start_of_a_service() -> None:
    result = harness.run(
        maintenance_lease.ActionModule,
        {"state": "released", "run_id": "r"},
        lambda arguments: {"changed": True},
        variables={"alteryx_preflight_mod": "full"},
    )
    assert result["changed"] is True


def test_a_misspelled_variable_is_refused_by_what_a_playbook_asks_first() -> None:
    result = harness.run(node_info.ActionModule, {}, variables={"alteryx_preflight_mod": "full"})
    assert result["reason"] == "unknown_variable"
    assert "alteryx_preflight_mode" in result["message"]


@pytest.mark.parametrize("declared", [[], ["alteryx_verify_backup"]])
def test_an_unknown_name_of_e_is_refused_unless_the_operator_has_declared_it(
    monkeypatch: pytest.MonkeyPatch, declared: list[str]
) -> None:
    monkeypatch.setattr(_action, "load_extra_vars", lambda _loader: {"alteryx_verify_backup": "x", "site_x": 1})
    variables = {"alteryx_preflight_other_variables": declared}
    result = harness.run(node_info.ActionModule, {}, lambda _: samples.facts(), variables=variables)
    assert result.get("reason") == (None if declared else "unknown_variable")


@pytest.mark.parametrize(("plugin", "arguments", "reason", "code"), [
    (node_info.ActionModule, {}, "unreachable", 3),
    (maintenance_lease.ActionModule, {"state": "released", "run_id": "r"}, "connection_lost", 1),
])  # fmt: skip
@pytest.mark.parametrize("error", [AnsibleConnectionFailure, AnsibleAuthenticationFailure])
def test_a_node_that_does_not_answer_is_a_failure_so_that_always_still_runs(
    clock: harness.Time,
    plugin: type[_action.NodeAction],
    arguments: dict[str, t.Any],
    reason: str,
    code: int,
    error: type[Exception],
) -> None:
    def silent(_unused: dict[str, t.Any]) -> dict[str, t.Any]:
        raise error("no route\n to host")

    result = harness.run(plugin, arguments, silent)
    assert (result["failed"], result["reason"], result["exit_code"]) == (True, reason, code)
    assert "unreachable" not in result
    assert "no route to host" in result["message"]


def test_an_error_of_a_library_below_the_connection_is_one_of_the_connection() -> None:
    transport = type("ReadTimeout", (Exception,), {"__module__": "requests.exceptions"})

    def silent(_unused: dict[str, t.Any]) -> dict[str, t.Any]:
        try:
            raise transport("timed out")
        except transport as error:
            raise RuntimeError("wrapped") from error

    assert harness.run(node_info.ActionModule, {}, silent)["reason"] == "unreachable"


def test_a_shell_that_ended_before_it_read_its_input_is_lost_and_its_command_is_not_shown() -> None:
    def silent(_unused: dict[str, t.Any]) -> dict[str, t.Any]:
        raise AnsibleError(
            "winrm send_input failed; \nstdout: \nstderr host: cannot start PowerShell -EncodedCommand "
            f"{'ABCD' * 2000}: error 1359"
        )

    result = harness.run(node_info.ActionModule, {}, silent)
    assert result["reason"] == "unreachable"
    assert result["message"].endswith("... (8001 characters) error 1359")


def test_a_bug_is_not_dressed_up_as_a_failure_of_the_node() -> None:
    def buggy(_unused: dict[str, t.Any]) -> dict[str, t.Any]:
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
    assert "guard.ps1" in json.loads(calls[0]["_code"])
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
        return {
            "start": {},
            "poll": {"status": status, "log": "", "log_offset": 0, "result": json.dumps(ended)},
            "discard": {},
        }[operation]


def test_lost_connections_while_polling_are_borne(clock: harness.Time, capsys: pytest.CaptureFixture[str]) -> None:
    node = Flaky({"poll": [LOST, {"failed": True, "msg": "winrm send_input failed"}, LOST]})
    result = harness.run(database_window.ActionModule, WINDOW, node)
    assert result["reason"] == "dump_failed"
    assert node.operations == ["start", "poll", "poll", "poll", "poll", "discard"]
    assert clock.now == 5000 + 1 + 2 + 4
    assert capsys.readouterr().out.count("the job continues there") == 3


def test_what_the_node_knows_about_its_job_is_no_connection_trouble(clock: harness.Time) -> None:
    node = Flaky({"poll": [{"failed": True, "reason": "job_died", "msg": "gone"}]})
    assert harness.run(database_window.ActionModule, WINDOW, node)["reason"] == "job_died"
    assert node.operations == ["start", "poll"]


ABSENT = {"failed": True, "reason": "job_lost", "msg": "the job is not on this node"}
BROKEN = {"failed": True, "msg": "the module broke"}


@pytest.mark.parametrize("trouble", [LOST, BROKEN])
def test_a_start_without_an_answer_is_not_repeated_but_looked_for(
    clock: harness.Time, trouble: Exception | dict[str, t.Any]
) -> None:
    node = Flaky({"start": [trouble]})
    assert harness.run(database_window.ActionModule, WINDOW, node)["reason"] == "dump_failed"
    assert node.operations == ["start", "poll", "discard"]


@pytest.mark.parametrize(("trouble", "said"), [(LOST, "lost"), (BROKEN, "the module broke")])
def test_a_start_that_came_to_nothing_is_a_failure_that_names_the_cause(
    clock: harness.Time, trouble: Exception | dict[str, t.Any], said: str
) -> None:
    node = Flaky({"start": [trouble], "poll": [ABSENT] * 100})
    result = harness.run(database_window.ActionModule, WINDOW, node)
    assert (result["failed"], result["reason"], result["exit_code"]) == (True, "job_not_started", 1)
    assert said in result["message"]
    assert node.operations.count("start") == 1
    assert set(node.operations) == {"start", "poll"}


@pytest.mark.parametrize("trouble", [LOST, BROKEN, {"failed": True, "reason": "job_lost", "msg": "gone"}])
def test_a_folder_that_cannot_be_discarded_does_not_change_the_result(
    clock: harness.Time, trouble: Exception | dict[str, t.Any]
) -> None:
    node = Flaky({"discard": [trouble]})
    assert harness.run(database_window.ActionModule, WINDOW, node)["reason"] == "dump_failed"
    assert node.operations.count("discard") == 1


def test_what_the_node_refuses_at_the_start_is_no_connection_trouble(clock: harness.Time) -> None:
    node = Flaky({"start": [{"failed": True, "reason": "job_exists", "msg": "a job is there already"}]})
    assert harness.run(database_window.ActionModule, WINDOW, node)["reason"] == "job_exists"
    assert node.operations == ["start"]


def test_a_bug_while_polling_is_not_dressed_up(clock: harness.Time) -> None:
    with pytest.raises(KeyError):
        harness.run(database_window.ActionModule, WINDOW, Flaky({"poll": [KeyError("bug")]}))


RELEASE = {"state": "released", "run_id": "r"}


class Silent:
    """A node that cannot be reached for so many seconds."""

    def __init__(self, clock: harness.Time, seconds: float, error: Exception = LOST) -> None:
        self.clock, self.until, self.error = clock, clock.now + seconds, error
        self.calls: list[float] = []

    def __call__(self, arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        self.calls.append(self.clock.now)
        if self.clock.now < self.until:
            raise self.error
        return {"changed": True}


def test_the_release_of_a_lease_outlasts_a_lost_connection(
    clock: harness.Time, capsys: pytest.CaptureFixture[str]
) -> None:
    node = Silent(clock, 20)
    result = harness.run(maintenance_lease.ActionModule, RELEASE, node)
    assert (result.get("failed"), result["changed"]) == (None, True)
    pauses = [later - earlier for earlier, later in itertools.pairwise(node.calls)]
    assert pauses == [1.0, 2.0, 4.0, 8.0, 15.0]
    assert capsys.readouterr().out.count("no answer, asking again") == len(pauses)


def test_patience_has_an_end_and_does_not_wait_beyond_it(clock: harness.Time) -> None:
    result = harness.run(maintenance_lease.ActionModule, RELEASE, Silent(clock, 10_000))
    assert (result["failed"], result["reason"]) == (True, "connection_lost")
    assert 40 <= clock.now - 5000 <= 60


@pytest.mark.parametrize(("plugin", "arguments"), [
    (maintenance_lease.ActionModule, {"state": "held", "run_id": "r", "hold_seconds": 5}), (node_info.ActionModule, {}),
    (database_window.ActionModule, {"state": "cancelled", "run_id": "r"}),
])  # fmt: skip
def test_what_may_not_happen_twice_or_need_not_is_asked_once(
    clock: harness.Time, plugin: type[_action.NodeAction], arguments: dict[str, t.Any]
) -> None:
    node = Silent(clock, 10_000)
    assert harness.run(plugin, arguments, node)["failed"] is True
    assert len(node.calls) == 1


def test_patience_is_for_connections_only(clock: harness.Time) -> None:
    node = Silent(clock, 10, KeyError("bug"))
    with pytest.raises(KeyError):
        harness.run(maintenance_lease.ActionModule, RELEASE, node)
    refusals: list[int] = []

    def refuses(_unused: dict[str, t.Any]) -> dict[str, t.Any]:
        refusals.append(1)
        return {"failed": True, "reason": "service_not_restored", "msg": "it is Stopped"}

    assert harness.run(maintenance_lease.ActionModule, RELEASE, refuses)["reason"] == "service_not_restored"
    assert (len(node.calls), len(refusals)) == (1, 1)


UTC_NODE = datetime(2026, 9, 1, 2, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(("asked", "answered", "off"), [
    # The node looked at its clock somewhere in between; only what is outside counts.
    (-5, 5, 0.0), (0, 0, 0.0), (-90, -80, 80.0), (80, 95, -80.0), (-3600, 10, 0.0), (3600, 3610, -3600.0),
])  # fmt: skip
def test_the_clock_of_a_node_is_off_by_what_the_call_cannot_explain(
    monkeypatch: pytest.MonkeyPatch, asked: int, answered: int, off: float
) -> None:
    moments = [UTC_NODE + timedelta(seconds=asked), UTC_NODE + timedelta(seconds=answered)]
    monkeypatch.setattr(
        node_info, "datetime", SimpleNamespace(now=lambda _: moments.pop(0), fromisoformat=datetime.fromisoformat)
    )
    result = harness.run(node_info.ActionModule, {}, lambda _: samples.facts(system__utc="2026-09-01T02:00:00.000Z"))
    assert result["clock_off"] == off


def test_the_fleets_are_the_direct_children_with_all_their_hosts(tmp_path: Path) -> None:
    text = (
        "all: {children: {alteryx: {children: {"
        "alteryx_prod: {children: {deep: {hosts: {a: {}}}}, hosts: {b: {}}}, alteryx_lab: {hosts: {c: {}}}}}}}"
    )
    variables = harness.inventory(tmp_path, text)
    assert _inventory.direct_child_groups(variables, "alteryx") == {"alteryx_prod": {"a", "b"}, "alteryx_lab": {"c"}}
    assert _inventory.direct_child_groups(variables, "nobody") == {}


def test_the_version_is_that_of_galaxy_yml() -> None:
    assert re.search(
        rf"(?m)^version: [\"']?{re.escape(_collection.version())}[\"']?$", (_collection.ROOT / "galaxy.yml").read_text()
    )


def test_the_sample_results_name_what_the_modules_document() -> None:
    assert set(samples.steps()["archive"]) <= {*_returned("backup_archive")}
    assert set(samples.steps()["window"]) <= {*_returned("database_window")}
    assert set(samples.steps()["lock"]) <= {*_returned("run_lock")}
    assert set(samples.steps()["gate"]) <= {*_returned("window_gate")}
    assert set(samples.facts()) <= {*_returned("node_info")}


def test_the_sample_steps_are_those_the_report_asks_for_in_their_order() -> None:
    given = list(samples.steps())
    assert [step for step in STEPS if step in given] == given
    # A good run must show these; the sample does not include the results for a fleet, for paused schedules or for
    # copies.
    proving = {step.name for step in STEPS.values() if step.lacks is not Step.lacks}
    assert proving - set(given) == {"stop", "resume", "copy"}


def _returned(module: str) -> set[str]:
    text = (_collection.ROOT / "plugins" / "modules" / f"{module}.yml").read_text(encoding="utf-8")
    return set(re.findall(r"(?m)^  (\w+):$", text.partition("\nRETURN:")[2])) | {"changed"}


@pytest.mark.reaches("space_short", when="short")
@pytest.mark.parametrize("short", [pytest.param(0, id="enough"), pytest.param(1, id="short")])
def test_a_node_is_measured_again_after_a_deletion_for_room(short: int) -> None:
    facts = samples.facts()
    free = facts["folders"][0]["free_bytes"]
    asked = {"folders": ["D:\\a"], "room": {"volume": "D:\\", "bytes": free + short}}
    result = harness.run(node_info.ActionModule, asked, lambda _: {**facts, "folders": facts["folders"][:1]})
    assert result.get("reason", "") == ("space_short" if short else "")
    assert not short or f"has {free} bytes free, needed are {free + 1} bytes, after retention" in result["message"]

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The exit code that the caller of ansible-playbook sees."""

from __future__ import annotations

import json
import os
import signal
import typing as t
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.alteryx_ops.server_backup.plugins.callback.exit_code import CallbackModule
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._collection import NAME, ROOT
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import EXIT_CODES, REASONS
from tests.unit.plugins import samples


def task_result(**fields: t.Any) -> SimpleNamespace:
    """What ansible-core hands to a callback, as far as this one looks at it."""
    return SimpleNamespace(result=fields, _result=fields)


def of_host(host: str, action: str = f"{NAME}.backup_info", **fields: t.Any) -> SimpleNamespace:
    """A result with its task and host."""
    result = task_result(**fields)
    result.task, result.host = SimpleNamespace(action=action, register=""), SimpleNamespace(get_name=lambda: host)
    return result


def judged(code: int, **fields: t.Any) -> SimpleNamespace:
    """The outcome, which is known some tasks before the operator sees it."""
    return task_result(outcome={"verdict": "FAILED" if code else "OK", "exit_code": code}, **fields)


def reported(code: int) -> SimpleNamespace:
    return judged(code, directory="/reports/Full_20260901_020000_7f3a")


def asked(**fields: t.Any) -> SimpleNamespace:
    """The first step of a backup."""
    result = of_host("node1", f"{NAME}.backup_request", request=samples.request_fields(), **fields)
    result.task.register = "alteryx_preflight_request"
    return result


def ended(callback: CallbackModule) -> int | None:
    """The code the run ends with; None when Ansible's own stays."""
    try:
        callback.v2_playbook_on_stats(None)
    except SystemExit as end:
        return t.cast(int, end.code)
    return None


def test_a_run_without_failures_keeps_ansibles_own_code() -> None:
    callback = CallbackModule()
    callback.v2_runner_on_ok(task_result(changed=True))
    assert ended(callback) is None


def test_a_playbook_of_ours_of_which_no_task_ran_does_not_end_green(capsys: pytest.CaptureFixture[str]) -> None:
    play = SimpleNamespace(check_mode=False, get_path=lambda: f"{ROOT}/playbooks/topology.yml:9")
    callback = CallbackModule()
    callback.v2_playbook_on_play_start(play)
    assert ended(callback) == 1
    assert "no task ran. Run the playbook again without --tags" in " ".join(capsys.readouterr().err.split())
    for action, code in (("ansible.builtin.validate_argument_spec", 1), (f"{NAME}.node_info", None)):
        callback = CallbackModule()
        callback.v2_playbook_on_play_start(play)
        callback.v2_playbook_on_task_start(SimpleNamespace(action=action), False)
        assert ended(callback) == code
    # Others may do as they like.
    assert ended(CallbackModule()) is None


@pytest.mark.parametrize("register", ["alteryx_preflight_request", {"alteryx_preflight_request": "x"}], ids=str)
def test_a_backup_that_ends_without_its_report_does_not_end_green(
    capsys: pytest.CaptureFixture[str], register: object
) -> None:
    callback = CallbackModule()
    callback.v2_playbook_on_play_start(SimpleNamespace(get_path=lambda: f"{ROOT}/playbooks/full_backup.yml:5"))
    result = of_host("node1", f"{NAME}.backup_request", request={"mode": "full"})
    # ansible-core 2.21 has a mapping.
    result.task.register = register
    callback.v2_runner_on_ok(result)
    assert ended(callback) == 1
    assert "exit code 1 (run_incomplete): " in capsys.readouterr().err


def test_a_backup_that_is_judged_and_not_reported_does_not_end_green(capsys: pytest.CaptureFixture[str]) -> None:
    callback = CallbackModule()
    callback.v2_playbook_on_play_start(SimpleNamespace(get_path=lambda: f"{ROOT}/playbooks/full_backup.yml:5"))
    callback.v2_runner_on_ok(asked())
    callback.v2_runner_on_ok(judged(0))
    assert ended(callback) == 1
    assert "exit code 1 (run_incomplete): " in capsys.readouterr().err


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> t.Callable[[CallbackModule], list[int]]:
    """Interrupts a run; the answer is the exit codes of its process."""

    def end(callback: CallbackModule) -> list[int]:
        ends: list[int] = []
        monkeypatch.setattr(os, "_exit", ends.append)
        monkeypatch.setattr(signal, "signal", lambda number, handler: None)
        with pytest.raises(KeyboardInterrupt):
            callback._interrupt(signal.SIGINT, None)
        callback._end_without_report()
        return ends

    return end


@pytest.mark.parametrize(("last", "code"), [(judged(0), 9), (reported(0), None)], ids=["judged", "reported"])
def test_a_backup_is_reported_as_interrupted_unless_its_report_is_written(
    interrupt: t.Callable[[CallbackModule], list[int]], tmp_path: Path, last: SimpleNamespace, code: int | None
) -> None:
    callback = CallbackModule()
    callback.v2_runner_on_ok(asked(report_directory=str(tmp_path)))
    callback.v2_runner_on_ok(last)
    ends = interrupt(callback)
    outcomes = [json.loads(file.read_text(encoding="utf-8")) for file in tmp_path.glob("*/outcome.json")]
    assert ends == [outcome["exit_code"] for outcome in outcomes] == ([] if code is None else [code])


@pytest.mark.parametrize("answer", ["none", "ok", "failed", "unreachable", "skipped"])
@pytest.mark.parametrize("register", ["alteryx_preflight_lock", {"alteryx_preflight_lock": "x"}], ids=str)
def test_an_interrupted_run_says_of_a_step_that_has_not_answered_that_it_is_not_known(
    interrupt: t.Callable[[CallbackModule], list[int]],
    capsys: pytest.CaptureFixture[str],
    register: object,
    answer: str,
) -> None:
    callback = CallbackModule()
    callback.v2_runner_on_ok(asked())
    result = of_host("node1", f"{NAME}.run_lock")
    result.task = SimpleNamespace(action=f"{NAME}.run_lock", name="Lock the node", register=register)
    callback.v2_runner_on_start(result.host, result.task)
    if answer != "none":
        getattr(callback, f"v2_runner_on_{answer}")(result)
    assert interrupt(callback) == [9]
    said = capsys.readouterr().err
    unknown = ' now      node1: The task "Lock the node" has not answered, so it is not known whether it took effect.'
    # The connection may have been lost after the lock was taken.
    assert (unknown in said) is (answer in ("none", "unreachable"))


@pytest.mark.parametrize("playbook", ["verify_backup.yml", "recover.yml", "full_backup.yml"])
def test_a_playbook_that_is_interrupted_without_a_report_says_what_it_did_and_what_is_next(
    interrupt: t.Callable[[CallbackModule], list[int]], capsys: pytest.CaptureFixture[str], playbook: str
) -> None:
    callback = CallbackModule()
    callback.v2_playbook_on_play_start(SimpleNamespace(get_path=lambda: f"{ROOT}/playbooks/{playbook}:9"))
    task = SimpleNamespace(action=f"{NAME}.run_lock", name="Do it", register="")
    for host in ("node1", "node2"):
        callback.v2_runner_on_start(SimpleNamespace(get_name=lambda host=host: host), task)
    callback.v2_runner_on_ok(of_host("node2"))
    assert interrupt(callback) == [9]
    now, then, end = capsys.readouterr().err.splitlines()[1:]
    assert now.startswith(f' now      {playbook} was interrupted in the task "Do it" (node1). If it has started a job')
    assert then.startswith(f" next     Run {playbook} again. ")
    assert end == "exit code 9 (run_interrupted): the run was interrupted before it ended"


def test_the_interruption_of_a_playbook_of_others_stays_as_it_is(
    interrupt: t.Callable[[CallbackModule], list[int]], capsys: pytest.CaptureFixture[str]
) -> None:
    callback = CallbackModule()
    callback.v2_playbook_on_play_start(SimpleNamespace(get_path=lambda: "/other/site.yml:1"))
    assert interrupt(callback) == []
    assert capsys.readouterr().err == ""


def test_a_good_report_ends_green() -> None:
    callback = CallbackModule()
    callback.v2_runner_on_ok(reported(0))
    assert ended(callback) is None


@pytest.mark.parametrize("code", sorted(set(EXIT_CODES) - {0}))
def test_the_code_of_the_report_reaches_the_caller(code: int, capsys: pytest.CaptureFixture[str]) -> None:
    callback = CallbackModule()
    callback.v2_runner_on_failed(task_result(msg="something that came before"))
    callback.v2_runner_on_ok(reported(code))
    assert ended(callback) == code
    # Said on standard error; the last line of standard output belongs to others.
    assert f"exit code {code}: {EXIT_CODES[code].meaning}" in capsys.readouterr().err


@pytest.mark.parametrize("code", sorted(set(EXIT_CODES) - {0}))
def test_a_failed_task_of_ours_carries_its_code_also_without_a_report(code: int) -> None:
    callback = CallbackModule()
    callback.v2_runner_on_failed(task_result(exit_code=code, reason="x"))
    assert ended(callback) == code


def test_the_last_line_names_the_reason_of_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    callback = CallbackModule()
    callback.v2_runner_on_failed(task_result(exit_code=8, reason="run_locked"))
    callback.v2_runner_on_failed(task_result(exit_code=3, reason="space_short"))
    assert ended(callback) == 8
    assert "exit code 8 (run_locked): another run" in capsys.readouterr().err
    callback.v2_runner_on_ok(task_result(outcome={"exit_code": 7, "reason": "service_not_restored"}))
    assert ended(callback) == 7
    assert "exit code 7 (service_not_restored): " in capsys.readouterr().err


def test_a_playbook_without_a_report_names_at_its_end_nodes_reasons_and_the_next_action(
    capsys: pytest.CaptureFixture[str],
) -> None:
    callback = CallbackModule()
    for number in range(10):
        callback.v2_runner_on_failed(of_host("x", exit_code=3, reason="unreachable", node=f"node{number}"))
    callback.v2_runner_on_failed(of_host("node1", argument_errors=["no"]))
    assert ended(callback) == 3
    said = capsys.readouterr().err.splitlines()
    assert said[-5:-1] == [
        " failed   node0, node1, node2, node3, node4, node5, node6, node7 and 2 more [unreachable]",
        " failed   node1 [invalid_variable]",
        f" next     {REASONS['unreachable'].hint}",
        f" next     {REASONS['invalid_variable'].hint}",
    ]


def test_a_failure_that_the_summary_does_not_name_is_named_below_it(capsys: pytest.CaptureFixture[str]) -> None:
    callback = CallbackModule()
    for reason in ("dump_failed", "folder_untrusted"):
        callback.v2_runner_on_failed(of_host("node1", exit_code=1, reason=reason, node="node1"))
    callback.v2_runner_on_ok(task_result(outcome={"exit_code": 5, "failures": [{"node": "", "reason": "dump_failed"}]}))
    assert ended(callback) == 5
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if line.startswith(" ")] == [
        " failed   node1 [folder_untrusted]",
        f" next     {REASONS['folder_untrusted'].hint}",
    ]


@pytest.mark.parametrize("report", ["backup_report", "restore_report"])
def test_what_the_summary_of_a_run_says_is_not_said_again(report: str, capsys: pytest.CaptureFixture[str]) -> None:
    callback = CallbackModule()
    callback.v2_runner_on_failed(of_host("node1", f"{NAME}.{report}", exit_code=1, reason="hook_failed", node="node1"))
    assert ended(callback) == 1
    assert [line for line in capsys.readouterr().err.splitlines() if line.startswith(" ")] == []


def test_a_failed_task_of_others_is_general() -> None:
    callback = CallbackModule()
    callback.v2_runner_on_failed(task_result(msg="no"))
    assert ended(callback) == 1


def test_an_ignored_failure_does_not_count() -> None:
    callback = CallbackModule()
    callback.v2_runner_on_failed(task_result(exit_code=5), ignore_errors=True)
    assert ended(callback) is None


def test_an_unreachable_node_is_3_unless_the_report_knows_better() -> None:
    callback = CallbackModule()
    callback.v2_runner_on_unreachable(task_result(msg="no route"))
    assert ended(callback) == 3
    callback.v2_runner_on_ok(reported(7))
    assert ended(callback) == 7


def test_no_hosts_matched_does_not_end_green(capsys: pytest.CaptureFixture[str]) -> None:
    callback = CallbackModule()
    callback.v2_playbook_on_no_hosts_matched()
    assert ended(callback) == 3
    assert "--limit" in " ".join(capsys.readouterr().err.split())


def test_a_failure_after_a_good_report_counts() -> None:
    callback = CallbackModule()
    callback.v2_runner_on_ok(reported(0))
    callback.v2_runner_on_failed(task_result(exit_code=4))
    assert ended(callback) == 4


def late(*nodes: str, code: int = 2) -> SimpleNamespace:
    """A report that has seen the services of these nodes start again after their window had failed."""
    failures = [{"node": node, "reason": "service_restored_late", "exit_code": 2} for node in nodes]
    return task_result(outcome={"verdict": "FAILED", "exit_code": code, "failures": failures})


def test_a_service_that_came_back_after_its_window_had_given_up_is_2() -> None:
    callback = CallbackModule()
    callback.v2_runner_on_failed(task_result(exit_code=7, node="node1"))
    callback.v2_runner_on_ok(late("node1"))
    callback.v2_runner_on_ok(late("node1"))
    assert ended(callback) == 2


def test_the_7_of_another_node_or_of_after_the_report_stays() -> None:
    callback = CallbackModule()
    callback.v2_runner_on_failed(task_result(exit_code=7, node="node2"))
    callback.v2_runner_on_ok(late("node1"))
    assert ended(callback) == 7
    callback = CallbackModule()
    callback.v2_runner_on_ok(late("node1"))
    callback.v2_runner_on_failed(task_result(exit_code=7, node="node1"))
    assert ended(callback) == 7


def test_exit_code_7_of_the_report_is_kept() -> None:
    callback = CallbackModule()
    callback.v2_runner_on_failed(task_result(exit_code=7, node="node1"))
    callback.v2_runner_on_ok(late("node1", code=7))
    assert ended(callback) == 7


def test_the_last_report_is_the_one_that_counts() -> None:
    callback = CallbackModule()
    callback.v2_runner_on_ok(reported(0))
    callback.v2_runner_on_ok(reported(4))
    assert ended(callback) == 4


def test_results_of_ansible_core_without_the_public_field_are_read_too() -> None:
    callback = CallbackModule()
    callback.v2_runner_on_failed(SimpleNamespace(_result={"exit_code": 8}))
    assert ended(callback) == 8


EVENTS = st.lists(
    st.tuples(st.sampled_from(["failed", "ignored", "report", "unreachable"]), st.sampled_from(sorted(EXIT_CODES)))
)


@given(EVENTS)
def test_a_7_anywhere_is_a_7_at_the_end(events: list[tuple[str, int]]) -> None:
    callback = CallbackModule()
    for kind, code in events:
        if kind == "report":
            callback.v2_runner_on_ok(reported(code))
        elif kind == "unreachable":
            callback.v2_runner_on_unreachable(task_result())
        else:
            callback.v2_runner_on_failed(task_result(exit_code=code), ignore_errors=kind == "ignored")
    reports = [code for kind, code in events if kind == "report"]
    counted = [code for kind, code in events if kind == "failed"] + reports[-1:]
    end = ended(callback)
    assert (end == 7) is (7 in counted)
    assert (end is None) is not (any(counted) or any(kind == "unreachable" for kind, _unused in events))


def test_arguments_that_a_role_refuses_are_validation_and_the_nearest_name_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    callback = CallbackModule()
    callback.v2_runner_on_failed(
        task_result(
            argument_errors=["Unsupported parameters: alteryx_archive_directry"], msg="Validation of arguments failed"
        )
    )
    assert ended(callback) == 3
    assert "did you mean alteryx_archive_directory?" in " ".join(capsys.readouterr().err.split())

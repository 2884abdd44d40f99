# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the stdout callback prints of a result. tests/integration/test_screen.py has whole runs."""

from __future__ import annotations

import threading
import typing as t
from types import SimpleNamespace

import pytest
from ansible import context
from ansible.plugins.loader import callback_loader

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._collection import NAME, ROOT
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import REASONS

OURS = f"{ROOT}/roles/alteryx_window/tasks/window.yml:5"
THEIRS = "/srv/ansible/before_window.yml:1"
HINT = REASONS["space_short"].hint


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> t.Any:
    """The callback, in a play, as the ansible.cfg of the playbooks sets it."""
    monkeypatch.setattr(context, "CLIARGS", {"check": False})
    callback = callback_loader.get(f"{NAME}.screen")
    callback.set_options(direct={"display_skipped_hosts": False})
    callback._has_last_lines = False
    callback._display.verbosity = 0
    callback.v2_playbook_on_play_start(
        SimpleNamespace(get_name=lambda: "Backup", check_mode=False, strategy="ansible.builtin.linear")
    )
    yield callback
    callback._display.verbosity = 0
    vars(callback._display).pop("display", None)


def make_task(action: str, path: str = OURS, name: str = "Do it", **fields: t.Any) -> SimpleNamespace:
    defaults = {"when": [], "loop": None, "no_log": False, "args": {}, "check_mode": False, "delegate_to": None}
    task = SimpleNamespace(action=action, **{**defaults, **fields})
    task._uuid = str(id(task))
    task.get_path, task.get_name = lambda: path, lambda: name
    return task


def make_result(task: SimpleNamespace, host: str = "node1", **fields: t.Any) -> SimpleNamespace:
    return SimpleNamespace(task=task, host=SimpleNamespace(get_name=lambda: host), result=fields)


def failure(message: str = "5 GB are free", host: str = "node1", **fields: t.Any) -> SimpleNamespace:
    """The result of a step of ours that has failed."""
    told = {"reason": "space_short", "message": message, "hint": HINT, "exit_code": 3, "node": host, "detail": {"a": 1}}
    told["msg"] = f"{host}: {message}. {HINT}"
    return make_result(make_task(f"{NAME}.database_window"), host, exception="(a trace)", **{**told, **fields})


def body(capsys: pytest.CaptureFixture[str]) -> str:
    """What was printed, without names of plays and tasks."""
    lines = capsys.readouterr().out.splitlines()
    return "\n".join(line for line in lines if line and not line.startswith(("PLAY ", "TASK ")))


def test_a_failure_of_ours_is_a_sentence_and_what_to_do_next(screen: t.Any, capsys: pytest.CaptureFixture[str]) -> None:
    screen.v2_runner_on_failed(failure())
    assert body(capsys) == f"fatal: [node1]: FAILED! => 5 GB are free [space_short]\n next     {HINT}"


def test_what_the_last_lines_say_to_do_next_is_not_printed_with_the_failure(
    screen: t.Any, capsys: pytest.CaptureFixture[str]
) -> None:
    screen._has_last_lines = True
    screen.v2_runner_on_failed(failure())
    assert body(capsys) == "fatal: [node1]: FAILED! => 5 GB are free [space_short]"
    # The summary is above this failure, and does not name it.
    of_report = failure("the folder is read-only")
    of_report.task.action = f"{NAME}.backup_report"
    screen.v2_runner_on_failed(of_report)
    assert body(capsys).endswith(f"the folder is read-only [space_short]\n next     {HINT}")


def test_a_failure_that_a_task_of_ours_accepts_is_not_called_ok(
    screen: t.Any, capsys: pytest.CaptureFixture[str]
) -> None:
    screen.v2_runner_on_ok(failure("the password was refused", failed_when_result=False))
    assert body(capsys) == "no answer: [node1] => the password was refused [space_short]"
    screen.v2_runner_on_ok(failure(failed_when_result=False, reason=""))
    assert body(capsys) == "ok: [node1]"


def test_a_failure_that_one_host_tells_of_another_names_that(screen: t.Any, capsys: pytest.CaptureFixture[str]) -> None:
    screen.v2_runner_on_failed(failure(node="node2"))
    assert "fatal: [node1]: FAILED! => node2: 5 GB are free [space_short]" in body(capsys)


def test_what_is_on_the_screen_is_not_repeated(screen: t.Any, capsys: pytest.CaptureFixture[str]) -> None:
    screen.v2_runner_on_failed(failure())
    screen.v2_runner_on_failed(failure("fleet a: 5 GB are free"))
    screen.v2_runner_on_failed(failure(host="node2"))
    screen.v2_runner_on_failed(failure("6 GB are free", host="node2"))
    assert body(capsys).splitlines() == [
        "fatal: [node1]: FAILED! => 5 GB are free [space_short]",
        f" next     {HINT}",
        "fatal: [node1]: FAILED! => fleet a: as printed above [space_short]",
        "fatal: [node2]: FAILED! => the same as on node1 [space_short]",
        "fatal: [node2]: FAILED! => 6 GB are free [space_short]",
    ]


def test_with_v_a_failure_of_ours_is_printed_as_ansible_does(screen: t.Any, capsys: pytest.CaptureFixture[str]) -> None:
    screen._display.verbosity = 1
    screen.v2_runner_on_failed(failure())
    assert '"exit_code": 3' in body(capsys)


@pytest.mark.parametrize(
    ("action", "path", "fields"),
    [
        pytest.param("ansible.builtin.fail", THEIRS, {"msg": "no"}, id="a task of the operator"),
        pytest.param("ansible.builtin.uri", THEIRS, {"msg": "no", "reason": "x", "message": "y"}, id="with our keys"),
        pytest.param("ansible.builtin.validate_argument_spec", THEIRS, {"argument_errors": ["no"]}, id="another role"),
        pytest.param(f"{NAME}.node_info", OURS, {"msg": "no"}, id="ours without a reason"),
        pytest.param(
            "ansible.builtin.command", OURS, {"msg": "no", "rc": 1}, id="a module of others in a role of ours"
        ),
        pytest.param(f"{NAME}.node_info", OURS, {"censored": "no_log"}, id="a hidden result"),
    ],
)
def test_every_other_failure_is_printed_whole(
    screen: t.Any, capsys: pytest.CaptureFixture[str], action: str, path: str, fields: dict[str, t.Any]
) -> None:
    screen.v2_runner_on_failed(make_result(make_task(action, path), **fields, more="this too"))
    printed = body(capsys)
    assert printed.startswith("fatal: [node1]: FAILED! => {")
    for key, value in {**fields, "more": "this too"}.items():
        assert f'"{key}": ' in printed
        assert str(value).strip("[]'") in printed


def test_an_unreachable_host_is_printed_whole(screen: t.Any, capsys: pytest.CaptureFixture[str]) -> None:
    task = make_task(f"{NAME}.node_info", ignore_unreachable=False)
    screen.v2_runner_on_unreachable(make_result(task, msg="no route", unreachable=True))
    assert body(capsys) == 'fatal: [node1]: UNREACHABLE! => {"msg": "no route", "unreachable": true}'


def test_values_that_a_role_refuses_are_a_sentence(screen: t.Any, capsys: pytest.CaptureFixture[str]) -> None:
    task = make_task("ansible.builtin.validate_argument_spec", "", f"{NAME}.alteryx_catalogue : Validating")
    screen.v2_runner_on_failed(make_result(task, argument_errors=["no such mode"], argument_spec_data={"mode": {}}))
    assert body(capsys).splitlines() == [
        "fatal: [node1]: FAILED! => no such mode [invalid_variable]",
        f" next     {REASONS['invalid_variable'].hint}",
    ]


def test_the_words_of_a_failed_task_of_the_operator_are_printed_once_by_us(
    screen: t.Any, capsys: pytest.CaptureFixture[str]
) -> None:
    screen.v2_runner_on_failed(make_result(make_task("ansible.builtin.fail", THEIRS), msg="the balancer says no"))
    ours = make_task("ansible.builtin.fail")
    screen.v2_runner_on_failed(make_result(ours, msg="before.yml, task Take it out: the balancer says no"))
    assert body(capsys).splitlines()[1:] == [
        "fatal: [node1]: FAILED! => before.yml, task Take it out: as printed above"
    ]


NOTHING = [
    pytest.param(make_task("ansible.builtin.validate_argument_spec", "", f"{NAME}.x : Validating"), id="a check"),
    pytest.param(make_task(f"{NAME}.run_stats"), id="what AWX needs"),
    pytest.param(make_task("ansible.builtin.include_tasks"), id="an include"),
]


@pytest.mark.parametrize("task", NOTHING)
def test_what_does_nothing_is_not_printed(
    screen: t.Any, capsys: pytest.CaptureFixture[str], task: SimpleNamespace
) -> None:
    capsys.readouterr()
    screen.v2_playbook_on_task_start(task, False)
    screen.v2_runner_on_ok(make_result(task))
    screen.v2_playbook_on_include(SimpleNamespace(_task=task, _filename="x.yml", _hosts=[], _vars={}))
    assert capsys.readouterr().out == ""


def test_the_name_of_a_task_stands_above_what_it_says(screen: t.Any, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    screen.v2_playbook_on_task_start(make_task(f"{NAME}.node_info"), False)
    assert "TASK [Do it]" in capsys.readouterr().out
    screen.v2_playbook_on_task_start(make_task(f"{NAME}.node_info", when=["it is so"]), False)
    screen.v2_playbook_on_task_start(make_task("ansible.builtin.ping", THEIRS), False)
    assert capsys.readouterr().out == ""


def tell(screen: t.Any, text: str, **options: t.Any) -> None:
    """Prints a text as Ansible does for an action plugin: in the thread that reads the answers of the workers."""
    thread = threading.Thread(target=lambda: screen._display.display(text, **options))
    thread.start()
    thread.join()


def test_the_name_of_a_task_with_a_condition_stands_once_above_what_its_hosts_say(
    screen: t.Any, capsys: pytest.CaptureFixture[str]
) -> None:
    screen.v2_playbook_on_start(SimpleNamespace(_file_name="x.yml"))
    capsys.readouterr()
    task = make_task(f"{NAME}.backup_archive", when=["it is so"])
    screen.v2_playbook_on_task_start(task, False)
    tell(screen, "[WARNING]: a condition can cause this", stderr=True)
    assert capsys.readouterr().out == ""
    tell(screen, "node1: published")
    tell(screen, "node2: published")
    screen.v2_runner_on_ok(make_result(task, changed=True))
    lines = [line for line in capsys.readouterr().out.splitlines() if line]
    assert [line.partition(" [Do it]")[0] for line in lines] == [
        "TASK",
        "node1: published",
        "node2: published",
        "changed: [node1]",
    ]


def test_a_text_does_not_name_a_task_of_others_or_one_that_has_ended(
    screen: t.Any, capsys: pytest.CaptureFixture[str]
) -> None:
    screen.v2_playbook_on_start(SimpleNamespace(_file_name="x.yml"))
    screen.v2_playbook_on_task_start(make_task(f"{NAME}.node_info", when=["it is so"]), False)
    screen.v2_playbook_on_task_start(make_task("ansible.builtin.ping", THEIRS, when=["it is so"]), False)
    capsys.readouterr()
    tell(screen, "a text")
    assert capsys.readouterr().out == "a text\n"

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator reads on the screen: each failure where it happens and again at the end, where the next action is;
nothing that is only for us.

The screen is the control node's, so the stand-in does for the nodes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from .kinds import KINDS, STANDIN, WINDOWS
from .lab_of_tests import Lab
from .playbook_run import PlaybookRunner, Run

pytestmark = pytest.mark.parametrize("lab", KINDS if WINDOWS else [STANDIN], indirect=True)

# Keys of results and arguments that mean nothing to an operator.
INTERNAL = re.compile(r"_operation|exit_code\b|invocation|detail\W|argument_spec|_ansible|_job_id|\"msg\"|=> \{")


@pytest.fixture
def workflow(lab: Lab) -> Iterator[None]:
    """A workflow runs on the node."""
    lab.node.start_engine(600)
    yield
    lab.end_engines()


@pytest.fixture
def cut_off(lab: Lab, tmp_path: Path) -> Path:
    """The inventory with a node that does not answer."""
    content = lab.inventory_content()
    content["alteryx"]["children"]["alteryx_lab"]["hosts"][lab.node.name]["ansible_port"] = 1
    file = tmp_path / "inventory.yml"
    file.write_text(json.dumps(content), encoding="utf-8")
    return file


def parts(run: Run) -> tuple[str, str]:
    """What was printed before the summary, and the summary with what follows it."""
    body, separator, summary = run.stdout.partition("\nBACKUP ")
    assert separator, run.output
    return body, summary + run.stderr


@pytest.mark.usefixtures("workflow")
@pytest.mark.reaches("drain_timeout", exit_code=2)
def test_a_failed_step_is_printed_once_and_again_in_the_summary(run_playbook: PlaybookRunner) -> None:
    run = run_playbook("full_backup.yml", extra_vars={"alteryx_window_drain_timeout": 0})
    run.assert_failed(2, "drain_timeout")
    body, summary = parts(run)
    message, hint = run.outcome["message"], run.outcome["hint"]
    assert f"FAILED! => {message} [drain_timeout]\n" in body
    assert [text.count(message) for text in (body, summary)] == [1, 1]
    assert [text.count(hint) for text in (body, summary)] == [0, 1]
    # The last line names the reason beside the exit code.
    assert [text.count("drain_timeout") for text in (body.replace(hint, ""), summary.replace(hint, ""))] == [1, 2]
    assert INTERNAL.findall(run.output.replace(hint, "")) == []


@pytest.mark.reaches("unreachable", exit_code=3)
def test_a_playbook_without_a_report_ends_with_the_node_and_the_next_action(
    lab: Lab, run_playbook: PlaybookRunner, cut_off: Path
) -> None:
    run = run_playbook("list_backups.yml", inventory=[cut_off])
    assert run.rc == 3, run.output
    (line,) = (line for line in run.stdout.splitlines() if line.startswith("fatal: "))
    assert line.startswith(f"fatal: [{lab.node.name}]: FAILED! => ")
    assert line.endswith(" [unreachable]")
    failed, following, code = run.stderr.splitlines()[-3:]
    assert failed == f" failed   {lab.node.name} [unreachable]"
    assert following.startswith(" next     If the message says that the credentials were rejected")
    assert run.stdout.count(following) == 0
    assert code.startswith("exit code 3 (unreachable): ")
    assert INTERNAL.findall(run.output) == []


@pytest.mark.long
@pytest.mark.reaches("invalid_variable", exit_code=3)
def test_a_value_that_a_role_refuses_is_one_sentence(run_playbook: PlaybookRunner) -> None:
    run = run_playbook("list_backups.yml", extra_vars={"alteryx_catalogue_mode": "weekly"})
    assert run.rc == 3, run.output
    assert run.stdout.count("got: weekly [invalid_variable]\n") == 1
    assert run.stderr.count("\n next     Correct the value") == 1
    assert INTERNAL.findall(run.output) == []


@pytest.mark.reaches("hook_failed", exit_code=1)
def test_a_failed_task_of_the_operator_is_printed_whole(run_playbook: PlaybookRunner, tmp_path: Path) -> None:
    file = tmp_path / "before.yml"
    file.write_text(
        "- name: Take it out of the load balancer\n"
        "  ansible.builtin.command: sh -c 'echo the balancer says no >&2; exit 5'\n"
        "  delegate_to: localhost\n"
        "  vars: {ansible_connection: local}\n",
        encoding="utf-8",
    )
    run = run_playbook("full_backup.yml", extra_vars={"alteryx_window_before": str(file)})
    run.assert_failed(1, "hook_failed", message=f"{file}, task Take it out of the load balancer: ")
    body, summary = parts(run)
    assert f"Origin: {file}:1:3" in body
    for words in ('"rc": 5', '"stderr": "the balancer says no"', '"cmd": '):
        assert body.count(words) == 1
    # What we make of it refers to that, and only the summary says it again.
    assert [text.count(run.outcome["message"]) for text in (body, summary)] == [0, 1]
    assert f"FAILED! => {file}, task Take it out of the load balancer: as printed above" in body


@pytest.mark.long
def test_with_v_the_whole_result_is_printed(run_playbook: PlaybookRunner, cut_off: Path) -> None:
    run = run_playbook("list_backups.yml", "-v", inventory=[cut_off])
    assert run.rc == 3, run.output
    assert '"reason": "unreachable"' in run.stdout
    assert "Origin: " in run.output


def test_a_good_run_prints_no_task_that_does_nothing(run_playbook: PlaybookRunner) -> None:
    run = run_playbook("full_backup.yml")
    run.assert_ok()
    banners = re.findall(r"(?m)^TASK \[(.+)\] \*+$", run.stdout)
    # Every task that is named has done something, and said so below its name.
    assert [
        text for text in re.split(r"(?m)^TASK .*\n", run.stdout)[1:] if not re.search(r"(ok|changed): \[", text)
    ] == []
    assert not [name for name in banners if re.search("Validating|AWX|Carry out", name)]
    assert "included: " not in run.stdout
    assert INTERNAL.findall(run.output) == []
    # What a task prints stands below its name.
    for name in ("Stop, dump, start", "Write the archive"):
        assert re.search(rf"{name}\] \*+\n\S+Z .*: ", run.stdout), name
    assert re.search(r"Write and print the report\] \*+\nBACKUP OK", run.stdout)

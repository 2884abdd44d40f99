# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the operator hears of a removal, and under which identity a node is reserved."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.action.node_removal import ActionModule
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible import _action
from tests.unit.plugins.action import harness

FOLDER = r"D:\AlteryxBackups\node1"
ARGUMENTS = {"staging_directory": r"D:\AlteryxStaging", "archive_folder": FOLDER}
ANSWER = {
    "changed": True,
    "removed": [r"the code folder C:\Program Files\AlteryxOps", r"the state folder C:\ProgramData\AlteryxOps"],
    "kept": [r"the staging directory D:\AlteryxStaging stays: it is a drive"],
    "backups": {"folder": FOLDER, "archives": 2, "bytes": 41_200_000},
}


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is shown of the node."""
    lines: list[str] = []
    monkeypatch.setattr(
        "ansible_collections.alteryx_ops.server_backup.plugins.action.node_removal.show_progress",
        lambda host, text: lines.append(f"{host}: {text}"),
    )
    return lines


def remove(
    answer: dict[str, t.Any] | None = None, state: str = "removed", check_mode: bool = False
) -> tuple[dict[str, t.Any], list[dict[str, t.Any]]]:
    """The result, and what the node was asked."""
    asked: list[dict[str, t.Any]] = []

    def node(arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        asked.append(arguments)
        return answer or ANSWER

    return harness.run(ActionModule, {**ARGUMENTS, "state": state}, node, check_mode=check_mode), asked


@pytest.mark.parametrize(("check_mode", "verb"), [(False, "removed"), (True, "would remove")])
def test_every_part_is_named_and_so_is_what_stays(said: list[str], check_mode: bool, verb: str) -> None:
    remove(check_mode=check_mode)
    assert said == [
        rf"node1: {verb} the code folder C:\Program Files\AlteryxOps",
        rf"node1: {verb} the state folder C:\ProgramData\AlteryxOps",
        r"node1: the staging directory D:\AlteryxStaging stays: it is a drive",
        rf"node1: 2 archives stay in {FOLDER} (41.2 MB)",
    ]


def test_a_node_without_anything_of_ours_says_so(said: list[str]) -> None:
    nothing = {"changed": False, "removed": [], "kept": [], "backups": {"folder": FOLDER, "archives": 0, "bytes": 0}}
    remove(nothing)
    assert said == ["node1: nothing of this collection is on the node", f"node1: there are no archives in {FOLDER}"]


@pytest.mark.parametrize("state", ["inspected", "reserved"])
def test_only_the_removal_itself_is_told(said: list[str], state: str) -> None:
    result, _asked = remove(state=state)
    assert said == []
    assert result["removed"] == ANSWER["removed"]


def test_what_is_gone_is_told_although_something_is_left(said: list[str]) -> None:
    failed = {"failed": True, "reason": "removal_incomplete", "msg": "x", "detail": {"removed": ["the code folder"]}}
    result, _asked = remove(failed)
    assert (result["reason"], result["exit_code"]) == ("removal_incomplete", 1)
    assert said == ["node1: removed the code folder"]


def test_all_steps_of_a_run_of_ansible_playbook_have_the_same_identity_which_the_release_needs() -> None:
    runs = [remove(state=state) for state in ("inspected", "reserved", "removed")]
    identities = {result["run_id"] for result, _asked in runs} | {asked[0]["_run_id"] for _result, asked in runs}
    (identity,) = identities
    # The node does not use it as a path, but a name that is valid in paths is safe in every case.
    assert identity.startswith("Removal_")
    assert " " not in identity


@pytest.mark.parametrize(("state", "reason"), [("inspected", "unreachable"), ("removed", "connection_lost")])
def test_a_node_that_does_not_answer_at_first_was_not_touched(state: str, reason: str) -> None:
    def node(arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        raise _action.AnsibleConnectionFailure("no route")

    result = harness.run(ActionModule, {**ARGUMENTS, "state": state}, node)
    assert result["reason"] == reason

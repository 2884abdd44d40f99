# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the job of an extraction is told, what is predicted, and what is removed."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.action.backup_extract import ActionModule
from tests.unit.plugins.action import harness

TARGET = r"C:\AlteryxOps.r\Full_20260902_081500_3c1d"
ARGUMENTS = {
    "folder": r"D:\AlteryxBackups\node1",
    "base_name": "ServerBackup_Full_20260901_020000",
    "target": TARGET,
    "free_reserve": 5_000_000_000,
}
GB = 10**9


class Node:
    """A node that extracts everything."""

    def __init__(self, **answers: t.Any) -> None:
        self.answers = answers
        self.calls: list[dict[str, t.Any]] = []

    def __call__(self, arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        self.calls.append(arguments)
        # A whole number of Ansible's PowerShell has 32 bits.
        assert arguments["free_reserve"] < 2**31
        if arguments["_operation"] != "poll":
            return self.answers
        ended = {"state": "succeeded", "target": TARGET, "entries": 3, "bytes": 4_000}
        status = {"state": "succeeded", "phase": "end", "done_bytes": 0, "total_bytes": 0, "message": ""}
        return {"status": status, "log": "", "log_offset": 0, "result": json.dumps(ended)}


def extract(
    node: Node, check_mode: bool = False, trust: str = "", fleet: dict[str, t.Any] | None = None, **changes: t.Any
) -> dict[str, t.Any]:
    variables = {**(fleet or {}), **({"alteryx_preflight_folder_trust": trust} if trust else {})}
    return harness.run(ActionModule, {**ARGUMENTS, **changes}, node, variables, check_mode)


@pytest.mark.parametrize(("trust", "accepted"), [("", False), ("strict", False), ("warn", True)])
def test_the_job_is_told_what_to_extract_and_where(trust: str, accepted: bool) -> None:
    node = Node()
    result = extract(node, trust=trust, run_id="r")
    assert (result["changed"], result["target"], result["entries"]) == (True, TARGET, 3)
    assert json.loads(node.calls[0]["_spec"]) == {
        "run_id": "r",
        "folder": ARGUMENTS["folder"],
        "base_name": ARGUMENTS["base_name"],
        "target": TARGET,
        "free_reserve": 5_000_000_000,
        "accept_access": accepted,
        "place": None,
    }
    assert [call["_operation"] for call in node.calls] == ["start", "poll", "discard"]


def test_check_mode_looks_and_starts_nothing() -> None:
    node = Node(needed_bytes=GB, free_bytes=7 * GB)
    result = extract(node, check_mode=True)
    assert (result["changed"], result["needed_bytes"], result["free_bytes"]) == (True, GB, 7 * GB)
    assert [call["_operation"] for call in node.calls] == ["look"]


@pytest.mark.reaches("space_short")
def test_check_mode_predicts_that_there_is_no_room() -> None:
    result = extract(Node(needed_bytes=3 * GB, free_bytes=7 * GB), check_mode=True)
    assert (result["failed"], result["reason"]) == (True, "space_short")
    assert "so 1.0 GB are missing" in result["message"]
    assert TARGET in result["message"]


def test_unknown_free_space_does_not_prevent_an_extraction() -> None:
    assert extract(Node(needed_bytes=GB, free_bytes=-1), check_mode=True)["changed"]


@pytest.mark.parametrize("changed", [True, False])
def test_what_was_extracted_is_removed(changed: bool) -> None:
    node = Node(changed=changed)
    result = extract(node, state="absent", folder="", base_name="")
    assert (result["changed"], result["target"]) == (changed, TARGET)
    assert [call["_operation"] for call in node.calls] == ["remove"]


@pytest.mark.reaches("invalid_variable")
def test_a_name_that_is_a_path_is_refused() -> None:
    node = Node()
    result = extract(node, base_name=r"..\other")
    assert (result["reason"], node.calls) == ("invalid_variable", [])
    assert extract(node, base_name="")["reason"] == "invalid_variable"


def test_slashes_are_read_as_backslashes() -> None:
    node = Node()
    extract(node, target=TARGET.replace("\\", "/"))
    assert json.loads(node.calls[0]["_spec"])["target"] == TARGET


NAS = {
    "destination": "nas",
    "destinations": [{"name": "nas", "path": r"\\nas1\ayx", "credential": "svc"}],
    "credentials": {"svc": {"user": r"EXAMPLE\svc", "password": "Pa55word"}},
    "folder": "",
}


@pytest.fixture
def fleet(tmp_path: Path) -> dict[str, t.Any]:
    return harness.inventory(tmp_path, "all: {children: {alteryx: {children: {alteryx_prod: {hosts: {node1: {}}}}}}}")


def test_a_copy_is_extracted_from_the_destination_with_its_account(fleet: dict[str, t.Any]) -> None:
    node = Node()
    result = extract(node, fleet=fleet, **NAS)
    assert result["changed"]
    spec = json.loads(node.calls[0]["_spec"])
    assert (spec["folder"], spec["target"]) == (r"\\nas1\ayx\alteryx_prod\node1", TARGET)
    assert {key: spec["place"][key] for key in ("path", "user", "domain", "password")} == {
        "path": r"\\nas1\ayx",
        "user": "svc",
        "domain": "EXAMPLE",
        "password": "Pa55word",
    }
    # Nowhere else does the password go.
    assert "Pa55word" not in json.dumps([{**call, "_spec": ""} for call in node.calls]) + json.dumps(result)


def test_check_mode_does_not_look_at_a_destination(fleet: dict[str, t.Any]) -> None:
    node = Node()
    result = extract(node, check_mode=True, fleet=fleet, **NAS)
    assert (result["changed"], result["target"], node.calls) == (True, TARGET, [])


@pytest.mark.reaches("invalid_variable")
def test_an_unknown_destination_is_refused_with_those_that_there_are() -> None:
    node = Node()
    result = extract(node, **{**NAS, "destination": "tape"})
    assert (result["reason"], node.calls) == ("invalid_variable", [])
    assert "there is no destination tape; there is nas" in result["message"]

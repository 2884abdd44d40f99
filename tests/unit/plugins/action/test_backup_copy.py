# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node is asked for copies, and what becomes of its answers: of backups that are copied, of destinations that
are tried, listed and read."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.action.backup_copy import ActionModule
from ansible_collections.alteryx_ops.server_backup.plugins.action.backup_info import ActionModule as Info
from ansible_collections.alteryx_ops.server_backup.plugins.action.backup_verify import ActionModule as Verify
from tests.unit.plugins.action import harness
from tests.unit.plugins.action.test_backup_verify import CONFIG, DATABASE, FULL, answer
from tests.unit.plugins.plugin_utils._archive import test_catalogue as samples
from tests.unit.plugins.plugin_utils._copy.test_copies import copy

PASSWORD = "S3cret-of-the-share"
NAS = {"name": "nas", "path": r"\\nas1\ayx", "credential": "nas"}
DISK = {"name": "disk", "path": r"E:\Copies"}
ACCOUNTS = {"nas": {"user": r"EXAMPLE\svc", "password": PASSWORD}}
ARGUMENTS = {
    "folder": rf"{samples.FOLDER}\node1", "fleet": "alteryx_prod", "destinations": [NAS, DISK],
    "credentials": ACCOUNTS,
}  # fmt: skip
INVENTORY = "alteryx: {children: {alteryx_prod: {hosts: {node1: {}}}}}\n"


class Node:
    """A node that knows drive E, and whose job ends in this way."""

    def __init__(self, result: t.Mapping[str, t.Any], **drives: t.Any) -> None:
        self.result = result
        self.drives = drives or {"E": {"exists": True, "share": ""}}
        self.calls: list[dict[str, t.Any]] = []
        self.specs: list[dict[str, t.Any]] = []

    def __call__(self, arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        self.calls.append(arguments)
        operation = arguments.get("_operation")
        if operation is None:
            backups = [samples.backup(name) for name in (CONFIG, FULL)]
            found = samples.facts(*backups, node="node1")
            return {"exists": True, "utc": "2026-09-01T02:00:00.000Z", "folders": found["folders"]}
        if operation == "resolve":
            return {"drives": {letter: self.drives[letter] for letter in arguments["_letters"]}}
        if operation == "start":
            self.specs.append(json.loads(arguments["_spec"]))
            return {}
        ended = {"state": "succeeded", **self.result}
        status = {"state": ended["state"], "phase": "end", "done_bytes": 0, "total_bytes": 0, "message": ""}
        return {"status": status, "log": "", "log_offset": 0, "result": json.dumps(ended)}


def copied(*states: str) -> dict[str, t.Any]:
    """The result of a job at nas and disk."""
    found = [
        copy(destination=name, state=state, reason="copy_failed" if state == "failed" else "", message="broken")
        for name, state in zip(("nas", "disk"), states, strict=True)
    ]
    if "failed" in states:
        return {"state": "failed", "reason": "copy_failed", "msg": "1 of 2: broken", "copies": found}
    return {"copies": found}


def run(node: harness.Node = harness.no_node, check_mode: bool = False, **changes: t.Any) -> dict[str, t.Any]:
    return harness.run(ActionModule, {**ARGUMENTS, **changes}, node, check_mode=check_mode)


def test_the_password_is_in_the_spec_and_in_no_other_argument() -> None:
    node = Node(copied("copied", "copied"))
    result = run(node, base_name="B")
    (spec,) = node.specs
    assert [one["password"] for one in spec["destinations"]] == [PASSWORD, ""]
    assert (spec["below"], spec["base_name"]) == (r"alteryx_prod\node1", "B")
    for call in node.calls:
        assert PASSWORD not in json.dumps({key: value for key, value in call.items() if key != "_spec"})
    assert PASSWORD not in json.dumps(result)


def test_a_result_that_repeats_the_password_is_cleaned_and_the_account_may_be_told() -> None:
    ended = {"state": "failed", "reason": "copy_failed", "msg": f"EXAMPLE\\svc {PASSWORD} was wrong", "copies": []}
    result = run(Node(ended), base_name="B")
    assert "EXAMPLE\\svc" in result["msg"]
    assert PASSWORD not in json.dumps(result)


@pytest.mark.parametrize(("states", "changed"), [(("copied", "present"), True), (("present", "present"), False)])
def test_a_copy_changes_something_where_it_was_not_there(states: tuple[str, str], changed: bool) -> None:
    result = run(Node(copied(*states)), base_name="B")
    assert (result["changed"], [one["backup"] for one in result["copies"]]) == (changed, ["B", "B"])


def test_a_failure_says_what_became_of_every_destination() -> None:
    result = run(Node(copied("failed", "copied")), base_name="B")
    assert (result["failed"], result["reason"], result["exit_code"]) == (True, "copy_failed", 4)
    assert [(one["backup"], one["state"]) for one in result["detail"]["copies"]] == [("B", "failed"), ("B", "copied")]


def test_a_prediction_asks_for_nothing() -> None:
    result = run(check_mode=True, base_name="B", destinations=[NAS])
    assert (result["changed"], result["copies"]) == (True, [])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"destinations": []}, "is empty"),
        ({"base_name": "a*b"}, "is not the name of a backup"),
        ({"base_name": ""}, "is not the name of a backup"),
        ({"destinations": [{"name": "x", "path": samples.FOLDER}]}, "archive directory"),
    ],
)
def test_what_cannot_be_meant_reaches_no_node(changes: dict[str, t.Any], words: str) -> None:
    result = run(**{"base_name": "B", **changes})
    assert (result["reason"], words in result["message"]) == ("invalid_variable", True)


def test_a_letter_is_asked_for_and_replaced_by_its_share() -> None:
    node = Node(copied("copied", "copied"), E={"exists": False, "share": r"\\nas2\ayx"})
    run(node, base_name="B")
    assert node.calls[0]["_letters"] == ["E"]
    assert node.specs[0]["destinations"][1]["path"] == r"\\nas2\ayx\Copies"


def test_an_unknown_drive_letter_fails_before_the_job() -> None:
    node = Node({}, E={"exists": False, "share": ""})
    result = run(node, base_name="B")
    assert (result["reason"], result["exit_code"], node.specs) == ("destination_invalid", 3, [])


def tried(*reasons: str) -> dict[str, t.Any]:
    return {
        "copies": [
            {
                "destination": name, "folder": "x", "state": "failed" if reason else "usable", "reason": reason,
                "message": "broken", "free_bytes": -1, "seconds": 0.1,
            }
            for name, reason in zip(("nas", "disk"), reasons, strict=True)
        ]
    }  # fmt: skip


def test_a_destination_that_cannot_be_used_is_a_warning() -> None:
    result = run(Node(tried("destination_unreachable", "")), state="probed")
    assert not result.get("failed")
    (warning,) = [event for event in result["events"] if event["level"] == "WARNING"]
    assert "the destination nas cannot be used: broken" in warning["text"]


@pytest.mark.parametrize(
    ("reasons", "on_failed", "reason"),
    [
        (("destination_unreachable", ""), "fail", "destination_unreachable"),
        (("destination_unreachable", "destination_invalid"), "continue", "destination_invalid"),
    ],
)
def test_a_trial_fails_where_that_is_wanted_or_nothing_else_would_help(
    reasons: tuple[str, str], on_failed: str, reason: str
) -> None:
    result = run(Node(tried(*reasons)), state="probed", on_failed_probe=on_failed)
    assert (result["reason"], len(result["detail"]["copies"])) == (reason, 2)


def variables(**found: t.Any) -> dict[str, t.Any]:
    return {"ansible_play_hosts_all": ["node1"], "hostvars": harness.HostVariables({"node1": {"found": found}})}


def copy_chosen(node: Node, **changes: t.Any) -> dict[str, t.Any]:
    arguments = {**ARGUMENTS, "fleet": "", "catalogue": "found", **changes}
    return harness.run(ActionModule, arguments, node, variables(**answer(CONFIG, FULL, DATABASE)))


def test_the_newest_of_each_mode_is_copied_under_the_fleet_of_its_manifest() -> None:
    node = Node(copied("copied", "copied"))
    result = copy_chosen(node)
    assert [spec["base_name"] for spec in node.specs] == [CONFIG, FULL, DATABASE]
    assert {spec["below"] for spec in node.specs} == {r"alteryx_prod\node1"}
    assert (result["changed"], len(result["copies"])) == (True, 6)


def test_one_that_fails_keeps_no_other_from_being_copied() -> None:
    node = Node(copied("failed", "copied"))
    result = copy_chosen(node)
    assert len(node.specs) == 3
    assert (result["reason"], len(result["detail"]["copies"])) == ("copy_failed", 6)
    assert FULL in result["message"]


# --- lists and verifications at a destination -------------------------------------------------------------------------


@pytest.fixture
def fleet(tmp_path: t.Any) -> dict[str, t.Any]:
    return harness.inventory(tmp_path, INVENTORY)


def listed(destination: str, *names: str, **changes: t.Any) -> dict[str, t.Any]:
    backups = [samples.backup(name) for name in names]
    return {
        "destination": destination, "folder": r"\\nas1\ayx\alteryx_prod", "exists": True, "reason": "",
        "message": "", "utc": "2026-09-01T02:00:00.000Z", "folders": samples.facts(*backups, node="node1")["folders"],
        **changes,
    }  # fmt: skip


def look(node: Node, fleet: dict[str, t.Any], **changes: t.Any) -> dict[str, t.Any]:
    arguments = {"folder": samples.FOLDER, "destinations": [NAS, DISK], "credentials": ACCOUNTS, **changes}
    return harness.run(Info, arguments, node, fleet)


def test_one_destination_is_listed_with_its_account(fleet: dict[str, t.Any]) -> None:
    node = Node({"places": [listed("nas", FULL)]})
    result = look(node, fleet, destination="NAS")
    assert [entry["id"] for entry in result["catalogue"]] == [FULL]
    assert result["folder"] == r"\\nas1\ayx\alteryx_prod"
    ((place,),) = [spec["places"] for spec in node.specs]
    assert (place["folder"], place["password"]) == (r"\\nas1\ayx\alteryx_prod", PASSWORD)
    assert PASSWORD not in json.dumps(result)


def test_a_destination_that_cannot_be_listed_fails_by_its_name(fleet: dict[str, t.Any]) -> None:
    node = Node({"places": [listed("nas", reason="destination_denied", message="no")]})
    result = look(node, fleet, destination="nas")
    assert (result["reason"], result["message"]) == ("destination_denied", "the destination nas: no")


def test_an_unknown_destination_is_refused_with_the_nearest(fleet: dict[str, t.Any]) -> None:
    result = look(Node({}), fleet, destination="nsa")
    assert (result["reason"], "did you mean nas?" in result["message"]) == ("invalid_variable", True)


def test_with_all_of_them_each_backup_says_where_it_is(fleet: dict[str, t.Any]) -> None:
    node = Node({"places": [listed("nas", FULL), listed("disk", reason="destination_unreachable", message="away")]})
    result = look(node, fleet, destination="all")
    for entry in result["catalogue"]:
        assert [place["destination"] for place in entry["copies"]] == (["nas"] if entry["id"] == FULL else [])
    assert "COPIES" in result["table"].splitlines()[0]
    assert [event["text"] for event in result["events"]] == ["the destination disk: away"]


def test_a_list_of_the_archive_directory_starts_no_job(fleet: dict[str, t.Any]) -> None:
    node = Node({})
    result = look(node, fleet)
    assert node.specs == []
    assert "COPIES" not in result["table"]


@pytest.mark.parametrize("wanted", [FULL, "latest"])
def test_what_a_restore_finds_in_the_archive_directory_is_looked_for_nowhere_else(
    fleet: dict[str, t.Any], wanted: str
) -> None:
    node = Node({})
    result = look(node, fleet, wanted=wanted)
    assert (node.specs, result["places"]) == ([], [])


@pytest.mark.parametrize("problem", ["", "away"])
def test_what_a_restore_does_not_find_is_looked_for_at_every_destination(fleet: dict[str, t.Any], problem: str) -> None:
    other = "ServerBackup_Full_20260601_020000"
    disk = listed("disk", reason="destination_unreachable" if problem else "", message=problem, folders=[])
    node = Node({"places": [listed("nas", other), disk]})
    result = look(node, fleet, wanted=other)
    found = {place["destination"]: [entry["id"] for entry in place["catalogue"]] for place in result["places"]}
    assert found == {"nas": [other], "disk": []}
    events = [event["text"] for event in result.get("events", ())]
    assert events == ([f"the destination disk: {problem}"] if problem else [])
    assert PASSWORD not in json.dumps(result)


def test_destinations_that_are_written_wrongly_do_not_fail_a_restore(fleet: dict[str, t.Any]) -> None:
    result = look(Node({}), fleet, wanted="ServerBackup_Full_20260601_020000", destinations=[{"name": "nas"}])
    assert (result.get("failed"), result["places"]) == (None, [])
    assert "has no path" in result["events"][0]["text"]


def test_a_copy_is_verified_where_it_is(fleet: dict[str, t.Any]) -> None:
    node = Node({"verdict": "good"})
    arguments = {
        "folder": rf"{samples.FOLDER}\node1", "base_name": FULL, "destination": "nas", "destinations": [NAS],
        "credentials": ACCOUNTS,
    }  # fmt: skip
    result = harness.run(Verify, arguments, node, fleet)
    (spec,) = node.specs
    assert (spec["folder"], spec["place"]["password"]) == (r"\\nas1\ayx\alteryx_prod\node1", PASSWORD)
    assert PASSWORD not in json.dumps(result)

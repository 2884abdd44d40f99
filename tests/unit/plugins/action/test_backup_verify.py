# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backups of a catalogue are read back, and what comes of it when some of them are not good."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.action.backup_verify import ActionModule
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._archive import _catalogue
from tests.unit.plugins.action import harness
from tests.unit.plugins.plugin_utils._archive import test_catalogue as samples

FULL, OLD_FULL = samples.BASE, "ServerBackup_Full_20260825_020000"
CONFIG = "ServerBackup_Config_20260902_020000"
DATABASE = "ServerBackup_DB_20260831_020000"
ARGUMENTS = {"folder": rf"{samples.FOLDER}\node1", "catalogue": "found"}
BAD = {"state": "failed", "reason": "archive_bad", "msg": "a.zip is not good"}
HELD = {"state": "failed", "reason": "file_locked", "msg": "another program holds a.zip"}


class Node:
    """A node on which each backup is good but for those of ``ended``."""

    def __init__(self, **ended: dict[str, t.Any]) -> None:
        self.ended = ended
        self.read: list[str] = []

    def __call__(self, arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        if arguments["_operation"] == "start":
            self.read.append(json.loads(arguments["_spec"])["base_name"])
            return {}
        ended = self.ended.get(arguments["base_name"], {"state": "succeeded", "verdict": "good"})
        status = {"state": ended["state"], "phase": "end", "done_bytes": 0, "total_bytes": 0, "message": ""}
        return {"status": status, "log": "", "log_offset": 0, "result": json.dumps(ended)}


def answer(*names: str, node: str = "node1", **changes: t.Any) -> dict[str, t.Any]:
    """What backup_info has found on a node, newest first."""
    backups = [samples.backup(name, manifest=samples.manifest(run_id=f"{name[13:]}_7f3a"), **changes) for name in names]
    found, _unused = _catalogue.entries(samples.facts(*backups, node=node), samples.FOLDER, samples.PATTERN)
    return {"catalogue": found}


ALL = answer(CONFIG, FULL, DATABASE, OLD_FULL)


def verify(
    node: harness.Node = harness.no_node,
    others: t.Mapping[str, t.Any] | None = None,
    found: t.Mapping[str, t.Any] | None = None,
    check_mode: bool = False,
    **changes: t.Any,
) -> dict[str, t.Any]:
    hosts = {"node1": ALL if found is None else found, **(others or {})}
    variables = {
        "ansible_play_hosts_all": list(hosts),
        "hostvars": harness.HostVariables({host: {"found": result} for host, result in hosts.items()}),
    }
    return harness.run(ActionModule, {**ARGUMENTS, **changes}, node, variables, check_mode)


@pytest.mark.parametrize(
    ("asked", "read"),
    [
        ({}, [CONFIG, FULL, DATABASE]),
        ({"mode": "full"}, [FULL]),
        ({"all_backups": True}, [CONFIG, FULL, DATABASE, OLD_FULL]),
        ({"all_backups": True, "mode": "full"}, [FULL, OLD_FULL]),
        ({"backup": OLD_FULL.lower()}, [OLD_FULL]),
        ({"backup": "Full_20260825_020000_7f3a", "mode": "config"}, [OLD_FULL]),
    ],
)
def test_the_newest_of_each_mode_or_what_is_asked_for(asked: dict[str, t.Any], read: list[str]) -> None:
    node = Node()
    result = verify(node, **asked)
    assert (node.read, result["changed"]) == (read, True)
    assert result["backups"] == [{"id": name, "verdict": "good"} for name in read]


def test_the_folder_of_a_node_is_known_whatever_its_case() -> None:
    assert verify(Node(), found=answer(FULL, node="NODE1"))["backups"] == [{"id": FULL, "verdict": "good"}]


def test_incomplete_backups_are_not_read_unless_they_are_named() -> None:
    found = {"catalogue": [*answer(FULL, without=["zip"])["catalogue"], *answer(OLD_FULL)["catalogue"]]}
    assert verify(Node(), found=found)["backups"] == [{"id": OLD_FULL, "verdict": "good"}]
    assert verify(Node(), found=found, backup=FULL)["backups"] == [{"id": FULL, "verdict": "good"}]


def test_a_bad_backup_hides_no_other_and_decides_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    node = Node(**{CONFIG: HELD, FULL: BAD})
    result = verify(node)
    assert node.read == [CONFIG, FULL, DATABASE]
    assert (result["reason"], result["exit_code"]) == ("archive_bad", 3)
    assert result["detail"]["backups"] == [
        {"id": CONFIG, "verdict": "file_locked"},
        {"id": FULL, "verdict": "archive_bad"},
        {"id": DATABASE, "verdict": "good"},
    ]
    assert f"2 of 3 backups are not good: {CONFIG}: another program holds a.zip; {FULL}: a.zip" in result["message"]
    out = capsys.readouterr().out
    for words in (
        f"3 of the backups will be read back: {CONFIG}, ",
        f"{FULL} is not good [archive_bad]",
        f"{DATABASE} is good",
    ):
        assert words in out


def test_a_node_that_is_lost_is_not_asked_for_the_next_backup() -> None:
    lost = {"state": "failed", "reason": "connection_lost", "msg": "no answer"}
    node = Node(**{CONFIG: lost})
    result = verify(node)
    assert (node.read, result["reason"]) == ([CONFIG], "connection_lost")
    assert f"not read back: {FULL}, {DATABASE}" in result["message"]


def test_a_prediction_reads_nothing_and_says_what_it_would_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(check_mode=True)["changed"] is True
    assert f"3 of the backups would be read back: {CONFIG}, {FULL}, {DATABASE}" in capsys.readouterr().out


@pytest.mark.reaches("no_good_backup")
@pytest.mark.parametrize(("mode", "words"), [("", "no complete backup in"), ("full", "no complete full backup in")])
def test_without_a_complete_backup_there_is_nothing_to_read(mode: str, words: str) -> None:
    result = verify(found=answer(FULL, without=["zip"]), mode=mode)
    assert (result["reason"], result["exit_code"]) == ("no_good_backup", 3)
    assert words in result["message"]


def test_a_worker_has_no_backup_of_the_database_alone() -> None:
    controller = {"ctl": answer(DATABASE, node="ctl")}
    for asked in ({"backup": DATABASE}, {"mode": "database"}):
        assert verify(others=controller, found=answer(CONFIG), **asked)["backups"] == []
    assert (
        verify(others={"ctl": answer(FULL, node="ctl")}, found=answer(CONFIG), backup=FULL)["reason"]
        == "backup_unknown"
    )


@pytest.mark.parametrize("name", [r"..\other", "a/b", "con"])
def test_what_cannot_be_the_name_of_a_backup_is_refused(name: str) -> None:
    assert verify(backup=name)["reason"] == "invalid_variable"


@pytest.mark.reaches("backup_unknown")
@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("ServerBackup_Full_20260901_02000", f"did you mean {FULL}"),
        ("Full_20260825_020000_7f3b", f"did you mean {OLD_FULL}"),
        ("monday", f"there is no backup monday; the newest is {CONFIG}"),
    ],
)
def test_a_mistyped_name_blames_no_archive_and_gets_the_nearest(wanted: str, words: str) -> None:
    result = verify(backup=wanted)
    assert (result["reason"], result["exit_code"]) == ("backup_unknown", 3)
    assert words in result["message"]
    assert "The archives are not affected" in result["hint"]


def test_an_unknown_name_is_reported_without_suggestions_if_there_are_no_backups() -> None:
    assert "there is no backup monday; the folder has no backups" in verify(backup="monday", found=answer())["message"]

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of a fleet's backups: printed for people, written for programs, no node left out."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.action.backup_info import ActionModule as Info
from ansible_collections.alteryx_ops.server_backup.plugins.action.backup_list import ActionModule as List
from tests import schemas
from tests.unit.plugins.action import harness
from tests.unit.plugins.plugin_utils._archive import test_catalogue as samples

GOOD = samples.result(samples.backup())


def printed(
    file: Path | str, hosts: dict[str, dict[str, t.Any]], check_mode: bool = False, **changes: t.Any
) -> dict[str, t.Any]:
    verified: dict[str, dict[str, t.Any]] = changes.pop("results", {})
    hostvars = harness.HostVariables({
        host: {**({"found": result} if result else {}), "read": verified.get(host, {})}
        for host, result in hosts.items()
    })  # fmt: skip
    variables = {"ansible_play_hosts_all": list(hosts), "hostvars": hostvars}
    return harness.run(
        List, {"catalogues": "found", "file": str(file), **changes}, variables=variables, check_mode=check_mode
    )


def test_every_node_of_the_play_is_listed_whether_it_answered_or_not(capsys: pytest.CaptureFixture[str]) -> None:
    result = printed("", {"node1": GOOD, "node2": {"failed": True, "message": "no answer"}, "node3": {}})
    assert result["changed"] is False
    assert list(result["listing"]["nodes"]) == ["node1", "node2", "node3"]
    out = capsys.readouterr().out
    for piece in (samples.BASE, "node2: could not be asked: no answer", "node3: could not be asked: no answer"):
        assert piece in out


def test_the_list_is_written_as_json_when_asked(tmp_path: Path) -> None:
    file = tmp_path / "new" / "list.json"
    for _unused in range(2):  # an existing one is replaced
        result = printed(file, {"node1": GOOD})
        assert (result["changed"], json.loads(file.read_text(encoding="utf-8"))) == (True, result["listing"])
    assert [entry.name for entry in file.parent.iterdir()] == ["list.json"]


def test_check_mode_writes_nothing(tmp_path: Path) -> None:
    assert printed(tmp_path / "list.json", {"node1": GOOD}, check_mode=True)["changed"] is True
    assert list(tmp_path.iterdir()) == []


def test_a_list_that_cannot_be_written_is_a_failure_with_the_cause(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="ascii")
    result = printed(tmp_path / "file" / "list.json", {"node1": GOOD})
    assert (result["reason"], result["exit_code"]) == ("report_failed", 1)
    assert "list.json" in result["message"]


OLD = "node1: the newest backup, ServerBackup_Full_20260901_020000, is "
BAD = samples.result(samples.backup(verification=samples.verification(verdict="bad", problem="a is absent")))


@pytest.mark.reaches("no_good_backup", when="True")
@pytest.mark.parametrize("alarm", [False, True])
@pytest.mark.parametrize(
    ("result", "max_age", "words"),
    [
        (GOOD, 3600, OLD),
        (samples.result(), 0, "node1: there is no good backup"),
        (BAD, 0, f"node1: {samples.BASE} is bad: a is absent"),
    ],
)
def test_what_is_wrong_is_said_and_fails_only_on_request(
    alarm: bool, result: dict[str, t.Any], max_age: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "list.json"
    found = printed(file, {"node1": result}, alarm=alarm, max_age=max_age)
    assert (found.get("reason"), found.get("exit_code")) == (("no_good_backup", 3) if alarm else (None, None))
    assert f"problem: {words}" in capsys.readouterr().out
    content = json.loads(file.read_text(encoding="utf-8"))
    schemas.assert_valid("catalogue", content)
    assert content["problems"][0]["node"] == "node1"


def test_a_good_list_raises_no_alarm() -> None:
    result = printed("", {"node1": GOOD}, alarm=True, max_age=10**9)
    assert (result.get("reason"), result["listing"]["problems"]) == (None, [])


@pytest.mark.parametrize("check_mode", [False, True])
def test_the_catalogue_of_a_node_is_made_of_what_it_saw(check_mode: bool) -> None:
    answer = {**samples.facts(samples.backup(), others=1), "changed": False}
    result = harness.run(Info, {"folder": samples.FOLDER}, lambda arguments: answer, check_mode=check_mode)
    assert (result["changed"], result["exists"], result["foreign_files"]) == (False, True, 1)
    assert [entry["id"] for entry in result["catalogue"]] == [samples.BASE]
    assert samples.BASE in result["table"]


def test_a_node_without_the_backup_to_verify_is_a_failure_and_shows_no_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    results = {
        "node1": {"failed": True, "reason": "backup_unknown", "message": "no backup X", "hint": "Correct it."},
        "node2": {"failed": True, "reason": "archive_bad", "message": "bad", "hint": "Make a new one."},
    }
    printed("", {"node1": GOOD, "node2": GOOD}, results=results, verified="read")
    out = capsys.readouterr().out
    assert out.rstrip().endswith("NOT VERIFIED  node1: no backup X. Correct it.")
    assert (out.count(samples.BASE), out.count("NOT VERIFIED")) == (1, 1)
    printed("", {"node1": GOOD}, results=results, verified="read")
    assert samples.BASE not in capsys.readouterr().out

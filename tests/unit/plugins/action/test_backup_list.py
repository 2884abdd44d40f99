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
from tests.unit.plugins.action import harness
from tests.unit.plugins.plugin_utils import test_catalogue as samples

GOOD = samples.result(samples.backup())


def printed(file: Path | str, hosts: dict[str, dict[str, t.Any]], check_mode: bool = False) -> dict[str, t.Any]:
    hostvars = harness.HostVariables({host: {"found": result} if result else {} for host, result in hosts.items()})
    variables = {"ansible_play_hosts_all": list(hosts), "hostvars": hostvars}
    return harness.run(List, {"catalogues": "found", "file": str(file)}, variables=variables, check_mode=check_mode)


def test_every_node_of_the_play_is_listed_whether_it_answered_or_not(capsys: pytest.CaptureFixture[str]) -> None:
    result = printed("", {"node1": GOOD, "node2": {"failed": True, "message": "no answer"}, "node3": {}})
    assert result["changed"] is False
    assert list(result["listing"]["nodes"]) == ["node1", "node2", "node3"]
    out = capsys.readouterr().out
    for piece in (samples.BASE, "node2: could not be asked: no answer", "node3: could not be asked: no answer"):
        assert piece in out


def test_the_list_is_written_as_json_when_asked(tmp_path: Path) -> None:
    file = tmp_path / "new" / "list.json"
    for _ in range(2):  # an existing one is replaced
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


@pytest.mark.parametrize("check_mode", [False, True])
def test_the_catalogue_of_a_node_is_made_of_what_it_saw(check_mode: bool) -> None:
    answer = {**samples.facts(samples.backup(), others=1), "changed": False}
    result = harness.run(Info, {"folder": samples.FOLDER}, lambda arguments: answer, check_mode=check_mode)
    assert (result["changed"], result["exists"], result["foreign_files"]) == (False, True, 1)
    assert [entry["id"] for entry in result["catalogue"]] == [samples.BASE]
    assert samples.BASE in result["table"]

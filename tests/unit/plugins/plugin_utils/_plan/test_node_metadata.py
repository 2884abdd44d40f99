# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of a node before it is asked, and where it is told to look."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._fleet import _node_facts
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._plan import _node_metadata
from tests.unit.plugins import samples


def wanted(letter: str = "a", kind: str = "embedded", licence: str = "", **changes: t.Any) -> dict[str, t.Any]:
    return _node_metadata.to_collect("node1", samples.RUN_ID, samples.node_facts(letter, **changes), kind, licence)


def values(collected: dict[str, t.Any]) -> dict[str, t.Any]:
    return {name: item["value"] for name, item in collected["items"].items() if item["state"] == "found"}


def test_what_settings_and_facts_tell_is_known_already() -> None:
    assert wanted()["head"] == {"schema": 1, "run_id": samples.RUN_ID, "node": "node1", "computer": "AYX01"}
    assert values(wanted()) == {
        "version": "2024.2.1.14", "roles": ["controller", "worker", "ui"], "persistence": "embedded",
        "service_account": "LocalSystem", "run_as_user": r"EXAMPLE\svc-ayx-run", "smtp_server": "mail.example.test",
        "authentication": "BuiltIn", "base_address": "https://alteryx.example.test/gallery/",
    }  # fmt: skip


@pytest.mark.parametrize("letter", "abcde")
def test_every_node_has_the_same_items_and_each_absent_one_says_why(letter: str) -> None:
    items = wanted(letter)["items"]
    assert items.keys() == wanted("a")["items"].keys()
    for item in items.values():
        assert (item["value"] is None) is (item["state"] == "absent") is bool(item["why"])
    assert "SYNTHETIC" not in str(wanted(letter))
    assert "P%40ss" not in str(wanted(letter)["items"])


def test_what_belongs_to_other_roles_or_is_not_set_is_absent() -> None:
    items = wanted("c", kind="", alteryx__version="")["items"]
    assert {name for name, item in items.items() if item["state"] == "absent"} == {
        "version",
        "persistence",
        "run_as_user",
        "smtp_server",
        "smtp_user",
        "authentication",
        "base_address",
        "licence",
    }
    assert (items["run_as_user"]["why"], items["smtp_user"]["why"]) == (
        "it is not set",
        "only a node with the role ui has it",
    )


def test_every_path_of_the_settings_is_looked_at_wherever_it_lies() -> None:
    places = {
        place["element"]: (place["path"], place["drive"])
        for place in wanted("b", alteryx__bin_folder=r"f:\Alteryx\bin")["places"]
    }
    assert places["Controller/EmbeddedMongoDBRootPath"] == (r"E:\AyxMongo", "E:")
    assert places["installation"] == (r"f:\Alteryx\bin", "F:")
    assert places["program data"] == (r"C:\ProgramData", "C:")
    assert "Worker/StagingPath" not in places


@pytest.mark.parametrize(("path", "drive"), [
    (r"\\nas\alteryx", "\\\\"), (r"logs\service.log", ""), ("D:logs", ""), ("D:", "D:"), (r"%ProgramData%\Alteryx", ""),
    (r"d:\a", "D:")])  # fmt: skip
def test_a_share_and_a_relative_path_are_on_no_drive(path: str, drive: str) -> None:
    facts = samples.facts()
    facts["settings"]["overrides"]["sections"]["Engine"] = {"LogFilePath": path}
    places = _node_metadata.to_collect("node1", samples.RUN_ID, _node_facts.read(facts), "embedded", "")["places"]
    assert [place["drive"] for place in places if place["element"] == "Engine/LogFilePath"] == [drive]


def test_folders_follow_program_data_and_installation_to_any_drive() -> None:
    collected = wanted(system__program_data="E:\\ProgramData\\", alteryx__bin_folder=r"D:\Alteryx\bin")
    assert collected["tools_folder"] == r"E:\ProgramData\Alteryx\Tools"
    assert collected["config_files"] == [
        r"D:\Alteryx\bin\server\config\alteryx.config",
        r"D:\Alteryx\bin\config\alteryx.config",
    ]


@pytest.mark.parametrize("licence", [r"HKLM\SOFTWARE\SRC\Alteryx\Key", r"hklm:\SOFTWARE\SRC\Alteryx\Key"])
def test_a_licence_is_read_on_the_node_and_only_where_the_operator_says(licence: str) -> None:
    collected = wanted(licence=licence)
    assert collected["licence"] == {"key": r"SOFTWARE\SRC\Alteryx", "name": "Key"}
    assert "licence" not in collected["items"]


@pytest.mark.parametrize("licence", ["", "KEY", r"HKCU\Software\Key", "HKLM\\"])
def test_a_missing_or_invalid_licence_value_is_not_an_error(licence: str) -> None:
    collected = wanted(licence=licence)
    assert collected["licence"] == {}
    assert collected["items"]["licence"]["state"] == "absent"
    assert licence in collected["items"]["licence"]["why"]

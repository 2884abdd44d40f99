# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What refuses a restore before anything is touched, and what does not because the server is broken."""

from __future__ import annotations

import typing as t
from dataclasses import replace

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._fleet import _node_facts
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._restore import _gates
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._restore._gates import (
    NodeNow,
    Options,
    SavedNode,
)
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._restore._space import Need, find_shortages
from tests.unit.plugins import samples

GB = 10**9
SAVED = SavedNode("ALTERYX01", "2024.1.1.136", "embedded", r"D:\Alteryx\Persistence", holds_database=True)
NOW = NodeNow("alteryx01", "2024.1.1.136", "embedded", r"D:\Alteryx\Persistence")


def refusals(saved: SavedNode = SAVED, now: NodeNow = NOW, **options: t.Any) -> list[tuple[str, str]]:
    return _gates.find_refusals({"node1": saved}, {"node1": now}, Options(**options))


def warnings(saved: SavedNode = SAVED, now: NodeNow = NOW, **options: t.Any) -> list[str]:
    return _gates.find_warnings({"node1": saved}, {"node1": now}, Options(**options))


def reasons(*arguments: t.Any, **options: t.Any) -> list[str]:
    return [reason for reason, _message in refusals(*arguments, **options)]


def test_nothing_stands_against_the_restore_of_the_same_server() -> None:
    assert (refusals(), warnings()) == ([], [])


def test_a_restore_of_the_database_alone_warns_that_it_leaves_damaged_settings() -> None:
    broken = replace(NOW, settings_problem="X.xml does not exist")
    assert warnings(now=broken) == ["node1: X.xml does not exist; the restore replaces it with the file of the backup"]
    (text,) = warnings(now=broken, restores_files=False)
    assert "does not replace it, so the service may not start. To replace it, set alteryx_restore_scope=full" in text


def test_what_is_not_known_of_a_broken_server_refuses_nothing() -> None:
    assert refusals(now=NodeNow()) == []
    assert _gates.find_refusals({"node1": SAVED}, {}, Options()) == []
    assert refusals(saved=SavedNode(holds_database=True)) == []
    assert warnings(now=NodeNow()) == [
        "node1: the versions of Alteryx Server cannot be compared: backup 2024.1.1.136, node not known"
    ]


@pytest.mark.reaches("restore_folder_fixed")
def test_a_data_folder_that_cannot_be_renamed_is_refused_where_the_database_is_restored() -> None:
    root = replace(NOW, data_folder="E:\\", rename_problem="is the root of a drive")
    assert refusals(now=root) == [("restore_folder_fixed", "node1: the data folder E:\\ is the root of a drive")]
    assert refusals(now=root, restores_database=False) == []
    assert refusals(saved=replace(SAVED, holds_database=False), now=root) == []


@pytest.mark.reaches("restore_version", when="refused")
@pytest.mark.parametrize(
    ("installed", "refused", "said"),
    [
        ("2024.1.1.136", False, ""),
        ("2024.1.2.9", False, "another patch"),
        pytest.param("2024.2.1.136", True, "", id="refused-minor"),
        pytest.param("2023.1.1.136", True, "", id="refused-major"),
        pytest.param("2024.10.1.136", True, "", id="refused-two-digits"),
    ],
)
def test_another_patch_warns_and_another_release_refuses(installed: str, refused: bool, said: str) -> None:
    now = replace(NOW, alteryx_version=installed)
    assert reasons(SAVED, now) == (["restore_version"] if refused else [])
    assert said in "".join(warnings(now=now))
    assert bool(warnings(now=now)) == bool(said)


def test_another_release_can_be_forced_and_is_told() -> None:
    now = replace(NOW, alteryx_version="2025.1.1.1")
    assert refusals(now=now, force_version=True) == []
    assert "the operator forces" in warnings(now=now, force_version=True)[0]


@pytest.mark.reaches("restore_other_host")
def test_another_computer_refuses() -> None:
    ((reason, message),) = refusals(now=replace(NOW, computer="ALTERYX02"))
    assert reason == "restore_other_host"
    assert "ALTERYX01" in message
    assert "ALTERYX02" in message


@pytest.mark.parametrize(
    ("saved", "now", "flagged"), [("a", "b", True), ("a", "a", False), ("", "b", False), ("a", "", False)]
)
def test_files_of_another_windows_installation_are_flagged_and_not_refused(saved: str, now: str, flagged: bool) -> None:
    before, after = replace(SAVED, machine_id=saved), replace(NOW, machine_id=now)
    assert [text.partition(" (")[0] for text in warnings(before, after)] == [
        "node1: the backup is of another Windows installation"
    ] * flagged
    assert refusals(before, after) == []
    # The database is not encrypted with the key of the machine.
    assert warnings(before, after, restores_files=False) == []


@pytest.mark.reaches("restore_database_kind")
@pytest.mark.parametrize(("kind", "said"), [("mongodb", "a self-managed MongoDB"), ("sqlserver", "an SQL Server")])
def test_a_database_that_is_not_embedded_refuses_in_plain_words(kind: str, said: str) -> None:
    for saved, now in ((replace(SAVED, database_kind=kind), NOW), (SAVED, replace(NOW, database_kind=kind))):
        ((reason, message),) = refusals(saved, now)
        assert reason == "restore_database_kind"
        assert said in message
        assert "a later version" in message
        assert refusals(saved, now, restores_database=False) == []


def test_the_kind_counts_only_where_the_backup_has_a_database() -> None:
    assert refusals(replace(SAVED, database_kind="", holds_database=False), replace(NOW, database_kind="mongodb")) == []


@pytest.mark.parametrize(
    ("folder", "flagged"), [(r"D:\Alteryx", False), (r"D:\My Data", True), (r"D:\a,b", True), ("", False)]
)
def test_a_data_folder_that_the_tool_does_not_take_is_flagged(folder: str, flagged: bool) -> None:
    assert _gates.needs_sibling(folder) == flagged
    assert bool(warnings(replace(SAVED, data_folder=folder), replace(NOW, data_folder=""))) == flagged
    assert warnings(replace(SAVED, data_folder=folder), replace(NOW, data_folder=""), restores_database=False) == []


def test_room_is_the_sum_of_what_goes_to_a_volume() -> None:
    extraction, data = Need("C:\\", 25 * GB, "the extraction", 10 * GB), Need("c:\\", 25 * GB, "the data", 12 * GB)
    assert find_shortages([extraction, data], 2 * GB) == []
    (text,) = find_shortages([extraction, data], 4 * GB)
    assert "1.0 GB are missing" in text
    assert "10.0 GB for the extraction and 12.0 GB for the data" in text
    # On two volumes each has its own reserve.
    assert find_shortages([extraction, replace(data, volume="D:\\")], 4 * GB) == []
    assert len(find_shortages([replace(extraction, free=GB), replace(data, volume="D:\\", free=GB)], 0)) == 2
    # Windows does not always tell.
    assert find_shortages([replace(extraction, free=-1)], GB) == []


@pytest.mark.reaches("space_short")
def test_no_room_refuses() -> None:
    needs = {"node1": [Need("C:\\", GB, "the extraction", 2 * GB)]}
    ((reason, message),) = refusals(needs=needs)
    assert (reason, message.startswith("node1: C:\\ has 1.0 GB free")) == ("space_short", True)


def test_everything_is_told_at_once() -> None:
    now = NodeNow("OTHER", "2020.1", "mongodb", "")
    assert reasons(SAVED, now) == ["restore_other_host", "restore_version", "restore_database_kind"]


def test_a_catalogue_and_an_extraction_are_read() -> None:
    entry = {"computer": "A", "alteryx_version": "2024.1", "dumped": True}
    assert _gates.read_saved(entry) == SavedNode("A", "2024.1", holds_database=True)
    told = {"database_kind": "mongodb", "data_folder": r"D:\y"}
    assert _gates.read_saved({**entry, **told}) == SavedNode("A", "2024.1", "mongodb", r"D:\y", holds_database=True)
    database = {"kind": "embedded", "data_folder": r"D:\x"}
    extracted = {"computer": "A", "alteryx_version": "2024.1", "database": database}
    assert _gates.read_saved(extracted) == SavedNode("A", "2024.1", "embedded", r"D:\x", holds_database=True)
    assert not _gates.read_saved({**extracted, "database": None}).holds_database


def test_facts_are_read_as_far_as_they_are_there() -> None:
    facts = _node_facts.read(samples.facts())
    now = _gates.read_now(facts)
    assert (now.database_kind, now.computer, now.data_folder) == (
        "embedded",
        facts.system.computer,
        facts.database.folder,
    )
    unreadable = samples.facts()
    unreadable["settings"]["overrides"]["exists"] = False
    assert _gates.read_now(_node_facts.read(unreadable)).database_kind == ""

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups of nodes put together to backup sets, and what makes a set count."""

from __future__ import annotations

import typing as t
from datetime import UTC, datetime

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import StepFailed
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._retention import _pins, _sets
from tests.unit.plugins.plugin_utils._archive import test_catalogue as samples

NOW = datetime(2026, 9, 2, tzinfo=UTC)
FLEET = "alteryx_prod"


def catalogues(run: dict[str, t.Any] | None = None, **of_nodes: dict[str, t.Any] | None) -> dict[str, dict[str, t.Any]]:
    """What the nodes of a fleet of two list: a good backup of each, but for what is said.

    Args:
        run: changes of the .set.json on node1.
        of_nodes: node1, node2 -> changes of its backup, None for no backup.
    """
    sets = [samples.run_set(**{"nodes": ["node1", "node2"], **(run or {})})]
    found = {}
    for node in ("node1", "node2"):
        changes = of_nodes.get(node, {})
        backups = [] if changes is None else [samples.backup(**changes)]
        found[node] = samples.result(*backups, sets=sets if node == "node1" else (), node=node)
    return found


def only(listed: dict[str, dict[str, t.Any]], judged: str = "") -> _sets.BackupSet:
    (found,) = _sets.read_sets(listed, FLEET, NOW, judged)
    return found


def test_a_set_is_good_when_all_of_its_nodes_are_and_its_run_says_so() -> None:
    found = only(catalogues())
    assert (found.is_good, found.why, sorted(found.backups)) == (True, (), ["node1", "node2"])
    assert (found.name, found.mode, found.pin, found.pruning) == (samples.BASE, "full", "", False)


BAD = {"verification": samples.verification(verdict="bad", problem="x")}
PIN = {"error": "", "at": "2026-09-01T05:00:00.000Z", "who": "ops", "why": "before the upgrade", "until": ""}


@pytest.mark.parametrize(
    ("listed", "why"),
    [
        (catalogues(node2={"without": ["sha256"], "sidecar": None}), "node2: no .sha256"),
        (catalogues(node2=BAD), "node2: its verification found it bad"),
        (catalogues(node2={"verification": None}), "node2: its verdict is: not verified"),
        (catalogues(node2=None), "the archive of node2 is missing"),
        (catalogues({"verdict": "FAILED"}), "its run ended FAILED"),
        (catalogues({"run_id": "Full_20260901_020000_0000"}), "there is no .set.json of its run"),
        (catalogues({"error": "it is cut"}), "there is no .set.json of its run"),
    ],
)
def test_a_set_that_is_not_whole_and_good_says_why(listed: dict[str, t.Any], why: str) -> None:
    assert only(listed).why == (why,)


def test_the_run_that_asks_has_judged_itself() -> None:
    listed = catalogues()
    listed["node1"]["sets"] = []
    assert only(listed).why == ("there is no .set.json of its run",)
    assert only(listed, judged=samples.manifest()["run_id"]).is_good


def test_a_node_that_left_the_fleet_does_not_make_its_sets_bad() -> None:
    listed = catalogues({"nodes": ["node1", "node2", "retired"]})
    assert only(listed).is_good


@pytest.mark.parametrize(
    "changes", [{"fleet": "alteryx_lab"}, {"fleet": ""}, {"run_id": ""}, {"error": "it has no list of files"}]
)
def test_what_no_manifest_ascribes_to_the_fleet_is_not_looked_at(changes: dict[str, t.Any]) -> None:
    strange = {"manifest": samples.manifest(**changes)}
    assert _sets.read_sets(catalogues(node1=strange, node2=strange), FLEET, NOW) == []


def test_the_folder_of_another_node_on_the_same_share_is_not_looked_at() -> None:
    listed = catalogues()
    listed["node2"]["catalogue"] = listed["node1"]["catalogue"]
    assert list(only(listed).backups) == ["node1"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "pinned by ops: before the upgrade"),
        ({"until": "2026-12-31T23:59:59Z"}, "pinned by ops until 2026-12-31: before the upgrade"),
        ({"until": "2026-09-01T23:59:59Z"}, ""),
        ({"until": "some day"}, "pinned by ops until some day: before the upgrade"),
        ({"error": "it is cut", "who": ""}, "pinned; its pin cannot be read: it is cut"),
    ],
)
def test_a_pin_on_one_node_holds_the_set_until_its_day_is_over(changes: dict[str, str], words: str) -> None:
    assert only(catalogues(node2={"pin": {**PIN, **changes}})).pin == words


def test_a_pin_ends_with_a_day() -> None:
    assert _pins.read_end("2026-09-02", NOW) == "2026-09-02T23:59:59Z"
    assert _pins.read_end("", NOW) == ""


@pytest.mark.reaches("pin_refused")
@pytest.mark.parametrize(
    ("text", "words"), [("2026-09-01", "2026-09-01 is in the past"), ("31.12.2026", "write YYYY-MM-DD")]
)
def test_an_invalid_or_past_day_is_refused(text: str, words: str) -> None:
    with pytest.raises(StepFailed, match=words):
        _pins.read_end(text, NOW)


def test_a_backup_is_found_by_its_name_or_its_run_on_every_node() -> None:
    for wanted in (samples.BASE.upper(), samples.manifest()["run_id"]):
        found = _pins.find_backups(catalogues(), FLEET, wanted)
        assert [sorted(hosts) for hosts in found.values()] == [["node1", "node2"]]
    with pytest.raises(StepFailed, match=f"there is no backup ServerBackup_Full_1; the newest is {samples.BASE}"):
        _pins.find_backups(catalogues(), FLEET, "ServerBackup_Full_1")
    with pytest.raises(StepFailed, match="no backup is named"):
        _pins.find_backups(catalogues(), FLEET, "")
    with pytest.raises(StepFailed, match="the backups of node2 could not be listed"):
        _pins.find_backups({**catalogues(), "node2": {}}, FLEET, samples.BASE)

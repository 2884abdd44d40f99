# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies that are pinned, listed and pruned at destinations, by the playbooks that an operator runs, while one of the
destinations is away."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from .kinds import on_standin_too, wine_only
from .lab_of_tests import Lab
from .older_backups import copy_to_days, read_audit
from .playbook_run import PlaybookRunner
from .test_copies import FLEET, FOLDER, NAS1, NAS2, Shares, destination, variables
from .test_retention import held, sets

pytestmark = pytest.mark.long
DAYS = (10, 20, 40, 60, 80)
POLICY = {"config": {"days": 14, "verified": 1}}
SHORT = {"config": {"days": 1, "verified": 1}}


class Fleet:
    """A node with backups of some days in its archive directory and at two destinations."""

    def __init__(self, lab: Lab, run_playbook: PlaybookRunner, paths: tuple[str, str]) -> None:
        self.lab, self.run_playbook = lab, run_playbook
        self.shares = Shares(lab)
        self.root = self.shares.archives.parent
        self.places = [self.shares.share(path) for path in paths]
        # Where it is when it does not answer.
        self._elsewhere = self.places[0].with_name("away")
        first, second = (destination(f"nas{number}", path) for number, path in enumerate(paths, start=1))
        self.plain = variables(first, second)
        self.rules = variables(
            first, {**second, "retention": SHORT}, alteryx_retention_policy=POLICY, alteryx_retention_max_share=100
        )

    def make(self) -> list[str]:
        """Backups of today and of the days. Returns their names, the newest first."""
        self.run_playbook("config_backup.yml", extra_vars=self.plain).assert_ok()
        copy_to_days([self.root, *self.tops], sets(self.root)[0], DAYS)
        return sets(self.root)

    @property
    def tops(self) -> list[Path]:
        """The folder of the fleet at both destinations."""
        return [place / FLEET for place in self.places]

    def go_away(self) -> None:
        """The first destination does not answer any more."""
        self.places[0].rename(self._elsewhere)

    def come_back(self) -> None:
        """The first destination answers again, with what it had."""
        self._elsewhere.rename(self.places[0])


@pytest.fixture
def fleet(lab: Lab, run_playbook: PlaybookRunner) -> Iterator[Fleet]:
    """Two destinations; afterwards neither they nor backups are there."""
    paths = (NAS1, NAS2) if lab.kind == "wine" else (r"D:\Nas1", r"D:\Nas2")
    made = Fleet(lab, run_playbook, paths)
    for place in made.places:
        place.mkdir(parents=True)
    yield made
    for place in made.places:
        shutil.rmtree(place.parent if lab.kind == "wine" else place, ignore_errors=True)
        shutil.rmtree(place.with_name("away"), ignore_errors=True)
    shutil.rmtree(lab.node.path(FOLDER), ignore_errors=True)


@on_standin_too
def test_copies_are_pinned_listed_and_pruned_while_a_destination_is_away(fleet: Fleet, tmp_path: Path) -> None:
    now, ten, twenty, forty, sixty, eighty = fleet.make()
    nas1, nas2 = fleet.tops
    pin = {"alteryx_retention_pin_id": eighty, "alteryx_retention_pin_why": "before the upgrade"}
    fleet.go_away()
    pinned = fleet.run_playbook("pin_backup.yml", extra_vars={**fleet.plain, **pin})
    pinned.assert_ended_well()
    assert f"{eighty} is pinned at nas2" in pinned.text
    assert "WARNING the destination nas1" in pinned.text
    assert [line["destination"] for line in read_audit(nas2)] == ["nas2"]

    predicted = fleet.run_playbook("prune.yml", "--check", extra_vars=fleet.rules)
    predicted.assert_ended_well()
    for words in (
        f"retention of {FLEET}: 2 of 6 backup sets would be deleted",
        f"retention of {FLEET} at nas1: nothing is deleted: ",
        f"retention of {FLEET} at nas2: 3 of 6 backup sets would be deleted",
    ):
        assert words in predicted.text, predicted.output
    assert [len(sets(place)) for place in (fleet.root, nas2)] == [6, 6]

    run = fleet.run_playbook("prune.yml", extra_vars=fleet.rules)
    run.assert_ended_well()
    assert sets(fleet.root) == [now, ten, twenty, eighty]
    assert sets(nas2) == [now, ten, eighty]
    fleet.come_back()
    assert sets(nas1) == [now, ten, twenty, forty, sixty, eighty]
    # The record of a run lies beside its copies, and goes with them.
    assert sorted(file.name for file in nas2.glob("*.set.json")) == [f"{name}.set.json" for name in (eighty, ten, now)]
    (pinned_there, pruned_there) = read_audit(nas2)
    assert (pinned_there["verb"], pruned_there["verb"], pruned_there["destination"]) == ("pin", "prune", "nas2")
    assert [one["name"] for one in pruned_there["backups"]] == [twenty, forty, sixty]
    assert "@" in pruned_there["who"]

    # The pin of the archive directory holds where there is none.
    assert not list(nas1.rglob("*.pin.json"))
    fleet.run_playbook("prune.yml", extra_vars=fleet.rules).assert_ended_well()
    assert sets(nas1) == [now, ten, twenty, eighty]
    assert sets(fleet.root) == [now, ten, twenty, eighty]


@on_standin_too
def test_what_the_archive_directory_has_lost_is_listed_and_its_last_copy_stays(fleet: Fleet, tmp_path: Path) -> None:
    now, ten, twenty, *_older = fleet.make()
    nas1, nas2 = fleet.tops
    fleet.run_playbook("prune.yml", extra_vars=fleet.rules).assert_ended_well()
    assert (sets(nas1), sets(nas2)) == ([now, ten, twenty], [now, ten])
    shutil.rmtree(fleet.root)
    fleet.run_playbook("config_backup.yml", extra_vars=fleet.plain).assert_ok()
    file = tmp_path / "list.json"
    wanted = {"alteryx_catalogue_destination": "all", "alteryx_catalogue_list_file": str(file)}
    listed = fleet.run_playbook("list_backups.yml", extra_vars={**fleet.plain, **wanted})
    listed.assert_ended_well()
    (node,) = json.loads(file.read_text(encoding="utf-8"))["nodes"].values()
    found = {entry["id"]: [place["destination"] for place in entry["copies"]] for entry in node["elsewhere"]}
    assert found == {now: ["nas1", "nas2"], ten: ["nas1", "nas2"], twenty: ["nas1"]}
    assert "3 at destinations only" in listed.text
    # The short policy of nas2 would delete the one of ten days.
    fleet.run_playbook("prune.yml", extra_vars=fleet.rules).assert_ended_well()
    assert (sets(nas1)[1:], sets(nas2)[1:]) == ([now, ten, twenty], [now, ten])


@on_standin_too
def test_a_run_prunes_where_its_copy_is(fleet: Fleet) -> None:
    now, ten, twenty, *_older = fleet.make()
    run = fleet.run_playbook("config_backup.yml", extra_vars=fleet.rules)
    run.assert_ok()
    nas2 = fleet.tops[1]
    newest = sets(fleet.root)[0]
    assert newest > now
    assert set(sets(nas2)) & {newest, now, ten, twenty} == {newest, now, ten}
    told = {place["destination"]: place for place in run.outcome["retention"]["destinations"]}
    assert sorted(told) == ["nas1", "nas2"]
    assert twenty in told["nas2"]["deleted"]
    assert len(told["nas1"]["deleted"]) == 3
    assert f"retention deleted 3 backup sets at nas1, {told['nas1']['kept']} are kept" in run.text
    assert f"{twenty} (config) at nas1 is kept: the newest one older than 14 days" in run.log


@pytest.mark.long
@wine_only
@pytest.mark.reaches("prune_incomplete", exit_code=4)
def test_a_deletion_that_is_stuck_at_a_destination_is_finished_later(fleet: Fleet) -> None:
    now, ten, twenty, forty, sixty, eighty = fleet.make()
    nas1, nas2 = fleet.tops
    node = fleet.lab.node.name
    stuck = next((nas1 / node).glob(f"{eighty}.verify_*.json")).name
    with held(fleet.lab, rf"{NAS1}\{FLEET}\{node}\{stuck}"), held(fleet.lab, rf"{NAS1}\{FLEET}\{node}\{sixty}.zip"):
        run = fleet.run_playbook("prune.yml", extra_vars=fleet.rules)
    assert run.rc == 4, run.output[-3000:]
    assert f"{sixty} is in use at nas1 and stays on every node" in run.text
    assert f"1 of 2 backups could not be deleted: {eighty}: " in run.text
    # It cost no other, and is complete for nobody.
    assert (sets(fleet.root), sets(nas2)) == ([now, ten, twenty], [now, ten])
    assert sets(nas1) == [now, ten, twenty, sixty, eighty]
    assert not (nas1 / node / f"{eighty}.sha256").exists()
    fleet.run_playbook("prune.yml", extra_vars=fleet.rules).assert_ended_well()
    assert sets(nas1) == [now, ten, twenty]
    assert forty not in sets(nas1)


@pytest.mark.long
@wine_only
@pytest.mark.reaches("destination_same", exit_code=4)
def test_two_names_of_one_folder_are_no_two_copies(fleet: Fleet) -> None:
    fleet.make()
    nas1 = fleet.tops[0]
    shutil.rmtree(fleet.places[1])
    fleet.places[1].symlink_to(fleet.places[0], target_is_directory=True)
    before = sorted(file.name for file in nas1.rglob("*") if not file.name.endswith(".set.json"))
    run = fleet.run_playbook("prune.yml", extra_vars=fleet.rules)
    fleet.places[1].unlink()
    assert run.rc == 4, run.output[-3000:]
    # Each of the two is the same as the other.
    assert re.search("it is the same folder as nas[12] by another name", run.text), run.output[-3000:]
    assert sorted(file.name for file in nas1.rglob("*") if not file.name.endswith(".set.json")) == before

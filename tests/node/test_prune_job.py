# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies that are deleted and pinned at two shares, on the real engine: one of them is away, has changed, or is the
other one by another name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._archive import _catalogue
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._retention import (
    _orders,
    _pins,
    _places,
    _sets,
)
from tests import reasons
from tests.backup_places import FOLDER, NOW, POLICY, Place
from tests.lab import standin_catalogue
from tests.node.engine import Engine
from tests.unit.plugins.plugin_utils._archive import test_catalogue as samples

pytestmark = pytest.mark.wine

FLEET = "alteryx_prod"
NAMES = {"nas1": r"\\nas1\ayx", "nas2": r"\\nas2\ayx"}
OLD, NEW = "ServerBackup_Full_20260101_020000", "ServerBackup_Full_20260401_020000"


class Shares:
    """Backups of two days in the archive directory of a node, and copies of them at two shares."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.archive = Place({"n1": engine}, days=("20260101", "20260401"))
        for path in NAMES.values():
            source, target = engine.path(FOLDER) / "n1", engine.path(path) / FLEET / "n1"
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("BackupLog_*"))

    def top(self, name: str) -> Path:
        """The folder of the fleet at a share."""
        return self.engine.path(NAMES[name]) / FLEET

    def left(self, name: str, base: str = OLD) -> set[str]:
        """What is there of a backup, by its endings."""
        return {file.name.removeprefix(f"{base}.") for file in self.top(name).rglob(f"{base}*")}

    def plan(self) -> dict[str, Any]:
        """What a run would delete now."""
        listed = self.archive.catalogues()
        listed["n1"]["places"] = [self._list(name, path) for name, path in NAMES.items()]
        places = _places.read_places(listed, FLEET, NOW, POLICY)
        sets = _sets.read_sets(listed, FLEET, NOW)
        decisions, found = _places.decide_everywhere(sets, places, POLICY, NOW)
        return _orders.join_plans(
            _orders.write_plan(decisions, listed, FLEET),
            [_orders.write_place_plan(place, found.get(place.name, []), listed, FLEET) for place in places],
        )

    def _list(self, name: str, path: str) -> dict[str, Any]:
        folder = rf"{path}\{FLEET}"
        asked = {"folder": folder, "nodes": ["n1"]}
        facts = standin_catalogue.backup_info(self.engine, asked)  # type: ignore[arg-type]
        catalogue, _foreign = _catalogue.entries(facts, folder, samples.PATTERN)
        sets = _catalogue.sets(facts)
        told = {"reason": "", "message": "", "retention": None, "folder": folder, "exists": True}
        return {"destination": name, **told, "catalogue": catalogue, "sets": sets}

    def run(self, plan: dict[str, Any], state: str, **checked: Any) -> dict[str, dict[str, Any]]:
        """One state at all destinations. Returns destination -> what became of it."""
        work = _orders.build_places(plan, "n1", checked, state)
        spec = _orders.build_prune_spec(state, FOLDER, "n1", "r", "ops@control", self._places(work), FLEET, work)
        return self._run("prune_job", spec)

    def pin(self, pin: dict[str, str] | None) -> dict[str, dict[str, Any]]:
        """Pins or unpins the older backup at all destinations."""
        return self._run("pin_job", _pins.build_pin_spec(OLD, "n1", pin, "ops@control", self._places(NAMES), FLEET))

    @staticmethod
    def _places(names: Any) -> list[dict[str, Any]]:
        return [{"name": name, "path": NAMES[name], "user": "", "domain": "", "password": ""} for name in names]

    def _run(self, job: str, spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
        end = self.engine.run_job(job, spec)
        assert end.output == ""
        for place in end.result["places"]:
            if place["reason"]:
                reasons.saw(place["reason"])
        assert not list(self.engine.path(NAMES["nas2"]).rglob("*trial*"))
        return {place["destination"]: place for place in end.result["places"]}

    def audit(self, name: str) -> list[dict[str, Any]]:
        """The audit log of the node at a share."""
        text = (self.top(name) / "n1" / "BackupAudit.log").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def shares(engine: Engine) -> Iterator[Shares]:
    """Two shares; afterwards they are gone."""
    folders = [engine.path(FOLDER), *(engine.path(path).parent for path in NAMES.values())]
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    yield Shares(engine)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def problems(found: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: place["message"] for name, place in found.items() if place["reason"]}


@pytest.mark.long
def test_copies_are_deleted_in_the_steps_of_a_deletion(shares: Shares) -> None:
    plan = shares.plan()
    checked = {"n1": {"places": list(shares.run(plan, "checked").values())}}
    assert (shares.left("nas1"), "zip" in shares.left("nas2")) == (shares.left("nas2"), True)
    begun = shares.run(plan, "begun", **checked)
    assert (problems(begun), begun["nas1"]["did"]) == ({}, [OLD])
    for name in NAMES:
        assert {"prune.json", "zip"} <= shares.left(name)
        assert "sha256" not in shares.left(name)
        # Brought beside the copies that stay.
        assert [file.name for file in shares.top(name).glob("*.set.json")] == [f"{NEW}.set.json"]
        (line,) = shares.audit(name)
        assert (line["verb"], line["who"], line["destination"]) == ("prune", "ops@control", name)
        assert [one["name"] for one in line["backups"]] == [OLD]
    # The process dies here; the next run finishes what has begun.
    again = shares.plan()
    assert {one["rule"] for place in again["places"] for one in place["sets"] if one["deletes"]} == {
        "its deletion has begun"
    }
    for state in ("checked", "begun", "finished"):
        assert problems(shares.run(again, state)) == {}
    assert [shares.left(name) for name in NAMES] == [set(), set()]
    assert "zip" in shares.left("nas1", NEW)
    assert not any(place["deletes"] or place["brings"] for place in shares.plan()["places"])


@pytest.mark.reaches("prune_changed")
def test_a_destination_that_has_changed_costs_no_other(shares: Shares) -> None:
    plan = shares.plan()
    (shares.top("nas1") / "n1" / f"{OLD}.pin.json").write_text("{}", encoding="utf-8")
    checked = shares.run(plan, "checked")
    assert list(problems(checked)) == ["nas1"]
    before = shares.left("nas1")
    for state in ("begun", "finished"):
        assert list(shares.run(plan, state, n1={"places": list(checked.values())})) == ["nas2"]
    assert (shares.left("nas1"), shares.left("nas2")) == (before, set())


@pytest.mark.reaches("destination_unreachable")
@pytest.mark.long
def test_a_destination_that_is_lost_after_the_plan_keeps_what_its_copies_would_replace(shares: Shares) -> None:
    plan = shares.plan()
    shares.engine.path(NAMES["nas1"]).rename(shares.engine.path(NAMES["nas1"]).with_name("away"))
    found = problems(shares.run(plan, "checked"))
    assert "cannot be reached" in found["nas1"]
    assert "nas1, which may hold the other copies, does not answer" in found["nas2"]
    assert "zip" in shares.left("nas2")


@pytest.mark.reaches("destination_same")
@pytest.mark.long
def test_two_names_of_one_folder_are_found(shares: Shares) -> None:
    plan = shares.plan()
    second = shares.engine.path(NAMES["nas2"])
    shutil.rmtree(second)
    second.symlink_to(shares.engine.path(NAMES["nas1"]), target_is_directory=True)
    found = problems(shares.run(plan, "checked"))
    second.unlink()
    assert "it is the same folder as nas2 by another name" in found["nas1"]
    assert "nas2" in found


def test_a_pin_is_written_and_removed_at_destinations(shares: Shares) -> None:
    pin = {"who": "ops", "why": "before the upgrade", "until": "2030-12-31T23:59:59Z"}
    assert [place["changed"] for place in shares.pin(pin).values()] == [True, True]
    assert [place["changed"] for place in shares.pin(pin).values()] == [False, False]
    assert not any(place["deletes"] for place in shares.plan()["places"])
    assert [place["changed"] for place in shares.pin(None).values()] == [True, True]
    assert [line["verb"] for line in shares.audit("nas2")] == ["pin", "unpin"]
    assert shares.audit("nas2")[0]["pin_why"] == "before the upgrade"

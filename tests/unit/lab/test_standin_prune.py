# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A deletion that dies at any of its steps: the catalogue calls nothing complete that is not, and the next plan
finishes it. The same on the real engine is tests/node/test_prune.py."""

from __future__ import annotations

import hashlib
import json
import typing as t
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._archive import _catalogue
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._retention import _orders, _prune, _sets
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._retention._policy import ModePolicy, Policy
from tests.lab import standin_catalogue, standin_prune
from tests.lab.node import Node
from tests.unit.plugins.plugin_utils._archive import test_catalogue as samples

NOW = datetime(2026, 9, 1, tzinfo=UTC)
POLICY = Policy({"full": ModePolicy(days=1, verified=1)}, share=100)
DAYS = ("20260101", "20260201", "20260301", "20260401")
FOLDER = r"D:\AlteryxBackups"


class Dead(Exception):
    """The process has ended here."""


class Place:
    """The archive directories of two nodes, with backups of some days."""

    def __init__(self, folder: Path) -> None:
        self.nodes = {name: Node(name, "standin", "127.0.0.1", 1, "a", "x", folder / name) for name in ("n1", "n2")}
        for name, node in self.nodes.items():
            for day in DAYS:
                self._write(node.path(FOLDER) / name, name, day)

    def _write(self, folder: Path, name: str, day: str) -> None:
        base, run_id = f"ServerBackup_Full_{day}_020000", f"Full_{day}_020000_0001"
        folder.mkdir(parents=True, exist_ok=True)
        started = f"{day[:4]}-{day[4:6]}-{day[6:]}T02:00:00.000Z"
        told = samples.manifest(run_id=run_id, node=name, started=started)
        manifest = {
            **told,
            "secrets": {"included": False},
            "database": {key: told[key] for key in ("databases", "downtime_seconds")} | {"documents": {}},
        }
        texts = {"zip": f"archive of {base}", "manifest.json": json.dumps(manifest)}
        sums = [f"{hashlib.sha256(text.encode()).hexdigest()} *{base}.{ending}\n" for ending, text in texts.items()]
        verdict = {**samples.verification(), "problems": []}
        texts |= {"sha256": "".join(sums), "verify_20260901_020112.json": json.dumps(verdict)}
        for ending, text in texts.items():
            (folder / f"{base}.{ending}").write_text(text, encoding="utf-8")
        (folder / f"BackupLog_Full_{day}_020000.log").write_text("log", encoding="utf-8")
        if name == "n1":
            run = samples.run_set(run_id=run_id, started=started)
            run["nodes"] = {node: {"archive": "x"} for node in ("n1", "n2")}
            (folder.parent / f"{base}.set.json").write_text(json.dumps(run), encoding="utf-8")

    def catalogues(self) -> dict[str, dict[str, t.Any]]:
        """What backup_info says of both nodes."""
        found = {}
        for name, node in self.nodes.items():
            facts = standin_catalogue.backup_info(node, {"folder": FOLDER, "nodes": [name]})
            catalogue, _foreign = _catalogue.entries(facts, FOLDER, samples.PATTERN)
            found[name] = {"catalogue": catalogue, "sets": _catalogue.sets(facts)}
        return found

    def plan(self) -> dict[str, t.Any]:
        """What a run would delete now."""
        listed = self.catalogues()
        decisions = _prune.decide(_sets.read_sets(listed, "alteryx_prod", NOW), POLICY, NOW)
        return _orders.write_plan(decisions, listed, "alteryx_prod")

    def prune(self, steps: int = 10**6) -> int:
        """Does what a run does, and dies after so many deletions of files. Returns how many it has made."""
        made = 0

        def delete(file: Path) -> None:
            nonlocal made
            if made == steps:
                raise Dead
            made += 1
            file.unlink()

        plan = self.plan()
        for state in ("begun", "finished"):
            for name, node in self.nodes.items():
                root = node.path(FOLDER)
                for order in plan["nodes"][name]:
                    if state == "begun":
                        standin_prune.begin_deletion(root / name, order, delete)
                    else:
                        standin_prune.finish_deletion(root, root / name, order, delete)
        return made

    def files(self) -> set[str]:
        """All that is there, without the names of the nodes."""
        return {file.name for node in self.nodes.values() for file in node.path(FOLDER).rglob("*") if file.is_file()}


def test_a_deletion_that_dies_at_any_step_leaves_nothing_that_is_called_complete_and_is_finished(
    tmp_path: Path,
) -> None:
    steps = Place(tmp_path / "all").prune()
    assert steps > 30
    for step in range(steps):
        place = Place(tmp_path / str(step))
        with pytest.raises(Dead):
            place.prune(step)
        for listed in place.catalogues().values():
            for entry in listed["catalogue"]:
                there = {file["name"] for file in entry["files"]}
                whole = {f"{entry['id']}.{ending}" for ending in ("zip", "manifest.json", "sha256")} <= there
                assert entry["complete"] == whole, (step, entry["id"])
        # One node has begun, another has not: the set does not count.
        sets = {one.name: one for one in _sets.read_sets(place.catalogues(), "alteryx_prod", NOW)}
        for one in sets.values():
            assert one.is_good == (len(one.backups) == 2 and all(each["complete"] for each in one.backups.values()))
        place.prune()
        left = {name for name in place.files() if "20260401" not in name}
        assert left == set(), (step, left)
        assert place.plan()["deletes"] is False


@pytest.mark.parametrize(
    "change",
    [
        lambda folder, base: (folder / f"{base}.zip").write_text("other", encoding="utf-8"),
        lambda folder, base: (folder / f"{base}.zip").unlink(),
        lambda folder, base: (folder / f"{base}.pin.json").write_text("{}", encoding="utf-8"),
        lambda folder, base: (folder / f"{base}.sha256").write_bytes(
            (folder / f"{base}.sha256").read_bytes().swapcase()
        ),
        lambda folder, base: (folder / f"{base.replace('ServerBackup', 'BackupLog')}.log").unlink(),
    ],
    ids=["size", "gone", "pinned meanwhile", "other hashes", "log"],
)
def test_a_listing_that_has_changed_since_the_plan_deletes_nothing(
    change: t.Callable[[Path, str], t.Any], tmp_path: Path
) -> None:
    place = Place(tmp_path)
    orders = place.plan()["nodes"]["n1"]
    node = place.nodes["n1"]
    change(node.path(FOLDER) / "n1", orders[-1]["name"])
    before = place.files()
    for state in ("checked", "begun"):
        arguments = {
            "state": state, "folder": FOLDER, "run_id": "", "_node": "n1", "_who": "ops@control",
            "_backups": json.dumps({"backups": orders}),
        }  # fmt: skip
        with pytest.raises(standin_prune.NodeFailure) as caught:
            standin_prune.backup_prune(node, arguments)
        assert caught.value.reason == "prune_changed"
    assert place.files() == before

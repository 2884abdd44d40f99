# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A deletion that dies at any of its steps: the catalogue calls nothing complete that is not, and the next plan
finishes it. The same on the real engine is tests/node/test_prune.py."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._retention import _sets
from tests.backup_places import FOLDER, NOW, Place
from tests.lab import standin_prune
from tests.lab.node import Node


class Dead(Exception):
    """The process has ended here."""


def fleet(folder: Path) -> Place:
    """Two nodes with backups of four days."""
    return Place({name: Node(name, "standin", "127.0.0.1", 1, "a", "x", folder / name) for name in ("n1", "n2")})


def prune(place: Place, steps: int = 10**6) -> int:
    """Does what a run does, and dies after so many deletions of files. Returns how many it has made."""
    made = 0

    def delete(file: Path) -> None:
        nonlocal made
        if made == steps:
            raise Dead
        made += 1
        file.unlink()

    plan = place.plan()
    for state in ("begun", "finished"):
        for name, node in place.nodes.items():
            root = node.path(FOLDER)
            for order in plan["nodes"][name]:
                if state == "begun":
                    standin_prune.begin_deletion(root / name, order, delete)
                else:
                    standin_prune.finish_deletion(root, root / name, order, delete)
    return made


def test_a_deletion_that_dies_at_any_step_leaves_nothing_that_is_called_complete_and_is_finished(
    tmp_path: Path,
) -> None:
    steps = prune(fleet(tmp_path / "all"))
    assert steps > 30
    for step in range(steps):
        place = fleet(tmp_path / str(step))
        with pytest.raises(Dead):
            prune(place, step)
        for listed in place.catalogues().values():
            for entry in listed["catalogue"]:
                there = {file["name"] for file in entry["files"]}
                whole = {f"{entry['id']}.{ending}" for ending in ("zip", "manifest.json", "sha256")} <= there
                assert entry["complete"] == whole, (step, entry["id"])
        # One node has begun, another has not: the set does not count.
        sets = {one.name: one for one in _sets.read_sets(place.catalogues(), "alteryx_prod", NOW)}
        for one in sets.values():
            assert one.is_good == (len(one.backups) == 2 and all(each["complete"] for each in one.backups.values()))
        prune(place)
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
    place = fleet(tmp_path)
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

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator does with a backup that is there: verify, copy, pin, list and prune it, look at the fleet, and take
the collection off the node. One database backup serves all; each playbook has tests of its own elsewhere, most of them
long."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .backup_files import flip_bit
from .kinds import wine_only
from .lab_of_tests import LEASE, Lab
from .older_backups import copy_to_days
from .playbook_run import PlaybookRunner
from .test_copies import FLEET, NAS1, destination, sha256
from .test_removal import DEAD, LEFT_LEASE, PLAYBOOK, assert_refused, put, what_is_left
from .test_retention import sets

pytestmark = wine_only

FOLDER = r"D:\Operator"
POLICY = {"database": {"days": 14, "verified": 1}}


@dataclass(frozen=True)
class Kept:
    """Sets of today and of 20, 40 and 60 days ago, all of the same bytes."""

    root: Path
    run_id: str
    variables: dict[str, object]

    def sets(self) -> list[str]:
        """The names of those that are there, newest first."""
        return sets(self.root)


@pytest.fixture(scope="module")
def kept(lab: Lab, run_playbook: PlaybookRunner) -> Iterator[Kept]:
    """The backups; the policy is that of a run that prunes."""
    root = lab.node.path(FOLDER)
    where: dict[str, object] = {"alteryx_archive_directory": FOLDER}
    run = run_playbook("database_backup.yml", extra_vars=where)
    run.assert_ok()
    copy_to_days([root], sets(root)[0], (20, 40, 60))
    yield Kept(root, run.outcome["run_id"], where)
    shutil.rmtree(root)


def test_its_copy_on_a_share_has_the_same_bytes(lab: Lab, kept: Kept, run_playbook: PlaybookRunner) -> None:
    share = lab.node.path(NAS1)
    share.mkdir(parents=True)
    try:
        wanted = {**kept.variables, "alteryx_distribution_destinations": [destination("nas1", NAS1)]}
        run_playbook("copy_backup.yml", extra_vars=wanted).assert_ended_well()
        copied = share / FLEET / lab.node.name / f"{kept.sets()[0]}.zip"
        assert sha256(copied) == sha256(kept.root / lab.node.name / copied.name)
    finally:
        lab.node.empty_again()
        shutil.rmtree(share.parent, ignore_errors=True)


def test_what_is_pinned_is_listed_so_and_stays_when_the_policy_deletes(
    kept: Kept, run_playbook: PlaybookRunner, tmp_path: Path
) -> None:
    today, twenty, forty, sixty = kept.sets()
    pin = {"alteryx_retention_pin_id": sixty, "alteryx_retention_pin_why": "before the upgrade"}
    run_playbook("pin_backup.yml", extra_vars={**kept.variables, **pin}).assert_ended_well()
    file = tmp_path / "list.json"
    run_playbook(
        "list_backups.yml", extra_vars={**kept.variables, "alteryx_catalogue_list_file": str(file)}
    ).assert_ended_well()
    (listed,) = json.loads(file.read_text(encoding="utf-8"))["nodes"].values()
    assert [entry["id"] for entry in listed["backups"] if entry["pin"]] == [sixty]
    pruned = run_playbook("prune.yml", extra_vars={**kept.variables, "alteryx_retention_policy": POLICY})
    pruned.assert_ended_well()
    assert f"delete {forty} database" in pruned.text
    assert kept.sets() == [today, twenty, sixty]


def test_a_backup_is_read_back_and_a_flipped_byte_is_found(lab: Lab, kept: Kept, run_playbook: PlaybookRunner) -> None:
    archive = kept.root / lab.node.name / f"{kept.sets()[0]}.zip"
    wanted = {**kept.variables, "alteryx_catalogue_verify_id": kept.run_id}
    good = run_playbook("verify_backup.yml", extra_vars=wanted)
    good.assert_ended_well()
    assert f"{archive.stem} is good" in good.text
    flip_bit(archive)
    run = run_playbook("verify_backup.yml", extra_vars=wanted)
    assert run.rc == 3, run.output
    assert f"{archive.stem} is not good" in run.text


@pytest.mark.usefixtures("kept", "untouched")
def test_the_fleet_is_shown(lab: Lab, run_playbook: PlaybookRunner) -> None:
    topology = run_playbook("topology.yml")
    topology.assert_ended_well()
    assert lab.node.name in topology.stdout.partition("fleet alteryx_lab\n")[2]


@pytest.mark.usefixtures("kept")
def test_the_collection_leaves_the_node_but_not_while_a_lease_is_there(lab: Lab, run_playbook: PlaybookRunner) -> None:
    put(lab, LEASE, json.dumps(LEFT_LEASE))
    assert_refused(run_playbook(PLAYBOOK), 3, f"The run {DEAD} has left its lease")
    lab.node.path(LEASE).unlink()
    service = lab.node.service()
    run_playbook(PLAYBOOK).assert_ended_well()
    assert what_is_left(lab) == []
    assert lab.node.service() == service

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet of three is restored: the files of every node, the documents of the controller, in the order of a backup."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.fleet_watch import FleetWatch

from . import restore_scene as scene
from .lab_of_tests import Lab
from .playbook_run import PlaybookRunner, Run

pytestmark = [pytest.mark.long, pytest.mark.timeout(2400)]

CONTROLLER, WORKER, UI = "alteryx-lab-1", "alteryx-lab-2", "alteryx-lab-3"
CONFIRMED = {"alteryx_restore_confirm": "alteryx_lab"}


@dataclass(frozen=True)
class Fleet:
    """A fleet of which there is a full backup."""

    lab: Lab
    run_playbook: PlaybookRunner
    golden: dict[str, scene.GoldenState]

    def now(self) -> dict[str, scene.GoldenState]:
        """What every node is now."""
        return {node.name: scene.take_golden_state(node) for node in self.lab.nodes}

    def differences(self, wanted: dict[str, scene.GoldenState]) -> dict[str, list[str]]:
        """What is not as wanted, by node."""
        now = self.now()
        found = {name: scene.compare(state, now[name]) for name, state in wanted.items()}
        # A backup takes the aliases of workers only.
        found[CONTROLLER], found[UI] = (
            [text for text in found[name] if not text.startswith("Engine\\")] for name in (CONTROLLER, UI)
        )
        return {name: texts for name, texts in found.items() if texts}

    def leftovers(self) -> list[str]:
        """Of all nodes."""
        return [path for lab in self.lab.each() for path in lab.leftovers()]

    def kept(self) -> list[str]:
        """Of all nodes."""
        return [path for node in self.lab.nodes for path in scene.kept(node)]

    def run(self, playbook: str, **variables: object) -> Run:
        """Run a playbook, confirmed."""
        return self.run_playbook(playbook, extra_vars={**CONFIRMED, **variables}, timeout=1200)


@pytest.fixture
def backed_up(fleet: Lab, tmp_path: Path) -> Iterator[Fleet]:
    """The fleet at the moment of its backup, and so again afterwards."""
    run_playbook = PlaybookRunner(fleet)
    run_playbook("full_backup.yml", timeout=900).assert_ok()
    copies = [(node, scene.ColdCopy.of(node, tmp_path / node.name)) for node in fleet.nodes]
    yield Fleet(fleet, run_playbook, {node.name: scene.take_golden_state(node) for node in fleet.nodes})
    for lab in fleet.each():
        lab.node.behave()
        for name in lab.tasks():
            with contextlib.suppress(RuntimeError):
                lab.run_program("schtasks.exe", "/Delete", "/TN", name, "/F")
    for node, copy in copies:
        copy.put_back(node)
    for lab in fleet.each():
        lab.recover()


def test_every_node_is_that_of_the_backup_and_a_rollback_gives_every_node_back(backed_up: Fleet) -> None:
    for node in backed_up.lab.nodes:
        scene.damage_server(node, 13)
    damaged = backed_up.now()
    with FleetWatch(backed_up.lab.nodes) as watching:
        run = backed_up.run("restore.yml")
    run.assert_ended_well()
    assert backed_up.differences(backed_up.golden) == {}
    assert [node for node, _unused in watching.order("Stopped")] == [UI, WORKER, CONTROLLER], watching.table()
    assert [node for node, _unused in watching.order("Running")] == [CONTROLLER, WORKER, UI], watching.table()
    assert backed_up.leftovers() == []

    back = backed_up.run("roll_back_restore.yml", alteryx_restore_run=run.outcome["run_id"])
    back.assert_ended_well()
    assert backed_up.differences(damaged) == {}
    assert backed_up.leftovers() == []
    assert backed_up.kept() != []
    backed_up.run("accept_restore.yml", alteryx_restore_run=run.outcome["run_id"]).assert_ended_well()
    assert backed_up.kept() == []
    assert backed_up.differences(damaged) == {}


def test_a_database_that_is_not_whole_leaves_every_node_as_it_was(backed_up: Fleet) -> None:
    for node in backed_up.lab.nodes:
        scene.damage_server(node, 17)
    damaged = backed_up.now()
    backed_up.lab.nodes[0].behave(emongorestore="partial")
    run = backed_up.run("restore.yml")
    assert run.rc == 5, run.output[-4000:]
    assert backed_up.differences(damaged) == {}
    assert backed_up.leftovers() == []

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What judges a restore sees what it must on every node of a fleet: only the controller has documents."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from . import restore_scene as scene
from .lab_of_tests import Lab


@pytest.fixture
def put_back(fleet: Lab, tmp_path: Path) -> Iterator[None]:
    """Every server of the fleet is put back afterwards."""
    copies = [(node, scene.ColdCopy.of(node, tmp_path / node.name)) for node in fleet.nodes]
    yield
    for node, copy in copies:
        copy.put_back(node)


@pytest.mark.long
@pytest.mark.usefixtures("put_back")
def test_each_damage_of_each_node_is_seen(fleet: Lab) -> None:
    for node in fleet.nodes:
        golden = scene.take_golden_state(node)
        assert bool(golden.collections) == (node.role == "controller")
        assert golden.no_database == ""
        assert {*scene.FILES, r"Keys\master.key"} <= golden.files.keys()
        names = scene.damage_server(node, 5)
        damaged = scene.take_golden_state(node)
        assert {text.partition(": ")[0] for text in scene.compare(golden, damaged)} == set(names)
        assert scene.judge_server(node, golden, damaged) == "new"
        scene.break_server(node)
        assert scene.judge_server(node, golden, damaged).startswith("half: ")
        assert scene.start_service(node) == "Stopped"

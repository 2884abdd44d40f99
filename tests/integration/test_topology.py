# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""topology.yml prints every node of a fleet, finds what does not fit, and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab import control

from . import observer
from .lab_of_tests import SETTINGS, Lab
from .playbook_run import PlaybookRunner
from .test_fleet import CONTROLLER, UI, WORKER, node, wait_for_answer


@pytest.fixture
def other_controller(fleet: Lab) -> Iterator[None]:
    """The worker names another controller than that of its fleet."""
    file = node(fleet, WORKER).path(SETTINGS)
    before = file.read_bytes()
    file.write_bytes(before.replace(b"<ServerName>alteryx-lab-1", b"<ServerName>alteryx-other"))
    assert file.read_bytes() != before
    yield
    file.write_bytes(before)


def rows(text: str) -> dict[str, str]:
    lines = text.partition("fleet alteryx_lab\n")[2].splitlines()
    return {line.split()[0]: line for line in lines[1:4]}


@pytest.mark.long
def test_a_fleet_has_a_table_with_every_node(fleet: Lab) -> None:
    before = [observer.tree(each) for each in fleet.nodes]
    run = PlaybookRunner(fleet)("topology.yml")
    assert run.rc == 0, run.output
    table = rows(run.stdout)
    assert list(table) == [CONTROLLER, WORKER, UI]
    assert [table[name].split()[1] for name in table] == ["controller", "worker", "ui"]
    assert "embedded MongoDB" in table[CONTROLLER]
    assert [line.split()[-2:] for line in table.values()] == [["3", "1"], ["2", "2"], ["1", "3"]]
    assert [observer.difference(tree, observer.tree(each)) for tree, each in zip(before, fleet.nodes, strict=True)] == [
        [],
        [],
        [],
    ]


@pytest.mark.long
@pytest.mark.usefixtures("other_controller")
def test_a_worker_of_another_controller_is_a_problem(fleet: Lab) -> None:
    run = PlaybookRunner(fleet)("topology.yml")
    assert run.rc == 3, run.output
    assert f"problem: {WORKER}: Worker/ServerName is alteryx-other" in run.stdout
    assert len(rows(run.stdout)) == 3


@pytest.mark.long
def test_a_node_that_does_not_answer_hides_no_other(fleet: Lab) -> None:
    control.ask(fleet.control_port, "cut", node=UI, seconds=8)
    run = PlaybookRunner(fleet)("topology.yml")
    wait_for_answer(node(fleet, UI))
    assert run.rc == 3, run.output
    assert sorted(rows(run.stdout)) == [CONTROLLER, WORKER, UI]
    assert f"problem: {UI}: " in run.stdout

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One lab for all integration tests; the same assertions on every kind of node."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.lab.node import ServiceState

from . import observer
from .kinds import KINDS
from .lab_of_tests import Lab, running_lab
from .playbook_run import PlaybookRunner

if TYPE_CHECKING:
    from .restored_server import Server


@pytest.fixture(scope="session", params=KINDS)
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A running lab with one node."""
    with running_lab(request.param) as running:
        yield running


@pytest.fixture(scope="session", params=KINDS)
def fleet(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A running lab of three nodes: controller, worker, UI node."""
    with running_lab(request.param, "test-fleet", count=3) as running:
        yield running


@pytest.fixture(scope="session")
def run_playbook(lab: Lab) -> PlaybookRunner:
    """Runs ansible-playbook against the lab."""
    return PlaybookRunner(lab)


@pytest.fixture
def recovered(lab: Lab) -> Iterator[Lab]:
    """The lab, for a test that lets its node misbehave: it behaves again afterwards, and its service runs."""
    yield lab
    lab.recover()


@pytest.fixture
def server(backed_up: Server) -> Iterator[Server]:
    """The server at the moment of its backup; so it is again afterwards. The fixture backed_up is the module's own."""
    yield backed_up
    backed_up.put_back()


@pytest.fixture
def lab_doubles(lab: Lab) -> None:
    """For a test that needs what only the lab has: a user without rights, a Task Scheduler that can
    be told to misbehave."""
    if lab.kind == "windows":
        pytest.skip("needs a double that takes the place of a part of Windows")


@pytest.fixture
def untouched(lab: Lab) -> Iterator[ServiceState]:
    """Fails the test if afterwards anything on the node is not as it was: files, service, tasks."""
    before, service = observer.tree(lab.node), lab.node.service()
    yield service
    assert observer.difference(before, observer.tree(lab.node)) == []
    assert lab.node.service() == service
    assert lab.tasks() == []

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A restore is killed at any moment. Afterwards the complete old server or the complete new server runs, and
recover.yml or the report says which. No client was served by a partly restored server. `make chaos-restore` has all
boundaries and victims (restore_kills.py)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.lab_of_tests import Lab

from .conftest import repair
from .restore_kills import Bench, Kill

pytestmark = [pytest.mark.wine, pytest.mark.long, pytest.mark.timeout(1800)]

KILLS = [
    Kill("emongorestore", "job", 1),
    Kill("some_files", "reboot", 2),
    Kill("data_away", "both", 3),
    Kill("emongorestore", "control", 4),
    Kill("emongorestore", "reboot", 5),
    Kill("before_commit", "job", 6),
    Kill("after_commit", "both", 7),
    Kill("undo", "both", 8),
    Kill("rollback_some", "reboot", 9),
]


@pytest.fixture(scope="module")
def bench(session_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A damaged server of which there is a good backup."""
    repair(session_lab)
    made = Bench.of(session_lab, tmp_path_factory.mktemp("bench"))
    yield made
    made.end()
    repair(session_lab)


@pytest.mark.parametrize("kill", KILLS, ids=lambda kill: f"{kill.victim}-{kill.boundary}")
def test_the_old_or_the_new_server_runs_whatever_is_killed(bench: Bench, kill: Kill) -> None:
    assert bench.carry_out(kill).problems == []

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Task Scheduler of the node does not answer, and the guard that it runs does not go away because of that."""

from __future__ import annotations

import pytest

from tests.integration.lab_of_tests import Lab
from tests.lab import wine_node
from tests.lab.node import SERVICE

from .conftest import Start
from .scenes import in_dump
from .watch import Watch, guard_acted, state_file, until

pytestmark = [pytest.mark.wine, pytest.mark.long, pytest.mark.timeout(900)]


@pytest.mark.reaches("task_unknown")
def test_a_scheduler_that_does_not_answer_keeps_the_lease(lab: Lab, start: Start, watching: Watch) -> None:
    lab.node.behave(emongodump_delay_ms="15000")
    run = start("database_backup.yml")
    in_dump(lab, run)
    lab.node.behave(emongodump_delay_ms="15000", schtasks="rpc_error")
    finished = run.finish()
    finished.assert_failed(1, "task_unknown")
    assert lab.node.service().state == "Running"
    # The lease stays with its guard: a guard without a lease acts.
    assert state_file(lab, "lease.json").exists()
    assert lab.tasks() == [r"\AlteryxOps\Guard"]
    # So a person can stop the service now, without a forgotten guard that starts it again.
    wine_node.run(lab.node.folder, wine_node.LABCTL, "stop", SERVICE, "30")
    lab.node.behave()
    recovered = start("recover.yml", extra_vars={"alteryx_preflight_lock_stale": 2}).finish()
    assert recovered.rc == 0, recovered.output
    assert lab.leftovers() == []


def test_a_scheduler_that_does_not_answer_at_first_stops_nothing(lab: Lab, start: Start, watching: Watch) -> None:
    lab.node.behave(schtasks="rpc_error")
    finished = start("database_backup.yml").finish()
    assert finished.rc in (1, 3), finished.output
    assert finished.outcome["reason"] in ("task_unknown", "task_refused")
    lab.node.behave()
    until(lambda: watching.states, 10, "a look at the service")
    assert [state for _unused, state in watching.states] == ["Running"]
    assert not guard_acted(lab)
    assert lab.leftovers() == []

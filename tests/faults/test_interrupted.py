# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The run is interrupted. It never ends as a success, prints what continues, and the service is started again."""

from __future__ import annotations

import pytest

from tests.integration.lab_of_tests import Lab

from .conftest import Start
from .scenes import in_dump, wait_for_stale_lock
from .watch import Watch, until

pytestmark = [pytest.mark.wine, pytest.mark.long, pytest.mark.timeout(900)]

MOMENTS = (
    "Read every node",
    "Lock the node",
    "Try to read critical files and secrets",
    "Take the lease",
    "Stop, dump, start",
    "Bring the service back as it was",
    "Export critical files and secrets",
    "Write the archive",
    "Verify the archive",
    "Write set manifest and logs to the nodes",
)


@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.reaches("run_interrupted", exit_code=9)
def test_an_interrupted_run_says_what_goes_on_and_leaves_a_service_that_runs(
    lab: Lab, start: Start, watching: Watch, moment: str, times: int
) -> None:
    run = start("full_backup.yml", extra_vars={"alteryx_preflight_lock_stale": 2})
    until(lambda: f"{moment}]" in run.output or run.ended, 240, moment)
    run.interrupt(times)
    finished = run.finish()
    finished.assert_failed(9, "run_interrupted", message="the run was interrupted after the step")
    wait_for_stale_lock_if_there(lab)
    until(lambda: watching.state == "Running", 120, "Running")
    recovered = start("recover.yml").finish()
    assert recovered.rc == 0, recovered.output
    assert lab.node.service().state == "Running"
    assert lab.leftovers() == []


def test_a_run_that_is_interrupted_in_its_dump_loses_no_dump(lab: Lab, start: Start, watching: Watch) -> None:
    lab.node.behave(emongodump_delay_ms="8000")
    run = start("database_backup.yml", extra_vars={"alteryx_preflight_lock_stale": 2})
    in_dump(lab, run)
    run.interrupt()
    finished = run.finish()
    finished.assert_failed(9, "run_interrupted")
    (line,) = finished.outcome["continues"]
    assert line.startswith(f"{lab.node.name}: Its window job continues")
    assert f" now      {line}\n" in finished.output
    wait_for_stale_lock(lab, 2)
    assert watching.state == "Running"
    recovered = start("recover.yml").finish()
    assert recovered.rc == 0, recovered.output
    run_id = finished.outcome["run_id"]
    assert f"archived the dump of the run {run_id} (data as of " in recovered.text
    stamp = run_id.split("_", 1)[1].rpartition("_")[0]
    assert [path.name for path in lab.node.path(r"D:\AlteryxBackups").rglob("*.zip")] == [
        f"ServerBackup_DB_{stamp}.zip"
    ]
    # The next run takes a window of its own.
    lab.node.behave()
    following = start("database_backup.yml").finish()
    following.assert_ok()
    assert following.outcome["downtime"]["total"] > 0
    assert lab.leftovers() == []


def test_the_dump_of_a_run_that_was_killed_is_adopted_within_its_time_and_archived_beyond(
    lab: Lab, start: Start, watching: Watch
) -> None:
    lab.node.behave(emongodump_delay_ms="8000")
    run = start("database_backup.yml", extra_vars={"alteryx_preflight_lock_stale": 2})
    in_dump(lab, run)
    run.kill_everything()
    wait_for_stale_lock(lab, 2)
    until(lambda: watching.state == "Running", 120, "Running")
    lab.node.behave()
    states, dumps = len(watching.states), len(watching.dumps)
    adopted = start("database_backup.yml", extra_vars={"alteryx_preflight_adopt_within": 3600}).finish()
    adopted.assert_ok()
    assert (len(watching.states), len(watching.dumps)) == (states, dumps)
    assert "data as of " in adopted.text
    assert len(list(lab.node.path(r"D:\AlteryxBackups").rglob("*.zip"))) == 1
    following = start("database_backup.yml", extra_vars={"alteryx_preflight_adopt_within": 3600}).finish()
    following.assert_ok()
    assert following.outcome["downtime"]["total"] > 0
    assert lab.leftovers() == []


def wait_for_stale_lock_if_there(lab: Lab) -> None:
    if lab.node.path(r"C:\ProgramData\AlteryxOps\run.json").exists():
        wait_for_stale_lock(lab, 2)

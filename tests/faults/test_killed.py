# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control node dies. The service is started again without it, and the next run needs no repair."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path

import pytest

from tests.integration.lab_of_tests import STATE_FOLDER, Lab

from . import measurements
from .conftest import MINUTE, Start
from .scenes import (
    ALIVE_LIMIT,
    DEAD_LIMIT,
    guard_restores,
    in_dump,
    next_run_is_good,
    note_restarts,
    wait_for_stale_lock,
)
from .watch import DUMP, WINDOW_JOB, Watch, guard_acted, guard_log, host_processes, signal_processes, state_file, until

pytestmark = [pytest.mark.wine, pytest.mark.long, pytest.mark.timeout(900)]


def test_killed_during_the_dump_the_job_brings_the_service_back_and_the_next_run_is_good(
    lab: Lab, start: Start, watching: Watch
) -> None:
    before = lab.node.service()
    lab.node.behave(emongodump_delay_ms="4000")
    run = start("database_backup.yml", extra_vars={"alteryx_preflight_lock_stale": 5})
    in_dump(lab, run)
    run.kill_everything()
    restart = watching.restart_after_dump(60)
    note_restarts("SIGKILL of everything during the dump, job alive", [restart])
    restart.assert_within(ALIVE_LIMIT)
    assert not guard_acted(lab)
    assert lab.node.service().pid != before.pid
    # The lease stays, and nothing says any more that the service is stopped.
    until(lambda: not state_file(lab, "STATUS.txt").exists(), 15, "the end of the notice")
    assert state_file(lab, "lease.json").exists()
    lab.node.behave()
    wait_for_stale_lock(lab, 5)
    next_run_is_good(lab, start)


def test_killed_with_the_window_job_too_the_guard_brings_the_service_back(
    lab: Lab, start: Start, watching: Watch
) -> None:
    before = lab.node.service()
    lab.node.behave(emongodump_delay_ms="120000")
    run = start("database_backup.yml", extra_vars={"alteryx_preflight_lock_stale": 5})
    in_dump(lab, run)
    run.kill_everything()
    assert signal_processes(lab.node, WINDOW_JOB, signal.SIGKILL) > 0
    killed = time.monotonic()
    seconds = guard_restores(lab, watching, killed)
    measurements.note(
        f"SIGKILL of everything and of the job: Running after the kill (minute {MINUTE:.0f} s)", [seconds], DEAD_LIMIT
    )
    assert seconds <= DEAD_LIMIT
    assert lab.node.service().pid != before.pid
    assert host_processes(lab.node, DUMP) == []
    # It writes once the service has been Running for two seconds.
    until(
        lambda: "has ended; AlteryxService was Stopped and is Running again" in guard_log(lab), 15, "the guard's word"
    )
    lab.node.behave()
    recovered = start("recover.yml").finish()
    assert recovered.rc == 0, recovered.output
    assert recovered.text.count("removed the rest of the job") == 1
    ((run_id, fetched),) = re.findall(r"fetched a log of the run (\S+) to (\S+)", recovered.text)
    (kept,) = lab.node.path(rf"{STATE_FOLDER}\logs").glob(f"{run_id}*window*.log")
    assert "stopping AlteryxService" in Path(fetched).read_text(encoding="utf-8")
    assert kept.read_text(encoding="utf-8-sig") == Path(fetched).read_text(encoding="utf-8")
    assert "AlteryxStaging" in recovered.text
    assert lab.leftovers() == []
    assert lab.node.service().state == "Running"
    clean = start("recover.yml").finish()
    assert clean.rc == 0, clean.output
    assert "changed=0" in clean.text
    assert "nothing to recover" in clean.text

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What several fault tests wait for or expect."""

from __future__ import annotations

import signal
import time

from tests.integration.lab_of_tests import Lab
from tests.lab import wine_node
from tests.lab.node import SERVICE

from . import measurements
from .background_run import HEARTBEAT_STALE, LOCK_STALE, BackgroundRun
from .conftest import MINUTE, Start
from .watch import DUMP, WINDOW_JOB, Restart, Watch, guard_log, host_processes, signal_processes, state_file, until

# With the job alive: within that many seconds of the dump's end.
ALIVE_LIMIT = 5.0
# With the job dead too: heartbeat limit + 75 s, of which 60 s are the guard's minute.
DEAD_LIMIT = HEARTBEAT_STALE + MINUTE + 15


def in_dump(lab: Lab, run: BackgroundRun) -> None:
    """Wait until the run's dump is on."""
    until(lambda: host_processes(lab.node, DUMP) or run.ended, 180, "the dump")
    assert not run.ended, run.output[-4000:]


def next_run_is_good(lab: Lab, start: Start, playbook: str = "database_backup.yml") -> None:
    """A run after the dead one, without any repair: ends 0 and leaves nothing, not even of the dead one."""
    run = start(playbook).finish()
    run.assert_ok()
    assert lab.node.service().state == "Running"
    staging = str(lab.node.path("D:\\AlteryxStaging"))
    left = [path for path in lab.leftovers() if not path.startswith(staging)]
    assert not left, left


def wait_for_stale_lock(lab: Lab, stale: float = LOCK_STALE) -> None:
    """Wait until no process of the dead run is running on the node and its lock counts as stale. A call that was active
    at the time of the kill still refreshes the lock."""
    until(lambda: not host_processes(lab.node, "job_host.ps1"), 60, "the end of the job")
    lock = state_file(lab, "run.json")
    until(lambda: time.time() > lock.stat().st_mtime + stale + 1, stale + 60, "a stale lock")


def guard_restores(lab: Lab, watching: Watch, dead_since: float) -> float:
    """Wait until the guard has started the service. Return the seconds since the job ended."""
    until(lambda: watching.since(dead_since) is not None, DEAD_LIMIT + 20, f"Running; guard.log: {guard_log(lab)}")
    return watching.since(dead_since) or 0.0


def note_restarts(name: str, restarts: list[Restart], limit: float = ALIVE_LIMIT) -> None:
    """Both times of some restarts; limit: seconds until Running."""
    measurements.note(f"{name}: start asked for after the dump's end", [restart.asked for restart in restarts])
    measurements.note(f"{name}: Running after the dump's end", [restart.running for restart in restarts], limit)


def leave_service_down(lab: Lab, start: Start) -> None:
    """A run dies in its dump together with its window job, and no guard fires: the service stays Stopped."""
    lab.minute(3600)
    lab.node.behave(emongodump_delay_ms="120000")
    run = start("database_backup.yml", extra_vars={"alteryx_preflight_lock_stale": 2})
    in_dump(lab, run)
    run.kill_everything()
    signal_processes(lab.node, WINDOW_JOB, signal.SIGKILL)
    lab.node.behave()
    wait_for_stale_lock(lab, 2)
    assert lab.node.service().state == "Stopped"


def set_start_type(lab: Lab, start_type: str) -> None:
    """Whether Windows starts the service at boot: auto or demand. From the next boot on."""
    # Wine's sc.exe has no config; its service manager reads this at boot.
    key = rf"HKLM\System\CurrentControlSet\Services\{SERVICE}"
    number = {"auto": "2", "demand": "3"}[start_type]
    wine_node.run(lab.node.folder, "reg.exe", "add", key, "/v", "Start", "/t", "REG_DWORD", "/d", number, "/f")

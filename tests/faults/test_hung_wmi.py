# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WMI of the node hangs, or answers with an error, while the service is stopped: that does not prevent or delay the
start of the service."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.integration.lab_of_tests import Lab
from tests.lab import wine_node
from tests.lab.alteryx_install import BIN

from . import measurements
from .conftest import MINUTE, Start
from .scenes import (
    ALIVE_LIMIT,
    DEAD_LIMIT,
    guard_restores,
    in_dump,
    next_run_is_good,
    set_start_type,
    wait_for_stale_lock,
)
from .watch import DUMP, WINDOW_JOB, Watch, guard_acted, guard_log, host_processes, signal_processes, until

pytestmark = [pytest.mark.wine, pytest.mark.long, pytest.mark.timeout(900)]

LONG_DUMP = {"emongodump_delay_ms": "120000"}


@contextlib.contextmanager
def orphan(lab: Lab) -> Iterator[subprocess.Popen[bytes]]:
    """A mongod of the installation that no service uses. It has its own port and folder."""
    folder = lab.node.path("D:\\").joinpath("Orphan")
    folder.mkdir(exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--dbpath", r"D:\Orphan", "--port", str(port), "--bind_ip", "127.0.0.1"]
    # As the service's own: what mongod collects about itself crashes it under Wine.
    options += ["--setParameter", "diagnosticDataCollectionEnabled=false"]
    command = wine_node.wine_command(lab.node.folder, rf"{BIN}\mongod.exe", *options)
    process = subprocess.Popen(
        command, env=wine_node.environment(lab.node.folder), cwd=lab.node.path("C:\\"), stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until(lambda: _listens(port), 60, "the orphaned mongod")
        yield process
    finally:
        process.kill()
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_the_job_dies_while_wmi_hangs_and_the_guard_brings_the_service_back(
    lab: Lab, start: Start, watching: Watch
) -> None:
    lab.node.behave(**LONG_DUMP)
    run = start("database_backup.yml")
    in_dump(lab, run)
    lab.node.behave(wmi="hang", **LONG_DUMP)
    assert signal_processes(lab.node, WINDOW_JOB, signal.SIGKILL) > 0
    seconds = guard_restores(lab, watching, time.monotonic())
    measurements.note("WMI hung, job killed: Running after it", [seconds], DEAD_LIMIT)
    assert seconds <= DEAD_LIMIT
    assert host_processes(lab.node, DUMP) == []
    run.finish()
    assert lab.node.service().state == "Running"


@pytest.mark.parametrize("fault", ["hang", "bare_rows"])
def test_everybody_dies_and_the_guard_ends_an_orphaned_mongod_too_whatever_wmi_does(
    lab: Lab, start: Start, watching: Watch, fault: str
) -> None:
    lab.node.behave(**LONG_DUMP)
    run = start("database_backup.yml", extra_vars={"alteryx_preflight_lock_stale": 5})
    in_dump(lab, run)
    with orphan(lab) as mongod:
        lab.node.behave(wmi=fault, **LONG_DUMP)
        run.kill_everything()
        assert signal_processes(lab.node, WINDOW_JOB, signal.SIGKILL) > 0
        seconds = guard_restores(lab, watching, time.monotonic())
        measurements.note(f"WMI {fault}, everybody killed, a mongod orphaned: Running after it", [seconds], DEAD_LIMIT)
        assert seconds <= DEAD_LIMIT
        assert host_processes(lab.node, DUMP) == []
        # The service is not started into it.
        assert mongod.poll() is not None
    lab.node.behave()
    wait_for_stale_lock(lab, 5)
    next_run_is_good(lab, start)


def test_the_node_reboots_while_wmi_hangs(lab: Lab, start: Start) -> None:
    lab.node.behave(**LONG_DUMP)
    run = start("database_backup.yml")
    in_dump(lab, run)
    run.kill_everything()
    lab.node.behave(wmi="hang")
    set_start_type(lab, "demand")
    try:
        lab.node.reboot()
        booted = time.monotonic()
        assert lab.wait_for("Running", DEAD_LIMIT).state == "Running", guard_log(lab)
        measurements.note("WMI hung, reboot: Running after boot", [time.monotonic() - booted], DEAD_LIMIT)
    finally:
        set_start_type(lab, "auto")
    lab.node.behave()
    next_run_is_good(lab, start)


def test_the_control_node_dies_while_wmi_hangs_and_the_job_brings_the_service_back(
    lab: Lab, start: Start, watching: Watch
) -> None:
    lab.node.behave(emongodump_delay_ms="15000")
    run = start("database_backup.yml", extra_vars={"alteryx_preflight_lock_stale": 5})
    in_dump(lab, run)
    lab.node.behave(wmi="hang", emongodump_delay_ms="15000")
    run.kill_everything()
    restart = watching.restart_after_dump(MINUTE + 75)
    measurements.note("WMI hung, control node killed: Running after the dump", [restart.running], ALIVE_LIMIT)
    restart.assert_within(75)
    assert not guard_acted(lab)
    lab.node.behave()
    wait_for_stale_lock(lab, 5)
    next_run_is_good(lab, start)


def test_wmi_that_answers_with_errors_for_half_a_minute_costs_no_dump(lab: Lab, start: Start, watching: Watch) -> None:
    lab.node.behave(emongodump_delay_ms="45000")
    run = start("database_backup.yml")
    in_dump(lab, run)
    lab.node.behave(wmi="error", emongodump_delay_ms="45000")
    failing = time.monotonic()
    until(lambda: time.monotonic() > failing + 30, 40, "half a minute of errors")
    lab.node.behave(emongodump_delay_ms="45000")
    run.finish().assert_ok()
    assert not guard_acted(lab)
    assert len(watching.dumps) == 1
    assert lab.leftovers() == []


def test_a_run_while_wmi_hangs_from_beginning_to_end_is_a_good_backup(lab: Lab, start: Start) -> None:
    lab.node.behave(wmi="hang")
    run = start("full_backup.yml").finish()
    run.assert_ok()
    # What only WMI knows is missing, and the archive says so.
    assert lab.leftovers() == []

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Another program answers on the port of the controller, so its port never goes down."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.lab_of_tests import Lab, running_lab
from tests.lab.fleet_watch import FleetWatch

from .background_run import BackgroundRun
from .conftest import MINUTE

pytestmark = [pytest.mark.wine, pytest.mark.long, pytest.mark.timeout(1800)]

CONTROLLER, WORKER = "alteryx-lab-1", "alteryx-lab-2"
OPEN_WITHIN = 120
DUMP_SECONDS = 150


@pytest.fixture
def pair() -> Iterator[Lab]:
    """A controller and a worker."""
    with running_lab("wine", "faults-pair", count=2) as running:
        for lab in running.each():
            lab.minute(MINUTE)
        yield running


@pytest.fixture
def foreign_port() -> Iterator[int]:
    """A port of a program that takes every connection, as one does: else its queue is full after some minutes."""

    class Taken(socketserver.BaseRequestHandler):
        """Says nothing."""

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Taken) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_no_worker_starts_in_a_window_that_is_longer_than_it_had_to_open(
    pair: Lab, tmp_path: Path, foreign_port: int
) -> None:
    pair.node.behave(emongodump_delay_ms=str(DUMP_SECONDS * 1000))
    with FleetWatch(pair.nodes) as watch:
        run = BackgroundRun(pair, "database_backup.yml", tmp_path / "run", extra_vars={
            "alteryx_window_controller_address": "127.0.0.1",
            "alteryx_window_controller_port": foreign_port,
            "alteryx_window_open_within": OPEN_WITHIN,
        })  # fmt: skip
        try:
            finished = run.finish(600)
        finally:
            run.kill_everything()
            pair.node.behave()
    order = watch.order("Stopped", "Running")
    assert order == [(WORKER, "Stopped"), (CONTROLLER, "Stopped"), (CONTROLLER, "Running"), (WORKER, "Running")], (
        watch.table()
    )
    finished.assert_ok()

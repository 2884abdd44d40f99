# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What STATUS.txt says to a person who finds the service stopped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.checks import powershell, sources

SCRIPT = Path(__file__).with_name("write_notice.ps1")
MODULE = sources.ROOT / "plugins" / "module_utils" / "NodeLease.psm1"
UNDO = r"C:\Program Files\AlteryxOps\undo_restore.ps1"


@pytest.mark.parametrize(
    ("undo", "work", "said"),
    [
        pytest.param("", "", "backup", id="a backup"),
        pytest.param(UNDO, "restore", "restore", id="a restore"),
        pytest.param(UNDO, "rollback", "rollback", id="a rollback"),
        pytest.param(UNDO, "", "restore or rollback", id="a node whose lease does not tell which"),
    ],
)
def test_the_notice_names_what_stops_the_service(undo: str, work: str, said: str) -> None:
    written = json.loads(powershell.run(SCRIPT, MODULE, undo, work))
    first, *others = written["STATUS.txt"].splitlines()
    assert first == (
        f"A {said} (alteryx_ops.server_backup) stops the Windows service AlteryxService on purpose and starts it again."
    )
    (start,) = (line for line in others if line.startswith("Start now: "))
    assert (f"ends the {said} and puts its exchanged files back" in start) == bool(undo)
    assert f"whatever a {said} is doing" in written["restore-service.cmd"]

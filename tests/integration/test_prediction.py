# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What --check says is what the run after it does."""

from __future__ import annotations

import re

import pytest

from .kinds import wine_only
from .lab_of_tests import Lab
from .playbook_run import PlaybookRunner

pytestmark = [wine_only, pytest.mark.long, pytest.mark.usefixtures("recovered")]

UNITS = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}


def amount(text: str, before: str) -> float:
    """Bytes that stand behind some words."""
    found = re.search(rf"{re.escape(before)} ([0-9.]+) (B|kB|MB|GB)", text)
    assert found, f"{before!r} is not in {text}"
    return float(found[1]) * UNITS[found[2]]


def test_the_run_after_a_rehearsal_does_what_that_has_said(lab: Lab, run_playbook: PlaybookRunner) -> None:
    seen = []
    for _run in range(2):
        earlier = run_playbook("full_backup.yml")
        earlier.assert_ok()
        seen.append(earlier.outcome["downtime"]["total"])
    rehearsed = run_playbook("full_backup.yml", "--check")
    rehearsed.assert_ended_well()
    text = " ".join(rehearsed.outcome["prediction"])
    run = run_playbook("full_backup.yml")
    run.assert_ok()
    host, node = lab.node.name, run.node()

    assert f"The service of {host} would be stopped, and started again after the dump." in text
    assert rehearsed.node()["archive"].rpartition("_Full_")[0] == node["archive"].rpartition("_Full_")[0]
    assert amount(text, "a dump (the last one had") == pytest.approx(node["dump_bytes"], rel=0.1)
    assert amount(text, "an archive (the last one had") == pytest.approx(node["archive_bytes"], rel=0.1)
    configuration = [
        line for line in run.log.splitlines() if re.search(r" configuration: \w+: \d+ files?, .*, from ", line)
    ]
    files = sum(int(re.search(r": (\d+) files?,", line)[1]) for line in configuration)  # type: ignore[index]
    assert f"{files} critical files of " in text
    downtime = re.search(r"downtime was ([0-9.]+) to ([0-9.]+) s", text)
    assert downtime, text
    low, high = float(downtime[1]), float(downtime[2])
    assert low <= min(seen) + 0.05
    assert high >= max(seen) - 0.05
    # A tenth around what was seen: the machine of the lab is never as busy as before.
    assert low * 0.9 - 1 <= run.outcome["downtime"]["total"] <= high * 1.1 + 1
    assert "Only a run can try whether files can be written" in text

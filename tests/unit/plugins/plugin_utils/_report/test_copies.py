# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run says of its copies: each one on a line, and none is taken for granted."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._report import _log, _report
from tests import schemas
from tests.unit.plugins import samples
from tests.unit.plugins.plugin_utils._copy.test_copies import copy
from tests.unit.plugins.plugin_utils._report.test_report import CLOCK, NOW, Steps, outcome
from tests.unit.plugins.plugin_utils._report.test_retention import verdict_of_set

DESTINATIONS = [{"name": name, "kind": "folder", "path": rf"\\{name}\ayx"} for name in ("nas1", "nas2")]
TRIED = {
    "copies": [
        {"destination": "nas1", "folder": "x", "state": "usable", "reason": "", "message": "", "free_bytes": 5_000_000},
        {"destination": "nas2", "folder": "x", "state": "failed", "reason": "r", "message": "m", "free_bytes": -1},
    ]
}


def steps(*copies: dict[str, t.Any], failed: bool = False) -> Steps:
    """A run whose plan has two destinations."""
    found: Steps = samples.steps(destinations=DESTINATIONS, copies=True)
    result: dict[str, t.Any] = {"copies": list(copies)}
    if failed:
        result = {"failed": True, "reason": "copy_failed", "message": "nas2: broken", "detail": result}
    return {**found, "probe": TRIED, "copy": {**result, "started": NOW, "ended": NOW}}


GOOD = copy(destination="nas1"), copy(destination="nas2", state="present")
BAD = copy(destination="nas2", state="failed", reason="copy_failed", message="broken", attempts=4)


def test_each_copy_has_a_line_in_summary_and_log_and_an_entry_in_the_outcome() -> None:
    given = steps(*GOOD)
    composed = outcome(given)
    assert (composed["verdict"], composed["exit_code"]) == ("OK", 0)
    assert [(one["node"], one["destination"]) for one in composed["copies"]] == [("node1", "nas1"), ("node1", "nas2")]
    schemas.assert_valid("outcome", json.loads(_report.json_text(composed)))
    summary = _report.summary(composed, "runs/x")
    assert " copy     node1 -> nas1: 2.0 MB in 2 s (1.0 MB/s), read back past the cache" in summary
    assert " copy     node1 -> nas2: 2.0 MB were there already" in summary
    log = _log.text(composed, {"node1": given})
    assert "SUCCESS node1 copy: nas1: " in log
    assert "nas1: a file could be written, read and deleted in x, 5.0 MB free" in log


def test_a_copy_that_failed_is_named_and_costs_the_set_nothing() -> None:
    given = steps(GOOD[0], BAD, failed=True)
    composed = outcome(given)
    assert (composed["verdict"], composed["exit_code"], composed["reason"]) == ("FAILED", 4, "copy_failed")
    assert composed["nodes"]["node1"]["verdict"] == "good"
    assert [one["state"] for one in composed["copies"]] == ["copied", "failed"]
    summary = _report.summary(composed, "runs/x")
    assert " copy     node1 -> nas2: FAILED after 4 attempts: broken [copy_failed]" in summary
    assert verdict_of_set(composed, given) == "OK"


@pytest.mark.parametrize("copies", [(), GOOD[:1]])
def test_a_run_without_the_proof_of_a_copy_is_no_good_run(copies: tuple[dict[str, t.Any], ...]) -> None:
    composed = outcome(steps(*copies))
    assert composed["exit_code"] == 1
    assert "no proof of a copy at" in composed["message"]
    assert "nas2" in composed["message"]


def test_without_destinations_nothing_is_said_of_copies() -> None:
    composed = _report.compose("full", {"node1": samples.steps()}, False, NOW, CLOCK)
    assert composed["copies"] == []
    assert " copy " not in _report.summary(composed, "runs/x")

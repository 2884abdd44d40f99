# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run says of the backups that it deletes, and what their failure does not say of its own."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._report import _log, _report
from tests.unit.plugins import samples

NOW = "2026-09-01T02:05:00.000Z"
NAMES = ["ServerBackup_Full_20260101_020000", "ServerBackup_Full_20260801_020000"]
SETS = [
    {"name": name, "mode": "full", "bytes": 1000, "deletes": number == 0, "rule": f"rule {number}"}
    for number, name in enumerate(NAMES)
]
SAID = "1 of 2 backup sets are to be deleted"
PLANNED = {"plan": {"sets": SETS, "deletes": True, "refused": "", "summary": SAID}, "summary": SAID}
DONE = {"changed": True, "did": NAMES[:1], "bytes": 1000, "held": []}


def verdict_of_set(composed: dict[str, t.Any], results: dict[str, t.Any]) -> str:
    """The verdict that the .set.json of a run on one node has."""
    files = _report.list_publications({"node1": results}, composed, check_mode=False)["node1"]["files"]
    (text,) = (text for name, text in files.items() if name.endswith(".set.json"))
    return str(json.loads(text)["verdict"])


def steps(**changes: t.Any) -> dict[str, dict[str, t.Any]]:
    """A good run that has deleted a set."""
    found = {**samples.steps(), "prune_plan": PLANNED, "prune_check": {"held": []}, "prune": DONE, **changes}
    return {name: {"node": "node1", "started": NOW, "ended": NOW, "seconds": 0.1, **found[name]} for name in found}


def outcome(**changes: t.Any) -> dict[str, t.Any]:
    return _report.compose("full", {"node1": steps(**changes)}, False, NOW, 1300.0)


def test_what_was_deleted_is_in_outcome_summary_and_log() -> None:
    composed = outcome()
    assert composed["verdict"] == "OK"
    assert composed["retention"] == {"deleted": NAMES[:1], "kept": 1, "text": SAID, "destinations": []}
    assert "retention deleted 1 backup set, 1 are kept" in _report.summary(composed, "runs/x")
    log = _log.text(composed, {"node1": steps()})
    assert f"{NAMES[0]} (full) is to be deleted: rule 0" in log
    assert f"{NAMES[1]} (full) is kept: rule 1" in log
    assert f"deleted {NAMES[0]}: 1.0 kB" in log


def test_why_nothing_is_deleted_is_in_the_summary() -> None:
    kept = {"plan": {"sets": SETS[1:], "summary": "nothing is deleted: a rule keeps each"}}
    composed = outcome(prune_plan=kept, prune={"skipped": True, "did": [], "bytes": 0})
    assert " retention nothing is deleted: a rule keeps each" in _report.summary(composed, "x")
    assert "retention" not in _report.summary(
        _report.compose("full", {"node1": samples.steps()}, False, NOW, 1300.0), "x"
    )


def test_what_was_deleted_for_room_before_the_dump_is_in_outcome_and_summary() -> None:
    plan = {"plan": {"sets": SETS[1:], "summary": "nothing is deleted: told", "for_room": NAMES[:1]}}
    composed = outcome(prune_plan=plan, prune={"did": NAMES[:1], "bytes": 1000})
    assert (composed["retention"]["deleted"], composed["retention"]["kept"]) == (NAMES[:1], 1)
    assert "retention deleted 1 backup set, 1 are kept" in _report.summary(composed, "x")
    # A run that fails before its end has only the plan for room.
    failed = outcome(lease=samples.failed("guard_silent", 1))
    assert (failed["verdict"], failed["retention"]["deleted"]) == ("FAILED", NAMES[:1])


def test_what_was_deleted_at_destinations_is_told_of_each() -> None:
    places = [{"destination": name, **PLANNED["plan"]} for name in ("nas", "tape")]  # type: ignore[dict-item]
    plan = {"plan": {**PLANNED["plan"], "places": places}}  # type: ignore[dict-item]
    did = [{"destination": "nas", "did": NAMES[:1], "bytes": 1000}, {"destination": "tape", "did": [], "bytes": 0}]
    changes = {"prune_plan": plan, "prune": {**DONE, "places": did}}
    composed = outcome(**changes)
    assert [(one["destination"], one["deleted"], one["kept"]) for one in composed["retention"]["destinations"]] == [
        ("nas", NAMES[:1], 1), ("tape", [], 2),
    ]  # fmt: skip
    text = _report.summary(composed, "runs/x")
    assert " retention deleted 1 backup set at nas, 1 are kept" in text
    assert f" retention at tape {SAID}" in text
    log = _log.text(composed, {"node1": steps(**changes)})
    assert f"{NAMES[1]} (full) at tape is kept: rule 1" in log
    assert f"deleted at nas {NAMES[0]}: 1.0 kB" in log


def test_a_deletion_that_failed_fails_the_run_and_not_its_backup_set() -> None:
    bad = samples.failed("prune_incomplete", 4, "1 of 1 backups could not be deleted", detail={"did": []})
    composed = outcome(prune=bad)
    assert (composed["verdict"], composed["exit_code"], composed["retention"]["deleted"]) == ("FAILED", 4, [])
    assert verdict_of_set(composed, steps(prune=bad)) == "OK"
    worse = outcome(prune=bad, verify=samples.failed("archive_bad", 3))
    assert verdict_of_set(worse, steps(prune=bad, verify=samples.failed("archive_bad", 3))) == "FAILED"

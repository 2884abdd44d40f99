# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The deletion of a backup on the real engine: a process that dies at any of its steps, other files than planned, a
file that another program has open."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import nightly, reasons
from tests.backup_places import FOLDER, Place
from tests.node.engine import Engine, EngineError
from tests.node.test_held_files import HOLD

pytestmark = pytest.mark.wine

# All that a run does on one node. KILL: the process ends before its so-manieth deletion of a file.
_PRUNE = rf"""
$backups = @((ConvertFrom-Json -InputObject ([IO.File]::ReadAllText('C:\scripts\backups.json'))).backups)
try {{ Assert-AsPlanned -Backup $backups -Folder '{FOLDER}\n1' }}
catch {{
    ConvertTo-NodeJson -InputObject (Get-NodeFailure -ErrorRecord $_)
    return
}}
foreach ($each in $backups) {{ Start-BackupDeletion -Backup $each -Folder '{FOLDER}\n1' }}
foreach ($each in $backups) {{ Complete-BackupDeletion -Backup $each -Folder '{FOLDER}\n1' -Root '{FOLDER}' }}
"""
_KILL = """
$global:left = @@
function global:Remove-NodeFile {
    param([string] $Path)
    if ($global:left-- -le 0) { [Diagnostics.Process]::GetCurrentProcess().Kill() }
    [IO.File]::Delete($Path)
}
"""


@pytest.fixture
def place(engine: Engine) -> Place:
    """A node with backups of two days."""
    shutil.rmtree(engine.path(FOLDER), ignore_errors=True)
    engine.path(r"C:\scripts").mkdir(exist_ok=True)
    return Place({"n1": engine}, days=("20260101", "20260401"))


def prune(engine: Engine, place: Place, before: str = "") -> str:
    """Deletes what the plan says."""
    file = engine.path(r"C:\scripts\backups.json")
    file.write_text(json.dumps({"backups": place.plan()["nodes"]["n1"]}), encoding="utf-8")
    return engine.run(before + _PRUNE)


def entries(place: Place) -> dict[str, dict[str, Any]]:
    return {entry["id"]: entry for entry in place.catalogues()["n1"]["catalogue"]}


def left(place: Place) -> set[str]:
    return {name for name in place.files() if "20260401" not in name}


STEPS = 9
"""Deletions of one backup: .sha256, verdict, zip, log, .sha256 again, .set.json, manifest, record; the last is one more
than there are."""


@pytest.mark.parametrize("step", nightly.after_first(range(STEPS)))
def test_a_process_that_dies_at_any_step_leaves_nothing_that_is_called_complete(
    engine: Engine, place: Place, step: int
) -> None:
    with contextlib.suppress(EngineError):
        prune(engine, place, _KILL.replace("@@", str(step)))
    assert bool(left(place)) == (step < STEPS - 1)
    for name, entry in entries(place).items():
        there = {file["name"] for file in entry["files"]}
        assert entry["complete"] == ({f"{name}.{ending}" for ending in ("zip", "manifest.json", "sha256")} <= there)
        # Before the first deletion the record is there and the backup is whole.
        assert entry["pruning"] == ("20260101" in name)
    prune(engine, place)
    assert left(place) == set()
    assert place.plan()["deletes"] is False
    assert [entry["complete"] for entry in entries(place).values()] == [True]


@pytest.mark.reaches("prune_changed")
@pytest.mark.parametrize(
    ("change", "words"),
    nightly.after_first(
        [
            (lambda file: file.with_suffix(".zip").write_text("other", encoding="utf-8"), "has 5 bytes, not"),
            (lambda file: file.with_suffix(".zip").unlink(), ".zip is not there any more"),
            (lambda file: file.with_suffix(".pin.json").write_text("{}", encoding="utf-8"), ".pin.json is new"),
            (lambda file: file.write_bytes(file.read_bytes().swapcase()), ".sha256 has other hashes"),
        ]
    ),
    ids=["size", "gone", "pinned", "hashes"],
)
def test_nothing_is_deleted_when_the_files_are_not_those_of_the_plan(
    engine: Engine, place: Place, change: Callable[[Path], object], words: str
) -> None:
    plan = place.plan()
    place.plan = lambda: plan  # type: ignore[method-assign]
    change(engine.path(rf"{FOLDER}\n1\ServerBackup_Full_20260101_020000.sha256"))
    before = place.files()
    failure = json.loads(prune(engine, place))
    reasons.saw(failure["reason"])
    assert words in failure["message"]
    assert "Nothing was deleted" in failure["message"]
    assert place.files() == before


@pytest.mark.long
def test_an_archive_that_is_open_is_found_before_anything_is_touched(engine: Engine, place: Place) -> None:
    name = "ServerBackup_Full_20260101_020000"
    script = rf"""
    Get-HeldReason -Folder '{FOLDER}\n1' -Name '{name}'
    Hold-File -Path '{FOLDER}\n1\{name}.zip' -Share 'Read' -Seconds 20
    "held: $(Get-HeldReason -Folder '{FOLDER}\n1' -Name '{name}')"
    """
    before = place.files()
    said = engine.run(HOLD + script).strip()
    assert said.startswith("held: ")
    assert len(said) > len("held: ")
    assert place.files() == before


@pytest.mark.long
def test_an_audit_line_is_one_line_of_json(engine: Engine, place: Place) -> None:
    script = rf"""
    foreach ($why in "two`nlines", 'plain') {{
        Add-AuditLine -Folder '{FOLDER}\n1' -Verb 'pin' -Who 'ops@control' -Detail @{{ backup = 'B'; why = $why }}
    }}"""
    engine.run(script)
    lines = engine.path(rf"{FOLDER}\n1\BackupAudit.log").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["why"] for line in lines] == ["two\nlines", "plain"]
    assert list(json.loads(lines[0])) == ["at", "verb", "who", "backup", "why"]

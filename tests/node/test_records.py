# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records: overwritten in place, never longer, and a reader in the middle of a write is not fooled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests import records
from tests.node.engine import Engine

pytestmark = pytest.mark.wine

RECORD = r"C:\records\one.json"


@pytest.fixture
def file(engine: Engine) -> Path:
    file = engine.path(RECORD)
    file.parent.mkdir(exist_ok=True)
    file.unlink(missing_ok=True)
    return file


def read(engine: Engine, seconds: float = 0.0) -> dict[str, Any]:
    script = f"ConvertTo-NodeJson -InputObject (Read-NodeRecord -Path '{RECORD}' -Seconds {seconds})"
    answer: dict[str, Any] = json.loads(engine.run(script))
    return answer


@pytest.mark.long
def test_a_record_is_overwritten_in_place_and_keeps_its_length(engine: Engine, file: Path) -> None:
    made = f"New-NodeRecord -Path '{RECORD}' -Length 512 -Data @{{ text = 'a' * 300 }}"
    engine.run(f"{made}\n1..5 | ForEach-Object {{ Write-NodeRecord -Path '{RECORD}' -Data @{{ text = [string]$_ }} }}")
    assert len(file.read_bytes()) == 512
    found = read(engine)
    assert (found["state"], found["data"]["text"], found["data"]["sequence"]) == ("read", "5", 6)
    # Anybody who reads JSON reads it.
    assert json.loads(file.read_text(encoding="utf-8"))["text"] == "5"


@pytest.mark.long
def test_a_record_that_would_be_too_long_changes_nothing(engine: Engine, file: Path) -> None:
    engine.run(f"New-NodeRecord -Path '{RECORD}' -Length 256 -Data @{{ text = 'a' }}")
    before = file.read_bytes()
    said = engine.run(
        f"try {{ Write-NodeRecord -Path '{RECORD}' -Data @{{ text = 'b' * 300 }} }} catch {{ [string]$_ }}"
    )
    assert "does not fit" in said
    assert file.read_bytes() == before


def test_every_torn_record_is_seen_as_such(engine: Engine, file: Path) -> None:
    records.write(file, {"run_id": "a" * 40, "monotonic": 12.5}, 256)
    old = file.read_bytes()
    records.write(file, {"run_id": "b" * 44, "monotonic": 99.5}, 256)
    new = file.read_bytes()
    used = len(new.rstrip())
    torn = [new[:cut] + old[cut:] for cut in range(20, used, 9) if new[:cut] + old[cut:] not in (old, new)]
    assert len(torn) > 15
    for number, content in enumerate(torn):
        file.with_name(f"torn{number}.json").write_bytes(content)
    script = rf"""0..{len(torn) - 1} | ForEach-Object {{
        (Read-NodeRecord -Path ('C:\records\torn{{0}}.json' -f $_) -Seconds 0).state }}"""
    assert set(engine.run(script).split()) == {"damaged"}


@pytest.mark.long
def test_absent_and_held_are_told_apart(engine: Engine, file: Path) -> None:
    assert read(engine, 5)["state"] == "absent"
    records.write(file, {"text": "x"})
    held = rf"""
    $held = New-Object System.IO.FileStream '{RECORD}', ([IO.FileMode]::Open), ([IO.FileAccess]::Read),
    ([IO.FileShare]::None)
    (Read-NodeRecord -Path '{RECORD}' -Seconds 0.5).state
    $held.Dispose()
    (Read-NodeRecord -Path '{RECORD}' -Seconds 0.5).state
    """
    assert engine.run(held).split() == ["busy", "read"]


def test_writers_of_the_lock_never_leave_anything_else_than_a_whole_record(engine: Engine) -> None:
    script = r"""
    $env:ALTERYX_OPS_FOLDER_TRUST = 'warn'
    New-RunLock -RunId 'Full_1' -Holder ('h' * 400) -StaleSeconds 180
    1..20 | ForEach-Object { Update-RunLock -RunId 'Full_1' }
    Update-RunLock -RunId 'Full_2'
    $lock = Read-RunLock
    '{0} {1} {2}' -f $lock.run_id, $lock.fresh, $lock.holder.Length
    $null = Remove-RunLock -RunId 'Full_1'
    $null -eq (Read-RunLock)
    """
    assert engine.run(script).split() == ["Full_1", "True", "200", "True"]


@pytest.mark.long
def test_a_file_that_another_program_holds_for_a_moment_is_removed(engine: Engine, file: Path) -> None:
    script = rf"""
    [IO.File]::WriteAllText('{RECORD}', 'x')
    $held = New-Object System.IO.FileStream '{RECORD}', ([IO.FileMode]::Open), ([IO.FileAccess]::Read),
    ([IO.FileShare]::Read)
    try {{ Remove-NodeFile -Path '{RECORD}' -Seconds 0.3 }} catch {{ 'refused' }}
    $release = [PowerShell]::Create().AddScript({{ param($Stream) Start-Sleep -Milliseconds 700; $Stream.Dispose() }})
    $null = $release.AddArgument($held).BeginInvoke()
    Remove-NodeFile -Path '{RECORD}'
    [IO.File]::Exists('{RECORD}')
    Remove-NodeFile -Path '{RECORD}'
    """
    assert engine.run(script).split() == ["refused", "False"]

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a virus scanner or a backup agent holds for some seconds costs no dump, no archive, no lease and no verdict."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from tests.lab import layout
from tests.node.archives import Staged
from tests.node.engine import CODE, Engine, JobEnd

pytestmark = pytest.mark.wine

PWSH = r"C:\pwsh-win-x64\pwsh.exe"
STATE = r"C:\ProgramData\AlteryxOps"
# Hold-File opens a file, so that no program can delete or rename it (Share: the access of others), and closes it later.
HOLD = r"""
function global:Hold-File {
    param([string] $Path, [string] $Share = 'None', [double] $Seconds = 4)
    $held = New-Object System.IO.FileStream $Path, ([IO.FileMode]::Open), ([IO.FileAccess]::Read),
    ([IO.FileShare]$Share)
    $later = [PowerShell]::Create().AddScript({
            param($Stream, $Wait)
            Start-Sleep -Milliseconds (1000 * $Wait)
            $Stream.Dispose()
        })
    $null = $later.AddArgument($held).AddArgument($Seconds).BeginInvoke()
}
"""


@pytest.mark.long
def test_a_config_file_that_is_held_when_the_tool_has_ended_loses_no_dump(engine: Engine) -> None:
    script = (
        HOLD
        + rf"""
    Import-NodeType -Name 'ProcessTable'
    $dump = New-Object psobject -Property @{{
        config = 'password: x'; arguments = @('-NoProfile', '-Command', '[Console]::Out.Write(42)')
    }}
    $null = [IO.Directory]::CreateDirectory('D:\held')
    $answer = Invoke-Mongodump -Tool '{PWSH}' -Dumps @($dump) -ConfigPath 'D:\held\config' -TimeoutSeconds 100 `
        -OnTick {{ '' }} -OnStart {{ Hold-File -Path 'D:\held\config' -Share 'ReadWrite' -Seconds 15 }}
    ConvertTo-NodeJson -InputObject @{{
        code = $answer.exit_code; said = $answer.stdout; there = [IO.File]::Exists('D:\held\config')
    }}
    """
    )
    assert json.loads(engine.run(script, timeout=180)) == {"code": 0, "said": "42", "there": False}


@pytest.mark.long
def test_what_a_program_has_printed_counts_though_its_child_lives_on(engine: Engine) -> None:
    # As a mongod does that still writes what it holds: it has the pipe of its parent.
    says = (
        "[Console]::Out.Write(42); $start = New-Object Diagnostics.ProcessStartInfo '{0}', "
        "'-NoProfile -Command Start-Sleep -Seconds 60'; "
    )
    says += "$start.UseShellExecute = $false; $null = [Diagnostics.Process]::Start($start)"
    engine.path(r"D:\held").mkdir(parents=True, exist_ok=True)
    engine.path(r"D:\held\parent.ps1").write_text(says.format(PWSH), encoding="ascii")
    script = rf"""
    Import-NodeType -Name 'ProcessTable'
    $words = @('-NoProfile', '-File', 'D:\held\parent.ps1')
    $answer = Invoke-NativeProcess -FileName '{PWSH}' -ArgumentList $words -TimeoutSeconds 100
    ConvertTo-NodeJson -InputObject @{{ code = $answer.exit_code; said = $answer.stdout; late = $answer.timed_out }}
    """
    assert json.loads(engine.run(script, timeout=180)) == {"code": 0, "said": "42", "late": False}


@pytest.mark.long
def test_log_and_result_of_a_job_that_are_held_are_read_later(engine: Engine) -> None:
    folder = engine.path(rf"{STATE}\jobs\Held-1")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "job.log").write_text("one\n", encoding="ascii")
    (folder / "result.json").write_text('{"state": "succeeded"}   ', encoding="ascii")
    module = engine.path(r"C:\scripts\NodeJob.psm1")
    module.parent.mkdir(exist_ok=True)
    shutil.copyfile(layout.ROOT / "plugins" / "module_utils" / module.name, module)
    script = (
        HOLD
        + r"""
    $code = [scriptblock]::Create([IO.File]::ReadAllText('C:\scripts\NodeJob.psm1'))
    New-Module -Name NodeJob -ScriptBlock $code | Import-Module
    $folder = 'C:\ProgramData\AlteryxOps\jobs\Held-1'
    New-NodeRecord -Path "$folder\status.json" -Length 4096 -Data @{
        run_id = 'r'; job = 'j'; state = 'succeeded'; phase = 'end'; done_bytes = 0; total_bytes = 0; message = ''
        process_id = 0; process_birth = 0
    }
    Hold-File -Path "$folder\job.log" -Seconds 16
    Hold-File -Path "$folder\result.json" -Seconds 16
    $first = Get-NodeJobStatus -Id 'Held-1'
    Start-Sleep -Seconds 8
    $second = Get-NodeJobStatus -Id 'Held-1' -LogOffset $first.log_offset
    foreach ($answer in $first, $second) { '{0}, {1}, {2}' -f $answer.status.state, $answer.log.Trim(), $answer.result }
    """
    )
    said = engine.run(script, timeout=180).splitlines()
    shutil.rmtree(folder)
    assert said == ["running, , ", 'succeeded, one, {"state": "succeeded"}']


@pytest.mark.long
def test_an_answer_of_the_drill_that_is_held_is_read_later(engine: Engine) -> None:
    engine.path(STATE).mkdir(parents=True, exist_ok=True)
    script = (
        HOLD
        + r"""
    function global:Start-NodeTask {
        $word = [IO.File]::ReadAllText('C:\ProgramData\AlteryxOps\drill-request.txt')
        $answer = 'C:\ProgramData\AlteryxOps\drill-answer.json'
        [IO.File]::WriteAllText($answer, (ConvertTo-Json -Depth 2 -InputObject @{ word = $word; account = 'S-1-5-18' }))
        Hold-File -Path $answer
    }
    & (Get-Module -Name 'NodeLease') { Invoke-GuardDrill -Account 'S-1-5-18' }
    """
    )
    assert engine.run(script, timeout=180).strip() == "S-1-5-18"


def test_the_text_of_a_task_that_is_held_does_not_undo_the_task(engine: Engine) -> None:
    engine.path(STATE).mkdir(parents=True, exist_ok=True)
    script = (
        HOLD
        + r"""
    & (Get-Module -Name 'NodeTask') {
        function Invoke-TaskCommand { param($ArgumentList, $Doing) Hold-File -Path $ArgumentList[-1] }
        Register-NodeTask -Name '\AlteryxOps\Held' -Description 'held' -Path 'C:\code\guard.ps1'
        'registered'
    }
    """
    )
    assert engine.run(script, timeout=180).strip() == "registered"
    assert not list(engine.path(STATE).glob("task-*.xml"))


def test_a_rename_waits_for_who_holds_the_file_and_replaces_nothing(engine: Engine) -> None:
    script = (
        HOLD
        + r"""
    $null = [IO.Directory]::CreateDirectory('D:\held\from')
    [IO.File]::WriteAllText('D:\held\from\a', 'a')
    [IO.File]::WriteAllText('D:\held\b', 'b')
    try { Move-NodeFile -Path 'D:\held\from\a' -Target 'D:\held\b' } catch { 'refused' }
    Hold-File -Path 'D:\held\from\a' -Share 'ReadWrite' -Seconds 2
    Move-NodeFile -Path 'D:\held\from\a' -Target 'D:\held\a'
    Move-NodeFile -Path 'D:\held\from' -Target 'D:\held\to'
    [IO.Directory]::Exists('D:\held\to')
    [IO.File]::ReadAllText('D:\held\a') + [IO.File]::ReadAllText('D:\held\b')
    """
    )
    shutil.rmtree(engine.path(r"D:\held"), ignore_errors=True)
    assert engine.run(script, timeout=180).split() == ["refused", "True", "ab"]


def run_beside(staged: Staged, job: str, holder: str, **spec: Any) -> JobEnd:
    """Run a job while a thread of its process does what another program might do."""
    code = staged.engine.path(rf"C:\code-{staged.name}")
    shutil.copytree(staged.engine.path(CODE), code)
    (code / "ZBeside.psm1").write_text(
        f"$null = [PowerShell]::Create().AddScript({{ {holder} }}).BeginInvoke()\n", encoding="ascii"
    )
    return staged.engine.run_job(
        job, {"run_id": "r", **spec}, code=rf"C:\code-{staged.name}", name=f"{staged.name}-{job}"
    )


def archive(staged: Staged, holder: str) -> JobEnd:
    return run_beside(staged, "archive_job", holder, **staged.spec())


@pytest.mark.long
def test_an_archive_that_is_looked_at_when_it_gets_its_name_is_published(engine: Engine) -> None:
    staged = Staged(engine)
    staged.put_sparse("a-big.zip", 50_000_000)
    base = rf"D:\{staged.name}\archives\Backup"
    end = archive(
        staged,
        rf"""
    while (-not [IO.File]::Exists('{base}.zip.partial')) {{ Start-Sleep -Milliseconds 5 }}
    $held = New-Object System.IO.FileStream '{base}.zip.partial', ([IO.FileMode]::Open), ([IO.FileAccess]::Read),
    ([IO.FileShare]::ReadWrite)
    while (-not [IO.File]::Exists('{base}.manifest.json')) {{ Start-Sleep -Milliseconds 50 }}
    Start-Sleep -Seconds 2
    $held.Dispose()
    """,
    )
    assert end.result["state"] == "succeeded", end.result
    assert staged.published() == ["Backup.manifest.json", "Backup.sha256", "Backup.zip"]


@pytest.mark.long
def test_a_dumped_file_that_is_held_is_read_later(engine: Engine) -> None:
    staged = Staged(engine)
    staged.put("a.txt", b"a")
    end = archive(
        staged,
        rf"""
    $held = New-Object System.IO.FileStream 'D:\{staged.name}\staging\files\a.txt', ([IO.FileMode]::Open),
    ([IO.FileAccess]::Read), ([IO.FileShare]::None)
    while (-not [IO.File]::Exists('D:\{staged.name}\archives\Backup.zip.partial')) {{ Start-Sleep -Milliseconds 50 }}
    Start-Sleep -Seconds 4
    $held.Dispose()
    """,
    )
    assert end.result["state"] == "succeeded", end.result


@pytest.mark.long
def test_an_archive_that_is_held_is_not_called_bad(engine: Engine) -> None:
    staged = Staged(engine)
    staged.put("a.txt", b"a")
    assert staged.write().result["state"] == "succeeded"
    hold = rf"""
    $held = New-Object System.IO.FileStream 'D:\{staged.name}\archives\Backup.zip', ([IO.FileMode]::Open),
        ([IO.FileAccess]::Read), ([IO.FileShare]::None)
    while (-not [IO.File]::Exists('C:\jobs\{staged.name}-verify_job\status.json')) {{ Start-Sleep -Milliseconds 50 }}
    Start-Sleep -Seconds 4
    $held.Dispose()
    """
    folder = rf"D:\{staged.name}\archives"
    end = run_beside(
        staged,
        "verify_job",
        hold,
        folder=folder,
        base_name="Backup",
        stamp="1",
        staging="",
        keep_staging=False,
        place=None,
    )
    assert end.result["state"] == "succeeded", end.result

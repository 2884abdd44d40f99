# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A window job on an engine alone: its service and its lease are files in D:\\window."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tests.node.engine import CODE, Engine

PWSH = r"C:\pwsh-win-x64\pwsh.exe"
WINDOW_CODE = r"C:\code-window"
RUN = "Full_20260901_020000_7f3a"
# A tool that works for a minute, and writes a file if it is not ended before that.
SLEEP = ["-NoProfile", "-Command", r"Start-Sleep -Seconds 60; [IO.File]::WriteAllText('D:\{name}\done.txt', '')"]


def job_spec(module: str, **options: Any) -> dict[str, Any]:
    """What the action plugin of database_window or database_dump tells its job; what is not given is as documented."""
    # Here: conftest.py loads before the collection's name resolves.
    from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible import _collection
    from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._database import _dump

    documented = {name: option.get("default") for name, option in _collection.argument_spec(module).items()}
    return _dump.build_job_spec({**documented, "run_id": RUN, "dump": {}, **options})


def dump_spec(name: str, module: str = "database_dump", **options: Any) -> dict[str, Any]:
    """A dump by a tool that takes a minute."""
    spec = job_spec(module, staging_directory=rf"D:\{name}", dump_timeout=300, space_reserve=0, **options)
    return {
        **spec, "method": "mongodump", "tool": PWSH, "config_path": rf"D:\{name}\{RUN}\mongodump.config",
        "dumps": [{"config": "password: x\n", "arguments": [part.format(name=name) for part in SLEEP]}],
    }  # fmt: skip


def window_spec() -> dict[str, Any]:
    """A window around that dump."""
    return dump_spec(
        "window", "database_window", executable=r"C:\nowhere\AlteryxService.exe", stop_timeout=60, start_timeout=60,
        leftover_timeout=5, max_downtime=300,
    )  # fmt: skip


def facts(folder: Path) -> list[str]:
    """What the job has done with service and lease, in order."""
    file = folder / "facts.txt"
    return file.read_text(encoding="ascii").split() if file.exists() else []


def running_service(engine: Engine, more: str = "") -> Path:
    """A service that runs, and the code of a job that has to do with it: WINDOW_CODE, with more doubles.

    Returns:
        The folder with the files.
    """
    folder = engine.path(r"D:\window")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "service.txt").write_text("Running", encoding="ascii")
    code = engine.path(WINDOW_CODE)
    shutil.copytree(engine.path(CODE), code, dirs_exist_ok=True)
    (code / "ZDoubles.psm1").write_text(DOUBLES + more, encoding="ascii")
    return folder


# Service and lease of a window, as files: what is looked at is what the job does with them.
DOUBLES = r"""
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
function Write-Fact { param($Text) [IO.File]::AppendAllText('D:\window\facts.txt', "$Text`n") }
function Get-ServiceStatus { param($Name) [IO.File]::ReadAllText('D:\window\service.txt') }
function Assert-NodeLease {
    param($RunId, $Service)
    New-Object psobject -Property @{
        run_id = $RunId; service = $Service; prior_state = 'Running'; generation = 1; heartbeat_stale = 180
    }
}
function Test-LeaseLost { param($Lease, $Seen) $false }
function Write-LeaseHeartbeat { param($Beat) if ($Beat.Finished) { Write-Fact -Text 'finished' } }
function Write-NodeNotice { param($Lease) }
function Remove-NodeNotice { }
function Test-NodeHold { $false }
function Get-AlteryxProcess { param($BinFolder, $Name, [switch] $Surely) }
function Request-ServiceStop {
    param($Name)
    Write-Fact -Text 'stop'
    $becomes = if ([IO.File]::Exists('D:\window\slow')) { 'StopPending' } else { 'Stopped' }
    [IO.File]::WriteAllText('D:\window\service.txt', $becomes)
}
function Wait-ServiceState {
    param($Name, $State, $TimeoutSeconds, $OnTick)
    for ($look = 0; $look -lt 100 -and (Get-ServiceStatus -Name $Name) -ne $State; $look++) {
        & $OnTick
        Start-Sleep -Milliseconds 200
    }
    $status = Get-ServiceStatus -Name $Name
    @{ reached = $status -eq $State; states = @(@{ state = $status; at = '' }) }
}
function Start-ServiceSurely {
    param($Name, $TimeoutSeconds, $OnTick)
    # A cancelled job is asked to end while it starts the service, too.
    & $OnTick
    Write-Fact -Text 'start'
    [IO.File]::WriteAllText('D:\window\service.txt', 'Running')
    @{ reached = $true; states = @(); running_after = 0.1; error = 0; problem = ''; gave_up = $false }
}
"""

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeClock
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeFiles
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeFailure
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeRecord
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeTrust

# The run lock of a node: one run at a time, every mode, preflight to report.
#
#   <state>\run.json   a record (NodeRecord.psm1): run_id, holder (user, host and process of the control node), started,
#                      boot, heartbeat_monotonic, stale_seconds

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$script:RecordBytes = 1024

function Get-LockPath { Join-Path -Path (Get-StateFolder) -ChildPath 'run.json' }

function Read-RunLock {
    <#
    .SYNOPSIS
    The lock as a hashtable: run_id, holder, started, age (seconds since its last heartbeat, -1 when it is from
    another boot or unreadable), fresh; nothing when there is none. Stale by heartbeat only: an age above its own
    stale_seconds, or a boot since.
    #>
    $read = Read-NodeRecord -Path (Get-LockPath) -Seconds 5
    if ($read.state -eq 'absent') { return }
    $answer = @{ run_id = ''; holder = 'unknown'; started = ''; age = -1.0; fresh = $false }
    if ($read.state -ne 'read') {
        # One that is held by another program may be as fresh as can be; one that holds something else is nobody's.
        if ($read.state -eq 'busy') {
            $answer.fresh = $true
            $answer.run_id = "(not known: run.json is held by another program: $($read.problem))"
        }
        return $answer
    }
    $lock = $read.data
    $answer.run_id = [string]$lock.run_id
    $answer.holder = [string]$lock.holder
    $answer.started = [string]$lock.started
    if ([string]$lock.boot -ceq (Get-BootIdentity)) {
        $answer.age = [Math]::Max(0.0, (Get-MonotonicSecond) - [double]$lock.heartbeat_monotonic)
        $answer.fresh = $answer.age -le [double]$lock.stale_seconds
    }
    $answer
}

function Invoke-LockChange {
    # One writer of run.json at a time: look and change belong together. The gate is a file opened without sharing, so
    # a dead writer holds nothing.
    param([Parameter(Mandatory = $true)][scriptblock] $Body, [int] $Seconds = 20)
    $gate = $null
    $watch = [Diagnostics.Stopwatch]::StartNew()
    while ($null -eq $gate) {
        try { $gate = New-Object System.IO.FileStream "$(Get-LockPath).gate", ([IO.FileMode]::OpenOrCreate), ([IO.FileAccess]::ReadWrite), ([IO.FileShare]::None) }
        catch {
            if ($watch.Elapsed.TotalSeconds -ge $Seconds) { throw }
            Start-Sleep -Milliseconds 100
        }
    }
    try { & $Body }
    finally { $gate.Dispose() }
}

function New-RunLock {
    <#
    .SYNOPSIS
    Publishes the lock of this run; a stale one is replaced. Throws run_locked, naming the holder, when somebody else
    has it.
    #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '', Justification = 'callers check')]
    param(
        [Parameter(Mandatory = $true)][string] $RunId,
        [Parameter(Mandatory = $true)][string] $Holder,
        [Parameter(Mandatory = $true)][int] $StaleSeconds
    )
    Assert-FolderTrust -Path (Get-StateFolder)
    New-ProtectedFolder -Path (Get-StateFolder)
    Invoke-LockChange -Body {
        $path = Get-LockPath
        $found = Read-RunLock
        if ($null -ne $found) {
            if ($found.fresh -and $found.run_id -cne $RunId) { throw (New-LockFailure -Lock $found) }
            [IO.File]::Delete($path)
        }
        $new = "$path.new"
        New-NodeRecord -Path $new -Length $script:RecordBytes -Data @{
            run_id = $RunId
            holder = $Holder.Substring(0, [Math]::Min(200, $Holder.Length))
            # For people; written so that no JSON reader takes it for a date of its own.
            started = [DateTime]::UtcNow.ToString("yyyy-MM-dd HH:mm:ss 'UTC'", [Globalization.CultureInfo]::InvariantCulture)
            boot = Get-BootIdentity -Create
            heartbeat_monotonic = Get-MonotonicSecond
            stale_seconds = $StaleSeconds
        }
        # A rename that does not replace, so that even a writer that ignores the gate is not overwritten.
        [IO.File]::Move($new, $path)
    }
}

function New-LockFailure {
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '', Justification = 'makes an object')]
    param([hashtable] $Lock)
    $age = if ($Lock.age -ge 0) { '{0} s ago' -f [int]$Lock.age } else { 'at an unknown time' }
    New-NodeFailure -Reason 'run_locked' -Detail $Lock -Message ('The run {0} of {1} holds this node since {2}; its last sign of life was {3}' -f
        $Lock.run_id, $Lock.holder, $Lock.started, $age)
}

function Update-RunLock {
    <#
    .SYNOPSIS
    A sign of life of the run; nothing happens when it does not hold the lock. Never throws: what a module does
    matters more than that it is seen.
    #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '', Justification = 'callers check')]
    param([Parameter(Mandatory = $true)][AllowEmptyString()][AllowNull()][string] $RunId)
    if (-not $RunId -or -not [IO.File]::Exists((Get-LockPath))) { return }
    try {
        Invoke-LockChange -Seconds 2 -Body {
            $read = Read-NodeRecord -Path (Get-LockPath) -Seconds 1
            if ($read.state -ne 'read' -or [string]$read.data.run_id -cne $RunId) { return }
            $lock = @{ heartbeat_monotonic = Get-MonotonicSecond }
            foreach ($name in @('run_id', 'holder', 'started', 'boot', 'stale_seconds')) { $lock[$name] = $read.data.$name }
            Write-NodeRecord -Path (Get-LockPath) -Data $lock
        }
    }
    catch { Write-Verbose -Message "the sign of life could not be written: $_" }
}

function Remove-RunLock {
    <# .SYNOPSIS
    Releases the lock of this run; that of another is left alone. Returns whether it was ours. #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '', Justification = 'callers check')]
    param([Parameter(Mandatory = $true)][string] $RunId)
    if (-not [IO.File]::Exists((Get-LockPath))) { return $false }
    Invoke-LockChange -Body {
        $found = Read-RunLock
        if ($null -eq $found -or $found.run_id -cne $RunId) { return $false }
        [IO.File]::Delete((Get-LockPath))
        $true
    }
}

Export-ModuleMember -Function Read-RunLock, New-LockFailure, New-RunLock, Update-RunLock, Remove-RunLock

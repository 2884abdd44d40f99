# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeClock
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeRecord
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeTrust

# The run lock of a node: only one run at a time, in every mode, from preflight to report.
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
    Returns the lock as a hashtable, or nothing when there is no lock: run_id, holder, started, age (seconds since its
    last heartbeat; -1 when it is from another boot or unreadable), fresh, stale_in (seconds until it is stale without
    another heartbeat) and stale_at (the same as text; empty when it is not known). A lock is stale when its age is
    above its own stale_seconds, or when the node has been restarted since.
    #>
    $read = Read-NodeRecord -Path (Get-LockPath) -Seconds 5
    if ($read.state -eq 'absent') { return }
    $answer = @{
        run_id = ''; holder = 'unknown'; started = ''; age = -1.0; fresh = $false; stale_in = 0.0; stale_at = ''
    }
    if ($read.state -ne 'read') {
        # A lock that another program has open may be fresh. A lock with any other content does not belong to a run.
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
        $answer.stale_in = [Math]::Max(0.0, [double]$lock.stale_seconds - $answer.age)
        $answer.fresh = $answer.age -le [double]$lock.stale_seconds
        $answer.stale_at = Get-PersonTime -Time ([DateTime]::UtcNow.AddSeconds($answer.stale_in))
    }
    $answer
}

function Invoke-LockChange {
    # Only one process at a time reads and changes run.json. The gate is a file that is opened without sharing. Windows
    # closes it when its process dies, so a dead process does not block others.
    param([Parameter(Mandatory = $true)][scriptblock] $Body, [int] $Seconds = 20)
    $gate = $null
    $watch = [Diagnostics.Stopwatch]::StartNew()
    while ($null -eq $gate) {
        try {
            $gatePath = "$(Get-LockPath).gate"
            $gate = New-Object System.IO.FileStream $gatePath, ([IO.FileMode]::OpenOrCreate),
            ([IO.FileAccess]::ReadWrite), ([IO.FileShare]::None)
        }
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
    Publishes the lock of this run; a stale one is replaced. Throws run_locked, naming the holder, when another run has
    the lock.
    #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'callers check')]
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
            Remove-NodeFile -Path $path
        }
        $new = "$path.new"
        New-NodeRecord -Path $new -Length $script:RecordBytes -Data @{
            run_id = $RunId
            holder = $Holder.Substring(0, [Math]::Min(200, $Holder.Length))
            started = Get-PersonTime -Time ([DateTime]::UtcNow)
            boot = Get-BootIdentity -Create
            heartbeat_monotonic = Get-MonotonicSecond
            stale_seconds = $StaleSeconds
        }
        # A rename that does not replace, so that a lock that was written without the gate is not overwritten.
        Move-NodeFile -Path $new -Target $path
    }
}

function New-LockFailure {
    <#
    .SYNOPSIS
    The failure for a node that another run has locked.
    #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'makes an object')]
    param([hashtable] $Lock)
    $age = if ($Lock.age -ge 0) { '{0} s ago' -f [int]$Lock.age } else { 'at an unknown time' }
    $stale = if ($Lock.stale_at) {
        $seconds = [int][Math]::Ceiling($Lock.stale_in)
        '. Without another one, its lock is stale in {0} s, at {1}' -f $seconds, $Lock.stale_at
    }
    New-NodeFailure -Reason 'run_locked' -Detail $Lock -Message (
        'The run {0} of {1} holds this node since {2}; its last sign of life was {3}{4}' -f
        $Lock.run_id, $Lock.holder, $Lock.started, $age, $stale)
}

function Update-RunLock {
    <#
    .SYNOPSIS
    Updates the heartbeat of the run; does nothing if this run does not have the lock. Never throws, because the work of
    a module matters more than the heartbeat.
    #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'callers check')]
    param([Parameter(Mandatory = $true)][AllowEmptyString()][AllowNull()][string] $RunId)
    if (-not $RunId -or -not [IO.File]::Exists((Get-LockPath))) { return }
    try {
        Invoke-LockChange -Seconds 2 -Body {
            $read = Read-NodeRecord -Path (Get-LockPath) -Seconds 1
            if ($read.state -ne 'read' -or [string]$read.data.run_id -cne $RunId) { return }
            $lock = @{ heartbeat_monotonic = Get-MonotonicSecond }
            foreach ($name in @('run_id', 'holder', 'started', 'boot', 'stale_seconds')) {
                $lock[$name] = $read.data.$name
            }
            Write-NodeRecord -Path (Get-LockPath) -Data $lock
        }
    }
    catch { Write-Verbose -Message "the sign of life could not be written: $_" }
}

function Remove-RunLock {
    <# .SYNOPSIS
    Releases the lock of this run; leaves the lock of another run alone. Returns whether the lock belonged to this run.
    #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'callers check')]
    param([Parameter(Mandatory = $true)][string] $RunId)
    if (-not [IO.File]::Exists((Get-LockPath))) { return $false }
    Invoke-LockChange -Body {
        $found = Read-RunLock
        if ($null -eq $found -or $found.run_id -cne $RunId) { return $false }
        Remove-NodeFile -Path (Get-LockPath)
        $true
    }
}

Export-ModuleMember -Function Read-RunLock, New-LockFailure, New-RunLock, Update-RunLock, Remove-RunLock

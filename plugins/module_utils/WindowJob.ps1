# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The window: stop the service, look again, dump, bring it back. One job on the controller, so that the order holds without Ansible.
# Downtime is counted from the stop request until the service is Running again; everything that can wait happens outside.

param([Parameter(Mandatory = $true)] $Spec)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$lease = Assert-NodeLease -RunId $Spec.run_id -Service $Spec.service
$wasRunning = $lease.prior_state -eq 'Running'
$watch = [Diagnostics.Stopwatch]::StartNew()
$mark = @{}
$states = New-Object System.Collections.ArrayList
$dump = $null
$failure = $null

function Get-Leftover {
    # What must not live while the database files are read: the embedded MongoDB and running workflows.
    @(Get-AlteryxProcess -BinFolder $Spec.bin_folder | Where-Object { @('mongod.exe', 'AlteryxEngineCmd.exe') -contains $_.name })
}

function Write-Mark {
    param([string] $Name)
    $mark[$Name] = $watch.Elapsed.TotalSeconds
}

if ([IO.Directory]::Exists($Spec.dump_folder)) {
    throw (New-NodeFailure -Reason 'staging_in_use' -Message "The dump folder $($Spec.dump_folder) exists already")
}
$null = New-RunStaging -Root $Spec.staging_directory -RunId $Spec.run_id
$null = [IO.Directory]::CreateDirectory($Spec.dump_folder)

try {
    if ($wasRunning) {
        Write-JobStatus -Phase 'stop'
        Write-JobLog -Text "stopping $($Spec.service)"
        Write-Mark -Name 'stop_requested'
        Request-ServiceStop -Name $Spec.service
        $wait = Wait-ServiceState -Name $Spec.service -State 'Stopped' -TimeoutSeconds $Spec.stop_timeout -OnTick { Write-JobStatus -Message 'waiting for Stopped' }
        $states.AddRange([object[]]@($wait.states))
        if (-not $wait.reached) {
            throw (New-NodeFailure -Reason 'stop_timeout' -Message ('{0} was not Stopped within {1} s (last state {2})' -f $Spec.service, $Spec.stop_timeout, $wait.states[-1].state))
        }
        Write-Mark -Name 'stopped'
        Write-JobLog -Text "$($Spec.service) is Stopped"
    }
    elseif ((Get-ServiceStatus -Name $Spec.service) -ne 'Stopped') {
        throw (New-NodeFailure -Reason 'service_moved' -Message "$($Spec.service) was Stopped when the lease was taken and is not any more")
    }

    $leftover = @(Get-Leftover)
    for ($attempt = 0; $leftover.Count -gt 0 -and $attempt -lt 25; $attempt++) {
        Start-Sleep -Milliseconds 200
        $leftover = @(Get-Leftover)
    }
    if ($leftover.Count -gt 0) {
        $names = ($leftover | ForEach-Object { '{0} ({1})' -f $_.name, $_.process_id }) -join ', '
        throw (New-NodeFailure -Reason 'processes_left' -Message "$($Spec.service) is Stopped but these processes of the installation still run: $names")
    }

    Write-JobStatus -Phase 'dump' -TotalBytes $Spec.expected_bytes
    Write-JobLog -Text "dumping to $($Spec.dump_folder)"
    $argument = if ($Spec.dump_folder -match '\s') { 'emongodump="{0}"' -f $Spec.dump_folder } else { 'emongodump={0}' -f $Spec.dump_folder }
    Write-Mark -Name 'dump_started'
    $onTick = {
        if ((Get-ServiceStatus -Name $Spec.service) -ne 'Stopped') { return 'service_started' }
        Write-JobStatus -DoneBytes (Get-FolderByteCount -Path $Spec.dump_folder) -TotalBytes $Spec.expected_bytes
    }
    $dump = Invoke-NativeProcess -FileName $Spec.executable -RawArguments $argument -TimeoutSeconds $Spec.dump_timeout -OnTick $onTick
    Write-Mark -Name 'dump_ended'
    if ($dump.stopped_because) {
        throw (New-NodeFailure -Reason 'service_started_during_dump' -Message "$($Spec.service) did not stay Stopped during the dump: somebody else started it")
    }
    if ($dump.timed_out) {
        throw (New-NodeFailure -Reason 'dump_timeout' -Message ('emongodump was ended because it was not done within {0} s' -f $Spec.dump_timeout))
    }
}
catch { $failure = Get-NodeFailure -ErrorRecord $_ }
finally {
    # Whatever happened above, and before anything else: the prior state.
    $restored = -not $wasRunning
    if ($wasRunning) {
        Write-Mark -Name 'start_requested'
        try {
            if ((Get-ServiceStatus -Name $Spec.service) -eq 'StopPending') {
                # A start request is refused until the stop is over.
                $null = Wait-ServiceState -Name $Spec.service -State 'Stopped' -TimeoutSeconds 60
            }
            Request-ServiceStart -Name $Spec.service
            $wait = Wait-ServiceState -Name $Spec.service -State 'Running' -TimeoutSeconds $Spec.start_timeout
            $states.AddRange([object[]]@($wait.states))
            $restored = $wait.reached
        }
        catch { $failure = Get-NodeFailure -ErrorRecord $_ }
        Write-Mark -Name 'running'
    }
}
Write-JobStatus -Phase 'collect'

$detail = @{
    prior_state = [string]$lease.prior_state
    restored = $restored
    states = $states.ToArray()
    marks = $mark
    dump_folder = [string]$Spec.dump_folder
    files = @(Get-FolderFile -Path $Spec.dump_folder | ForEach-Object { @{ path = $_.path; bytes = $_.bytes } })
}
if ($null -ne $dump) {
    $detail['exit_code'] = $dump.exit_code
    $detail['output'] = $dump.stdout + $dump.stderr
}
if (-not $restored) {
    $first = if ($null -ne $failure) { " (before that: $($failure.message))" } else { '' }
    throw (New-NodeFailure -Reason 'service_not_restored' -Detail $detail -Message "$($Spec.service) is not Running again$first")
}
if ($null -ne $failure) { throw (New-NodeFailure -Reason $failure.reason -Detail $detail -Message $failure.message) }
Write-JobLog -Text "$($Spec.service) is back as before: $($lease.prior_state)"
$detail

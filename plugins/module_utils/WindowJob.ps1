# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The window: stop the service, look again, dump, bring it back. One job on the controller, so that the order holds without Ansible.
# Downtime is counted from the stop request until the service is Running again; everything that can wait happens outside.

param([Parameter(Mandatory = $true)] $Spec)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$heartbeatSeconds = 10

# It may hold the passwords of a self-managed MongoDB, and this process has read them.
[IO.File]::Delete($specPath)

$lease = Assert-NodeLease -RunId $Spec.run_id -Service $Spec.service
$wasRunning = $lease.prior_state -eq 'Running'
$ownBirth = Get-ProcessBirth -ProcessId $PID
$stagingDrive = New-Object System.IO.DriveInfo $Spec.dump_folder.Substring(0, 1)
$watch = [Diagnostics.Stopwatch]::StartNew()
$mark = @{}
$beat = @{ next = 0.0; look = 0.0 }
$states = New-Object System.Collections.ArrayList
$dump = $null
$failure = $null

function Get-Leftover {
    # What must not live while the database is read: running workflows, and where its files are read the embedded MongoDB. One that is asked must run.
    $names = if ($Spec.method -eq 'emongodump') { @('mongod.exe', 'AlteryxEngineCmd.exe') } else { @('AlteryxEngineCmd.exe') }
    @(Get-AlteryxProcess -BinFolder $Spec.bin_folder | Where-Object { $names -contains $_.name })
}

function Write-Mark {
    param([string] $Name)
    $mark[$Name] = $watch.Elapsed.TotalSeconds
}

function Write-Beat {
    # The guard takes a window without a fresh heartbeat for dead.
    param([switch] $Now, [switch] $Finished)
    if (-not $Now -and $watch.Elapsed.TotalSeconds -lt $beat.next) { return }
    $beat.next = $watch.Elapsed.TotalSeconds + $heartbeatSeconds
    Write-LeaseHeartbeat -ProcessId $PID -ProcessBirth $ownBirth -StopRequested -Finished:$Finished
}

function Get-ReasonToEnd {
    # Looked at while the dump runs: name of the reason to end it, empty to go on. The service's state four times a second, because a start that finds the
    # database in use may fall back within one; the rest once a second.
    if ((Get-ServiceStatus -Name $Spec.service) -ne 'Stopped') { return 'service_started_during_dump' }
    if ($watch.Elapsed.TotalSeconds -lt $beat.look) { return '' }
    $beat.look = $watch.Elapsed.TotalSeconds + 1
    Write-Beat
    $now = Read-NodeLease
    if ($null -eq $now -or [int]$now.generation -ne [int]$lease.generation) { return 'lease_lost' }
    if ($stagingDrive.AvailableFreeSpace -lt $Spec.space_reserve) { return 'space_reserve' }
    if ($wasRunning -and $watch.Elapsed.TotalSeconds - $mark.stop_requested -gt $Spec.max_downtime) { return 'downtime_limit' }
    Write-JobStatus -DoneBytes (Get-FolderByteCount -Path $Spec.dump_folder) -TotalBytes $Spec.expected_bytes
    ''
}

$messages = @{
    service_started_during_dump = "$($Spec.service) did not stay Stopped during the dump: somebody else started it"
    lease_lost = 'the lease changed during the dump: the guard has taken over'
    space_reserve = "less than $($Spec.space_reserve) bytes are free on the drive of $($Spec.dump_folder), so the dump was ended"
    downtime_limit = "the service was down for more than $($Spec.max_downtime) s, so the dump was ended"
    dump_timeout = "$($Spec.method) was ended because it was not done within $($Spec.dump_timeout) s"
}

if ([IO.Directory]::Exists($Spec.dump_folder)) {
    throw (New-NodeFailure -Reason 'staging_in_use' -Message "The dump folder $($Spec.dump_folder) exists already")
}
$null = New-RunStaging -Root $Spec.staging_directory -RunId $Spec.run_id
$null = [IO.Directory]::CreateDirectory($Spec.dump_folder)
Write-NodeNotice -Lease $lease

try {
    # From here on the guard acts when this job does not; where the service was Stopped before, it ends what the job leaves.
    Write-Beat -Now
    if ($wasRunning) {
        Write-JobStatus -Phase 'stop'
        Write-JobLog -Text "stopping $($Spec.service)"
        Write-Mark -Name 'stop_requested'
        Request-ServiceStop -Name $Spec.service
        $wait = Wait-ServiceState -Name $Spec.service -State 'Stopped' -TimeoutSeconds ([Math]::Min($Spec.stop_timeout, $Spec.max_downtime)) -OnTick {
            Write-Beat
            Write-JobStatus -Message 'waiting for Stopped'
        }
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
    Write-Mark -Name 'dump_started'
    if ($Spec.method -eq 'mongodump') {
        $dump = Invoke-Mongodump -Tool $Spec.tool -Dumps @($Spec.dumps) -ConfigPath $Spec.config_path -TimeoutSeconds $Spec.dump_timeout -OnTick { Get-ReasonToEnd }
    }
    else {
        $argument = if ($Spec.dump_folder -match '\s') { 'emongodump="{0}"' -f $Spec.dump_folder } else { 'emongodump={0}' -f $Spec.dump_folder }
        $dump = Invoke-NativeProcess -FileName $Spec.executable -RawArguments $argument -TimeoutSeconds $Spec.dump_timeout -TickSeconds 0.25 -OnTick { Get-ReasonToEnd }
    }
    Write-Mark -Name 'dump_ended'
    $beat.look = 0.0
    $ended = if ($dump.stopped_because) { $dump.stopped_because } elseif ($dump.timed_out) { 'dump_timeout' } else { Get-ReasonToEnd }
    if ($ended) { throw (New-NodeFailure -Reason $ended -Message $messages[$ended]) }
}
catch { $failure = Get-NodeFailure -ErrorRecord $_ }
finally {
    # Whatever happened above, and before anything else: the prior state. A guard that has acted in the meantime does the same; both only ask for it.
    $restored = -not $wasRunning
    $held = Test-NodeHold
    if ($wasRunning -and $held) { Write-JobLog -Level 'WARNING' -Text 'the file HOLD is there, so the service is left down' }
    elseif ($wasRunning) {
        Write-Mark -Name 'start_requested'
        try {
            # StopPending included: the start is asked for again until it is Running.
            $start = Start-ServiceSurely -Name $Spec.service -TimeoutSeconds $Spec.start_timeout -OnTick {
                # Restoring matters more than the sign of life: without one the guard restores too.
                try {
                    Write-Beat
                    Write-JobStatus -Phase 'start' -Message 'waiting for Running'
                }
                catch { Write-Verbose -Message "heartbeat: $_" }
            }
            $states.AddRange([object[]]@($start.states))
            $restored = $start.reached
            $mark['running'] = $mark.start_requested + $start.running_after
            if ($start.problem) { Write-JobLog -Level 'WARNING' -Text "a start request was refused: $($start.problem)" }
        }
        catch { Write-JobLog -Level 'ERROR' -Text (Get-NodeFailure -ErrorRecord $_).message }
    }
    if ($restored) { Write-Beat -Now -Finished }
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
    # A tool that cannot log in may tell the address with which it tried.
    $detail['output'] = Hide-Secret -Text ($dump.stdout + $dump.stderr)
}
$first = if ($null -ne $failure) { " (before that: $($failure.message))" } else { '' }
if (-not $restored -and $held) {
    throw (New-NodeFailure -Reason 'held_by_operator' -Detail $detail -Message "$($Spec.service) is left down because the file HOLD is in the state folder$first")
}
if (-not $restored) {
    throw (New-NodeFailure -Reason 'service_not_restored' -Detail $detail -Message "$($Spec.service) is not Running again$first")
}
if ($null -ne $failure) { throw (New-NodeFailure -Reason $failure.reason -Detail $detail -Message $failure.message) }
Write-JobLog -Text "$($Spec.service) is back as before: $($lease.prior_state)"
$detail

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The window: stops the service, checks the processes, dumps the database, and starts the service again. It is one job
# on the controller, so that it does not depend on Ansible. The downtime is counted from the stop request until the
# service is Running again. Work that can wait is done before or after the window.

param([Parameter(Mandatory = $true)] $Spec)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$lease = Assert-NodeLease -RunId $Spec.run_id -Service $Spec.service_name
$wasRunning = $lease.prior_state -eq 'Running'
$binFolder = [IO.Path]::GetDirectoryName($Spec.executable)
$mark = @{}
# When the next check is due, in seconds of jobWatch, and when the start was requested, until that is in the log.
$memory = @{ look = 0.0; start_at = '' }
$leaseSeen = @{ at = Get-MonotonicSecond }
$states = New-Object System.Collections.ArrayList
$dump = $null
$failure = $null
$startError = 0
$startProblem = ''

# The processes that must have ended before the dump: those of the service, running workflows and the embedded MongoDB.
# A self-managed MongoDB must keep running.
$ownNames = @('AlteryxService.exe', 'AlteryxService_MongoController.exe', 'AlteryxEngineCmd.exe')
$leftoverNames = if ($Spec.method -eq 'emongodump') { $ownNames + 'mongod.exe' } else { $ownNames }

function Assert-Verb {
    # emongodump reads the settings and keys of the Server. This verb reads them too, and shows whether the account of
    # this job has the rights for that.
    if ($Spec.method -ne 'emongodump' -or -not $Spec.tried_verb) { return }
    $problem = (Get-VerbAnswer -Executable $Spec.executable -Verb $Spec.tried_verb -TimeoutSeconds 60).problem
    if (-not $problem) { return }
    throw (New-NodeFailure -Reason 'verb_unusable' -Message (
            'AlteryxService.exe {0}, run by the account of the window job, {1}; nothing was stopped' -f
            $Spec.tried_verb, $problem))
}

function Wait-Opening {
    # In a fleet, this job starts before the first node is stopped, and continues when all other nodes are stopped. If
    # the control node does not ask it to continue in time, the control node is lost. The job then ends, because the
    # service of this node is not stopped yet.
    if ($Spec.open_within -eq 0) { return }
    Write-JobStatus -Phase 'ready' -Message 'waiting until the other nodes are stopped'
    while (-not (Test-JobAsked)) {
        Assert-JobWanted
        # The lease is read only once a second. The loop itself is faster, because the other nodes are stopped while it
        # waits.
        if ($jobWatch.Elapsed.TotalSeconds -ge $memory.look) {
            $memory.look = $jobWatch.Elapsed.TotalSeconds + 1
            if (Test-LeaseLost -Lease $lease -Seen $leaseSeen) {
                throw (New-NodeFailure -Reason 'no_lease' -Message 'The lease was released before the window opened')
            }
        }
        if ($jobWatch.Elapsed.TotalSeconds -gt $Spec.open_within) {
            if (-not (Close-JobWait)) { break }
            Remove-JobLease
            throw (New-NodeFailure -Reason 'gate_closed' -Message (
                    "The window was not opened within $($Spec.open_within) s, so the window job has ended"))
        }
        Start-Sleep -Milliseconds 100
    }
    # The lease may have changed while this job waited.
    $null = Assert-NodeLease -RunId $Spec.run_id -Service $Spec.service_name
}

function Wait-Leftover {
    # Waits until these processes of the installation have ended, at most for the time that is left for that. Returns
    # those that are still running. A large mongod needs minutes to write its data to the disk, and Windows reports
    # Stopped before that.
    param([string[]] $Name)
    $limit = $jobWatch.Elapsed.TotalSeconds + $Spec.leftover_timeout
    if ($wasRunning) { $limit = [Math]::Min($limit, $mark.stop_requested + $Spec.max_downtime) }
    while ($true) {
        $left = @(Get-AlteryxProcess -BinFolder $binFolder -Name $Name)
        if ($left.Count -eq 0 -or $jobWatch.Elapsed.TotalSeconds -ge $limit) { return $left }
        Write-Beat
        Assert-JobWanted
        Write-JobStatus -Message ('waiting for the end of {0} ({1})' -f $left[0].name, $left[0].process_id)
        Start-Sleep -Milliseconds 200
    }
}

function Write-Mark {
    param([string] $Name)
    $mark[$Name] = $jobWatch.Elapsed.TotalSeconds
}

function Write-StartLog {
    # Writes the log of the start after the start was requested, because the start must not wait for a file.
    if (-not $memory.start_at) { return }
    $at = $memory.start_at
    $memory.start_at = ''
    Write-JobLog -Text "starting $($Spec.service_name)" -At $at
}

function Read-DumpLog {
    # The text in the log files that the tool wrote into the dump folder, because some versions may print nothing. The
    # folder may be absent, because the tool creates it.
    $text = ''
    $path = [string]$Spec.dump_folder
    try {
        foreach ($file in (New-Object System.IO.DirectoryInfo $path).GetFiles('*.log')) {
            $path = $file.FullName
            try { if ($file.Length -le 4MB) { $text += Read-NodeText -Path $path } }
            catch { Write-JobLog -Level 'WARNING' -Text "$path cannot be read: $(Get-InnerText -ErrorRecord $_)" }
        }
    }
    catch { Write-JobLog -Level 'WARNING' -Text "$path cannot be listed: $(Get-InnerText -ErrorRecord $_)" }
    $text
}

function Get-ReasonToEnd {
    # Called while the dump runs: returns the reason to end it, or empty to continue. The state of the service is read
    # four times a second, because a service that finds its database in use may stop again within a second. The other
    # checks run once a second.
    if (@('Stopped', 'Unknown') -notcontains (Get-ServiceStatus -Name $Spec.service_name)) {
        return 'service_started_during_dump'
    }
    if (Test-JobCancelled) { return 'job_died' }
    $seconds = $jobWatch.Elapsed.TotalSeconds
    if ($seconds -lt $memory.look) { return '' }
    $memory.look = $seconds + 1
    Write-Beat
    # The guard sees the same age and will end this job soon.
    if ((Get-BeatAge) -gt [double]$lease.heartbeat_stale) {
        $messages.lease_lost = "the heartbeat could not be written for $($lease.heartbeat_stale) s, so the guard acts"
        return 'lease_lost'
    }
    if (Test-LeaseLost -Lease $lease -Seen $leaseSeen) { return 'lease_lost' }
    if (Test-SpaceBelow -Path $Spec.dump_folder -Bytes $Spec.space_reserve) { return 'space_reserve' }
    if ($wasRunning -and $seconds - $mark.stop_requested -gt $Spec.max_downtime) { return 'downtime_limit' }
    Write-DumpProgress -Path $Spec.dump_folder -TotalBytes $Spec.expected_bytes
    ''
}

$messages = @{
    job_died = 'The job was cancelled during the dump'
    service_started_during_dump = "$($Spec.service_name) was started during the dump by another program or a person"
    lease_lost = 'the lease changed during the dump: the guard has taken over'
    space_reserve = "less than $($Spec.space_reserve) bytes are free on the drive of $($Spec.dump_folder), " +
    'so the dump was ended'
    downtime_limit = "the service was down for more than $($Spec.max_downtime) s, so the dump was ended"
    dump_timeout = "$($Spec.method) was ended because it was not done within $($Spec.dump_timeout) s"
}

if ([IO.Directory]::Exists($Spec.dump_folder)) {
    throw (New-NodeFailure -Reason 'staging_in_use' -Message "The dump folder $($Spec.dump_folder) exists already")
}
Assert-Verb
# This job has the same account as the archive job.
if ($Spec.archive_folder) { Assert-FolderWritable -Path $Spec.archive_folder }
$staging = New-RunStaging -Root $Spec.staging_directory -RunId $Spec.run_id
$null = [IO.Directory]::CreateDirectory($Spec.dump_folder)
try { Wait-Opening }
catch {
    # The staging folder has no dump yet.
    try { Remove-NodeFolder -Path $staging } catch { Write-JobLog -Text "${staging}: $(Get-InnerText -ErrorRecord $_)" }
    throw
}
if ($wasRunning) { Write-NodeNotice -Lease $lease }

try {
    # If the service was Stopped before, the guard ends the processes that the job leaves.
    Write-FirstBeat
    $leaseSeen.at = Get-MonotonicSecond
    Assert-JobWanted
    if ($wasRunning) {
        Write-JobStatus -Phase 'stop'
        Write-JobLog -Text "stopping $($Spec.service_name)"
        Write-Mark -Name 'stop_requested'
        Request-ServiceStop -Name $Spec.service_name
        $stopSeconds = [Math]::Min($Spec.stop_timeout, $Spec.max_downtime)
        $wait = Wait-ServiceState -Name $Spec.service_name -State 'Stopped' -TimeoutSeconds $stopSeconds -OnTick {
            Write-Beat
            Assert-JobWanted
            Write-JobStatus -Message 'waiting for Stopped'
        }
        $states.AddRange([object[]]@($wait.states))
        if (-not $wait.reached) {
            throw (New-NodeFailure -Reason 'stop_timeout' -Message (
                    '{0} was not Stopped within {1} s (last state {2})' -f
                    $Spec.service_name, $Spec.stop_timeout, $wait.states[-1].state))
        }
        Write-Mark -Name 'stopped'
        Write-JobLog -Text "$($Spec.service_name) is Stopped"
    }
    elseif ((Get-ServiceStatus -Name $Spec.service_name) -ne 'Stopped') {
        throw (New-NodeFailure -Reason 'service_moved' -Message (
                "$($Spec.service_name) was Stopped when the lease was taken and is not any more"))
    }

    $leftover = @(Wait-Leftover -Name $leftoverNames)
    if ($leftover.Count -gt 0) {
        $names = ($leftover | ForEach-Object { '{0} ({1})' -f $_.name, $_.process_id }) -join ', '
        throw (New-NodeFailure -Reason 'processes_left' -Message (
                "$($Spec.service_name) is Stopped but these processes of the installation still run: $names"))
    }

    Write-JobStatus -Phase 'dump' -TotalBytes $Spec.expected_bytes
    Write-JobLog -Text "dumping to $($Spec.dump_folder)"
    Write-Mark -Name 'dump_started'
    if ($Spec.method -eq 'mongodump') {
        $dump = Invoke-Mongodump -Tool $Spec.tool -Dumps @($Spec.dumps) -ConfigPath $Spec.config_path `
            -TimeoutSeconds $Spec.dump_timeout -OnStart { Register-Tool -Process $args[0] } -OnTick { Get-ReasonToEnd }
        if ($dump.left) { Write-JobLog -Level 'WARNING' -Text $dump.left }
    }
    else {
        $argument = if ($Spec.dump_folder -match '\s') { 'emongodump="{0}"' -f $Spec.dump_folder }
        else { 'emongodump={0}' -f $Spec.dump_folder }
        # The tools of MongoDB that emongodump starts print the counts. This assumes that emongodump passes on their
        # UTF-8 unchanged. If it does not, letters outside ASCII are lost, and the control node finds the file by its
        # other letters.
        $dump = Invoke-NativeProcess -FileName $Spec.executable -RawArguments $argument -Utf8 `
            -TimeoutSeconds $Spec.dump_timeout -TickSeconds 0.25 `
            -OnStart { Register-Tool -Process $args[0] } -OnTick { Get-ReasonToEnd }
    }
    Write-Mark -Name 'dump_ended'
    $memory.look = 0.0
    $ended = if ($dump.stopped_because) { $dump.stopped_because }
    elseif ($dump.timed_out) { 'dump_timeout' }
    else { Get-ReasonToEnd }
    if ($ended) { throw (New-NodeFailure -Reason $ended -Message $messages[$ended]) }
    # The mongod that emongodump used ends by itself, some time later. The dump is complete, even if the state of that
    # mongod is not known.
    if ($Spec.method -eq 'emongodump') {
        try { $null = Wait-Leftover -Name 'mongod.exe' }
        catch {
            Assert-JobWanted
            $text = "whether a mongod still runs is not known: $(Get-InnerText -ErrorRecord $_)"
            Write-JobLog -Level 'WARNING' -Text $text
        }
    }
}
catch { $failure = Get-NodeFailure -ErrorRecord $_ }
finally {
    # Always, and before anything else, the prior state of the service is restored. A guard that has acted in the
    # meantime does the same, which does no harm, because both only request a start. No process of the dump may run when
    # the service starts.
    $names = if ($Spec.method -eq 'emongodump') { @('mongod.exe', 'mongodump.exe') } else { @() }
    try { Stop-RegisteredTool -Service $Spec.service_name -BinFolder $binFolder -Name $names }
    catch {
        Write-JobLog -Level 'WARNING' -Text "the rest of the dump could not be ended: $(Get-InnerText -ErrorRecord $_)"
    }
    $restored = -not $wasRunning
    $held = Test-NodeHold
    if ($wasRunning -and $held) {
        Write-JobLog -Level 'WARNING' -Text 'the file HOLD is there, so the service is left down'
    }
    elseif ($wasRunning) {
        Write-Mark -Name 'start_requested'
        $memory.start_at = Get-UtcText
        try {
            # Also in StopPending: the start is requested again until the service is Running.
            $start = Start-ServiceSurely -Name $Spec.service_name -TimeoutSeconds $Spec.start_timeout -OnTick {
                Write-Beat
                Write-JobStatus -Phase 'start' -Message 'waiting for Running'
                Write-StartLog
            }
            Write-StartLog
            $states.AddRange([object[]]@($start.states))
            $restored = $start.reached
            $mark['running'] = $mark.start_requested + $start.running_after
            $startError = $start.error
            $startProblem = $start.problem
            if ($start.problem) { Write-JobLog -Level 'WARNING' -Text "a start request was refused: $($start.problem)" }
            $runsSince = Get-UtcText
            foreach ($seen in $start.states) { $runsSince = $seen.at }
            if ($restored) { Write-JobLog -Text "$($Spec.service_name) is Running" -At $runsSince }
        }
        catch { Write-JobLog -Level 'ERROR' -Text (Get-NodeFailure -ErrorRecord $_).message }
    }
    if ($restored) { Write-LastBeat }
}
if ($restored) { Remove-NodeNotice }
Write-JobStatus -Phase 'collect'

$detail = @{
    prior_state = [string]$lease.prior_state
    restored = $restored
    states = $states.ToArray()
    marks = $mark
    dump_folder = [string]$Spec.dump_folder
    files = @()
}
# The result must report that the service runs again, also if the dump has failed.
try { $detail['files'] = @(Get-FolderFile -Path $Spec.dump_folder) }
catch { if ($null -eq $failure) { $failure = Get-NodeFailure -ErrorRecord $_ } }
if ($null -ne $dump) {
    $detail['exit_code'] = $dump.exit_code
    # A tool that cannot log in may print the address, which contains a password.
    $detail['output'] = Hide-Secret -Text ($dump.stdout + $dump.stderr)
    if ($Spec.method -eq 'emongodump') {
        $detail['output'] += Hide-Secret -Text (Read-DumpLog)
        # The files are counted for a comparison, in case the tool has not reported what it dumped.
        $detail['last'] = @{ name = ''; collections = @() }
        try { $detail['last'] = Read-LastDump -Folder $Spec.archive_folder }
        catch {
            $why = Get-InnerText -ErrorRecord $_
            Write-JobLog -Level 'WARNING' -Text "$($Spec.archive_folder) cannot be read: $why"
        }
    }
}
if ($null -ne $dump) {
    # The dump has cost a downtime. If this run dies, recover.yml or the next run can archive it.
    $why = if ($null -ne $failure) { [string]$failure.reason } else { '' }
    Save-DumpRecord -Memo $Spec.memo -Reason $why -Detail $detail
}
$first = if ($null -ne $failure) { " (before that: $($failure.message))" } else { '' }
if (-not $restored -and $held) {
    $message = "$($Spec.service_name) is left down because the file HOLD is in the state folder$first"
    throw (New-NodeFailure -Reason 'held_by_operator' -Detail $detail -Message $message)
}
if (-not $restored) {
    $reason = if (Test-LogonFailure -ErrorNumber $startError) { 'service_logon_failed' } else { 'service_not_restored' }
    $why = if ($startProblem) { ": $startProblem" } else { '' }
    throw (New-NodeFailure -Reason $reason -Detail $detail -Message (
            "$($Spec.service_name) is not Running again$why$first"))
}
if ($null -ne $failure) { throw (New-NodeFailure -Reason $failure.reason -Detail $detail -Message $failure.message) }
if (-not $wasRunning) { Write-JobLog -Text "$($Spec.service_name) is left $($lease.prior_state), as it was before" }
$detail

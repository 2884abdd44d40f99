# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeTask
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeRecord
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeService
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeTrust

# The lease is the permission to stop the service. A run has it only while the guard on the node is able to start the
# service again.
#
#   <state>\lease.json          run_id, generation, service, prior_state, start_type, boot, deadline_monotonic,
#                             deadline (for people), heartbeat_stale, controller_host, follower (id of the job that
#                             starts the service after the controller; may be empty), undo_script (of a restore; may
#                             be empty)
#   <state>\heartbeat.json      a record (NodeRecord.psm1), controller only, written by the module that takes the
#                             lease and then by the window job: monotonic, process_id, process_birth, tool_id,
#                             tool_birth, stop_requested, finished
#   <state>\drill-request.txt   a word that the guard must repeat in its answer
#   <state>\drill-answer.json   the answer of the guard: word, account (security identifier)
#   <state>\HOLD                put there by a person: job, guard and playbook do not start the service
#   <state>\STATUS.txt, restore-service.cmd   for a person at the node, while the service is stopped
#   \AlteryxOps\Guard           the task of the guard: runs at boot, every minute, and on demand for the drill. Its
#                             arguments contain all that the guard needs to act.
#
# The module that takes the lease writes lease.json; the guard writes it only when it takes over. After that module,
# only the window job writes heartbeat.json. So no process overwrites what another one has written.

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$script:GuardTask = '\AlteryxOps\Guard'
$script:DrillSeconds = 30
$script:HeartbeatBytes = 1024

function Get-StatePath {
    param([string] $Name)
    Join-Path -Path (Get-StateFolder) -ChildPath $Name
}

function Read-LeaseFile {
    <#
    .SYNOPSIS
    Reads the lease. Tries again for at most Seconds if it cannot be opened. Returns a hashtable: state (read, absent,
    busy, damaged) and lease (an object, with state read). Windows replaces a file in more than one step, so the lease
    counts as absent only if it stays absent for a moment.
    #>
    param([double] $Seconds = 10)
    $path = Get-StatePath -Name 'lease.json'
    $watch = [Diagnostics.Stopwatch]::StartNew()
    while ($true) {
        $answer = @{ state = 'absent'; lease = $null }
        try {
            if ([IO.File]::Exists($path)) {
                $answer.state = 'busy'
                $text = Read-NodeText -Path $path
                $answer.state = 'damaged'
                $answer.lease = ConvertFrom-Json -InputObject $text
                if ($null -ne $answer.lease) { return @{ state = 'read'; lease = $answer.lease } }
            }
        }
        catch { Write-Verbose -Message "lease.json cannot be read: $_" }
        $limit = if ($answer.state -eq 'busy') { $Seconds } else { [Math]::Min($Seconds, 0.5) }
        if ($watch.Elapsed.TotalSeconds -ge $limit) { return $answer }
        Start-Sleep -Milliseconds 100
    }
}

function Read-NodeLease {
    <# .SYNOPSIS
    Returns the lease as an object, or nothing if it is absent or cannot be read. #>
    (Read-LeaseFile).lease
}

function Test-NodeHold {
    <# .SYNOPSIS
    Has a person put the file HOLD there, so that the service stays stopped? #>
    [IO.File]::Exists((Get-StatePath -Name 'HOLD'))
}

function Test-LeaseRemains {
    <# .SYNOPSIS
    Is there a lease, readable or not, or a guard without a lease? #>
    [IO.File]::Exists((Get-StatePath -Name 'lease.json')) -or (Test-NodeTask -Name $script:GuardTask)
}

function Get-GuardOrder {
    <#
    .SYNOPSIS
    Which service the registered guard would start, as a hashtable: service, prior_state, restore_run and undo_script
    (of a restore; else empty). Returns nothing if there is no guard. The values come from the arguments of the guard's
    task, and are needed when the lease is lost or cannot be read.
    #>
    $xml = [Net.WebUtility]::HtmlDecode((Get-NodeTaskXml -Name $script:GuardTask))
    # The script, then its parameters in their order (see guard.ps1).
    if ($xml -notmatch "ReadAllText\('(?:[^']|'')*'\)\)\)((?: '(?:[^']|'')*')+)") { return }
    $values = @([regex]::Matches($Matches[1], "'((?:[^']|'')*)'") | ForEach-Object {
            $_.Groups[1].Value.Replace("''", "'")
        })
    if ($values.Count -lt 2 -or @('Running', 'Stopped') -cnotcontains $values[1]) { return }
    $order = @{ service = $values[0]; prior_state = $values[1]; restore_run = ''; undo_script = '' }
    # A guard of an older version has fewer arguments.
    if ($values.Count -ge 13) {
        $order.restore_run = $values[11]
        $order.undo_script = $values[12]
    }
    $order
}

function Get-HeartbeatData {
    # ProcessId is 0 from the taking of the lease until the job writes its own id. Tool is the program that the job runs
    # now, so that the guard can end it if the job has died.
    param(
        [int] $ProcessId = 0, [long] $ProcessBirth = 0, [int] $ToolId = 0, [long] $ToolBirth = 0,
        [bool] $StopRequested = $false, [bool] $Finished = $false
    )
    @{
        monotonic = Get-MonotonicSecond
        process_id = $ProcessId
        process_birth = $ProcessBirth
        tool_id = $ToolId
        tool_birth = $ToolBirth
        stop_requested = $StopRequested
        finished = $Finished
    }
}

function Write-LeaseHeartbeat {
    <#
    .SYNOPSIS
    Shows that the window job is running: overwrites the heartbeat in place. Beat holds parameters of Get-HeartbeatData.
    Throws when the file cannot be written.
    #>
    param([Parameter(Mandatory = $true)][hashtable] $Beat)
    Write-NodeRecord -Path (Get-StatePath -Name 'heartbeat.json') -Data (Get-HeartbeatData @Beat)
}

function Read-LeaseHeartbeat {
    # Returns the heartbeat of the window job as an object, or nothing if it is absent or cannot be read.
    (Read-NodeRecord -Path (Get-StatePath -Name 'heartbeat.json') -Seconds 5).data
}

function Get-WindowJobProcess {
    <# .SYNOPSIS
    The process id of the window job in the heartbeat, if the job is running and has not finished; else 0. #>
    $beat = Read-LeaseHeartbeat
    if ($null -eq $beat -or [int]$beat.process_id -eq 0 -or [bool]$beat.finished) { return 0 }
    if (-not (Test-NodeProcess -ProcessId ([int]$beat.process_id) -Birth ([long]$beat.process_birth))) { return 0 }
    [int]$beat.process_id
}

function Write-NodeNotice {
    <#
    .SYNOPSIS
    Writes STATUS.txt and restore-service.cmd for a person who finds the service stopped: why it is stopped, when it
    will start again, and how to start it now. Work: what stops it. A lease does not tell a restore from a rollback, so
    a caller that knows which it is says so.
    #>
    param([Parameter(Mandatory = $true)] $Lease, [string] $Work = '')
    $isRestore = [bool](Get-LeaseUndo -Lease $Lease)
    if (-not $Work) { $Work = if ($isRestore) { 'restore or rollback' } else { 'backup' } }
    $until = "$($Lease.deadline) at the latest; the scheduled task $script:GuardTask sees to that"
    $then = if ($isRestore) { "That first ends the $Work and puts its exchanged files back, unless it is complete." }
    else { 'The backup that is running then fails and says so.' }
    $what = "A $Work (alteryx_ops.server_backup) stops"
    $text = @(
        "$what the Windows service $($Lease.service) on purpose and starts it again."
        "This file is removed when the service is back."
        "Run:       $($Lease.run_id)"
        "Since:     $(Get-UtcText)"
        "Back by:   $until, also after a reboot."
        "Start now: run restore-service.cmd in this folder. $then"
        "Keep down: create a file named HOLD in this folder. To end that, run restore-service.cmd; it removes HOLD."
    )
    Write-NodeText -Path (Get-StatePath -Name 'STATUS.txt') -Text (($text -join "`r`n") + "`r`n")
    # In a restore, the script lets the guard start the service, because the guard undoes the restore first. Without a
    # lease the guard acts at once.
    $start = if ($isRestore) { @('del "%~dp0lease.json"', "schtasks.exe /Run /TN ""$script:GuardTask""") }
    else { @("sc.exe start ""$($Lease.service)"" && del ""%~dp0STATUS.txt""") }
    $rem = "rem Starts the Alteryx service now, whatever a $Work is doing."
    $command = @('@echo off', $rem, 'del "%~dp0HOLD" 2>nul') + $start + @('')
    Write-NodeText -Path (Get-StatePath -Name 'restore-service.cmd') -Text ($command -join "`r`n")
}

function Remove-NodeNotice {
    <#
    .SYNOPSIS
    Removes STATUS.txt when the service runs again. Never throws, because the release of the lease removes a file that
    stays. restore-service.cmd stays until then, in case the service fails again.
    #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'callers check')]
    param()
    try { [IO.File]::Delete((Get-StatePath -Name 'STATUS.txt')) } catch { Write-Verbose -Message "STATUS.txt: $_" }
}

function New-NodeLease {
    <#
    .SYNOPSIS
    Takes the lease and proves it: writes the lease, registers the guard, and waits for the guard's answer. If a step
    fails, this removes everything again and throws. HoldSeconds is the time after which the guard restores the service
    in any case. HeartbeatStale, on a controller, is the age in seconds of a heartbeat at which the window job counts as
    dead (0: this node has no window job). Returns the lease with the account that answered. On the other nodes of a
    fleet, ControllerHost and ControllerPort, or ControllerUrl if it is given, are the address of the controller. The
    guard restores the service when it has seen the controller down and then answering for StartDelay seconds. A guard
    that has not seen the controller down acts only at the deadline. Follower is the id of the job that starts the
    service before that. For a restore, UndoScript is the path of undo_restore.ps1, which must run before the service is
    started.
    #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'callers check')]
    param(
        [Parameter(Mandatory = $true)][string] $RunId,
        [Parameter(Mandatory = $true)][string] $Service,
        [Parameter(Mandatory = $true)][int] $HoldSeconds,
        [int] $HeartbeatStale = 0,
        [string] $ControllerHost = '',
        [int] $ControllerPort = 0,
        [string] $ControllerUrl = '',
        [int] $StartDelay = 0,
        [string] $Follower = '',
        [string] $UndoScript = '',
        [Parameter(Mandatory = $true)][string] $GuardScript,
        [Parameter(Mandatory = $true)][string] $Account
    )
    $found = Get-NodeService -Name $Service
    # A server that hangs is what a restore is for. If the restore is undone, its service is left as it was found.
    $prior = if ($UndoScript -and @('StartPending', 'StopPending') -contains $found.state) { 'Stopped' }
    else { $found.state }
    if (@('Running', 'Stopped') -notcontains $prior) {
        throw (New-NodeFailure -Reason 'service_in_transition' -Message (
                'The service {0} is {1}; a lease is taken only when it is Running or Stopped' -f
                $Service, $found.state))
    }
    if (Test-NodeHold) {
        # No service is stopped yet, so none has to be started.
        throw (New-NodeFailure -Reason 'hold_present' -Message (
                'The file {0} is there: nothing is stopped or started on this node' -f (Get-StatePath -Name 'HOLD')))
    }
    Assert-FolderTrust -Path (Get-StateFolder)
    New-ProtectedFolder -Path (Get-StateFolder)
    $now = Get-MonotonicSecond
    $boot = Get-BootIdentity -Create
    $lease = @{
        run_id = $RunId
        generation = 1
        service = $Service
        prior_state = $prior
        start_type = $found.start_type
        boot = $boot
        deadline_monotonic = $now + $HoldSeconds
        deadline = Get-PersonTime -Time ([DateTime]::UtcNow.AddSeconds($HoldSeconds))
        heartbeat_stale = $HeartbeatStale
        controller_host = $ControllerHost
        follower = $Follower
        undo_script = $UndoScript
        drilled = $false
    }
    try {
        Remove-NodeTask -Name $script:GuardTask
        Remove-OwnKey -Name 'Guard'
        # The service runs, so its account was able to log on. Earlier log-on failures no longer count.
        if ($found.state -eq 'Running') { Remove-OwnKey -Name 'Starts' }
        # Heartbeat and lease are written before the task is registered, because a guard that runs without them would
        # act.
        $heartbeat = Get-StatePath -Name 'heartbeat.json'
        if ($HeartbeatStale -eq 0) { Remove-NodeFile -Path $heartbeat }
        else { New-NodeRecord -Path $heartbeat -Length $script:HeartbeatBytes -Data (Get-HeartbeatData) }
        Write-NodeText -Path (Get-StatePath -Name 'lease.json') -Text (ConvertTo-NodeJson -InputObject $lease)
        Register-NodeTask -Name $script:GuardTask `
            -Description 'alteryx_ops.server_backup: starts the Alteryx service again if a backup cannot' `
            -Path $GuardScript -Priority 4 -TimeLimit 'PT5M' -AtBootAndEveryMinute -ArgumentList @(
            $Service, $found.state, [IO.Path]::GetDirectoryName($found.executable),
            (ConvertTo-InvariantText -Number $now), (ConvertTo-InvariantText -Number $lease.deadline_monotonic), $boot,
            [string]$HeartbeatStale, $ControllerHost, [string]$ControllerPort, $ControllerUrl, [string]$StartDelay,
            $(if ($UndoScript) { $RunId } else { '' }), $UndoScript)
        $lease['guard_account'] = Invoke-GuardDrill -Account $Account
        $lease['drilled'] = $true
        Write-NodeText -Path (Get-StatePath -Name 'lease.json') -Text (ConvertTo-NodeJson -InputObject $lease)
    }
    catch {
        $failure = $_
        try { Remove-NodeLease } catch { Write-Verbose -Message "the rest of the lease could not be removed: $_" }
        throw $failure
    }
    $lease
}

function ConvertTo-InvariantText {
    param([double] $Number)
    $Number.ToString('F3', [Globalization.CultureInfo]::InvariantCulture)
}

function Invoke-GuardDrill {
    <# .SYNOPSIS
    Runs the guard's task on demand and waits for its answer; returns the account it runs as. #>
    param([Parameter(Mandatory = $true)][string] $Account)
    $request = Join-Path -Path (Get-StateFolder) -ChildPath 'drill-request.txt'
    $answerPath = Join-Path -Path (Get-StateFolder) -ChildPath 'drill-answer.json'
    $word = [Guid]::NewGuid().ToString('N')
    Remove-NodeFile -Path $answerPath
    Write-NodeText -Path $request -Text $word
    try {
        Start-NodeTask -Name $script:GuardTask
        $watch = [Diagnostics.Stopwatch]::StartNew()
        while ($true) {
            # Another program may lock the new file for a moment.
            try {
                if ([IO.File]::Exists($answerPath)) {
                    $answer = ConvertFrom-Json -InputObject (Read-NodeText -Path $answerPath)
                    if ($answer.word -ceq $word) { break }
                }
            }
            catch { Write-Verbose -Message "${answerPath}: $_" }
            if ($watch.Elapsed.TotalSeconds -gt $script:DrillSeconds) {
                throw (New-NodeFailure -Reason 'drill_unanswered' -Message (
                        'The guard task {0} was run but has not answered within {1} s' -f
                        $script:GuardTask, $script:DrillSeconds))
            }
            Start-Sleep -Milliseconds 100
        }
    }
    finally {
        foreach ($path in $request, $answerPath) {
            # The result of the drill is known. If a file cannot be deleted, that does not change it.
            try { Remove-NodeFile -Path $path } catch { Write-Verbose -Message "${path}: $_" }
        }
    }
    if ([string]$answer.account -cne $Account) {
        throw (New-NodeFailure -Reason 'drill_wrong_account' -Message (
                'The guard runs as {0}, expected {1}' -f $answer.account, $Account))
    }
    [string]$answer.account
}

function Get-LeaseFollower {
    <# .SYNOPSIS
    The id of the job that follows the controller under this lease; empty if there is no such job. #>
    param($Lease)
    # A lease of an older version does not have this field.
    if ($null -eq $Lease -or $null -eq $Lease.PSObject.Properties['follower']) { return '' }
    [string]$Lease.follower
}

function Get-LeaseUndo {
    <# .SYNOPSIS
    The path of undo_restore.ps1 of a lease that belongs to a restore; empty for that of a backup. #>
    param($Lease)
    if ($null -eq $Lease) { return '' }
    if ($Lease -is [hashtable]) { return [string]$Lease['undo_script'] }
    # A lease of an older version does not have this field.
    if ($null -eq $Lease.PSObject.Properties['undo_script']) { return '' }
    [string]$Lease.undo_script
}

function Test-LeaseLost {
    <#
    .SYNOPSIS
    Was the lease that this job has read released, or has the guard taken over? The guard changes the generation when it
    takes over. A lease that another program locks counts as neither. Seen is a hashtable of the caller: at, the
    monotonic seconds when the lease was last there.
    #>
    param([Parameter(Mandatory = $true)] $Lease, [Parameter(Mandatory = $true)][hashtable] $Seen)
    $now = Read-LeaseFile -Seconds 0
    if (@('read', 'busy') -contains $now.state) { $Seen.at = Get-MonotonicSecond }
    if ($now.state -eq 'read') { return [int]$now.lease.generation -ne [int]$Lease.generation }
    # The lease is absent or damaged for longer than its replacement takes.
    (Get-MonotonicSecond) - $Seen.at -gt 3
}

function Set-LeaseRun {
    <# .SYNOPSIS
    Transfers the lease of a dead run to this run. Only the run ID changes. #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'callers check')]
    param([Parameter(Mandatory = $true)][string] $RunId)
    $lease = Read-NodeLease
    $lease.run_id = $RunId
    Write-NodeText -Path (Get-StatePath -Name 'lease.json') -Text (ConvertTo-NodeJson -InputObject $lease)
}

function Get-LeaseLack {
    <#
    .SYNOPSIS
    Why the lease of this run does not permit a stop; empty if it permits a stop.
    #>
    param(
        [Parameter(Mandatory = $true)][string] $RunId,
        [Parameter(Mandatory = $true)][string] $Service
    )
    $lease = Read-NodeLease
    if ($null -eq $lease) { return 'there is none' }
    if ([string]$lease.run_id -cne $RunId) { return 'it belongs to the run {0}' -f $lease.run_id }
    if ([string]$lease.service -ne $Service) { return 'it is for the service {0}' -f $lease.service }
    if (-not $lease.drilled) { return 'its guard has not answered a drill' }
    if ([int]$lease.generation -ne 1) { return 'its guard has acted already' }
    if ([string]$lease.boot -cne (Get-BootIdentity)) { return 'it is from before the last boot' }
    if ((Get-MonotonicSecond) -ge [double]$lease.deadline_monotonic) { return 'its deadline has passed' }
    if (-not (Test-NodeTask -Name $script:GuardTask)) { return 'its guard task is not registered' }
    ''
}

function Assert-NodeLease {
    <#
    .SYNOPSIS
    Returns the lease. Throws unless the lease belongs to this run, to this service and to this boot, has time left, was
    proved in a drill, and its guard is registered.
    #>
    param(
        [Parameter(Mandatory = $true)][string] $RunId,
        [Parameter(Mandatory = $true)][string] $Service
    )
    $lack = Get-LeaseLack -RunId $RunId -Service $Service
    if ($lack) {
        throw (New-NodeFailure -Reason 'no_lease' -Message (
                "The service $Service is not stopped without a lease of this run on this node: $lack"))
    }
    Read-NodeLease
}

function Remove-NodeLease {
    <#
    .SYNOPSIS
    Releases the lease: deletes the task of the guard, checks that it is gone, and then deletes the files. Returns
    whether there was anything to release. If the Task Scheduler does not confirm that the guard is gone, throws
    task_unknown and keeps the files, because a guard without a lease acts.
    #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'callers check')]
    param()
    $had = Test-LeaseRemains
    Remove-NodeTask -Name $script:GuardTask
    # A lease that cannot be deleted blocks other runs, so that is a failure. The next lease overwrites the other files.
    Remove-NodeFile -Path (Get-StatePath -Name 'lease.json')
    foreach ($name in @('heartbeat.json', 'STATUS.txt', 'restore-service.cmd')) {
        try { Remove-NodeFile -Path (Get-StatePath -Name $name) } catch { Write-Verbose -Message "${name}: $_" }
    }
    try { Remove-OwnKey -Name 'Guard' } catch { Write-Verbose -Message "the memory of the guard: $_" }
    $had
}

Export-ModuleMember -Function @(
    'Read-LeaseFile', 'Read-NodeLease', 'Get-WindowJobProcess', 'Test-NodeHold', 'Test-LeaseRemains',
    'Get-GuardOrder', 'Write-LeaseHeartbeat', 'Write-NodeNotice', 'Remove-NodeNotice', 'New-NodeLease',
    'Get-LeaseFollower', 'Get-LeaseUndo', 'Test-LeaseLost', 'Set-LeaseRun', 'Get-LeaseLack', 'Assert-NodeLease',
    'Remove-NodeLease'
)

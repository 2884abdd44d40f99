# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeClock
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeFiles
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeFailure
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeTask
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.AlteryxNode

# The lease: permission to stop the service, held only while the node itself is able to bring it back.
#
#   <state>\lease.json          run_id, generation, service, prior_state, start_type, boot, deadline_monotonic, deadline (for people), heartbeat_stale,
#                             controller_host, controller_port, open_by_monotonic
#   <state>\heartbeat.json      controller only, written by the taking and then by the window job: monotonic, process_id, process_birth, stop_requested, finished
#   <state>\controller-down.txt  other nodes only, written by the guard once it has seen the controller down
#   <state>\drill-request.txt   a word the guard has to answer
#   <state>\drill-answer.json   what it answered: word, account (security identifier)
#   <state>\HOLD                put there by a person: job, guard and playbook leave the service down
#   <state>\STATUS.txt, restore-service.cmd   for the person at 3 a.m., while a stop is on
#   \AlteryxOps\Guard           the task: at boot and every minute, and on demand for the drill
#
# lease.json is written by who takes the lease and, once it acts, by the guard; heartbeat.json by the window job alone. So no writer undoes another's word.

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$script:GuardTask = '\AlteryxOps\Guard'
$script:DrillSeconds = 30

function Get-StatePath {
    param([string] $Name)
    Join-Path -Path (Get-StateFolder) -ChildPath $Name
}

function Read-StateFile {
    # A JSON file of the state folder as an object; nothing when it is absent or cannot be read. Replacing a file takes more than one step inside
    # Windows, so what fails is tried again for a moment.
    param([string] $Name)
    $path = Get-StatePath -Name $Name
    for ($attempt = 1; $attempt -le 3; $attempt++) {
        try { if ([IO.File]::Exists($path)) { return ConvertFrom-Json -InputObject (Read-NodeText -Path $path) } }
        catch { Write-Verbose -Message "$Name cannot be read: $_" }
        if ($attempt -lt 3) { Start-Sleep -Milliseconds 100 }
    }
}

function Read-NodeLease {
    <# .SYNOPSIS
    The lease as an object; nothing when there is none or it cannot be read. #>
    Read-StateFile -Name 'lease.json'
}

function Read-LeaseHeartbeat {
    <# .SYNOPSIS
    The heartbeat of the window job as an object; nothing when there is none. #>
    Read-StateFile -Name 'heartbeat.json'
}

function Test-NodeHold {
    <# .SYNOPSIS
    Does a person want the service to stay down? #>
    [IO.File]::Exists((Get-StatePath -Name 'HOLD'))
}

function Test-LeaseRemains {
    <# .SYNOPSIS
    Is there a lease, readable or not, or a guard without one? #>
    [IO.File]::Exists((Get-StatePath -Name 'lease.json')) -or (Test-NodeTask -Name $script:GuardTask)
}

function Get-GuardOrder {
    <#
    .SYNOPSIS
    What the registered guard would bring back, as a hashtable: service and prior_state; nothing when there is no guard. It stands in the arguments of its
    task, for a lease that is lost or cannot be read.
    #>
    $xml = [Net.WebUtility]::HtmlDecode((Get-NodeTaskXml -Name $script:GuardTask))
    if ($xml -match "'((?:[^']|'')+)' '(Running|Stopped)' '(?:[^']|'')*'""\s*</Arguments>") {
        @{ service = $Matches[1].Replace("''", "'"); prior_state = $Matches[2] }
    }
}

function Write-LeaseHeartbeat {
    <#
    .SYNOPSIS
    Says that the window lives. ProcessId 0 is the taking of the lease, before a job has registered itself.
    #>
    param([int] $ProcessId = 0, [long] $ProcessBirth = 0, [switch] $StopRequested, [switch] $Finished)
    Write-NodeText -Path (Get-StatePath -Name 'heartbeat.json') -Text (ConvertTo-NodeJson -InputObject @{
            monotonic = Get-MonotonicSecond
            process_id = $ProcessId
            process_birth = $ProcessBirth
            stop_requested = [bool]$StopRequested
            finished = [bool]$Finished
        })
}

function Write-NodeNotice {
    <#
    .SYNOPSIS
    Leaves word for a person who finds the service down: why, back by when, and how to start it now.
    #>
    param([Parameter(Mandatory = $true)] $Lease)
    $text = @(
        "The Windows service $($Lease.service) is stopped on purpose by a backup (alteryx_ops.server_backup)."
        "Run:       $($Lease.run_id)"
        "Since:     $(Get-UtcText)"
        "Back by:   $($Lease.deadline) at the latest; the scheduled task $script:GuardTask sees to that, also after a reboot."
        "Start now: run restore-service.cmd in this folder. The backup that is running then fails and says so."
        "Keep down: create a file named HOLD in this folder; remove it and run restore-service.cmd to end that."
    )
    Write-NodeText -Path (Get-StatePath -Name 'STATUS.txt') -Text (($text -join "`r`n") + "`r`n")
    $command = "@echo off`r`nrem Starts the Alteryx service now, whatever a backup is doing.`r`ndel ""%~dp0HOLD"" 2>nul`r`nsc.exe start ""$($Lease.service)""`r`n"
    Write-NodeText -Path (Get-StatePath -Name 'restore-service.cmd') -Text $command
}

function New-NodeLease {
    <#
    .SYNOPSIS
    Takes the lease and proves it: writes it, registers the guard, lets it answer. Throws and leaves nothing behind when any of that fails.
    HoldSeconds is the time after which the guard restores the service whatever else is true; HeartbeatStale, on a controller, the age in seconds at which
    the window job counts as dead (0: this node has no window job). Returns the lease with the account that answered.
    ControllerHost and ControllerPort, on the other nodes of a fleet, are where the controller answers: the guard restores once it has gone down and answers
    again, or when it has not gone down within OpenWithin seconds.
    #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '', Justification = 'callers check')]
    param(
        [Parameter(Mandatory = $true)][string] $RunId,
        [Parameter(Mandatory = $true)][string] $Service,
        [Parameter(Mandatory = $true)][int] $HoldSeconds,
        [int] $HeartbeatStale = 0,
        [string] $ControllerHost = '',
        [int] $ControllerPort = 0,
        [int] $OpenWithin = 0,
        [Parameter(Mandatory = $true)][string] $GuardScript,
        [Parameter(Mandatory = $true)][string] $Account
    )
    $found = Get-AlteryxService -Name $Service
    if (@('Running', 'Stopped') -notcontains $found.state) {
        throw (New-NodeFailure -Reason 'service_in_transition' -Message ('The service {0} is {1}; a lease is taken only when it is Running or Stopped' -f $Service, $found.state))
    }
    if (Test-NodeHold) {
        throw (New-NodeFailure -Reason 'held_by_operator' -Message ('The file {0} is there: nothing is stopped or started on this node' -f (Get-StatePath -Name 'HOLD')))
    }
    New-ProtectedFolder -Path (Get-StateFolder)
    $now = Get-MonotonicSecond
    $lease = @{
        run_id = $RunId
        generation = 1
        service = $Service
        prior_state = $found.state
        start_type = $found.start_type
        boot = Get-BootIdentity
        deadline_monotonic = $now + $HoldSeconds
        # For people; written so that no JSON reader takes it for a date of its own.
        deadline = [DateTime]::UtcNow.AddSeconds($HoldSeconds).ToString("yyyy-MM-dd HH:mm:ss 'UTC'", [Globalization.CultureInfo]::InvariantCulture)
        heartbeat_stale = $HeartbeatStale
        controller_host = $ControllerHost
        controller_port = $ControllerPort
        open_by_monotonic = $now + $OpenWithin
        drilled = $false
    }
    try {
        Remove-NodeTask -Name $script:GuardTask
        foreach ($name in @('guard-state.json', 'controller-down.txt')) { [IO.File]::Delete((Get-StatePath -Name $name)) }
        # Heartbeat and lease before the task: a guard that fires without them would act.
        if ($HeartbeatStale -gt 0) { Write-LeaseHeartbeat }
        else { [IO.File]::Delete((Get-StatePath -Name 'heartbeat.json')) }
        Write-NodeText -Path (Get-StatePath -Name 'lease.json') -Text (ConvertTo-NodeJson -InputObject $lease)
        Register-NodeTask -Name $script:GuardTask -Description 'alteryx_ops.server_backup: brings the Alteryx service back if a backup cannot' `
            -Path $GuardScript -ArgumentList @($Service, $found.state, [IO.Path]::GetDirectoryName($found.executable)) -Priority 4 -TimeLimit 'PT5M' -AtBootAndEveryMinute
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

function Invoke-GuardDrill {
    <# .SYNOPSIS
    Runs the guard's task on demand and waits for its answer; returns the account it runs as. #>
    param([Parameter(Mandatory = $true)][string] $Account)
    $request = Join-Path -Path (Get-StateFolder) -ChildPath 'drill-request.txt'
    $answerPath = Join-Path -Path (Get-StateFolder) -ChildPath 'drill-answer.json'
    $word = [Guid]::NewGuid().ToString('N')
    [IO.File]::Delete($answerPath)
    Write-NodeText -Path $request -Text $word
    try {
        Start-NodeTask -Name $script:GuardTask
        $watch = [Diagnostics.Stopwatch]::StartNew()
        while ($true) {
            if ([IO.File]::Exists($answerPath)) {
                $answer = ConvertFrom-Json -InputObject (Read-NodeText -Path $answerPath)
                if ($answer.word -ceq $word) { break }
            }
            if ($watch.Elapsed.TotalSeconds -gt $script:DrillSeconds) {
                throw (New-NodeFailure -Reason 'drill_unanswered' -Message ('The guard task {0} was run but has not answered within {1} s' -f $script:GuardTask, $script:DrillSeconds))
            }
            Start-Sleep -Milliseconds 100
        }
    }
    finally {
        [IO.File]::Delete($request)
        [IO.File]::Delete($answerPath)
    }
    if ([string]$answer.account -cne $Account) {
        throw (New-NodeFailure -Reason 'drill_wrong_account' -Message ('The guard runs as {0}, expected {1}' -f $answer.account, $Account))
    }
    [string]$answer.account
}

function Set-LeaseRun {
    <# .SYNOPSIS
    Gives the lease of a dead run to this one. Everything else in it stays. #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '', Justification = 'callers check')]
    param([Parameter(Mandatory = $true)][string] $RunId)
    $lease = Read-NodeLease
    $lease.run_id = $RunId
    Write-NodeText -Path (Get-StatePath -Name 'lease.json') -Text (ConvertTo-NodeJson -InputObject $lease)
}

function Get-LeaseLack {
    <#
    .SYNOPSIS
    What the lease of this run lacks to permit a stop; empty when it permits one.
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
    Returns the lease; throws unless this run holds one for the service that was drilled, belongs to this boot, has time left and whose guard is registered.
    #>
    param(
        [Parameter(Mandatory = $true)][string] $RunId,
        [Parameter(Mandatory = $true)][string] $Service
    )
    $lack = Get-LeaseLack -RunId $RunId -Service $Service
    if ($lack) {
        throw (New-NodeFailure -Reason 'no_lease' -Message "The service $Service is not stopped without a lease of this run on this node: $lack")
    }
    Read-NodeLease
}

function Remove-NodeLease {
    <# .SYNOPSIS
    Releases the lease: the guard task first, checked, then the files. Returns whether there was anything to release. #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '', Justification = 'callers check')]
    param()
    $had = Test-LeaseRemains
    Remove-NodeTask -Name $script:GuardTask
    foreach ($name in @('lease.json', 'heartbeat.json', 'guard-state.json', 'controller-down.txt', 'STATUS.txt', 'restore-service.cmd')) {
        [IO.File]::Delete((Get-StatePath -Name $name))
    }
    $had
}

Export-ModuleMember -Function Read-NodeLease, Read-LeaseHeartbeat, Test-NodeHold, Test-LeaseRemains, Get-GuardOrder, Write-LeaseHeartbeat, Write-NodeNotice,
    New-NodeLease, Set-LeaseRun, Get-LeaseLack, Assert-NodeLease, Remove-NodeLease

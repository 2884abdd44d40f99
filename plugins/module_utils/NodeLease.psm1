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
#   <state>\lease.json          run_id, service, prior_state, boot, taken_monotonic, deadline_monotonic, deadline (for people)
#   <state>\drill-request.txt   a word the guard has to answer
#   <state>\drill-answer.json   what it answered: word, account (security identifier)
#   \AlteryxOps\Guard           the task: at boot and every minute, and on demand for the drill

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$script:GuardTask = '\AlteryxOps\Guard'
$script:DrillSeconds = 30

function Get-LeasePath { Join-Path -Path (Get-StateFolder) -ChildPath 'lease.json' }

function Read-NodeLease {
    <# .SYNOPSIS
    The lease as an object; nothing when there is none or it cannot be read. #>
    $path = Get-LeasePath
    if (-not [IO.File]::Exists($path)) { return }
    try { ConvertFrom-Json -InputObject (Read-NodeText -Path $path) }
    catch { Write-Verbose -Message "the lease cannot be read: $_" }
}

function New-NodeLease {
    <#
    .SYNOPSIS
    Takes the lease and proves it: writes it, registers the guard, lets it answer. Throws and leaves nothing behind when any of that fails.
    HoldSeconds is the time after which the guard restores the service. Returns the lease with the account that answered.
    #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '', Justification = 'callers check')]
    param(
        [Parameter(Mandatory = $true)][string] $RunId,
        [Parameter(Mandatory = $true)][string] $Service,
        [Parameter(Mandatory = $true)][int] $HoldSeconds,
        [Parameter(Mandatory = $true)][string] $GuardScript,
        [Parameter(Mandatory = $true)][string] $Account
    )
    $found = Get-AlteryxService -Name $Service
    if (@('Running', 'Stopped') -notcontains $found.state) {
        throw (New-NodeFailure -Reason 'service_in_transition' -Message ('The service {0} is {1}; a lease is taken only when it is Running or Stopped' -f $Service, $found.state))
    }
    New-ProtectedFolder -Path (Get-StateFolder)
    $now = Get-MonotonicSecond
    $lease = @{
        run_id = $RunId
        service = $Service
        prior_state = $found.state
        start_type = $found.start_type
        boot = Get-BootIdentity
        taken_monotonic = $now
        deadline_monotonic = $now + $HoldSeconds
        # For people; written so that no JSON reader takes it for a date of its own.
        deadline = [DateTime]::UtcNow.AddSeconds($HoldSeconds).ToString("yyyy-MM-dd HH:mm:ss 'UTC'", [Globalization.CultureInfo]::InvariantCulture)
    }
    # The lease first: a guard that fires without one would act.
    Write-NodeText -Path (Get-LeasePath) -Text (ConvertTo-NodeJson -InputObject $lease)
    try {
        Remove-NodeTask -Name $script:GuardTask
        Register-NodeTask -Name $script:GuardTask -Description 'alteryx_ops.server_backup: brings the Alteryx service back if a backup cannot' `
            -Path $GuardScript -ArgumentList @($Service, $found.state) -Priority 4 -TimeLimit 'PT5M' -AtBootAndEveryMinute
        $lease['guard_account'] = Invoke-GuardDrill -Account $Account
        $lease['drilled'] = $true
        Write-NodeText -Path (Get-LeasePath) -Text (ConvertTo-NodeJson -InputObject $lease)
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

function Assert-NodeLease {
    <#
    .SYNOPSIS
    Throws unless this run holds a lease for the service that was drilled, belongs to this boot, has time left and whose guard task is registered.
    #>
    param(
        [Parameter(Mandatory = $true)][string] $RunId,
        [Parameter(Mandatory = $true)][string] $Service
    )
    $lease = Read-NodeLease
    $lacks = $null
    if ($null -eq $lease) { $lacks = 'there is none' }
    elseif ([string]$lease.run_id -cne $RunId) { $lacks = 'it belongs to the run {0}' -f $lease.run_id }
    elseif ([string]$lease.service -ne $Service) { $lacks = 'it is for the service {0}' -f $lease.service }
    elseif ($lease.PSObject.Properties.Name -notcontains 'drilled' -or -not $lease.drilled) { $lacks = 'its guard has not answered a drill' }
    elseif ([string]$lease.boot -cne (Get-BootIdentity)) { $lacks = 'it is from before the last boot' }
    elseif ((Get-MonotonicSecond) -ge [double]$lease.deadline_monotonic) { $lacks = 'its deadline has passed' }
    elseif (-not (Test-NodeTask -Name $script:GuardTask)) { $lacks = 'its guard task is not registered' }
    if ($lacks) {
        throw (New-NodeFailure -Reason 'no_lease' -Message "The service $Service is not stopped without a lease of this run on this node: $lacks")
    }
    $lease
}

function Remove-NodeLease {
    <# .SYNOPSIS
    Releases the lease: the guard task first, checked, then the file. Returns whether there was anything to release. #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '', Justification = 'callers check')]
    param()
    $had = [IO.File]::Exists((Get-LeasePath)) -or (Test-NodeTask -Name $script:GuardTask)
    Remove-NodeTask -Name $script:GuardTask
    [IO.File]::Delete((Get-LeasePath))
    $had
}

Export-ModuleMember -Function Read-NodeLease, New-NodeLease, Assert-NodeLease, Remove-NodeLease

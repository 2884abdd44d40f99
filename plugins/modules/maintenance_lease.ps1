#!powershell

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

#AnsibleRequires -CSharpUtil Ansible.Basic
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeModule
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeRestore
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeJob

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$spec = @{
    options = @{
        # Written by `make docs` from maintenance_lease.yml.
        state = @{ type = 'str'; required = $true; choices = @('held', 'opened', 'released') }
        run_id = @{ type = 'str'; required = $true }
        service_name = @{ type = 'str'; default = 'AlteryxService' }
        hold_seconds = @{ type = 'int' }
        heartbeat_stale = @{ type = 'int'; default = 0 }
        restores = @{ type = 'bool'; default = $false }
        guard_account = @{ type = 'str'; default = 'S-1-5-18' }
        controller_host = @{ type = 'str'; default = '' }
        controller_port = @{ type = 'int'; default = 80 }
        controller_url = @{ type = 'str'; default = '' }
        start_delay = @{ type = 'int'; default = 0 }
        follow_delay = @{ type = 'int'; default = 0 }
        stop_within = @{ type = 'int'; default = 3600 }
        open_within = @{ type = 'int'; default = 0 }
        start_timeout = @{ type = 'int'; default = 1800 }
        _code = @{ type = 'str'; no_log = $true }
    }
    required_if = @(, @('state', 'held', @(, 'hold_seconds')))
    supports_check_mode = $true
}
$module = [Ansible.Basic.AnsibleModule]::Create($args, $spec)

function Start-Follower {
    # Starts the job that starts the service when the controller answers again. Without this job, only the guard would
    # do so, up to a minute later. If the job cannot be started, the lease is not taken.
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'callers check')]
    param([string] $Id)
    $given = $module.Params
    $spec = ConvertTo-NodeJson -InputObject @{
        run_id = $given.run_id; service_name = $given.service_name; controller_host = $given.controller_host
        controller_port = $given.controller_port; controller_url = $given.controller_url
        start_delay = $given.follow_delay; start_timeout = $given.start_timeout
        stop_within = $given.stop_within; open_within = $given.open_within
    }
    try { $null = Start-NodeJob -Id $Id -Job 'follow_job' -Spec $spec -Code $given._code -Priority 4 }
    catch {
        $failure = $_
        try { $null = Remove-NodeLease } catch { Write-Verbose -Message "the lease could not be released: $_" }
        throw $failure
    }
}

function Stop-Follower {
    # The service runs again. The log and the result of the follower are added to the result of the module.
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'callers check')]
    param([string] $Id)
    try {
        $null = Stop-NodeJob -Id $Id
        $answer = Get-NodeJobStatus -Id $Id -WaitSeconds 2
        if ($answer.result) { $module.Result['followed'] = ConvertFrom-Json -InputObject $answer.result }
        Remove-NodeJob -Id $Id
    }
    catch {
        # The next run removes the rest of the job.
        $text = "the job $Id, which follows the controller: $($_.Exception.GetBaseException().Message)"
        $module.Result['events'] = @(@{ at = Get-UtcText; level = 'WARNING'; text = $text })
    }
}

function Assert-ServiceBack {
    # The lease is released only when the service has its prior state, because until then only the guard ensures that.
    # If the lease cannot be read, the arguments of its guard contain the prior state.
    param($Lease)
    $order = if ($null -ne $Lease) { $Lease } else { Get-GuardOrder }
    if ($null -eq $order) { return }
    # After a complete restore the service must run, also if it was stopped before.
    $isRestored = (Resolve-Restore).state -eq 'committed'
    if ($order.prior_state -ne 'Running' -and -not $isRestored) { return }
    $status = Get-ServiceStatus -Name $order.service
    if ($status -eq 'Running') { return }
    $reason = if (Test-NodeHold) { 'held_by_operator' } else { 'service_not_restored' }
    $message = '{0} is {1} and must be Running, so the lease remains and the guard tries to start it'
    throw (New-NodeFailure -Reason $reason -Message ($message -f $order.service, $status))
}

function Open-Follower {
    # Informs the follower that the window is open: the service is not started before the controller answers again or
    # the deadline of the lease passes. After a short dump, the controller may already answer again. Fails if the
    # follower has given up before.
    $lease = Read-NodeLease
    if ($null -eq $lease -or [string]$lease.run_id -cne $module.Params.run_id) {
        throw (New-NodeFailure -Reason 'no_lease' -Message 'There is no lease of this run on this node')
    }
    $id = Get-LeaseFollower -Lease $lease
    if ($id) { Open-NodeJob -Id $id }
}

Invoke-NodeModule -Module $module -ServiceFirst:($module.Params.state -eq 'released') -Body {
    if ($module.Params.state -eq 'opened') {
        $module.Result['changed'] = $true
        if (-not $module.CheckMode) { Open-Follower }
        return
    }
    $lease = Read-NodeLease
    if ($module.Params.state -eq 'held') {
        if ($null -ne $lease -and [string]$lease.run_id -cne $module.Params.run_id) {
            throw (New-NodeFailure -Reason 'lease_taken' -Message (
                    'The run {0} holds the lease of this node until {1}' -f $lease.run_id, $lease.deadline))
        }
        # The service was not stopped before the run if this run has stopped it.
        $order = if ($null -ne $lease) { $lease } else { Get-GuardOrder }
        if ($null -ne $order -and $order.prior_state -eq 'Running' -and
            (Get-ServiceStatus -Name $order.service) -ne 'Running') {
            $message = "$($order.service) was Running when a lease of this node was taken and is not now; " +
            'it must be started first'
            throw (New-NodeFailure -Reason 'lease_taken' -Message $message)
        }
        $module.Result['changed'] = $true
        if (-not $module.CheckMode) {
            $folder = Install-NodeCode -Code $module.Params._code
            # A service that was stopped before stays stopped.
            $isFollowed = $module.Params.controller_host -and $module.Params.open_within -gt 0 -and
            (Get-ServiceStatus -Name $module.Params.service_name) -eq 'Running'
            $follower = if ($isFollowed) { '{0}-follow' -f $module.Params.run_id } else { '' }
            $undo = ''
            if ($module.Params.restores) {
                $undo = Join-Path -Path $folder -ChildPath 'undo_restore.ps1'
                # The journal is written before the lease, because a guard cannot judge a restore without a journal.
                New-RestoreJournal -RunId $module.Params.run_id -Service $module.Params.service_name -UndoScript $undo
            }
            $taken = New-NodeLease -RunId $module.Params.run_id -Service $module.Params.service_name `
                -HoldSeconds $module.Params.hold_seconds -HeartbeatStale $module.Params.heartbeat_stale `
                -ControllerHost $module.Params.controller_host -ControllerPort $module.Params.controller_port `
                -ControllerUrl $module.Params.controller_url -StartDelay $module.Params.start_delay `
                -Follower $follower -UndoScript $undo `
                -GuardScript (Join-Path -Path $folder -ChildPath 'guard.ps1') -Account $module.Params.guard_account
            if ($follower) { Start-Follower -Id $follower }
            $module.Result['lease'] = $taken
        }
    }
    elseif ($null -ne $lease -and [string]$lease.run_id -cne $module.Params.run_id) {
        $text = "the lease of this node belongs to the run $($lease.run_id); it is left alone"
        $module.Result['events'] = @(@{ at = Get-UtcText; level = 'WARNING'; text = $text })
    }
    elseif ($module.CheckMode) { $module.Result['changed'] = Test-LeaseRemains }
    else {
        Assert-ServiceBack -Lease $lease
        $follower = Get-LeaseFollower -Lease $lease
        $module.Result['changed'] = Remove-NodeLease
        if ($follower) { Stop-Follower -Id $follower }
    }
}

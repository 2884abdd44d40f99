#!powershell

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

#AnsibleRequires -CSharpUtil Ansible.Basic
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeModule
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeLease
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeJob

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$spec = @{
    options = @{
        # Written by `make docs` from maintenance_lease.yml.
        state = @{ type = 'str'; required = $true; choices = @('held', 'released') }
        run_id = @{ type = 'str'; required = $true }
        service_name = @{ type = 'str'; default = 'AlteryxService' }
        hold_seconds = @{ type = 'int' }
        heartbeat_stale = @{ type = 'int'; default = 0 }
        guard_account = @{ type = 'str'; default = 'S-1-5-18' }
        controller_host = @{ type = 'str'; default = '' }
        controller_port = @{ type = 'int'; default = 80 }
        controller_url = @{ type = 'str'; default = '' }
        start_delay = @{ type = 'int'; default = 0 }
        _code = @{ type = 'str'; no_log = $true }
    }
    required_if = @(, @('state', 'held', @(, 'hold_seconds')))
    supports_check_mode = $true
}
$module = [Ansible.Basic.AnsibleModule]::Create($args, $spec)

function Assert-ServiceBack {
    # Only once the service is what it was: until then the guard is what brings it back. Where the lease cannot be
    # read, its guard knows what that is.
    param($Lease)
    $order = if ($null -ne $Lease) { $Lease } else { Get-GuardOrder }
    if ($null -eq $order -or $order.prior_state -ne 'Running') { return }
    $status = Get-ServiceStatus -Name $order.service
    if ($status -eq 'Running') { return }
    $reason = if (Test-NodeHold) { 'held_by_operator' } else { 'service_not_restored' }
    $message = '{0} is {1} and was Running before, so the lease is kept and the guard goes on trying'
    throw (New-NodeFailure -Reason $reason -Message ($message -f $order.service, $status))
}

Invoke-NodeModule -Module $module -ServiceFirst:($module.Params.state -eq 'released') -Body {
    $lease = Read-NodeLease
    if ($module.Params.state -eq 'held') {
        if ($null -ne $lease -and [string]$lease.run_id -cne $module.Params.run_id) {
            throw (New-NodeFailure -Reason 'lease_taken' -Message (
                    'The run {0} holds the lease of this node until {1}' -f $lease.run_id, $lease.deadline))
        }
        # A service that this run has stopped is not one that was stopped before.
        $order = if ($null -ne $lease) { $lease } else { Get-GuardOrder }
        if ($null -ne $order -and $order.prior_state -eq 'Running' -and
            (Get-ServiceStatus -Name $order.service) -ne 'Running') {
            $message = "$($order.service) was Running when a lease of this node was taken and is not now; " +
            'it has to be brought back first'
            throw (New-NodeFailure -Reason 'lease_taken' -Message $message)
        }
        $module.Result['changed'] = $true
        if (-not $module.CheckMode) {
            $folder = Install-NodeCode -Code $module.Params._code
            $taken = New-NodeLease -RunId $module.Params.run_id -Service $module.Params.service_name `
                -HoldSeconds $module.Params.hold_seconds -HeartbeatStale $module.Params.heartbeat_stale `
                -ControllerHost $module.Params.controller_host -ControllerPort $module.Params.controller_port `
                -ControllerUrl $module.Params.controller_url -StartDelay $module.Params.start_delay `
                -GuardScript (Join-Path -Path $folder -ChildPath 'guard.ps1') -Account $module.Params.guard_account
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
        $module.Result['changed'] = Remove-NodeLease
    }
}

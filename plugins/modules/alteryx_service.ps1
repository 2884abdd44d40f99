#!powershell

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

#AnsibleRequires -CSharpUtil Ansible.Basic
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeModule
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.AlteryxNode
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeRestore

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$spec = @{
    options = @{
        # Written by `make docs` from alteryx_service.yml.
        state = @{ type = 'str'; required = $true; choices = @('started', 'stopped', 'restored', 'answering') }
        run_id = @{ type = 'str'; required = $true }
        service_name = @{ type = 'str'; default = 'AlteryxService' }
        prior_state = @{ type = 'str'; choices = @('', 'Running', 'Stopped'); default = '' }
        timeout = @{ type = 'int'; default = 7200 }
        port = @{ type = 'int'; default = 0 }
        url = @{ type = 'str'; default = '' }
        stable = @{ type = 'int'; default = 5 }
        _wait_seconds = @{ type = 'float'; default = 0 }
    }
    supports_check_mode = $true
}
$module = [Ansible.Basic.AnsibleModule]::Create($args, $spec)

function Get-PriorState {
    # The state of the service when this run took its lease. The caller sends it, unless the answer with that state was
    # lost. Then the lease has it or, if the lease is absent or locked by another program, the arguments of its guard.
    param([string] $Found)
    if ($module.Params.prior_state -eq 'Running') { return 'Running' }
    $lease = Read-NodeLease
    if ($null -ne $lease) {
        if ([string]$lease.run_id -ceq $module.Params.run_id) { return [string]$lease.prior_state }
        return $Found
    }
    $order = $null
    try { $order = Get-GuardOrder } catch { Write-Verbose -Message "guard: $_" }
    if ($null -ne $order -and $order.service -eq $module.Params.service_name) { return $order.prior_state }
    $Found
}

Invoke-NodeModule -Module $module -ServiceFirst:($module.Params.state -eq 'restored') -Body {
    $name = $module.Params.service_name
    $before = Get-NodeService -Name $name
    if (-not $before.exists) {
        throw (New-NodeFailure -Reason 'service_absent' -Message "There is no Windows service $name on this node")
    }
    if ($module.Params.state -eq 'answering') {
        # One observation. The caller decides for how long the state must last.
        $module.Result['service'] = $before
        $own = @('localhost', [Environment]::MachineName)
        $port = $module.Params.port
        $module.Result['port_answers'] = $port -eq 0 -or (Test-TcpPort -HostName $own -Port $port)
        $module.Result['url_answers'] = if ($module.Params.url) { Get-UrlAnswer -Url $module.Params.url } else { '' }
        return
    }
    $goal = @{ started = 'Running'; stopped = 'Stopped' }[$module.Params.state]
    if ($module.Params.state -eq 'restored') {
        $goal = Get-PriorState -Found $before.state
        # A restore that was undone leaves a service that hangs as it found it.
        if ($goal -eq 'Stopped' -and $before.state -like '*Pending') { $goal = $before.state }
    }
    $module.Result['restore'] = ''
    $module.Result['undone'] = @()
    if (@('started', 'restored') -contains $module.Params.state -and -not $module.CheckMode -and
        (Get-WindowJobProcess) -eq 0) {
        # A server that a restore has left incomplete is not started.
        $restore = Resolve-Restore -Run $module.Params.run_id
        $module.Result['restore'] = $restore.state
        $module.Result['undone'] = $restore.did
        if ($restore.state -eq 'committed') { $goal = 'Running' }
    }
    $module.Result['before'] = $before.state
    $module.Result['changed'] = $before.state -ne $goal
    $module.Result['goal'] = $goal
    $module.Result['reached'] = -not $module.Result['changed']
    $module.Result['states'] = @()
    # A prediction has not taken a lease.
    $lease = $null
    if ($goal -eq 'Stopped' -and $before.state -ne 'Stopped' -and -not $module.CheckMode) {
        $lease = Assert-NodeLease -RunId $module.Params.run_id -Service $name
    }
    if ($module.Result['changed'] -and -not $module.CheckMode) {
        if ($goal -eq 'Running') {
            # A start during a dump would damage the dump. The window job itself starts the service again.
            $job = Get-WindowJobProcess
            if ($job -ne 0) {
                $message = "The window job of this node is active (process $job) and restores $name itself"
                throw (New-NodeFailure -Reason 'window_job_alive' -Message $message)
            }
            if (Test-NodeHold) {
                $message = "$name is $($before.state) and was not started, because the file HOLD is in the state folder"
                throw (New-NodeFailure -Reason 'held_by_operator' -Message $message)
            }
            $wait = Start-ServiceSurely -Name $name -TimeoutSeconds $module.Params._wait_seconds
            $module.Result['problem'] = $wait.problem
            $module.Result['logon_failed'] = Test-LogonFailure -ErrorNumber $wait.error
            $module.Result['gave_up'] = $wait.gave_up
            if ($wait.reached) { Remove-NodeNotice }
        }
        else {
            Write-NodeNotice -Lease $lease
            Request-ServiceStop -Name $name
            $wait = Wait-ServiceState -Name $name -State $goal -TimeoutSeconds $module.Params._wait_seconds
        }
        $module.Result['states'] = $wait.states
        $module.Result['reached'] = $wait.reached
    }
    $module.Result['service'] = Get-NodeService -Name $name
    $module.Result['workflows'] = @()
    if ($goal -eq 'Stopped' -and $module.Result['reached'] -and $before.executable) {
        # Alteryx ends its workflows with the service. A process that still runs a moment later was not ended.
        $bin = [IO.Path]::GetDirectoryName($before.executable)
        $watch = [Diagnostics.Stopwatch]::StartNew()
        $running = @(Get-AlteryxProcess -BinFolder $bin -Name 'AlteryxEngineCmd.exe')
        while ($running.Count -gt 0 -and $watch.Elapsed.TotalSeconds -lt 5) {
            Start-Sleep -Milliseconds 200
            $running = @(Get-AlteryxProcess -BinFolder $bin -Name 'AlteryxEngineCmd.exe')
        }
        $module.Result['workflows'] = $running
    }
}

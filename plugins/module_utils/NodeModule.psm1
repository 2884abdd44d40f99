# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeLock
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeSecret

# The common code of every module of this collection.

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

function Invoke-NodeModule {
    <#
    .SYNOPSIS
    Runs the body of a module; a failure becomes a failed result with reason and detail. Every call updates the
    heartbeat of its run. With ServiceFirst, the heartbeat is written after the body, because the start of a service
    must not wait for a file.
    #>
    param(
        [Parameter(Mandatory = $true)][Ansible.Basic.AnsibleModule] $Module,
        [Parameter(Mandatory = $true)][scriptblock] $Body,
        [switch] $ServiceFirst
    )
    # A module that starts a service does not receive a secret, and must not wait for this.
    if (-not $ServiceFirst) { Disable-CommandLogging }
    $names = if ($Module.CheckMode) { @() } else { @('run_id', '_run_id') }
    $runs = @(foreach ($name in $names) { if ($Module.Params.ContainsKey($name)) { $Module.Params[$name] } })
    try {
        if (-not $ServiceFirst) { foreach ($run in $runs) { Update-RunLock -RunId $run } }
        & $Body
        if ($ServiceFirst) { foreach ($run in $runs) { Update-RunLock -RunId $run } }
    }
    catch {
        $failure = Get-NodeFailure -ErrorRecord $_
        $Module.Result['reason'] = $failure.reason
        $Module.Result['detail'] = $failure.detail
        $Module.FailJson($failure.message)
    }
    $Module.ExitJson()
}

Export-ModuleMember -Function Invoke-NodeModule

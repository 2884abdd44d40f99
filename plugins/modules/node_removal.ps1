#!powershell

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

#AnsibleRequires -CSharpUtil Ansible.Basic
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeModule
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeRemoval

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$spec = @{
    options = @{
        # Written by `make docs` from node_removal.yml.
        state = @{ type = 'str'; required = $true; choices = @('inspected', 'reserved', 'removed') }
        staging_directory = @{ type = 'str'; required = $true }
        archive_folder = @{ type = 'str'; required = $true }
        _run_id = @{ type = 'str'; required = $true }
        _holder = @{ type = 'str'; required = $true }
    }
    supports_check_mode = $true
}
$module = [Ansible.Basic.AnsibleModule]::Create($args, $spec)

# Each node is locked from its reservation to its removal, which includes the time for all other nodes of the fleet.
$staleSeconds = 600

$runId = $module.Params._run_id
$state = $module.Params.state

function Get-StagingDirectory {
    $given = $module.Params.staging_directory
    # The comparison is case-sensitive, because in a Turkish locale ignoring case maps I to another letter.
    if ($given -cnotmatch '^[A-Za-z]:\\') {
        throw (New-NodeFailure -Reason 'folder_invalid' -Message "$given is not an absolute path on a local drive")
    }
    $full = [IO.Path]::GetFullPath($given)
    if ([IO.Path]::GetPathRoot($full) -eq $full) { $full } else { $full.TrimEnd('\') }
}

function Get-LockProblem {
    # Takes the lock for this run, or returns the failure, so that all obstacles are reported together.
    try { New-RunLock -RunId $runId -Holder $module.Params._holder -StaleSeconds $staleSeconds }
    catch { Get-NodeFailure -ErrorRecord $_ }
}

function Assert-NothingStandsAgainst {
    # The obstacles are checked while this run has the lock, so that no other run begins after the check.
    param([string] $StagingDirectory, $LockProblem)
    $found = @(Get-RemovalObstacle -RunId $runId -StagingDirectory $StagingDirectory)
    if ($found.Count -eq 0 -and $null -ne $LockProblem) { $found = @($LockProblem) }
    if ($found.Count -eq 0) { return }
    $told = @($found | ForEach-Object { @{ reason = $_.reason; message = $_.message } })
    throw (New-NodeFailure -Reason $found[0].reason -Detail @{ obstacles = $told } -Message (
            @($told | ForEach-Object { $_.message }) -join '; '))
}

function Remove-All {
    # Removes every part, also if another one fails. Returns the parts that were removed. Throws if a part could not be
    # removed.
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'the caller looks at check mode')]
    param($Parts)
    $gone = New-Object System.Collections.ArrayList
    $left = New-Object System.Collections.ArrayList
    foreach ($part in $Parts) {
        try {
            Remove-RemovalPart -Part $part -RunId $runId
            $null = $gone.Add($part.what)
        }
        catch { $null = $left.Add("$($part.what): $($_.Exception.GetBaseException().Message)") }
    }
    if ($left.Count -gt 0) {
        throw (New-NodeFailure -Reason 'removal_incomplete' -Detail @{ removed = $gone.ToArray() } -Message (
                'Not removed: {0}' -f ($left.ToArray() -join '; ')))
    }
    Remove-OwnTaskFolder
    $gone.ToArray()
}

Invoke-NodeModule -Module $module -Body {
    $staging = Get-StagingDirectory
    # The lock is in the state folder. The folder is not created only for the lock, because a second removal would then
    # change the node.
    $takes = $state -ne 'inspected' -and [IO.Directory]::Exists((Get-StateFolder))
    $keeps = $false
    $problem = if ($takes -and -not $module.CheckMode) { Get-LockProblem }
    try {
        Assert-NothingStandsAgainst -StagingDirectory $staging -LockProblem $problem
        $plan = Get-RemovalPlan -StagingDirectory $staging
        $module.Result['removed'] = @($plan.parts | ForEach-Object { $_.what })
        if ($state -eq 'reserved') { $module.Result['changed'] = $takes }
        elseif ($state -eq 'removed') {
            $module.Result['changed'] = $plan.parts.Count -gt 0
            if (-not $module.CheckMode) { $module.Result['removed'] = @(Remove-All -Parts $plan.parts) }
        }
        $keeps = $state -eq 'reserved'
    }
    finally { if ($takes -and -not $module.CheckMode -and -not $keeps) { $null = Remove-RunLock -RunId $runId } }
    $module.Result['kept'] = @($plan.kept)
    $module.Result['backups'] = Get-BackupSum -Folder $module.Params.archive_folder
}

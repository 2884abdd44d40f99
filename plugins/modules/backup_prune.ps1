#!powershell

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

#AnsibleRequires -CSharpUtil Ansible.Basic
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeModule
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeJob
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodePrune

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$spec = @{
    options = @{
        # Written by `make docs` from backup_prune.yml.
        state = @{ type = 'str'; required = $true; choices = @('checked', 'begun', 'finished') }
        folder = @{ type = 'str'; required = $true }
        plan = @{ type = 'dict'; required = $true }
        checked = @{ type = 'str'; default = '' }
        destinations = @{ type = 'list'; elements = 'dict'; default = @() }
        credentials = @{ type = 'dict'; default = @{} }
        run_id = @{ type = 'str'; default = '' }
        _backups = @{ type = 'str' }
        _operation = @{ type = 'str'; choices = @('resolve', 'start', 'poll', 'cancel', 'discard') }
        _node = @{ type = 'str' }
        _who = @{ type = 'str' }
    }
    supports_check_mode = $true
}
$module = [Ansible.Basic.AnsibleModule]::Create($args, $spec, @(Get-NodeJobOption))

Invoke-NodeModule -Module $module -Body {
    if ($module.Params['_operation']) {
        Invoke-NodeJobOperation -Module $module -Job 'prune_job' -Priority 7
        return
    }
    $folder = Join-Path -Path $module.Params.folder -ChildPath $module.Params._node
    # In an object, because Windows PowerShell does not unroll a list that is all there is.
    $backups = @((ConvertFrom-Json -InputObject $module.Params._backups).backups)
    $module.Result['changed'] = $module.Params.state -ne 'checked' -and $backups.Count -gt 0
    $answer = Invoke-BackupDeletion -State $module.Params.state -Backup $backups -Folder $folder `
        -Root $module.Params.folder -Who $module.Params._who -Predict:$module.CheckMode `
        -Detail @{ run_id = $module.Params.run_id }
    foreach ($name in 'held', 'did', 'bytes') { $module.Result[$name] = $answer[$name] }
    if ($answer.problem) {
        throw (New-NodeFailure -Reason 'prune_incomplete' -Detail @{ did = $answer.did } -Message $answer.problem)
    }
}

#!powershell

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

#AnsibleRequires -CSharpUtil Ansible.Basic
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeModule
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeJob
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodePin

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$spec = @{
    options = @{
        # Written by `make docs` from backup_pin.yml.
        state = @{ type = 'str'; choices = @('pinned', 'unpinned'); default = 'pinned' }
        folder = @{ type = 'str'; required = $true }
        catalogues = @{ type = 'str'; required = $true }
        backup = @{ type = 'str'; required = $true }
        destinations = @{ type = 'list'; elements = 'dict'; default = @() }
        credentials = @{ type = 'dict'; default = @{} }
        who = @{ type = 'str'; default = '' }
        why = @{ type = 'str'; default = '' }
        until = @{ type = 'str'; default = '' }
        _operation = @{ type = 'str'; choices = @('resolve', 'start', 'poll', 'cancel', 'discard') }
        _node = @{ type = 'str' }
        _who = @{ type = 'str' }
    }
    supports_check_mode = $true
}
$module = [Ansible.Basic.AnsibleModule]::Create($args, $spec, @(Get-NodeJobOption))

Invoke-NodeModule -Module $module -Body {
    if ($module.Params['_operation']) {
        Invoke-NodeJobOperation -Module $module -Job 'pin_job' -Priority 7
        return
    }
    $pin = @{}
    foreach ($key in @('who', 'why', 'until')) { $pin[$key] = $module.Params[$key] }
    if ($module.Params.state -ne 'pinned') { $pin = $null }
    $folder = Join-Path -Path $module.Params.folder -ChildPath $module.Params._node
    $module.Result['changed'] = Set-BackupPin -Folder $folder -Name $module.Params.backup -Pin $pin `
        -Who $module.Params._who -Predict:$module.CheckMode
}

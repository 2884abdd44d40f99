#!powershell

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

#AnsibleRequires -CSharpUtil Ansible.Basic
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeModule
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeJob
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeListing

# Reads the files of backups in a folder of the node. The control node decides what they mean.

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$spec = @{
    options = @{
        # Written by `make docs` from backup_info.yml.
        folder = @{ type = 'str'; required = $true }
        nodes = @{ type = 'list'; elements = 'str'; default = @() }
        name_pattern = @{ type = 'str'; default = 'ServerBackup_{mode}_{stamp}' }
        run_id = @{ type = 'str'; default = '' }
        destination = @{ type = 'str'; default = '' }
        destinations = @{ type = 'list'; elements = 'dict'; default = @() }
        credentials = @{ type = 'dict'; default = @{} }
        wanted = @{ type = 'str'; default = '' }
        scope = @{ type = 'str'; choices = @('full', 'database', 'configuration'); default = 'full' }
        _operation = @{ type = 'str'; choices = @('resolve', 'start', 'poll', 'cancel', 'discard') }
    }
    supports_check_mode = $true
}
$module = [Ansible.Basic.AnsibleModule]::Create($args, $spec, @(Get-NodeJobOption))

Invoke-NodeModule -Module $module -Body {
    if ($module.Params['_operation']) {
        Invoke-NodeJobOperation -Module $module -Job 'list_job' -Priority 7
        return
    }
    $found = Get-DestinationFact -Folder $module.Params.folder -Node @($module.Params.nodes)
    foreach ($text in $found.skipped) { $module.Warn($text) }
    foreach ($name in 'exists', 'utc', 'folders') { $module.Result[$name] = $found[$name] }
}

#!powershell

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

#AnsibleRequires -CSharpUtil Ansible.Basic
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeModule
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeJob
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeStaging

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$spec = @{
    options = @{
        # Written by `make docs` from dump_recovery.yml.
        state = @{ type = 'str'; choices = @('archived', 'adopted'); default = 'archived' }
        run_id = @{ type = 'str'; default = '' }
        runs = @{ type = 'list'; elements = 'str'; required = $true }
        staging_directory = @{ type = 'str'; required = $true }
        required = @{ type = 'bool'; default = $false }
        adopt_within = @{ type = 'int'; default = 0 }
        plan = @{ type = 'dict'; default = @{} }
        timeout = @{ type = 'int'; default = 86400 }
        _staging = @{ type = 'str' }
        _job = @{ type = 'str'; choices = @('archive_job', 'verify_job') }
        _operation = @{ type = 'str'; choices = @('start', 'poll', 'cancel', 'discard', 'read', 'remove', 'adopt') }
    }
    supports_check_mode = $true
}
$module = [Ansible.Basic.AnsibleModule]::Create($args, $spec, @(Get-NodeJobOption))

Invoke-NodeModule -Module $module -Body {
    $operation = $module.Params._operation
    if (@('read', 'remove', 'adopt') -notcontains $operation) {
        Invoke-NodeJobOperation -Module $module -Job $module.Params._job -Priority 7
        return
    }
    # Files that another account may have put there are neither trusted nor deleted.
    Assert-FolderTrust -Path $module.Params._staging
    if ($operation -eq 'read') {
        $module.Result['record'] = Read-DumpRecord -Staging $module.Params._staging
        # The age of the dump is computed with only one clock, that of the node.
        $module.Result['now'] = Get-UtcText
        return
    }
    $module.Result['changed'] = $true
    if ($module.CheckMode) { return }
    if ($operation -eq 'remove') { Remove-NodeFolder -Path $module.Params._staging }
    else {
        $from = [IO.Path]::GetFileName($module.Params._staging)
        Move-RunDump -Root $module.Params.staging_directory -From $from -RunId $module.Params.run_id
    }
}

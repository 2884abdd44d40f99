#!powershell

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

#AnsibleRequires -CSharpUtil Ansible.Basic
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeModule
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeRestore
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeDisk
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeCatalogue

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$spec = @{
    options = @{
        # Written by `make docs` from restore_record.yml.
        state = @{ type = 'str'; choices = @('inspected', 'accepted'); default = 'inspected' }
        restore_id = @{ type = 'str'; default = '' }
        who = @{ type = 'str'; default = '' }
    }
    supports_check_mode = $true
}
$module = [Ansible.Basic.AnsibleModule]::Create($args, $spec)

function Get-KeptPath {
    # The old files beside the paths of a record. Only names that a restore makes are accepted, so that a changed record
    # cannot delete other files.
    param($Record)
    foreach ($entry in $Record.entries) {
        $own = @("before_$($Record.run_id)", "rolled_back_$($Record.run_id)", "failed_$($Record.run_id)",
            "new_$($Record.run_id)")
        $folder = [IO.Path]::GetDirectoryName([string]$entry.path)
        if (-not $folder -or -not [IO.Directory]::Exists($folder)) { continue }
        $name = [IO.Path]::GetFileName([string]$entry.path)
        foreach ($word in $own) {
            foreach ($path in [IO.Directory]::GetFileSystemEntries($folder, "$name.$word*")) {
                # The search of Windows also matches short names.
                if ([IO.Path]::GetFileName($path) -match "^$([regex]::Escape("$name.$word"))(\.\d+)?$") { $path }
            }
        }
    }
}

Invoke-NodeModule -Module $module -Body {
    $records = @(Get-RestoreRecord)
    $module.Result['records'] = $records
    $module.Result['did'] = @()
    if ($module.Params.state -eq 'inspected') { return }
    Assert-FolderTrust -Path (Get-StateFolder)
    $wanted = $module.Params.restore_id
    # A complete rollback belongs to its restore, and the operator can name either of them. After a rollback that was
    # undone, the restore still waits for a decision, and only its own id accepts it.
    $rollbacks = @($records | Where-Object { $_.run_id -ceq $wanted -and $_.of -and $_.word -eq 'committed' })
    $names = @($wanted) + @($rollbacks | ForEach-Object { $_.of })
    $chosen = @($records | Where-Object {
            $_.word -ne 'pending' -and ($names -ccontains $_.run_id -or $names -ccontains $_.of)
        })
    $paths = @(foreach ($record in $chosen) { Get-KeptPath -Record $record })
    $module.Result['changed'] = $chosen.Count -gt 0
    $module.Result['did'] = $paths
    if ($module.CheckMode -or -not $chosen.Count) { return }
    Add-AuditLine -Folder (Get-RecordFolder) -Verb 'accept' -Who $module.Params.who `
        -Detail @{ restore = $wanted; paths = $paths }
    foreach ($path in $paths) {
        if ([IO.Directory]::Exists($path)) { Remove-NodeFolder -Path $path }
        else { Remove-NodeFile -Path $path }
    }
    foreach ($record in $chosen) {
        $target = [regex]::Replace($record.path, '\.(committed|undone)\.json$', '.accepted.json')
        Move-NodeFile -Path $record.path -Target $target
    }
}

#!powershell

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

#AnsibleRequires -CSharpUtil Ansible.Basic
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeModule
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
        run_id = @{ type = 'str'; default = '' }
        _backups = @{ type = 'str' }
        _node = @{ type = 'str' }
        _who = @{ type = 'str' }
    }
    supports_check_mode = $true
}
$module = [Ansible.Basic.AnsibleModule]::Create($args, $spec)

function Assert-FileName {
    # A plan names files, never paths.
    param([object[]] $Backup)
    foreach ($each in $Backup) {
        $names = @($each.name) + @(foreach ($file in @($each.files) + @($each.others)) { $file.name })
        foreach ($name in $names) {
            if ([IO.Path]::GetFileName($name) -cne $name) { throw "$name is not the name of a file" }
        }
    }
}

function Get-AuditName {
    param([object[]] $Backup)
    @(foreach ($each in $Backup) { @{ name = $each.name; rule = $each.rule; archive_sha256 = $each.archive_sha256 } })
}

Invoke-NodeModule -Module $module -Body {
    $root = $module.Params.folder
    $folder = Join-Path -Path $root -ChildPath $module.Params._node
    # In an object, because Windows PowerShell does not unroll a list that is the only output.
    $backups = @((ConvertFrom-Json -InputObject $module.Params._backups).backups)
    Assert-FileName -Backup $backups
    $module.Result['held'] = @()
    $module.Result['did'] = @()
    $module.Result['bytes'] = [long]0
    # An account that can create a link here must not be able to choose which files are deleted.
    if ($backups.Count) { Assert-FolderTrust -Path $folder }
    if ($module.Params.state -eq 'checked') {
        Assert-AsPlanned -Backup $backups -Folder $folder
        $module.Result['held'] = @(foreach ($each in $backups) {
                $why = Get-HeldReason -Folder $folder -Name $each.name
                if ($why) { @{ name = $each.name; why = $why } }
            })
        return
    }
    $module.Result['changed'] = $backups.Count -gt 0
    if ($module.CheckMode -or -not $backups.Count) { return }
    if ($module.Params.state -eq 'begun') {
        Assert-AsPlanned -Backup $backups -Folder $folder
        Add-AuditLine -Folder $folder -Verb 'prune' -Who $module.Params._who -Detail @{
            run_id = $module.Params.run_id; backups = @(Get-AuditName -Backup $backups)
        }
    }
    $did = New-Object System.Collections.ArrayList
    $problems = New-Object System.Collections.ArrayList
    foreach ($each in $backups) {
        try {
            if ($module.Params.state -eq 'begun') { Start-BackupDeletion -Backup $each -Folder $folder }
            else {
                Complete-BackupDeletion -Backup $each -Folder $folder -Root $root
                foreach ($file in @($each.files) + @($each.others)) { $module.Result['bytes'] += [long]$file.bytes }
            }
            $null = $did.Add($each.name)
        }
        # The next run completes the deletion.
        catch { $null = $problems.Add("$($each.name): $($_.Exception.GetBaseException().Message)") }
    }
    $module.Result['did'] = $did.ToArray()
    if ($problems.Count) {
        $message = '{0} of {1} backups could not be deleted: {2}' -f $problems.Count, $backups.Count, (
            $problems.ToArray() -join '; ')
        throw (New-NodeFailure -Reason 'prune_incomplete' -Detail @{ did = $did.ToArray() } -Message $message)
    }
}

#!powershell

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

#AnsibleRequires -CSharpUtil Ansible.Basic
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeModule
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeArchive
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeExtraction
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeJob
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeManifest

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$spec = @{
    options = @{
        # Written by `make docs` from backup_extract.yml.
        state = @{ type = 'str'; choices = @('present', 'absent'); default = 'present' }
        folder = @{ type = 'str'; default = '' }
        base_name = @{ type = 'str'; default = '' }
        target = @{ type = 'str'; required = $true }
        free_reserve = @{ type = 'int'; default = 2000000000 }
        destination = @{ type = 'str'; default = '' }
        destinations = @{ type = 'list'; elements = 'dict'; default = @() }
        credentials = @{ type = 'dict'; default = @{} }
        run_id = @{ type = 'str'; default = '' }
        timeout = @{ type = 'int'; default = 86400 }
        _operation = @{ type = 'str'; choices = @('resolve', 'start', 'poll', 'cancel', 'discard', 'look', 'remove') }
    }
    supports_check_mode = $true
}
$module = [Ansible.Basic.AnsibleModule]::Create($args, $spec, @(Get-NodeJobOption))

function Get-ExtractionNeed {
    # Throws the failures that the job would find at once, without reading the archive. Returns the bytes that the files
    # need.
    $folder, $base = $module.Params.folder, $module.Params.base_name
    Assert-ArchiveComplete -Folder $folder -BaseName $base
    Assert-ExtractionPath -Path $module.Params.target
    $path = Join-Path -Path $folder -ChildPath $base
    foreach ($ending in 'zip', 'manifest.json') {
        if (-not [IO.File]::Exists("$path.$ending")) {
            throw (New-NodeFailure -Reason 'archive_incomplete' -Message "$path.$ending is missing")
        }
    }
    try { [long](Read-ManifestHead -Path "$path.manifest.json").file_bytes }
    catch {
        $why = $_.Exception.GetBaseException().Message
        throw (New-NodeFailure -Reason 'archive_bad' -Message "$path.manifest.json cannot be read: $why")
    }
}

Invoke-NodeModule -Module $module -Body {
    switch ($module.Params._operation) {
        'look' {
            $module.Result['needed_bytes'] = Get-ExtractionNeed
            $module.Result['free_bytes'] = Get-FreeByte -Path $module.Params.target
        }
        'remove' {
            $module.Result['changed'] = Test-ExtractionFolder -Path $module.Params.target
            if ($module.Result['changed'] -and -not $module.CheckMode) {
                Remove-NodeFolder -Path $module.Params.target
            }
        }
        default { Invoke-NodeJobOperation -Module $module -Job 'extract_job' -Priority 7 }
    }
}

#!powershell

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

#AnsibleRequires -CSharpUtil Ansible.Basic
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeModule

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$spec = @{
    options = @{
        # Written by `make docs` from backup_set.yml.
        folder = @{ type = 'str'; required = $true }
        files = @{ type = 'dict'; required = $true }
        _texts = @{ type = 'str'; required = $true; no_log = $true }
    }
    supports_check_mode = $true
}
$module = [Ansible.Basic.AnsibleModule]::Create($args, $spec)

Invoke-NodeModule -Module $module -Body {
    $written = New-Object System.Collections.ArrayList
    foreach ($file in (ConvertFrom-Json -InputObject $module.Params._texts).PSObject.Properties) {
        $path = Join-Path -Path $module.Params.folder -ChildPath $file.Name
        $text = [string]$file.Value
        if ([IO.File]::Exists($path)) {
            if ((Read-NodeText -Path $path) -ceq $text) { continue }
            throw (New-NodeFailure -Reason 'archive_exists' -Message (
                    "$path exists already with other content and is not overwritten"))
        }
        $null = $written.Add($path)
        $module.Result['changed'] = $true
        if (-not $module.CheckMode) {
            New-ProtectedFolder -Path $module.Params.folder
            Write-NodeText -Path $path -Text $text
        }
    }
    $module.Result['written'] = $written.ToArray()
}

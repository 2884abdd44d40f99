#!powershell

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

#AnsibleRequires -CSharpUtil Ansible.Basic
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeModule
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.AlteryxNode

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$spec = @{
    options = @{
        # Written by `make docs` from workflow_drain.yml.
        bin_folder = @{ type = 'str'; required = $true }
        run_id = @{ type = 'str' }
        timeout = @{ type = 'int'; default = 3600 }
        force = @{ type = 'bool'; default = $false }
        _wait_seconds = @{ type = 'float'; default = 0 }
    }
    supports_check_mode = $true
}
$module = [Ansible.Basic.AnsibleModule]::Create($args, $spec)

Invoke-NodeModule -Module $module -Body {
    $watch = [Diagnostics.Stopwatch]::StartNew()
    while ($true) {
        $running = @(Get-AlteryxProcess -BinFolder $module.Params.bin_folder -Name 'AlteryxEngineCmd.exe')
        if ($running.Count -eq 0 -or $watch.Elapsed.TotalSeconds -ge $module.Params._wait_seconds) { break }
        Start-Sleep -Milliseconds 500
    }
    $module.Result['running'] = $running
}

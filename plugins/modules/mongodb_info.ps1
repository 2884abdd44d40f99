#!powershell

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

#AnsibleRequires -CSharpUtil Ansible.Basic
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeModule
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeMongodump

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$spec = @{
    options = @{
        # Written by `make docs` from mongodb_info.yml.
        dump = @{ type = 'dict'; required = $true }
        timeout = @{ type = 'int'; default = 60 }
        mongodb_connections = @{ type = 'dict'; default = @{} }
        _tool = @{ type = 'str' }
        _probes = @{ type = 'str'; no_log = $true }
    }
    supports_check_mode = $true
}
$module = [Ansible.Basic.AnsibleModule]::Create($args, $spec)

Invoke-NodeModule -Module $module -Body {
    # Ansible's temporary folder. Only this account can use it, and Ansible always removes it at the end of the module.
    $config = Join-Path -Path $module.Tmpdir -ChildPath 'mongodump.config'
    $probes = ConvertFrom-Json -InputObject $module.Params._probes
    $module.Result['answers'] = @(foreach ($probe in $probes) {
            Read-MongodumpPrelude -Tool $module.Params._tool -Config $probe.config -ConfigPath $config `
                -ArgumentList @($probe.arguments) -TimeoutSeconds $module.Params.timeout
        })
}

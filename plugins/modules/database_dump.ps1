#!powershell

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

#AnsibleRequires -CSharpUtil Ansible.Basic
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeModule
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeJob

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$spec = @{
    options = @{
        # Written by `make docs` from database_dump.yml.
        run_id = @{ type = 'str'; required = $true }
        staging_directory = @{ type = 'str'; required = $true }
        dump = @{ type = 'dict'; required = $true }
        plan = @{ type = 'dict'; default = @{} }
        mongodb = @{ type = 'list'; elements = 'dict'; default = @() }
        dump_timeout = @{ type = 'int'; default = 14400 }
        space_reserve = @{ type = 'int'; default = 2000000000 }
        last_run = @{ type = 'dict'; default = @{} }
        mongodb_connections = @{ type = 'dict'; default = @{} }
        _operation = @{ type = 'str'; choices = @('start', 'poll', 'cancel', 'discard') }
    }
    supports_check_mode = $true
}
$module = [Ansible.Basic.AnsibleModule]::Create($args, $spec, @(Get-NodeJobOption))

Invoke-NodeModule -Module $module -Body { Invoke-NodeJobOperation -Module $module -Job 'dump_job' -Priority 7 }

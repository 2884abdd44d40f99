#!powershell

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

#AnsibleRequires -CSharpUtil Ansible.Basic
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeModule
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeClock
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeFailure
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeFiles
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeProcess
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeTask
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeJob
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeStaging

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$spec = @{
    options = @{
        run_id = @{ type = 'str'; required = $true }
        staging_directory = @{ type = 'str'; required = $true }
        dump = @{ type = 'dict'; required = $true }
        mongodb_connections = @{ type = 'dict'; default = @{} }
        dump_timeout = @{ type = 'int'; default = 14400 }
        space_reserve = @{ type = 'int'; default = 2000 }
        _operation = @{ type = 'str'; choices = @('start', 'poll', 'cancel', 'discard') }
        _job_id = @{ type = 'str' }
        _spec = @{ type = 'str'; no_log = $true }
        _code = @{ type = 'str'; no_log = $true }
        _wait_seconds = @{ type = 'float'; default = 0 }
        _log_offset = @{ type = 'int'; default = 0 }
    }
    supports_check_mode = $true
}
$module = [Ansible.Basic.AnsibleModule]::Create($args, $spec)

Invoke-NodeModule -Module $module -Body { Invoke-NodeJobOperation -Module $module -Job 'DumpJob' -Priority 7 }

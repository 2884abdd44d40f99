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
        # Written by `make docs` from backup_copy.yml.
        state = @{ type = 'str'; choices = @('copied', 'probed'); default = 'copied' }
        folder = @{ type = 'str'; required = $true }
        base_name = @{ type = 'str'; default = '' }
        fleet = @{ type = 'str'; default = '' }
        destinations = @{ type = 'list'; elements = 'dict'; required = $true }
        credentials = @{ type = 'dict'; default = @{} }
        on_failed_probe = @{ type = 'str'; choices = @('continue', 'fail'); default = 'continue' }
        retries = @{ type = 'int'; default = 3 }
        retry_seconds = @{ type = 'int'; default = 30 }
        catalogue = @{ type = 'str'; default = '' }
        backup = @{ type = 'str'; default = '' }
        mode = @{ type = 'str'; choices = @('', 'full', 'database', 'config'); default = '' }
        all_backups = @{ type = 'bool'; default = $false }
        run_id = @{ type = 'str'; default = '' }
        timeout = @{ type = 'int'; default = 86400 }
        _operation = @{ type = 'str'; choices = @('resolve', 'start', 'poll', 'cancel', 'discard') }
    }
    supports_check_mode = $true
}
$module = [Ansible.Basic.AnsibleModule]::Create($args, $spec, @(Get-NodeJobOption))

Invoke-NodeModule -Module $module -Body {
    Invoke-NodeJobOperation -Module $module -Job 'copy_job' -Priority 7
}

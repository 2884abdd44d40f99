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
        # Written by `make docs` from backup_archive.yml.
        plan = @{ type = 'dict'; required = $true }
        window = @{ type = 'dict' }
        mongodb = @{ type = 'list'; elements = 'dict'; default = @() }
        configuration = @{ type = 'dict' }
        compression = @{ type = 'str'; choices = @('Optimal', 'Fastest', 'NoCompression'); default = 'Optimal' }
        stored_extensions = @{
            type = 'list'
            elements = 'str'
            default = @('.gz', '.zip', '.yxzp', '.7z', '.png', '.jpg')
        }
        on_change = @{ type = 'str'; choices = @('fail', 'reread'); default = 'fail' }
        again = @{ type = 'bool'; default = $false }
        set_aside = @{ type = 'bool'; default = $false }
        timeout = @{ type = 'int'; default = 86400 }
        _run_id = @{ type = 'str' }
        _operation = @{ type = 'str'; choices = @('start', 'poll', 'cancel', 'discard') }
    }
    supports_check_mode = $true
}
$module = [Ansible.Basic.AnsibleModule]::Create($args, $spec, @(Get-NodeJobOption))

Invoke-NodeModule -Module $module -Body {
    Invoke-NodeJobOperation -Module $module -Job 'archive_job' -Priority 7
}

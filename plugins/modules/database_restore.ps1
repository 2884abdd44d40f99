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
        # Written by `make docs` from database_restore.yml.
        run_id = @{ type = 'str'; required = $true }
        state = @{ type = 'str'; choices = @('checked', 'restored', 'rolled_back', 'cancelled'); default = 'restored' }
        service_name = @{ type = 'str'; default = 'AlteryxService' }
        node = @{ type = 'dict'; default = @{} }
        scope = @{ type = 'str'; choices = @('full', 'database', 'configuration'); default = 'full' }
        extracted = @{ type = 'dict'; default = @{} }
        stop_timeout = @{ type = 'int'; default = 7200 }
        leftover_timeout = @{ type = 'int'; default = 300 }
        start_timeout = @{ type = 'int'; default = 1800 }
        max_downtime = @{ type = 'int'; default = 21600 }
        restore_timeout = @{ type = 'int'; default = 14400 }
        batch_size = @{ type = 'int'; default = 0 }
        space_reserve = @{ type = 'int'; default = 2000000000 }
        # For checked: which folder, and how many bytes. Texts, because an int of a module has 32 bits.
        _data_folder = @{ type = 'str'; default = '' }
        _bytes = @{ type = 'str'; default = '0' }
        _reserve = @{ type = 'str'; default = '0' }
        _operation = @{ type = 'str'; choices = @('start', 'poll', 'cancel', 'discard') }
    }
    supports_check_mode = $true
}
$module = [Ansible.Basic.AnsibleModule]::Create($args, $spec, @(Get-NodeJobOption))

Invoke-NodeModule -Module $module -Body {
    if ($module.Params.state -eq 'checked') {
        Assert-RoomToRestore -DataFolder $module.Params._data_folder -Bytes ([long]$module.Params._bytes) `
            -Reserve ([long]$module.Params._reserve)
        return
    }
    Invoke-NodeJobOperation -Module $module -Job 'restore_job' -Priority 4
}

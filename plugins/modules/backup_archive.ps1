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

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$spec = @{
    options = @{
        plan = @{ type = 'dict'; required = $true }
        window = @{ type = 'dict' }
        configuration = @{ type = 'dict' }
        mongodb = @{ type = 'list'; elements = 'dict'; default = @() }
        compression = @{ type = 'str'; choices = @('Optimal', 'Fastest', 'NoCompression'); default = 'Optimal' }
        stored_extensions = @{ type = 'list'; elements = 'str'; default = @('.gz', '.zip', '.yxzp', '.7z', '.png', '.jpg') }
        keep_staging = @{ type = 'bool'; default = $false }
        on_change = @{ type = 'str'; choices = @('fail', 'reread'); default = 'fail' }
        timeout = @{ type = 'int'; default = 86400 }
        _run_id = @{ type = 'str' }
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

Invoke-NodeModule -Module $module -Body {
    Invoke-NodeJobOperation -Module $module -Job 'ArchiveJob' -Priority 7
}

#!powershell

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

#AnsibleRequires -CSharpUtil Ansible.Basic
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeModule
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeSchedule

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$spec = @{
    options = @{
        # Written by `make docs` from schedule_pause.yml.
        state = @{ type = 'str'; required = $true; choices = @('paused', 'resumed') }
        run_id = @{ type = 'str'; required = $true }
        api = @{ type = 'dict' }
        paused = @{ type = 'list'; elements = 'dict'; default = @() }
        timeout = @{ type = 'int'; default = 600 }
        _operation = @{ type = 'str'; required = $true; choices = @('read', 'write') }
        # The text grows with the number of schedules, and Ansible would write it to the event log, which limits the
        # length of an entry.
        _record = @{ type = 'str'; default = ''; no_log = $true }
    }
    supports_check_mode = $true
}
$module = [Ansible.Basic.AnsibleModule]::Create($args, $spec)

Invoke-NodeModule -Module $module -Body {
    $before = Read-ScheduleRecord
    if ($module.Params._operation -eq 'write' -and $module.Params._record -cne $before) {
        $module.Result['changed'] = $true
        if (-not $module.CheckMode) { Write-ScheduleRecord -Text $module.Params._record }
    }
    $module.Result['record'] = $before
}

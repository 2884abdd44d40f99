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
        state = @{ type = 'str'; choices = @('done', 'cancelled'); default = 'done' }
        run_id = @{ type = 'str'; required = $true }
        service_name = @{ type = 'str'; default = 'AlteryxService' }
        executable = @{ type = 'str' }
        staging_directory = @{ type = 'str' }
        max_downtime = @{ type = 'int'; default = 23400 }
        space_reserve = @{ type = 'int'; default = 2000 }
        attach = @{ type = 'str'; default = '' }
        dump = @{ type = 'dict'; default = @{} }
        mongodb_connections = @{ type = 'dict'; default = @{} }
        stop_timeout = @{ type = 'int'; default = 7200 }
        dump_timeout = @{ type = 'int'; default = 14400 }
        start_timeout = @{ type = 'int'; default = 1800 }
        leftover_timeout = @{ type = 'int'; default = 300 }
        expected_megabytes = @{ type = 'int'; default = 0 }
        _operation = @{ type = 'str'; choices = @('start', 'poll', 'cancel', 'discard', 'adopt') }
        _job_id = @{ type = 'str' }
        _spec = @{ type = 'str'; no_log = $true }
        _code = @{ type = 'str'; no_log = $true }
        _wait_seconds = @{ type = 'float'; default = 0 }
        _log_offset = @{ type = 'int'; default = 0 }
    }
    required_if = @(, @('state', 'done', @('executable', 'staging_directory')))
    supports_check_mode = $true
}
$module = [Ansible.Basic.AnsibleModule]::Create($args, $spec)

Invoke-NodeModule -Module $module -Body {
    if ($module.Params._operation -eq 'adopt') {
        # The dump of the run that was taken over moves to where this run expects its own; on one drive that is a
        # rename.
        $from = Join-Path -Path $module.Params.staging_directory -ChildPath $module.Params.attach
        $to = Join-Path -Path (New-RunStaging -Root $module.Params.staging_directory -RunId $module.Params.run_id) -ChildPath 'files'
        $null = [IO.Directory]::CreateDirectory($to)
        [IO.Directory]::Move((Join-Path -Path $from -ChildPath 'files\database'), (Join-Path -Path $to -ChildPath 'database'))
        Remove-NodeFolder -Path $from
        return
    }
    Invoke-NodeJobOperation -Module $module -Job 'WindowJob' -Priority 4
}

#!powershell

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

#AnsibleRequires -CSharpUtil Ansible.Basic
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeModule
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeJob
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeStaging

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$spec = @{
    options = @{
        # Written by `make docs` from database_window.yml.
        run_id = @{ type = 'str'; required = $true }
        service_name = @{ type = 'str'; default = 'AlteryxService' }
        state = @{ type = 'str'; choices = @('done', 'armed', 'opened', 'cancelled'); default = 'done' }
        armed = @{ type = 'bool'; default = $false }
        open_within = @{ type = 'int'; default = 0 }
        attach = @{ type = 'str'; default = '' }
        archive_folder = @{ type = 'str'; default = '' }
        tried_verb = @{ type = 'str'; default = 'getemongopassword' }
        emongodump_exit_codes = @{ type = 'list'; elements = 'int'; default = @() }
        removed_collections = @{ type = 'list'; elements = 'str'; default = @() }
        dump = @{ type = 'dict'; default = @{} }
        plan = @{ type = 'dict'; default = @{} }
        mongodb = @{ type = 'list'; elements = 'dict'; default = @() }
        executable = @{ type = 'str' }
        staging_directory = @{ type = 'str' }
        max_downtime = @{ type = 'int'; default = 21600 }
        space_reserve = @{ type = 'int'; default = 2000000000 }
        stop_timeout = @{ type = 'int'; default = 7200 }
        dump_timeout = @{ type = 'int'; default = 14400 }
        start_timeout = @{ type = 'int'; default = 1800 }
        leftover_timeout = @{ type = 'int'; default = 300 }
        expected_bytes = @{ type = 'int'; default = 0 }
        last_run = @{ type = 'dict'; default = @{} }
        mongodb_connections = @{ type = 'dict'; default = @{} }
        _operation = @{ type = 'str'; choices = @('start', 'open', 'poll', 'cancel', 'discard', 'adopt') }
    }
    required_if = @(, @('state', 'done', @('executable', 'staging_directory')))
    supports_check_mode = $true
}
$module = [Ansible.Basic.AnsibleModule]::Create($args, $spec, @(Get-NodeJobOption))

Invoke-NodeModule -Module $module -Body {
    if ($module.Params._operation -eq 'adopt') {
        $given = $module.Params
        Move-RunDump -Root $given.staging_directory -From $given.attach -RunId $given.run_id
        return
    }
    Invoke-NodeJobOperation -Module $module -Job 'window_job' -Priority 4
}

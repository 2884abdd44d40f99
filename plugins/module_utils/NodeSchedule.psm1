# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeFiles

# The record of the schedules that a run has paused. The control node defines its content. It is stored on the node so
# that it is still there if the run dies.
#
#   <state>\schedules.json

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

function Get-ScheduleRecordPath { Join-Path -Path (Get-StateFolder) -ChildPath 'schedules.json' }

function Read-ScheduleRecord {
    <# .SYNOPSIS
    Returns the text of the record, or an empty text if the record is absent. #>
    $path = Get-ScheduleRecordPath
    if ([IO.File]::Exists($path)) { Read-NodeText -Path $path } else { '' }
}

function Write-ScheduleRecord {
    <# .SYNOPSIS
    Replaces the whole record; an empty text removes it. #>
    param([Parameter(Mandatory = $true)][AllowEmptyString()][string] $Text)
    $path = Get-ScheduleRecordPath
    if ($Text) {
        New-ProtectedFolder -Path (Get-StateFolder)
        Write-NodeText -Path $path -Text $Text
    }
    elseif ([IO.File]::Exists($path)) { Remove-NodeFile -Path $path }
}

Export-ModuleMember -Function Read-ScheduleRecord, Write-ScheduleRecord

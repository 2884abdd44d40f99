# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeFiles

# The staging folder of a run: protected before the first byte, and what dead runs left behind is swept.

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

function Get-StaleStaging {
    <#
    .SYNOPSIS
    Paths below Root that runs other than those named have left. Only names of the form of a run id: anything else in the root is not ours.
    #>
    param(
        [Parameter(Mandatory = $true)][string] $Root,
        [Parameter(Mandatory = $true)][AllowEmptyString()][string[]] $RunId
    )
    if (-not [IO.Directory]::Exists($Root)) { return }
    foreach ($folder in [IO.Directory]::GetDirectories($Root)) {
        $name = [IO.Path]::GetFileName($folder)
        if ($name -match '^(Full|DB|Config)_\d{8}_\d{6}_[0-9a-f]{4}$' -and $RunId -cnotcontains $name) { $folder }
    }
}

function New-RunStaging {
    <#
    .SYNOPSIS
    Creates <Root>\<RunId>, SYSTEM and Administrators only, and returns it.
    #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '', Justification = 'callers check')]
    param(
        [Parameter(Mandatory = $true)][string] $Root,
        [Parameter(Mandatory = $true)][string] $RunId
    )
    New-ProtectedFolder -Path $Root
    $own = Join-Path -Path $Root -ChildPath $RunId
    New-ProtectedFolder -Path $own
    $own
}

Export-ModuleMember -Function Get-StaleStaging, New-RunStaging

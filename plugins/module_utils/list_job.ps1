# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Lists the backups at destinations. This is a job, because a share accepts SYSTEM and the accounts of the operator, but
# not the account of a WinRM session. A failure at one destination does not affect the others.

param([Parameter(Mandatory = $true)] $Spec)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

Import-NodeType -Name 'ShareAccount'

function Get-PlaceFact {
    param($Place)
    $fact = @{
        destination = $Place.name; folder = $Place.folder; exists = $false; folders = @(); utc = Get-UtcText
        reason = ''; message = ''
    }
    Invoke-AtPlace -Place $Place -Phase 'list' -Answer $fact -Action {
        $found = Get-DestinationFact -Folder $Place.folder -Node @($Spec.nodes)
        foreach ($text in $found.skipped) { Write-JobLog -Level 'WARNING' -Text $text }
        foreach ($name in 'exists', 'utc', 'folders') { $fact[$name] = $found[$name] }
    }
    $fact
}

@{ places = @(foreach ($place in $Spec.places) { Get-PlaceFact -Place $place }) }

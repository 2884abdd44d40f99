# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Writes or removes the pin of a backup at destinations. A failure at one destination does not affect the others.

param([Parameter(Mandatory = $true)] $Spec)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

Import-NodeType -Name 'ShareAccount'

$pin = $null
if ($null -ne $Spec.pin) {
    $pin = @{}
    # Some PowerShells make a date of the day until which it holds.
    foreach ($key in 'who', 'why', 'until') { $pin[$key] = Get-FieldText -InputObject $Spec.pin -Name $key }
}

function Set-PinAtPlace {
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'the job has no check mode')]
    param($Place)
    $answer = @{ destination = $Place.name; changed = $false; reason = ''; message = '' }
    Invoke-AtPlace -Place $Place -Phase 'pin at' -Answer $answer -Action {
        $folder = Join-Path -Path $Place.folder -ChildPath $Spec.node
        $answer.changed = Set-BackupPin -Folder $folder -Name $Spec.name -Pin $pin -Who $Spec.who `
            -Detail @{ destination = $Place.name }
    }
    $answer
}

@{ places = @(foreach ($place in $Spec.places) { Set-PinAtPlace -Place $place }) }

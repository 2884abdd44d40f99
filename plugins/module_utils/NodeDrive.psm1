# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Finds out which local drive or share a drive letter means.

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

function Get-DriveFact {
    <#
    .SYNOPSIS
    What the letter of a drive stands for: a hashtable with exists (the drive belongs to the machine, so SYSTEM sees it,
    too) and share (to which this account has connected it permanently; '' for none).
    #>
    param([Parameter(Mandatory = $true)][string] $Letter)
    $fact = @{ exists = $false; share = '' }
    $key = [Microsoft.Win32.Registry]::CurrentUser.OpenSubKey("Network\$Letter")
    if ($null -ne $key) {
        try { $fact.share = [string]$key.GetValue('RemotePath', '') }
        finally { $key.Dispose() }
    }
    $drive = New-Object System.IO.DriveInfo $Letter
    $fact.exists = @([IO.DriveType]::NoRootDirectory, [IO.DriveType]::Network) -notcontains $drive.DriveType
    $fact
}

Export-ModuleMember -Function Get-DriveFact

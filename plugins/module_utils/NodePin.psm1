# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeCatalogue
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeTrust

# Writes and removes the pin of a backup in one folder, in the archive directory or at a destination.

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

function Test-SamePin {
    # Does the pin say this already? When it was written does not matter.
    param([string] $Path, $Pin)
    if (-not [IO.File]::Exists($Path)) { return $false }
    try { $old = ConvertFrom-Json -InputObject (Read-CatalogueText -Path $Path) }
    catch { return $false }
    foreach ($name in @('who', 'why')) {
        if ((Get-FieldText -InputObject $old -Name $name) -cne $Pin[$name]) { return $false }
    }
    # Only the day: some PowerShells make another text of a time.
    $until = Get-FieldText -InputObject $old -Name 'until'
    ($until + ' ' * 10).Substring(0, 10).Trim() -ceq ($Pin['until'] + ' ' * 10).Substring(0, 10).Trim()
}

function Set-BackupPin {
    <#
    .SYNOPSIS
    Writes the pin of a backup, or without Pin (a hashtable with who, why and until) removes it. Returns whether that
    changes anything.
    .DESCRIPTION
    Who changes the pin, and Detail, are for the audit log. With Predict nothing is touched.
    #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'callers check')]
    param(
        [Parameter(Mandatory = $true)][string] $Folder,
        [Parameter(Mandatory = $true)][string] $Name,
        [AllowNull()][hashtable] $Pin,
        [Parameter(Mandatory = $true)][AllowEmptyString()][string] $Who,
        [hashtable] $Detail = @{},
        [switch] $Predict
    )
    if ([IO.Path]::GetFileName($Name) -cne $Name) { throw "$Name is not the name of a backup" }
    Assert-FolderTrust -Path $Folder
    if (-not [IO.Directory]::Exists($Folder) -or -not (Get-CatalogueFile -Path $Folder).bases.ContainsKey($Name)) {
        throw (New-NodeFailure -Reason 'pin_refused' -Message "$Folder has no backup $Name any more")
    }
    $path = Join-Path -Path $Folder -ChildPath "$Name.pin.json"
    $isDone = if ($Pin) { Test-SamePin -Path $path -Pin $Pin } else { -not [IO.File]::Exists($path) }
    if ($isDone -or $Predict) { return -not $isDone }
    $line = $Detail + @{ backup = $Name }
    if (-not $Pin) {
        Add-AuditLine -Folder $Folder -Verb 'unpin' -Who $Who -Detail $line
        Remove-NodeFile -Path $path
        return $true
    }
    $file = [ordered]@{ schema = 1; at = Get-UtcText }
    foreach ($key in @('who', 'why', 'until')) {
        $file[$key] = $Pin[$key]
        $line["pin_$key"] = $Pin[$key]
    }
    Add-AuditLine -Folder $Folder -Verb 'pin' -Who $Who -Detail $line
    Write-NodeText -Path $path -Text ((ConvertTo-NodeDocument -InputObject $file) + "`n")
    $true
}

Export-ModuleMember -Function Set-BackupPin

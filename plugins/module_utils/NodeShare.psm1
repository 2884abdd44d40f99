# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeFailure

# Decides from the error number of Windows whether a destination is lost, denied or full, so that a lost share does not
# count as a damaged copy.

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$script:NotFoundCodes = 2, 3
$script:DeniedCodes = 5, 19, 65, 86, 1219, 1240, 1272, 1326, 1327, 1328, 1329, 1330, 1331, 1385, 1396, 1907, 1909, 1937
$script:FullCodes = 39, 112, 1295
$script:AwayCodes = 21, 51, 53, 54, 55, 59, 64, 67, 71, 121, 267, 1203, 1222, 1225, 1231, 1232, 1236, 1311, 1460

function Get-ShareReason {
    <# .SYNOPSIS
    Returns the reason for an error of Windows at a destination, or an empty text if the error is not about the
    destination. #>
    param([Parameter(Mandatory = $true)][int] $Code)
    if ($script:DeniedCodes -contains $Code) { 'destination_denied' }
    elseif ($script:FullCodes -contains $Code) { 'destination_full' }
    elseif ($script:AwayCodes -contains $Code -or $script:NotFoundCodes -contains $Code) { 'destination_unreachable' }
    else { '' }
}

function Get-WindowsError {
    # Returns the error number of Windows in an error record, or 0.
    param($ErrorRecord)
    for ($cause = $ErrorRecord.Exception; $null -ne $cause; $cause = $cause.InnerException) {
        if (($cause.HResult -band 0xFFFF0000) -eq 0x80070000) { return $cause.HResult -band 0xFFFF }
    }
    0
}

function Get-ShareErrorReason {
    <# .SYNOPSIS
    Returns the reason for an error record of a call to a destination. Without an error number that Get-ShareReason
    knows, it is destination_unreachable. #>
    param([Parameter(Mandatory = $true)][System.Management.Automation.ErrorRecord] $ErrorRecord)
    $reason = Get-ShareReason -Code (Get-WindowsError -ErrorRecord $ErrorRecord)
    if ($reason) { $reason } else { 'destination_unreachable' }
}

function Assert-ShareFolder {
    <# .SYNOPSIS
    Throws destination_denied or destination_unreachable unless the folder of a destination answers. #>
    param([Parameter(Mandatory = $true)][string] $Path)
    try { $null = [IO.File]::GetAttributes($Path) }
    catch {
        $reason = Get-ShareErrorReason -ErrorRecord $_
        $why = $_.Exception.GetBaseException().Message
        throw (New-NodeFailure -Reason $reason -Message "$Path cannot be reached: $why")
    }
}

function Assert-ShareRead {
    <#
    .SYNOPSIS
    Throws destination_denied or destination_unreachable when an error of reading at a destination says that, or when
    the destination does not answer any more. Path: of the destination.
    #>
    param(
        [Parameter(Mandatory = $true)][System.Management.Automation.ErrorRecord] $ErrorRecord,
        [Parameter(Mandatory = $true)][string] $Path
    )
    if ((Get-NodeFailure -ErrorRecord $ErrorRecord).reason -ne 'unexpected') { return }
    $code = Get-WindowsError -ErrorRecord $ErrorRecord
    # A missing file does not show that the destination is lost, so the folder of the destination is checked.
    $reason = if ($script:NotFoundCodes -notcontains $code) { Get-ShareReason -Code $code } else { '' }
    if ($reason) {
        $why = $ErrorRecord.Exception.GetBaseException().Message
        throw (New-NodeFailure -Reason $reason -Message "the archive at $Path cannot be read: $why")
    }
    Assert-ShareFolder -Path $Path
}

Export-ModuleMember -Function 'Get-ShareReason', 'Get-ShareErrorReason', 'Assert-ShareFolder', 'Assert-ShareRead'

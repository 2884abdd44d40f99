# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# A failure with a reason: the control node receives each failure of a node as a reason of the table in
# plugin_utils/_core/reasons.yml.

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

function New-NodeFailure {
    <#
    .SYNOPSIS
    An exception to throw: a message for people and a reason for the control node (a name of
    plugin_utils/_core/reasons.yml).
    #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'makes an object')]
    param(
        [Parameter(Mandatory = $true)][string] $Reason,
        [Parameter(Mandatory = $true)][string] $Message,
        [hashtable] $Detail = @{}
    )
    $failure = New-Object System.InvalidOperationException $Message
    $failure.Data['reason'] = $Reason
    $failure.Data['detail'] = $Detail
    $failure
}

function Get-NodeFailure {
    <#
    .SYNOPSIS
    Reads an error record: a hashtable with reason ('unexpected' for everything that New-NodeFailure did not
    make), message and detail.
    #>
    param([Parameter(Mandatory = $true)][System.Management.Automation.ErrorRecord] $ErrorRecord)
    # PowerShell wraps an exception of a .NET method. The failure with a reason may be any of the inner exceptions.
    for ($failure = $ErrorRecord.Exception; $null -ne $failure; $failure = $failure.InnerException) {
        if ($failure.Data.Contains('reason')) {
            return @{ reason = $failure.Data['reason']; message = $failure.Message; detail = $failure.Data['detail'] }
        }
    }
    $where = if ($ErrorRecord.InvocationInfo) { $ErrorRecord.InvocationInfo.PositionMessage } else { '' }
    @{ reason = 'unexpected'; message = $ErrorRecord.Exception.Message; detail = @{ position = [string]$where } }
}

Export-ModuleMember -Function New-NodeFailure, Get-NodeFailure

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeRegistry

# Clocks of a node: people read UTC texts, ages are computed from the monotonic clock, and each boot has an identity.

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

function Get-UtcText {
    <#
    .SYNOPSIS
    The time in UTC as ISO 8601 with milliseconds and zone, e.g. 2026-09-01T02:00:00.123Z. Without an argument: now.
    #>
    param([DateTime] $Time = [DateTime]::UtcNow)
    $Time.ToUniversalTime().ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", [Globalization.CultureInfo]::InvariantCulture)
}

function Get-PersonTime {
    <# .SYNOPSIS
    A UTC time for people, in a form that no JSON reader converts to a date. #>
    param([Parameter(Mandatory = $true)][DateTime] $Time)
    $Time.ToString("yyyy-MM-dd HH:mm:ss 'UTC'", [Globalization.CultureInfo]::InvariantCulture)
}

function Get-MonotonicSecond {
    <#
    .SYNOPSIS
    Seconds since boot as a double. All processes see the same value, and setting the wall clock does not change it.
    #>
    [double][Diagnostics.Stopwatch]::GetTimestamp() / [double][Diagnostics.Stopwatch]::Frequency
}

function Get-BootIdentity {
    <#
    .SYNOPSIS
    A text that differs after every boot: the value of a volatile registry key, which Windows deletes at every boot.
    Empty until a caller creates it with Create. An identity from before the boot is different from the new one and from
    the empty text.
    #>
    param([switch] $Create)
    $key = Open-OwnKey -Name 'Boot' -Create:$Create -Volatile
    if ($null -eq $key) { return '' }
    try {
        if ($Create -and -not $key.GetValue('id', '')) { $key.SetValue('id', [Guid]::NewGuid().ToString('N')) }
        [string]$key.GetValue('id', '')
    }
    finally { $key.Dispose() }
}

Export-ModuleMember -Function Get-UtcText, Get-PersonTime, Get-MonotonicSecond, Get-BootIdentity

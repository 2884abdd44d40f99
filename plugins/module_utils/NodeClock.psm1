# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeRegistry

# Clocks of a node: UTC text is for people, ages come from the monotonic clock, and a boot has an identity of its own.

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
    A UTC time for people, written so that no JSON reader takes it for a date of its own. #>
    param([Parameter(Mandatory = $true)][DateTime] $Time)
    $Time.ToString("yyyy-MM-dd HH:mm:ss 'UTC'", [Globalization.CultureInfo]::InvariantCulture)
}

function Get-MonotonicSecond {
    <#
    .SYNOPSIS
    Seconds since boot as a double. The same for all processes of one boot; setting the wall clock does not move it.
    #>
    [double][Diagnostics.Stopwatch]::GetTimestamp() / [double][Diagnostics.Stopwatch]::Frequency
}

function Get-BootIdentity {
    <#
    .SYNOPSIS
    A text that differs after every boot: the value of a registry key that Windows forgets with the boot. Empty when
    nobody has asked for one with Create since the boot; what was written before the boot differs from it either way.
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

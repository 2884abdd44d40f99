# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The registry key of this collection. Only Administrators and SYSTEM may write below HKLM\SOFTWARE, and a value can
# be written while the drive is full.
#
#   HKLM\SOFTWARE\AlteryxOps\Boot     volatile: id, a text that is new after every boot
#   HKLM\SOFTWARE\AlteryxOps\Guard    volatile: what the guard remembers from one firing to the next (guard.ps1)
#   HKLM\SOFTWARE\AlteryxOps\Starts   start attempts that failed at the log-on of the service (NodeService.psm1)
#
# The guard also registers the source of its events, which is a key of the event log.

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$script:OwnKey = 'SOFTWARE\AlteryxOps'
$script:EventSourceKey = 'SYSTEM\CurrentControlSet\Services\EventLog\Application\AlteryxOps'

function Open-Machine {
    [Microsoft.Win32.RegistryKey]::OpenBaseKey(
        [Microsoft.Win32.RegistryHive]::LocalMachine, [Microsoft.Win32.RegistryView]::Registry64)
}

function Open-OwnKey {
    <#
    .SYNOPSIS
    A subkey of this collection, in the view of 64-bit programs; nothing if it is absent. With Create it is created and
    can be written. With Volatile, Windows deletes it at the next boot.
    #>
    param(
        [Parameter(Mandatory = $true)][string] $Name,
        [switch] $Create,
        [switch] $Volatile
    )
    $machine = Open-Machine
    try {
        if (-not $Create) { return $machine.OpenSubKey("$script:OwnKey\$Name") }
        # The parent key is created first. If Windows created it together with a volatile subkey, it would be volatile
        # too, and could not have permanent subkeys.
        $machine.CreateSubKey($script:OwnKey).Dispose()
        $options = if ($Volatile) { [Microsoft.Win32.RegistryOptions]::Volatile }
        else { [Microsoft.Win32.RegistryOptions]::None }
        $machine.CreateSubKey(
            "$script:OwnKey\$Name", [Microsoft.Win32.RegistryKeyPermissionCheck]::ReadWriteSubTree, $options)
    }
    finally { $machine.Dispose() }
}

function Remove-OwnKey {
    <# .SYNOPSIS
    Deletes a subkey of this collection; an absent one is fine. #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'callers check')]
    param([Parameter(Mandatory = $true)][string] $Name)
    $machine = Open-Machine
    try { $machine.DeleteSubKeyTree("$script:OwnKey\$Name", $false) }
    finally { $machine.Dispose() }
}

function Test-WholeKey {
    <# .SYNOPSIS
    Does the key of this collection (Own) exist, or the key of its event source (EventSource)? #>
    param([Parameter(Mandatory = $true)][ValidateSet('Own', 'EventSource')][string] $Key)
    $machine = Open-Machine
    try {
        $found = $machine.OpenSubKey((Get-WholeKeyPath -Key $Key))
        if ($null -eq $found) { return $false }
        $found.Dispose()
        $true
    }
    finally { $machine.Dispose() }
}

function Remove-WholeKey {
    <# .SYNOPSIS
    Deletes a key of Test-WholeKey with all that is in it; an absent one is fine. #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'callers check')]
    param([Parameter(Mandatory = $true)][ValidateSet('Own', 'EventSource')][string] $Key)
    $machine = Open-Machine
    try { $machine.DeleteSubKeyTree((Get-WholeKeyPath -Key $Key), $false) }
    finally { $machine.Dispose() }
}

function Get-WholeKeyPath {
    param([string] $Key)
    if ($Key -eq 'Own') { $script:OwnKey } else { $script:EventSourceKey }
}

Export-ModuleMember -Function Open-OwnKey, Remove-OwnKey, Test-WholeKey, Remove-WholeKey

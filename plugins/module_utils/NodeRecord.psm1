# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeFiles

# Records: small JSON files that are overwritten in place, so that a full drive cannot stop a heartbeat. The length of
# the file never changes. The text begins with a checksum over all that follows it, because a process may read the file
# in the middle of a write. Spaces fill the rest:
#
#   {"checksum":"<64 hexadecimal digits>","sequence":7,...}

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$script:Utf8 = New-Object System.Text.UTF8Encoding $false

function ConvertTo-RecordByte {
    # The bytes of a record, filled up to Length.
    param([hashtable] $Data, [long] $Sequence, [int] $Length)
    $rest = (ConvertTo-NodeJson -InputObject $Data).TrimStart('{')
    $rest = '"sequence":{0},{1}' -f $Sequence, $rest
    $text = '{{"checksum":"{0}",{1}' -f (Get-TextSha256 -Text $rest), $rest
    $lacks = $Length - $script:Utf8.GetByteCount($text)
    if ($lacks -lt 0) { throw "a record of $($Length - $lacks) bytes does not fit into $Length" }
    , $script:Utf8.GetBytes($text + (' ' * $lacks))
}

function New-NodeRecord {
    <# .SYNOPSIS
    Creates a record of that many bytes, or fails without a partial file. Replaces an existing file. #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'callers check')]
    param(
        [Parameter(Mandatory = $true)][string] $Path,
        [Parameter(Mandatory = $true)][int] $Length,
        [Parameter(Mandatory = $true)][hashtable] $Data
    )
    $bytes = ConvertTo-RecordByte -Data $Data -Sequence 1 -Length $Length
    Write-NodeText -Path $Path -Text $script:Utf8.GetString($bytes)
}

function Write-NodeRecord {
    <# .SYNOPSIS
    Overwrites a record in place. Throws if it is absent, locked by another program or too short. #>
    param(
        [Parameter(Mandatory = $true)][string] $Path,
        [Parameter(Mandatory = $true)][hashtable] $Data
    )
    $share = [IO.FileShare]::ReadWrite -bor [IO.FileShare]::Delete
    $stream = New-Object System.IO.FileStream $Path, ([IO.FileMode]::Open), ([IO.FileAccess]::ReadWrite), $share
    try {
        $head = New-Object byte[] 128
        $read = $stream.Read($head, 0, $head.Length)
        [long] $sequence = 0
        if ($script:Utf8.GetString($head, 0, $read) -match '"sequence":(\d+)') { $sequence = [long]$Matches[1] }
        $bytes = ConvertTo-RecordByte -Data $Data -Sequence ($sequence + 1) -Length ([int]$stream.Length)
        $stream.Position = 0
        $stream.Write($bytes, 0, $bytes.Length)
        $stream.Flush($true)
    }
    finally { $stream.Dispose() }
}

function Read-NodeRecord {
    <#
    .SYNOPSIS
    Reads a record. Tries again for at most Seconds if it exists and cannot be read. Returns a hashtable: state (read,
    absent, busy: it could not be opened, damaged: its content is not a record), data (an object, with state read) and
    problem (text).
    #>
    param(
        [Parameter(Mandatory = $true)][string] $Path,
        [double] $Seconds = 1
    )
    $watch = [Diagnostics.Stopwatch]::StartNew()
    while ($true) {
        $answer = Read-RecordOnce -Path $Path
        if (@('read', 'absent') -contains $answer.state -or $watch.Elapsed.TotalSeconds -ge $Seconds) { return $answer }
        Start-Sleep -Milliseconds 100
    }
}

function Read-RecordOnce {
    param([string] $Path)
    try { $text = Read-NodeText -Path $Path }
    catch {
        # The kind of the exception decides, because File.Exists returns false also for a file that is being replaced,
        # and for one in a folder that may not be read.
        for ($cause = $_.Exception; $null -ne $cause; $cause = $cause.InnerException) {
            if ($cause -is [IO.FileNotFoundException] -or $cause -is [IO.DirectoryNotFoundException]) {
                return @{ state = 'absent'; data = $null; problem = $cause.Message }
            }
        }
        $state = if ([IO.Directory]::Exists($Path)) { 'damaged' } else { 'busy' }
        return @{ state = $state; data = $null; problem = $_.Exception.GetBaseException().Message }
    }
    try {
        $text = $text.TrimEnd()
        if ($text -notmatch '(?s)^\{"checksum":"([0-9a-f]{64})",(.*)$') { throw 'it does not begin with a checksum' }
        if ((Get-TextSha256 -Text $Matches[2]) -cne $Matches[1]) { throw 'its checksum is wrong' }
        @{ state = 'read'; data = (ConvertFrom-Json -InputObject $text); problem = '' }
    }
    catch { @{ state = 'damaged'; data = $null; problem = $_.Exception.Message } }
}

Export-ModuleMember -Function New-NodeRecord, Write-NodeRecord, Read-NodeRecord

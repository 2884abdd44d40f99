# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeFailure
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeFiles
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeProcess
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeSecret

# mongodump of a self-managed MongoDB: where the tool is, how it is started without a secret in its arguments, and what
# it reports about a server before it dumps.

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

function Find-Mongodump {
    <#
    .SYNOPSIS
    The mongodump to use, and the version that it reports: path and version (text). Without the argument Path, this is
    the newest one of the MongoDB Database Tools, or else the one beside AlteryxService.exe.
    #>
    param(
        [Parameter(Mandatory = $true)][AllowEmptyString()][string] $Path,
        [Parameter(Mandatory = $true)][AllowEmptyString()][string] $BinFolder
    )
    $candidates = New-Object System.Collections.ArrayList
    if ($Path) { $null = $candidates.Add($Path) }
    else {
        $tools = Join-Path -Path ([Environment]::GetFolderPath('ProgramFiles')) -ChildPath 'MongoDB\Tools'
        if ([IO.Directory]::Exists($tools)) {
            # Folders are named after the series: 100, 101.
            $names = @([IO.Directory]::GetDirectories($tools) |
                    Sort-Object -Descending -Property { [IO.Path]::GetFileName($_).PadLeft(10) })
            foreach ($name in $names) {
                $null = $candidates.Add((Join-Path -Path $name -ChildPath 'bin\mongodump.exe'))
            }
        }
        if ($BinFolder) { $null = $candidates.Add((Join-Path -Path $BinFolder -ChildPath 'mongodump.exe')) }
    }
    foreach ($candidate in $candidates) {
        if (-not [IO.File]::Exists($candidate)) { continue }
        $answer = Invoke-NativeProcess -FileName $candidate -ArgumentList @('--version') -TimeoutSeconds 60 `
            -TickSeconds 0.1 -Utf8
        return @{ path = [string]$candidate; version = [string]$answer.stdout }
    }
    throw (New-NodeFailure -Reason 'mongodump_unusable' -Message (
            'There is no mongodump.exe at {0}' -f ($candidates.ToArray() -join ', ')))
}

function Invoke-Mongodump {
    <#
    .SYNOPSIS
    Runs mongodump once for each of Dumps (objects with config, arguments) and answers like Invoke-NativeProcess: the
    output of all runs, and the exit code and the reason of the first run that failed. The password is in the file
    ConfigPath only while the tool runs, in a folder that only SYSTEM and Administrators can use. If that file could not
    be removed, left says why; the dump counts nevertheless.
    #>
    param(
        [Parameter(Mandatory = $true)][string] $Tool,
        [Parameter(Mandatory = $true)][object[]] $Dumps,
        [Parameter(Mandatory = $true)][string] $ConfigPath,
        [Parameter(Mandatory = $true)][int] $TimeoutSeconds,
        [Parameter(Mandatory = $true)][scriptblock] $OnTick,
        [scriptblock] $OnStart
    )
    $answer = @{ exit_code = 0; stdout = ''; stderr = ''; stopped_because = ''; timed_out = $false; left = '' }
    $watch = [Diagnostics.Stopwatch]::StartNew()
    foreach ($dump in $Dumps) {
        $left = [int][Math]::Max(0, $TimeoutSeconds - $watch.Elapsed.TotalSeconds)
        try {
            Write-NodeText -Path $ConfigPath -Text $dump.config
            $one = Invoke-NativeProcess -FileName $Tool -ArgumentList @($dump.arguments) -TimeoutSeconds $left `
                -TickSeconds 0.25 -OnStart $OnStart -OnTick $OnTick -Utf8
        }
        finally {
            try { Remove-NodeFile -Path $ConfigPath }
            catch {
                $why = $_.Exception.GetBaseException().Message
                $answer.left = "$ConfigPath, which holds a password, is left behind: $why"
            }
        }
        $answer.stdout += $one.stdout
        $answer.stderr += $one.stderr
        $answer.exit_code = $one.exit_code
        $answer.stopped_because = $one.stopped_because
        $answer.timed_out = $one.timed_out
        if ($one.exit_code -ne 0 -or $one.stopped_because -or $one.timed_out) { break }
    }
    $answer
}

function Read-BsonText {
    # The elements at the head of a BSON document that are text, by name. 32-bit numbers between them are skipped.
    param([byte[]] $Bytes, [int] $Offset)
    $utf8 = [Text.Encoding]::UTF8
    $found = @{}
    $end = $Offset + [BitConverter]::ToInt32($Bytes, $Offset) - 1
    $at = $Offset + 4
    while ($at -lt $end) {
        $type = $Bytes[$at]
        $close = [Array]::IndexOf($Bytes, [byte]0, $at + 1)
        $name = $utf8.GetString($Bytes, $at + 1, $close - $at - 1)
        $at = $close + 1
        if ($type -eq 0x10) { $at += 4 }
        elseif ($type -eq 0x02) {
            $length = [BitConverter]::ToInt32($Bytes, $at)
            $found[$name] = $utf8.GetString($Bytes, $at + 4, $length - 1)
            $at += 4 + $length
        }
        else { break }
    }
    $found
}

function Read-ArchivePrelude {
    # Continues to read the prelude of an archive of mongodump from the position in State: magic number, a document
    # about server and tool, one document for each collection, and 0xFFFFFFFF as its end. True once that end has been
    # read.
    param([byte[]] $Bytes, [int] $Count, [hashtable] $State)
    if ($Count -lt 4) { return $false }
    if ([BitConverter]::ToUInt32($Bytes, 0) -ne [Convert]::ToUInt32('8199e26d', 16)) {
        throw 'mongodump has written something else than an archive'
    }
    if ($State.offset -eq 0) { $State.offset = 4 }
    while ($State.offset + 4 -le $Count) {
        $length = [BitConverter]::ToInt32($Bytes, $State.offset)
        if ($length -eq -1) { return $true }
        if ($length -lt 5) { throw 'mongodump has written an archive with a broken prelude' }
        if ($State.offset + $length -gt $Count) { break }
        $document = Read-BsonText -Bytes $Bytes -Offset $State.offset
        if ($document.ContainsKey('server_version')) { $State.server_version = $document.server_version }
        elseif ($document.ContainsKey('db')) {
            $State.databases[$document.db] = 1 + [int]$State.databases[$document.db]
        }
        $State.offset += $length
    }
    $false
}

function Read-MongodumpPrelude {
    <#
    .SYNOPSIS
    Starts mongodump, whose arguments must let it write an archive to standard output, reads its output up to the first
    document and then ends it: complete, server_version, databases (name, collections), timed_out and output (what it
    printed). Config is the text with the password for the file ConfigPath.
    #>
    param(
        [Parameter(Mandatory = $true)][string] $Tool,
        [Parameter(Mandatory = $true)][string] $Config,
        [Parameter(Mandatory = $true)][string] $ConfigPath,
        [Parameter(Mandatory = $true)][string[]] $ArgumentList,
        [Parameter(Mandatory = $true)][int] $TimeoutSeconds
    )
    $state = @{ offset = 0; server_version = ''; databases = @{} }
    try {
        Write-NodeText -Path $ConfigPath -Text $Config
        $words = @("--config=$ConfigPath") + $ArgumentList
        $head = Read-NativeHead -FileName $Tool -ArgumentList $words -TimeoutSeconds $TimeoutSeconds -Enough {
            param($Bytes, $Count)
            Read-ArchivePrelude -Bytes $Bytes -Count $Count -State $state
        }
    }
    finally { Remove-NodeFile -Path $ConfigPath }
    @{
        complete = $head.enough
        server_version = [string]$state.server_version
        databases = @(foreach ($name in @($state.databases.Keys | Sort-Object)) {
                @{ name = [string]$name; collections = [int]$state.databases[$name] }
            })
        timed_out = $head.timed_out
        output = Hide-Secret -Text $head.stderr
    }
}

Export-ModuleMember -Function Find-Mongodump, Invoke-Mongodump, Read-MongodumpPrelude

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeFailure
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeFiles
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeProcess

# mongodump of a self-managed MongoDB: where the tool is, and how it is started without a secret in its arguments.

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

function Find-Mongodump {
    <#
    .SYNOPSIS
    The mongodump to use and what it says of its version: path and version (text). Path is the one given; without one the newest of MongoDB Database Tools
    is taken, then the one beside AlteryxService.exe.
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
            $names = @([IO.Directory]::GetDirectories($tools) | Sort-Object -Descending -Property { [IO.Path]::GetFileName($_).PadLeft(10) })
            foreach ($name in $names) { $null = $candidates.Add((Join-Path -Path $name -ChildPath 'bin\mongodump.exe')) }
        }
        if ($BinFolder) { $null = $candidates.Add((Join-Path -Path $BinFolder -ChildPath 'mongodump.exe')) }
    }
    foreach ($candidate in $candidates) {
        if (-not [IO.File]::Exists($candidate)) { continue }
        $answer = Invoke-NativeProcess -FileName $candidate -ArgumentList @('--version') -TimeoutSeconds 60 -TickSeconds 0.1
        return @{ path = [string]$candidate; version = [string]$answer.stdout }
    }
    throw (New-NodeFailure -Reason 'mongodump_unusable' -Message ('There is no mongodump.exe at {0}' -f ($candidates.ToArray() -join ', ')))
}

function Invoke-Mongodump {
    <#
    .SYNOPSIS
    Runs mongodump once for each of Dumps (objects with config, arguments) and answers like Invoke-NativeProcess: the text of all, exit code and reason of
    the first that did not end well. What holds the password is the file ConfigPath, in a folder of SYSTEM and Administrators, and only while the tool runs.
    #>
    param(
        [Parameter(Mandatory = $true)][string] $Tool,
        [Parameter(Mandatory = $true)][object[]] $Dumps,
        [Parameter(Mandatory = $true)][string] $ConfigPath,
        [Parameter(Mandatory = $true)][int] $TimeoutSeconds,
        [Parameter(Mandatory = $true)][scriptblock] $OnTick
    )
    $answer = @{ exit_code = 0; stdout = ''; stderr = ''; stopped_because = ''; timed_out = $false }
    $watch = [Diagnostics.Stopwatch]::StartNew()
    foreach ($dump in $Dumps) {
        $left = [int][Math]::Max(0, $TimeoutSeconds - $watch.Elapsed.TotalSeconds)
        try {
            Write-NodeText -Path $ConfigPath -Text $dump.config
            $one = Invoke-NativeProcess -FileName $Tool -ArgumentList @($dump.arguments) -TimeoutSeconds $left -TickSeconds 0.25 -OnTick $OnTick
        }
        finally { [IO.File]::Delete($ConfigPath) }
        $answer.stdout += $one.stdout
        $answer.stderr += $one.stderr
        $answer.exit_code = $one.exit_code
        $answer.stopped_because = $one.stopped_because
        $answer.timed_out = $one.timed_out
        if ($one.exit_code -ne 0 -or $one.stopped_because -or $one.timed_out) { break }
    }
    $answer
}

Export-ModuleMember -Function Find-Mongodump, Invoke-Mongodump

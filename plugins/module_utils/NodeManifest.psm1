# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Reads the part of a manifest that describes the archive. The list of files is not read, because it may have a million
# entries.

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$script:MaximumHead = 2MB
$script:ListOfFiles = "`n  `"files`":"
# A folder may hold backups of years, and the wanted one is among the newest.
$script:MaximumManifests = 200

function Read-ManifestHead {
    <#
    .SYNOPSIS
    The manifest as an object, with an empty list of files. Throws if the file is not the manifest of an archive.
    #>
    param([Parameter(Mandatory = $true)][string] $Path)
    $share = [IO.FileShare]::ReadWrite -bor [IO.FileShare]::Delete
    $stream = New-Object System.IO.FileStream $Path, ([IO.FileMode]::Open), ([IO.FileAccess]::Read), $share
    try {
        $reader = New-Object System.IO.StreamReader $stream, (New-Object System.Text.UTF8Encoding $false)
        $text = New-Object System.Text.StringBuilder
        $buffer = New-Object char[] 16384
        while ($text.Length -lt $script:MaximumHead) {
            $count = $reader.Read($buffer, 0, $buffer.Length)
            if ($count -eq 0) { throw 'it has no list of files' }
            $null = $text.Append($buffer, 0, $count)
            $found = $text.ToString().IndexOf($script:ListOfFiles, [StringComparison]::Ordinal)
            if ($found -ge 0) {
                return ConvertFrom-Json -InputObject ($text.ToString(0, $found) + $script:ListOfFiles + ' []}')
            }
        }
        throw "its list of files does not begin within $script:MaximumHead characters"
    }
    finally { $stream.Dispose() }
}

function Read-LastDump {
    <#
    .SYNOPSIS
    Returns name and collections (namespace, documents) of the newest complete backup in a folder that contains a dump.
    The name is empty if there is no such backup. Manifests that cannot be read are skipped.
    #>
    param([Parameter(Mandatory = $true)][AllowEmptyString()][string] $Folder)
    $nothing = @{ name = ''; collections = @() }
    if (-not $Folder -or -not [IO.Directory]::Exists($Folder)) { return $nothing }
    $manifests = @((New-Object System.IO.DirectoryInfo $Folder).GetFiles('*.manifest.json') |
            Sort-Object -Property LastWriteTimeUtc -Descending | Select-Object -First $script:MaximumManifests)
    foreach ($file in $manifests) {
        $base = $file.FullName.Substring(0, $file.FullName.Length - '.manifest.json'.Length)
        # The .sha256 file is written last.
        if (-not ([IO.File]::Exists("$base.sha256") -and [IO.File]::Exists("$base.zip"))) { continue }
        try {
            $manifest = Read-ManifestHead -Path $file.FullName
            if ($null -eq $manifest.database) { continue }
            $collections = @(foreach ($each in @($manifest.database.collections)) {
                    @{ namespace = [string]$each.namespace; documents = [long]$each.documents }
                })
            return @{ name = [IO.Path]::GetFileName($base); collections = $collections }
        }
        catch { Write-Verbose -Message "$($file.Name): $_" }
    }
    $nothing
}

Export-ModuleMember -Function Read-ManifestHead, Read-LastDump

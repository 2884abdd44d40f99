# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Reads an archive back: the hashes of the .sha256 file, then every entry to its last byte against the manifest inside. Everything wrong is listed, not
# only the first. The verdict lies beside the archive.

param([Parameter(Mandatory = $true)] $Spec)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

Add-Type -AssemblyName System.IO.Compression

$base = Join-Path -Path $Spec.folder -ChildPath $Spec.base_name
$problems = New-Object System.Collections.ArrayList
$watch = [Diagnostics.Stopwatch]::StartNew()
$entryCount = 0
[long] $entryBytes = 0

if (-not [IO.File]::Exists("$base.sha256")) {
    throw (New-NodeFailure -Reason 'archive_incomplete' -Message "$base.sha256 is absent, so this archive is not complete")
}
Write-JobStatus -Phase 'hash'
$names = New-Object System.Collections.ArrayList
foreach ($line in (Read-NodeText -Path "$base.sha256").Split([char[]]@("`n"), [StringSplitOptions]::RemoveEmptyEntries)) {
    if ($line.TrimEnd() -notmatch '^([0-9a-f]{64}) \*(.+)$') {
        $null = $problems.Add("the .sha256 file has a line that is none: $line")
        continue
    }
    $want = $Matches[1]
    $name = $Matches[2]
    $null = $names.Add($name)
    $path = Join-Path -Path $Spec.folder -ChildPath $name
    if (-not [IO.File]::Exists($path)) { $null = $problems.Add("$name is absent") }
    elseif ((Get-FileSha256 -Path $path) -cne $want) { $null = $problems.Add("$name does not have the SHA-256 of the .sha256 file") }
}
if ($names -notcontains "$($Spec.base_name).zip") { $null = $problems.Add('the .sha256 file does not name the archive') }

Write-JobStatus -Phase 'read back'
try {
    $stream = New-Object System.IO.FileStream "$base.zip", ([IO.FileMode]::Open), ([IO.FileAccess]::Read), ([IO.FileShare]::Read), 1048576
    try {
        $zip = New-Object System.IO.Compression.ZipArchive $stream, ([IO.Compression.ZipArchiveMode]::Read), $true
        $manifestEntry = $zip.GetEntry('BackupManifest.json')
        if ($null -eq $manifestEntry) { throw (New-NodeFailure -Reason 'archive_incomplete' -Message 'there is no BackupManifest.json in it') }
        $reader = New-Object System.IO.StreamReader $manifestEntry.Open(), ([Text.Encoding]::UTF8)
        try { $text = $reader.ReadToEnd() } finally { $reader.Dispose() }
        $beside = "$base.manifest.json"
        if (-not [IO.File]::Exists($beside) -or (Read-NodeText -Path $beside) -cne $text) { $null = $problems.Add('the manifest beside the archive is not the one inside') }
        $manifest = ConvertFrom-Json -InputObject $text
        $wanted = @{}
        foreach ($file in @($manifest.files)) { $wanted[[string]$file.path] = $file }
        $seen = @{}
        $buffer = New-Object byte[] 1048576
        foreach ($entry in $zip.Entries) {
            if ($entry.FullName -ceq 'BackupManifest.json') { continue }
            if ($seen.ContainsKey($entry.FullName)) { $null = $problems.Add("$($entry.FullName) is in it twice") }
            $seen[$entry.FullName] = $true
            $entryCount++
            $algorithm = New-Object System.Security.Cryptography.SHA256CryptoServiceProvider
            $source = $entry.Open()
            [long] $bytes = 0
            try {
                while (($count = $source.Read($buffer, 0, $buffer.Length)) -gt 0) {
                    $null = $algorithm.TransformBlock($buffer, 0, $count, $null, 0)
                    $bytes += $count
                    $entryBytes += $count
                    Write-JobStatus -DoneBytes $entryBytes -TotalBytes ([long]$manifest.file_bytes)
                }
                $null = $algorithm.TransformFinalBlock($buffer, 0, 0)
                $have = ConvertTo-Hexadecimal -Bytes $algorithm.Hash
            }
            finally {
                $source.Dispose()
                $algorithm.Dispose()
            }
            if (-not $wanted.ContainsKey($entry.FullName)) { $null = $problems.Add("$($entry.FullName) is not in the manifest") }
            elseif ($have -cne [string]$wanted[$entry.FullName].sha256 -or $bytes -ne [long]$wanted[$entry.FullName].bytes) {
                $null = $problems.Add("$($entry.FullName) does not have the bytes and SHA-256 of the manifest")
            }
        }
        foreach ($name in $wanted.Keys) { if (-not $seen.ContainsKey($name)) { $null = $problems.Add("$name of the manifest is not in it") } }
        $zip.Dispose()
    }
    finally { $stream.Dispose() }
}
catch { $null = $problems.Add("it cannot be read: $((Get-NodeFailure -ErrorRecord $_).message)") }

$good = $problems.Count -eq 0
$verdict = @{
    schema = 1
    archive = "$($Spec.base_name).zip"
    verified = Get-UtcText
    method = 'every file hashed against the .sha256 file, every entry read back and hashed against the manifest'
    verdict = $(if ($good) { 'good' } else { 'bad' })
    entries = $entryCount
    bytes = $entryBytes
    problems = $problems.ToArray()
    seconds = [Math]::Round($watch.Elapsed.TotalSeconds, 3)
}
Write-NodeText -Path ('{0}.verify_{1}.json' -f $base, $Spec.stamp) -Text (ConvertTo-NodeJson -InputObject $verdict)
if (-not $good) {
    throw (New-NodeFailure -Reason 'archive_bad' -Detail $verdict -Message ('{0}.zip is not good: {1}' -f $Spec.base_name, ($problems.ToArray() -join '; ')))
}
Write-JobLog -Text ('{0}.zip read back: {1} entries, {2} bytes, all as the manifest says' -f $Spec.base_name, $entryCount, $entryBytes)
$verdict

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Writes one archive: every file below the source folder is read once, hashed and compressed; the manifest goes in last and lies beside it too.
# Nothing has a final name before it is complete, and the .sha256 file, written last, means that all of it is there.

param([Parameter(Mandatory = $true)] $Spec)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

Add-Type -AssemblyName System.IO.Compression

$base = Join-Path -Path $Spec.folder -ChildPath $Spec.base_name
$archive = "$base.zip"
$made = New-Object System.Collections.ArrayList

function Add-Entry {
    # Copies one stream into a new entry; returns bytes and SHA-256 of what went in.
    param($Zip, [string] $Name, [IO.Stream] $Stream, [DateTime] $Modified, [bool] $Stored, [scriptblock] $OnBlock)
    $level = if ($Stored) { [IO.Compression.CompressionLevel]::NoCompression } else { [IO.Compression.CompressionLevel]::$($Spec.compression) }
    $entry = $Zip.CreateEntry($Name, $level)
    # The format cannot say earlier than 1980.
    if ($Modified.Year -ge 1980) { $entry.LastWriteTime = New-Object System.DateTimeOffset $Modified }
    $algorithm = New-Object System.Security.Cryptography.SHA256CryptoServiceProvider
    $target = $entry.Open()
    try {
        $buffer = New-Object byte[] 1048576
        [long] $bytes = 0
        while (($count = $Stream.Read($buffer, 0, $buffer.Length)) -gt 0) {
            $null = $algorithm.TransformBlock($buffer, 0, $count, $null, 0)
            $target.Write($buffer, 0, $count)
            $bytes += $count
            if ($OnBlock) { & $OnBlock $count }
        }
        $null = $algorithm.TransformFinalBlock($buffer, 0, 0)
        @{ bytes = $bytes; sha256 = ConvertTo-Hexadecimal -Bytes $algorithm.Hash }
    }
    finally {
        $target.Dispose()
        $algorithm.Dispose()
    }
}

function Publish-Text {
    param([string] $Path, [string] $Text)
    if ([IO.File]::Exists($Path)) { throw (New-NodeFailure -Reason 'archive_exists' -Message "$Path exists already; nothing is overwritten") }
    $null = $made.Add($Path)
    Write-NodeText -Path $Path -Text $Text
}

if ([IO.File]::Exists($archive)) { throw (New-NodeFailure -Reason 'archive_exists' -Message "$archive exists already; nothing is overwritten") }
$temporary = "$archive.partial"
$files = @(Get-FolderFile -Path $Spec.source)
[long] $total = 0
foreach ($file in $files) { $total += $file.bytes }
$progress = @{ done = [long]0 }
$watch = [Diagnostics.Stopwatch]::StartNew()

try {
    New-ProtectedFolder -Path $Spec.folder
    Write-JobStatus -Phase 'archive' -TotalBytes $total
    Write-JobLog -Text ('archiving {0} files, {1} bytes' -f $files.Count, $total)
    $listed = New-Object System.Collections.ArrayList
    $null = $made.Add($temporary)
    $output = New-Object System.IO.FileStream $temporary, ([IO.FileMode]::CreateNew), ([IO.FileAccess]::ReadWrite), ([IO.FileShare]::Read), 1048576
    try {
        $zip = New-Object System.IO.Compression.ZipArchive $output, ([IO.Compression.ZipArchiveMode]::Create), $true
        try {
            foreach ($file in $files) {
                $input1 = New-Object System.IO.FileStream $file.full_path, ([IO.FileMode]::Open), ([IO.FileAccess]::Read), ([IO.FileShare]::Read), 1048576
                try {
                    $stored = @($Spec.stored_extensions) -contains [IO.Path]::GetExtension($file.path).ToLowerInvariant()
                    $entry = Add-Entry -Zip $zip -Name $file.path -Stream $input1 -Modified ([IO.File]::GetLastWriteTime($file.full_path)) -Stored $stored -OnBlock {
                        param($Count)
                        $progress.done += $Count
                        Write-JobStatus -DoneBytes $progress.done -TotalBytes $total
                    }
                }
                finally { $input1.Dispose() }
                if ($entry.bytes -ne $file.bytes) {
                    throw (New-NodeFailure -Reason 'file_changed' -Message ('{0} changed while it was read: {1} bytes before, {2} read' -f $file.full_path, $file.bytes, $entry.bytes))
                }
                $line = '{{"path": {0}, "bytes": {1}, "sha256": "{2}", "modified": "{3}"}}'
                $null = $listed.Add(($line -f (ConvertTo-NodeJson -InputObject $file.path), $entry.bytes, $entry.sha256, $file.modified))
            }
            $manifest = $Spec.manifest.Replace('"@@files@@"', "[`n    " + ($listed.ToArray() -join ",`n    ") + "`n  ]")
            $manifest = $manifest.Replace('"@@file_count@@"', [string]$files.Count).Replace('"@@file_bytes@@"', [string]$total)
            $bytes = [Text.Encoding]::UTF8.GetBytes($manifest)
            $memory = New-Object System.IO.MemoryStream (, $bytes)
            $null = Add-Entry -Zip $zip -Name 'BackupManifest.json' -Stream $memory -Modified ([DateTime]::Now) -Stored $false
        }
        finally { $zip.Dispose() }
        $output.Flush($true)
    }
    finally { $output.Dispose() }
    Write-JobStatus -Phase 'hash' -DoneBytes 0 -TotalBytes $total
    $sidecar = New-Object System.Collections.ArrayList
    $null = $sidecar.Add(('{0} *{1}.zip' -f (Get-FileSha256 -Path $temporary), $Spec.base_name))
    Publish-Text -Path "$base.manifest.json" -Text $manifest
    $null = $sidecar.Add(('{0} *{1}.manifest.json' -f (Get-FileSha256 -Path "$base.manifest.json"), $Spec.base_name))
    if ($Spec.secrets_file) {
        Publish-Text -Path "$base.secrets.pem" -Text (Read-NodeText -Path $Spec.secrets_file)
        $null = $sidecar.Add(('{0} *{1}.secrets.pem' -f (Get-FileSha256 -Path "$base.secrets.pem"), $Spec.base_name))
    }
    [IO.File]::Move($temporary, $archive)
    $null = $made.Add($archive)
    Publish-Text -Path "$base.sha256" -Text (($sidecar.ToArray() -join "`n") + "`n")
}
catch {
    $failure = Get-NodeFailure -ErrorRecord $_
    foreach ($path in $made) { [IO.File]::Delete($path) }
    if ($failure.reason -ne 'unexpected') { throw }
    throw (New-NodeFailure -Reason 'archive_failed' -Detail $failure.detail -Message "$archive cannot be written: $($failure.message)")
}

Write-JobLog -Text "published $archive"
if (-not $Spec.keep_staging) { Remove-NodeFolder -Path $Spec.staging }
@{
    archive = $archive
    archive_bytes = (New-Object System.IO.FileInfo $archive).Length
    archive_sha256 = $sidecar[0].Substring(0, 64)
    manifest_sha256 = $sidecar[1].Substring(0, 64)
    file_count = $files.Count
    file_bytes = $total
    secrets = [bool]$Spec.secrets_file
    seconds = $watch.Elapsed.TotalSeconds
}

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Writes one archive. Every file below the source folder is read once, hashed and compressed; the documents of a BSON
# file are also checked. The manifest is the last entry of the archive, and a copy of it is written beside the archive.
# A file gets its final name when it is complete. The .sha256 file is written last, so where it exists, the backup is
# complete. README.txt in the same folder explains the files to a person.

param([Parameter(Mandatory = $true)] $Spec)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

Import-NodeType -Name 'SourceFolder', 'ZipWriter', 'BsonWalker'

$base = Join-Path -Path $Spec.folder -ChildPath $Spec.base_name
$archive = "$base.zip"
# The files that this job has created. They are deleted if the job fails.
$made = New-Object System.Collections.ArrayList
$walked = New-Object System.Collections.ArrayList
# Namespace -> number of documents that the dump tool reported. A collection is removed from it when its file has been
# checked, so what remains has no file. The comparison is ordinal, because names of collections differ by case.
$reported = New-Object 'System.Collections.Generic.Dictionary[string,long]' ([StringComparer]::Ordinal)
foreach ($said in $Spec.reported) { $reported[$said.namespace] = $said.documents }
$watch = [Diagnostics.Stopwatch]::StartNew()
# A virus scanner may keep a large archive open for minutes, and Windows does not rename a file that is open.
$publishSeconds = 600

function Open-NewFile {
    # Creates a file and returns its stream. Fails if a file of that name exists.
    param([string] $Path)
    $stream = New-Object System.IO.FileStream $Path, ([IO.FileMode]::CreateNew), ([IO.FileAccess]::Write),
    ([IO.FileShare]::Read), 65536
    $null = $made.Add($Path)
    $stream
}

function Write-NewText {
    param([string] $Path, [string] $Text)
    $bytes = [Text.Encoding]::UTF8.GetBytes($Text)
    $stream = Open-NewFile -Path $Path
    try {
        $stream.Write($bytes, 0, $bytes.Length)
        $stream.Flush($true)
    }
    finally { $stream.Dispose() }
}

function Publish-File {
    # Renames a file from its temporary to its final name. Windows does not replace an existing file in a rename.
    param([string] $Path)
    if ([IO.File]::Exists($Path)) {
        throw (New-NodeFailure -Reason 'archive_exists' -Message "$Path exists already and is not overwritten")
    }
    Move-NodeFile -Path "$Path.partial" -Target $Path -Seconds $publishSeconds -OnTick { Assert-JobWanted }
    $null = $made.Add($Path)
}

function Get-Namespace {
    # The namespace (database.collection) whose documents are in this file; '' if the file does not contain documents.
    param([string] $Path)
    if (-not $Path.StartsWith($Spec.dump_prefix, [StringComparison]::Ordinal)) { return '' }
    $match = [regex]::Match($Path.Substring($Spec.dump_prefix.Length), '^(?:([^/]+)/)?([^/]+)\.bson(\.gz)?$')
    if (-not $match.Success) { return '' }
    # oplog.bson is beside the folders of the databases, so its namespace has no database.
    $parts = @($match.Groups[1].Value, $match.Groups[2].Value) | Where-Object { $_ }
    ($parts | ForEach-Object { [Uri]::UnescapeDataString($_) }) -join '.'
}

function Read-Document {
    # Checks every document of an entry. Throws dump_incomplete if a document is damaged, or if the dump tool reported
    # another number of documents.
    param($Entry, [string] $Path, [string] $Namespace)
    $documents = $Entry
    if ($Path.EndsWith('.gz', [StringComparison]::Ordinal)) {
        $documents = New-Object System.IO.Compression.GZipStream $Entry,
        ([IO.Compression.CompressionMode]::Decompress), $true
    }
    try { $result = [AlteryxOps.BsonWalker]::Walk($documents) }
    catch [IO.InvalidDataException] {
        $why = Get-InnerText -ErrorRecord $_
        throw (New-NodeFailure -Reason 'dump_incomplete' -Message "${Namespace}: $Path is not a valid gzip file: $why")
    }
    if ($result.Problem) {
        throw (New-NodeFailure -Reason 'dump_incomplete' -Message "${Namespace}: $Path is damaged: $($result.Problem)")
    }
    $said = $null
    if ($reported.ContainsKey($Namespace)) { $said = $reported[$Namespace] }
    if ($null -ne $said -and $said -ne $result.Documents) {
        throw (New-NodeFailure -Reason 'dump_incomplete' -Message (
                '{0}: the dump tool reported {1} documents, but {2} holds {3}' -f
                $Namespace, $said, $Path, $result.Documents))
    }
    $null = $walked.Add(@{ namespace = $Namespace; documents = $result.Documents; bytes = [long]0; reported = $said })
    $null = $reported.Remove($Namespace)
}

function Add-File {
    # Adds the current file of the list to the archive. Returns the line for the manifest.
    $path = $list.Path
    $isDump = $path.StartsWith($Spec.dump_prefix, [StringComparison]::Ordinal)
    $file = $list.Open($Spec.on_change -eq 'reread' -and -not $isDump)
    try {
        $compress = @($Spec.stored_extensions) -notcontains [IO.Path]::GetExtension($path).ToLowerInvariant()
        $entry = $zip.Add($path, $file, $file.ModifiedUtc, $compress)
        $namespace = Get-Namespace -Path $path
        if ($namespace) { Read-Document -Entry $entry -Path $path -Namespace $namespace }
        $entry.Finish()
        if ($namespace) { $walked[$walked.Count - 1].bytes = $entry.Bytes }
        $line = '{{"path": {0}, "bytes": {1}, "sha256": "{2}", "modified": "{3}"}}'
        $modified = Get-UtcText -Time $file.ModifiedUtc
        $line -f (ConvertTo-NodeJson -InputObject $path), $entry.Bytes, $entry.Sha256, $modified
    }
    finally { $file.Dispose() }
}

function Get-ProgramVersion {
    # The version that a program of MongoDB reports; '' if the program is missing or does not report one.
    param([string] $Name, [string] $Pattern)
    try {
        $program = Join-Path -Path $Spec.mongodb_folder -ChildPath $Name
        if (-not [IO.File]::Exists($program)) { return '' }
        $answer = Invoke-NativeProcess -FileName $program -ArgumentList @('--version') -TimeoutSeconds 30 `
            -TickSeconds 0.1 -Utf8
        if ($answer.stdout -match $Pattern) { return $Matches[1] }
    }
    catch { Write-JobLog -Level 'DEBUG' -Text "${Name}: $(Get-InnerText -ErrorRecord $_)" }
    ''
}

function Get-MongodbVersion {
    # The versions of the embedded MongoDB and of the dump tool, as texts; '' if a version is not known. Newer tools
    # write both versions into the dump. For older ones, the programs beside AlteryxService.exe are asked.
    $found = @{ mongodb = ''; tool = '' }
    if (-not $Spec.mongodb_folder) { return $found }
    $prelude = Join-Path -Path $Spec.source -ChildPath ($Spec.dump_prefix.Replace('/', '\') + 'prelude.json')
    try {
        if ([IO.File]::Exists($prelude)) {
            $said = ConvertFrom-Json -InputObject (Read-NodeText -Path $prelude)
            foreach ($pair in @(@('mongodb', 'ServerVersion'), @('tool', 'ToolVersion'))) {
                $property = $said.PSObject.Properties[$pair[1]]
                if ($null -ne $property) { $found[$pair[0]] = [string]$property.Value }
            }
        }
    }
    catch { Write-JobLog -Level 'DEBUG' -Text "${prelude}: $(Get-InnerText -ErrorRecord $_)" }
    if (-not $found.mongodb) {
        $found.mongodb = Get-ProgramVersion -Name 'mongod.exe' -Pattern '(?m)^db version v?(\S+)'
    }
    if (-not $found.tool) {
        $found.tool = Get-ProgramVersion -Name 'mongodump.exe' -Pattern '(?m)^mongodump version:\s*[rv]?(\S+)'
    }
    $found
}

function Write-Manifest {
    # Writes the manifest. The lines of the files are copied from a temporary file, because a million of them do not fit
    # into memory.
    param([IO.Stream] $Line)
    $version = Get-MongodbVersion
    $text = $Spec.manifest.Replace('"@@file_count@@"', [string]$list.Files)
    $text = $text.Replace('"@@ended@@"', "`"$(Get-UtcText)`"")
    $text = $text.Replace('"@@mongodb_version@@"', (ConvertTo-NodeJson -InputObject $version.mongodb))
    $text = $text.Replace('"@@tool_version@@"', (ConvertTo-NodeJson -InputObject $version.tool))
    $text = $text.Replace('"@@file_bytes@@"', [string]$zip.BytesRead)
    $text = $text.Replace('"@@collections@@"', (ConvertTo-NodeJson -InputObject $walked.ToArray()))
    $at = $text.IndexOf('"@@files@@"', [StringComparison]::Ordinal)
    $stream = Open-NewFile -Path "$base.manifest.json.partial"
    try {
        $before = [Text.Encoding]::UTF8.GetBytes($text.Substring(0, $at) + '[')
        $stream.Write($before, 0, $before.Length)
        $Line.Position = 0
        $Line.CopyTo($stream, 65536)
        $after = [Text.Encoding]::UTF8.GetBytes("`n  ]" + $text.Substring($at + '"@@files@@"'.Length))
        $stream.Write($after, 0, $after.Length)
        $stream.Flush($true)
    }
    finally { $stream.Dispose() }
}

function Get-ReadmeVersion {
    # The version of a README.txt that this collection wrote (plugin_utils/_archive/_readme.py); -1 for any other text.
    param([string] $Text)
    if ($Text -cmatch '^Backups of Alteryx Server \(alteryx_ops\.server_backup, text version (\d{1,6})\)\r?\n') {
        [int]$Matches[1]
    }
    else { -1 }
}

function Write-Readme {
    # Writes README.txt, for a person who finds this folder. Replaces only an older version of the same text. Never
    # throws: the backup is good without it.
    $path = Join-Path -Path $Spec.folder -ChildPath 'README.txt'
    try {
        if ([IO.File]::Exists($path)) {
            $there = Get-ReadmeVersion -Text (Read-NodeText -Path $path)
            if ($there -lt 0 -or $there -ge (Get-ReadmeVersion -Text $Spec.readme)) { return }
        }
        Write-NodeText -Path $path -Text $Spec.readme
        Write-JobLog -Text "wrote $path"
    }
    catch { Write-JobLog -Level 'WARNING' -Text "$path was not written: $(Get-InnerText -ErrorRecord $_)" }
}

function Remove-OtherFile {
    # Deletes everything but the dump. When a run has failed, it is not known whether the other files are complete.
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'the job has no check mode')]
    param()
    foreach ($path in [IO.Directory]::GetDirectories($Spec.source)) {
        if ([IO.Path]::GetFileName($path) -cne $Spec.dump_prefix.TrimEnd('/')) { Remove-NodeFolder -Path $path }
    }
    foreach ($path in [IO.Directory]::GetFiles($Spec.source)) { Remove-NodeFile -Path $path }
}

function New-Spool {
    # Opens a temporary file. Windows deletes it when it is closed, also if this process ends unexpectedly.
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'the job has no check mode')]
    param([string] $Name)
    $path = Join-Path -Path $Spec.staging -ChildPath $Name
    $access = [IO.FileAccess]::ReadWrite
    New-Object System.IO.FileStream $path, ([IO.FileMode]::Create), $access, ([IO.FileShare]::None), 65536,
    ([IO.FileOptions]::DeleteOnClose)
}

$endings = @('zip', 'manifest.json', 'secrets.pem', 'sha256')
if ($Spec.again -and [IO.Directory]::Exists($Spec.folder)) {
    # An earlier attempt of the same run may have left partial files, or an archive that did not verify.
    foreach ($ending in $endings) {
        Remove-NodeFile -Path "$base.$ending.partial"
        if ($Spec.set_aside -and [IO.File]::Exists("$base.$ending")) {
            Write-JobLog -Level 'WARNING' -Text (
                "$base.$ending did not verify; it is renamed to $($Spec.base_name).$ending.bad")
            Remove-NodeFile -Path "$base.$ending.bad"
            Move-NodeFile -Path "$base.$ending" -Target "$base.$ending.bad" -Seconds $publishSeconds -OnTick {
                Assert-JobWanted
            }
        }
    }
}
if ($Spec.only_dump) { Remove-OtherFile }
foreach ($ending in $endings) {
    if ([IO.File]::Exists("$base.$ending")) {
        throw (New-NodeFailure -Reason 'archive_exists' -Message "$base.$ending exists already and is not overwritten")
    }
}

try {
    New-ProtectedFolder -Path $Spec.folder
    Write-JobStatus -Phase 'list'
    $listFile = Join-Path -Path $Spec.staging -ChildPath 'archive-files.tmp'
    $list = New-Object AlteryxOps.SourceFolder $Spec.source, $listFile
    try {
        Write-JobStatus -Phase 'archive' -TotalBytes $list.Bytes
        Write-JobLog -Text ('archiving {0} files, {1} bytes' -f $list.Files, $list.Bytes)
        $spool = Join-Path -Path $Spec.staging -ChildPath 'archive-directory.tmp'
        $level = [IO.Compression.CompressionLevel]::$($Spec.compression)
        $zip = New-Object AlteryxOps.ZipWriter "$archive.partial", $spool, $level
        $null = $made.Add("$archive.partial")
        $lines = New-Spool -Name 'archive-manifest.tmp'
        try {
            $zip.OnProgress = {
                param($Done)
                Assert-JobWanted
                Write-JobStatus -DoneBytes $Done -TotalBytes $list.Bytes
            }
            $separator = "`n    "
            while ($list.Next()) {
                $bytes = [Text.Encoding]::UTF8.GetBytes($separator + (Add-File))
                $lines.Write($bytes, 0, $bytes.Length)
                $separator = ",`n    "
            }
            foreach ($name in $reported.Keys) {
                if ($reported[$name] -eq 0) { continue }
                throw (New-NodeFailure -Reason 'dump_incomplete' -Message (
                        '{0}: the dump tool reported {1} documents, but the dump has no file for it' -f
                        $name, $reported[$name]))
            }
            $fileBytes = $zip.BytesRead
            Write-JobStatus -Phase 'finish' -DoneBytes $fileBytes -TotalBytes $fileBytes
            Write-Manifest -Line $lines
            $partial = "$base.manifest.json.partial"
            $manifest = New-Object System.IO.FileStream $partial, ([IO.FileMode]::Open), ([IO.FileAccess]::Read),
            ([IO.FileShare]::Read), 65536
            try {
                $entry = $zip.Add('BackupManifest.json', $manifest, [DateTime]::UtcNow, $true)
                $entry.Finish()
                $manifestSha256 = $entry.Sha256
            }
            finally { $manifest.Dispose() }
            $zip.Finish()
        }
        finally {
            $zip.Dispose()
            $lines.Dispose()
        }
    }
    finally { $list.Dispose() }

    $sidecar = "{0} *{1}.zip`n{2} *{1}.manifest.json`n" -f $zip.Sha256, $Spec.base_name, $manifestSha256
    if ($Spec.secrets_file) {
        Write-NewText -Path "$base.secrets.pem.partial" -Text (Read-NodeText -Path $Spec.secrets_file)
        $sidecar += "{0} *{1}.secrets.pem`n" -f (Get-FileSha256 -Path "$base.secrets.pem.partial"), $Spec.base_name
    }
    Write-NewText -Path "$base.sha256.partial" -Text $sidecar
    Assert-JobWanted
    Publish-File -Path "$base.manifest.json"
    if ($Spec.secrets_file) { Publish-File -Path "$base.secrets.pem" }
    Publish-File -Path $archive
    Publish-File -Path "$base.sha256"
}
catch {
    $failed = $_
    foreach ($path in $made) {
        try { [IO.File]::Delete($path) }
        # This failure is a warning: the job fails for the first one.
        catch {
            $why = Get-InnerText -ErrorRecord $_
            Write-JobLog -Level 'WARNING' -Text "$path could not be deleted: $why"
        }
    }
    if (Test-StorageFailure -ErrorRecord $failed) {
        $why = Get-InnerText -ErrorRecord $failed
        throw (New-NodeFailure -Reason 'archive_failed' -Message "$archive could not be written: $why")
    }
    throw
}

Write-JobLog -Text "published $archive"
Write-Readme
@{
    archive = $archive
    archive_bytes = $zip.Bytes
    archive_sha256 = $zip.Sha256
    manifest_sha256 = $manifestSha256
    file_count = $list.Files
    file_bytes = $fileBytes
    collections = $walked.ToArray()
    secrets = [bool]$Spec.secrets_file
    seconds = $watch.Elapsed.TotalSeconds
}

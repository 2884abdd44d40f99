# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Extracts an archive, or the copy of one at a destination, into a new folder. It is read once, as strictly as a
# verification reads it, and each entry is written while it is read. If the archive has a problem, all extracted files
# are removed.

param([Parameter(Mandatory = $true)] $Spec)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

Import-NodeType -Name 'ZipReader', 'ManifestReader', 'BsonWalker', 'ArchiveVerifier', 'ArchiveExtractor', 'ShareAccount'

$base = Join-Path -Path $Spec.folder -ChildPath $Spec.base_name
$target = [string]$Spec.target
$problems = New-Object AlteryxOps.ProblemList
$watch = [Diagnostics.Stopwatch]::StartNew()

function Write-CollectionFile {
    # One line for each collection, because there may be very many.
    param([string] $Path, $Walked)
    $names = New-Object string[] $Walked.Count
    $Walked.Keys.CopyTo($names, 0)
    [Array]::Sort($names, [StringComparer]::Ordinal)
    $stream = New-Object System.IO.FileStream $Path, ([IO.FileMode]::CreateNew), ([IO.FileAccess]::Write)
    try {
        $writer = New-Object System.IO.StreamWriter $stream, (New-Object System.Text.UTF8Encoding $false)
        $writer.Write("{`"schema`": 1, `"collections`": [")
        $separator = "`n  "
        foreach ($name in $names) {
            $line = '{{"namespace": {0}, "documents": {1}}}' -f (ConvertTo-NodeJson -InputObject $name), $Walked[$name]
            $writer.Write($separator + $line)
            $separator = ",`n  "
        }
        $writer.Write("`n]}`n")
        $writer.Flush()
        $stream.Flush($true)
    }
    finally { $stream.Dispose() }
}

function Get-PartFolder {
    # The folder of a part of the archive; '' if the archive does not have it.
    param([string] $Name)
    $path = Join-Path -Path $target -ChildPath "files\$Name"
    if ([IO.Directory]::Exists($path)) { $path } else { '' }
}

function Get-ManifestText {
    # Texts of the manifest by name; '' for one that it does not have.
    param($Texts, [string[]] $Name)
    $found = [ordered]@{}
    foreach ($each in $Name) { $found[$each] = if ($Texts.ContainsKey($each)) { $Texts[$each] } else { '' } }
    $found
}

$destination = ''
if ($null -ne $Spec.place) {
    # New credentials: for what is written on this node the thread is still SYSTEM.
    Enter-JobShare -Place $Spec.place
    $destination = $Spec.place.path
}
Assert-ArchiveComplete -Folder $Spec.folder -BaseName $Spec.base_name
Assert-JobWanted
Write-JobStatus -Phase 'extract'
New-ExtractionFolder -Path $target -RunId $Spec.run_id -BaseName $Spec.base_name -AcceptAccess:$Spec.accept_access
try {
    $extractor = New-Object AlteryxOps.ArchiveExtractor $target, $Spec.free_reserve, (
        [Func[long]] { Get-FreeByte -Path $target })
    $verifier = New-Object AlteryxOps.ArchiveVerifier "$base.zip", $problems
    $verifier.Sink = $extractor
    $verifier.Progress = {
        param($Done, $Total)
        Assert-JobWanted
        Write-JobStatus -DoneBytes $Done -TotalBytes $Total
    }
    try {
        Read-NodeArchive -Verifier $verifier -Folder $Spec.folder -BaseName $Spec.base_name -Destination $destination
    }
    finally { $extractor.Dispose() }
    if ($problems.Total) {
        $detail = @{ problems = $problems.Texts; problems_total = $problems.Total }
        throw (New-NodeFailure -Reason 'archive_bad' -Detail $detail -Message (
                "$($Spec.base_name).zip is not good: $(Get-ProblemText -Problems $problems)"))
    }
    Assert-JobWanted
    $collectionFile = Join-Path -Path $target -ChildPath 'collections.json'
    Write-CollectionFile -Path $collectionFile -Walked $verifier.Walked
}
catch {
    $failed = $_
    try { Remove-NodeFolder -Path $target }
    # This failure is a warning: the job fails for the first one.
    catch {
        $why = Get-InnerText -ErrorRecord $_
        Write-JobLog -Level 'WARNING' -Text "$target could not be deleted: $why"
    }
    if (Test-StorageFailure -ErrorRecord $failed) {
        $why = Get-InnerText -ErrorRecord $failed
        throw (New-NodeFailure -Reason 'folder_unwritable' -Message "$target cannot be written: $why")
    }
    throw
}

$text = '{0}.zip extracted into {1}: {2} entries, {3} bytes, {4} documents, all as the manifest says'
Write-JobLog -Text ($text -f $Spec.base_name, $target, $verifier.Entries, $verifier.Bytes, $verifier.Documents)
$manifest = $verifier.Manifest
$found = Get-ManifestText -Texts $manifest.Texts -Name @(
    'run_id', 'fleet', 'mode', 'alteryx_version', 'computer', 'node', 'started')
# The module adds node and time to its result itself.
foreach ($name in 'node', 'started') {
    $found["backup_$name"] = $found[$name]
    $found.Remove($name)
}
$found['database'] = if ($manifest.HasDatabase) {
    Get-ManifestText -Texts $manifest.DatabaseTexts -Name @(
        'kind', 'mongodb_version', 'tool_version', 'method', 'data_folder', 'bin_folder')
}
else { $null }
$found['configuration'] = @(if ($null -ne $manifest.Configuration) {
        foreach ($item in $manifest.Configuration) {
            @{ id = $item.Id; source = $item.Source; present = $item.Present }
        }
    })
$found['target'] = $target
$found['database_folder'] = Get-PartFolder -Name 'database'
$found['configuration_folder'] = Get-PartFolder -Name 'configuration'
$found['manifest_file'] = Join-Path -Path $target -ChildPath 'BackupManifest.json'
$found['collection_file'] = $collectionFile
$found['archive_sha256'] = $verifier.ArchiveSha256
$found['entries'] = $verifier.Entries
$found['bytes'] = $verifier.Bytes
$found['collections'] = $verifier.Collections
$found['documents'] = $verifier.Documents
$found['seconds'] = [Math]::Round($watch.Elapsed.TotalSeconds, 3)
$found

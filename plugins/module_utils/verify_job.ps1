# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Reads an archive back in one pass: every byte of it, every entry against the manifest inside, every document of the
# dump; then the files beside it against the .sha256 file. Every problem is listed, not only the first. The verdict is
# written beside the archive.

param([Parameter(Mandatory = $true)] $Spec)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

Import-NodeType -Name 'ZipReader', 'ManifestReader', 'BsonWalker', 'ArchiveVerifier', 'ShareAccount'
# A copy on a share is read with the account of the share.
if ($null -ne $Spec.place) { Enter-JobShare -Place $Spec.place }

# The archive job writes three lines, so a longer file is not its .sha256 file.
$longestSidecar = 65536

$base = Join-Path -Path $Spec.folder -ChildPath $Spec.base_name
$problems = New-Object AlteryxOps.ProblemList
$watch = [Diagnostics.Stopwatch]::StartNew()

function Read-Sidecar {
    # The content of the .sha256 file as a dictionary: file name -> SHA-256.
    $said = New-Object 'System.Collections.Generic.Dictionary[string,string]' ([StringComparer]::Ordinal)
    if ((New-Object System.IO.FileInfo "$base.sha256").Length -gt $longestSidecar) {
        $problems.Add("the .sha256 file has more than $longestSidecar bytes, so it was not read")
        return $said
    }
    $endings = @('zip', 'manifest.json', 'secrets.pem')
    $text = Read-NodeText -Path "$base.sha256"
    foreach ($line in $text.Split([char[]]@("`n"), [StringSplitOptions]::RemoveEmptyEntries)) {
        $known = $line.TrimEnd() -cmatch '^([0-9a-f]{64}) \*(.+)$'
        # Only names of this backup are accepted: another name could point to any file on the node.
        if (-not $known -or @($endings | ForEach-Object { "$($Spec.base_name).$_" }) -cnotcontains $Matches[2]) {
            $start = $line.Substring(0, [Math]::Min($line.Length, 200))
            $problems.Add("the .sha256 file has a line that is not the SHA-256 of a file of this backup: $start")
            continue
        }
        if ($said.ContainsKey($Matches[2])) { $problems.Add("the .sha256 file names $($Matches[2]) twice") }
        $said[$Matches[2]] = $Matches[1]
    }
    foreach ($ending in 'zip', 'manifest.json') {
        if (-not $said.ContainsKey("$($Spec.base_name).$ending")) {
            $problems.Add("the .sha256 file does not name $($Spec.base_name).$ending")
        }
    }
    $said
}

function Compare-Sidecar {
    param($Said, [string] $ArchiveSha256)
    foreach ($name in $Said.Keys) {
        $path = Join-Path -Path $Spec.folder -ChildPath $name
        $isArchive = $name -ceq "$($Spec.base_name).zip"
        if (-not [IO.File]::Exists($path)) { $problems.Add("$name is missing") }
        elseif ($(if ($isArchive) { $ArchiveSha256 } else { Get-FileSha256 -Path $path }) -cne $Said[$name]) {
            $problems.Add("$name does not match its SHA-256 in the .sha256 file")
        }
    }
}

if (-not [IO.File]::Exists("$base.sha256") -and -not [IO.File]::Exists("$base.zip")) {
    throw (New-NodeFailure -Reason 'backup_unknown' -Message "$($Spec.folder) has no backup $($Spec.base_name)")
}
if (-not [IO.File]::Exists("$base.sha256")) {
    throw (New-NodeFailure -Reason 'archive_incomplete' -Message (
            "$base.sha256 is missing, so the archive is not complete"))
}
Write-JobStatus -Phase 'read back'
# If another program locks the archive, there is no verdict, and the verification fails with file_locked.
try { (Open-SharedFile -Path "$base.zip" -Seconds 60).Dispose() }
catch { if ((Get-NodeFailure -ErrorRecord $_).reason -eq 'file_locked') { throw } }
$said = Read-Sidecar
$verifier = New-Object AlteryxOps.ArchiveVerifier "$base.zip", $problems
$verifier.Progress = {
    param($Done, $Total)
    Assert-JobWanted
    Write-JobStatus -DoneBytes $Done -TotalBytes $Total
}
try { $verifier.Run() }
catch {
    # A cancelled verification has no verdict.
    if (Test-JobCancelled) { throw }
    # The disk, the share or the permissions prevent reading. The archive is then bad; what was read is in the verdict.
    $problems.Add("it cannot be read: $($_.Exception.GetBaseException().Message)")
}
Compare-Sidecar -Said $said -ArchiveSha256 $verifier.ArchiveSha256
$beside = "$base.manifest.json"
if ([IO.File]::Exists($beside) -and $verifier.ManifestSha256 -and
    (Get-FileSha256 -Path $beside) -cne $verifier.ManifestSha256) {
    $problems.Add('the manifest beside the archive differs from the manifest in the archive')
}

$good = $problems.Total -eq 0
# The run ID comes from the archive, where it may be any text. Only a valid one goes into the verdict.
$isRun = Test-RunId -Text ([string]$verifier.RunId)
$verdict = [ordered]@{
    schema = 1
    archive = "$($Spec.base_name).zip"
    archive_sha256 = $verifier.ArchiveSha256
    run_id = $(if ($isRun) { $verifier.RunId } else { '' })
    # The file name contains the same time.
    started = $Spec.stamp -replace '^(\d{4})(\d\d)(\d\d)_(\d\d)(\d\d)(\d\d)$', '$1-$2-$3T$4:$5:$6.000Z'
    verified = Get-UtcText
    method = 'every byte against the .sha256 file, every entry against the manifest inside, ' +
    'every document of the dump walked and counted'
    verdict = $(if ($good) { 'good' } else { 'bad' })
    entries = $verifier.Entries
    bytes = $verifier.Bytes
    collections = $verifier.Collections
    documents = $verifier.Documents
    problems = $problems.Texts
    problems_total = $problems.Total
    seconds = [Math]::Round($watch.Elapsed.TotalSeconds, 3)
}
$text = (ConvertTo-NodeDocument -InputObject $verdict) + "`n"
Write-NodeText -Path ('{0}.verify_{1}.json' -f $base, $Spec.stamp) -Text $text
if (-not $good) {
    $more = if ($problems.Total -gt 5) {
        "; and $($problems.Total - 5) more, see $($Spec.base_name).verify_$($Spec.stamp).json"
    }
    else { '' }
    $first = ($problems.Texts | Select-Object -First 5) -join '; '
    throw (New-NodeFailure -Reason 'archive_bad' -Detail $verdict -Message (
            "$($Spec.base_name).zip is not good: $first$more"))
}
$text = '{0}.zip read back: {1} entries, {2} bytes, {3} documents, all as the manifest says'
Write-JobLog -Text ($text -f $Spec.base_name, $verifier.Entries, $verifier.Bytes, $verifier.Documents)
if ($Spec.staging) {
    # The archive is verified, so the files that it was made of are deleted. If that fails, the next run deletes them.
    try {
        Remove-DumpRecord -Staging $Spec.staging
        if (-not $Spec.keep_staging) { Remove-NodeFolder -Path $Spec.staging }
    }
    catch {
        $cause = $_.Exception.GetBaseException()
        Write-JobLog -Level 'WARNING' -Text "$($Spec.staging) could not be deleted: $($cause.Message)"
    }
}
$verdict

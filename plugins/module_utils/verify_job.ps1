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
$destination = ''
if ($null -ne $Spec.place) {
    # A copy on a share is read with the account of the share.
    Enter-JobShare -Place $Spec.place
    $destination = $Spec.place.path
}

$base = Join-Path -Path $Spec.folder -ChildPath $Spec.base_name
$problems = New-Object AlteryxOps.ProblemList
$watch = [Diagnostics.Stopwatch]::StartNew()

Assert-ArchiveComplete -Folder $Spec.folder -BaseName $Spec.base_name
Write-JobStatus -Phase 'read back'
$verifier = New-Object AlteryxOps.ArchiveVerifier "$base.zip", $problems
$verifier.Progress = {
    param($Done, $Total)
    Assert-JobWanted
    Write-JobStatus -DoneBytes $Done -TotalBytes $Total
}
# If another program locks the archive, the destination is lost or the job is cancelled, there is no verdict.
Read-NodeArchive -Verifier $verifier -Folder $Spec.folder -BaseName $Spec.base_name -Destination $destination

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
    $first = Get-ProblemText -Problems $problems -Where ", see $($Spec.base_name).verify_$($Spec.stamp).json"
    throw (New-NodeFailure -Reason 'archive_bad' -Detail $verdict -Message (
            "$($Spec.base_name).zip is not good: $first"))
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

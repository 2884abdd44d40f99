# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeDisk
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeFiles
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeShare

# An archive and the files beside it, read back. ArchiveVerifier.cs reads the archive itself.

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

# The archive job writes three lines, so a longer file is not its .sha256 file.
$script:LongestSidecar = 65536

function Assert-ArchiveComplete {
    <# .SYNOPSIS
    Throws backup_unknown or archive_incomplete unless the archive and its .sha256 file are in the folder. #>
    param([Parameter(Mandatory = $true)][string] $Folder, [Parameter(Mandatory = $true)][string] $BaseName)
    $base = Join-Path -Path $Folder -ChildPath $BaseName
    if ([IO.File]::Exists("$base.sha256")) { return }
    if (-not [IO.File]::Exists("$base.zip")) {
        throw (New-NodeFailure -Reason 'backup_unknown' -Message "$Folder has no backup $BaseName")
    }
    throw (New-NodeFailure -Reason 'archive_incomplete' -Message (
            "$base.sha256 is missing, so the archive is not complete"))
}

function Read-Sidecar {
    # The content of the .sha256 file as a dictionary: file name -> SHA-256.
    param([string] $Folder, [string] $BaseName, $Problems)
    $said = New-Object 'System.Collections.Generic.Dictionary[string,string]' ([StringComparer]::Ordinal)
    $path = Join-Path -Path $Folder -ChildPath "$BaseName.sha256"
    if ((New-Object System.IO.FileInfo $path).Length -gt $script:LongestSidecar) {
        $Problems.Add("the .sha256 file has more than $script:LongestSidecar bytes, so it was not read")
        return $said
    }
    $names = @(foreach ($ending in 'zip', 'manifest.json', 'secrets.pem') { "$BaseName.$ending" })
    $text = Read-NodeText -Path $path
    foreach ($line in $text.Split([char[]]@("`n"), [StringSplitOptions]::RemoveEmptyEntries)) {
        $known = $line.TrimEnd() -cmatch '^([0-9a-f]{64}) \*(.+)$'
        # Only names of this backup are accepted: another name could point to any file on the node.
        if (-not $known -or $names -cnotcontains $Matches[2]) {
            $start = $line.Substring(0, [Math]::Min($line.Length, 200))
            $Problems.Add("the .sha256 file has a line that is not the SHA-256 of a file of this backup: $start")
            continue
        }
        if ($said.ContainsKey($Matches[2])) { $Problems.Add("the .sha256 file names $($Matches[2]) twice") }
        $said[$Matches[2]] = $Matches[1]
    }
    foreach ($ending in 'zip', 'manifest.json') {
        if (-not $said.ContainsKey("$BaseName.$ending")) {
            $Problems.Add("the .sha256 file does not name $BaseName.$ending")
        }
    }
    $said
}

function Read-NodeArchive {
    <#
    .SYNOPSIS
    Reads an archive and compares it and the files beside it with the .sha256 file. Problems are added to Verifier (an
    ArchiveVerifier of the archive). Throws file_locked when another program locks the archive. Does not catch what
    Progress and the sink of Verifier throw. Destination: the folder from which a copy is read. If it is lost, throws
    destination_unreachable or destination_denied, because that is not a problem of the copy.
    #>
    param(
        [Parameter(Mandatory = $true)] $Verifier,
        [Parameter(Mandatory = $true)][string] $Folder,
        [Parameter(Mandatory = $true)][string] $BaseName,
        [string] $Destination = ''
    )
    $base = Join-Path -Path $Folder -ChildPath $BaseName
    try { (Open-SharedFile -Path "$base.zip" -Seconds 60).Dispose() }
    catch { if ((Get-NodeFailure -ErrorRecord $_).reason -eq 'file_locked') { throw } }
    try { Read-ArchiveFile -Verifier $Verifier -Folder $Folder -BaseName $BaseName -Destination $Destination }
    catch {
        if ($Destination) { Assert-ShareRead -ErrorRecord $_ -Path $Destination }
        throw
    }
    # All files are missing at a destination that is lost.
    if ($Destination -and $Verifier.Problems.Total) { Assert-ShareFolder -Path $Destination }
}

function Read-ArchiveFile {
    param($Verifier, [string] $Folder, [string] $BaseName, [string] $Destination)
    $problems = $Verifier.Problems
    $said = Read-Sidecar -Folder $Folder -BaseName $BaseName -Problems $problems
    try { $Verifier.Run() }
    catch {
        # A failure that has a reason is not a problem of the archive: the job was cancelled, or its target cannot be
        # written.
        if ((Get-NodeFailure -ErrorRecord $_).reason -ne 'unexpected') { throw }
        if ($Destination) { Assert-ShareRead -ErrorRecord $_ -Path $Destination }
        # The archive cannot be read to its end, because of the disk, the share or the permissions. The backup counts as
        # bad. The counts of what was read are still reported.
        $problems.Add("it cannot be read: $($_.Exception.GetBaseException().Message)")
    }
    foreach ($name in $said.Keys) {
        $path = Join-Path -Path $Folder -ChildPath $name
        $isArchive = $name -ceq "$BaseName.zip"
        if (-not [IO.File]::Exists($path)) { $problems.Add("$name is missing") }
        elseif ($(if ($isArchive) { $Verifier.ArchiveSha256 } else { Get-FileSha256 -Path $path }) -cne $said[$name]) {
            $problems.Add("$name does not match its SHA-256 in the .sha256 file")
        }
    }
    $beside = Join-Path -Path $Folder -ChildPath "$BaseName.manifest.json"
    if ([IO.File]::Exists($beside) -and $Verifier.ManifestSha256 -and
        (Get-FileSha256 -Path $beside) -cne $Verifier.ManifestSha256) {
        $problems.Add('the manifest beside the archive differs from the manifest in the archive')
    }
}

function Get-ProblemText {
    <# .SYNOPSIS
    The first problems of a list in one line, with the number of the others. Where names the place of the whole list. #>
    param([Parameter(Mandatory = $true)] $Problems, [string] $Where = '')
    $text = @($Problems.Texts | Select-Object -First 5) -join '; '
    if ($Problems.Total -gt 5) { $text += "; and $($Problems.Total - 5) more$Where" }
    $text
}

Export-ModuleMember -Function 'Assert-ArchiveComplete', 'Read-NodeArchive', 'Get-ProblemText'

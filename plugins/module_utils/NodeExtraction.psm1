# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeClock
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeDisk
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeTrust

# The folder into which an archive is extracted. It is always created anew, and only SYSTEM and Administrators have
# access, because a restore takes the database and the configuration of the server from it.
#
#   <target>\extraction.json      written first. A folder without it is never emptied or removed.
#           \files\database       the dump
#           \files\configuration  critical files
#           \BackupManifest.json  the manifest of the archive
#           \collections.json     how many documents of each collection were walked

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$script:Tool = 'alteryx_ops.server_backup'
$script:LongestMark = 65536

function Assert-ExtractionPath {
    <# .SYNOPSIS
    Throws folder_invalid unless the restore tools accept the path. #>
    param([Parameter(Mandatory = $true)][string] $Path)
    # The comparison is case-sensitive, because in a Turkish locale ignoring case maps I to another letter.
    $problem = if ($Path -cnotmatch '^[A-Za-z]:\\.') { 'is not an absolute path on a local drive' }
    # The argument of emongorestore is SOURCE,TARGET.
    elseif ($Path -cmatch '[\s,]') { 'has a blank or a comma, which emongorestore does not take' }
    elseif ($Path.IndexOfAny('<>"|?*'.ToCharArray()) -ge 0) { 'has a character that no folder has' }
    elseif ([IO.Path]::GetFullPath($Path) -cne $Path -or $Path[-1] -ceq '\') { 'is not written as Windows writes it' }
    elseif ([IO.File]::Exists($Path)) { 'is a file' }
    if ($problem) { throw (New-NodeFailure -Reason 'folder_invalid' -Message "$Path $problem") }
}

function Get-ExtractionMark {
    # The content of extraction.json; nothing if this collection did not extract to the folder.
    param([string] $Path)
    $mark = Join-Path -Path $Path -ChildPath 'extraction.json'
    if (-not [IO.File]::Exists($mark) -or (New-Object System.IO.FileInfo $mark).Length -gt $script:LongestMark) {
        return
    }
    # A file that cannot be read does not prove that the folder belongs to this collection.
    try { $read = ConvertFrom-Json -InputObject (Read-NodeText -Path $mark) }
    catch { return }
    $tool = if ($null -ne $read) { $read.PSObject.Properties['tool'] }
    if ($null -ne $tool -and $tool.Value -ceq $script:Tool) { $read }
}

function Assert-ExtractionTrust {
    # A link in the path is never accepted, even if the operator accepts foreign access lists.
    param([string] $Path, [switch] $AcceptAccess)
    foreach ($folder in @([IO.Path]::GetDirectoryName($Path), $Path)) {
        $isDrive = [IO.Path]::GetPathRoot($folder) -eq $folder
        Assert-FolderTrust -Path $folder -Itself:(-not $AcceptAccess -and -not $isDrive)
    }
}

function Assert-ExtractionOwned {
    # An empty folder comes from an extraction that ended before it could write extraction.json.
    param([string] $Path)
    if ($null -ne (Get-ExtractionMark -Path $Path)) { return }
    if (@([IO.Directory]::GetFileSystemEntries($Path)).Count -eq 0) { return }
    throw (New-NodeFailure -Reason 'folder_invalid' -Message (
            "$Path has files and no extraction.json, so this collection has not made it and does not empty it"))
}

function New-ExtractionFolder {
    <#
    .SYNOPSIS
    Creates the folder with a protected access list. Removes a folder that an earlier extraction has left; throws
    folder_invalid if anything else exists at the path. AcceptAccess: foreign access lists are accepted
    (alteryx_preflight_folder_trust).
    #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'the job has no check mode')]
    param(
        [Parameter(Mandatory = $true)][string] $Path,
        [Parameter(Mandatory = $true)][AllowEmptyString()][string] $RunId,
        [Parameter(Mandatory = $true)][string] $BaseName,
        [switch] $AcceptAccess
    )
    Assert-ExtractionPath -Path $Path
    Assert-ExtractionTrust -Path $Path -AcceptAccess:$AcceptAccess
    if ([IO.Directory]::Exists($Path)) {
        Assert-ExtractionOwned -Path $Path
        Remove-NodeFolder -Path $Path
    }
    try {
        New-ProtectedFolder -Path ([IO.Path]::GetDirectoryName($Path))
        New-ProtectedFolder -Path $Path
    }
    catch { throw (Get-WriteFailure -Path $Path -ErrorRecord $_) }
    # Another account may have created the folder in the meantime.
    Assert-ExtractionTrust -Path $Path -AcceptAccess:$AcceptAccess
    $mark = [ordered]@{
        schema = 1; tool = $script:Tool; run_id = $RunId; backup = $BaseName; begun = Get-UtcText
    }
    try {
        $text = (ConvertTo-NodeDocument -InputObject $mark) + "`n"
        Write-NodeText -Path (Join-Path -Path $Path -ChildPath 'extraction.json') -Text $text
    }
    catch {
        $failure = Get-WriteFailure -Path $Path -ErrorRecord $_
        try { Remove-NodeFolder -Path $Path } catch { Write-Verbose -Message "${Path}: $_" }
        throw $failure
    }
}

function Get-WriteFailure {
    param([string] $Path, $ErrorRecord)
    $why = $ErrorRecord.Exception.GetBaseException().Message
    New-NodeFailure -Reason 'folder_unwritable' -Message "$Path cannot be written: $why"
}

function Test-ExtractionFolder {
    <# .SYNOPSIS
    Does the folder exist? Throws folder_invalid if it was not extracted by this collection. #>
    param([Parameter(Mandatory = $true)][string] $Path)
    Assert-ExtractionPath -Path $Path
    if (-not [IO.Directory]::Exists($Path)) { return $false }
    Assert-FolderTrust -Path $Path
    Assert-ExtractionOwned -Path $Path
    $true
}

Export-ModuleMember -Function 'Assert-ExtractionPath', 'New-ExtractionFolder', 'Test-ExtractionFolder'

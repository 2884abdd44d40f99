# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#AnsibleRequires -CSharpUtil ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeDisk
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeFailure

# Folders as Windows has them: denied, read-only, linked, mounted. The work is done in NodeDisk.cs.

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

function Get-FolderSize {
    <#
    .SYNOPSIS
    The size of a folder as a hashtable: bytes (0 when it does not exist), skipped (a sentence for each of the first few
    folders that are denied or links, so that what is in them is not counted), skipped_count (how many there are).
    #>
    param([Parameter(Mandatory = $true)][string] $Path)
    $size = [AlteryxOps.NodeDisk]::Measure($Path)
    @{ bytes = $size.Bytes; skipped = $size.Skipped.ToArray(); skipped_count = $size.SkippedCount }
}

function Get-DumpSize {
    <#
    .SYNOPSIS
    Counts the content of a dump folder in one pass: a hashtable with bytes and collections (files with the ending .bson
    or .bson.gz).
    #>
    param([Parameter(Mandatory = $true)][string] $Path)
    $size = @{ bytes = [long]0; collections = 0 }
    foreach ($entry in [AlteryxOps.NodeDisk]::List($Path).Entries) {
        $size.bytes += $entry.Bytes
        if (-not $entry.IsFolder -and $entry.Path -match '\.bson(\.gz)?$') { $size.collections++ }
    }
    $size
}

function Get-FolderFile {
    <#
    .SYNOPSIS
    Every file below a folder as objects with path (relative, with /) and bytes, sorted by path. Paths may have any
    length; .NET Framework itself accepts long paths only in a program that enables them before it uses its first path.
    Throws if a folder cannot be listed.
    #>
    param([Parameter(Mandatory = $true)][string] $Path)
    $listing = [AlteryxOps.NodeDisk]::List($Path)
    if ($listing.Skipped.Count -gt 0) {
        throw (New-NodeFailure -Reason 'file_unreadable' -Message $listing.Skipped[0])
    }
    foreach ($each in $listing.Entries) {
        if (-not $each.IsFolder) { @{ path = $each.Path.Replace('\', '/'); bytes = $each.Bytes } }
    }
}

function Get-FreeByte {
    <#
    .SYNOPSIS
    Bytes that are free on the volume of a folder, or of its nearest parent that exists; -1 if Windows does not report
    it.
    #>
    param([Parameter(Mandatory = $true)][string] $Path)
    [AlteryxOps.NodeDisk]::FreeBytes($Path)
}

function Get-FolderVolume {
    <# .SYNOPSIS
    Where the volume of a folder is mounted: a drive, or a folder. #>
    param([Parameter(Mandatory = $true)][string] $Path)
    [AlteryxOps.NodeDisk]::Volume($Path)
}

function Open-SharedFile {
    <#
    .SYNOPSIS
    Opens a file for reading while other programs may write to it, and returns the stream. Retries for Seconds when
    another program keeps the file locked. Throws file_locked, file_unreadable or file_vanished.
    #>
    param([Parameter(Mandatory = $true)][string] $Path, [double] $Seconds = 5)
    [AlteryxOps.NodeDisk]::Open($Path, $Seconds)
}

function Assert-FolderWritable {
    <#
    .SYNOPSIS
    Writes a small file to a folder, flushes and deletes it. A folder that is absent is created for that and removed
    again. Throws folder_unwritable.
    #>
    param([Parameter(Mandatory = $true)][string] $Path)
    $trial = Join-Path -Path $Path -ChildPath ('.alteryx-trial-{0}.tmp' -f [Guid]::NewGuid().ToString('N'))
    $created = New-Object System.Collections.ArrayList
    try {
        for ($folder = $Path; $folder -and -not [IO.Directory]::Exists($folder);
            $folder = [IO.Path]::GetDirectoryName($folder)) {
            $null = $created.Add($folder)
        }
        $null = [IO.Directory]::CreateDirectory($Path)
        # The file that an interrupted trial has left.
        foreach ($left in [IO.Directory]::GetFiles($Path, '.alteryx-trial-*.tmp')) { [IO.File]::Delete($left) }
        $stream = New-Object System.IO.FileStream $trial, ([IO.FileMode]::CreateNew), ([IO.FileAccess]::Write)
        try {
            $stream.WriteByte(0)
            $stream.Flush($true)
        }
        finally { $stream.Dispose() }
        [IO.File]::Delete($trial)
    }
    catch {
        $account = [Security.Principal.WindowsIdentity]::GetCurrent().Name
        throw (New-NodeFailure -Reason 'folder_unwritable' -Message (
                "$account cannot write files in ${Path}: $($_.Exception.GetBaseException().Message)"))
    }
    finally {
        # Deletes the innermost folder first, and keeps a folder that another program has used in the meantime.
        foreach ($folder in $created) {
            try { if ([IO.Directory]::Exists($folder)) { [IO.Directory]::Delete($folder) } }
            catch { Write-Verbose -Message "${folder}: $_" }
        }
    }
}

function Remove-NodeFolder {
    <#
    .SYNOPSIS
    Removes a folder with everything in it, read-only or not; an absent one is fine. Links in it are removed, not
    followed. If something cannot be removed, the rest is removed, and this throws and names the first obstacle.
    #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'callers check')]
    param([Parameter(Mandatory = $true)][string] $Path)
    [AlteryxOps.NodeDisk]::Remove($Path)
}

function Test-SpaceBelow {
    <#
    .SYNOPSIS
    Does the volume of a folder have less free space than Bytes? Returns false if Windows does not report the free
    space. Never throws.
    #>
    param([Parameter(Mandatory = $true)][string] $Path, [Parameter(Mandatory = $true)][long] $Bytes)
    try {
        $free = Get-FreeByte -Path $Path
        $free -ge 0 -and $free -lt $Bytes
    }
    catch {
        Write-Verbose -Message "free space: $_"
        $false
    }
}

function Assert-RoomToRestore {
    <#
    .SYNOPSIS
    Throws space_short unless the drive of a data folder has room for a second data folder of that many bytes, and
    Reserve bytes beside it. The folder does not have to exist: Get-FreeByte looks at the nearest one that does.
    #>
    param(
        [Parameter(Mandatory = $true)][string] $DataFolder,
        [Parameter(Mandatory = $true)][long] $Bytes,
        [Parameter(Mandatory = $true)][long] $Reserve
    )
    # The second data folder is created beside the first one, so the volume of the parent counts.
    $parent = [IO.Path]::GetDirectoryName($DataFolder)
    if (-not $parent -or -not (Test-SpaceBelow -Path $parent -Bytes ($Bytes + $Reserve))) { return }
    throw (New-NodeFailure -Reason 'space_short' -Message (
            "The drive of $DataFolder has not $Bytes bytes for the restored database and $Reserve bytes that are to " +
            'stay free'))
}

Export-ModuleMember -Function @(
    'Get-FolderSize', 'Get-DumpSize', 'Get-FolderFile', 'Get-FreeByte', 'Get-FolderVolume', 'Open-SharedFile',
    'Remove-NodeFolder', 'Assert-FolderWritable', 'Test-SpaceBelow', 'Assert-RoomToRestore'
)

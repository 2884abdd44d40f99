# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#AnsibleRequires -CSharpUtil ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeDisk
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeRestore

# The restore job exchanges one path: it renames the old file or folder, and renames the new one to the path. The
# journal (NodeRestore.psm1) lists the path before that, so that undo_restore.ps1 can restore the old file or folder.

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

function New-RestoreEntry {
    <# .SYNOPSIS
    Makes the entry of a path for the journal, with the fingerprint of what is at the path now. #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'returns a hashtable')]
    param(
        [Parameter(Mandatory = $true)][string] $Path,
        [Parameter(Mandatory = $true)][string] $Away,
        [AllowEmptyString()][string] $New = ''
    )
    $existed = Test-RestorePath -Path $Path
    @{
        path = $Path; away = $Away; new = $New; existed = $existed
        fingerprint = $(if ($existed) { Get-RestoreFingerprint -Path $Path } else { '' })
    }
}

function Test-RestorePath {
    <# .SYNOPSIS
    Is there a file or a folder of that name? #>
    param([Parameter(Mandatory = $true)][string] $Path)
    [IO.File]::Exists($Path) -or [IO.Directory]::Exists($Path)
}

function Get-RestoreFingerprint {
    # undo_restore.ps1 computes the same value. It has its own code, because it must not depend on this module.
    param([string] $Path)
    if ([IO.File]::Exists($Path)) {
        try { return Get-FileSha256 -Path $Path } catch { return 'unreadable' }
    }
    try {
        $root = New-Object System.IO.DirectoryInfo $Path
        $list = New-Object 'System.Collections.Generic.List[string]'
        foreach ($file in $root.GetFiles('*', [IO.SearchOption]::AllDirectories)) {
            $list.Add(('{0} {1}' -f $file.FullName.Substring($root.FullName.Length), $file.Length))
        }
        $list.Sort([StringComparer]::Ordinal)
        Get-TextSha256 -Text ($list.ToArray() -join "`n")
    }
    catch { 'unreadable' }
}

function Get-RenameProblem {
    <#
    .SYNOPSIS
    Why a restore cannot exchange a data folder by renaming it, as a sentence without its subject; empty if it can.
    .DESCRIPTION
    The root of a drive has no name. Renaming a link leaves the data where they are, and puts the new folder on the
    drive of the link, which may have less room.
    #>
    param([Parameter(Mandatory = $true)][AllowEmptyString()][string] $Path)
    $folder = $Path.TrimEnd('\')
    if ($folder -cmatch '^[A-Za-z]:$') { return 'is the root of a drive' }
    if ($folder -and [IO.Directory]::Exists($folder) -and
        ([IO.File]::GetAttributes($folder) -band [IO.FileAttributes]::ReparsePoint)) {
        return 'is a link, a junction or a volume that is mounted in a folder'
    }
    ''
}

function Invoke-RestoreExchange {
    <#
    .SYNOPSIS
    Renames the old file or folder of an entry, and then the new one to the path of the entry, if the entry has a new
    one.
    #>
    param([Parameter(Mandatory = $true)] $Entry, [scriptblock] $OnTick = {})
    if ($Entry.existed) { Move-Surely -Path $Entry.path -Target $Entry.away -OnTick $OnTick }
    if ($Entry.new) { Move-Surely -Path $Entry.new -Target $Entry.path -OnTick $OnTick }
}

function Move-Surely {
    # The rename is on the disk when this returns. The commit may be on another drive, and after a power failure it must
    # not exist without this rename.
    param([string] $Path, [string] $Target, [scriptblock] $OnTick)
    Invoke-Patiently -Seconds 60 -OnTick $OnTick -Action { [AlteryxOps.NodeDisk]::MoveThrough($Path, $Target) } `
        -IsHopeless { Test-RestorePath -Path $Target }
}

function Copy-Permission {
    <#
    .SYNOPSIS
    Gives a new file or folder the permissions that a backup has recorded (Listed: a file of config_export with a line
    for each path: SDDL, a tab, the relative path). Without Listed, it gets the permissions of the file or folder that
    it replaces (From). Without both, it keeps the permissions that it has inherited. Best effort: returns a sentence
    about what could not be set; empty if everything was set.
    #>
    param(
        [Parameter(Mandatory = $true)][AllowEmptyString()][string] $From,
        [Parameter(Mandatory = $true)][AllowEmptyString()][string] $Listed,
        [Parameter(Mandatory = $true)][string] $Target
    )
    $wanted = New-Object System.Collections.ArrayList
    $sections = [Security.AccessControl.AccessControlSections]'Owner, Group, Access'
    try {
        if ($Listed -and [IO.File]::Exists($Listed)) {
            $lines = (Read-NodeText -Path $Listed).Split([char[]]@("`n"), [StringSplitOptions]::RemoveEmptyEntries)
            foreach ($line in $lines) {
                $sddl, $path = $line.TrimEnd("`r").Split([char[]]@("`t"), 2)
                if ($path -and $sddl -cmatch '^[OGDS]:') { $null = $wanted.Add(@($path, $sddl)) }
            }
        }
        elseif ($From) {
            $type = if ([IO.Directory]::Exists($From)) { 'DirectorySecurity' } else { 'FileSecurity' }
            $security = New-Object "System.Security.AccessControl.$type" $From, $sections
            $null = $wanted.Add(@('.', $security.GetSecurityDescriptorSddlForm($sections)))
        }
    }
    catch { return $_.Exception.GetBaseException().Message }
    $problem = ''
    foreach ($each in $wanted) {
        $path = if ($each[0] -eq '.') { $Target } else { Join-Path -Path $Target -ChildPath $each[0] }
        if (-not (Test-PathBelow -Path $path -Folder $Target) -or -not (Test-RestorePath -Path $path)) { continue }
        try { Set-PathPermission -Path $path -Sddl $each[1] }
        catch { $problem = "${path}: $($_.Exception.GetBaseException().Message)" }
    }
    $problem
}

function Set-PathPermission {
    # The access entries come first. They remain set if this account lacks the right to change the owner.
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'callers check')]
    param([string] $Path, [string] $Sddl)
    $isFolder = [IO.Directory]::Exists($Path)
    $item = if ($isFolder) { New-Object System.IO.DirectoryInfo $Path } else { New-Object System.IO.FileInfo $Path }
    $extensions = 'System.IO.FileSystemAclExtensions' -as [type]
    foreach ($section in 'Access', 'Owner, Group') {
        $type = if ($isFolder) { 'DirectorySecurity' } else { 'FileSecurity' }
        $security = New-Object "System.Security.AccessControl.$type"
        $security.SetSecurityDescriptorSddlForm($Sddl, [Security.AccessControl.AccessControlSections]$section)
        # .NET Framework has the method on the object itself, later .NET moved it to an extension class.
        if ($null -ne $extensions) { $extensions::SetAccessControl($item, $security) }
        else { $item.SetAccessControl($security) }
    }
}

function Suspend-StartAtBoot {
    <#
    .SYNOPSIS
    Prevents Windows from starting a service at boot while only some of its files are exchanged. undo_restore.ps1 sets
    the start type back when the server is whole. Only the registry is changed, because Windows reads the start type
    from there at boot.
    #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'the restore job acts on its own')]
    param([Parameter(Mandatory = $true)][string] $Service)
    $key = [Microsoft.Win32.Registry]::LocalMachine.OpenSubKey("SYSTEM\CurrentControlSet\Services\$Service", $true)
    try {
        $key.SetValue('Start', 3, [Microsoft.Win32.RegistryValueKind]::DWord)
        $key.Flush()
    }
    finally { $key.Dispose() }
}

function Get-BootStart {
    <# .SYNOPSIS
    How Windows starts a service: 2 at boot, 3 on demand, 4 never. #>
    param([Parameter(Mandatory = $true)][string] $Service)
    $key = [Microsoft.Win32.Registry]::LocalMachine.OpenSubKey("SYSTEM\CurrentControlSet\Services\$Service")
    try { [int]$key.GetValue('Start', 3) }
    finally { $key.Dispose() }
}

function Complete-Restore {
    <#
    .SYNOPSIS
    Commits the restore. After the commit no program undoes the restore; only an operator can roll it back. The commit
    is one rename, which is on the disk when this returns. The gate of undo_restore.ps1 prevents a commit during an
    undo.
    #>
    param([Parameter(Mandatory = $true)][string] $RunId)
    $target = Get-RecordPath -RunId $RunId -Word 'committed'
    $null = [IO.Directory]::CreateDirectory([IO.Path]::GetDirectoryName($target))
    $gate = Invoke-Patiently -Seconds 60 -Action {
        New-Object System.IO.FileStream "$(Get-JournalPath).gate", ([IO.FileMode]::OpenOrCreate),
        ([IO.FileAccess]::ReadWrite), ([IO.FileShare]::None)
    }
    try {
        Invoke-Patiently -Seconds 60 -Action { [AlteryxOps.NodeDisk]::MoveThrough((Get-JournalPath), $target) } `
            -IsHopeless { [IO.File]::Exists($target) -or -not [IO.File]::Exists((Get-JournalPath)) }
    }
    finally { $gate.Dispose() }
}

Export-ModuleMember -Function @(
    'New-RestoreEntry', 'Test-RestorePath', 'Get-RenameProblem', 'Invoke-RestoreExchange', 'Copy-Permission',
    'Get-BootStart', 'Suspend-StartAtBoot', 'Complete-Restore'
)

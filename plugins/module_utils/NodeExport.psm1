# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#AnsibleRequires -CSharpUtil ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeDisk
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeFailure
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeFiles

# Copies the critical files while their service runs. Another program may write to a file or lock it, and an access
# list may allow only SYSTEM to read it.

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

# Seconds to wait for one locked file, and for all locked files together.
$script:Patience = @{ file = 10.0; left = 60.0 }
$script:MayBeLeftOut = @('file_locked', 'file_unreadable', 'file_vanished')

function Export-CriticalItem {
    <#
    .SYNOPSIS
    Copies a file, or all files of a folder, below Target. An empty Target only checks that they can be read. Item holds
    id, source, archive_path and required. Returns a hashtable: id, source, present, files, bytes and left_out (path,
    reason and why of each file that is locked or denied). Throws instead when the item is required.
    #>
    param([Parameter(Mandatory = $true)] $Item, [AllowEmptyString()][string] $Target = '')
    # An access list may deny a file to administrators. With this privilege of backup programs they can read it
    # nevertheless.
    if (-not [AlteryxOps.NodeDisk]::EnableBackupPrivilege()) { Write-Verbose -Message 'no backup privilege' }
    $entry = @{ id = $Item.id; source = $Item.source; present = $true; files = 0; bytes = [long]0; left_out = @() }
    $leftOut = New-Object System.Collections.ArrayList
    $sources = @()
    try { $sources = @(Get-CriticalSource -Item $Item -LeftOut $leftOut) }
    catch { $null = $leftOut.Add((Skip-CriticalFile -Item $Item -Path $Item.source -ErrorRecord $_)) }
    $entry.present = $sources.Count -gt 0 -or $leftOut.Count -gt 0 -or (Get-DiskKind -Path $Item.source) -eq 'folder'
    foreach ($pair in $sources) {
        $copy = ''
        if ($Target) { $copy = Join-Path -Path $Target -ChildPath $pair.to }
        $watch = [Diagnostics.Stopwatch]::StartNew()
        try {
            $patience = [Math]::Min($script:Patience.file, $script:Patience.left)
            $entry.bytes += [AlteryxOps.NodeDisk]::Copy($pair.from, $copy, $patience)
            $entry.files++
        }
        catch {
            $script:Patience.left = [Math]::Max(0.0, $script:Patience.left - $watch.Elapsed.TotalSeconds)
            $null = $leftOut.Add((Skip-CriticalFile -Item $Item -Path $pair.from -ErrorRecord $_))
        }
    }
    $entry.left_out = $leftOut.ToArray()
    $entry
}

function Get-CriticalSource {
    # The files of an item, each with from and to (below the target). Folders that cannot be listed are added to
    # LeftOut.
    param($Item, [Collections.ArrayList] $LeftOut)
    $to = $Item.archive_path.Replace('/', '\')
    switch (Get-DiskKind -Path $Item.source) {
        'absent' {
            if ($Item.required) {
                $message = "The critical file $($Item.source) does not exist"
                throw (New-NodeFailure -Reason 'critical_file_missing' -Message $message)
            }
        }
        'file' { @{ from = $Item.source; to = $to } }
        'folder' {
            $listing = [AlteryxOps.NodeDisk]::List($Item.source)
            foreach ($skipped in $listing.Skipped) {
                if ($Item.required) { throw (New-NodeFailure -Reason 'file_unreadable' -Message $skipped) }
                $null = $LeftOut.Add(@{ path = $Item.source; reason = 'file_unreadable'; why = $skipped })
            }
            foreach ($each in $listing.Entries) {
                if ($each.IsFolder) { continue }
                @{ from = Join-Path -Path $Item.source -ChildPath $each.Path; to = "$to\$($each.Path)" }
            }
        }
    }
}

function Get-DiskKind {
    param([string] $Path)
    [AlteryxOps.NodeDisk]::Kind($Path)
}

function Skip-CriticalFile {
    # Returns the row of left_out for a file that may be left out. For any other file, throws the given error.
    param($Item, [string] $Path, [Management.Automation.ErrorRecord] $ErrorRecord)
    $failure = Get-NodeFailure -ErrorRecord $ErrorRecord
    if ($Item.required -or $script:MayBeLeftOut -cnotcontains $failure.reason) { throw $ErrorRecord }
    @{ path = $Path; reason = $failure.reason; why = $failure.message }
}

function Save-Permission {
    <#
    .SYNOPSIS
    Writes owner, group and access entries of a folder or file and of everything in it to Target (if it is not empty),
    one line each: SDDL, a tab, the relative path. Best effort; returns the number of permissions that could be read.
    #>
    param([Parameter(Mandatory = $true)][string] $Path, [AllowEmptyString()][string] $Target = '')
    try { $found = @(Get-Permission -Path $Path) }
    catch { return 0 }
    $lines = foreach ($each in $found) {
        "{0}`t{1}`n" -f $(if ($each.sddl) { $each.sddl } else { '(unreadable)' }), $each.path
    }
    if ($Target) {
        $null = [IO.Directory]::CreateDirectory([IO.Path]::GetDirectoryName($Target))
        Write-NodeText -Path $Target -Text (-join $lines)
    }
    @($found | Where-Object { $_.sddl }).Count
}

function Get-Permission {
    # The SDDL text of each, with the path relative to Path. The text is empty if it cannot be read.
    param([string] $Path)
    $sections = [Security.AccessControl.AccessControlSections]'Owner, Group, Access'
    $isFolder = (Get-DiskKind -Path $Path) -eq 'folder'
    $found = @(@{ path = '.'; full = $Path; folder = $isFolder })
    if ($isFolder) {
        foreach ($each in [AlteryxOps.NodeDisk]::List($Path).Entries) {
            $full = Join-Path -Path $Path -ChildPath $each.Path
            $found += @{ path = $each.Path; full = $full; folder = $each.IsFolder }
        }
    }
    foreach ($each in $found) {
        $sddl = ''
        try {
            $type = if ($each.folder) { 'DirectorySecurity' } else { 'FileSecurity' }
            $security = New-Object "System.Security.AccessControl.$type" $each.full, $sections
            $sddl = $security.GetSecurityDescriptorSddlForm($sections)
        }
        catch { $sddl = '' }
        @{ path = $each.path; sddl = $sddl }
    }
}

Export-ModuleMember -Function Export-CriticalItem, Save-Permission

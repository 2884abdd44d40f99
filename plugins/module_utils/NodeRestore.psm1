# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeLease

# The journal of a restore: what it exchanges, and whether it is complete.
#
#   <state>\restore.json              a restore that has not ended. run_id, verb (restore or roll_back), of (the run
#                                     that is rolled back), service, began, state (prepared: nothing was moved; begun),
#                                     entries
#   <state>\restores\RUN.committed.json   the same file, renamed: the new server is complete, and only a person goes back
#                   \RUN.undone.json      the same file, renamed: everything is as it was before
#                   \RUN.accepted.json    the old files were deleted
#
# An entry is one path whose file or folder is exchanged: path; away, where the old one goes; new, where the new one
# comes from (empty: it is made at the path itself); existed; fingerprint of the old one (undo_restore.ps1). All names
# of an entry are in one folder, so an exchange is two renames. The journal is written whole before the first rename,
# and undo_restore.ps1 looks at the disk to see how far it went.

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

function Get-JournalPath {
    <# .SYNOPSIS
    The journal of a restore that has not ended. #>
    Join-Path -Path (Get-StateFolder) -ChildPath 'restore.json'
}

function Get-RecordPath {
    # The record of a restore that has ended.
    param([string] $RunId, [string] $Word)
    Join-Path -Path (Get-StateFolder) -ChildPath "restores\$RunId.$Word.json"
}

function New-RestoreJournal {
    <# .SYNOPSIS
    The journal of a restore that has moved nothing yet. Throws restore_pending when another one has not ended. #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'callers check')]
    param(
        [Parameter(Mandatory = $true)][string] $RunId,
        [Parameter(Mandatory = $true)][string] $Service,
        [Parameter(Mandatory = $true)][string] $UndoScript
    )
    if ([IO.File]::Exists((Get-JournalPath))) {
        throw (New-NodeFailure -Reason 'restore_pending' -Message "$(Get-JournalPath) of a restore exists already")
    }
    New-ProtectedFolder -Path (Get-StateFolder)
    Write-RestoreJournal -Journal @{
        run_id = $RunId; verb = ''; of = ''; service = $Service; began = Get-UtcText; undo_script = $UndoScript
        state = 'prepared'; entries = @()
    }
}

function Write-RestoreJournal {
    <# .SYNOPSIS
    Writes the journal as a whole. #>
    param([Parameter(Mandatory = $true)][hashtable] $Journal)
    Write-NodeText -Path (Get-JournalPath) -Text (ConvertTo-NodeJson -InputObject $Journal)
}

function New-RestoreEntry {
    <# .SYNOPSIS
    The entry of a path in the journal, with what is there now. #>
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
    # As undo_restore.ps1 computes it, which must not depend on this module.
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

function Invoke-RestoreExchange {
    <#
    .SYNOPSIS
    Moves the old file or folder of an entry away, and the new one to its place where the entry names one.
    #>
    param([Parameter(Mandatory = $true)] $Entry, [scriptblock] $OnTick = {})
    if ($Entry.existed) { Move-NodeFile -Path $Entry.path -Target $Entry.away -Seconds 60 -OnTick $OnTick }
    if ($Entry.new) { Move-NodeFile -Path $Entry.new -Target $Entry.path -Seconds 60 -OnTick $OnTick }
}

function Copy-Permission {
    <#
    .SYNOPSIS
    Gives a new file or folder the permissions that a backup has recorded (Listed: a file of config_export, a line each:
    SDDL, a tab, the relative path), else those of the file or folder that it replaces (From). Without both it keeps
    what it has inherited. Best effort: returns what could not be set, as a sentence; empty when all is well.
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
            foreach ($line in (Read-NodeText -Path $Listed).Split([char[]]@("`n"), [StringSplitOptions]'RemoveEmptyEntries')) {
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
    # Access entries first: without the right to give a file to another owner, those still count.
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

function Complete-Restore {
    <#
    .SYNOPSIS
    Commits: from now on nobody undoes the restore by himself. One rename, which is on the disk when it returns.
    #>
    param([Parameter(Mandatory = $true)][string] $RunId)
    $target = Get-RecordPath -RunId $RunId -Word 'committed'
    $null = [IO.Directory]::CreateDirectory([IO.Path]::GetDirectoryName($target))
    Invoke-Patiently -Seconds 60 -Action { [AlteryxOps.NodeDisk]::MoveThrough((Get-JournalPath), $target) } `
        -IsHopeless { [IO.File]::Exists($target) }
}

function Get-RestoreRecord {
    <#
    .SYNOPSIS
    The restores of this node that a person has neither accepted nor rolled back, and those that were undone: objects
    with run_id, word (pending, committed, undone), verb, of and entries. A record that cannot be read has no entries
    and a problem.
    #>
    param()
    $files = @(if ([IO.File]::Exists((Get-JournalPath))) { Get-JournalPath })
    $folder = Join-Path -Path (Get-StateFolder) -ChildPath 'restores'
    if ([IO.Directory]::Exists($folder)) {
        foreach ($word in 'committed', 'undone') { $files += [IO.Directory]::GetFiles($folder, "*.$word.json") }
    }
    foreach ($file in $files) {
        $parts = [IO.Path]::GetFileName($file).Split('.')
        $record = @{
            run_id = ''; word = $(if ($parts.Count -eq 3) { $parts[1] } else { 'pending' }); verb = ''; of = ''
            service = ''; began = ''; entries = @(); problem = ''; path = $file
        }
        if ($parts.Count -eq 3) { $record.run_id = $parts[0] }
        try {
            $read = ConvertFrom-Json -InputObject (Read-NodeText -Path $file)
            foreach ($name in 'run_id', 'verb', 'of', 'service', 'began') { $record[$name] = [string]$read.$name }
            $record.entries = @($read.entries | Where-Object { $null -ne $_ })
        }
        catch { $record.problem = $_.Exception.GetBaseException().Message }
        $record
    }
}

function Resolve-Restore {
    <#
    .SYNOPSIS
    What must be known before a service is started: whether a restore has left the server half done. Undoes a restore
    that has not ended and whose job is not alive. Returns a hashtable: state ('' for no restore, committed, undone) and
    did. Throws restore_unproven when it is not certain what is on the disk. Run is the restore that the caller belongs
    to, if any. Trusted: a job, which was not started before somebody has looked at the state folder.
    #>
    param([string] $Run = '', [switch] $Trusted)
    $order = Get-RestoreOrder
    if (-not $order.run_id) {
        if ($Run -and [IO.File]::Exists((Get-RecordPath -RunId $Run -Word 'committed'))) {
            return @{ state = 'committed'; did = @() }
        }
        return @{ state = ''; did = @() }
    }
    # What somebody else may have written is not carried out.
    if (-not $Trusted) { Assert-FolderTrust -Path (Get-StateFolder) }
    if ($order.undo_script -and [IO.File]::Exists($order.undo_script) -and
        (Test-PathBelow -Path $order.undo_script -Folder (Get-CodeFolder))) {
        $script = [scriptblock]::Create([IO.File]::ReadAllText($order.undo_script))
        $verdict = & $script $order.run_id $order.service
    }
    else { $verdict = @{ state = 'unproven'; why = "the script $($order.undo_script) is missing"; did = @() } }
    if ($verdict.state -ne 'unproven') { return @{ state = [string]$verdict.state; did = @($verdict.did) } }
    throw (New-NodeFailure -Reason 'restore_unproven' -Detail @{ did = @($verdict.did) } -Message (
            "The restore $($order.run_id) of this node has not ended and cannot be undone: $($verdict.why)"))
}

function Get-RestoreOrder {
    # Which restore has not ended on this node: run_id, service, undo_script; empty for none. The lease says it, else
    # the arguments of its guard, else the journal.
    $order = @{ run_id = ''; service = ''; undo_script = '' }
    $lease = Read-NodeLease
    if ($null -ne $lease) {
        $script = Get-LeaseUndo -Lease $lease
        if ($script) {
            return @{ run_id = [string]$lease.run_id; service = [string]$lease.service; undo_script = $script }
        }
    }
    else {
        $guard = Get-GuardOrder
        if ($null -ne $guard -and $guard.undo_script) {
            return @{ run_id = $guard.restore_run; service = $guard.service; undo_script = $guard.undo_script }
        }
    }
    if (-not [IO.File]::Exists((Get-JournalPath))) { return $order }
    try {
        $journal = ConvertFrom-Json -InputObject (
            Invoke-Patiently -Seconds 10 -Action { Read-NodeText -Path (Get-JournalPath) } `
                -IsHopeless { -not [IO.File]::Exists((Get-JournalPath)) })
        @{
            run_id = [string]$journal.run_id; service = [string]$journal.service
            undo_script = [string]$journal.undo_script
        }
    }
    catch {
        throw (New-NodeFailure -Reason 'restore_unproven' -Message (
                "The journal $(Get-JournalPath) of a restore cannot be read: $($_.Exception.GetBaseException().Message)"))
    }
}

Export-ModuleMember -Function @(
    'Get-JournalPath', 'New-RestoreJournal', 'Write-RestoreJournal', 'New-RestoreEntry', 'Test-RestorePath', 'Invoke-RestoreExchange',
    'Copy-Permission', 'Complete-Restore', 'Get-RestoreRecord', 'Resolve-Restore'
)

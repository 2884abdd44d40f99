# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeLease

# The journal of a restore: what it exchanges, and whether it is complete.
#
#   <state>\restore.json              a restore that has not ended. run_id, verb (restore or roll_back), of (the run
#                                     that is rolled back), service, began, state (prepared: nothing was moved; begun),
#                                     boot_start (start type of the service; automatic is changed to manual until the
#                                     server is complete, so that Windows does not start an incomplete one at boot),
#                                     entries
#   <state>\restores\RUN.committed.json   the same file, renamed: the new server is complete, and only an operator
#                                         can roll the restore back
#                   \RUN.undone.json      the same file, renamed: everything is as it was before
#                   \RUN.accepted.json    the old files were deleted
#
# An entry is one path whose file or folder is exchanged: path; away, where the old one goes; new, where the new one
# comes from (empty: it is made at the path itself); existed; fingerprint of the old one (undo_restore.ps1). All names
# of an entry are in one folder, so an exchange is two renames. The complete journal is written before the first rename.
# undo_restore.ps1 reads from the disk which renames were done.

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

function Get-JournalPath {
    <# .SYNOPSIS
    The journal of a restore that has not ended. #>
    Join-Path -Path (Get-StateFolder) -ChildPath 'restore.json'
}

function Get-RecordFolder {
    <# .SYNOPSIS
    Where the records of restores that have ended are, and the audit lines of restores. #>
    Join-Path -Path (Get-StateFolder) -ChildPath 'restores'
}

function Get-RecordPath {
    <# .SYNOPSIS
    The record of a restore that has ended: Word is committed, undone or accepted. #>
    param([Parameter(Mandatory = $true)][string] $RunId, [Parameter(Mandatory = $true)][string] $Word)
    Join-Path -Path (Get-RecordFolder) -ChildPath "$RunId.$Word.json"
}

function New-RestoreJournal {
    <# .SYNOPSIS
    Makes the journal of a restore that has not renamed anything yet. Throws restore_pending if another restore has not
    ended. #>
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
    Writes the journal as a whole. It is on the disk under its name before anything is renamed. #>
    param([Parameter(Mandatory = $true)][hashtable] $Journal)
    Write-NodeText -Path (Get-JournalPath) -Text (ConvertTo-NodeJson -InputObject $Journal)
    Invoke-Patiently -Seconds 15 -Action {
        $stream = New-Object System.IO.FileStream (Get-JournalPath), ([IO.FileMode]::Open), ([IO.FileAccess]::ReadWrite)
        try { $stream.Flush($true) }
        finally { $stream.Dispose() }
    }
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
    $folder = Get-RecordFolder
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
    Finds out, before a service is started, whether a restore was interrupted. Undoes a restore that has not ended and
    whose job is not running. Returns a hashtable: state ('' for no restore, committed, undone) and did. Throws
    restore_unproven when it is not certain what is on the disk. Run is the restore that the caller belongs to, if any.
    Trusted: the caller is a job; the module that started the job has checked the state folder.
    #>
    param([string] $Run = '', [switch] $Trusted)
    $order = Get-RestoreOrder
    if (-not $order.run_id) {
        # The guard may have undone or completed the restore and removed itself.
        foreach ($word in @('committed', 'undone')) {
            if ($Run -and [IO.File]::Exists((Get-RecordPath -RunId $Run -Word $word))) {
                return @{ state = $word; did = @() }
            }
        }
        return @{ state = ''; did = @() }
    }
    # A script or journal that another account may have written must not be used.
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
    # Returns run_id, service and undo_script of the restore of this node that has not ended, or empty texts. The values
    # come from the lease, else from the arguments of the guard, else from the journal.
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
        $why = $_.Exception.GetBaseException().Message
        throw (New-NodeFailure -Reason 'restore_unproven' -Message (
                "The journal $(Get-JournalPath) of a restore cannot be read: $why"))
    }
}

Export-ModuleMember -Function @(
    'Get-JournalPath', 'Get-RecordFolder', 'Get-RecordPath', 'New-RestoreJournal', 'Write-RestoreJournal',
    'Get-RestoreRecord', 'Resolve-Restore'
)

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeJob
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeLock
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeRestore
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeSchedule
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeStaging

# Lists what this collection has put on a node, and the reasons why it must not be removed yet. Backups are not
# included: they are never removed.

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

# The endings of the files of a backup. One such file is enough, because the others may have been deleted.
$script:BackupFile = '\.(zip|manifest\.json|sha256|set\.json)$'
$script:PatienceSeconds = 5
# These two files prevent other runs while the rest of the state folder is removed. They are removed last.
$script:LockFiles = @('run.json', 'run.json.gate')

function Get-RemovalObstacle {
    <#
    .SYNOPSIS
    The reasons why nothing may be removed from this node, the most urgent first: hashtables with reason and message.
    Returns nothing if the removal is allowed. The lock of the run RunId itself is not an obstacle.
    #>
    param(
        [Parameter(Mandatory = $true)][string] $RunId,
        [Parameter(Mandatory = $true)][string] $StagingDirectory
    )
    $folders = @(Get-RunFolder -StagingDirectory $StagingDirectory)
    $untrusted = @(Get-TrustObstacle -RunFolder $folders -StagingDirectory $StagingDirectory)
    # A folder that another account may have changed must not be read, so no other obstacle is looked for.
    if ($untrusted.Count -gt 0) { return $untrusted }
    $lock = Read-RunLock
    if ($null -ne $lock -and $lock.fresh -and $lock.run_id -cne $RunId) {
        Get-Obstacle -Failure (New-LockFailure -Lock $lock)
    }
    # If the Task Scheduler does not answer, it may have a guard or a job, so its failure is an obstacle.
    try {
        Get-JobObstacle
        Get-LeaseObstacle
    }
    catch {
        $failure = Get-NodeFailure -ErrorRecord $_
        @{ reason = $failure.reason; message = $failure.message }
    }
    if (Test-NodeHold) {
        $file = Join-Path -Path (Get-StateFolder) -ChildPath 'HOLD'
        @{ reason = 'hold_present'; message = "The file $file exists" }
    }
    if (Read-ScheduleRecord) {
        $file = Join-Path -Path (Get-StateFolder) -ChildPath 'schedules.json'
        @{ reason = 'schedules_left'; message = "A run has left schedules paused; only $file names them" }
    }
    foreach ($record in @(Get-RestoreRecord)) { Get-RestoreObstacle -Record $record }
    foreach ($folder in $folders) {
        if (Test-DumpRecord -Staging $folder) {
            @{ reason = 'dump_left'; message = "$folder holds a dump that is not in a verified archive" }
        }
    }
    foreach ($folder in @((Get-StateFolder), (Get-CodeFolder))) { Get-BackupObstacle -Folder $folder }
}

function Get-Obstacle {
    param([Exception] $Failure)
    @{ reason = $Failure.Data['reason']; message = $Failure.Message }
}

function Get-StagingRoot {
    # The staging directory in use, and the default one, which an earlier run may have used.
    param([string] $StagingDirectory)
    $default = Join-Path -Path (Get-StateFolder) -ChildPath 'staging'
    $default
    if ($StagingDirectory.TrimEnd('\') -ne $default) { $StagingDirectory }
}

function Get-RunFolder {
    # The folders of runs in the staging directories. A link is not followed, and counts as an obstacle.
    param([string] $StagingDirectory)
    foreach ($root in @(Get-StagingRoot -StagingDirectory $StagingDirectory)) {
        if (-not (Get-FolderLink -Path $root)) { Get-StaleStaging -Root $root -RunId '' }
    }
}

function Get-TrustObstacle {
    # Every folder that would be read or removed and that another account may have changed.
    param([AllowEmptyCollection()][string[]] $RunFolder, [string] $StagingDirectory)
    $state = Get-StateFolder
    $folders = @($state, (Join-Path -Path $state -ChildPath 'jobs'), (Get-CodeFolder))
    $folders += @(Get-StagingRoot -StagingDirectory $StagingDirectory)
    $seen = @()
    foreach ($folder in $folders + $RunFolder) {
        try { Assert-FolderTrust -Path $folder -Itself:($RunFolder -contains $folder) }
        catch {
            $failure = Get-NodeFailure -ErrorRecord $_
            if ($seen -ccontains $failure.message) { continue }
            $seen += $failure.message
            @{ reason = $failure.reason; message = $failure.message }
        }
    }
}

function Get-JobObstacle {
    # Jobs that are running, and jobs whose task is registered but has not begun.
    $tasks = @(Get-OwnTask)
    foreach ($job in @(Get-NodeJob)) {
        if ($job.alive) {
            $message = 'The job {0} of the run {1} is active on this node ({2}, process {3})'
            @{
                reason = 'foreign_job_alive'
                message = $message -f $job.job, $job.run_id, $job.phase, $job.process_id
            }
        }
        elseif (-not $job.job -and $tasks -contains "\AlteryxOps\$($job.id)") {
            @{ reason = 'foreign_job_alive'; message = "The job $($job.id) is registered and has not begun" }
        }
    }
}

function Get-LeaseObstacle {
    if (-not (Test-LeaseRemains)) { return }
    $lease = Read-NodeLease
    $message = if ($null -eq $lease) { 'A guard is registered on this node, or its lease cannot be read' }
    else {
        'The run {0} has left its lease: {1} was {2} before, and the guard restores that until {3}' -f
        $lease.run_id, $lease.service, $lease.prior_state, $lease.deadline
    }
    @{ reason = 'lease_left'; message = $message }
}

function Get-RestoreObstacle {
    # A restore that has not ended, or that is neither accepted nor rolled back. Only its record names the old files, so
    # without the record the restore could not be undone or rolled back, and the old files could not be deleted.
    param($Record)
    if ($Record.word -eq 'pending') {
        @{ reason = 'restore_unfinished'; message = "A restore has not ended; $($Record.path) is needed to undo it" }
    }
    elseif ($Record.word -eq 'committed') {
        $message = "The restore $($Record.run_id) is neither accepted nor rolled back; " +
        "only $($Record.path) tells what it has kept"
        @{ reason = 'restore_pending'; message = $message }
    }
}

function Get-BackupObstacle {
    # A backup in a folder that will be removed, because the archive directory is inside that folder.
    param([string] $Folder)
    if (-not [IO.Directory]::Exists($Folder)) { return }
    foreach ($entry in [AlteryxOps.NodeDisk]::List($Folder).Entries) {
        if ($entry.IsFolder -or $entry.Path -notmatch $script:BackupFile) { continue }
        if (Test-UnfinishedFile -Path $entry.Path) { continue }
        @{ reason = 'backup_inside'; message = "A backup is in $Folder, for example $($entry.Path)" }
        return
    }
}

function Test-UnfinishedFile {
    # Is the file in the folder of a job or of a run? Such a file does not belong to a complete backup. Path: relative.
    param([string] $Path)
    $names = $Path.Split('\')
    # The last name is that of the file.
    for ($index = 0; $index -lt $names.Length - 1; $index++) {
        if (($index -eq 0 -and $names[0] -eq 'jobs') -or (Test-RunId -Text $names[$index])) { return $true }
    }
    $false
}

function Get-RemovalPlan {
    <#
    .SYNOPSIS
    What will be removed, in this order, and what stays: a hashtable with parts (hashtables: kind, path, what) and kept
    (sentences).
    #>
    param([Parameter(Mandatory = $true)][string] $StagingDirectory)
    $parts = New-Object System.Collections.ArrayList
    $kept = New-Object System.Collections.ArrayList
    foreach ($task in @(Get-OwnTask)) {
        $null = $parts.Add(@{ kind = 'task'; path = $task; what = "the scheduled task $task" })
    }
    if (Test-WholeKey -Key 'EventSource') {
        $null = $parts.Add(@{ kind = 'event_source'; path = ''; what = 'the event source AlteryxOps' })
    }
    $code, $state = (Get-CodeFolder), (Get-StateFolder)
    if ([IO.Directory]::Exists($code)) {
        $null = $parts.Add(@{ kind = 'folder'; path = $code; what = "the code folder $code" })
    }
    if (-not (Test-PathBelow -Path $StagingDirectory -Folder $state)) {
        foreach ($folder in @(Get-StaleStaging -Root $StagingDirectory -RunId '')) {
            $null = $parts.Add(@{ kind = 'folder'; path = $folder; what = "the staging folder $folder" })
        }
        $why = Get-StagingClaim -Path $StagingDirectory
        if ($why) { $null = $kept.Add("the staging directory $StagingDirectory stays: $why") }
        elseif ([IO.Directory]::Exists($StagingDirectory)) {
            $what = "the staging directory $StagingDirectory"
            $null = $parts.Add(@{ kind = 'empty_folder'; path = $StagingDirectory; what = $what })
        }
    }
    if ([IO.Directory]::Exists($state)) {
        $null = $parts.Add(@{ kind = 'state'; path = $state; what = "the state folder $state" })
    }
    if (Test-WholeKey -Key 'Own') {
        $null = $parts.Add(@{ kind = 'key'; path = ''; what = 'the registry key HKLM\SOFTWARE\AlteryxOps' })
    }
    @{ parts = $parts.ToArray(); kept = $kept.ToArray() }
}

function Get-StagingClaim {
    # Why the staging directory must stay after the folders of runs in it were removed; empty if it can be removed.
    param([string] $Path)
    if (-not [IO.Directory]::Exists($Path)) { return '' }
    if ([IO.Path]::GetPathRoot($Path) -eq $Path) { return 'it is a drive' }
    $ours = @(Get-StaleStaging -Root $Path -RunId '')
    $others = @([IO.Directory]::GetFileSystemEntries($Path) | Where-Object { $ours -notcontains $_ })
    if ($others.Count -gt 0) {
        $first = [IO.Path]::GetFileName($others[0])
        return 'it holds other files or folders ({0}), for example {1}' -f $others.Count, $first
    }
    # A protected access list shows that New-ProtectedFolder created the folder: it does not change the access list of
    # an existing folder.
    try { Assert-FolderTrust -Path $Path -Itself }
    catch { return "this collection did not create it: $((Get-NodeFailure -ErrorRecord $_).message)" }
    ''
}

function Remove-RemovalPart {
    <#
    .SYNOPSIS
    Removes one part of Get-RemovalPlan; an absent part is fine. RunId is that of the run that has locked the node.
    #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'callers check')]
    param([Parameter(Mandatory = $true)][hashtable] $Part, [Parameter(Mandatory = $true)][string] $RunId)
    switch ($Part.kind) {
        'task' { Remove-NodeTask -Name $Part.path }
        'event_source' { Remove-WholeKey -Key 'EventSource' }
        'folder' { Remove-NodeFolder -Path $Part.path }
        'empty_folder' { Remove-EmptyFolder -Path $Part.path }
        'state' { Remove-StateFolder -RunId $RunId }
        'key' { Remove-WholeKey -Key 'Own' }
    }
}

function Remove-EmptyFolder {
    # Fails if something was put into the folder after the plan was made. Tries again, because a deleted file stays in
    # its folder as long as a virus scanner has it open.
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'callers check')]
    param([string] $Path)
    Invoke-Patiently -Seconds $script:PatienceSeconds -Action {
        if ([IO.Directory]::Exists($Path)) { [IO.Directory]::Delete($Path, $false) }
    }
}

function Remove-StateFolder {
    # The lock is removed last, so that no other run begins before everything is removed. The registry key is removed
    # directly before it, because the lock is fresh only while the key holds the identity of the boot.
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'callers check')]
    param([string] $RunId)
    $state = Get-StateFolder
    $problem = $null
    foreach ($path in [IO.Directory]::GetFileSystemEntries($state)) {
        if ($script:LockFiles -contains [IO.Path]::GetFileName($path)) { continue }
        try { Remove-Entry -Path $path }
        catch { if ($null -eq $problem) { $problem = $_ } }
    }
    if ($null -ne $problem) { throw $problem }
    Remove-WholeKey -Key 'Own'
    $null = Remove-RunLock -RunId $RunId
    Remove-NodeFile -Path (Join-Path -Path $state -ChildPath 'run.json.gate')
    Remove-EmptyFolder -Path $state
}

function Remove-Entry {
    # Removes a file, a folder with its content, or a link, which is not followed.
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'callers check')]
    param([string] $Path)
    $attributes = [IO.File]::GetAttributes($Path)
    $isFolder = $attributes -band [IO.FileAttributes]::Directory
    if ($isFolder -and -not ($attributes -band [IO.FileAttributes]::ReparsePoint)) { Remove-NodeFolder -Path $Path }
    elseif ($isFolder) { [IO.Directory]::Delete($Path, $false) }
    else {
        # A file that is read-only cannot be deleted.
        [IO.File]::SetAttributes($Path, [IO.FileAttributes]::Normal)
        Remove-NodeFile -Path $Path
    }
}

function Get-BackupSum {
    <#
    .SYNOPSIS
    The archives in the folder of a node, which are not removed: a hashtable with folder, archives (how many) and bytes.
    #>
    param([Parameter(Mandatory = $true)][string] $Folder)
    $answer = @{ folder = $Folder; archives = 0; bytes = [long]0 }
    if ([IO.Directory]::Exists($Folder)) {
        foreach ($file in (New-Object System.IO.DirectoryInfo $Folder).EnumerateFiles()) {
            if ($file.Extension -ne '.zip') { continue }
            $answer.archives++
            $answer.bytes += $file.Length
        }
    }
    $answer
}

Export-ModuleMember -Function Get-RemovalObstacle, Get-RemovalPlan, Remove-RemovalPart, Get-BackupSum

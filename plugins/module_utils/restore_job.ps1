# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The restore of one node: stop the service, exchange files and database, prove the database, commit, start. Also rolls
# back a restore that is complete. If this job fails before the commit, it runs undo_restore.ps1, as everything that
# starts the service does, and then starts the service if it was running before. After the commit it only starts the
# service.

param([Parameter(Mandatory = $true)] $Spec)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

Import-NodeType -Name 'MongoClient'

$lease = Assert-NodeLease -RunId $Spec.run_id -Service $Spec.service_name
$wasRunning = $lease.prior_state -eq 'Running'
$binFolder = [IO.Path]::GetDirectoryName($Spec.executable)
$mark = @{}
# When the next check, and the next request to stop, are due, in seconds of jobWatch.
$memory = @{ look = 0.0; stop = 0.0 }
$leaseSeen = @{ at = Get-MonotonicSecond }
$states = New-Object System.Collections.ArrayList
# The copies beside their targets, made before the stop. They are removed if the restore fails.
$staged = New-Object System.Collections.ArrayList
$counts = @{ documents = [long]0; collections = 0; remarks = @(); output = '' }
$failure = $null
$startError = 0
$startProblem = ''
$verdict = @{ state = ''; did = @() }
$database = $Spec.database
$ownNames = @('AlteryxService.exe', 'AlteryxService_MongoController.exe', 'AlteryxEngineCmd.exe', 'mongod.exe')

function Write-Mark {
    param([string] $Name)
    $mark[$Name] = $jobWatch.Elapsed.TotalSeconds
}

function Assert-Wanted {
    # Called at least once a second until the commit. Throws if the restore must not continue.
    Assert-JobWanted
    $seconds = $jobWatch.Elapsed.TotalSeconds
    if ($seconds -lt $memory.look) { return }
    $memory.look = $seconds + 1
    Write-Beat
    if ((Get-BeatAge) -gt [double]$lease.heartbeat_stale) {
        throw (New-NodeFailure -Reason 'lease_lost' -Message (
                "The heartbeat could not be written for $($lease.heartbeat_stale) s, so the guard acts"))
    }
    if (Test-LeaseLost -Lease $lease -Seen $leaseSeen) {
        throw (New-NodeFailure -Reason 'lease_lost' -Message (
                'The lease changed during the restore: the guard has taken over'))
    }
    if ($mark.ContainsKey('stop_requested') -and $seconds - $mark.stop_requested -gt $Spec.max_downtime) {
        throw (New-NodeFailure -Reason 'downtime_limit' -Message (
                "The service was down for more than $($Spec.max_downtime) s, so the restore was ended"))
    }
}

function Assert-Room {
    if (-not (Test-SpaceBelow -Path ([IO.Path]::GetDirectoryName($database.data_folder)) -Bytes $Spec.space_reserve)) {
        return
    }
    throw (New-NodeFailure -Reason 'space_reserve' -Message (
            "Less than $($Spec.space_reserve) bytes are free on the drive of $($database.data_folder), " +
            'so the restore was ended'))
}

function New-Journal {
    # Makes the journal of this job, in which no file is renamed yet.
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'returns a hashtable')]
    param([object[]] $Entries)
    @{
        run_id = $Spec.run_id; verb = $Spec.verb; of = $Spec.of; who = $Spec.who; service = $Spec.service_name
        began = Get-UtcText; undo_script = Get-LeaseUndo -Lease $lease; state = 'prepared'; entries = $Entries
        boot_start = Get-BootStart -Service $Spec.service_name
    }
}

function Get-CopyPath { param($Item) '{0}.new_{1}' -f $Item.path, $Spec.run_id }

function Copy-NewFile {
    # Copies a file or folder of the backup beside its target, so that the exchange is a rename. It gets the access list
    # of the file or folder that it replaces. If that does not exist, it gets the access list in the backup (Keys.sddl),
    # or else it inherits that of its parent folder.
    param($Item)
    $new = Get-CopyPath -Item $Item
    if (Test-RestorePath -Path $new) { throw "$new exists already" }
    $null = $staged.Add($new)
    $null = [IO.Directory]::CreateDirectory([IO.Path]::GetDirectoryName($new))
    if ([IO.Directory]::Exists($Item.source)) { Copy-NewFolder -Source $Item.source -Target $new }
    else { Copy-FileThrough -Source $Item.source -Target $new }
    $from = if (Test-RestorePath -Path $Item.path) { $Item.path } else { '' }
    $problem = Copy-Permission -From $from -Listed $Item.permissions -Target $new
    if ($problem) {
        $counts.remarks += "The permissions of $($Item.path) could not be set: $problem"
        Write-JobLog -Level 'WARNING' -Text $counts.remarks[-1]
    }
    $new
}

function Copy-NewFolder {
    param([string] $Source, [string] $Target)
    $null = [IO.Directory]::CreateDirectory($Target)
    foreach ($folder in [IO.Directory]::GetDirectories($Source)) {
        Copy-NewFolder -Source $folder -Target (Join-Path -Path $Target -ChildPath ([IO.Path]::GetFileName($folder)))
    }
    foreach ($file in [IO.Directory]::GetFiles($Source)) {
        Copy-FileThrough -Source $file -Target (Join-Path -Path $Target -ChildPath ([IO.Path]::GetFileName($file)))
    }
}

function Copy-FileThrough {
    # Copies a file. The copy is on the disk when this returns.
    param([string] $Source, [string] $Target)
    Assert-Wanted
    $from = [IO.File]::OpenRead($Source)
    try {
        $to = New-Object System.IO.FileStream $Target, ([IO.FileMode]::CreateNew), ([IO.FileAccess]::Write)
        try {
            $from.CopyTo($to, 65536)
            $to.Flush($true)
        }
        finally { $to.Dispose() }
    }
    finally { $from.Dispose() }
    [IO.File]::SetLastWriteTimeUtc($Target, [IO.File]::GetLastWriteTimeUtc($Source))
}

function Get-Entry {
    # The entries of the journal, in the order of the exchange: files first, because emongorestore reads settings and
    # keys of the Server.
    $entries = New-Object System.Collections.ArrayList
    foreach ($item in @($Spec.files)) {
        $null = $entries.Add((New-RestoreEntry -Path $item.path -Away $item.away -New $item.new))
    }
    if ($null -ne $database) {
        $null = $entries.Add((New-RestoreEntry -Path $database.data_folder -Away $database.away -New $database.new))
    }
    foreach ($entry in $entries) {
        if (-not (Test-RestorePath -Path $entry.away)) { continue }
        throw (New-NodeFailure -Reason 'restore_pending' -Message "$($entry.away) of an earlier restore is in the way")
    }
    $entries.ToArray()
}

function Wait-Leftover {
    # A large mongod needs minutes to write its data to the disk, and Windows reports Stopped before that.
    $limit = $jobWatch.Elapsed.TotalSeconds + $Spec.leftover_timeout
    while ($true) {
        $left = @(Get-AlteryxProcess -BinFolder $binFolder -Name $ownNames -Surely)
        if ($left.Count -eq 0) { return }
        if ($jobWatch.Elapsed.TotalSeconds -ge $limit) {
            $names = ($left | ForEach-Object { '{0} ({1})' -f $_.name, $_.process_id }) -join ', '
            throw (New-NodeFailure -Reason 'processes_left' -Message (
                    "$($Spec.service_name) is Stopped but these processes of the installation still run: $names"))
        }
        Assert-Wanted
        Write-JobStatus -Message ('waiting for the end of {0} ({1})' -f $left[0].name, $left[0].process_id)
        Start-Sleep -Milliseconds 200
    }
}

function Stop-AlteryxService {
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'the job acts on its own')]
    param()
    Write-JobStatus -Phase 'stop'
    $waiting = 'waiting for Stopped'
    $state = Get-ServiceStatus -Name $Spec.service_name
    if ($state -ne 'Stopped') {
        Write-JobLog -Text "stopping $($Spec.service_name)"
        Request-ServiceStop -Name $Spec.service_name
    }
    $hangs = @('StartPending', 'StopPending') -contains $state
    if ($hangs) {
        $process = [AlteryxOps.ProcessTable]::GetServiceProcess($Spec.service_name)
        $waiting = "waiting for Stopped: $($Spec.service_name) is $state. If it hangs, end its process $process on " +
        'the node, for example in Task Manager. The restore then continues'
        Write-JobLog -Level 'WARNING' -Text $waiting
    }
    $wait = Wait-ServiceState -Name $Spec.service_name -State 'Stopped' -TimeoutSeconds $Spec.stop_timeout -OnTick {
        Assert-Wanted
        # One that was starting may accept a stop by now.
        if ($hangs -and $jobWatch.Elapsed.TotalSeconds -ge $memory.stop) {
            $memory.stop = $jobWatch.Elapsed.TotalSeconds + 2
            Request-ServiceStop -Name $Spec.service_name
        }
        Write-JobStatus -Message $waiting
    }
    $states.AddRange([object[]]@($wait.states))
    if (-not $wait.reached) {
        throw (New-NodeFailure -Reason 'stop_timeout' -Message (
                '{0} was not Stopped within {1} s (last state {2})' -f
                $Spec.service_name, $Spec.stop_timeout, $wait.states[-1].state))
    }
    Write-Mark -Name 'stopped'
    Write-JobLog -Text "$($Spec.service_name) is Stopped"
}

function Get-ReasonToEnd {
    # Called while emongorestore runs: returns the reason to end it, or empty to continue.
    try {
        if (@('Stopped', 'Unknown') -notcontains (Get-ServiceStatus -Name $Spec.service_name)) {
            throw (New-NodeFailure -Reason 'service_moved' -Message (
                    "$($Spec.service_name) was started during the restore by another program or a person"))
        }
        # Listing the restored folder takes some time, so the other checks run once a second.
        if ($jobWatch.Elapsed.TotalSeconds -lt $memory.look) {
            Assert-JobWanted
            return ''
        }
        Assert-Wanted
        Assert-Room
        $size = Get-FolderSize -Path $database.target
        Write-JobStatus -DoneBytes $size.Bytes -TotalBytes 0
        ''
    }
    catch {
        $ended.failure = Get-NodeFailure -ErrorRecord $_
        $ended.failure.reason
    }
}

function Invoke-DatabaseRestore {
    # Runs emongorestore into an empty folder. Its exit code and its output can show a failure, but they do not prove a
    # success.
    $argument = 'emongorestore={0},{1}' -f $database.source, $database.target
    if ($database.batch_size -gt 0) { $argument += ",$($database.batch_size)" }
    Write-JobStatus -Phase 'restore'
    Write-JobLog -Text "AlteryxService.exe $argument"
    $ended = @{ failure = $null }
    $run = Invoke-NativeProcess -FileName $Spec.executable -RawArguments $argument -Utf8 `
        -TimeoutSeconds $database.timeout -TickSeconds 0.25 `
        -OnStart { Register-Tool -Process $args[0] } -OnTick { Get-ReasonToEnd }
    $output = Hide-Secret -Text ($run.stdout + "`n" + $run.stderr + "`n" + (Read-RestoreLog))
    $counts.output = $output
    Write-JobLog -Text "emongorestore has ended, exit code $($run.exit_code)"
    if ($null -ne $ended.failure) {
        throw (New-NodeFailure -Reason $ended.failure.reason -Message $ended.failure.message)
    }
    if ($run.timed_out) {
        throw (New-NodeFailure -Reason 'restore_failed' -Message (
                "emongorestore was ended because it was not done within $($database.timeout) s"))
    }
    $words = Find-FailureWord -Text $output
    if ($words) {
        throw (New-NodeFailure -Reason 'restore_failed' -Message "emongorestore reported a failure: $words")
    }
    Wait-Leftover
}

function Read-RestoreLog {
    # Reads mongoRestore.log from the places where versions of the Server write it. Best effort.
    $text = ''
    foreach ($folder in @([IO.Path]::GetDirectoryName($database.source), $database.source, $database.target)) {
        $path = Join-Path -Path $folder -ChildPath 'mongoRestore.log'
        try { if ([IO.File]::Exists($path)) { $text += (Read-NodeText -Path $path) + "`n" } }
        catch { Write-JobLog -Level 'DEBUG' -Text "${path}: $(Get-InnerText -ErrorRecord $_)" }
    }
    $text
}

function Find-FailureWord {
    # Returns the first line that reports a failure, or an empty text. The last line of mongorestore contains the word
    # failed also after a success.
    param([string] $Text)
    foreach ($line in $Text.Split("`n")) {
        $rest = [regex]::Replace($line, '\b0 document\(s\) failed to restore\b', '')
        if ($rest -match '(?i)\b(failed|failure|error|fatal|critical|panic)\b') {
            return $line.Trim().Substring(0, [Math]::Min(300, $line.Trim().Length))
        }
    }
    ''
}

function Assert-Database {
    # Verifies the restored folder: a mongod of the installation opens it and counts every collection.
    Write-JobStatus -Phase 'prove'
    if (-not [IO.File]::Exists((Join-Path -Path $database.target -ChildPath 'WiredTiger'))) {
        throw (New-NodeFailure -Reason 'restore_failed' -Message (
                "emongorestore has left no database in $($database.target): there is no file WiredTiger"))
    }
    $expected = @{}
    $read = ConvertFrom-Json -InputObject (Read-NodeText -Path $database.counts)
    foreach ($each in @($read.collections)) { $expected[[string]$each.namespace] = [long]$each.documents }
    $names = @($expected.Keys | ForEach-Object { $_.Split([char[]]@('.'), 2)[0] } | Sort-Object -Unique)
    $found = Invoke-ScratchMongod -Program (Join-Path -Path $binFolder -ChildPath 'mongod.exe') `
        -Folder $database.target -Staging $Spec.work_folder -OnTick { Assert-Wanted } -Action {
        param($Client)
        Get-DocumentCount -Client $Client -Database $names
    }
    $differences = @(Compare-DocumentCount -Expected $expected -Found $found)
    if ($differences.Count) {
        throw (New-NodeFailure -Reason 'restore_failed' -Message (
                "The restored database differs from the backup: $($differences -join '; ')"))
    }
    $counts.collections = $expected.Count
    foreach ($each in $expected.Values) { $counts.documents += $each }
    Write-JobLog -Text "$($counts.documents) documents in $($counts.collections) collections, as in the backup"
}

function Restore-Database {
    param($Entry)
    Write-Mark -Name 'database_began'
    if (-not $Entry.new) {
        Invoke-RestoreExchange -Entry $Entry -OnTick { Assert-Wanted }
        Write-JobLog -Text "$($Entry.path) is now $($Entry.away)"
    }
    $null = [IO.Directory]::CreateDirectory($database.target)
    $from = if ($Entry.new) { $Entry.path } else { $Entry.away }
    if (-not (Test-RestorePath -Path $from)) { $from = '' }
    $problem = Copy-Permission -From $from -Listed '' -Target $database.target
    if ($problem) { Write-JobLog -Level 'WARNING' -Text "the permissions of $($database.target): $problem" }
    Invoke-DatabaseRestore
    Assert-Database
    # emongorestore does not accept a path with a blank or a comma, so the folder is restored under another name first.
    if ($Entry.new) { Invoke-RestoreExchange -Entry $Entry -OnTick { Assert-Wanted } }
    Write-Mark -Name 'database_ended'
}

function Remove-Staged {
    # Removes copies of the backup that were not renamed to their targets.
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'the job acts on its own')]
    param()
    foreach ($path in $staged) {
        try {
            if ([IO.Directory]::Exists($path)) { Remove-NodeFolder -Path $path }
            else { Remove-NodeFile -Path $path }
        }
        catch { Write-JobLog -Level 'WARNING' -Text "$path stays: $(Get-InnerText -ErrorRecord $_)" }
    }
}

$isCommitted = $false
try {
    Write-FirstBeat
    Write-JobStatus -Phase 'copy'
    if ($null -ne $database) {
        # The plan has looked at the folder of the settings only, and the folder may come from the backup.
        $problem = Get-RenameProblem -Path $database.data_folder
        if ($problem) {
            $text = "the data folder $($database.data_folder) $problem"
            throw (New-NodeFailure -Reason 'restore_folder_fixed' -Message $text)
        }
        Assert-RoomToRestore -DataFolder $database.data_folder -Bytes $database.bytes -Reserve $Spec.space_reserve
    }
    if ($Spec.verb -eq 'restore') {
        # The journal is written before the first copy. If this job dies, accept_restore.yml deletes the files that the
        # journal names.
        Write-RestoreJournal -Journal (New-Journal -Entries @($Spec.files | ForEach-Object {
                    $new = Get-CopyPath -Item $_
                    @{ path = $_.path; away = $_.away; new = $new; existed = $false; fingerprint = '' }
                }))
        foreach ($item in @($Spec.files)) { $item.new = Copy-NewFile -Item $item }
    }
    $what = if ($Spec.verb -eq 'restore') { 'restore' } else { 'rollback' }
    Write-NodeNotice -Lease $lease -Work $what
    Write-Mark -Name 'stop_requested'
    Stop-AlteryxService
    Wait-Leftover
    $entries = @(Get-Entry)
    $journal = New-Journal -Entries $entries
    Assert-Wanted
    # In this order, the journal lists every change before it is made, so that an interruption at any moment can be
    # undone.
    Write-RestoreJournal -Journal $journal
    if ($journal.boot_start -eq 2) { Suspend-StartAtBoot -Service $Spec.service_name }
    $journal.state = 'begun'
    Write-RestoreJournal -Journal $journal
    Write-JobStatus -Phase 'exchange'
    foreach ($entry in $entries) {
        if ($null -ne $database -and $entry.path -ceq $database.data_folder) { Restore-Database -Entry $entry }
        else {
            Invoke-RestoreExchange -Entry $entry -OnTick { Assert-Wanted }
            Write-JobLog -Text "$(if ($Spec.verb -eq 'restore') { 'restored' } else { 'put back' }) $($entry.path)"
        }
    }
    Assert-Wanted
    if (Test-LeaseLost -Lease $lease -Seen $leaseSeen) {
        throw (New-NodeFailure -Reason 'lease_lost' -Message 'The guard has taken over before the commit')
    }
    Complete-Restore -RunId $Spec.run_id
    $isCommitted = $true
    Write-Mark -Name 'committed'
    Write-JobLog -Text "the $what is complete on this node"
}
catch { $failure = Get-NodeFailure -ErrorRecord $_ }
finally {
    # No process that this job has started may run when files are put back or the service starts.
    try { Stop-RegisteredTool -Service $Spec.service_name -BinFolder $binFolder -Name 'mongod.exe' }
    catch { Write-JobLog -Level 'WARNING' -Text "processes of the restore: $(Get-InnerText -ErrorRecord $_)" }
    # The disk shows whether the commit has happened, because the commit may have failed after its rename.
    $unproven = ''
    try {
        $verdict = Resolve-Restore -Run $Spec.run_id -Trusted
        $isCommitted = $verdict.state -eq 'committed'
        foreach ($text in @($verdict.did)) { Write-JobLog -Text "undone: $text" }
        if (-not $isCommitted) { Remove-Staged }
    }
    catch {
        $unproven = (Get-NodeFailure -ErrorRecord $_).message
        Write-JobLog -Level 'ERROR' -Text $unproven
    }
    $wantsStart = $wasRunning -or $isCommitted
    $restored = -not $unproven -and -not $wantsStart
    $held = Test-NodeHold
    if ($unproven) { Write-JobLog -Level 'ERROR' -Text "$($Spec.service_name) is left down" }
    elseif ($wantsStart -and $held) {
        Write-JobLog -Level 'WARNING' -Text 'the file HOLD is there, so the service is left down'
    }
    elseif ($wantsStart -and -not ($mark.ContainsKey('stop_requested'))) { $restored = $true }
    elseif ($wantsStart) {
        Write-Mark -Name 'start_requested'
        Write-JobLog -Text "starting $($Spec.service_name)"
        try {
            $start = Start-ServiceSurely -Name $Spec.service_name -TimeoutSeconds $Spec.start_timeout -OnTick {
                Write-Beat
                Write-JobStatus -Phase 'start' -Message 'waiting for Running'
            }
            $states.AddRange([object[]]@($start.states))
            $restored = $start.reached
            $mark['running'] = $mark.start_requested + $start.running_after
            $startError = $start.error
            $startProblem = $start.problem
            if ($start.problem) { Write-JobLog -Level 'WARNING' -Text "a start request was refused: $($start.problem)" }
            if ($restored) { Write-JobLog -Text "$($Spec.service_name) is Running" }
        }
        catch { Write-JobLog -Level 'ERROR' -Text (Get-NodeFailure -ErrorRecord $_).message }
    }
    if ($restored) { Write-LastBeat }
}
if ($restored) { Remove-NodeNotice }
Write-JobStatus -Phase 'collect'
if ($isCommitted) {
    # A restore that is complete does not fail for its audit line.
    try {
        Add-AuditLine -Folder (Get-RecordFolder) -Verb $Spec.verb -Who $Spec.who -Detail @{
            run = $Spec.run_id; restore = $Spec.of; archive = $Spec.archive
            paths = @($entries | ForEach-Object { $_.path })
        }
    }
    catch { Write-JobLog -Level 'WARNING' -Text "no audit line was written: $(Get-InnerText -ErrorRecord $_)" }
}

$detail = @{
    prior_state = [string]$lease.prior_state
    restored = $restored
    committed = $isCommitted
    undone = @($verdict.did)
    states = $states.ToArray()
    marks = $mark
    collections = $counts.collections
    documents = $counts.documents
    remarks = @($counts.remarks)
    output = $counts.output
}
$first = if ($null -ne $failure) { " (before that: $($failure.message))" } else { '' }
if ($unproven) { throw (New-NodeFailure -Reason 'restore_unproven' -Detail $detail -Message "$unproven$first") }
if (-not $restored -and $held) {
    throw (New-NodeFailure -Reason 'held_by_operator' -Detail $detail -Message (
            "$($Spec.service_name) is left down because the file HOLD is in the state folder$first"))
}
if (-not $restored) {
    $reason = if (Test-LogonFailure -ErrorNumber $startError) { 'service_logon_failed' }
    elseif ($isCommitted) { 'restored_not_started' }
    else { 'service_not_restored' }
    $why = if ($startProblem) { ": $startProblem" } else { '' }
    throw (New-NodeFailure -Reason $reason -Detail $detail -Message (
            "$($Spec.service_name) is not Running$why$first"))
}
if ($null -ne $failure -and -not $isCommitted) {
    throw (New-NodeFailure -Reason $failure.reason -Detail $detail -Message $failure.message)
}
$detail

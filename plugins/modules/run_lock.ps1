#!powershell

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

#AnsibleRequires -CSharpUtil Ansible.Basic
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeModule
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeRestore
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeJob
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeStaging

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$spec = @{
    options = @{
        # Written by `make docs` from run_lock.yml.
        state = @{ type = 'str'; required = $true; choices = @('acquired', 'released', 'recovered', 'inspected') }
        run_id = @{ type = 'str'; required = $true }
        holder = @{ type = 'str'; default = 'unknown' }
        stale_seconds = @{ type = 'int'; default = 180 }
        foreign_job = @{ type = 'str'; choices = @('refuse', 'wait', 'take_over', 'cancel'); default = 'refuse' }
        staging_directory = @{ type = 'str' }
        work_directory = @{ type = 'str'; default = 'C:\AlteryxOps.r' }
        try_folders = @{ type = 'list'; elements = 'str'; default = @() }
        window_over = @{ type = 'bool'; default = $false }
        may_stay_down = @{ type = 'bool'; default = $false }
        window_of = @{ type = 'str'; default = '' }
        judged = @{ type = 'str'; default = '' }
        log_directory = @{ type = 'str'; default = '' }
        wait_timeout = @{ type = 'int'; default = 1800 }
        _wait_seconds = @{ type = 'float'; default = 0 }
    }
    supports_check_mode = $true
}
$module = [Ansible.Basic.AnsibleModule]::Create($args, $spec)

$runId = $module.Params.run_id
$predicts = $module.CheckMode -or $module.Params.state -eq 'inspected'
$did = New-Object System.Collections.ArrayList
$leftBehind = New-Object System.Collections.ArrayList
$logs = New-Object System.Collections.ArrayList
$deadRuns = New-Object System.Collections.ArrayList

function Get-ForeignJob {
    # A follower belongs to the lease and does nothing that could be disturbed.
    @(Get-NodeJob | Where-Object { $_.alive -and $_.run_id -cne $runId -and $_.job -ne 'follow_job' })
}

function Resolve-ForeignJob {
    # Jobs of other runs that still live. Returns those to wait for; throws when the choice is to refuse.
    $waiting = New-Object System.Collections.ArrayList
    if ($module.Params.foreign_job -eq 'wait') {
        $watch = [Diagnostics.Stopwatch]::StartNew()
        while (@(Get-ForeignJob).Count -gt 0 -and $watch.Elapsed.TotalSeconds -lt $module.Params._wait_seconds) {
            Start-Sleep -Milliseconds 500
        }
    }
    foreach ($job in @(Get-ForeignJob)) {
        $what = '{0} of the run {1} ({2}, process {3})' -f $job.job, $job.run_id, $job.phase, $job.process_id
        switch ($module.Params.foreign_job) {
            'wait' { $null = $waiting.Add($what) }
            'take_over' {
                if ($job.job -ne 'window_job') { $null = $waiting.Add($what) }
                elseif (-not $predicts) { $module.Result['adopted'] = Move-LeaseToRun -From $job.run_id }
            }
            'cancel' {
                $module.Result['changed'] = $true
                if ($predicts) { $null = $did.Add("would end the job $what") }
                elseif (Stop-NodeJob -Id $job.id) { $null = $did.Add("ended the job $what") }
            }
            default {
                throw (New-NodeFailure -Reason 'foreign_job_alive' -Detail $job -Message (
                        "A job of a dead run is active on this node: $what"))
            }
        }
    }
    $waiting.ToArray()
}

function Move-LeaseToRun {
    # Taking over: the job goes on, its lease becomes this run's. Generation and deadline stay, so job and guard see
    # no difference.
    param([string] $From)
    $lease = Read-NodeLease
    $null = $did.Add("took over the window job of the run $From")
    if ($null -ne $lease -and [string]$lease.run_id -ceq $From) { Set-LeaseRun -RunId $runId }
    $From
}

function Assert-NoWindow {
    # What a worker or UI node itself knows of the run that has stopped it: nothing, while that works on the
    # controller. Its guard knows when it is over.
    param($Lease, [string] $Status)
    if ($module.Params.window_over -or $module.Params.foreign_job -eq 'cancel' -or
        -not [string]$Lease.controller_host) {
        return
    }
    if ([string]$Lease.boot -cne (Get-BootIdentity) -or (Get-MonotonicSecond) -ge [double]$Lease.deadline_monotonic) {
        return
    }
    $message = '{0} on this node is {1}: the run {2} on {3} holds it for its window, until {4} at the latest. ' +
    'Only {3} knows whether that run is still alive'
    throw (New-NodeFailure -Reason 'window_open' -Message (
            $message -f $Lease.service, $Status, $Lease.run_id, $Lease.controller_host, $Lease.deadline))
}

function Resolve-Lease {
    # A lease of a dead run: its prior state is brought back, then it is released. True when there is nothing left to
    # do.
    $lease = Read-NodeLease
    if (-not (Test-LeaseRemains) -and [IO.File]::Exists((Get-JournalPath))) { $null = Resolve-DeadRestore }
    if (-not (Test-LeaseRemains) -or ($null -ne $lease -and [string]$lease.run_id -ceq $runId)) { return $true }
    if ($null -ne $lease -and $module.Params.window_of -and [string]$lease.run_id -ceq $module.Params.window_of) {
        # This run goes on with the window for which the service of this node is down.
        $null = $did.Add("took over the lease of the run $($lease.run_id)")
        $module.Result['adopted'] = [string]$lease.run_id
        if (-not $predicts) { Set-LeaseRun -RunId $runId }
        return $true
    }
    if ($null -ne $lease) { Assert-NoWindow -Lease $lease -Status (Get-ServiceStatus -Name ([string]$lease.service)) }
    $module.Result['changed'] = $true
    if ($null -ne $lease) { $null = $deadRuns.Add([string]$lease.run_id) }
    $dead = if ($null -ne $lease) { "the run $($lease.run_id)" } else { 'a run that is not known any more' }
    if ($predicts) {
        if ($null -ne $lease -and [string]$lease.prior_state -eq 'Running') {
            $status = Get-ServiceStatus -Name ([string]$lease.service)
            if ($status -ne 'Running') {
                $null = $did.Add("would start $($lease.service), which $dead has left $status")
            }
        }
        $null = $did.Add("would release the lease of $dead")
        return $true
    }
    # A lease that cannot be read is not forgotten: what was there before also stands in the task of its guard.
    $order = if ($null -ne $lease) { $lease } else { Get-GuardOrder }
    $follower = Get-LeaseFollower -Lease $lease
    if ($follower) { $null = Stop-NodeJob -Id $follower }
    if (-not (Restore-DeadService -Order $order -Dead $dead)) { return $false }
    $null = Remove-NodeLease
    $null = $did.Add("released the lease of $dead")
    $true
}

function Resolve-DeadRestore {
    # Undoes a restore that a dead run has left half done, before anything starts its service. True when the restore was
    # complete: then its service has to run.
    if ($predicts) { return $false }
    $job = Get-WindowJobProcess
    if ($job -ne 0) {
        throw (New-NodeFailure -Reason 'foreign_job_alive' -Message (
                "The restore job of this node is active (process $job)"))
    }
    $restore = Resolve-Restore
    foreach ($text in @($restore.did)) { $null = $did.Add("undid a restore: $text") }
    $restore.state -eq 'committed'
}

function Restore-DeadService {
    # Brings back what a dead run has left down. True when the service is as it was. Order holds service and
    # prior_state; nothing where nobody knows.
    param($Order, [string] $Dead)
    $isRestored = Resolve-DeadRestore
    if ($null -eq $Order -or ([string]$Order.prior_state -ne 'Running' -and -not $isRestored)) { return $true }
    $name = [string]$Order.service
    $status = Get-ServiceStatus -Name $name
    if ($status -ne 'Running') {
        if (Test-NodeHold) {
            $message = "$name is $status since $Dead and was not started, because the file HOLD is in the state folder"
            throw (New-NodeFailure -Reason 'held_by_operator' -Message $message)
        }
        # A start into a dump would spoil it; the window job itself brings the service back.
        $job = Get-WindowJobProcess
        if ($job -ne 0) {
            $message = "The window job of this node is active (process $job) and restores $name itself"
            throw (New-NodeFailure -Reason 'foreign_job_alive' -Message $message)
        }
        $wait = Start-ServiceSurely -Name $name -TimeoutSeconds $module.Params._wait_seconds
        $module.Result['problem'] = $wait.problem
        $module.Result['logon_failed'] = Test-LogonFailure -ErrorNumber $wait.error
        $module.Result['gave_up'] = $wait.gave_up
        if (-not $wait.reached -and -not $module.Params.may_stay_down) { return $false }
        if (-not $wait.reached) {
            $null = $did.Add("could not start $name, which $Dead had left $status")
            return $true
        }
        $null = $did.Add("started $name, which $Dead had left $status")
    }
    $module.Result['inherited'] = 'Running'
    $true
}

function Get-Distrust {
    # Why what is in our folders must not be read or deleted, as a failure; nothing when it may.
    foreach ($folder in @((Join-Path -Path (Get-StateFolder) -ChildPath 'jobs'), (Get-CodeFolder))) {
        try { Assert-FolderTrust -Path $folder }
        catch { return Get-NodeFailure -ErrorRecord $_ }
    }
}

function Remove-Rest {
    # One thing that dead runs have left. What cannot be removed (a file of it is open, or denied) is said and tried
    # again by the next run; it keeps no run from its work. A prediction says what would be removed.
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'looks at check mode itself')]
    param([string] $What, [string] $Path, [scriptblock] $Remove)
    if (-not $predicts) {
        try { & $Remove }
        catch {
            # Not a matter of files: whoever did not answer may still have the task.
            if ((Get-NodeFailure -ErrorRecord $_).reason -ne 'unexpected') { throw }
            $why = $_.Exception.GetBaseException().Message
            $next = 'remove it by hand if the next run cannot either'
            $null = $leftBehind.Add("$Path of a dead run is left behind, $next`: $why")
            return
        }
    }
    $module.Result['changed'] = $true
    $verb = if ($predicts) { 'would remove' } else { 'removed' }
    $null = $did.Add("$verb $What")
}

function Remove-Leftover {
    # Folders of jobs that are dead; a taken-over window job is alive or its result is still wanted.
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'looks at check mode itself')]
    param()
    $kept = @($runId, $module.Result['adopted'])
    foreach ($job in @(Get-NodeJob | Where-Object { -not $_.alive -and $kept -cnotcontains $_.run_id })) {
        $null = $deadRuns.Add([string]$job.run_id)
        $path = Join-Path -Path (Get-StateFolder) -ChildPath "jobs\$($job.id)"
        $but = if ([IO.File]::Exists("$path\job.log")) { ', except for its log' }
        Remove-Rest -What "the rest of the job $($job.id)$but" -Path $path -Remove {
            $log = Save-NodeJobLog -Id $job.id
            if ($null -ne $log) {
                $log.run_id = $job.run_id
                $null = $logs.Add($log)
            }
            Remove-NodeJob -Id $job.id
        }
    }
    # What a writer that was killed in the middle has not renamed or removed. Nobody else writes: the lock is ours, no
    # job lives, no guard is left.
    foreach ($file in @(Get-StateRest)) {
        Remove-Rest -What $file -Path $file -Remove { [IO.File]::Delete($file) }
    }
}

function Get-StateRest {
    $folder = Get-StateFolder
    if (-not [IO.Directory]::Exists($folder)) { return }
    foreach ($pattern in @('*.new', 'task-*.xml', 'drill-*')) { [IO.Directory]::GetFiles($folder, $pattern) }
}

function Add-RestoreWord {
    # Which server a dead restore has left: a person must not have to look for that.
    foreach ($record in @(Get-RestoreRecord)) {
        if ($record.word -eq 'pending' -or $deadRuns -cnotcontains $record.run_id) { continue }
        $what = if ($record.verb -ceq 'roll_back') { "the rollback $($record.run_id) of $($record.of)" }
        else { "the restore $($record.run_id)" }
        $text = if ($record.word -eq 'undone') { 'was undone; the server is the one before it' }
        else { 'is complete; the server is the new one' }
        $null = $did.Add("$what $text")
    }
}

function Set-ServicePending {
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'fills the result')]
    param()
    $why = if ($module.Result['problem']) { " ($($module.Result['problem']))" } else { '' }
    $module.Result['pending'] = @("the start of the service that a dead run has left down$why")
    $isLogon = $module.Result['logon_failed']
    $module.Result['pending_reason'] = if ($isLogon) { 'service_logon_failed' } else { 'service_not_restored' }
}

function Get-LockProblem {
    # Takes the lock of this run. Returns a failure when it cannot be written (a full drive); throws
    # when another run has it.
    try { New-RunLock -RunId $runId -Holder $module.Params.holder -StaleSeconds $module.Params.stale_seconds }
    catch {
        $failure = Get-NodeFailure -ErrorRecord $_
        if ($failure.reason -eq 'run_locked') { throw }
        $failure
    }
}

function Clear-DeadRun {
    # Everything dead runs have left. Fills pending: what has to be waited for first, and of which kind it is.
    param($Lock, $Blocked)
    if ($null -ne $Blocked) {
        # What stands in these files is not believed or cannot be changed, so the arguments of the guard decide: nobody
        # but an administrator can have written those.
        $lease = Read-NodeLease
        if ($null -ne $lease) {
            Assert-NoWindow -Lease $lease -Status (Get-ServiceStatus -Name ([string]$lease.service))
        }
        if (-not $predicts -and -not (Restore-DeadService -Order (Get-GuardOrder) -Dead 'a dead run')) {
            Set-ServicePending
            return
        }
        $first = if ($did.Count -gt 0) { " ($($did.ToArray() -join '; '))" } else { '' }
        throw (New-NodeFailure -Reason $Blocked.reason -Detail @{ did = $did.ToArray() } -Message (
                '{0}; nothing was read or removed there{1}' -f $Blocked.message, $first))
    }
    $module.Result['pending'] = @(Resolve-ForeignJob)
    $module.Result['pending_reason'] = 'foreign_job_alive'
    if ($module.Result['pending'].Count -gt 0) { return }
    if (-not (Resolve-Lease)) {
        Set-ServicePending
        return
    }
    Remove-Leftover
    if ($module.Params.state -ne 'acquired' -and $null -ne $Lock -and -not $Lock.fresh) {
        $module.Result['changed'] = $true
        $verb = if ($predicts) { 'would remove' } else { 'removed' }
        $null = $did.Add("$verb the stale lock of the run $($Lock.run_id) of $($Lock.holder)")
        $null = $deadRuns.Add([string]$Lock.run_id)
    }
    if ($module.Params.work_directory) {
        # Backups that dead restores have extracted.
        foreach ($folder in @(Get-StaleStaging -Root $module.Params.work_directory -RunId $runId)) {
            $null = $deadRuns.Add([IO.Path]::GetFileName($folder))
            Remove-Rest -What $folder -Path $folder -Remove { Remove-NodeFolder -Path $folder }
        }
    }
    Add-RestoreWord
    if ($module.Params.staging_directory) {
        $stale = @(Get-StaleStaging -Root $module.Params.staging_directory -RunId @($runId, $module.Result['adopted']))
        # A dump that an outage has paid for is archived first.
        $module.Result['unarchived'] = @(
            $stale | Where-Object { Test-DumpRecord -Staging $_ } | ForEach-Object { [IO.Path]::GetFileName($_) })
        foreach ($folder in $stale) {
            if (Test-DumpRecord -Staging $folder) { continue }
            Remove-Rest -What $folder -Path $folder -Remove { Remove-NodeFolder -Path $folder }
        }
    }
}

Invoke-NodeModule -Module $module -Body {
    $module.Result['adopted'] = ''
    $module.Result['inherited'] = ''
    $module.Result['unarchived'] = @()
    $module.Result['pending'] = @()
    $module.Result['pending_reason'] = ''
    $module.Result['problem'] = ''
    $module.Result['logon_failed'] = $false
    $module.Result['gave_up'] = $false
    # A lock that somebody else may have put there holds nobody.
    $isTrusted = $true
    try { Assert-FolderTrust -Path (Get-StateFolder) } catch { $isTrusted = $false }
    $lock = if ($isTrusted) { Read-RunLock }
    $ours = $null -ne $lock -and $lock.run_id -ceq $runId
    if ($module.Params.state -eq 'released') {
        $module.Result['changed'] = $ours
        if ($ours -and -not $predicts) { $null = Remove-RunLock -RunId $runId }
    }
    else {
        if ($null -ne $lock -and $lock.fresh -and -not $ours) { throw (New-LockFailure -Lock $lock) }
        # The lock before anything is decided or cleaned up, so that of two runs only one does. Recovery holds it
        # while it works; a node without a state folder has nothing to recover.
        $keep = $module.Params.state -eq 'acquired'
        $take = -not $predicts -and ($keep -or [IO.Directory]::Exists((Get-StateFolder)))
        if ($keep) { $module.Result['changed'] = -not $ours }
        try {
            # What must not be believed is not written to either. Without a lock only the service is looked after.
            $blocked = Get-Distrust
            $take = $take -and $null -eq $blocked
            if ($take) { $blocked = Get-LockProblem }
            Clear-DeadRun -Lock $lock -Blocked $blocked
            # Before anything is stopped, and only by whoever holds the lock: a trial writes.
            if ($keep -and -not $predicts -and $module.Result['pending'].Count -eq 0) {
                foreach ($folder in $module.Params.try_folders) { Assert-FolderWritable -Path $folder }
            }
        }
        catch {
            # A call that fails holds nothing it did not hold before.
            $keep = $ours
            throw
        }
        finally { if ($take -and -not $keep) { $null = Remove-RunLock -RunId $runId } }
    }
    if ($module.Params.state -eq 'inspected') { $module.Result['changed'] = $false }
    $module.Result['did'] = $did.ToArray()
    $module.Result['left_behind'] = $leftBehind.ToArray()
    $module.Result['logs'] = $logs.ToArray()
}

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
    # A follower belongs to the lease, and another run cannot disturb it. A job that only reads backups and belongs to
    # no run, such as that of verify_backup.yml, and a run do not disturb each other. An inspection reports it, because
    # prune.yml deletes backups.
    $reading = @('verify_job', 'copy_job', 'list_job')
    @(Get-NodeJob | Where-Object {
            $_.alive -and $_.run_id -cne $runId -and $_.job -ne 'follow_job' -and
            ($module.Params.state -eq 'inspected' -or $_.run_id -or $reading -cnotcontains $_.job)
        })
}

function Resolve-ForeignJob {
    # Jobs of other runs that are still running. Returns those to wait for. Throws if the operator's choice is to
    # refuse.
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
    # Takes over a job: it continues, and its lease is transferred to this run. Generation and deadline stay the same,
    # so job and guard do not notice it.
    param([string] $From)
    $lease = Read-NodeLease
    $null = $did.Add("took over the window job of the run $From")
    if ($null -ne $lease -and [string]$lease.run_id -ceq $From) { Set-LeaseRun -RunId $runId }
    $From
}

function Assert-NoWindow {
    # A worker or UI node cannot see whether the run that has stopped its service still works on the controller. Its
    # guard detects the end of that run.
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
    # Handles the lease of an interrupted run: restores the prior state of the service and releases the lease. True if
    # nothing is left to do.
    $lease = Read-NodeLease
    if (-not (Test-LeaseRemains) -and [IO.File]::Exists((Get-JournalPath))) { $null = Resolve-DeadRestore }
    if (-not (Test-LeaseRemains) -or ($null -ne $lease -and [string]$lease.run_id -ceq $runId)) { return $true }
    if ($null -ne $lease -and $module.Params.window_of -and [string]$lease.run_id -ceq $module.Params.window_of) {
        # This run continues with the window for which the service of this node is stopped.
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
    # If the lease cannot be read, the prior state of the service is also in the task of its guard.
    $order = if ($null -ne $lease) { $lease } else { Get-GuardOrder }
    $follower = Get-LeaseFollower -Lease $lease
    if ($follower) { $null = Stop-NodeJob -Id $follower }
    if (-not (Restore-DeadService -Order $order -Dead $dead)) { return $false }
    $null = Remove-NodeLease
    $null = $did.Add("released the lease of $dead")
    $true
}

function Resolve-DeadRestore {
    # Undoes an incomplete restore of an interrupted run, before the service is started. True if the restore was
    # complete; then the service must run.
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
    # Starts the service that an interrupted run has left stopped. True if the service has its prior state. Order
    # contains service and prior_state; it is empty if they are not known.
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
        # A start during a dump would damage the dump. The window job itself starts the service again.
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
    # Why the content of this collection's folders must not be read or deleted, as a failure; nothing if it can be.
    foreach ($folder in @((Join-Path -Path (Get-StateFolder) -ChildPath 'jobs'), (Get-CodeFolder))) {
        try { Assert-FolderTrust -Path $folder }
        catch { return Get-NodeFailure -ErrorRecord $_ }
    }
}

function Remove-Rest {
    # Removes one file, folder or task that interrupted runs have left. If it cannot be removed (a file is open or
    # denied), that is reported, the run continues, and the next run tries again. A prediction reports what would be
    # removed.
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'looks at check mode itself')]
    param([string] $What, [string] $Path, [scriptblock] $Remove)
    if (-not $predicts) {
        try { & $Remove }
        catch {
            # The Task Scheduler did not answer, so the task may still exist.
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
    # Removes the folders of jobs that have ended. A window job that this run has taken over is still running, or its
    # result is still needed. A job without a run id, such as that of verify_backup.yml, may have ended a moment ago, so
    # that its result is still needed, or may not have begun.
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'looks at check mode itself')]
    param()
    $kept = @($runId, $module.Result['adopted'] | Where-Object { $_ })
    foreach ($job in @(Get-NodeJob | Where-Object { -not $_.alive -and $kept -cnotcontains $_.run_id })) {
        $path = Join-Path -Path (Get-StateFolder) -ChildPath "jobs\$($job.id)"
        if ($job.run_id) { $null = $deadRuns.Add([string]$job.run_id) }
        elseif ([IO.Directory]::GetLastWriteTimeUtc($path) -gt [DateTime]::UtcNow.AddMinutes(-30)) { continue }
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
    # Removes temporary files of interrupted processes. No other process writes here now: this run has the lock, no job
    # is running, and no guard is registered.
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
    # Reports whether an interrupted restore has left the old or the new server, so that the operator does not have to
    # find out.
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
    # Takes the lock for this run. Returns a failure if it cannot be written (a full drive). Throws if another run has
    # it.
    try { New-RunLock -RunId $runId -Holder $module.Params.holder -StaleSeconds $module.Params.stale_seconds }
    catch {
        $failure = Get-NodeFailure -ErrorRecord $_
        if ($failure.reason -eq 'run_locked') { throw }
        $failure
    }
}

function Clear-DeadRun {
    # Cleans up after interrupted runs. Fills pending: what this run must wait for first, and of which kind it is.
    param($Lock, $Blocked)
    if ($null -ne $Blocked) {
        # The lease files are not trusted or cannot be changed, so the arguments of the guard decide. Only an
        # administrator can have written those.
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
        # Removes backups that interrupted restores have extracted.
        foreach ($folder in @(Get-StaleStaging -Root $module.Params.work_directory -RunId $runId)) {
            $null = $deadRuns.Add([IO.Path]::GetFileName($folder))
            Remove-Rest -What $folder -Path $folder -Remove { Remove-NodeFolder -Path $folder }
        }
    }
    Add-RestoreWord
    if ($module.Params.staging_directory) {
        $stale = @(Get-StaleStaging -Root $module.Params.staging_directory -RunId @($runId, $module.Result['adopted']))
        # A dump that has cost a downtime is archived first.
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
    # A lock that another account may have written does not count.
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
        # The lock is taken before any decision or clean-up, so that only one of two runs does that. A recovery keeps it
        # while it works. A node without a state folder has nothing to recover.
        $keep = $module.Params.state -eq 'acquired'
        $take = -not $predicts -and ($keep -or [IO.Directory]::Exists((Get-StateFolder)))
        if ($keep) { $module.Result['changed'] = -not $ours }
        try {
            # This run does not write to a folder that is not trusted. Without a lock, it only starts the service.
            $blocked = Get-Distrust
            $take = $take -and $null -eq $blocked
            if ($take) { $blocked = Get-LockProblem }
            Clear-DeadRun -Lock $lock -Blocked $blocked
            # The folders are tested before any service is stopped, and only with the lock, because the test writes to
            # them.
            if ($keep -and -not $predicts -and $module.Result['pending'].Count -eq 0) {
                foreach ($folder in $module.Params.try_folders) { Assert-FolderWritable -Path $folder }
            }
        }
        catch {
            # A call that fails does not keep a lock that it has taken.
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

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeClock
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeDisk
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeTask
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeRecord
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeTrust
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeDrive

# Work that outlives the WinRM shell: a folder, a detached scheduled task, and files that the job overwrites in place,
# so that a full drive does not stop it.
#
#   <state>\jobs\<id>\spec.json     the parameters of the job, written before the start. The job renames it to
#                                  claimed.json, which only one process can do, reads it and deletes it
#                    \status.json   a record (NodeRecord.psm1): run_id, job, state (running, succeeded, failed), phase,
#                                   phase_began (monotonic), done_bytes, total_bytes, collections, message, process_id,
#                                   process_birth
#                    \cancel        empty; its presence asks the job to end. The job checks for it regularly.
#                    \decision      of a job that waits for a request to continue: open or closed, whichever was written
#                                   first
#                    \job.log       one line for each event: UTC time, level, text
#                    \result.json   the result, written before the last status. The file is created before that with its
#                                   full size, so that a full drive cannot prevent the result.

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

# Windows or security software may block the process of a task before it begins. A second start usually succeeds.
$script:Starts = 2
$script:FirstStatusSeconds = 60
$script:ResultBytes = 1MB
$script:BusySeconds = 10
$script:LogCharacters = 200000
$script:CancelSeconds = 10
$script:CancelHeardSeconds = 60
$script:EndingMessage = 'ending, because it was cancelled'  # as in job_host.ps1

function Get-JobFolder {
    param([Parameter(Mandatory = $true)][string] $Id)
    # The comparison is case-sensitive, because in a Turkish locale ignoring case maps I to another letter.
    if ($Id -cnotmatch '^[A-Za-z0-9._-]+$') { throw "not a job id: $Id" }
    Join-Path -Path (Join-Path -Path (Get-StateFolder) -ChildPath 'jobs') -ChildPath $Id
}

function Install-NodeCode {
    <#
    .SYNOPSIS
    Writes scripts (JSON text: file name -> text) under a folder named after their hash and returns it. A script that
    exists already is compared, not trusted.
    #>
    param([Parameter(Mandatory = $true)][string] $Code)
    $version = (Get-TextSha256 -Text $Code).Substring(0, 16)
    Assert-FolderTrust -Path (Get-CodeFolder)
    New-ProtectedFolder -Path (Get-CodeFolder)
    $folder = Join-Path -Path (Get-CodeFolder) -ChildPath $version
    $null = [IO.Directory]::CreateDirectory($folder)
    foreach ($script in (ConvertFrom-Json -InputObject $Code).PSObject.Properties) {
        $path = Join-Path -Path $folder -ChildPath $script.Name
        if (-not [IO.File]::Exists($path) -or (Read-NodeText -Path $path) -cne $script.Value) {
            Write-NodeText -Path $path -Text $script.Value
        }
    }
    $folder
}

function Start-NodeJob {
    <#
    .SYNOPSIS
    Starts a job, waits for its first status, and returns how often its task had to be started. Spec is JSON text. Code
    (see Install-NodeCode) must hold job_host.ps1 and the script named Job.
    #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'callers check')]
    param(
        [Parameter(Mandatory = $true)][string] $Id,
        [Parameter(Mandatory = $true)][string] $Job,
        [Parameter(Mandatory = $true)][string] $Spec,
        [Parameter(Mandatory = $true)][string] $Code,
        [int] $Priority = 7
    )
    $folder = Get-JobFolder -Id $Id
    Assert-FolderTrust -Path $folder
    if ([IO.Directory]::Exists($folder)) {
        throw (New-NodeFailure -Reason 'job_exists' -Message "A job $Id is on this node already ($folder)")
    }
    New-ProtectedFolder -Path (Get-StateFolder)
    $codeFolder = Install-NodeCode -Code $Code
    $null = [IO.Directory]::CreateDirectory($folder)
    Write-NodeText -Path (Join-Path -Path $folder -ChildPath 'spec.json') -Text $Spec
    Write-NodeText -Path (Join-Path -Path $folder -ChildPath 'result.json') -Text (' ' * $script:ResultBytes)
    $task = "\AlteryxOps\$Id"
    $starts = 0
    try {
        do {
            # While the process of a task hangs, the Task Scheduler does not start a second one.
            if ($starts -gt 0) { Remove-NodeTask -Name $task }
            Register-NodeTask -Name $task -Description "alteryx_ops.server_backup: $Job" `
                -Path (Join-Path -Path $codeFolder -ChildPath 'job_host.ps1') `
                -ArgumentList @($folder, $codeFolder, $Job) -Priority $Priority
            Start-NodeTask -Name $task
            $starts++
            $hasBegun = Wait-JobBegin -Folder $folder
        } until ($hasBegun -or $starts -ge $script:Starts)
        if (-not $hasBegun) {
            throw (New-NodeFailure -Reason 'job_not_started' -Message (
                    'The task {0} was started {1} times, but its script has not begun within {2} s' -f
                    $task, $starts, $script:FirstStatusSeconds))
        }
    }
    catch {
        try { Remove-NodeTask -Name $task } catch { Write-Verbose -Message "the task could not be removed: $_" }
        # A job that begins too late must not do its work, so its spec is deleted. Without a spec it ends at once.
        try { Remove-NodeFile -Path (Join-Path -Path $folder -ChildPath 'spec.json') }
        catch { Write-Verbose -Message "the spec could not be removed: $_" }
        if (-not [IO.File]::Exists((Join-Path -Path $folder -ChildPath 'status.json'))) {
            # The operator needs to know why the job did not start, so later failures are ignored.
            try { Remove-NodeFolder -Path $folder }
            catch { Write-Verbose -Message "the folder could not be removed: $_" }
        }
        throw
    }
    # The running instance continues. Without its task, nothing stays registered if every other process ends. A task
    # that cannot be deleted does no harm, because it has no trigger.
    try { Remove-NodeTask -Name $task } catch { Write-Verbose -Message "the task could not be removed: $_" }
    $starts
}

function Wait-JobBegin {
    # Waits for the first status of a job and returns whether it came. A job that has claimed its spec has begun and is
    # given the same time once more.
    param([string] $Folder)
    $watch = [Diagnostics.Stopwatch]::StartNew()
    while (-not [IO.File]::Exists((Join-Path -Path $Folder -ChildPath 'status.json'))) {
        $isOffered = [IO.File]::Exists((Join-Path -Path $Folder -ChildPath 'spec.json'))
        $limit = if ($isOffered) { $script:FirstStatusSeconds } else { 2 * $script:FirstStatusSeconds }
        if ($watch.Elapsed.TotalSeconds -gt $limit) { return $false }
        Start-Sleep -Milliseconds 100
    }
    $true
}

function Get-NodeJobStatus {
    <#
    .SYNOPSIS
    Waits until the job is over or in the phase Until, at most WaitSeconds, and returns status, phase_seconds (the age
    of its phase, -1 where that is not known), log (text from LogOffset on), log_offset (for the next call) and, once it
    is over, result (JSON text).
    #>
    param(
        [Parameter(Mandatory = $true)][string] $Id,
        [double] $WaitSeconds = 0,
        [int] $LogOffset = 0,
        [string] $Until = ''
    )
    $folder = Get-JobFolder -Id $Id
    $watch = [Diagnostics.Stopwatch]::StartNew()
    $nextLifeSign = 0
    while ($true) {
        $status = Read-JobStatus -Id $Id -Folder $folder
        if ($status.state -eq 'running' -and $watch.Elapsed.TotalSeconds -ge $nextLifeSign) {
            $nextLifeSign = $watch.Elapsed.TotalSeconds + 2
            if ($status.process_id -ne 0 -and -not (Test-JobProcess -Status $status)) {
                # The status is read again, because the job may have ended after the first read.
                $status = Read-JobStatus -Id $Id -Folder $folder
                if ($status.state -eq 'running') {
                    throw (New-NodeFailure -Reason 'job_died' -Message (
                            'The job {0} (process {1}) has ended without a result during {2}' -f
                            $Id, $status.process_id, $status.phase))
                }
            }
        }
        if ($status.state -ne 'running' -or $watch.Elapsed.TotalSeconds -ge $WaitSeconds) { break }
        if ($Until -and $status.phase -ceq $Until) { break }
        Start-Sleep -Milliseconds 200
    }
    $answer = @{ status = $status; phase_seconds = -1.0; log = ''; log_offset = $LogOffset; result = '' }
    # The status of a job of an older version does not have this field.
    if ($null -ne $status.PSObject.Properties['phase_began']) {
        $answer.phase_seconds = [Math]::Max(0.0, (Get-MonotonicSecond) - [double]$status.phase_began)
    }
    $logPath = Join-Path -Path $folder -ChildPath 'job.log'
    if ([IO.File]::Exists($logPath)) {
        # A log that another program locks is read at the next poll. The result contains the whole log, too.
        try {
            $log = Read-NodeText -Path $logPath
            $answer.log = $log.Substring([Math]::Min($LogOffset, $log.Length))
            $answer.log_offset = $log.Length
        }
        catch { Write-Verbose -Message "job.log: $_" }
    }
    # The text is returned, not an object, so that the control node receives exactly what the job wrote. The folder
    # stays until the control node has the result.
    if ($status.state -ne 'running') {
        $resultPath = Join-Path -Path $folder -ChildPath 'result.json'
        try {
            $text = Invoke-Patiently -Seconds $script:BusySeconds -Action { Read-NodeText -Path $resultPath }
            $answer.result = $text.Trim()
        }
        catch {
            if (-not [IO.File]::Exists($resultPath)) { throw }
            # The job counts as running until its result can be read.
            $why = $_.Exception.GetBaseException().Message
            $answer.status = Get-BusyStatus -Message "its result cannot be read: $why"
        }
    }
    $answer
}

function Read-JobStatus {
    # The status of a job. If another program locks it, the job counts as running, with the unknown process 0.
    param([string] $Id, [string] $Folder)
    $read = Read-NodeRecord -Path (Join-Path -Path $Folder -ChildPath 'status.json') -Seconds $script:BusySeconds
    if ($read.state -eq 'read') { return $read.data }
    if ($read.state -eq 'absent') {
        throw (New-NodeFailure -Reason 'job_lost' -Message "The job $Id is not on this node ($($read.problem))")
    }
    Get-BusyStatus -Message "its status cannot be read: $($read.problem)"
}

function Get-BusyStatus {
    param([string] $Message)
    @{
        run_id = ''; job = ''; process_id = 0; process_birth = 0
        state = 'running'; phase = 'unknown'; done_bytes = 0; total_bytes = 0; message = $Message
    }
}

function Test-JobProcess {
    param([Parameter(Mandatory = $true)] $Status)
    # Windows reuses process ids, but not with the same time of birth.
    Test-NodeProcess -ProcessId ([int]$Status.process_id) -Birth ([long]$Status.process_birth)
}

function Open-NodeJob {
    <#
    .SYNOPSIS
    Asks a waiting job to continue. Throws gate_closed if the job has given up waiting, and job_lost if there is no such
    job. Can be called again.
    #>
    param([Parameter(Mandatory = $true)][string] $Id)
    $folder = Get-JobFolder -Id $Id
    Assert-FolderTrust -Path $folder
    if (-not [IO.Directory]::Exists($folder)) {
        throw (New-NodeFailure -Reason 'job_lost' -Message "The job $Id is not on this node")
    }
    $decision = Join-Path -Path $folder -ChildPath 'decision'
    if ((Set-NodeDecision -Path $decision -Word 'open') -cne 'open') {
        throw (New-NodeFailure -Reason 'gate_closed' -Message (
                "The job $Id has given the window up, because it did not open in time"))
    }
}

function Stop-NodeJob {
    <#
    .SYNOPSIS
    Ends a job that is still running; returns whether there was one. The job is asked to end first, because it then
    cleans up, and because a hardened node does not allow this account to end its process. If it does not end within
    some seconds, its process and all its child processes are ended.
    #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'callers check')]
    param([Parameter(Mandatory = $true)][string] $Id)
    $folder = Get-JobFolder -Id $Id
    Assert-FolderTrust -Path $folder
    $read = Read-NodeRecord -Path (Join-Path -Path $folder -ChildPath 'status.json') -Seconds $script:BusySeconds
    if ($read.state -ne 'read' -or $read.data.state -ne 'running') { return $false }
    if (-not (Test-JobProcess -Status $read.data)) { return $false }
    if (Wait-JobEnd -Folder $folder -Status $read.data) { return $true }
    # Windows ends the child processes of the job with it (see job_host.ps1). Those outside its job object are ended one
    # by one.
    Stop-NodeProcessTree -ProcessId ([int]$read.data.process_id) -Birth ([long]$read.data.process_birth)
}

function Wait-JobEnd {
    # Creates the file that asks a job to end, waits, and returns whether the job has ended. Does not wait when the file
    # cannot be created. A job that has confirmed the request, or is starting its service, is given more time.
    param([string] $Folder, $Status)
    try { [IO.File]::WriteAllText((Join-Path -Path $Folder -ChildPath 'cancel'), '') }
    catch { return $false }
    $watch = [Diagnostics.Stopwatch]::StartNew()
    $limit = $script:CancelSeconds
    while ($watch.Elapsed.TotalSeconds -lt $limit) {
        if (-not (Test-JobProcess -Status $Status)) { return $true }
        $read = Read-NodeRecord -Path (Join-Path -Path $Folder -ChildPath 'status.json') -Seconds 0
        # The job does nothing after its last status. Its process is not checked, because this account may not be able
        # to open it.
        if ($read.state -eq 'read' -and $read.data.state -ne 'running') { return $true }
        $isHeard = $read.state -eq 'read' -and (
            $read.data.phase -eq 'start' -or $read.data.message -ceq $script:EndingMessage)
        if ($isHeard) { $limit = $script:CancelHeardSeconds }
        Start-Sleep -Milliseconds 200
    }
    $false
}

function Get-NodeJobOption {
    <#
    .SYNOPSIS
    The options by which an action plugin directs the job of a module, for Create of Ansible.Basic. Each module has
    _operation itself, because some have more operations. Documented in doc_fragments/node_job.py.
    #>
    @{
        options = @{
            _letters = @{ type = 'list'; elements = 'str'; default = @() }
            _job_id = @{ type = 'str' }
            _spec = @{ type = 'str'; no_log = $true }
            _code = @{ type = 'str'; no_log = $true }
            _wait_seconds = @{ type = 'float'; default = 0 }
            _until = @{ type = 'str'; default = '' }
            _log_offset = @{ type = 'int'; default = 0 }
        }
    }
}

function Invoke-NodeJobOperation {
    <#
    .SYNOPSIS
    The hidden operations start, open, poll, cancel and discard of a module that has a job, and resolve, which returns
    the meaning of drive letters. Fills the result of the module. A start is the first poll, too.
    #>
    param(
        [Parameter(Mandatory = $true)] $Module,
        [Parameter(Mandatory = $true)][string] $Job,
        [int] $Priority = 7
    )
    $parameters = $Module.Params
    switch ($parameters['_operation']) {
        'resolve' {
            $Module.Result['drives'] = @{}
            foreach ($letter in $parameters['_letters']) {
                $Module.Result.drives[$letter] = Get-DriveFact -Letter $letter
            }
        }
        'start' {
            $Module.Result['starts'] = Start-NodeJob -Id $parameters['_job_id'] -Job $Job -Spec $parameters['_spec'] `
                -Code $parameters['_code'] -Priority $Priority
            $Module.Result['changed'] = $true
            Add-JobAnswer -Module $Module
        }
        'poll' { Add-JobAnswer -Module $Module }
        'open' { Open-NodeJob -Id $parameters['_job_id'] }
        'cancel' { $Module.Result['changed'] = Stop-NodeJob -Id $parameters['_job_id'] }
        'discard' {
            $folder = Get-JobFolder -Id $parameters['_job_id']
            Assert-FolderTrust -Path $folder
            Remove-NodeFolder -Path $folder
        }
    }
}

function Add-JobAnswer {
    # Adds to the result of a module what Get-NodeJobStatus returns about its job.
    param($Module)
    $parameters = $Module.Params
    $answer = Get-NodeJobStatus -Id $parameters['_job_id'] -WaitSeconds $parameters['_wait_seconds'] `
        -LogOffset $parameters['_log_offset'] -Until $parameters['_until']
    foreach ($name in @($answer.Keys)) { $Module.Result[$name] = $answer[$name] }
}

function Get-NodeJob {
    <#
    .SYNOPSIS
    All jobs on the node: id, run_id, job, phase, process_id, alive. A folder without a readable status belongs to a job
    that has not begun, or to no job. Throws folder_untrusted if another account may have created the folders.
    #>
    $root = Join-Path -Path (Get-StateFolder) -ChildPath 'jobs'
    Assert-FolderTrust -Path $root
    if (-not [IO.Directory]::Exists($root)) { return }
    foreach ($folder in [IO.Directory]::GetDirectories($root)) {
        $answer = @{
            id = [IO.Path]::GetFileName($folder); run_id = ''; job = ''; phase = ''; process_id = 0; alive = $false
        }
        $read = Read-NodeRecord -Path (Join-Path -Path $folder -ChildPath 'status.json') -Seconds $script:BusySeconds
        if ($read.state -eq 'read') {
            $status = $read.data
            $answer.run_id = [string]$status.run_id
            $answer.job = [string]$status.job
            $answer.phase = [string]$status.phase
            $answer.process_id = [int]$status.process_id
            $answer.alive = $status.state -eq 'running' -and (Test-JobProcess -Status $status)
        }
        elseif ($read.state -eq 'busy') {
            # Another program locks the file, so the job may be running.
            $answer.phase = $read.problem
            $answer.alive = $true
        }
        $answer
    }
}

function Save-NodeJobLog {
    <#
    .SYNOPSIS
    Keeps the log of a job whose folder will be removed, because nothing else records what the job did: moves it to the
    folder logs of the state folder. Returns a hashtable with id, path and text (of a very long log the end); nothing
    when the job has no log.
    #>
    param([Parameter(Mandatory = $true)][string] $Id)
    $log = Join-Path -Path (Get-JobFolder -Id $Id) -ChildPath 'job.log'
    if (-not [IO.File]::Exists($log)) { return }
    $folder = Join-Path -Path (Get-StateFolder) -ChildPath 'logs'
    Assert-FolderTrust -Path $folder
    New-ProtectedFolder -Path $folder
    $path = Join-Path -Path $folder -ChildPath "$Id.log"
    $text = Read-NodeText -Path $log
    # A rename on the same drive, which also works if the drive is full.
    Remove-NodeFile -Path $path
    Move-NodeFile -Path $log -Target $path
    @{ id = $Id; path = $path; text = $text.Substring([Math]::Max(0, $text.Length - $script:LogCharacters)) }
}

function Remove-NodeJob {
    <# .SYNOPSIS
    Removes what a job that is not running has left: its task, if it is still registered, and its folder. #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'callers check')]
    param([Parameter(Mandatory = $true)][string] $Id)
    $folder = Get-JobFolder -Id $Id
    Assert-FolderTrust -Path $folder
    Remove-NodeTask -Name "\AlteryxOps\$Id"
    Remove-NodeFolder -Path $folder
}

Export-ModuleMember -Function @(
    'Install-NodeCode', 'Start-NodeJob', 'Get-NodeJobStatus', 'Open-NodeJob', 'Stop-NodeJob', 'Get-NodeJob',
    'Save-NodeJobLog', 'Remove-NodeJob', 'Get-NodeJobOption', 'Invoke-NodeJobOperation'
)

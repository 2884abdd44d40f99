# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeClock
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeFiles
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeFailure
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeTask
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeProcess
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeRecord
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeTrust

# Work that outlives the WinRM shell: a folder, a detached scheduled task, and files that the job overwrites in place,
# so that a full drive does not stop it.
#
#   <state>\jobs\<id>\spec.json     what to do, written before the start
#                    \status.json   a record (NodeRecord.psm1): run_id, job, state (running, succeeded, failed), phase,
#                                   done_bytes, total_bytes, message, process_id, process_birth
#                    \job.log       one line an event: UTC time, level, text
#                    \result.json   what came out, written before the last status; until then the room for it

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$script:FirstStatusSeconds = 60
$script:ResultBytes = 1MB
$script:BusySeconds = 10

function Get-JobFolder {
    param([Parameter(Mandatory = $true)][string] $Id)
    if ($Id -notmatch '^[A-Za-z0-9._-]+$') { throw "not a job id: $Id" }
    Join-Path -Path (Join-Path -Path (Get-StateFolder) -ChildPath 'jobs') -ChildPath $Id
}

function Install-NodeCode {
    <#
    .SYNOPSIS
    Writes scripts (JSON text: file name -> text) under a folder named after their hash and returns it. What is there
    already is compared, not trusted.
    #>
    param([Parameter(Mandatory = $true)][string] $Code)
    $version = (Get-TextSha256 -Text $Code).Substring(0, 16)
    Assert-FolderTrust -Path (Get-CodeFolder)
    New-ProtectedFolder -Path (Get-CodeFolder)
    $folder = Join-Path -Path (Get-CodeFolder) -ChildPath $version
    $null = [IO.Directory]::CreateDirectory($folder)
    foreach ($script in (ConvertFrom-Json -InputObject $Code).PSObject.Properties) {
        $path = Join-Path -Path $folder -ChildPath $script.Name
        if (-not [IO.File]::Exists($path) -or (Read-NodeText -Path $path) -cne $script.Value) { Write-NodeText -Path $path -Text $script.Value }
    }
    $folder
}

function Start-NodeJob {
    <#
    .SYNOPSIS
    Starts a job and returns once it has shown life (its first status). Spec is JSON text. Code (see Install-NodeCode)
    must hold JobHost.ps1 and the script named Job.
    #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '', Justification = 'callers check')]
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
    try {
        Register-NodeTask -Name $task -Description "alteryx_ops.server_backup: $Job" -Path (Join-Path -Path $codeFolder -ChildPath 'JobHost.ps1') `
            -ArgumentList @($folder, $codeFolder, $Job) -Priority $Priority
        Start-NodeTask -Name $task
        $watch = [Diagnostics.Stopwatch]::StartNew()
        $status = Join-Path -Path $folder -ChildPath 'status.json'
        while (-not [IO.File]::Exists($status)) {
            if ($watch.Elapsed.TotalSeconds -gt $script:FirstStatusSeconds) {
                throw (New-NodeFailure -Reason 'job_not_started' -Message ('The task {0} was started but its script has not begun within {1} s' -f $task, $script:FirstStatusSeconds))
            }
            Start-Sleep -Milliseconds 100
        }
    }
    catch {
        try { Remove-NodeTask -Name $task } catch { Write-Verbose -Message "the task could not be removed: $_" }
        # A job that begins late must not do its work: without a spec it ends at once.
        [IO.File]::Delete((Join-Path -Path $folder -ChildPath 'spec.json'))
        if (-not [IO.File]::Exists((Join-Path -Path $folder -ChildPath 'status.json'))) { Remove-NodeFolder -Path $folder }
        throw
    }
    # The running instance goes on; nothing is left registered if everybody else dies. It has no trigger, so one that
    # stays does no harm.
    try { Remove-NodeTask -Name $task } catch { Write-Verbose -Message "the task could not be removed: $_" }
}

function Get-NodeJobStatus {
    <#
    .SYNOPSIS
    Waits until the job is over, at most WaitSeconds, and returns status, log (text from LogOffset on), log_offset
    (for the next call) and, once it is over, result (JSON text).
    #>
    param(
        [Parameter(Mandatory = $true)][string] $Id,
        [double] $WaitSeconds = 0,
        [int] $LogOffset = 0
    )
    $folder = Get-JobFolder -Id $Id
    $watch = [Diagnostics.Stopwatch]::StartNew()
    $nextLifeSign = 0
    while ($true) {
        $status = Read-JobStatus -Id $Id -Folder $folder
        if ($status.state -eq 'running' -and $watch.Elapsed.TotalSeconds -ge $nextLifeSign) {
            $nextLifeSign = $watch.Elapsed.TotalSeconds + 2
            if ($status.process_id -ne 0 -and -not (Test-JobProcess -Status $status)) {
                # Read again: it may have ended between the two looks.
                $status = Read-JobStatus -Id $Id -Folder $folder
                if ($status.state -eq 'running') {
                    throw (New-NodeFailure -Reason 'job_died' -Message ('The job {0} (process {1}) has ended without a result during {2}' -f $Id, $status.process_id, $status.phase))
                }
            }
        }
        if ($status.state -ne 'running' -or $watch.Elapsed.TotalSeconds -ge $WaitSeconds) { break }
        Start-Sleep -Milliseconds 200
    }
    $answer = @{ status = $status; log = ''; log_offset = $LogOffset; result = '' }
    $logPath = Join-Path -Path $folder -ChildPath 'job.log'
    if ([IO.File]::Exists($logPath)) {
        $log = Read-NodeText -Path $logPath
        $answer.log = $log.Substring([Math]::Min($LogOffset, $log.Length))
        $answer.log_offset = $log.Length
    }
    # The text, not the object: what the job wrote reaches the control node as it is. The folder stays until the
    # control node has it.
    if ($status.state -ne 'running') {
        $answer.result = (Read-BusyText -Path (Join-Path -Path $folder -ChildPath 'result.json')).Trim()
    }
    $answer
}

function Read-BusyText {
    # The text of a file that another program may hold for some seconds.
    param([string] $Path)
    $watch = [Diagnostics.Stopwatch]::StartNew()
    while ($true) {
        try { return Read-NodeText -Path $Path }
        catch { if ($watch.Elapsed.TotalSeconds -ge $script:BusySeconds) { throw } }
        Start-Sleep -Milliseconds 200
    }
}

function Read-JobStatus {
    # The status of a job. One that another program holds is no sign of anything: the job is taken for running, by a
    # process that is not known (0).
    param([string] $Id, [string] $Folder)
    $read = Read-NodeRecord -Path (Join-Path -Path $Folder -ChildPath 'status.json') -Seconds $script:BusySeconds
    if ($read.state -eq 'read') { return $read.data }
    if ($read.state -eq 'absent') {
        throw (New-NodeFailure -Reason 'job_lost' -Message "The job $Id is not on this node ($($read.problem))")
    }
    @{
        run_id = ''; job = ''; process_id = 0; process_birth = 0
        state = 'running'; phase = 'unknown'; done_bytes = 0; total_bytes = 0
        message = "its status cannot be read: $($read.problem)"
    }
}

function Test-JobProcess {
    param([Parameter(Mandatory = $true)] $Status)
    # Process ids are used again, a pair of id and birth is not.
    Test-NodeProcess -ProcessId ([int]$Status.process_id) -Birth ([long]$Status.process_birth)
}

function Stop-NodeJob {
    <# .SYNOPSIS
    Ends the process tree of a job that is still running; returns whether there was one. #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '', Justification = 'callers check')]
    param([Parameter(Mandatory = $true)][string] $Id)
    $folder = Get-JobFolder -Id $Id
    Assert-FolderTrust -Path $folder
    $read = Read-NodeRecord -Path (Join-Path -Path $folder -ChildPath 'status.json') -Seconds $script:BusySeconds
    if ($read.state -ne 'read' -or $read.data.state -ne 'running') { return $false }
    if (-not (Test-JobProcess -Status $read.data)) { return $false }
    # What the job has started dies with it (see JobHost.ps1); what did not join it is ended one by one.
    Stop-NodeProcessTree -ProcessId ([int]$read.data.process_id) -Birth ([long]$read.data.process_birth)
}

function Invoke-NodeJobOperation {
    <#
    .SYNOPSIS
    The hidden operations start, poll, cancel and discard of a module that has a job. Fills the result of the module.
    #>
    param(
        [Parameter(Mandatory = $true)] $Module,
        [Parameter(Mandatory = $true)][string] $Job,
        [int] $Priority = 7
    )
    $parameters = $Module.Params
    switch ($parameters['_operation']) {
        'start' {
            Start-NodeJob -Id $parameters['_job_id'] -Job $Job -Spec $parameters['_spec'] -Code $parameters['_code'] -Priority $Priority
            $Module.Result['changed'] = $true
        }
        'poll' {
            $answer = Get-NodeJobStatus -Id $parameters['_job_id'] -WaitSeconds $parameters['_wait_seconds'] -LogOffset $parameters['_log_offset']
            foreach ($name in @($answer.Keys)) { $Module.Result[$name] = $answer[$name] }
        }
        'cancel' { $Module.Result['changed'] = Stop-NodeJob -Id $parameters['_job_id'] }
        'discard' {
            $folder = Get-JobFolder -Id $parameters['_job_id']
            Assert-FolderTrust -Path $folder
            Remove-NodeFolder -Path $folder
        }
    }
}

function Get-NodeJob {
    <#
    .SYNOPSIS
    All jobs on the node: id, run_id, job, phase, process_id, alive. A folder without a readable status is a job that
    has not begun or is nobody's. Throws folder_untrusted when somebody else may have put them there.
    #>
    $root = Join-Path -Path (Get-StateFolder) -ChildPath 'jobs'
    Assert-FolderTrust -Path $root
    if (-not [IO.Directory]::Exists($root)) { return }
    foreach ($folder in [IO.Directory]::GetDirectories($root)) {
        $answer = @{ id = [IO.Path]::GetFileName($folder); run_id = ''; job = ''; phase = ''; process_id = 0; alive = $false }
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
            # Another program holds the file, so the job may well live.
            $answer.phase = $read.problem
            $answer.alive = $true
        }
        $answer
    }
}

function Remove-NodeJob {
    <# .SYNOPSIS
    Removes what a job that is not alive has left: its task, should it still be registered, and its folder. #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '', Justification = 'callers check')]
    param([Parameter(Mandatory = $true)][string] $Id)
    $folder = Get-JobFolder -Id $Id
    Assert-FolderTrust -Path $folder
    Remove-NodeTask -Name "\AlteryxOps\$Id"
    Remove-NodeFolder -Path $folder
}

Export-ModuleMember -Function Install-NodeCode, Start-NodeJob, Get-NodeJobStatus, Stop-NodeJob, Get-NodeJob, Remove-NodeJob,
    Invoke-NodeJobOperation

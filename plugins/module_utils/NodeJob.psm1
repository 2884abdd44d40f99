# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeClock
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeFiles
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeFailure
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeTask
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeProcess

# Work that outlives the WinRM shell: a folder, a detached scheduled task, a status file that is replaced by rename.
#
#   <state>\jobs\<id>\spec.json     what to do, written before the start
#                    \status.json   state (running, succeeded, failed), phase, done_bytes, total_bytes, message, process_id, at
#                    \job.log       one line an event: UTC time, level, text
#                    \result.json   what came out, written before the last status

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$script:FirstStatusSeconds = 60

function Get-JobFolder {
    param([Parameter(Mandatory = $true)][string] $Id)
    if ($Id -notmatch '^[A-Za-z0-9._-]+$') { throw "not a job id: $Id" }
    Join-Path -Path (Join-Path -Path (Get-StateFolder) -ChildPath 'jobs') -ChildPath $Id
}

function Install-NodeCode {
    <#
    .SYNOPSIS
    Writes scripts (JSON text: file name -> text) under a folder named after their hash and returns it. What is there already is compared, not trusted.
    #>
    param([Parameter(Mandatory = $true)][string] $Code)
    $algorithm = New-Object System.Security.Cryptography.SHA256CryptoServiceProvider
    try {
        $version = (ConvertTo-Hexadecimal -Bytes $algorithm.ComputeHash([Text.Encoding]::UTF8.GetBytes($Code))).Substring(0, 16)
    }
    finally { $algorithm.Dispose() }
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
    Starts a job and returns once it has shown life (its first status). Spec is JSON text. Code (see Install-NodeCode) must hold JobHost.ps1 and the script named Job.
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
    if ([IO.Directory]::Exists($folder)) {
        throw (New-NodeFailure -Reason 'job_exists' -Message "A job $Id is on this node already ($folder)")
    }
    New-ProtectedFolder -Path (Get-StateFolder)
    $codeFolder = Install-NodeCode -Code $Code
    $null = [IO.Directory]::CreateDirectory($folder)
    Write-NodeText -Path (Join-Path -Path $folder -ChildPath 'spec.json') -Text $Spec
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
    # The running instance goes on; nothing is left registered if everybody else dies.
    Remove-NodeTask -Name $task
}

function Get-NodeJobStatus {
    <#
    .SYNOPSIS
    Waits until the job is over, at most WaitSeconds, and returns status (hashtable) and log (text from LogOffset on, in characters).
    #>
    param(
        [Parameter(Mandatory = $true)][string] $Id,
        [double] $WaitSeconds = 0,
        [int] $LogOffset = 0
    )
    $folder = Get-JobFolder -Id $Id
    $path = Join-Path -Path $folder -ChildPath 'status.json'
    $watch = [Diagnostics.Stopwatch]::StartNew()
    $nextLifeSign = 0
    while ($true) {
        if (-not [IO.File]::Exists($path)) { throw (New-NodeFailure -Reason 'job_lost' -Message "The job $Id is not on this node ($path is absent)") }
        $status = ConvertFrom-Json -InputObject (Read-NodeText -Path $path)
        if ($status.state -eq 'running' -and $watch.Elapsed.TotalSeconds -ge $nextLifeSign) {
            $nextLifeSign = $watch.Elapsed.TotalSeconds + 2
            if (-not (Test-JobProcess -Status $status)) {
                # Read again: it may have ended between the two looks.
                $status = ConvertFrom-Json -InputObject (Read-NodeText -Path $path)
                if ($status.state -eq 'running') {
                    throw (New-NodeFailure -Reason 'job_died' -Message ('The job {0} (process {1}) has ended without a result during {2}' -f $Id, $status.process_id, $status.phase))
                }
            }
        }
        if ($status.state -ne 'running' -or $watch.Elapsed.TotalSeconds -ge $WaitSeconds) { break }
        Start-Sleep -Milliseconds 200
    }
    $log = ''
    $logPath = Join-Path -Path $folder -ChildPath 'job.log'
    if ([IO.File]::Exists($logPath)) {
        $log = Read-NodeText -Path $logPath
        $log = $log.Substring([Math]::Min($LogOffset, $log.Length))
    }
    @{ status = $status; log = $log }
}

function Test-JobProcess {
    param([Parameter(Mandatory = $true)] $Status)
    # Process ids are used again, a pair of id and birth is not.
    (Get-ProcessBirth -ProcessId ([int]$Status.process_id)) -eq [long]$Status.process_birth
}

function Stop-NodeJob {
    <# .SYNOPSIS
    Ends the process tree of a job that is still running; returns whether there was one. #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '', Justification = 'callers check')]
    param([Parameter(Mandatory = $true)][string] $Id)
    $path = Join-Path -Path (Get-JobFolder -Id $Id) -ChildPath 'status.json'
    if (-not [IO.File]::Exists($path)) { return $false }
    $status = ConvertFrom-Json -InputObject (Read-NodeText -Path $path)
    if ($status.state -ne 'running' -or -not (Test-JobProcess -Status $status)) { return $false }
    Stop-NodeProcessTree -ProcessId ([int]$status.process_id)
    $true
}

function Receive-NodeJob {
    <# .SYNOPSIS
    The result of an ended job as an object; the job's folder is removed. #>
    param([Parameter(Mandatory = $true)][string] $Id)
    $folder = Get-JobFolder -Id $Id
    $result = Read-NodeText -Path (Join-Path -Path $folder -ChildPath 'result.json')
    Remove-NodeFolder -Path $folder
    $result
}

function Invoke-NodeJobOperation {
    <#
    .SYNOPSIS
    The hidden operations start, poll, cancel and collect of a module that has a job. Fills the result of the module.
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
            $Module.Result['status'] = $answer.status
            $Module.Result['log'] = $answer.log
        }
        'cancel' { $Module.Result['changed'] = Stop-NodeJob -Id $parameters['_job_id'] }
        # The text, not the object: what the job wrote reaches the control node as it is.
        'collect' { $Module.Result['result'] = Receive-NodeJob -Id $parameters['_job_id'] }
    }
}

Export-ModuleMember -Function Install-NodeCode, Start-NodeJob, Get-NodeJobStatus, Stop-NodeJob, Receive-NodeJob, Invoke-NodeJobOperation

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Runs one job on a node, without Ansible: loads the shared scripts, shows life, runs the job's script, writes its result and last status.

param(
    [Parameter(Mandatory = $true)][string] $Folder,
    [Parameter(Mandatory = $true)][string] $CodeFolder,
    [Parameter(Mandatory = $true)][string] $Job
)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

foreach ($file in [IO.Directory]::GetFiles($CodeFolder, '*.psm1')) {
    $script = [scriptblock]::Create([IO.File]::ReadAllText($file))
    New-Module -Name ([IO.Path]::GetFileNameWithoutExtension($file)) -ScriptBlock $script -ArgumentList $CodeFolder | Import-Module -Global
}

$specPath = Join-Path -Path $Folder -ChildPath 'spec.json'
# No spec: whoever started this has given up in the meantime.
if (-not [IO.File]::Exists($specPath)) { return }
$spec = ConvertFrom-Json -InputObject (Read-NodeText -Path $specPath)

$jobStatus = @{
    run_id = [string]$spec.run_id; state = 'running'; phase = 'start'; done_bytes = [long]0; total_bytes = [long]0; message = ''
    process_id = $PID; process_birth = Get-ProcessBirth -ProcessId $PID; job = $Job
}
$jobStatusPath = Join-Path -Path $Folder -ChildPath 'status.json'
$jobLogPath = Join-Path -Path $Folder -ChildPath 'job.log'
$jobEvents = New-Object System.Collections.ArrayList
$jobWatch = [Diagnostics.Stopwatch]::StartNew()
$jobLastStatus = @{ seconds = -1.0 }

function Write-JobStatus {
    # Publishes where the job is. Within one phase at most twice a second, because every one is flushed to disk.
    param([string] $Phase = $jobStatus.phase, [long] $DoneBytes = 0, [long] $TotalBytes = 0, [string] $Message = '', [string] $State = 'running')
    $now = $jobWatch.Elapsed.TotalSeconds
    if ($Phase -eq $jobStatus.phase -and $State -eq 'running' -and $now - $jobLastStatus.seconds -lt 0.5) { return }
    $jobLastStatus.seconds = $now
    $jobStatus.state = $State
    $jobStatus.phase = $Phase
    $jobStatus.done_bytes = $DoneBytes
    $jobStatus.total_bytes = $TotalBytes
    $jobStatus.message = $Message
    Write-NodeText -Path $jobStatusPath -Text (ConvertTo-NodeJson -InputObject $jobStatus)
}

function Write-JobLog {
    param([string] $Text, [string] $Level = 'INFO')
    $at = Get-UtcText
    $null = $jobEvents.Add(@{ at = $at; level = $Level; text = $Text })
    Add-NodeText -Path $jobLogPath -Text ("{0} {1} {2}`r`n" -f $at, $Level, $Text)
}

Write-JobStatus -Phase 'begin'

$outcome = @{}
try {
    $script = [scriptblock]::Create((Read-NodeText -Path (Join-Path -Path $CodeFolder -ChildPath "$Job.ps1")))
    $outcome = & $script -Spec $spec
    $state = 'succeeded'
}
catch {
    $failure = Get-NodeFailure -ErrorRecord $_
    $outcome = $failure.detail
    $outcome['reason'] = $failure.reason
    $outcome['msg'] = $failure.message
    Write-JobLog -Level 'ERROR' -Text $failure.message
    $state = 'failed'
}
$outcome['events'] = $jobEvents.ToArray()
$outcome['state'] = $state
Write-NodeText -Path (Join-Path -Path $Folder -ChildPath 'result.json') -Text (ConvertTo-NodeJson -InputObject $outcome)
Write-JobStatus -Phase 'end' -State $state

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Runs one job on a node, without Ansible: loads the shared scripts, publishes the first status, runs the script of the
# job, writes its result and the last status.

param(
    [Parameter(Mandatory = $true)][string] $Folder,
    [Parameter(Mandatory = $true)][string] $CodeFolder,
    [Parameter(Mandatory = $true)][string] $Job
)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

# Windows PowerShell does not say for which version of .NET it was built, so .NET behaves like version 4.0: it
# decompresses without its native library and does not support long paths. These switches turn that off. They exist
# since .NET 4.6. .NET reads a switch only once, and may have read the switches of paths before this script begins, so
# code that needs long paths uses NodeDisk.cs and SourceFolder.cs.
if ($null -ne ('System.AppContext' -as [type])) {
    foreach ($name in 'Switch.System.IO.Compression.DoNotUseNativeZipLibraryForDecompression',
        'Switch.System.IO.UseLegacyPathHandling', 'Switch.System.IO.BlockLongPaths') {
        [AppContext]::SetSwitch($name, $false)
    }
}

foreach ($file in [IO.Directory]::GetFiles($CodeFolder, '*.psm1')) {
    $script = [scriptblock]::Create([IO.File]::ReadAllText($file))
    $name = [IO.Path]::GetFileNameWithoutExtension($file)
    New-Module -Name $name -ScriptBlock $script -ArgumentList $CodeFolder | Import-Module -Global
}

# The specification of a job may hold passwords, which the logging of commands would record.
Disable-CommandLogging

# The process that renames spec.json does the job. If the file is missing, the module that started this process has
# given up, or another process has the job already. The file may hold secrets, so it is deleted when it has been read.
$specPath = Join-Path -Path $Folder -ChildPath 'spec.json'
$claimedPath = Join-Path -Path $Folder -ChildPath 'claimed.json'
try {
    Invoke-Patiently -Seconds 10 -Action { [IO.File]::Move($specPath, $claimedPath) } `
        -IsHopeless { -not [IO.File]::Exists($specPath) }
}
catch {
    if (-not [IO.File]::Exists($specPath)) { return }
    throw
}
$spec = ConvertFrom-Json -InputObject (Read-NodeText -Path $claimedPath)
try { Remove-NodeFile -Path $claimedPath } catch { Write-Verbose -Message "claimed.json: $_" }

# Windows ends every process that this job has started when the job ends, also if it ends unexpectedly.
Import-NodeType -Name 'ProcessTable', 'NodeDisk'
$holdProblem = 0
$holdsChildren = [AlteryxOps.ProcessTable]::HoldChildren([ref]$holdProblem)

$jobStatusBytes = 4096
$jobStatus = @{
    run_id = [string]$spec.run_id; job = $Job; process_id = $PID; process_birth = Get-ProcessBirth -ProcessId $PID
    state = 'running'; phase = 'begin'; phase_began = Get-MonotonicSecond; done_bytes = [long]0; total_bytes = [long]0
    collections = 0; message = ''
}
$jobStatusPath = Join-Path -Path $Folder -ChildPath 'status.json'
$jobResultPath = Join-Path -Path $Folder -ChildPath 'result.json'
$jobCancelPath = Join-Path -Path $Folder -ChildPath 'cancel'
$jobLogPath = Join-Path -Path $Folder -ChildPath 'job.log'
$jobDecisionPath = Join-Path -Path $Folder -ChildPath 'decision'
$jobEvents = New-Object System.Collections.ArrayList
$jobWatch = [Diagnostics.Stopwatch]::StartNew()
$jobMemory = @{ status_at = -1.0; unlogged = ''; is_ending = $false }
# The heartbeat of a job that stops the service: seconds of jobWatch, and which tool it has started.
$jobBeat = @{ next = 0.0; written = 0.0; trouble = $false; tool_id = 0; tool_birth = [long]0 }

function Write-JobStatus {
    # Publishes phase and progress of the job. Within one phase at most twice a second, because each status is flushed
    # to disk. Never throws: the job continues if its status cannot be written.
    param(
        [string] $Phase = $jobStatus.phase, [long] $DoneBytes = 0, [long] $TotalBytes = 0, [int] $Collections = 0,
        [string] $Message = ''
    )
    $now = $jobWatch.Elapsed.TotalSeconds
    if ($Phase -eq $jobStatus.phase -and $now - $jobMemory.status_at -lt 0.5) { return }
    if ($Phase -ne $jobStatus.phase) { $jobStatus.phase_began = Get-MonotonicSecond }
    $jobMemory.status_at = $now
    $jobStatus.phase = $Phase
    $jobStatus.done_bytes = $DoneBytes
    $jobStatus.total_bytes = $TotalBytes
    $jobStatus.collections = $Collections
    $jobStatus.message = $Message.Substring(0, [Math]::Min(500, $Message.Length))
    Publish-JobStatus
}

function Publish-JobStatus {
    # Never throws, for the same reason.
    try { Write-NodeRecord -Path $jobStatusPath -Data $jobStatus }
    catch { Write-Verbose -Message "status.json: $_" }
}

function Write-DumpProgress {
    # Reports the bytes and collections in the dump folder as progress. It reads the folder, not the dump tool. Never
    # throws: a dump continues if its progress is not known.
    param([Parameter(Mandatory = $true)][string] $Path, [long] $TotalBytes = 0)
    try {
        $size = Get-DumpSize -Path $Path
        Write-JobStatus -DoneBytes $size.bytes -TotalBytes $TotalBytes -Collections $size.collections
    }
    catch { Write-Verbose -Message "size of $($Path): $_" }
}

function Write-JobLog {
    # Writes a line to the log of the job. Never throws: a line that cannot be written now is written with the next one,
    # and every line is in the result. At: the time of the event, if that is not now.
    param([string] $Text, [string] $Level = 'INFO', [string] $At = (Get-UtcText))
    $null = $jobEvents.Add(@{ at = $At; level = $Level; text = $Text })
    $jobMemory.unlogged += "{0} {1} {2}`r`n" -f $At, $Level, $Text
    try {
        Add-NodeText -Path $jobLogPath -Text $jobMemory.unlogged
        $jobMemory.unlogged = ''
    }
    catch { Write-Verbose -Message "job.log: $_" }
}

function Get-InnerText {
    # The message of the exception behind an error record that says why.
    param($ErrorRecord)
    $ErrorRecord.Exception.GetBaseException().Message
}

function Test-StorageFailure {
    # Did the disk or its permissions cause a failure that has no reason of its own?
    param($ErrorRecord)
    $cause = $ErrorRecord.Exception.GetBaseException()
    $isStorage = $cause -is [IO.IOException] -or $cause -is [UnauthorizedAccessException]
    $isStorage -and (Get-NodeFailure -ErrorRecord $ErrorRecord).reason -eq 'unexpected'
}

function Write-Beat {
    # Writes the heartbeat every 10 s, or now. The guard takes a job without a fresh heartbeat for dead. If it cannot be
    # written, the next call after a second tries again. Never throws.
    param([switch] $Now, [switch] $Finished)
    $seconds = $jobWatch.Elapsed.TotalSeconds
    if (-not $Now -and $seconds -lt $jobBeat.next) { return }
    try {
        Write-LeaseHeartbeat -Beat @{
            ProcessId = $PID; ProcessBirth = $jobStatus.process_birth
            ToolId = $jobBeat.tool_id; ToolBirth = $jobBeat.tool_birth
            StopRequested = $true; Finished = [bool]$Finished
        }
        $jobBeat.written = $seconds
        $jobBeat.trouble = $false
        $jobBeat.next = $seconds + 10
    }
    catch {
        $jobBeat.next = $seconds + 1
        if ($jobBeat.trouble) { return }
        $jobBeat.trouble = $true
        Write-JobLog -Level 'WARNING' -Text "the heartbeat could not be written: $(Get-InnerText -ErrorRecord $_)"
    }
}

function Write-FirstBeat {
    # Called before the stop. From here on, the guard acts if the heartbeat of this job is missing or old. Throws if the
    # heartbeat cannot be written.
    $since = $jobWatch.Elapsed.TotalSeconds
    while ($true) {
        Write-Beat -Now
        if (-not $jobBeat.trouble) { return }
        if ($jobWatch.Elapsed.TotalSeconds - $since -gt 30) {
            throw (New-NodeFailure -Reason 'no_lease' -Message 'The heartbeat cannot be written, so nothing is stopped')
        }
        Start-Sleep -Milliseconds 500
    }
}

function Write-LastBeat {
    # Reports in the heartbeat that the service runs again. Otherwise the guard takes the end of the job for a crash,
    # and ends the job if its remaining work takes longer than a heartbeat lasts. Another program may lock the file for
    # a moment.
    for ($attempt = 1; $attempt -le 60; $attempt++) {
        Write-Beat -Now -Finished
        if (-not $jobBeat.trouble) { break }
        Start-Sleep -Milliseconds 500
    }
}

function Get-BeatAge { $jobWatch.Elapsed.TotalSeconds - $jobBeat.written }

function Register-Tool {
    # Names the tool in the heartbeat, for the case that the guard finds the tool without this job.
    param($Process)
    $jobBeat.tool_id = $Process.id
    $jobBeat.tool_birth = $Process.birth
    Write-Beat -Now
}

function Stop-RegisteredTool {
    # Ends the processes that the job has started. If the service is Stopped, also ends programs of the installation by
    # name, because no service uses them then. Processes of a running service are never ended.
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'the job acts on its own')]
    param([string] $Service, [string] $BinFolder, [string[]] $Name)
    try {
        $null = Stop-HeldProcess
        if ($jobBeat.tool_birth -ne 0) {
            $null = Stop-NodeProcessTree -ProcessId $jobBeat.tool_id -Birth $jobBeat.tool_birth
        }
        if (-not $Name -or (Get-ServiceStatus -Name $Service) -ne 'Stopped') { return }
        foreach ($process in @(Get-AlteryxProcess -BinFolder $BinFolder -Name $Name -Surely)) {
            $birth = Get-ProcessBirth -ProcessId $process.process_id
            if ($birth -gt 0) { $null = Stop-NodeProcessTree -ProcessId $process.process_id -Birth $birth }
        }
    }
    finally { $jobBeat.tool_id = 0 }
}

function Save-DumpRecord {
    # Records a dump, so that recover.yml or the next run can archive it if this run dies. Never throws: this run can
    # archive the dump without the record.
    param([string] $Memo, [string] $Reason, [hashtable] $Detail)
    try {
        $staging = Get-StagingPath -Root $spec.staging_directory -RunId $spec.run_id
        Write-DumpRecord -Staging $staging -Memo $Memo -Reason $Reason -Detail $Detail
    }
    catch {
        $text = 'the record of the dump could not be written, so only this run can archive the dump'
        Write-JobLog -Level 'WARNING' -Text "${text}: $(Get-InnerText -ErrorRecord $_)"
    }
}

function Test-JobCancelled {
    # Has Stop-NodeJob created the file that asks this job to end? It is a file because a hardened node does not let an
    # administrator end a process of SYSTEM. The job confirms the request in its status at once: on a busy node it needs
    # some time to end its processes and to start the service.
    if (-not [IO.File]::Exists($jobCancelPath)) { return $false }
    if (-not $jobMemory.is_ending) {
        $jobMemory.is_ending = $true
        $jobStatus.message = 'ending, because it was cancelled'
        Publish-JobStatus
    }
    $true
}

function Assert-JobWanted {
    # Throws if the job was cancelled. Not called while the service is being started, which must not be cancelled.
    if (-not (Test-JobCancelled)) { return }
    throw (New-NodeFailure -Reason 'job_died' -Message "The job was cancelled during $($jobStatus.phase)")
}

function Test-JobAsked {
    # Has Open-NodeJob asked this job to continue, or has the job given up waiting for that?
    [IO.File]::Exists($jobDecisionPath)
}

function Close-JobWait {
    # Stops waiting for the request to continue. Returns false if the request came a moment before.
    (Set-NodeDecision -Path $jobDecisionPath -Word 'closed') -ceq 'closed'
}

function Enter-JobShare {
    # Uses the account of a destination (an object with path, user, domain and password) for shares from now on, and
    # throws unless its folder exists. The job has loaded the type ShareAccount. The password is in an object, because
    # Windows may record the arguments of commands.
    param([Parameter(Mandatory = $true)] $Place)
    $domain = $(if ($Place.domain) { $Place.domain } else { [NullString]::Value })
    $problem = [AlteryxOps.ShareAccount]::Use($Place.user, $domain, $Place.password)
    if ($problem -ne 0) {
        $why = (New-Object System.ComponentModel.Win32Exception $problem).Message
        throw (New-NodeFailure -Reason 'destination_denied' -Message (
                "the account $($Place.user) cannot be used: $why (error $problem)"))
    }
    Assert-ShareFolder -Path $Place.path
}

function Add-ShareFailure {
    # Says in the answer about a destination (a hashtable) what has failed there: reason and message.
    param([Parameter(Mandatory = $true)][hashtable] $Answer, [Parameter(Mandatory = $true)] $ErrorRecord)
    $failure = Get-NodeFailure -ErrorRecord $ErrorRecord
    if ($failure.reason -eq 'unexpected') { $failure.reason = Get-ShareErrorReason -ErrorRecord $ErrorRecord }
    $Answer.reason = $failure.reason
    $Answer.message = $failure.message
}

function Invoke-AtPlace {
    # Runs an action at a destination, with the account of the destination. A failure goes into the answer about this
    # destination, so that it does not affect the others.
    param($Place, [string] $Phase, [hashtable] $Answer, [scriptblock] $Action)
    Write-JobStatus -Phase "$Phase $($Place.name)"
    Assert-JobWanted
    try {
        Enter-JobShare -Place $Place
        $null = & $Action
    }
    catch { Add-ShareFailure -Answer $Answer -ErrorRecord $_ }
}

function Remove-JobLease {
    # Releases the lease of a job whose control node is lost, if no service has to be started. Never throws, because the
    # guard ends a lease that stays.
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'the job acts on its own')]
    param()
    try { $null = Remove-NodeLease }
    catch { Write-JobLog -Level 'WARNING' -Text "the lease remains: $(Get-InnerText -ErrorRecord $_)" }
}

function Write-JobEnd {
    # Writes the result, and after it the last status. The file of the result was created before the job began, with
    # enough space. Retries for 15 minutes, because another program may lock a file: without the result, the work of the
    # job is lost.
    param([string] $Text, [string] $State)
    $jobStatus.state = $State
    $jobStatus.phase = 'end'
    $isWritten = $false
    for ($attempt = 1; ; $attempt++) {
        try {
            if (-not $isWritten) { Write-JobResult -Text $Text }
            $isWritten = $true
            Write-NodeRecord -Path $jobStatusPath -Data $jobStatus
            return
        }
        catch {
            if ($attempt -ge 180) { throw }
            Start-Sleep -Seconds 5
        }
    }
}

function Write-JobResult {
    param([string] $Text)
    $bytes = (New-Object System.Text.UTF8Encoding $false).GetBytes($Text)
    $share = [IO.FileShare]'ReadWrite, Delete'
    $mode = [IO.FileMode]::OpenOrCreate
    $stream = New-Object System.IO.FileStream $jobResultPath, $mode, ([IO.FileAccess]::Write), $share
    try {
        # The rest of the file contains spaces, which JSON allows after the value.
        $stream.Write($bytes, 0, $bytes.Length)
        $stream.Flush($true)
    }
    finally { $stream.Dispose() }
}

# The module that has started the job waits for this first status.
New-NodeRecord -Path $jobStatusPath -Length $jobStatusBytes -Data $jobStatus
if (-not $holdsChildren) {
    $text = "Windows refused a job object (error $holdProblem), " +
    'so child processes do not end with this job by themselves'
    Write-JobLog -Level 'WARNING' -Text $text
}

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
Write-JobEnd -Text (ConvertTo-NodeJson -InputObject $outcome) -State $state

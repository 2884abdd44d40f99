# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeFiles
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeProcess
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeFailure

# Scheduled tasks through schtasks.exe. Its texts are localised, so only its exit codes and its XML are used. With
# /HRESULT the exit code says why a call failed (schtasks /Query /?: "for better diagnosability").

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

# ERROR_FILE_NOT_FOUND and ERROR_PATH_NOT_FOUND as HRESULT: no task of that name, no folder of that name.
$script:NotFound = @(-2147024894, -2147024893)

function Get-TaskExecutable {
    Join-Path -Path ([Environment]::GetFolderPath('System')) -ChildPath 'schtasks.exe'
}

function ConvertTo-ScriptCommand {
    <#
    .SYNOPSIS
    Arguments for powershell.exe that run a script file in plain text. They use ReadAllText and a script block, because
    the execution policy does not apply to these. Every argument becomes a single-quoted literal.
    #>
    param(
        [Parameter(Mandatory = $true)][string] $Path,
        [string[]] $ArgumentList = @()
    )
    $literals = @(@($Path) + $ArgumentList | ForEach-Object { "'{0}'" -f $_.Replace("'", "''") })
    $arguments = if ($literals.Count -gt 1) { ' ' + ($literals[1..($literals.Count - 1)] -join ' ') } else { '' }
    $command = '-NoProfile -NonInteractive -ExecutionPolicy Bypass -Command ' +
    '"& ([scriptblock]::Create([IO.File]::ReadAllText({0}))){1}"'
    $command -f $literals[0], $arguments
}

function Register-NodeTask {
    <#
    .SYNOPSIS
    Registers a task that runs a script as SYSTEM. An existing task of that name is an error and is not replaced.
    Priority 4 is normal, 7 (Windows' default for tasks) is below normal. TimeLimit is an ISO 8601 duration, PT0S means
    none.
    #>
    param(
        [Parameter(Mandatory = $true)][string] $Name,
        [Parameter(Mandatory = $true)][string] $Description,
        [Parameter(Mandatory = $true)][string] $Path,
        [string[]] $ArgumentList = @(),
        [int] $Priority = 7,
        [string] $TimeLimit = 'PT0S',
        [switch] $AtBootAndEveryMinute
    )
    $triggers = ''
    if ($AtBootAndEveryMinute) {
        $triggers = '<BootTrigger><Enabled>true</Enabled></BootTrigger>' +
        '<TimeTrigger><Repetition><Interval>PT1M</Interval></Repetition>' +
        # In UTC, because the behaviour of a trigger in local time is not specified for the hour that a clock change
        # repeats (Microsoft KB325413).
        '<StartBoundary>2020-01-01T00:00:00Z</StartBoundary><Enabled>true</Enabled></TimeTrigger>'
    }
    $system = [Environment]::GetFolderPath('System')
    $powershell = Join-Path -Path $system -ChildPath 'WindowsPowerShell\v1.0\powershell.exe'
    $escape = { param($Text) [Security.SecurityElement]::Escape($Text) }
    $xml = '<?xml version="1.0" encoding="UTF-16"?>' +
    '<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">' +
    '<RegistrationInfo><Description>{0}</Description></RegistrationInfo><Triggers>{1}</Triggers>' +
    '<Principals><Principal id="Author"><UserId>S-1-5-18</UserId>' +
    '<RunLevel>HighestAvailable</RunLevel></Principal></Principals>' +
    '<Settings><MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>' +
    '<DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>' +
    '<StopIfGoingOnBatteries>false</StopIfGoingOnBatteries><AllowHardTerminate>true</AllowHardTerminate>' +
    '<StartWhenAvailable>true</StartWhenAvailable>' +
    '<RunOnlyIfNetworkAvailable>false</RunOnlyIfNetworkAvailable><Enabled>true</Enabled><Hidden>false</Hidden>' +
    '<RunOnlyIfIdle>false</RunOnlyIfIdle><WakeToRun>false</WakeToRun>' +
    '<ExecutionTimeLimit>{2}</ExecutionTimeLimit><Priority>{3}</Priority></Settings>' +
    '<Actions Context="Author"><Exec><Command>{4}</Command><Arguments>{5}</Arguments></Exec></Actions></Task>'
    $xml = $xml -f (& $escape $Description), $triggers, $TimeLimit, $Priority, (& $escape $powershell),
    (& $escape (ConvertTo-ScriptCommand -Path $Path -ArgumentList $ArgumentList))
    $file = Join-Path -Path (Get-StateFolder) -ChildPath ('task-{0}.xml' -f [Guid]::NewGuid().ToString('N'))
    # schtasks requires UTF-16 with a byte order mark, as the XML declaration says.
    [IO.File]::WriteAllText($file, $xml, [Text.Encoding]::Unicode)
    try {
        Invoke-TaskCommand -ArgumentList @('/Create', '/TN', $Name, '/XML', $file) `
            -Doing "register the scheduled task $Name"
    }
    # The task is registered without this file. The next run deletes a file that stays.
    finally { try { Remove-NodeFile -Path $file } catch { Write-Verbose -Message "${file}: $_" } }
}

function Invoke-TaskCommand {
    param(
        [Parameter(Mandatory = $true)][string[]] $ArgumentList,
        [Parameter(Mandatory = $true)][string] $Doing
    )
    $answer = Invoke-NativeProcess -FileName (Get-TaskExecutable) -ArgumentList $ArgumentList -TimeoutSeconds 60 `
        -TickSeconds 0.1
    if ($answer.exit_code -ne 0) {
        $text = ('{0} {1}' -f $answer.stderr.Trim(), $answer.stdout.Trim()).Trim()
        throw (New-NodeFailure -Reason 'task_refused' -Message (
                'The Task Scheduler refused to {0}: {1} (exit code {2})' -f $Doing, $text, $answer.exit_code))
    }
}

function Start-NodeTask {
    <# .SYNOPSIS
    Runs a registered task now. #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'callers check')]
    param([Parameter(Mandatory = $true)][string] $Name)
    Invoke-TaskCommand -ArgumentList @('/Run', '/TN', $Name) -Doing "run the scheduled task $Name"
}

function Invoke-TaskQuery {
    param([string[]] $ArgumentList)
    $words = @('/Query') + $ArgumentList
    Invoke-NativeProcess -FileName (Get-TaskExecutable) -ArgumentList $words -TimeoutSeconds 60 -TickSeconds 0.1
}

function Get-NodeTaskXml {
    <#
    .SYNOPSIS
    Returns the definition of a registered task as XML text, or an empty text if the task is absent. A task counts as
    absent only if the Task Scheduler says so and its file of the task is absent, too. Otherwise throws task_unknown,
    because a scheduler that does not answer may still run the task.
    #>
    param([Parameter(Mandatory = $true)][string] $Name)
    $answer = Invoke-TaskQuery -ArgumentList @('/TN', $Name, '/HRESULT', '/XML')
    if ($answer.exit_code -eq 0) { return $answer.stdout }
    $file = Join-Path -Path ([Environment]::GetFolderPath('System')) -ChildPath ('Tasks' + $Name)
    if ([IO.File]::Exists($file)) { $why = "its file $file exists" }
    elseif ($script:NotFound -contains $answer.exit_code) { return '' }
    else {
        # For a schtasks.exe without /HRESULT: does it answer another query?
        if (-not $answer.timed_out) { $answer = Invoke-TaskQuery -ArgumentList @('/FO', 'CSV', '/NH') }
        if ($answer.exit_code -eq 0) { return '' }
        $why = ('{0} {1}' -f $answer.stderr.Trim(), $answer.stdout.Trim()).Trim()
    }
    throw (New-NodeFailure -Reason 'task_unknown' -Message (
            'The Task Scheduler did not say whether the task {0} is registered: {1} (exit code {2})' -f
            $Name, $why, $answer.exit_code))
}

function Test-NodeTask {
    <# .SYNOPSIS
    Is a task of this name registered? Throws if the Task Scheduler does not answer. #>
    param([Parameter(Mandatory = $true)][string] $Name)
    [bool](Get-NodeTaskXml -Name $Name)
}

function Remove-NodeTask {
    <# .SYNOPSIS
    Deletes a task and checks that it is gone; an absent one is fine. A running instance is not ended by this. #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'callers check')]
    param([Parameter(Mandatory = $true)][string] $Name)
    if (-not (Test-NodeTask -Name $Name)) { return }
    try { Invoke-TaskCommand -ArgumentList @('/Delete', '/TN', $Name, '/F') -Doing "delete the scheduled task $Name" }
    catch {
        # A guard deletes its own task, possibly at this moment.
        if (Test-NodeTask -Name $Name) { throw }
        return
    }
    if (Test-NodeTask -Name $Name) {
        throw (New-NodeFailure -Reason 'task_refused' -Message (
                "The scheduled task $Name is still there after it was deleted"))
    }
}

function Get-OwnTaskFolder { Join-Path -Path ([Environment]::GetFolderPath('System')) -ChildPath 'Tasks\AlteryxOps' }

function Get-OwnTask {
    <#
    .SYNOPSIS
    The names of all registered tasks of this collection, with their folder: those that the Task Scheduler lists and
    those for which it has a file. Throws task_unknown if it does not answer.
    #>
    $answer = Invoke-TaskQuery -ArgumentList @('/TN', '\AlteryxOps\', '/HRESULT', '/FO', 'CSV', '/NH')
    $isAbsent = $script:NotFound -contains $answer.exit_code
    if ($answer.exit_code -ne 0 -and -not $isAbsent -and -not $answer.timed_out) {
        # A schtasks.exe that does not accept a folder or /HRESULT lists all tasks of the node.
        $answer = Invoke-TaskQuery -ArgumentList @('/FO', 'CSV', '/NH')
    }
    if ($answer.exit_code -ne 0 -and -not $isAbsent) {
        $why = ('{0} {1}' -f $answer.stderr.Trim(), $answer.stdout.Trim()).Trim()
        throw (New-NodeFailure -Reason 'task_unknown' -Message (
                'The Task Scheduler did not list the tasks of its folder \AlteryxOps: {0} (exit code {1})' -f
                $why, $answer.exit_code))
    }
    # The first column is the name; the others are localised.
    $listed = @([regex]::Matches([string]$answer.stdout, '(?m)^"(\\AlteryxOps\\[^"\\]+)"') |
            ForEach-Object { $_.Groups[1].Value })
    $folder = Get-OwnTaskFolder
    $files = @(if ([IO.Directory]::Exists($folder)) {
            foreach ($file in [IO.Directory]::GetFiles($folder)) { '\AlteryxOps\' + [IO.Path]::GetFileName($file) }
        })
    @($listed + $files) | Sort-Object -Unique
}

function Remove-OwnTaskFolder {
    <#
    .SYNOPSIS
    Removes the folder of this collection's tasks in the Task Scheduler, if it is empty. schtasks.exe cannot. Never
    throws: an empty folder does no harm.
    #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'callers check')]
    param()
    if (-not [IO.Directory]::Exists((Get-OwnTaskFolder))) { return }
    try {
        $scheduler = New-Object -ComObject 'Schedule.Service'
        $scheduler.Connect()
        $scheduler.GetFolder('\').DeleteFolder('AlteryxOps', 0)
    }
    catch { Write-Verbose -Message "the folder \AlteryxOps of the Task Scheduler stays: $_" }
}

Export-ModuleMember -Function ConvertTo-ScriptCommand, Register-NodeTask, Start-NodeTask, Get-NodeTaskXml,
Test-NodeTask, Remove-NodeTask, Get-OwnTask, Remove-OwnTaskFolder

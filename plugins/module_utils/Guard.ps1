# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The guard: the scheduled task that brings the service back when nobody else does. Runs as SYSTEM at boot, every minute, and on demand for the drill.
# It stands alone, so that nothing else can break it: one file, and what to restore stands in its own arguments. It answers the drill, then does
# nothing while the lease of this boot has time left and the window job shows life. An absent or unreadable lease means act.

param(
    [Parameter(Mandatory = $true)][string] $Service,
    [Parameter(Mandatory = $true)][string] $PriorState,
    [Parameter(Mandatory = $true)][string] $BinFolder
)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

Add-Type -AssemblyName System.ServiceProcess

$system = [Environment]::GetFolderPath('System')
$state = Join-Path -Path ([Environment]::GetFolderPath('CommonApplicationData')) -ChildPath 'AlteryxOps'
$utf8 = New-Object System.Text.UTF8Encoding $false
$firingsUntilGone = 3

function Read-State {
    # A state file as an object; nothing when it is absent. Throws when it cannot be read as JSON. Replacing a file takes more than one step inside
    # Windows, so absent or unreadable counts only when it stays so.
    param([string] $Name)
    $path = Join-Path -Path $state -ChildPath $Name
    for ($attempt = 1; ; $attempt++) {
        try {
            if ([IO.File]::Exists($path)) {
                $share = [IO.FileShare]::ReadWrite -bor [IO.FileShare]::Delete
                $stream = New-Object System.IO.FileStream $path, ([IO.FileMode]::Open), ([IO.FileAccess]::Read), $share
                try { $text = (New-Object System.IO.StreamReader $stream, $utf8).ReadToEnd() }
                finally { $stream.Dispose() }
                $read = ConvertFrom-Json -InputObject $text
                if ($null -eq $read) { throw "$Name is empty" }
                return $read
            }
            if ($attempt -ge 10) { return }
        }
        catch { if ($attempt -ge 10) { throw } }
        Start-Sleep -Milliseconds 200
    }
}

function Write-State {
    # Whole or not at all, like everything in the state folder.
    param([string] $Name, [string] $Text)
    $path = Join-Path -Path $state -ChildPath $Name
    $new = '{0}.{1}.new' -f $path, [Guid]::NewGuid().ToString('N')
    [IO.File]::WriteAllText($new, $Text, $utf8)
    if ([IO.File]::Exists($path)) { [IO.File]::Replace($new, $path, [NullString]::Value) }
    else { [IO.File]::Move($new, $path) }
}

function Write-GuardLog {
    # Restoring matters more than logging: neither a full disk nor a broken event log stops the guard.
    param([string] $Text)
    $at = [DateTime]::UtcNow.ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", [Globalization.CultureInfo]::InvariantCulture)
    try { [IO.File]::AppendAllText((Join-Path -Path $state -ChildPath 'guard.log'), "$at $Text`r`n", $utf8) }
    catch { Write-Verbose -Message "guard.log: $_" }
    try {
        if (-not [Diagnostics.EventLog]::SourceExists('AlteryxOps')) { [Diagnostics.EventLog]::CreateEventSource('AlteryxOps', 'Application') }
        [Diagnostics.EventLog]::WriteEntry('AlteryxOps', $Text, [Diagnostics.EventLogEntryType]::Warning, 1000)
    }
    catch { Write-Verbose -Message "event log: $_" }
}

function Invoke-Tool {
    # Runs a program of Windows and returns its exit code and text.
    param([string] $Name, [string] $Arguments)
    $start = New-Object System.Diagnostics.ProcessStartInfo (Join-Path -Path $system -ChildPath $Name), $Arguments
    $start.UseShellExecute = $false
    $start.CreateNoWindow = $true
    $start.RedirectStandardOutput = $true
    $process = [Diagnostics.Process]::Start($start)
    try {
        $text = $process.StandardOutput.ReadToEnd()
        $process.WaitForExit()
        @{ exit_code = $process.ExitCode; text = $text }
    }
    finally { $process.Dispose() }
}

function Get-Monotonic { [double][Diagnostics.Stopwatch]::GetTimestamp() / [double][Diagnostics.Stopwatch]::Frequency }

function Get-Birth {
    # The same number as NodeProcess: milliseconds of creation, 0 for no process.
    param([int] $ProcessId)
    $found = @(Get-CimInstance -ClassName Win32_Process -Filter "ProcessId=$ProcessId")
    if ($found.Count -eq 0) { return [long]0 }
    [long][Math]::Floor($found[0].CreationDate.ToUniversalTime().Ticks / 10000)
}

function Get-Boot {
    # The same text as NodeClock.
    $controlManager = @(Get-CimInstance -ClassName Win32_Process -Filter "Name='services.exe'")
    '{0}@{1}' -f $controlManager[0].ProcessId, $controlManager[0].CreationDate.ToUniversalTime().ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", [Globalization.CultureInfo]::InvariantCulture)
}

function Test-Port {
    # Does anybody answer there? Asked twice: one connection that is refused proves nothing.
    param([string] $HostName, [int] $Port)
    for ($attempt = 1; $attempt -le 2; $attempt++) {
        $client = New-Object System.Net.Sockets.TcpClient
        try {
            $asked = $client.BeginConnect($HostName, $Port, $null, $null)
            if ($asked.AsyncWaitHandle.WaitOne(5000)) {
                $client.EndConnect($asked)
                return $true
            }
        }
        catch { Write-Verbose -Message "${HostName}:${Port}: $_" }
        finally { $client.Close() }
        if ($attempt -eq 1) { Start-Sleep -Seconds 1 }
    }
    $false
}

function Get-ReasonOfController {
    # A node beside the controller comes back after it: once it has gone down and answers again, or when it does not go down at all.
    param($Lease, [double] $Now)
    $where = '{0}:{1}' -f $Lease.controller_host, $Lease.controller_port
    $seen = Join-Path -Path $state -ChildPath 'controller-down.txt'
    if (-not (Test-Port -HostName ([string]$Lease.controller_host) -Port ([int]$Lease.controller_port))) {
        if (-not [IO.File]::Exists($seen)) { Write-State -Name 'controller-down.txt' -Text $where }
        # Released while the port was tried: what it has left behind is all there is to take away.
        if (-not [IO.File]::Exists((Join-Path -Path $state -ChildPath 'lease.json'))) { [IO.File]::Delete($seen) }
        return ''
    }
    if ([IO.File]::Exists($seen)) { return "the controller ($where) has been down and answers again" }
    if ($Now -ge [double]$Lease.open_by_monotonic) { return "the controller ($where) has not gone down in the time given" }
    ''
}

function Get-ReasonToAct {
    # Why the guard has to act now; empty while it has not. Whatever cannot be found out is a reason.
    try {
        $lease = Read-State -Name 'lease.json'
        if ($null -eq $lease) { return 'the lease is absent' }
        if ([string]$lease.boot -cne (Get-Boot)) { return 'the node has booted since the lease was taken' }
        $now = Get-Monotonic
        if ($now -ge [double]$lease.deadline_monotonic) { return "the deadline of the lease ($($lease.deadline)) has passed" }
        $heartbeat = Read-State -Name 'heartbeat.json'
        if ($null -eq $heartbeat) {
            # Only the controller's lease has one; it is written before the lease is.
            if ([double]$lease.heartbeat_stale -gt 0) { return 'the heartbeat is absent' }
            if ([string]$lease.controller_host) { return Get-ReasonOfController -Lease $lease -Now $now }
            return ''
        }
        if (-not [bool]$heartbeat.stop_requested) { return '' }
        $age = $now - [double]$heartbeat.monotonic
        if ([double]$lease.heartbeat_stale -gt 0 -and $age -gt [double]$lease.heartbeat_stale) { return ('the heartbeat is {0} s old' -f [int]$age) }
        if ([int]$heartbeat.process_id -ne 0 -and (Get-Birth -ProcessId ([int]$heartbeat.process_id)) -ne [long]$heartbeat.process_birth) {
            return "the window job (process $($heartbeat.process_id)) has ended"
        }
        return ''
    }
    catch { return "the lease cannot be read ($($_.Exception.Message))" }
}

function Stop-WindowJob {
    # Ends what is left of the window job, orphans included, and a mongod it started. The service's own processes are never touched.
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '', Justification = 'the guard acts on its own')]
    param([System.ServiceProcess.ServiceController] $Controller)
    try {
        $heartbeat = Read-State -Name 'heartbeat.json'
        $all = @(Get-CimInstance -ClassName Win32_Process)
        $doomed = New-Object System.Collections.ArrayList
        if ($null -ne $heartbeat -and [int]$heartbeat.process_id -ne 0) {
            $parents = New-Object System.Collections.ArrayList
            $null = $parents.Add([int]$heartbeat.process_id)
            $root = @($all | Where-Object { $_.ProcessId -eq [int]$heartbeat.process_id })
            if ($root.Count -eq 1 -and (Get-Birth -ProcessId $root[0].ProcessId) -eq [long]$heartbeat.process_birth) { $null = $doomed.Add([int]$root[0].ProcessId) }
            for ($index = 0; $index -lt $parents.Count; $index++) {
                foreach ($process in $all) {
                    $birth = [long][Math]::Floor($process.CreationDate.ToUniversalTime().Ticks / 10000)
                    if ($process.ParentProcessId -eq $parents[$index] -and $birth -ge [long]$heartbeat.process_birth -and -not $parents.Contains([int]$process.ProcessId)) {
                        $null = $parents.Add([int]$process.ProcessId)
                        $null = $doomed.Add([int]$process.ProcessId)
                    }
                }
            }
        }
        if ([string]$Controller.Status -eq 'Stopped') {
            # Without a service no mongod of the installation belongs to anybody.
            $prefix = $BinFolder.TrimEnd('\') + '\'
            foreach ($process in $all) {
                if (@('mongod.exe', 'mongodump.exe') -contains $process.Name -and ([string]$process.ExecutablePath).StartsWith($prefix, [StringComparison]::OrdinalIgnoreCase)) {
                    $null = $doomed.Add([int]$process.ProcessId)
                }
            }
        }
        foreach ($id in $doomed) {
            try {
                $process = [Diagnostics.Process]::GetProcessById($id)
                $process.Kill()
                $null = $process.WaitForExit(10000)
            }
            catch { Write-Verbose -Message "process ${id}: $_" }
        }
    }
    catch { Write-GuardLog -Text "what is left of the window job could not be ended: $($_.Exception.Message)" }
}

function Remove-Guard {
    # The task first, then what it watches over.
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '', Justification = 'the guard acts on its own')]
    param()
    $null = Invoke-Tool -Name 'schtasks.exe' -Arguments '/Delete /TN "\AlteryxOps\Guard" /F'
    foreach ($name in @('lease.json', 'heartbeat.json', 'guard-state.json', 'controller-down.txt', 'STATUS.txt', 'restore-service.cmd')) {
        try { [IO.File]::Delete((Join-Path -Path $state -ChildPath $name)) } catch { Write-Verbose -Message "${name}: $_" }
    }
}

$request = Join-Path -Path $state -ChildPath 'drill-request.txt'
if ([IO.File]::Exists($request)) {
    # whoami prints the security identifier in every language of Windows.
    $account = (Invoke-Tool -Name 'whoami.exe' -Arguments '/user /fo csv /nh').text
    $account = if ($account -match '"(S-1-[0-9-]+)"') { $Matches[1] } else { "unknown ($($account.Trim()))" }
    Write-State -Name 'drill-answer.json' -Text (ConvertTo-Json -Depth 2 -Compress -InputObject @{ word = [IO.File]::ReadAllText($request, $utf8); account = $account })
}

$why = Get-ReasonToAct
if (-not $why) { return }
if ([IO.File]::Exists((Join-Path -Path $state -ChildPath 'HOLD'))) {
    Write-GuardLog -Text "$why, but the file HOLD is there: $Service is left as it is"
    return
}

$guardState = @{ acted = 0; running = 0 }
try {
    $known = if ([IO.File]::Exists((Join-Path -Path $state -ChildPath 'guard-state.json'))) { Read-State -Name 'guard-state.json' }
    if ($null -ne $known) { $guardState = @{ acted = [int]$known.acted; running = [int]$known.running } }
}
catch { Write-Verbose -Message "guard-state.json: $_" }

$controller = New-Object System.ServiceProcess.ServiceController $Service
$isBack = $PriorState -ne 'Running' -or [string]$controller.Status -eq 'Running'
$job = $null
try { $job = Read-State -Name 'heartbeat.json' } catch { Write-Verbose -Message "heartbeat.json: $_" }
if (-not ($isBack -and $null -ne $job -and [bool]$job.finished)) {
    # Next generation first: a job that is only slow sees it and gives up before it can do anything else.
    try {
        $lease = Read-State -Name 'lease.json'
        if ($null -ne $lease -and $guardState.acted -eq 0) {
            $lease.generation = [int]$lease.generation + 1
            Write-State -Name 'lease.json' -Text (ConvertTo-Json -Depth 5 -Compress -InputObject $lease)
        }
    }
    catch { Write-Verbose -Message "generation: $_" }
    Stop-WindowJob -Controller $controller
}
if (-not $isBack) {
    $found = [string]$controller.Status
    $problem = ''
    # One refused start proves nothing, and a service may fall back: asked again until it has been Running for two seconds, within the limit of this task.
    $watch = [Diagnostics.Stopwatch]::StartNew()
    $runningSince = -1.0
    $nextRequest = 0.0
    while ($watch.Elapsed.TotalSeconds -lt 200) {
        $now = $watch.Elapsed.TotalSeconds
        $controller.Refresh()
        if ([string]$controller.Status -eq 'Running') {
            if ($runningSince -lt 0) { $runningSince = $now }
            $isBack = $now - $runningSince -ge 2
            if ($isBack) { break }
        }
        else { $runningSince = -1.0 }
        if ([string]$controller.Status -eq 'Stopped' -and $now -ge $nextRequest) {
            try { $controller.Start() }
            catch { $problem = $_.Exception.GetBaseException().Message }
            $nextRequest = $now + 5
        }
        Start-Sleep -Milliseconds 250
    }
    $text = if ($isBack) { "$why; $Service was $found and is Running again" }
    else { "$why; $Service was $found and is $($controller.Status), next try in a minute. $problem" }
    Write-GuardLog -Text $text
}
$guardState.acted++
$guardState.running = if ($isBack) { $guardState.running + 1 } else { 0 }
if ($guardState.running -ge $firingsUntilGone) {
    Remove-Guard
    Write-GuardLog -Text "$Service was as before at $firingsUntilGone firings; the guard has removed itself"
}
else {
    try {
        Write-State -Name 'guard-state.json' -Text (ConvertTo-Json -Depth 2 -Compress -InputObject $guardState)
        # A run that releases the lease deletes the task first and then the files; what is written after that nobody would delete.
        if ((Invoke-Tool -Name 'schtasks.exe' -Arguments '/Query /TN "\AlteryxOps\Guard"').exit_code -ne 0) {
            [IO.File]::Delete((Join-Path -Path $state -ChildPath 'guard-state.json'))
        }
    }
    catch { Write-Verbose -Message "guard-state.json: $_" }
}

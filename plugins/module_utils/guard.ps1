# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The guard: the scheduled task that starts the service again if the window job and the playbook do not. It runs as
# SYSTEM at boot, every minute, and on demand for the drill. It depends on nothing else that could fail: it is one file,
# compiles nothing, uses no WMI, and has all that it needs to act in its arguments. It answers the drill. Then it does
# nothing while the lease is of this boot and has time left, and the heartbeat of the window job is fresh. If the lease
# is absent, the guard acts. If another program locks the lease, the heartbeat decides.

param(
    [Parameter(Mandatory = $true)][string] $Service,
    [Parameter(Mandatory = $true)][string] $PriorState,
    [Parameter(Mandatory = $true)][string] $BinFolder,
    # Monotonic seconds: when the lease was taken, and when the guard starts the service in any case.
    [Parameter(Mandatory = $true)][double] $Taken,
    [Parameter(Mandatory = $true)][double] $Deadline,
    # The value of a volatile registry key, which Windows deletes at every boot.
    [Parameter(Mandatory = $true)][string] $Boot,
    # Seconds after which a window job without a heartbeat is dead; 0 on a node without a window job.
    [int] $HeartbeatStale = 0,
    # The address of the controller, on the other nodes of a fleet. The web address is requested if it is given, else
    # the port is tried.
    [string] $ControllerHost = '',
    [int] $ControllerPort = 0,
    [string] $ControllerUrl = '',
    # Seconds for which the controller must answer first, because UI nodes start after the workers. Less than
    # $lookSeconds, so that one run of the guard is enough if the registry cannot store anything.
    [int] $StartDelay = 0,
    # Only for a restore: its run ID and the path of undo_restore.ps1. No service is started before that script has
    # confirmed that the old server or the new server is complete.
    [string] $RestoreRun = '',
    [string] $UndoScript = ''
)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

Add-Type -AssemblyName System.ServiceProcess

$system = [Environment]::GetFolderPath('System')
$state = Join-Path -Path ([Environment]::GetFolderPath('CommonApplicationData')) -ChildPath 'AlteryxOps'
$utf8 = New-Object System.Text.UTF8Encoding $false
$ownKey = 'SOFTWARE\AlteryxOps'
$firingsUntilGone = 3
$lookSeconds = 50
# NodeService.psm1 has the same numbers.
$disabled = 1058
$doesNotExist = 1060
$logonFailed = 1069
$logonFailureSeconds = 900
$logonFailuresAllowed = 2
$silentSeconds = 600
$logBytes = 1MB

function Get-Monotonic { [double][Diagnostics.Stopwatch]::GetTimestamp() / [double][Diagnostics.Stopwatch]::Frequency }

function Read-Text {
    param([string] $Path)
    $share = [IO.FileShare]::ReadWrite -bor [IO.FileShare]::Delete
    $stream = New-Object System.IO.FileStream $Path, ([IO.FileMode]::Open), ([IO.FileAccess]::Read), $share
    try { (New-Object System.IO.StreamReader $stream, $utf8).ReadToEnd() }
    finally { $stream.Dispose() }
}

function Test-Record {
    # A record that is overwritten in place begins with a checksum over all that follows it (NodeRecord.psm1).
    param([string] $Text)
    if ($Text -notmatch '(?s)^\{"checksum":"([0-9a-f]{64})",(.*)$') { return $false }
    $sum, $rest = $Matches[1], $Matches[2]
    $algorithm = New-Object System.Security.Cryptography.SHA256CryptoServiceProvider
    try { $bytes = $algorithm.ComputeHash($utf8.GetBytes($rest)) }
    finally { $algorithm.Dispose() }
    [BitConverter]::ToString($bytes).Replace('-', '').ToLowerInvariant() -ceq $sum
}

function Read-State {
    # Reads a state file: a hashtable with state (read, absent, busy: another program locks it, damaged) and data.
    # Windows replaces or overwrites a file in more than one step, so the file counts as absent or damaged only if it
    # stays so for two seconds, and as busy after Patience.
    param([string] $Name, [switch] $Record, [double] $Patience = 30)
    $path = Join-Path -Path $state -ChildPath $Name
    $watch = [Diagnostics.Stopwatch]::StartNew()
    while ($true) {
        $answer = @{ state = 'absent'; data = $null }
        try {
            if ([IO.File]::Exists($path)) {
                $answer.state = 'busy'
                $text = (Read-Text -Path $path).TrimEnd()
                $answer.state = 'damaged'
                if (-not $Record -or (Test-Record -Text $text)) {
                    $answer.data = ConvertFrom-Json -InputObject $text
                    if ($null -ne $answer.data) { return @{ state = 'read'; data = $answer.data } }
                }
            }
        }
        catch { Write-Verbose -Message "${Name}: $_" }
        $limit = if ($answer.state -eq 'busy') { $Patience } else { [Math]::Min(2, $Patience) }
        if ($watch.Elapsed.TotalSeconds -ge $limit) { return $answer }
        Start-Sleep -Milliseconds 200
    }
}

function Write-State {
    # Writes the whole file, or leaves it unchanged.
    param([string] $Name, [string] $Text)
    $path = Join-Path -Path $state -ChildPath $Name
    $new = '{0}.{1}.new' -f $path, [Guid]::NewGuid().ToString('N')
    try {
        [IO.File]::WriteAllText($new, $Text, $utf8)
        if ([IO.File]::Exists($path)) { [IO.File]::Replace($new, $path, [NullString]::Value) }
        else { [IO.File]::Move($new, $path) }
    }
    catch {
        [IO.File]::Delete($new)
        throw
    }
}

function Open-Key {
    # A subkey of this collection; see NodeRegistry.psm1.
    param([string] $Name, [switch] $Create, [switch] $Volatile)
    $machine = [Microsoft.Win32.RegistryKey]::OpenBaseKey(
        [Microsoft.Win32.RegistryHive]::LocalMachine, [Microsoft.Win32.RegistryView]::Registry64)
    try {
        if (-not $Create) { return $machine.OpenSubKey("$ownKey\$Name") }
        $machine.CreateSubKey($ownKey).Dispose()
        $options = if ($Volatile) { [Microsoft.Win32.RegistryOptions]::Volatile }
        else { [Microsoft.Win32.RegistryOptions]::None }
        $machine.CreateSubKey("$ownKey\$Name", [Microsoft.Win32.RegistryKeyPermissionCheck]::ReadWriteSubTree, $options)
    }
    finally { $machine.Dispose() }
}

function Read-Memory {
    # Returns a number that an earlier run of the guard has stored, or 0. The number is in the registry, because a full
    # drive does not affect the registry.
    param([string] $Name)
    try {
        $key = Open-Key -Name 'Guard'
        if ($null -eq $key) { return 0 }
        try { [int]$key.GetValue($Name, 0) }
        finally { $key.Dispose() }
    }
    catch { 0 }
}

function Write-Memory {
    param([string] $Name, [int] $Value)
    try {
        $key = Open-Key -Name 'Guard' -Create -Volatile
        try { $key.SetValue($Name, $Value) }
        finally { $key.Dispose() }
    }
    catch { Write-Verbose -Message "${Name}: $_" }
}

function Write-GuardLog {
    # The start of the service matters more than the log, so neither a full drive nor a broken event log stops the
    # guard. Topic identifies a message that every run of the guard may repeat.
    param([string] $Text, [string] $Topic = '')
    foreach ($place in @('guard.log', 'event log')) {
        $words = Get-Words -Text $Text -Memory "$place, $Topic" -Always:(-not $Topic)
        if (-not $words) { continue }
        try {
            if ($place -eq 'guard.log') { Add-LogLine -Text $words }
            else { Write-Event -Text $words }
            if ($Topic) {
                Write-Memory -Name "$place, $Topic, unsaid" -Value 0
                Write-Memory -Name "$place, $Topic, said" -Value ([int](Get-Monotonic) + 1)
            }
        }
        catch { Write-Verbose -Message "${place}: $_" }
    }
}

function Get-Words {
    # Limits repeated messages: returns the text the first time and then every ten minutes, with the number of times
    # that it was left out; else nothing. If the registry cannot be used, returns the text every time.
    param([string] $Text, [string] $Memory, [switch] $Always)
    $said = if ($Always) { 0 } else { Read-Memory -Name "$Memory, said" }
    if ($said -eq 0) { return $Text }
    $unsaid = Read-Memory -Name "$Memory, unsaid"
    if ((Get-Monotonic) - $said -ge $silentSeconds) { return "$Text (left out $unsaid times meanwhile)" }
    Write-Memory -Name "$Memory, unsaid" -Value ($unsaid + 1)
    ''
}

function Add-LogLine {
    param([string] $Text)
    $at = [DateTime]::UtcNow.ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", [Globalization.CultureInfo]::InvariantCulture)
    $path = Join-Path -Path $state -ChildPath 'guard.log'
    Move-FullLog -Path $path
    [IO.File]::AppendAllText($path, "$at $Text`r`n", $utf8)
}

function Write-Event {
    param([string] $Text)
    if (-not [Diagnostics.EventLog]::SourceExists('AlteryxOps')) {
        [Diagnostics.EventLog]::CreateEventSource('AlteryxOps', 'Application')
    }
    [Diagnostics.EventLog]::WriteEntry('AlteryxOps', $Text, [Diagnostics.EventLogEntryType]::Warning, 1000)
}

function Move-FullLog {
    # A log of a megabyte is renamed and replaces the older one. If another program locks one of the two files, a later
    # run of the guard does this.
    param([string] $Path)
    try {
        $log = New-Object System.IO.FileInfo $Path
        if (-not $log.Exists -or $log.Length -lt $logBytes) { return }
        $older = Join-Path -Path $state -ChildPath 'guard.old.log'
        if ([IO.File]::Exists($older)) { [IO.File]::Replace($Path, $older, [NullString]::Value) }
        else { [IO.File]::Move($Path, $older) }
    }
    catch { Write-Verbose -Message "guard.old.log: $_" }
}

function Get-Status {
    # The state of the service; Unknown if the service manager does not report it, because PowerShell returns $null for
    # a property that throws.
    param([System.ServiceProcess.ServiceController] $Controller)
    $Controller.Refresh()
    $status = [string]$Controller.Status
    if ($status) { $status } else { 'Unknown' }
}

function Invoke-Tool {
    # Runs a program of Windows and returns its output; throws if it does not end within Seconds. The wait is limited,
    # because the next run of the guard cannot begin before this one has ended.
    param([string] $Name, [string] $Arguments, [int] $Seconds)
    $start = New-Object System.Diagnostics.ProcessStartInfo (Join-Path -Path $system -ChildPath $Name), $Arguments
    $start.UseShellExecute = $false
    $start.CreateNoWindow = $true
    $start.RedirectStandardOutput = $true
    $process = [Diagnostics.Process]::Start($start)
    try {
        $text = $process.StandardOutput.ReadToEndAsync()
        if (-not $text.Wait(1000 * $Seconds)) {
            try { $process.Kill() } catch { Write-Verbose -Message "process $($process.Id): $_" }
            throw "$Name did not end within $Seconds s"
        }
        $text.Result
    }
    finally { $process.Dispose() }
}

function Get-LiveProcess {
    # The process of that id and birth (milliseconds since 0001-01-01 UTC), if it is running; else nothing. A process
    # that Windows does not allow to open counts as this process.
    param([int] $Id, [long] $Birth)
    if ($Id -eq 0) { return }
    try { $process = [Diagnostics.Process]::GetProcessById($Id) }
    catch { return }
    try {
        if ($process.HasExited) { return }
        # Without the remainder the division is exact. Otherwise PowerShell returns a double, which is rounded.
        $ticks = $process.StartTime.ToUniversalTime().Ticks
        if ([long](($ticks - $ticks % 10000) / 10000) -ne $Birth) { return }
    }
    catch { Write-Verbose -Message "process ${Id}: $_" }
    $process
}

function Test-Port {
    # Does a program accept connections on this port, at any address of the name? Tried twice, because one refused
    # connection is not enough.
    for ($attempt = 1; $attempt -le 2; $attempt++) {
        $addresses = @()
        try {
            $asked = [Net.Dns]::BeginGetHostAddresses($ControllerHost, $null, $null)
            if ($asked.AsyncWaitHandle.WaitOne(5000)) { $addresses = @([Net.Dns]::EndGetHostAddresses($asked)) }
        }
        catch { Write-Verbose -Message "${ControllerHost}: $_" }
        foreach ($address in $addresses) {
            $client = $null
            try {
                $client = New-Object System.Net.Sockets.TcpClient $address.AddressFamily
                $asked = $client.BeginConnect($address, $ControllerPort, $null, $null)
                if ($asked.AsyncWaitHandle.WaitOne(5000)) {
                    $client.EndConnect($asked)
                    return $true
                }
            }
            catch { Write-Verbose -Message "${address}:${ControllerPort}: $_" }
            finally { if ($null -ne $client) { $client.Close() } }
        }
        if ($attempt -eq 1) { Start-Sleep -Seconds 1 }
    }
    $false
}

function Test-Url {
    # Does the address of the controller answer with anything but an error of the server?
    [Net.ServicePointManager]::SecurityProtocol = [Net.ServicePointManager]::SecurityProtocol -bor
    [Net.SecurityProtocolType]::Tls12
    $response = $null
    try {
        $request = [Net.HttpWebRequest][Net.WebRequest]::Create($ControllerUrl)
        $request.Timeout = 10000
        $request.AllowAutoRedirect = $false
        $request.Proxy = $null
        $response = $request.GetResponse()
        return $true
    }
    catch {
        for ($cause = $_.Exception; $null -ne $cause; $cause = $cause.InnerException) {
            if ($cause -is [Net.WebException] -and $null -ne $cause.Response) {
                $response = $cause.Response
                return [int]$response.StatusCode -lt 500
            }
        }
        $false
    }
    finally { if ($null -ne $response) { $response.Close() } }
}

function Get-ReasonOfController {
    # Another node of the fleet starts its service after the controller: when this guard has seen the controller down
    # and answering again. If the guard never sees it down, another program may have the port of the controller, so the
    # guard waits for the deadline. While the service of this node is stopped, the guard repeats the query until its
    # next run is due, because a window may be shorter than a minute.
    $where = if ($ControllerUrl) { $ControllerUrl } else { '{0}:{1}' -f $ControllerHost, $ControllerPort }
    $controller = New-Object System.ServiceProcess.ServiceController $Service
    $watch = [Diagnostics.Stopwatch]::StartNew()
    # One failed query is not enough.
    $silent = 0
    $back = Read-Memory -Name 'controller_back'
    while ($true) {
        $answers = if ($ControllerUrl) { Test-Url } else { Test-Port }
        $silent = if ($answers) { 0 } else { $silent + 1 }
        if ($silent -ge 2) {
            Write-Memory -Name 'controller_down' -Value 1
            $back = 0
        }
        elseif ($answers -and (Read-Memory -Name 'controller_down') -eq 1) {
            $now = [int](Get-Monotonic)
            if ($back -eq 0) { $back = $now }
            if ($now - $back -ge $StartDelay) { return "the controller ($where) has been down and answers again" }
        }
        Write-Memory -Name 'controller_back' -Value $back
        Start-Sleep -Seconds 2
        # The controller is queried again at once, in every state of this node's own service.
        if ($silent -eq 1) { continue }
        $isReleased = -not [IO.File]::Exists((Join-Path -Path $state -ChildPath 'lease.json'))
        $isOver = $isReleased -or $watch.Elapsed.TotalSeconds -gt $lookSeconds
        if ($isOver -or (Get-Status -Controller $controller) -ne 'Stopped') { return '' }
    }
}

function Get-ReasonOfBusy {
    $now = [int](Get-Monotonic)
    $since = Read-Memory -Name 'busy_since'
    if ($since -eq 0) { Write-Memory -Name 'busy_since' -Value $now }
    elseif ($now - $since -gt $HeartbeatStale) { return "the heartbeat cannot be read for $($now - $since) s" }
    ''
}

function Get-ReasonToAct {
    # Why the guard must act now; empty if it must not act yet.
    $now = Get-Monotonic
    if ($now -ge $Deadline) { return 'the deadline of the lease has passed' }
    if ($now -lt $Taken -or (Test-Boot)) { return 'the node has booted since the lease was taken' }
    # The lease is read before the heartbeat, because that may take a while. A heartbeat that was read before the lease
    # would look too old.
    $lease = (Read-State -Name 'lease.json').state
    if ($HeartbeatStale -gt 0) {
        $beat = Read-State -Name 'heartbeat.json' -Record
        if ($beat.state -eq 'absent') { return 'the heartbeat is absent' }
        if ($beat.state -eq 'damaged') { return 'the heartbeat is damaged' }
        # Another program locks the file. That is accepted for as long as the age of a heartbeat would be.
        if ($beat.state -eq 'busy') { return Get-ReasonOfBusy }
        Write-Memory -Name 'busy_since' -Value 0
        if ([bool]$beat.data.stop_requested) {
            $age = (Get-Monotonic) - [double]$beat.data.monotonic
            if ($age -gt $HeartbeatStale) { return ('the heartbeat is {0} s old' -f [int]$age) }
            $id = [int]$beat.data.process_id
            if ($id -ne 0 -and $null -eq (Get-LiveProcess -Id $id -Birth $beat.data.process_birth)) {
                return "the window job (process $id) has ended"
            }
        }
    }
    if ($lease -eq 'absent') { return 'the lease is absent' }
    if ($lease -eq 'damaged') { return 'the lease is damaged' }
    if ($ControllerHost) { return Get-ReasonOfController }
    ''
}

function Test-Boot {
    # Has the node booted since the lease was taken? This is a second check besides the clock. If the key cannot be
    # read, the check does not count.
    try {
        $key = Open-Key -Name 'Boot'
        if ($null -eq $key) { return $true }
        try { [string]$key.GetValue('id', '') -cne $Boot }
        finally { $key.Dispose() }
    }
    catch { $false }
}

function Get-Doomed {
    # The processes of the window job that are left: the job itself (Windows ends its children with it), the tool that
    # it ran, and, if the service is Stopped, a mongod or mongodump of the installation, which no other process uses
    # then. Processes of the running service are never among them.
    $beat = (Read-State -Name 'heartbeat.json' -Record -Patience 2).data
    if ($null -ne $beat) {
        Get-LiveProcess -Id $beat.process_id -Birth $beat.process_birth
        Get-LiveProcess -Id $beat.tool_id -Birth $beat.tool_birth
    }
    $controller = New-Object System.ServiceProcess.ServiceController $Service
    if ((Get-Status -Controller $controller) -ne 'Stopped') { return }
    $prefix = $BinFolder.TrimEnd('\') + '\'
    foreach ($name in @('mongod', 'mongodump')) {
        foreach ($process in [Diagnostics.Process]::GetProcessesByName($name)) {
            try {
                $path = [string]$process.MainModule.FileName
                $isInside = $path.StartsWith($prefix, [StringComparison]::OrdinalIgnoreCase)
                if ($isInside -and -not $process.HasExited) { $process }
            }
            catch { Write-Verbose -Message "process $($process.Id): $_" }
        }
    }
}

function Stop-WindowJob {
    # Ends the processes one by one, and repeats that until none is left, at most for 20 s, because Windows refuses to
    # end a process that is already ending. Returns why the processes are not known; empty if they are. The text is
    # logged after the start, because the event log may hang.
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'the guard acts on its own')]
    param()
    $watch = [Diagnostics.Stopwatch]::StartNew()
    $unknown = ''
    do {
        $doomed = @()
        try { $doomed = @(Get-Doomed) }
        catch { $unknown = "what is left of the window job is not known: $($_.Exception.Message)" }
        foreach ($process in $doomed) {
            try { $process.Kill() } catch { Write-Verbose -Message "process $($process.Id): $_" }
            try { $null = $process.WaitForExit(2000) } catch { Write-Verbose -Message "process $($process.Id): $_" }
        }
    } while ($doomed.Count -gt 0 -and $watch.Elapsed.TotalSeconds -lt 20)
    $unknown
}

function Request-Start {
    # Requests a start. Returns error (0 for none, -1 for one without a number) and problem. Like NodeService.psm1, it
    # allows two attempts in 15 minutes that fail at the log-on, counted over all that start the service, because a
    # third may lock the account.
    param([System.ServiceProcess.ServiceController] $Controller)
    $mark = ''
    try {
        $key = Open-Key -Name 'Starts' -Create
        $now = [DateTime]::UtcNow.Ticks
        $mark = '{0}-{1}' -f $now.ToString('d19', [Globalization.CultureInfo]::InvariantCulture), $PID
        $key.SetValue($mark, 'asked')
        $failed = 0
        $asked = 0
        foreach ($name in @($key.GetValueNames() | Where-Object { $_ -cmatch '^\d{19}-\d+$' })) {
            $age = ($now - [long]$name.Substring(0, 19)) / 1e7
            if ($age -gt $logonFailureSeconds -or [string]::CompareOrdinal($name, $mark) -ge 0) { continue }
            if ([string]$key.GetValue($name, '') -eq 'failed') { $failed++ }
            elseif ($age -lt 60) { $asked++ }
        }
        if ($failed + $asked -ge $logonFailuresAllowed) {
            $key.DeleteValue($mark, $false)
            # Start attempts of other processes have no result yet. A start is requested again later, when they have.
            if ($failed -lt $logonFailuresAllowed) { return @{ error = 0; problem = '' } }
            $problem = 'two starts in 15 minutes have failed at the log-on of its account'
            return @{ error = $logonFailed; problem = $problem }
        }
    }
    catch { Write-Verbose -Message "the start attempt is not counted: $_" }
    $failure = 0
    $problem = ''
    try { $Controller.Start() }
    catch {
        $failure = -1
        $problem = $_.Exception.GetBaseException().Message
        for ($cause = $_.Exception; $null -ne $cause; $cause = $cause.InnerException) {
            if ($cause -is [ComponentModel.Win32Exception]) { $failure = $cause.NativeErrorCode }
        }
        if ($failure -eq $logonFailed) { $problem = "its account could not log on (error $failure)" }
    }
    try {
        if ($failure -eq $logonFailed) { $key.SetValue($mark, 'failed') }
        elseif ($failure -eq 0) { foreach ($name in $key.GetValueNames()) { $key.DeleteValue($name, $false) } }
        else { $key.DeleteValue($mark, $false) }
        $key.Dispose()
    }
    catch { Write-Verbose -Message "the start attempt is not counted: $_" }
    @{ error = $failure; problem = $problem }
}

function Resolve-Restore {
    # Undoes a restore that has not ended. Returns state, why and did as undo_restore.ps1 does. In a restore, the guard
    # does not act on files that it cannot read, because a service that starts on a partly restored database may damage
    # it.
    try { & ([scriptblock]::Create([IO.File]::ReadAllText($UndoScript))) $RestoreRun $Service }
    catch { @{ state = 'unproven'; why = $_.Exception.GetBaseException().Message; did = @() } }
}

function Write-Unproven {
    # Writes STATUS.txt for a person: why the service stays stopped.
    param([string] $Why)
    $text = "$Service stays down: it is not certain that its files are whole, because $Why. Run recover.yml, or see " +
    'docs/recovering.md'
    Write-GuardLog -Text $text -Topic 'restore'
    try { Write-State -Name 'STATUS.txt' -Text "$text`r`nRestore: $RestoreRun`r`n" }
    catch { Write-Verbose -Message "STATUS.txt: $_" }
}

function Remove-Guard {
    # Deletes the task first, and then the files of the lease.
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'the guard acts on its own')]
    param()
    try { $null = Invoke-Tool -Name 'schtasks.exe' -Arguments '/Delete /TN "\AlteryxOps\Guard" /F' -Seconds 60 }
    catch { Write-Verbose -Message "schtasks: $_" }
    if ([IO.File]::Exists((Join-Path -Path $system -ChildPath 'Tasks\AlteryxOps\Guard'))) {
        # A guard without a lease would act again and again.
        $text = 'the Task Scheduler did not delete the guard, so its lease stays; next try in a minute'
        Write-GuardLog -Text $text -Topic 'task'
        return
    }
    Write-GuardLog -Text "$Service was as before at $firingsUntilGone firings; the guard has removed itself"
    foreach ($name in @('lease.json', 'heartbeat.json', 'STATUS.txt', 'restore-service.cmd')) {
        try { [IO.File]::Delete((Join-Path -Path $state -ChildPath $name)) }
        catch { Write-Verbose -Message "${name}: $_" }
    }
}

$request = Join-Path -Path $state -ChildPath 'drill-request.txt'
# Messages about the time before the start are written after the start, because a log may hang.
$unsaid = @()
if ([IO.File]::Exists($request)) {
    # A failure of the drill must not prevent the start of the service.
    try {
        # whoami prints the security identifier in every language of Windows.
        $account = Invoke-Tool -Name 'whoami.exe' -Arguments '/user /fo csv /nh' -Seconds 25
        $account = if ($account -match '"(S-1-[0-9-]+)"') { $Matches[1] } else { "unknown ($($account.Trim()))" }
        Write-State -Name 'drill-answer.json' -Text (ConvertTo-Json -Depth 2 -Compress -InputObject @{
                word = [IO.File]::ReadAllText($request, $utf8); account = $account
            })
    }
    catch { $unsaid += "the drill could not be answered: $($_.Exception.GetBaseException().Message)" }
}

$why = Get-ReasonToAct
if (-not $why) {
    foreach ($text in $unsaid) { Write-GuardLog -Text $text }
    return
}
if ([IO.File]::Exists((Join-Path -Path $state -ChildPath 'HOLD'))) {
    Write-GuardLog -Text "$why, but the file HOLD is there: $Service is left as it is" -Topic 'HOLD'
    return
}

$controller = New-Object System.ServiceProcess.ServiceController $Service
$found = Get-Status -Controller $controller
$goal = $PriorState
$isBack = ($goal -ne 'Running' -or $found -eq 'Running') -and -not $UndoScript
$beat = (Read-State -Name 'heartbeat.json' -Record -Patience 2).data
if (-not ($null -ne $beat -and [bool]$beat.finished -and ($isBack -or $found -eq 'Running'))) {
    # The generation is increased first: a job that is only slow sees that, and gives up before its next action.
    try {
        $lease = (Read-State -Name 'lease.json' -Patience 2).data
        if ($null -ne $lease -and (Read-Memory -Name 'acted') -eq 0) {
            $lease.generation = [int]$lease.generation + 1
            Write-State -Name 'lease.json' -Text (ConvertTo-Json -Depth 5 -Compress -InputObject $lease)
        }
    }
    catch { Write-Verbose -Message "generation: $_" }
    $unsaid += @(Stop-WindowJob | Where-Object { $_ })
}
if ($UndoScript) {
    $verdict = Resolve-Restore
    $unsaid += @($verdict.did)
    if ($verdict.state -eq 'unproven') {
        foreach ($text in $unsaid) { Write-GuardLog -Text $text -Topic 'before' }
        Write-Memory -Name 'acted' -Value 1
        Write-Unproven -Why $verdict.why
        return
    }
    if ($verdict.state -eq 'committed') { $goal = 'Running' }
    $isBack = $goal -ne 'Running' -or (Get-Status -Controller $controller) -eq 'Running'
}
if (-not $isBack) {
    $problem = ''
    # One refused start is not final, and a service may stop again, so a start is requested until the service has been
    # Running for two seconds, within the time limit of this task.
    $watch = [Diagnostics.Stopwatch]::StartNew()
    $runningSince = -1.0
    $nextRequest = 0.0
    while ($watch.Elapsed.TotalSeconds -lt 180) {
        $now = $watch.Elapsed.TotalSeconds
        $status = Get-Status -Controller $controller
        if ($status -eq 'Running') {
            if ($runningSince -lt 0) { $runningSince = $now }
            $isBack = $now - $runningSince -ge 2
            if ($isBack) { break }
        }
        else { $runningSince = -1.0 }
        # If the state is not known, the answer to the request shows whether the service exists.
        if (@('Stopped', 'Unknown') -contains $status -and $now -ge $nextRequest) {
            $asked = Request-Start -Controller $controller
            if ($asked.problem) { $problem = $asked.problem }
            # An operator must correct the cause of these errors. The next run of the guard tries again.
            if (@($disabled, $doesNotExist, $logonFailed) -contains $asked.error) { break }
            $nextRequest = $now + 5
        }
        Start-Sleep -Milliseconds 250
    }
    if ($isBack) { Write-GuardLog -Text "$why; $Service was $found and is Running again" }
    else {
        # Each problem has its own topic, so that a new problem is logged at once.
        $text = "$why; $Service was $found and is $status, next try in a minute. $problem"
        Write-GuardLog -Text $text -Topic "start: $problem"
    }
}
if ($isBack) {
    # STATUS.txt says that the service is stopped, so it is deleted now. The other files of the lease stay for some more
    # runs of the guard.
    try { [IO.File]::Delete((Join-Path -Path $state -ChildPath 'STATUS.txt')) }
    catch { Write-Verbose -Message "STATUS.txt: $_" }
}
foreach ($text in $unsaid) { Write-GuardLog -Text $text -Topic 'before' }
Write-Memory -Name 'acted' -Value 1
$running = if ($isBack) { (Read-Memory -Name 'running') + 1 } else { 0 }
if ($running -ge $firingsUntilGone) { Remove-Guard }
else { Write-Memory -Name 'running' -Value $running }

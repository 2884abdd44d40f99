# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The guard: the scheduled task that brings the service back when nobody else does. It runs as SYSTEM at boot, every
# minute, and on demand for the drill. It stands alone, so that nothing else can break it: one file, nothing compiled,
# no WMI, and what it needs to act stands in its own arguments. It answers the drill, then does nothing while the
# lease of this boot has time left and the window job shows life. An absent lease means act; one that another program
# holds says nothing, and then a fresh heartbeat decides.

param(
    [Parameter(Mandatory = $true)][string] $Service,
    [Parameter(Mandatory = $true)][string] $PriorState,
    [Parameter(Mandatory = $true)][string] $BinFolder,
    # Monotonic seconds: when the lease was taken, and when the service has to be back whatever else is true.
    [Parameter(Mandatory = $true)][double] $Taken,
    [Parameter(Mandatory = $true)][double] $Deadline,
    # The value of a registry key that Windows forgets with the boot.
    [Parameter(Mandatory = $true)][string] $Boot,
    # Seconds after which a window job without a heartbeat is dead; 0 on a node without a window job.
    [int] $HeartbeatStale = 0,
    # Where the controller answers, on the other nodes of a fleet: the address is asked where it is given, else the
    # port.
    [string] $ControllerHost = '',
    [int] $ControllerPort = 0,
    [string] $ControllerUrl = '',
    # Seconds for which the controller has to answer first: a UI node comes after the workers.
    # Below $lookSeconds, so that one firing is enough where nothing can be remembered.
    [int] $StartDelay = 0,
    # Only for a restore: its identity and the path of undo_restore.ps1. Nothing is started before that script has said
    # that the server is whole, the old one or the new one.
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
    # A state file: a hashtable with state (read, absent, busy: another program holds it, damaged) and data. Replacing
    # or overwriting a file takes more than one step inside Windows, so absent and damaged count when they stay for
    # two seconds, busy after Patience.
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
    # Whole or not at all.
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
    # A subkey of ours; see NodeRegistry.psm1.
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
    # What an earlier firing has noted: a number, 0 when there is nothing. In the registry, where a full drive does
    # not matter.
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
    # Restoring matters more than logging: neither a full drive nor a broken event log stops the guard. Topic names what
    # every firing may have to say again.
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
    # What to write of a text now: all of it the first time and then every ten minutes, with how often it was left out
    # meanwhile; else nothing. Without a registry all of it each time.
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
    # A log of a megabyte becomes the older one, and the one before that goes. Whatever holds either of them: later.
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
    # The state of the service; Unknown when the service manager does not tell, because PowerShell makes nothing of what
    # a property throws.
    param([System.ServiceProcess.ServiceController] $Controller)
    $Controller.Refresh()
    $status = [string]$Controller.Status
    if ($status) { $status } else { 'Unknown' }
}

function Invoke-Tool {
    # Runs a program of Windows and returns its text; throws when it does not end within Seconds. It is not waited for
    # longer than that, because no later firing begins before this one is over.
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
    # The process of that id and birth (milliseconds since 0001-01-01 UTC), if it lives; nothing when it does not. One
    # that Windows does not let us look at counts as the one that is meant.
    param([int] $Id, [long] $Birth)
    if ($Id -eq 0) { return }
    try { $process = [Diagnostics.Process]::GetProcessById($Id) }
    catch { return }
    try {
        if ($process.HasExited) { return }
        # Without the rest the division is exact; else PowerShell makes a double of it, which is rounded.
        $ticks = $process.StartTime.ToUniversalTime().Ticks
        if ([long](($ticks - $ticks % 10000) / 10000) -ne $Birth) { return }
    }
    catch { Write-Verbose -Message "process ${Id}: $_" }
    $process
}

function Test-Port {
    # Does anybody answer there, at any address of the name? Asked twice: one connection that is refused proves nothing.
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
    # A node beside the controller comes back after it: once this guard has seen it down and it answers again. One
    # that never goes down is no reason, because another program may own its port: then the deadline decides. While
    # this node's service is down the guard keeps looking until its next firing: a window may be shorter than a
    # minute.
    $where = if ($ControllerUrl) { $ControllerUrl } else { '{0}:{1}' -f $ControllerHost, $ControllerPort }
    $controller = New-Object System.ServiceProcess.ServiceController $Service
    $watch = [Diagnostics.Stopwatch]::StartNew()
    # One question without an answer proves nothing.
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
        # Looked at again at once, whatever this node's own service does.
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
    # Why the guard has to act now; empty while it has not.
    $now = Get-Monotonic
    if ($now -ge $Deadline) { return 'the deadline of the lease has passed' }
    if ($now -lt $Taken -or (Test-Boot)) { return 'the node has booted since the lease was taken' }
    # Before the lease: reading that may take a while, and what the job writes meanwhile must not look old.
    $lease = (Read-State -Name 'lease.json').state
    if ($HeartbeatStale -gt 0) {
        $beat = Read-State -Name 'heartbeat.json' -Record
        if ($beat.state -eq 'absent') { return 'the heartbeat is absent' }
        if ($beat.state -eq 'damaged') { return 'the heartbeat is damaged' }
        # Held by another program: it counts as long as a heartbeat of that age would.
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
    # Has the node booted since? The second sign beside the clock: one that cannot be read says nothing.
    try {
        $key = Open-Key -Name 'Boot'
        if ($null -eq $key) { return $true }
        try { [string]$key.GetValue('id', '') -cne $Boot }
        finally { $key.Dispose() }
    }
    catch { $false }
}

function Get-Doomed {
    # What is left of the window job: the job itself (what it has started dies with it), the tool it ran, and once the
    # service is Stopped a mongod of the installation, which then belongs to nobody. The service's own processes are
    # never among them.
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
    # Member by member, and again until nothing is left, at most for 20 s: a process that is dying refuses to be ended.
    # Returns why they are not known; empty when they are. To be logged after the start: the event log may hang.
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
    # Asks for a start. Returns its error, 0 for none, -1 for one without a number, and problem. As NodeService.psm1
    # does, for all who start: two attempts that fail at the log-on in 15 minutes, because a third may lock the
    # account.
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
            # Attempts of others that are under way: asked again when it is known what comes of them.
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
    # Undoes a restore that has not ended. Returns state, why and did as undo_restore.ps1 does. The rule that who cannot
    # read acts is turned round here: a service that starts on a half restored database may spoil it.
    try { & ([scriptblock]::Create([IO.File]::ReadAllText($UndoScript))) $RestoreRun $Service }
    catch { @{ state = 'unproven'; why = $_.Exception.GetBaseException().Message; did = @() } }
}

function Write-Unproven {
    # Tells a person why the service stays down.
    param([string] $Why)
    $text = "$Service stays down: it is not certain that its files are whole, because $Why. Run recover.yml, or see " +
    'docs/recovering.md'
    Write-GuardLog -Text $text -Topic 'restore'
    try { Write-State -Name 'STATUS.txt' -Text "$text`r`nRestore: $RestoreRun`r`n" }
    catch { Write-Verbose -Message "STATUS.txt: $_" }
}

function Remove-Guard {
    # The task first, then what it watches over.
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'the guard acts on its own')]
    param()
    try { $null = Invoke-Tool -Name 'schtasks.exe' -Arguments '/Delete /TN "\AlteryxOps\Guard" /F' -Seconds 60 }
    catch { Write-Verbose -Message "schtasks: $_" }
    if ([IO.File]::Exists((Join-Path -Path $system -ChildPath 'Tasks\AlteryxOps\Guard'))) {
        # A guard without a lease would act for ever.
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
# What there is to say of before the start is said after it.
$unsaid = @()
if ([IO.File]::Exists($request)) {
    # Answered or not: what the drill needs is no reason to leave a service down.
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
    # Next generation first: a job that is only slow sees it and gives up before it can do anything else.
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
    # One refused start proves nothing, and a service may fall back: asked again until it has been Running for two
    # seconds, within the limit of this task.
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
        # Where the state is not known the request tells whether there is such a service.
        if (@('Stopped', 'Unknown') -contains $status -and $now -ge $nextRequest) {
            $asked = Request-Start -Controller $controller
            if ($asked.problem) { $problem = $asked.problem }
            # The next firing asks again; what these errors need is a person.
            if (@($disabled, $doesNotExist, $logonFailed) -contains $asked.error) { break }
            $nextRequest = $now + 5
        }
        Start-Sleep -Milliseconds 250
    }
    if ($isBack) { Write-GuardLog -Text "$why; $Service was $found and is Running again" }
    else {
        # Another problem is another topic.
        $text = "$why; $Service was $found and is $status, next try in a minute. $problem"
        Write-GuardLog -Text $text -Topic "start: $problem"
    }
}
if ($isBack) {
    # It says that the service is stopped; the rest of the lease stays for some firings.
    try { [IO.File]::Delete((Join-Path -Path $state -ChildPath 'STATUS.txt')) }
    catch { Write-Verbose -Message "STATUS.txt: $_" }
}
foreach ($text in $unsaid) { Write-GuardLog -Text $text -Topic 'before' }
Write-Memory -Name 'acted' -Value 1
$running = if ($isBack) { (Read-Memory -Name 'running') + 1 } else { 0 }
if ($running -ge $firingsUntilGone) { Remove-Guard }
else { Write-Memory -Name 'running' -Value $running }

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeClock
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeProcess

# A Windows service, as the service manager and the registry report it. Only an observed state counts, not a request
# that was accepted.

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

Add-Type -AssemblyName System.ServiceProcess

# Numbers of Windows: winerror.h.
$script:RequestTimeout = 1053
# Of a service that is starting: the control is not valid, or cannot be accepted, in its state.
$script:StopNotAccepted = 1052, 1061
$script:Disabled = 1058
$script:DoesNotExist = 1060
$script:LogonFailed = 1069

# guard.ps1 has the same two numbers.
$script:LogonFailureSeconds = 900
$script:LogonFailuresAllowed = 2

function Get-NodeService {
    <#
    .SYNOPSIS
    The service as a hashtable: exists, name, state (Running, Stopped, StartPending, ...), start_type, account,
    process_id, started (UTC text of its process, or empty), executable, dependants (names of running services that
    need it).
    #>
    param([Parameter(Mandatory = $true)][string] $Name)
    $answer = @{
        exists = $false; name = $Name; state = 'Absent'; start_type = ''; account = ''; executable = ''
        process_id = 0; started = ''; dependants = @()
    }
    $key = [Microsoft.Win32.Registry]::LocalMachine.OpenSubKey("SYSTEM\CurrentControlSet\Services\$Name")
    if ($null -eq $key) { return $answer }
    try {
        $answer.account = [string]$key.GetValue('ObjectName', '')
        $types = @('Boot', 'System', 'Auto', 'Manual', 'Disabled')
        $answer.start_type = [string]$types[[int]$key.GetValue('Start', 3)]
        # GetValue expands environment variables, as the service manager does.
        $command = [string]$key.GetValue('ImagePath', '')
    }
    finally { $key.Dispose() }
    if ($command -match '^\s*"([^"]+)"') { $answer.executable = $Matches[1] }
    elseif ($command -match '^\s*(.+?\.exe)(\s|$)') { $answer.executable = $Matches[1] }
    else { $answer.executable = $command }
    $answer.exists = $true
    $answer.state = Get-ServiceStatus -Name $Name
    $controller = New-Object System.ServiceProcess.ServiceController $Name
    try {
        $needed = @($controller.DependentServices | Where-Object { $_.Status -ne 'Stopped' })
        $answer.dependants = @($needed | ForEach-Object { $_.ServiceName })
    }
    catch { $answer.dependants = @('(not known)') }
    finally { $controller.Dispose() }
    $answer.process_id = [AlteryxOps.ProcessTable]::GetServiceProcess($Name)
    $birth = if ($answer.process_id -ne 0) { Get-ProcessBirth -ProcessId $answer.process_id } else { 0 }
    if ($birth -gt 0) {
        $answer.started = Get-UtcText -Time (New-Object System.DateTime ($birth * 10000), ([DateTimeKind]::Utc))
    }
    $answer
}

function Get-ServiceStatus {
    <#
    .SYNOPSIS
    Only the state, which is cheap enough to be read four times a second; Unknown if the service manager does not report
    it. Never throws, so that one failed query does not end a dump or a start.
    #>
    param([Parameter(Mandatory = $true)][string] $Name)
    $controller = New-Object System.ServiceProcess.ServiceController $Name
    try {
        # PowerShell returns $null for a property that throws.
        $status = [string]$controller.Status
        if ($status) { $status } else { 'Unknown' }
    }
    finally { $controller.Dispose() }
}

function Wait-ServiceState {
    <#
    .SYNOPSIS
    Waits until the service is in the state, at most TimeoutSeconds. Returns reached (bool) and states: what was seen,
    each with at (UTC text).
    #>
    param(
        [Parameter(Mandatory = $true)][string] $Name,
        [Parameter(Mandatory = $true)][string] $State,
        [Parameter(Mandatory = $true)][double] $TimeoutSeconds,
        [scriptblock] $OnTick
    )
    $watch = [Diagnostics.Stopwatch]::StartNew()
    $states = New-Object System.Collections.ArrayList
    $last = ''
    while ($true) {
        $now = Get-ServiceStatus -Name $Name
        if ($now -ne $last) {
            $null = $states.Add(@{ state = $now; at = Get-UtcText })
            $last = $now
        }
        if ($now -eq $State) { return @{ reached = $true; states = $states.ToArray() } }
        if ($watch.Elapsed.TotalSeconds -gt $TimeoutSeconds) {
            return @{ reached = $false; states = $states.ToArray() }
        }
        if ($OnTick) { & $OnTick }
        Start-Sleep -Milliseconds 200
    }
}

function Start-ServiceSurely {
    <#
    .SYNOPSIS
    Asks for a start until the service is Running and stays so for two seconds, at most TimeoutSeconds. One refused
    start is not final: directly after a stop, while the old process is still ending, the service manager returns errors
    that disappear a second later, and a service may stop again. For a service that is disabled or absent, a start is
    requested once; for one whose account cannot log on, twice in 15 minutes. An exception of OnTick does not end the
    wait. Returns reached, states (each with state and at), running_after (seconds until it was first seen Running for
    good), problem (the last refusal as text), error (its number, 0 for none) and gave_up (an operator must act first).
    #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'callers check')]
    param(
        [Parameter(Mandatory = $true)][string] $Name,
        [Parameter(Mandatory = $true)][double] $TimeoutSeconds,
        [scriptblock] $OnTick
    )
    $watch = [Diagnostics.Stopwatch]::StartNew()
    $states = New-Object System.Collections.ArrayList
    $answer = @{ reached = $false; states = @(); running_after = 0.0; problem = ''; error = 0; gave_up = $false }
    $last = ''
    $nextRequest = 0.0
    $pause = 1.0
    while ($true) {
        $seconds = $watch.Elapsed.TotalSeconds
        $now = Get-ServiceStatus -Name $Name
        if ($now -ne $last) {
            $null = $states.Add(@{ state = $now; at = Get-UtcText })
            if ($now -eq 'Running') { $answer.running_after = $seconds }
            $last = $now
        }
        if ($now -eq 'Running' -and $seconds - $answer.running_after -ge 2) {
            $answer.reached = $true
            break
        }
        if ($now -ne 'Running' -and $seconds -gt $TimeoutSeconds) { break }
        # If the state is not known, the answer to the request shows whether the service exists.
        if (@('Stopped', 'Unknown') -contains $now -and $seconds -ge $nextRequest) {
            $asked = Request-ServiceStart -Name $Name
            if ($asked.error -ne 0) {
                $answer.problem = $asked.problem
                $answer.error = $asked.error
            }
            # Only an operator can change that, so this ends. The guard continues to request a start.
            if ($asked.too_soon -or @($script:Disabled, $script:DoesNotExist) -contains $asked.error) {
                $answer.gave_up = $true
                break
            }
            # If a domain controller does not answer for a moment, Windows reports the same error as for a wrong
            # password, so this waits and tries again.
            $wait = if ($asked.error -eq $script:LogonFailed) { 60 } else { $pause }
            $nextRequest = $watch.Elapsed.TotalSeconds + $wait
            $pause = [Math]::Min($pause * 2, 5)
        }
        if ($OnTick) { try { & $OnTick } catch { Write-Verbose -Message "tick: $_" } }
        Start-Sleep -Milliseconds 200
    }
    $answer.states = $states.ToArray()
    $answer
}

function Get-NativeError {
    # The error number of Windows in an exception of .NET; -1 if it has none.
    param([Exception] $Exception)
    for ($cause = $Exception; $null -ne $cause; $cause = $cause.InnerException) {
        if ($cause -is [ComponentModel.Win32Exception]) { return [int]$cause.NativeErrorCode }
    }
    -1
}

function Request-ServiceStart {
    # Asks the service manager to start the service; does not wait. Returns error (0 when the start is under way),
    # problem (text) and too_soon: no start was requested, because two starts have failed at the log-on.
    param([Parameter(Mandatory = $true)][string] $Name)
    $mark = Add-StartMark
    $controller = New-Object System.ServiceProcess.ServiceController $Name
    $failure = 0
    $problem = ''
    try {
        # Start attempts of other processes have no result yet. The caller requests a start again later, when they have.
        if ($null -ne $mark -and $mark.waits -and -not $mark.too_soon) {
            return @{ error = 0; problem = ''; too_soon = $false }
        }
        if ($null -ne $mark -and $mark.too_soon) {
            $problem = "the account of the service could not log on (error $script:LogonFailed); " +
            'a start is asked for at most twice in 15 minutes, so that the account is not locked'
            return @{ error = $script:LogonFailed; problem = $problem; too_soon = $true }
        }
        $controller.Start()
    }
    catch {
        $failure = Get-NativeError -Exception $_.Exception
        $problem = $_.Exception.GetBaseException().Message
        if ($failure -eq $script:LogonFailed) {
            $problem = "the account of the service could not log on (error $failure)"
        }
        # The state decides: the service may be starting although the request returned an error.
        if (@('StartPending', 'Running') -contains (Get-ServiceStatus -Name $Name)) { $failure = 0 }
    }
    finally {
        $controller.Dispose()
        Complete-StartMark -Mark $mark -ErrorNumber $failure
    }
    @{ error = $failure; problem = $problem; too_soon = $false }
}

function Add-StartMark {
    # Records a start attempt for all others that start the service: job, guard, playbook and recovery. waits: of the
    # attempts before this one in the last 15 minutes, two have failed at the log-on or have no result yet, and a third
    # might lock the account. too_soon: both have failed. Each attempt is a separate registry value, named after its
    # time, so that two attempts at the same moment see each other. Returns nothing if the registry cannot be written;
    # the start is then requested without this check.
    try {
        $key = Open-OwnKey -Name 'Starts' -Create
        try {
            $now = [DateTime]::UtcNow.Ticks
            $own = '{0}-{1}' -f $now.ToString('d19', [Globalization.CultureInfo]::InvariantCulture), $PID
            $key.SetValue($own, 'asked')
            $failed = 0
            $asked = 0
            foreach ($name in @($key.GetValueNames() | Where-Object { $_ -cmatch '^\d{19}-\d+$' })) {
                $age = ($now - [long]$name.Substring(0, 19)) / 1e7
                # An attempt without a result for a minute belongs to a process that has ended.
                if ($age -gt $script:LogonFailureSeconds) { $key.DeleteValue($name, $false) }
                elseif ([string]::CompareOrdinal($name, $own) -ge 0) { continue }
                elseif ([string]$key.GetValue($name, '') -eq 'failed') { $failed++ }
                elseif ($age -lt 60) { $asked++ }
            }
            $waits = $failed + $asked -ge $script:LogonFailuresAllowed
            if ($waits) { $key.DeleteValue($own, $false) }
            @{ name = $own; waits = $waits; too_soon = $failed -ge $script:LogonFailuresAllowed }
        }
        finally { $key.Dispose() }
    }
    catch { Write-Verbose -Message "the start attempt is not counted: $_" }
}

function Complete-StartMark {
    # Records the result of a start attempt. Only attempts that failed at the log-on are kept. A successful attempt
    # deletes them, because it shows that the account can log on.
    param($Mark, [int] $ErrorNumber)
    if ($null -eq $Mark -or $Mark.waits) { return }
    try {
        $key = Open-OwnKey -Name 'Starts' -Create
        try {
            if ($ErrorNumber -eq $script:LogonFailed) { $key.SetValue($Mark.name, 'failed') }
            elseif ($ErrorNumber -eq 0) { foreach ($name in $key.GetValueNames()) { $key.DeleteValue($name, $false) } }
            else { $key.DeleteValue($Mark.name, $false) }
        }
        finally { $key.Dispose() }
    }
    catch { Write-Verbose -Message "the start attempt is not counted: $_" }
}

function Test-LogonFailure {
    <# .SYNOPSIS
    Does this error number of Start-ServiceSurely mean a failed log-on? #>
    param([Parameter(Mandatory = $true)][int] $ErrorNumber)
    $ErrorNumber -eq $script:LogonFailed
}

function Request-ServiceStop {
    <#
    .SYNOPSIS
    Asks the service manager to stop the service; does not wait. A service that is stopping or stopped already is fine.
    One that is starting does not accept a stop: a caller that waits for Stopped asks again.
    #>
    param([Parameter(Mandatory = $true)][string] $Name)
    if (@('Stopped', 'StopPending') -contains (Get-ServiceStatus -Name $Name)) { return }
    $controller = New-Object System.ServiceProcess.ServiceController $Name
    try { $controller.Stop() }
    catch {
        # The service manager returns an error after 30 s if a service answers slowly (Microsoft Learn,
        # LPHANDLER_FUNCTION), but the service still stops.
        $failure = Get-NativeError -Exception $_.Exception
        if ($failure -eq $script:RequestTimeout) { return }
        $state = Get-ServiceStatus -Name $Name
        if ($script:StopNotAccepted -contains $failure -and $state -eq 'StartPending') { return }
        if (@('Stopped', 'StopPending') -notcontains $state) { throw }
    }
    finally { $controller.Dispose() }
}

Export-ModuleMember -Function @(
    'Get-NodeService', 'Get-ServiceStatus', 'Wait-ServiceState', 'Start-ServiceSurely', 'Test-LogonFailure',
    'Request-ServiceStop'
)

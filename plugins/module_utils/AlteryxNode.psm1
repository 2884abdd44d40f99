# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeClock
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeFiles
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeProcess

# The Alteryx installation and its Windows service, as found. The service's own states are the truth; a request is never taken for its effect.

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

Add-Type -AssemblyName System.ServiceProcess

function Get-AlteryxService {
    <#
    .SYNOPSIS
    The service as a hashtable: exists, name, state (Running, Stopped, StartPending, ...), start_type, account, process_id, started (UTC text of its
    process, or empty), executable, dependants (names of running services that need it).
    #>
    param([Parameter(Mandatory = $true)][string] $Name)
    $found = @(Get-CimInstance -ClassName Win32_Service -Filter ("Name='{0}'" -f $Name.Replace("'", "''")))
    if ($found.Count -eq 0) {
        return @{ exists = $false; name = $Name; state = 'Absent'; start_type = ''; account = ''; process_id = 0; started = ''; executable = ''; dependants = @() }
    }
    $service = $found[0]
    $processId = [int]$service.ProcessId
    $started = ''
    if ($processId -ne 0) {
        $process = @(Get-CimInstance -ClassName Win32_Process -Filter "ProcessId=$processId")
        if ($process.Count -eq 1) { $started = Get-UtcText -Time $process[0].CreationDate }
    }
    $controller = New-Object System.ServiceProcess.ServiceController $Name
    try {
        $dependants = @($controller.DependentServices | Where-Object { $_.Status -ne 'Stopped' } | ForEach-Object { $_.ServiceName })
        $state = [string]$controller.Status
    }
    finally { $controller.Dispose() }
    $executable = [string]$service.PathName
    if ($executable -match '^\s*"([^"]+)"') { $executable = $Matches[1] }
    elseif ($executable -match '^\s*(.+?\.exe)(\s|$)') { $executable = $Matches[1] }
    @{
        exists = $true
        name = [string]$service.Name
        state = $state
        start_type = [string]$service.StartMode
        account = [string]$service.StartName
        process_id = $processId
        started = $started
        executable = $executable
        dependants = $dependants
    }
}

function Get-ServiceStatus {
    <# .SYNOPSIS
    Only the state, cheap enough to ask four times a second. #>
    param([Parameter(Mandatory = $true)][string] $Name)
    $controller = New-Object System.ServiceProcess.ServiceController $Name
    try { [string]$controller.Status }
    finally { $controller.Dispose() }
}

function Wait-ServiceState {
    <#
    .SYNOPSIS
    Waits until the service is in the state, at most TimeoutSeconds. Returns reached (bool) and states: what was seen, each with at (UTC text).
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
        if ($watch.Elapsed.TotalSeconds -gt $TimeoutSeconds) { return @{ reached = $false; states = $states.ToArray() } }
        if ($OnTick) { & $OnTick }
        Start-Sleep -Milliseconds 200
    }
}

function Start-ServiceSurely {
    <#
    .SYNOPSIS
    Asks for a start until the service is Running and stays so for two seconds, at most TimeoutSeconds. One refused start proves nothing: directly after a
    stop, while the old process still ends, the service manager answers with errors that are gone a second later, and a service may fall back.
    Returns reached, states (each with state and at), running_after (seconds until it was first seen Running for good) and problem (the last refusal).
    #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '', Justification = 'callers check')]
    param(
        [Parameter(Mandatory = $true)][string] $Name,
        [Parameter(Mandatory = $true)][double] $TimeoutSeconds,
        [scriptblock] $OnTick
    )
    $watch = [Diagnostics.Stopwatch]::StartNew()
    $states = New-Object System.Collections.ArrayList
    $answer = @{ reached = $false; states = @(); running_after = 0.0; problem = '' }
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
        if ($now -eq 'Stopped' -and $seconds -ge $nextRequest) {
            try { Request-ServiceStart -Name $Name }
            catch { $answer.problem = Get-InnermostMessage -Exception $_.Exception }
            $nextRequest = $watch.Elapsed.TotalSeconds + $pause
            $pause = [Math]::Min($pause * 2, 5)
        }
        if ($OnTick) { & $OnTick }
        Start-Sleep -Milliseconds 200
    }
    $answer.states = $states.ToArray()
    $answer
}

function Get-InnermostMessage {
    # What .NET wraps around a refusal of the service manager says nothing; the cause is inside.
    param([Exception] $Exception)
    while ($null -ne $Exception.InnerException) { $Exception = $Exception.InnerException }
    $Exception.Message
}

function Request-ServiceStart {
    <# .SYNOPSIS
    Asks the service manager to start the service; does not wait. A service that is starting or running already is fine. #>
    param([Parameter(Mandatory = $true)][string] $Name)
    $controller = New-Object System.ServiceProcess.ServiceController $Name
    try { if (@('Running', 'StartPending') -notcontains [string]$controller.Status) { $controller.Start() } }
    finally { $controller.Dispose() }
}

function Request-ServiceStop {
    <# .SYNOPSIS
    Asks the service manager to stop the service; does not wait. A service that is stopping or stopped already is fine. #>
    param([Parameter(Mandatory = $true)][string] $Name)
    $controller = New-Object System.ServiceProcess.ServiceController $Name
    try { if (@('Stopped', 'StopPending') -notcontains [string]$controller.Status) { $controller.Stop() } }
    finally { $controller.Dispose() }
}

function Test-TcpPort {
    <# .SYNOPSIS
    Does anybody accept connections there? #>
    param(
        [Parameter(Mandatory = $true)][string] $HostName,
        [Parameter(Mandatory = $true)][int] $Port
    )
    $client = New-Object System.Net.Sockets.TcpClient
    try {
        $asked = $client.BeginConnect($HostName, $Port, $null, $null)
        if (-not $asked.AsyncWaitHandle.WaitOne(5000)) { return $false }
        $client.EndConnect($asked)
        $true
    }
    catch { $false }
    finally { $client.Close() }
}

function Get-UrlAnswer {
    <# .SYNOPSIS
    What a web address answers, seen from this node: the status as text, e.g. 200, or why there is none. #>
    param([Parameter(Mandatory = $true)][string] $Url)
    [Net.ServicePointManager]::SecurityProtocol = [Net.ServicePointManager]::SecurityProtocol -bor [Net.SecurityProtocolType]::Tls12
    $response = $null
    try {
        $request = [Net.HttpWebRequest][Net.WebRequest]::Create($Url)
        $request.Timeout = 10000
        $request.AllowAutoRedirect = $false
        $request.Proxy = $null
        $response = $request.GetResponse()
        return '{0}' -f [int]$response.StatusCode
    }
    catch {
        $cause = $_.Exception
        while ($null -ne $cause -and $cause -isnot [Net.WebException]) { $cause = $cause.InnerException }
        if ($null -ne $cause -and $null -ne $cause.Response) {
            $response = $cause.Response
            return '{0}' -f [int]$response.StatusCode
        }
        Get-InnermostMessage -Exception $_.Exception
    }
    finally { if ($null -ne $response) { $response.Close() } }
}

function Get-AlteryxProcess {
    <#
    .SYNOPSIS
    Processes that belong to the installation: their executable lies in the bin folder. Objects with name, process_id, parent_id, started.
    #>
    param(
        [Parameter(Mandatory = $true)][string] $BinFolder,
        [string] $Name = '*'
    )
    $prefix = $BinFolder.TrimEnd('\') + '\'
    foreach ($process in @(Get-CimInstance -ClassName Win32_Process)) {
        $path = [string]$process.ExecutablePath
        if ($path.StartsWith($prefix, [StringComparison]::OrdinalIgnoreCase) -and $process.Name -like $Name) {
            @{
                name = [string]$process.Name
                process_id = [int]$process.ProcessId
                parent_id = [int]$process.ParentProcessId
                started = Get-UtcText -Time $process.CreationDate
            }
        }
    }
}

Export-ModuleMember -Function Get-AlteryxService, Get-ServiceStatus, Wait-ServiceState, Start-ServiceSurely, Request-ServiceStop, Test-TcpPort, Get-UrlAnswer,
    Get-AlteryxProcess

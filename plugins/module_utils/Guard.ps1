# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The guard: the scheduled task that brings the service back when nobody else does. Runs as SYSTEM at boot, every minute, and on demand for the drill.
# It answers the drill, then does nothing while the lease of this boot has time left. An absent or unreadable lease means act: what to
# restore stands in its own arguments.

param(
    [Parameter(Mandatory = $true)][string] $Service,
    [Parameter(Mandatory = $true)][string] $PriorState
)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

Add-Type -AssemblyName System.ServiceProcess

$system = [Environment]::GetFolderPath('System')
$state = Join-Path -Path ([Environment]::GetFolderPath('CommonApplicationData')) -ChildPath 'AlteryxOps'
$utf8 = New-Object System.Text.UTF8Encoding $false

function Write-GuardLog {
    param([string] $Text)
    # Restoring matters more than logging: a full disk must not stop the guard.
    try {
        $line = "{0} GUARD {1}`r`n" -f [DateTime]::UtcNow.ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", [Globalization.CultureInfo]::InvariantCulture), $Text
        [IO.File]::AppendAllText((Join-Path -Path $state -ChildPath 'guard.log'), $line, $utf8)
    }
    catch { Write-Verbose -Message "guard.log: $_" }
}

function Get-OwnAccount {
    # whoami prints the security identifier in every language of Windows.
    $start = New-Object System.Diagnostics.ProcessStartInfo (Join-Path -Path $system -ChildPath 'whoami.exe'), '/user /fo csv /nh'
    $start.UseShellExecute = $false
    $start.CreateNoWindow = $true
    $start.RedirectStandardOutput = $true
    $process = [Diagnostics.Process]::Start($start)
    try {
        $text = $process.StandardOutput.ReadToEnd()
        $process.WaitForExit()
        if ($text -match '"(S-1-[0-9-]+)"') { $Matches[1] } else { "unknown ($($text.Trim()))" }
    }
    finally { $process.Dispose() }
}

function Get-BootIdentityHere {
    $controlManager = @(Get-CimInstance -ClassName Win32_Process -Filter "Name='services.exe'")
    '{0}@{1}' -f $controlManager[0].ProcessId, $controlManager[0].CreationDate.ToUniversalTime().ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", [Globalization.CultureInfo]::InvariantCulture)
}

$request = Join-Path -Path $state -ChildPath 'drill-request.txt'
if ([IO.File]::Exists($request)) {
    $answer = ConvertTo-Json -Depth 2 -Compress -InputObject @{ word = [IO.File]::ReadAllText($request, $utf8); account = Get-OwnAccount }
    $path = Join-Path -Path $state -ChildPath 'drill-answer.json'
    [IO.File]::WriteAllText("$path.new", $answer, $utf8)
    [IO.File]::Delete($path)
    [IO.File]::Move("$path.new", $path)
}

$why = ''
$lease = $null
try { $lease = ConvertFrom-Json -InputObject ([IO.File]::ReadAllText((Join-Path -Path $state -ChildPath 'lease.json'), $utf8)) }
catch { $why = 'the lease is absent or unreadable' }
if ($null -ne $lease) {
    if ([string]$lease.boot -cne (Get-BootIdentityHere)) { $why = 'the node has booted since the lease was taken' }
    else {
        $now = [double][Diagnostics.Stopwatch]::GetTimestamp() / [double][Diagnostics.Stopwatch]::Frequency
        if ($now -lt [double]$lease.deadline_monotonic) { return }
        $why = 'the deadline of the lease has passed ({0})' -f $lease.deadline
    }
}

$controller = New-Object System.ServiceProcess.ServiceController $Service
if ($PriorState -eq 'Running' -and [string]$controller.Status -ne 'Running') {
    Write-GuardLog -Text "$why; $Service is $($controller.Status), starting it"
    if (@('StartPending', 'StopPending') -notcontains [string]$controller.Status) { $controller.Start() }
    $controller.WaitForStatus('Running', [TimeSpan]::FromSeconds(240))
    Write-GuardLog -Text "$Service is Running again"
}

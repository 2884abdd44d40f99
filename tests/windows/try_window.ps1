# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Runs the window job and the guard of the collection against a harmless service of its own and judges them from
# outside: see README.md. Everything it makes carries the word AlteryxOpsTry and is removed at the end.

param(
    # Absent or empty; gets one JSON file for each scene.
    [Parameter(Mandatory = $true)][string] $OutputFolder,
    # plugins\module_utils of the repository.
    [string] $CodeSource = '',
    # A service program to use instead of PlainService.cs, with the same verb.
    [string] $ServiceProgram = '',
    # Starts job and guard as child processes of this script, with its account, instead of as tasks of SYSTEM.
    [switch] $WithoutTask
)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$word = 'AlteryxOpsTry'
$service = 'AlteryxOpsTry'
# A minute until the guard's next firing, and what it needs to act.
$guardSeconds = 60 + 45
$here = if ($PSScriptRoot) { $PSScriptRoot } else { (Get-Location -PSProvider FileSystem).ProviderPath }
$common = [scriptblock]::Create([IO.File]::ReadAllText((Join-Path -Path $here -ChildPath 'Transcript.psm1')))
New-Module -Name 'Transcript' -ScriptBlock $common -ArgumentList $here | Import-Module -Global
Add-Type -AssemblyName System.ServiceProcess

$utf8 = New-Object System.Text.UTF8Encoding $false
$verdicts = New-Object System.Collections.ArrayList

# ---- the service

function Install-PlainService {
    foreach ($own in (Get-StateFolder), (Get-CodeFolder)) { New-ProtectedFolder -Path $own }
    $bin = Join-Path -Path (Get-CodeFolder) -ChildPath 'bin'
    $null = [IO.Directory]::CreateDirectory($bin)
    # The name that the window job looks for.
    $program = Join-Path -Path $bin -ChildPath 'AlteryxService.exe'
    if ($ServiceProgram) { [IO.File]::Copy($ServiceProgram, $program) }
    else {
        $source = [IO.File]::ReadAllText((Join-Path -Path $here -ChildPath 'PlainService.cs'), $utf8)
        Add-Type -TypeDefinition $source -OutputAssembly $program -OutputType ConsoleApplication `
            -ReferencedAssemblies 'System.ServiceProcess'
    }
    Set-DumpSecond -Seconds 0
    Invoke-Recorded -Program 'sc.exe' -ArgumentList 'create', $service, 'binPath=', "`"$program`"", 'start=', 'demand'
    Set-PlainService -State 'Running'
    [ordered]@{ compiled = -not $ServiceProgram; found = Get-NodeService -Name $service }
}

function Set-DumpSecond {
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'a file of this script')]
    param([int] $Seconds)
    $file = Join-Path -Path (Get-CodeFolder) -ChildPath 'bin\dump_seconds.txt'
    [IO.File]::WriteAllText($file, $Seconds.ToString([Globalization.CultureInfo]::InvariantCulture), $utf8)
}

function Set-PlainService {
    # Starts or stops the service and waits, at most 30 s.
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'a service of this script')]
    param([ValidateSet('Running', 'Stopped')][string] $State)
    $controller = New-Object System.ServiceProcess.ServiceController $service
    try {
        if ([string]$controller.Status -eq $State) { return }
        if ($State -eq 'Running') { $controller.Start() } else { $controller.Stop() }
        $controller.WaitForStatus([ServiceProcess.ServiceControllerStatus]$State, [TimeSpan]::FromSeconds(30))
    }
    finally { $controller.Dispose() }
}

function Uninstall-PlainService {
    # A service that is absent is fine. Throws for one of that name that runs another program.
    $key = [Microsoft.Win32.Registry]::LocalMachine.OpenSubKey("SYSTEM\CurrentControlSet\Services\$service")
    if ($null -eq $key) { return }
    try { $path = [string]$key.GetValue('ImagePath', '') }
    finally { $key.Dispose() }
    $own = Join-Path -Path ([Environment]::GetFolderPath('ProgramFiles')) -ChildPath "$word\bin\"
    if (-not $path.Trim('"').StartsWith($own, [StringComparison]::OrdinalIgnoreCase)) {
        throw "There is a service $service that runs another program ($path); it is left alone."
    }
    try { Set-PlainService -State 'Stopped' } catch { Write-Verbose -Message "stop: $_" }
    Invoke-Recorded -Program 'sc.exe' -ArgumentList 'delete', $service
}

# ---- the outside observer

function Start-Observer {
    # Looks at the service four times a second from a thread of its own, and writes down every change.
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'only looks')]
    param()
    $seen = New-Object System.Collections.ArrayList
    $shared = [hashtable]::Synchronized(@{ over = $false; seen = $seen; longest = 0.0 })
    $shell = [PowerShell]::Create()
    $looking = {
        param($Name, $Shared)
        $controller = New-Object System.ServiceProcess.ServiceController $Name
        $watch = [Diagnostics.Stopwatch]::StartNew()
        $last = ''
        $before = 0.0
        while (-not $Shared.over) {
            $controller.Refresh()
            $state = [string]$controller.Status
            $now = $watch.Elapsed.TotalSeconds
            if ($now - $before -gt $Shared.longest) { $Shared.longest = $now - $before }
            $before = $now
            if ($state -ne $last) { $null = $Shared.seen.Add(@{ at = [Math]::Round($now, 2); state = $state }) }
            $last = $state
            Start-Sleep -Milliseconds 250
        }
    }
    $null = $shell.AddScript($looking.ToString()).AddArgument($service).AddArgument($shared)
    @{ shared = $shared; shell = $shell; asked = $shell.BeginInvoke() }
}

function Stop-Observer {
    # Returns what was seen: states, the time that the service was not Running, and the longest pause between looks.
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'only looks')]
    param([Parameter(Mandatory = $true)] $Observer)
    Start-Sleep -Milliseconds 600
    $Observer.shared.over = $true
    $null = $Observer.asked.AsyncWaitHandle.WaitOne(10000)
    $Observer.shell.Dispose()
    $seen = $Observer.shared.seen.ToArray()
    $down = 0.0
    for ($at = 0; $at + 1 -lt $seen.Length; $at++) {
        if ($seen[$at].state -ne 'Running') { $down += $seen[$at + 1].at - $seen[$at].at }
    }
    [ordered]@{
        states = $seen; down_seconds = [Math]::Round($down, 2)
        longest_pause = [Math]::Round($Observer.shared.longest, 2)
    }
}

# ---- window job and guard

# What the job hears of a task without options.
$defaults = @{
    # Written by `make docs` from database_window.yml.
    service_name = 'AlteryxService'
    state = 'done'
    armed = $false
    open_within = 0
    attach = ''
    archive_folder = ''
    tried_verb = 'getemongopassword'
    emongodump_exit_codes = @()
    removed_collections = @()
    max_downtime = 21600
    space_reserve = 2000000000
    stop_timeout = 7200
    dump_timeout = 14400
    start_timeout = 1800
    leftover_timeout = 300
    expected_bytes = 0
}

function Get-WindowSpec {
    param([string] $RunId)
    $bin = Join-Path -Path (Get-CodeFolder) -ChildPath 'bin'
    $staging = Join-Path -Path (Get-StateFolder) -ChildPath 'staging'
    $own = @{
        run_id = $RunId; service_name = $service; method = 'emongodump'; tried_verb = ''; memo = ''
        executable = Join-Path -Path $bin -ChildPath 'AlteryxService.exe'
        staging_directory = $staging; dump_folder = Get-StagingPath -Root $staging -RunId $RunId -Part 'dump'
        archive_folder = Join-Path -Path (Get-StateFolder) -ChildPath 'archives'
        stop_timeout = 60; dump_timeout = 900; start_timeout = 60; leftover_timeout = 30; max_downtime = 600
        expected_bytes = 4096; space_reserve = 1000000
    }
    $spec = $defaults.Clone()
    foreach ($name in $own.Keys) { $spec[$name] = $own[$name] }
    ConvertTo-Json -Depth 3 -InputObject $spec
}

function Start-Window {
    # Takes the lease and starts the window job. Returns its id.
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'what this script is for')]
    param([string] $RunId)
    $folder = Install-NodeCode -Code $code
    $id = "$RunId-window"
    $guard = Join-Path -Path $folder -ChildPath 'guard.ps1'
    if (-not $WithoutTask) {
        $null = New-NodeLease -RunId $RunId -Service $service -HoldSeconds 900 -HeartbeatStale 60 -GuardScript $guard `
            -Account 'S-1-5-18'
        $null = Start-NodeJob -Id $id -Job 'window_job' -Spec (Get-WindowSpec -RunId $RunId) -Code $code -Priority 4
        return $id
    }
    New-DirectLease -RunId $RunId -GuardScript $guard
    $job = Join-Path -Path (Get-StateFolder) -ChildPath "jobs\$id"
    $null = [IO.Directory]::CreateDirectory($job)
    Write-NodeText -Path (Join-Path -Path $job -ChildPath 'spec.json') -Text (Get-WindowSpec -RunId $RunId)
    $hostScript = Join-Path -Path $folder -ChildPath 'job_host.ps1'
    $null = Start-OwnShell -Path $hostScript -ArgumentList $job, $folder, 'window_job'
    $watch = [Diagnostics.Stopwatch]::StartNew()
    while (-not [IO.File]::Exists((Join-Path -Path $job -ChildPath 'status.json'))) {
        if ($watch.Elapsed.TotalSeconds -gt 60) { throw 'the job has not begun within 60 s' }
        Start-Sleep -Milliseconds 200
    }
    $id
}

function New-DirectLease {
    # What New-NodeLease leaves, without the drill: the guard's task is registered, because the job asks for it, and
    # has no trigger.
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'what this script is for')]
    param([string] $RunId, [string] $GuardScript)
    New-ProtectedFolder -Path (Get-StateFolder)
    Remove-OwnKey -Name 'Guard'
    $now = Get-MonotonicSecond
    $boot = Get-BootIdentity -Create
    $found = Get-NodeService -Name $service
    $invariant = [Globalization.CultureInfo]::InvariantCulture
    $script:guardArguments = @($service, $found.state, [IO.Path]::GetDirectoryName($found.executable),
        $now.ToString('F3', $invariant), ($now + 900).ToString('F3', $invariant), $boot, '60')
    $beat = @{
        monotonic = $now; process_id = 0; process_birth = 0; tool_id = 0; tool_birth = 0; stop_requested = $false
        finished = $false
    }
    New-NodeRecord -Path (Join-Path -Path (Get-StateFolder) -ChildPath 'heartbeat.json') -Length 1024 -Data $beat
    $lease = @{
        run_id = $RunId; generation = 1; service = $service; prior_state = $found.state
        start_type = $found.start_type; boot = $boot; deadline_monotonic = $now + 900; deadline = 'in 15 minutes'
        heartbeat_stale = 60; controller_host = ''; drilled = $true
    }
    $file = Join-Path -Path (Get-StateFolder) -ChildPath 'lease.json'
    Write-NodeText -Path $file -Text (ConvertTo-NodeJson -InputObject $lease)
    Register-NodeTask -Name "\$word\Guard" -Description 'a try' -Path $GuardScript -Priority 4 -TimeLimit 'PT5M' `
        -ArgumentList $script:guardArguments
}

function Start-OwnShell {
    # A script in a Windows PowerShell of its own, started as a task would start it.
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'what this script is for')]
    param([string] $Path, [string[]] $ArgumentList)
    $system = [Environment]::GetFolderPath('System')
    $program = Join-Path -Path $system -ChildPath 'WindowsPowerShell\v1.0\powershell.exe'
    $command = ConvertTo-ScriptCommand -Path $Path -ArgumentList $ArgumentList
    $start = New-Object System.Diagnostics.ProcessStartInfo $program, $command
    $start.UseShellExecute = $false
    $start.CreateNoWindow = $true
    [Diagnostics.Process]::Start($start)
}

function Complete-Window {
    # Waits for the end of the job; returns status, result and log.
    param([string] $Id)
    $answer = Get-NodeJobStatus -Id $Id -WaitSeconds 180
    $result = if ($answer.result) { ConvertFrom-Json -InputObject $answer.result } else { $null }
    @{ status = $answer.status; result = $result; log = $answer.log }
}

function Get-DumpProcess {
    # Processes of our program that are not the service.
    $own = (Get-NodeService -Name $service).process_id
    $program = Join-Path -Path (Get-CodeFolder) -ChildPath 'bin\AlteryxService.exe'
    @(("$word.ProcessTable" -as [type])::Read() | Where-Object { $_.Path -eq $program -and $_.Id -ne $own })
}

function Wait-Until {
    # Waits until the condition is true; returns the seconds, -1 where it did not become true.
    param([scriptblock] $Condition, [double] $Seconds)
    $watch = [Diagnostics.Stopwatch]::StartNew()
    while ($watch.Elapsed.TotalSeconds -lt $Seconds) {
        if (& $Condition) { return [Math]::Round($watch.Elapsed.TotalSeconds, 1) }
        Start-Sleep -Milliseconds 250
    }
    -1
}

# ---- scenes

function Test-Scene {
    # Runs a scene under the eyes of the observer. Action returns a dictionary and adds to failures.
    param([string] $Name, [string] $Title, [string] $Before, [scriptblock] $Action)
    $verdict = [ordered]@{
        scene = $Name; title = $Title; passed = $false; failures = @('the scene did not end'); seconds = 0.0
    }
    $watch = [Diagnostics.Stopwatch]::StartNew()
    Write-Subject -Name $Name -Action {
        $failures = New-Object System.Collections.ArrayList
        $data = [ordered]@{}
        Set-PlainService -State $Before
        $observer = Start-Observer
        try { & $Action $data $failures }
        catch { $null = $failures.Add((Get-ProblemText -ErrorRecord $_)) }
        finally { $data['observed'] = Stop-Observer -Observer $observer }
        $log = Join-Path -Path (Get-StateFolder) -ChildPath 'guard.log'
        if ([IO.File]::Exists($log)) { $data['guard_log'] = Read-NodeText -Path $log }
        $verdict.failures = @($failures.ToArray()) + @(Get-Observation -Data $data -Name $Name)
        $verdict.passed = $verdict.failures.Count -eq 0
        $data['failures'] = $verdict.failures
        $data['passed'] = $verdict.passed
        $data
    }
    Clear-Scene
    $verdict.seconds = [Math]::Round($watch.Elapsed.TotalSeconds, 1)
    $null = $verdicts.Add($verdict)
    $said = if ($verdict.passed) { 'PASSED' } else { 'FAILED' }
    Write-Line -Text ('{0} {1}: {2} ({3} s)' -f $said, $Name, $Title, $verdict.seconds)
    foreach ($failure in $verdict.failures) { Write-Line -Text "       $failure" }
}

function Get-Observation {
    # What speaks against a scene in what the observer saw.
    param($Data, [string] $Name)
    $states = @($Data.observed.states | ForEach-Object { $_.state })
    $wrong = @($states | Where-Object { @('Running', 'Stopped', 'StartPending', 'StopPending') -notcontains $_ })
    if ($wrong.Count -gt 0) { "states that are none were seen: '$($wrong -join ''', ''')'" }
    if ($Name -eq 'stays_stopped') {
        if (($states -join ' ') -ne 'Stopped') { "the service did not stay Stopped: $($states -join ', ')" }
        return
    }
    $seen = $states -join ', '
    if ($states[0] -ne 'Running' -or $states[-1] -ne 'Running') { "not Running before and after: $seen" }
    if ($states -notcontains 'Stopped') { 'the service was never seen Stopped' }
    if (@($states | Where-Object { $_ -eq 'Stopped' }).Count -gt 1) { "Stopped more than once: $seen" }
}

function Clear-Scene {
    # Ends what a scene has left, so that the next one begins clean.
    foreach ($job in @(Get-NodeJob)) {
        try { if ($job.alive) { $null = Stop-NodeJob -Id $job.id } } catch { Write-Line -Text "job $($job.id): $_" }
        try { Remove-NodeJob -Id $job.id } catch { Write-Line -Text "job $($job.id): $_" }
    }
    try { $null = Remove-NodeLease } catch { Write-Line -Text "lease: $_" }
}

function Test-WholeWindow {
    Test-Scene -Name 'whole_window' -Title 'the job stops, dumps and starts again' -Before 'Running' -Action {
        param($Data, $Failures)
        Set-DumpSecond -Seconds 5
        $end = Complete-Window -Id (Start-Window -RunId 'DB_20260101_000001_aaaa')
        $Data['result'] = $end.result
        $Data['log'] = $end.log
        if ($end.status.state -ne 'succeeded') {
            $null = $Failures.Add("the job is $($end.status.state)")
            return
        }
        $Data['down_seconds_of_job'] = [Math]::Round($end.result.marks.running - $end.result.marks.stop_requested, 2)
        $count = @($end.result.files).Count
        if ($count -ne 5) { $null = $Failures.Add("$count files instead of 5") }
        $Data['released'] = Remove-NodeLease
        if (Test-NodeTask -Name "\$word\Guard") { $null = $Failures.Add('the guard is still registered') }
    }
}

function Test-KilledJob {
    $title = 'the job is killed, the guard brings the service back'
    Test-Scene -Name 'killed_job' -Title $title -Before 'Running' -Action {
        param($Data, $Failures)
        Set-DumpSecond -Seconds 600
        $id = Start-Window -RunId 'DB_20260101_000002_aaaa'
        $dumping = Wait-Until -Seconds 60 -Condition { @(Get-DumpProcess).Count -gt 0 }
        if ($dumping -lt 0) { throw 'the dump did not begin within 60 s' }
        Start-Sleep -Seconds 3
        $status = (Get-NodeJobStatus -Id $id).status
        [Diagnostics.Process]::GetProcessById([int]$status.process_id).Kill()
        $Data['dump_ended_after'] = Wait-Until -Seconds 10 -Condition { @(Get-DumpProcess).Count -eq 0 }
        if ($Data.dump_ended_after -lt 0) { $null = $Failures.Add('the dump outlived its job by 10 s') }
        $Data['state_after_kill'] = Get-ServiceStatus -Name $service
        if ($WithoutTask) {
            $guard = Join-Path -Path (Install-NodeCode -Code $code) -ChildPath 'guard.ps1'
            $null = (Start-OwnShell -Path $guard -ArgumentList $script:guardArguments).WaitForExit(200000)
        }
        $Data['back_after'] = Wait-Until -Seconds $guardSeconds -Condition {
            (Get-ServiceStatus -Name $service) -eq 'Running'
        }
        if ($Data.back_after -lt 0) { $null = $Failures.Add("the guard did not bring it back within $guardSeconds s") }
        # It says so after it has done it.
        $log = Join-Path -Path (Get-StateFolder) -ChildPath 'guard.log'
        $null = Wait-Until -Seconds 15 -Condition { [IO.File]::Exists($log) }
        $lease = Read-NodeLease
        $Data['generation'] = if ($null -ne $lease) { [int]$lease.generation } else { 0 }
        if ($Data.generation -ne 2) { $null = $Failures.Add("the lease has generation $($Data.generation), not 2") }
    }
}

function Test-StoppedService {
    Test-Scene -Name 'stays_stopped' -Title 'a service that was stopped stays stopped' -Before 'Stopped' -Action {
        param($Data, $Failures)
        Set-DumpSecond -Seconds 3
        $end = Complete-Window -Id (Start-Window -RunId 'DB_20260101_000003_aaaa')
        $Data['result'] = $end.result
        $Data['log'] = $end.log
        if ($end.status.state -ne 'succeeded') { $null = $Failures.Add("the job is $($end.status.state)") }
    }
}

Assert-Elevated
Start-Transcription -Folder $OutputFolder -Script 'try_window.ps1'
$swept = @{ removed = @(); left = @() }
$guardArguments = @()
try {
    $code = Import-NodeCode -Source $CodeSource -Word $word
    # What a run that was broken off may have left.
    Uninstall-PlainService
    $null = Remove-Trace -Word $word -Task 'Guard'
    Write-Subject -Name 'service' -Action { Install-PlainService }
    Test-WholeWindow
    Test-KilledJob
    Test-StoppedService
}
finally {
    if (Get-Command -Name 'Remove-NodeLease' -ErrorAction SilentlyContinue) { Clear-Scene }
    $serviceTrace = "service $service"
    $left = @()
    try { Uninstall-PlainService }
    catch { $left = @("$serviceTrace ($(Get-ProblemText -ErrorRecord $_))") }
    $swept = Remove-Trace -Word $word -Task 'Guard'
    $more = @{ scenes = $verdicts.ToArray(); without_task = [bool]$WithoutTask }
    $removed = @(if ($left.Count -eq 0) { $serviceTrace }) + $swept.removed
    Complete-Transcription -Removed $removed -LeftBehind ($left + $swept.left) -More $more
}
$failed = @($verdicts | Where-Object { -not $_.passed })
if ($failed.Count -gt 0) { throw "$($failed.Count) of $($verdicts.Count) scenes FAILED" }

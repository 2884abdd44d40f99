# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

#AnsibleRequires -CSharpUtil ansible_collections.alteryx_ops.server_backup.plugins.module_utils.ProcessTable

# All native programs of this collection are started here: without a shell, with both streams read to their end, and
# with a time limit that ends the whole process tree.

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

# With this privilege an administrator can open processes of other accounts. If a policy has removed it, the path of
# those processes is not known.
try { [Diagnostics.Process]::EnterDebugMode() } catch { Write-Verbose -Message "debug privilege: $_" }

function ConvertTo-NativeArgument {
    <#
    .SYNOPSIS
    Quotes one argument as CommandLineToArgvW undoes it (backslashes before a quote are doubled).
    #>
    param([Parameter(Mandatory = $true)][AllowEmptyString()][string] $Value)
    if ($Value -match '^[^\s"]+$') { return $Value }
    $escaped = [regex]::Replace($Value, '(\\*)"', '$1$1\"')
    '"{0}"' -f [regex]::Replace($escaped, '(\\+)$', '$1$1')
}

function Get-ProcessBirth {
    <#
    .SYNOPSIS
    When the process was created, in milliseconds since 0001-01-01 UTC; 0 if it does not exist, -1 if it may exist but
    Windows does not allow this account to open it.
    #>
    param([Parameter(Mandatory = $true)][int] $ProcessId)
    [long][AlteryxOps.ProcessTable]::GetBirth($ProcessId)
}

function Test-NodeProcess {
    <#
    .SYNOPSIS
    Is the process with this id and this time of birth running? Windows reuses process ids, but not with the same time
    of birth. A process that cannot be opened counts as running.
    #>
    param([Parameter(Mandatory = $true)][int] $ProcessId, [Parameter(Mandatory = $true)][long] $Birth)
    $found = Get-ProcessBirth -ProcessId $ProcessId
    $found -eq $Birth -or $found -eq -1
}

function Stop-NodeProcessTree {
    <#
    .SYNOPSIS
    Ends a process and all its descendants one by one, and repeats that until none is left, at most for 10 s. Birth
    distinguishes the process from a later one with the same id. Returns whether all have ended. Never throws, because
    Windows refuses to end a process that is already ending.
    #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'callers check')]
    param([Parameter(Mandatory = $true)][int] $ProcessId, [long] $Birth = 0)
    Stop-ProcessUntilGone -Read { [AlteryxOps.ProcessTable]::ReadTree($ProcessId, $Birth) }
}

function Stop-HeldProcess {
    <# .SYNOPSIS
    Ends all processes that this job has started and that are still running (see job_host.ps1), in the way of
    Stop-NodeProcessTree. #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'callers check')]
    param()
    Stop-ProcessUntilGone -Read { [AlteryxOps.ProcessTable]::ReadHeld() }
}

function Stop-ProcessUntilGone {
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'callers check')]
    param([scriptblock] $Read)
    $watch = [Diagnostics.Stopwatch]::StartNew()
    while ($true) {
        $left = $null
        # The next pass finds processes that one of them has started meanwhile.
        try { $left = @(& $Read) }
        catch { Write-Verbose -Message "processes: $_" }
        if ($null -ne $left -and $left.Count -eq 0) { return $true }
        if ($watch.Elapsed.TotalSeconds -gt 10) { return $false }
        foreach ($process in $left) {
            try { $null = [AlteryxOps.ProcessTable]::Finish($process.Id, $process.Birth, 500) }
            catch { Write-Verbose -Message "process $($process.Id): $_" }
        }
        Start-Sleep -Milliseconds 50
    }
}

function New-NativeProcess {
    <#
    .SYNOPSIS
    Makes a process that is not started yet: no shell, no window, all streams redirected. Its output is read in the code
    page of the console, which in a task of SYSTEM is that of the system. With Utf8 it is read as UTF-8, which MongoDB's
    tools print.
    #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'changes nothing')]
    param([string] $FileName, [string[]] $ArgumentList, [string] $RawArguments, [switch] $Utf8)
    $start = New-Object System.Diagnostics.ProcessStartInfo
    $start.FileName = $FileName
    $start.Arguments = if ($RawArguments) { $RawArguments }
    else { @($ArgumentList | ForEach-Object { ConvertTo-NativeArgument -Value $_ }) -join ' ' }
    $start.UseShellExecute = $false
    $start.CreateNoWindow = $true
    $start.RedirectStandardInput = $true
    $start.RedirectStandardOutput = $true
    $start.RedirectStandardError = $true
    if ($Utf8) {
        $start.StandardOutputEncoding = New-Object System.Text.UTF8Encoding $false
        $start.StandardErrorEncoding = $start.StandardOutputEncoding
    }
    $process = New-Object System.Diagnostics.Process
    $process.StartInfo = $start
    $process
}

function Read-NativeHead {
    <#
    .SYNOPSIS
    Runs a program, reads its standard output until Enough returns true, and then ends the program. Enough receives the
    bytes and how many of them are valid. Returns a hashtable: enough, timed_out, stderr. A program that writes more
    than 64 MB before that is ended too. Its standard error is read as UTF-8, which MongoDB's tools print.
    #>
    param(
        [Parameter(Mandatory = $true)][string] $FileName,
        [Parameter(Mandatory = $true)][string[]] $ArgumentList,
        [Parameter(Mandatory = $true)][scriptblock] $Enough,
        [Parameter(Mandatory = $true)][int] $TimeoutSeconds
    )
    $process = New-NativeProcess -FileName $FileName -ArgumentList $ArgumentList -Utf8
    $answer = @{ enough = $false; timed_out = $false; stderr = '' }
    $head = New-Object System.IO.MemoryStream
    $buffer = New-Object byte[] 65536
    $watch = [Diagnostics.Stopwatch]::StartNew()
    $null = $process.Start()
    # 0 if it has ended already. Then its children are found only by the id of their parent.
    $birth = [Math]::Max([long]0, (Get-ProcessBirth -ProcessId $process.Id))
    try {
        $process.StandardInput.Close()
        $standardError = $process.StandardError.ReadToEndAsync()
        while (-not $answer.enough -and -not $answer.timed_out -and $head.Length -lt 64MB) {
            $read = $process.StandardOutput.BaseStream.ReadAsync($buffer, 0, $buffer.Length)
            $left = [int][Math]::Max(0, 1000 * ($TimeoutSeconds - $watch.Elapsed.TotalSeconds))
            if (-not $read.Wait($left)) { $answer.timed_out = $true }
            elseif ($read.Result -eq 0) { break }
            else {
                $head.Write($buffer, 0, $read.Result)
                $answer.enough = [bool](& $Enough $head.GetBuffer() ([int]$head.Length))
            }
        }
        if ($answer.enough -or $answer.timed_out -or $head.Length -ge 64MB -or -not $process.WaitForExit(10000)) {
            $null = Stop-NodeProcessTree -ProcessId $process.Id -Birth $birth
        }
        if ($standardError.Wait(10000)) { $answer.stderr = $standardError.Result }
        $answer
    }
    catch {
        if (-not $process.HasExited) { $null = Stop-NodeProcessTree -ProcessId $process.Id -Birth $birth }
        throw
    }
    finally {
        $process.Dispose()
        $head.Dispose()
    }
}

function Invoke-NativeProcess {
    <#
    .SYNOPSIS
    Runs a program and returns a hashtable: exit_code, stdout, stderr, timed_out, seconds. OnStart receives a hashtable
    with the id and the time of birth of the process. OnTick runs about every TickSeconds while the program runs. If
    OnTick returns a reason as text, the process tree is ended and stopped_because contains the reason. Utf8 is for
    programs that print UTF-8 in every code page.
    #>
    param(
        [Parameter(Mandatory = $true)][string] $FileName,
        [string[]] $ArgumentList = @(),
        [string] $RawArguments,
        [int] $TimeoutSeconds = 60,
        [scriptblock] $OnStart,
        [scriptblock] $OnTick,
        [double] $TickSeconds = 1,
        [switch] $Utf8
    )
    $process = New-NativeProcess -FileName $FileName -ArgumentList $ArgumentList -RawArguments $RawArguments -Utf8:$Utf8
    $watch = [Diagnostics.Stopwatch]::StartNew()
    $timedOut = $false
    $stoppedBecause = ''
    $null = $process.Start()
    # 0 if it has ended already. Then its children are found only by the id of their parent.
    $birth = [Math]::Max([long]0, (Get-ProcessBirth -ProcessId $process.Id))
    try {
        $process.StandardInput.Close()
        if ($OnStart) { & $OnStart @{ id = $process.Id; birth = $birth } }
        # Both streams are read while it runs, otherwise a full pipe would block the program.
        $standardOutput = New-Object AlteryxOps.PrintedText $process.StandardOutput
        $standardError = New-Object AlteryxOps.PrintedText $process.StandardError
        while (-not $process.WaitForExit([int](1000 * $TickSeconds))) {
            if ($OnTick) { $stoppedBecause = [string](& $OnTick) }
            $timedOut = $watch.Elapsed.TotalSeconds -gt $TimeoutSeconds
            if ($timedOut -or $stoppedBecause) {
                $null = Stop-NodeProcessTree -ProcessId $process.Id -Birth $birth
                break
            }
        }
        # A grandchild that continues to run (a mongod that still writes) keeps the pipe open, so the wait for the end
        # of the output is limited. The output up to then is used.
        $null = $standardOutput.Wait(10000)
        $null = $standardError.Wait(1000)
        @{
            exit_code = $(if ($process.HasExited) { $process.ExitCode } else { -1 })
            stdout = $standardOutput.Text
            stderr = $standardError.Text
            timed_out = $timedOut
            stopped_because = $stoppedBecause
            seconds = $watch.Elapsed.TotalSeconds
        }
    }
    catch {
        # An exception, for example of a tick that could not write its status, must not leave the program running
        # without supervision.
        if (-not $process.HasExited) { $null = Stop-NodeProcessTree -ProcessId $process.Id -Birth $birth }
        throw
    }
    finally { $process.Dispose() }
}

Export-ModuleMember -Function @(
    'ConvertTo-NativeArgument', 'Get-ProcessBirth', 'Test-NodeProcess', 'Stop-NodeProcessTree',
    'Stop-HeldProcess', 'New-NativeProcess', 'Read-NativeHead', 'Invoke-NativeProcess'
)

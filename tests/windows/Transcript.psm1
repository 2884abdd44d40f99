# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What the scripts of this folder share: they load the node code of the collection under a name of its own, run and
# record programs, replace what identifies the machine, and write one JSON file for each subject.

# Here: the folder of this file.
param([Parameter(Mandatory = $true)][string] $Here)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$script:Here = $Here
$script:Utf8 = New-Object System.Text.UTF8Encoding $false
$script:FormatVersion = 1
# Not for a script outside Ansible, or not needed here.
$script:ModuleOnly = @('NodeModule.psm1', 'NodeMetadata.psm1', 'NodeExport.psm1')
$script:Calls = New-Object System.Collections.ArrayList
$script:Masks = New-Object System.Collections.ArrayList
$script:Numbers = @{}
$script:Index = $null

function Write-Line {
    <# .SYNOPSIS
    Prints a line for the person who runs the script. #>
    param([string] $Text)
    Write-Information -MessageData $Text -InformationAction Continue
}

function Assert-Elevated {
    <# .SYNOPSIS
    Throws unless this process has the rights of an administrator. #>
    $identity = [Security.Principal.WindowsIdentity]::GetCurrent()
    $principal = New-Object System.Security.Principal.WindowsPrincipal $identity
    if ($principal.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)) { return }
    throw 'Run this script in an elevated Windows PowerShell ("Run as administrator"). Nothing was changed.'
}

function Test-Wine {
    <# .SYNOPSIS
    Is this Wine instead of Windows? #>
    foreach ($root in [Microsoft.Win32.Registry]::CurrentUser, [Microsoft.Win32.Registry]::LocalMachine) {
        $key = $root.OpenSubKey('Software\Wine')
        if ($null -eq $key) { continue }
        $key.Dispose()
        return $true
    }
    $false
}

function Import-NodeCode {
    <#
    .SYNOPSIS
    Loads the node code of the collection into this session. Every AlteryxOps in it (folders, tasks, registry key, event
    source, namespace) becomes Word, so that nothing of an installed collection is touched. An empty Source is that of
    the repository. Returns the JSON text for Install-NodeCode. Writes no file.
    #>
    param(
        [Parameter(Mandatory = $true)][AllowEmptyString()][string] $Source,
        [Parameter(Mandatory = $true)][ValidatePattern('^AlteryxOps[A-Z][a-z]+$')][string] $Word
    )
    if (-not $Source) {
        $Source = [IO.Path]::GetFullPath((Join-Path -Path $script:Here -ChildPath '..\..\plugins\module_utils'))
    }
    if (-not [IO.File]::Exists((Join-Path -Path $Source -ChildPath 'window_job.ps1'))) {
        throw "The node code is not in $Source. Copy the whole repository folder, or name it with -CodeSource."
    }
    $texts = [ordered]@{}
    foreach ($path in [IO.Directory]::GetFiles($Source) | Sort-Object) {
        $name = [IO.Path]::GetFileName($path)
        if ($name -notmatch '\.(ps1|psm1|cs)$' -or $script:ModuleOnly -contains $name) { continue }
        $texts[$name] = [IO.File]::ReadAllText($path, $script:Utf8).Replace('AlteryxOps', $Word)
    }
    foreach ($name in @($texts.Keys | Where-Object { $_ -like '*.psm1' })) {
        $module = [scriptblock]::Create($texts[$name])
        New-Module -Name ([IO.Path]::GetFileNameWithoutExtension($name)) -ScriptBlock $module -ArgumentList '' |
            Import-Module -Global
    }
    # As NodeType.psm1 does it from files.
    foreach ($name in 'ProcessTable.cs', 'NodeDisk.cs') {
        Add-Type -TypeDefinition $texts[$name] -ReferencedAssemblies 'System.Core' -IgnoreWarnings
    }
    # The node code finds this one from now on.
    Set-Item -LiteralPath 'function:global:Invoke-NativeProcess' -Value ${function:Invoke-WatchedProcess}
    $texts.Remove('NodeJob.psm1')
    ConvertTo-Json -InputObject $texts -Depth 2 -Compress
}

# ---- programs

function Invoke-WatchedProcess {
    # Stands in the place of Invoke-NativeProcess of NodeProcess.psm1, so that calls of the node code are recorded, too.
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
    $call = [ordered]@{
        program = [IO.Path]::GetFileName($FileName)
        arguments = @($ArgumentList)
        administrator = $true
    }
    # The file of a task is gone when schtasks.exe has read it.
    for ($at = 0; $at + 1 -lt $ArgumentList.Count; $at++) {
        $value = $ArgumentList[$at + 1]
        if ($ArgumentList[$at] -eq '/XML' -and [IO.File]::Exists($value)) {
            $call['xml'] = [IO.File]::ReadAllText($value, [Text.Encoding]::Unicode)
        }
    }
    $real = (Get-Module -Name 'NodeProcess').ExportedFunctions['Invoke-NativeProcess']
    $answer = & $real @PSBoundParameters
    foreach ($name in 'exit_code', 'stdout', 'stderr', 'timed_out') { $call[$name] = $answer[$name] }
    $call['seconds'] = [Math]::Round([double]$answer['seconds'], 3)
    $null = $script:Calls.Add($call)
    $answer
}

function Invoke-Recorded {
    <#
    .SYNOPSIS
    Runs a program of Windows (system32) or the one of a full path. What it does wrong is recorded, not thrown. With
    HideText only lengths of what it prints are kept.
    #>
    param(
        [Parameter(Mandatory = $true)][string] $Program,
        [string[]] $ArgumentList = @(),
        [int] $TimeoutSeconds = 60,
        [switch] $HideText
    )
    $path = $Program
    if (-not [IO.Path]::IsPathRooted($path)) {
        $path = Join-Path -Path ([Environment]::GetFolderPath('System')) -ChildPath $Program
    }
    try {
        $null = Invoke-WatchedProcess -FileName $path -ArgumentList $ArgumentList -TimeoutSeconds $TimeoutSeconds `
            -TickSeconds 0.1
        if (-not $HideText) { return }
        $call = $script:Calls[$script:Calls.Count - 1]
        foreach ($name in 'stdout', 'stderr') { $call[$name] = Get-TextShape -Text $call[$name] }
    }
    catch {
        $null = $script:Calls.Add([ordered]@{
                program = $Program; arguments = @($ArgumentList); problem = $_.Exception.GetBaseException().Message
            })
    }
}

function Read-Call {
    <# .SYNOPSIS
    The calls since the last Read-Call, in order. #>
    $found = $script:Calls.ToArray()
    $script:Calls.Clear()
    , $found
}

function Get-TextShape {
    <#
    .SYNOPSIS
    What a secret looks like, without it: its first lines, each as length and kinds of characters. Words before a colon,
    such as Non-Admin, stay; of words that speak of a failure it is said which there are.
    #>
    param([AllowNull()][AllowEmptyString()][string] $Text)
    $lines = @($Text -split "`r?`n" | Select-Object -First 10 | ForEach-Object {
            $label = if ($_ -match '^\s*((?:Non-)?Admin):') { $Matches[1] } else { '' }
            $rest = if ($label) { $_.Substring($Matches[0].Length) } else { $_ }
            [ordered]@{
                label = $label; length = $rest.Length; trimmed_length = $rest.Trim().Length
                characters = @(Get-CharacterKind -Text $rest)
            }
        })
    $words = @('fail', 'failed', 'error', 'exception', 'unable', 'cannot', 'invalid', 'denied' |
            Where-Object { $Text -match "\b$_\b" })
    [ordered]@{ removed = $true; length = $Text.Length; lines = $lines; failure_words = $words }
}

function Get-CharacterKind {
    param([string] $Text)
    $kinds = [ordered]@{
        lower = '[a-z]'; upper = '[A-Z]'; digit = '[0-9]'; blank = '\s'; punctuation = '[!-/:-@\[-`{-~]'
        other = '[^\x00-\x7f]'
    }
    @($kinds.Keys | Where-Object { $Text -cmatch $kinds[$_] })
}

# ---- identity

function Initialize-Mask {
    <# .SYNOPSIS
    Learns what identifies this machine, so that Protect-Identity replaces it. #>
    $script:Masks.Clear()
    $script:Numbers = @{}
    $names = New-Object System.Collections.ArrayList
    $properties = [Net.NetworkInformation.IPGlobalProperties]::GetIPGlobalProperties()
    $found = [ordered]@{
        'DNS-DOMAIN' = @($properties.DomainName, [Environment]::GetEnvironmentVariable('USERDNSDOMAIN'))
        MACHINE = @([Environment]::MachineName, $properties.HostName)
        DOMAIN = @([Environment]::GetEnvironmentVariable('USERDOMAIN'), [Environment]::UserDomainName)
        'LOGON-SERVER' = @([Environment]::GetEnvironmentVariable('LOGONSERVER'))
        USER = @([Environment]::UserName, [Environment]::GetEnvironmentVariable('USERNAME'),
            [IO.Path]::GetFileName([Environment]::GetFolderPath('UserProfile')))
    }
    foreach ($placeholder in $found.Keys) {
        foreach ($value in $found[$placeholder]) {
            $null = $names.Add(@{ value = ([string]$value).Trim('\', ' '); placeholder = $placeholder })
        }
    }
    foreach ($interface in [Net.NetworkInformation.NetworkInterface]::GetAllNetworkInterfaces()) {
        try {
            foreach ($entry in $interface.GetIPProperties().UnicastAddresses) {
                $null = $names.Add(@{ value = $entry.Address.ToString().Split('%')[0]; placeholder = 'ADDRESS' })
            }
        }
        catch { Write-Verbose -Message "addresses: $_" }
    }
    # Long ones first: a name may be the beginning of another.
    foreach ($name in @($names.ToArray() | Sort-Object -Property { - $_.value.Length })) { Add-Mask @name }
}

function Add-Mask {
    <# .SYNOPSIS
    A name to be replaced from now on. #>
    param([AllowEmptyString()][string] $Value, [Parameter(Mandatory = $true)][string] $Placeholder)
    # Names of Windows itself do not identify a person or a company.
    $general = @('system', 'localhost', 'workgroup', 'nt authority', 'builtin', '127.0.0.1', '::1', 'localsystem')
    if ($Value.Length -lt 2 -or $general -contains $Value.ToLowerInvariant()) { return }
    foreach ($mask in $script:Masks) { if ($mask.value -eq $Value) { return } }
    $null = $script:Masks.Add(@{
            value = $Value; placeholder = $Placeholder
            pattern = '(?i)(?<![\p{L}\p{N}_])' + [regex]::Escape($Value) + '(?![\p{L}\p{N}_])'
        })
}

function Protect-Identity {
    <#
    .SYNOPSIS
    The text with names of machine, domain and users, identifiers of accounts and addresses replaced by placeholders.
    The same name is the same placeholder throughout a transcript.
    #>
    param([AllowNull()][AllowEmptyString()][string] $Text)
    if (-not $Text) { return $Text }
    foreach ($mask in $script:Masks) { $Text = [regex]::Replace($Text, $mask.pattern, $mask.placeholder) }
    $Text = Get-Numbered -Text $Text -Pattern 'S-1-5-21(-\d+){3,}' -Placeholder 'SID'
    $Text = Get-Numbered -Text $Text -Pattern 'S-1-12-1(-\d+)+' -Placeholder 'SID'
    $Text = Get-Numbered -Text $Text -Pattern 'S-1-5-80(-\d+){5}' -Placeholder 'SERVICE-SID'
    $Text = Get-Numbered -Text $Text -Placeholder 'MAC' `
        -Pattern '(?i)(?<![0-9a-f:-])([0-9a-f]{2}[:-]){5}[0-9a-f]{2}(?![0-9a-f:-])'
    $Text = Get-Numbered -Text $Text -Placeholder 'ADDRESS' `
        -Pattern '(?i)(?<![0-9a-f:])(fe80|f[cd][0-9a-f]{2}|2[0-9a-f]{3})(:[0-9a-f]{0,4}){2,7}'
    # Four numbers below 256 that no version of Windows or .NET has; 127 and 0.0.0.0 are the same everywhere.
    $octet = '(25[0-5]|2[0-4]\d|1?\d?\d)'
    $general = '127\.|0\.0\.0\.0|1\.1\.0\.1|255\.|[2-7]\.0\.0\.0|10\.0\.0\.0'
    Get-Numbered -Text $Text -Placeholder 'ADDRESS' `
        -Pattern "(?<![\d.])(?!$general)($octet\.){3}$octet(?![\d.])"
}

function Get-Numbered {
    param([string] $Text, [string] $Pattern, [string] $Placeholder)
    foreach ($found in @([regex]::Matches($Text, $Pattern) | ForEach-Object { $_.Value } | Sort-Object -Unique)) {
        $key = "$Placeholder $found"
        if (-not $script:Numbers.ContainsKey($key)) {
            $same = @($script:Numbers.Keys | Where-Object { $_ -clike "$Placeholder *" })
            $script:Numbers[$key] = $same.Count + 1
        }
        $Text = [regex]::Replace($Text, [regex]::Escape($found) + '(?![\d.])', "$Placeholder-$($script:Numbers[$key])")
    }
    $Text
}

function Protect-Value {
    # All texts of a value, however deep. Bytes in Base64 are texts of a program or a file, and are treated as such.
    param($Value, [string] $Name = '')
    if ($Value -is [string]) {
        if ($Name -like '*_base64') { return Protect-Bytes -Base64 $Value }
        return Protect-Identity -Text $Value
    }
    if ($Value -is [Management.Automation.PSCustomObject]) {
        $table = [ordered]@{}
        foreach ($property in $Value.PSObject.Properties) { $table[$property.Name] = $property.Value }
        $Value = $table
    }
    # Windows PowerShell writes an array that is wrapped in an object of its own as a table with value and Count.
    if ($Value -is [Collections.IDictionary]) {
        $copy = [ordered]@{}
        foreach ($key in @($Value.Keys)) {
            $inner = Protect-Value -Value $Value[$key] -Name ([string]$key)
            if ($inner -is [array]) { $inner = $inner.PSObject.BaseObject }
            $copy[[string]$key] = $inner
        }
        return $copy
    }
    if ($Value -is [Collections.IEnumerable]) {
        $list = New-Object System.Collections.ArrayList
        foreach ($item in $Value) {
            $inner = Protect-Value -Value $item -Name $Name
            if ($inner -is [array]) { $inner = $inner.PSObject.BaseObject }
            $null = $list.Add($inner)
        }
        return , $list.ToArray()
    }
    $Value
}

function Protect-Bytes {
    # A file in UTF-16 with a byte order mark is replaced as text; of other bytes only names in ASCII can be.
    param([string] $Base64)
    $bytes = [Convert]::FromBase64String($Base64)
    $encoding = [Text.Encoding]::GetEncoding(28591)
    if ($bytes.Length -ge 2 -and $bytes[0] -eq 0xFF -and $bytes[1] -eq 0xFE) { $encoding = [Text.Encoding]::Unicode }
    [Convert]::ToBase64String($encoding.GetBytes((Protect-Identity -Text $encoding.GetString($bytes))))
}

# ---- files

function Start-Transcription {
    <#
    .SYNOPSIS
    Prepares the output folder, which must be absent or empty.
    #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'makes a folder that was asked for')]
    param([Parameter(Mandatory = $true)][string] $Folder, [Parameter(Mandatory = $true)][string] $Script)
    if (-not [IO.Path]::IsPathRooted($Folder)) {
        $Folder = Join-Path -Path (Get-Location -PSProvider FileSystem).ProviderPath -ChildPath $Folder
    }
    if ([IO.Directory]::Exists($Folder) -and [IO.Directory]::GetFileSystemEntries($Folder).Length -gt 0) {
        throw "The output folder $Folder is not empty. Name another one. Nothing was changed."
    }
    $null = [IO.Directory]::CreateDirectory($Folder)
    Initialize-Mask
    $script:Index = [ordered]@{
        format = $script:FormatVersion
        script = $Script
        recorded_on = $(if (Test-Wine) { 'Wine (example, not Windows)' } else { 'Windows' })
        recorded_at = [DateTime]::UtcNow.ToString('o')
        powershell = $PSVersionTable.PSVersion.ToString()
        subjects = @()
        removed = @()
        left_behind = @()
    }
    $script:Folder = $Folder
}

function Write-Subject {
    <#
    .SYNOPSIS
    Records one subject: runs Action, which returns a dictionary, and writes the file Name.json. A failure is written to
    that file, and the script continues.
    #>
    param([Parameter(Mandatory = $true)][string] $Name, [Parameter(Mandatory = $true)][scriptblock] $Action)
    $watch = [Diagnostics.Stopwatch]::StartNew()
    $subject = [ordered]@{
        subject = $Name; recorded_on = $script:Index.recorded_on; problem = ''; data = $null; calls = @()
    }
    $null = Read-Call
    try { $subject.data = & $Action }
    catch { $subject.problem = Get-ProblemText -ErrorRecord $_ }
    $subject.calls = Read-Call
    Write-TranscriptFile -Name "$Name.json" -Data $subject
    $seconds = [Math]::Round($watch.Elapsed.TotalSeconds, 1)
    $state = if ($subject.problem) { 'failed' } else { 'recorded' }
    $script:Index.subjects += @([ordered]@{
            name = $Name; file = "$Name.json"; state = $state; problem = $subject.problem; seconds = $seconds
        })
    Write-Line -Text ('{0,-14} {1}{2}' -f $Name, $state, $(if ($subject.problem) { ": $($subject.problem)" }))
}

function Get-ProblemText {
    <# .SYNOPSIS
    An error as text: kind, message, and the line of the script. #>
    param([Parameter(Mandatory = $true)] $ErrorRecord)
    $inner = $ErrorRecord.Exception.GetBaseException()
    $line = if ($ErrorRecord.InvocationInfo) { " (line $($ErrorRecord.InvocationInfo.ScriptLineNumber))" } else { '' }
    '{0}: {1}{2}' -f $inner.GetType().FullName, $inner.Message, $line
}

function Get-Tried {
    <#
    .SYNOPSIS
    What a script block gives, or how it fails, as a dictionary: value, or error (kind), hresult, native_error, message.
    #>
    param([Parameter(Mandatory = $true)][scriptblock] $Action)
    try { return [ordered]@{ value = & $Action } }
    catch {
        $inner = $_.Exception.GetBaseException()
        $native = $null
        for ($cause = $_.Exception; $null -ne $cause; $cause = $cause.InnerException) {
            if ($cause -is [ComponentModel.Win32Exception]) { $native = $cause.NativeErrorCode }
        }
        [ordered]@{
            error = $inner.GetType().FullName; hresult = '0x{0:x8}' -f $inner.HResult; native_error = $native
            message = $inner.Message
        }
    }
}

function Write-TranscriptFile {
    param([string] $Name, $Data)
    $text = ConvertTo-Json -InputObject (Protect-Value -Value $Data) -Depth 20
    $text = $text.Replace("`r", '') + "`n"
    [IO.File]::WriteAllText((Join-Path -Path $script:Folder -ChildPath $Name), $text, $script:Utf8)
}

function Complete-Transcription {
    <#
    .SYNOPSIS
    Writes index.json. Removed and LeftBehind are sentences about what the script has made.
    #>
    param([string[]] $Removed = @(), [string[]] $LeftBehind = @(), [System.Collections.IDictionary] $More = @{})
    $script:Index.removed = @($Removed)
    $script:Index.left_behind = @($LeftBehind)
    foreach ($key in $More.Keys) { $script:Index[$key] = $More[$key] }
    Write-TranscriptFile -Name 'index.json' -Data $script:Index
    foreach ($line in $Removed) { Write-Line -Text "removed: $line" }
    foreach ($line in $LeftBehind) { Write-Line -Text "LEFT BEHIND: $line" }
    Write-Line -Text "Written to $script:Folder"
}

# ---- what a script has made

function Remove-Trace {
    <#
    .SYNOPSIS
    Removes what carries Word: tasks and their folder, registry key, event source, state and code folder. Returns
    removed and left, lists of sentences. Safe to call when there is nothing.
    #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'removes what the script itself has made')]
    param(
        [Parameter(Mandatory = $true)][ValidatePattern('^AlteryxOps[A-Z][a-z]+$')][string] $Word,
        [string[]] $Task = @()
    )
    $removed = New-Object System.Collections.ArrayList
    $left = New-Object System.Collections.ArrayList
    $system = [Environment]::GetFolderPath('System')
    $steps = [ordered]@{}
    foreach ($name in $Task) {
        if ([IO.File]::Exists((Join-Path -Path $system -ChildPath "Tasks\$Word\$name"))) {
            $steps["scheduled task \$Word\$name"] = [scriptblock]::Create("Remove-NodeTask -Name '\$Word\$name'")
        }
    }
    if ([IO.Directory]::Exists((Join-Path -Path $system -ChildPath "Tasks\$Word"))) {
        $steps["folder \$Word of the Task Scheduler"] = {
            $scheduler = New-Object -ComObject 'Schedule.Service'
            $scheduler.Connect()
            $scheduler.GetFolder('\').DeleteFolder($Word, 0)
        }
    }
    $machine = [Microsoft.Win32.RegistryKey]::OpenBaseKey(
        [Microsoft.Win32.RegistryHive]::LocalMachine, [Microsoft.Win32.RegistryView]::Registry64)
    $key = $machine.OpenSubKey("SOFTWARE\$Word")
    if ($null -ne $key) {
        $key.Dispose()
        $steps["registry key HKLM\SOFTWARE\$Word"] = { $machine.DeleteSubKeyTree("SOFTWARE\$Word", $false) }
    }
    $source = $machine.OpenSubKey("SYSTEM\CurrentControlSet\Services\EventLog\Application\$Word")
    if ($null -ne $source) {
        $source.Dispose()
        $steps["event source $Word"] = { [Diagnostics.EventLog]::DeleteEventSource($Word) }
    }
    foreach ($place in 'CommonApplicationData', 'ProgramFiles') {
        $folder = Join-Path -Path ([Environment]::GetFolderPath($place)) -ChildPath $Word
        if ([IO.Directory]::Exists($folder)) {
            $steps["folder $folder"] = [scriptblock]::Create("Remove-OwnFolder -Path '$($folder.Replace("'", "''"))'")
        }
    }
    foreach ($name in $steps.Keys) {
        try {
            & $steps[$name]
            $null = $removed.Add($name)
        }
        catch { $null = $left.Add("$name ($(Get-ProblemText -ErrorRecord $_))") }
    }
    $machine.Dispose()
    @{ removed = $removed.ToArray(); left = $left.ToArray() }
}

function Remove-OwnFolder {
    # A program that has just ended may hold its file for some seconds.
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'removes what the script itself has made')]
    param([Parameter(Mandatory = $true)][string] $Path)
    if ([IO.File]::GetAttributes($Path) -band [IO.FileAttributes]::ReparsePoint) { throw "$Path is a link" }
    for ($attempt = 1; ; $attempt++) {
        try {
            [IO.Directory]::Delete($Path, $true)
            return
        }
        catch { if ($attempt -ge 25) { throw } }
        Start-Sleep -Milliseconds 400
    }
}

Export-ModuleMember -Function @(
    'Assert-Elevated', 'Test-Wine', 'Import-NodeCode', 'Invoke-Recorded', 'Read-Call',
    'Get-TextShape', 'Add-Mask', 'Protect-Identity', 'Start-Transcription', 'Write-Subject', 'Get-ProblemText',
    'Get-Tried', 'Complete-Transcription', 'Remove-Trace', 'Write-Line'
)

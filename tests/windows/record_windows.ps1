# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Records how this Windows answers the calls of the collection's node code: see README.md. Needs no Alteryx Server.
# Everything it makes carries the word AlteryxOpsTranscript and is removed at the end.

param(
    # Absent or empty; gets one JSON file for each subject.
    [Parameter(Mandatory = $true)][string] $OutputFolder,
    # plugins\module_utils of the repository.
    [string] $CodeSource = ''
)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$word = 'AlteryxOpsTranscript'
$here = if ($PSScriptRoot) { $PSScriptRoot } else { (Get-Location -PSProvider FileSystem).ProviderPath }
$common = [scriptblock]::Create([IO.File]::ReadAllText((Join-Path -Path $here -ChildPath 'Transcript.psm1')))
New-Module -Name 'Transcript' -ScriptBlock $common -ArgumentList $here | Import-Module -Global

$utf8 = New-Object System.Text.UTF8Encoding $false
$taskNames = @('Probe', 'Probe-4', 'Guard', 'Broken')

# Runs as SYSTEM in a scheduled task, as the jobs of the collection do, and writes what it finds.
$probe = @'
param([string] $Path, [string] $Seconds = '0')
$ErrorActionPreference = 'Stop'
$process = [Diagnostics.Process]::GetCurrentProcess()
$tool = New-Object System.Diagnostics.ProcessStartInfo "$([Environment]::GetFolderPath('System'))\cmd.exe"
$tool.Arguments = '/d /c chcp & echo ' + [char]0xE4 + [char]0x20AC
$tool.UseShellExecute = $false
$tool.CreateNoWindow = $true
$tool.RedirectStandardOutput = $true
$run = [Diagnostics.Process]::Start($tool)
$bytes = New-Object System.IO.MemoryStream
$run.StandardOutput.BaseStream.CopyTo($bytes)
$run.WaitForExit()
$found = [ordered]@{
    account = [Security.Principal.WindowsIdentity]::GetCurrent().User.Value
    arguments = @($Path.Length, $Seconds)
    session = $process.SessionId
    priority = [string]$process.PriorityClass
    interactive = [Environment]::UserInteractive
    powershell = $PSVersionTable.PSVersion.ToString()
    host = $Host.Name
    language_mode = [string]$ExecutionContext.SessionState.LanguageMode
    execution_policy = [string](Get-ExecutionPolicy)
    is_64_bit = [Environment]::Is64BitProcess
    current_folder = [Environment]::CurrentDirectory
    temp = [IO.Path]::GetTempPath()
    culture = [Globalization.CultureInfo]::CurrentCulture.Name
    console_output = [Console]::OutputEncoding.CodePage
    console_input = [Console]::InputEncoding.CodePage
    ansi = [Text.Encoding]::GetEncoding(0).CodePage
    native_output_base64 = [Convert]::ToBase64String($bytes.ToArray())
    drives = @([IO.DriveInfo]::GetDrives() | ForEach-Object { [string]$_.DriveType })
}
[IO.File]::WriteAllText("$Path.new", (ConvertTo-Json -InputObject $found -Depth 4))
[IO.File]::Move("$Path.new", $Path)
Start-Sleep -Seconds ([int]$Seconds)
'@

function Read-RegistryValue {
    # A value of HKLM, nothing where it is absent.
    param([string] $Key, [string] $Name)
    $machine = [Microsoft.Win32.RegistryKey]::OpenBaseKey(
        [Microsoft.Win32.RegistryHive]::LocalMachine, [Microsoft.Win32.RegistryView]::Registry64)
    try {
        $open = $machine.OpenSubKey($Key)
        if ($null -eq $open) { return $null }
        try { $open.GetValue($Name, $null) }
        finally { $open.Dispose() }
    }
    finally { $machine.Dispose() }
}

function Read-System {
    $windows = [ordered]@{}
    $key = 'SOFTWARE\Microsoft\Windows NT\CurrentVersion'
    foreach ($name in 'ProductName', 'EditionID', 'InstallationType', 'CurrentBuild', 'UBR', 'ReleaseId',
        'DisplayVersion') {
        $windows[$name] = Read-RegistryValue -Key $key -Name $name
    }
    $pages = [ordered]@{}
    foreach ($name in 'ACP', 'OEMCP', 'MACCP') {
        $pages[$name] = Read-RegistryValue -Key 'SYSTEM\CurrentControlSet\Control\Nls\CodePage' -Name $name
    }
    $framework = 'SOFTWARE\Microsoft\NET Framework Setup\NDP\v4\Full'
    $versions = [ordered]@{}
    foreach ($name in @($PSVersionTable.Keys | Sort-Object)) {
        $versions[$name] = [string]($PSVersionTable[$name] -join ', ')
    }
    [ordered]@{
        windows = $windows
        os_version = [Environment]::OSVersion.Version.ToString()
        culture = [Globalization.CultureInfo]::CurrentCulture.Name
        ui_culture = [Globalization.CultureInfo]::CurrentUICulture.Name
        installed_ui_culture = [Globalization.CultureInfo]::InstalledUICulture.Name
        code_pages = $pages
        console_output = [Console]::OutputEncoding.CodePage
        console_input = [Console]::InputEncoding.CodePage
        time_zone = [TimeZoneInfo]::Local.Id
        powershell = $versions
        language_mode = [string]$ExecutionContext.SessionState.LanguageMode
        execution_policy = @(Get-ExecutionPolicy -List | ForEach-Object { '{0}: {1}' -f $_.Scope, $_.ExecutionPolicy })
        framework_release = Read-RegistryValue -Key $framework -Name 'Release'
        framework_version = Read-RegistryValue -Key $framework -Name 'Version'
        clr = [Environment]::Version.ToString()
        is_64_bit = [Environment]::Is64BitProcess
        fips = Read-RegistryValue -Key 'SYSTEM\CurrentControlSet\Control\Lsa\FipsAlgorithmPolicy' -Name 'Enabled'
        long_paths = Read-RegistryValue -Key 'SYSTEM\CurrentControlSet\Control\FileSystem' -Name 'LongPathsEnabled'
        stopwatch_frequency = [Diagnostics.Stopwatch]::Frequency
        stopwatch_seconds = [Math]::Round((Get-MonotonicSecond), 3)
        tick_count = [Environment]::TickCount
        security_protocol = [string][Net.ServicePointManager]::SecurityProtocol
        defender_running = [string](Get-ServiceStatus -Name 'WinDefend')
    }
}

function ConvertTo-Sample {
    param($Value, [int] $Depth = 5)
    ConvertTo-Json -InputObject $Value -Depth $Depth -Compress -WarningAction SilentlyContinue
}

function Get-JsonShape {
    # What ConvertFrom-Json makes of a text, with the types of the values.
    param([AllowEmptyString()][string] $Text)
    $value = ConvertFrom-Json -InputObject $Text
    if ($null -eq $value) { return 'null' }
    $kind = $value.GetType().FullName
    if ($value -is [string] -or $value -is [array]) { return "$kind, count $(@($value).Count)" }
    $inner = @($value.PSObject.Properties | ForEach-Object {
            if ($null -eq $_.Value) { "$($_.Name): null" }
            else { '{0}: {1} {2}' -f $_.Name, $_.Value.GetType().FullName, (ConvertTo-Sample -Value $_.Value) }
        })
    "$kind, $($inner -join '; ')"
}

function Get-PlainArray { , @(1, 2) }

function Read-Json {
    # What ConvertTo-Json makes of values, and ConvertFrom-Json of texts.
    $moment = New-Object System.DateTime 2026, 1, 2, 3, 4, 5, ([DateTimeKind]::Utc)
    $list = New-Object System.Collections.ArrayList
    $null = $list.Add('x')
    $text = -join [char[]](0xE4, 0x20AC, 0x4E2D, 0xD83D, 0xDE00)
    $made = [ordered]@{
        empty_array = Get-Tried { ConvertTo-Sample -Value @() }
        one_element = Get-Tried { ConvertTo-Sample -Value @(1) }
        piped_element = Get-Tried { @(1) | ConvertTo-Json -Depth 2 -Compress }
        nested_arrays = Get-Tried { ConvertTo-Sample -Value @(@(1), @(), @(2, 3)) }
        array_in_table = Get-Tried { ConvertTo-Sample -Value @{ a = @('x') } }
        list = Get-Tried { ConvertTo-Sample -Value $list }
        wrapped_array = Get-Tried { ConvertTo-Sample -Value @{ a = (New-Object -TypeName 'object[]' -ArgumentList 2) } }
        array_through_a_function = Get-Tried { ConvertTo-Sample -Value @{ a = (Get-PlainArray) } }
        empty_table = Get-Tried { ConvertTo-Sample -Value @{} }
        beyond_depth = Get-Tried { ConvertTo-Sample -Value @{ a = @{ b = @{ c = 1 } } } -Depth 1 }
        null = Get-Tried { ConvertTo-Sample -Value @{ a = $null } }
        utc_date = Get-Tried { ConvertTo-Sample -Value @{ a = $moment } }
        unspecified_date = Get-Tried { ConvertTo-Sample -Value @{ a = (New-Object System.DateTime 2026, 1, 2) } }
        int32_limit = Get-Tried { ConvertTo-Sample -Value @(2147483647, 2147483648, 4294967296) }
        int64_limit = Get-Tried { ConvertTo-Sample -Value @([long]::MaxValue, [long]::MinValue, [uint64]::MaxValue) }
        fractions = Get-Tried { ConvertTo-Sample -Value @(0.1, 1.0, 1e20, 0.30000000000000004, [decimal]1.50) }
        booleans = Get-Tried { ConvertTo-Sample -Value @($true, $false) }
        enumeration = Get-Tried { ConvertTo-Sample -Value @{ a = [DayOfWeek]::Monday } }
        character = Get-Tried { ConvertTo-Sample -Value @([char]'x') }
        guid = Get-Tried { ConvertTo-Sample -Value @{ a = [Guid]::Empty } }
        bytes = Get-Tried { ConvertTo-Sample -Value @{ a = [byte[]](1, 255) } }
        unicode = Get-Tried { ConvertTo-Sample -Value @{ a = $text } }
        control_characters = Get-Tried { ConvertTo-Sample -Value ("a`tb`r`nc" + [char]1 + [char]0x7F + [char]0x2028) }
        html_characters = Get-Tried { ConvertTo-Sample -Value "<a href='x'>&`"\/" }
        object = Get-Tried { ConvertTo-Sample -Value ([pscustomobject]@{ b = 1; a = 'x' }) }
        indented = Get-Tried { ConvertTo-Json -InputObject ([ordered]@{ a = @(1, 2); b = @{} }) -Depth 3 }
    }
    $texts = @(
        '[]', '[1]', '{"a":[]}', '{"a":[1]}', '{"a":null}', '{"a":"2026-01-02T03:04:05Z"}', '{"a":"\/Date(0)\/"}',
        '{"a":2147483648}', '{"a":9223372036854775807}', '{"a":18446744073709551615}', '{"a":1.0}', '{"a":1e3}',
        '{"a":1,"A":2}', '{"a":1,"a":2}', '{"":1}', '', ' ', 'null', '{"a":1}      ', "{`"a`":1}`0", '{"a":1', '"text"',
        '{"a":"\u00e4"}'
    )
    $read = @($texts | ForEach-Object { [ordered]@{ text = $_; answer = Get-Tried { Get-JsonShape -Text $_ } } })
    [ordered]@{ made = $made; read = $read }
}

function Write-Probe {
    # The script of the tasks, and where it writes. Returns both paths.
    New-ProtectedFolder -Path (Get-StateFolder)
    $file = Join-Path -Path (Get-StateFolder) -ChildPath 'probe.ps1'
    [IO.File]::WriteAllText($file, $probe, $utf8)
    @($file, (Join-Path -Path (Get-StateFolder) -ChildPath "it's.json"))
}

function Wait-File {
    param([string] $Path, [double] $Seconds = 60)
    $watch = [Diagnostics.Stopwatch]::StartNew()
    while (-not [IO.File]::Exists($Path) -and $watch.Elapsed.TotalSeconds -lt $Seconds) {
        Start-Sleep -Milliseconds 200
    }
    [IO.File]::Exists($Path)
}

function Read-ScheduledTask {
    # Every call of schtasks.exe that the collection makes, right and wrong ones. The calls themselves are recorded.
    $script, $answer = Write-Probe
    $name = "\$word\Probe"
    $steps = [ordered]@{}
    $steps['query, no folder'] = Get-Tried { Test-NodeTask -Name $name }
    Invoke-Recorded -Program 'schtasks.exe' -ArgumentList '/Query', '/TN', $name
    $steps['delete, no folder'] = Get-Tried { Remove-NodeTask -Name $name }
    Invoke-Recorded -Program 'schtasks.exe' -ArgumentList '/Delete', '/TN', $name, '/F', '/HRESULT'
    Invoke-Recorded -Program 'schtasks.exe' -ArgumentList '/Run', '/TN', $name
    $steps['create'] = Get-Tried {
        Register-NodeTask -Name $name -Description 'a transcript <&> "quoted"' -Path $script `
            -ArgumentList @($answer, '20')
    }
    $steps['create again'] = Get-Tried {
        Register-NodeTask -Name $name -Description 'a transcript' -Path $script -ArgumentList @($answer, '20')
    }
    $steps['query'] = Get-Tried { Test-NodeTask -Name $name }
    $steps['query, folder there'] = Get-Tried { Test-NodeTask -Name "\$word\Absent" }
    Invoke-Recorded -Program 'schtasks.exe' -ArgumentList '/Query', '/TN', "\$word\Absent"
    Invoke-Recorded -Program 'schtasks.exe' -ArgumentList '/Delete', '/TN', "\$word\Absent", '/F'
    Invoke-Recorded -Program 'schtasks.exe' -ArgumentList '/Query', '/FO', 'CSV', '/NH' -HideText
    $steps['run'] = Get-Tried { Start-NodeTask -Name $name }
    $steps['answered'] = Get-Tried { Wait-File -Path $answer }
    $steps['run while it runs'] = Get-Tried { Start-NodeTask -Name $name }
    Invoke-Recorded -Program 'schtasks.exe' -ArgumentList '/End', '/TN', $name
    $steps['delete'] = Get-Tried { Remove-NodeTask -Name $name }
    $steps['guard'] = Get-Tried {
        Register-NodeTask -Name "\$word\Guard" -Description 'a transcript' -Path $script -Priority 4 -TimeLimit 'PT5M' `
            -AtBootAndEveryMinute -ArgumentList @((Join-Path -Path (Get-StateFolder) -ChildPath 'guard.json'), '0')
        Test-NodeTask -Name "\$word\Guard"
        Remove-NodeTask -Name "\$word\Guard"
    }
    $broken = Join-Path -Path (Get-StateFolder) -ChildPath 'broken.xml'
    $unknown = '<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task"><Unknown/></Task>'
    foreach ($xml in '<Task', $unknown) {
        [IO.File]::WriteAllText($broken, $xml, [Text.Encoding]::Unicode)
        $create = @('/Create', '/TN', "\$word\Broken", '/XML', $broken)
        Invoke-Recorded -Program 'schtasks.exe' -ArgumentList $create
        Invoke-Recorded -Program 'schtasks.exe' -ArgumentList ($create + '/HRESULT')
    }
    [IO.File]::Delete($broken)
    Invoke-Recorded -Program 'schtasks.exe' -ArgumentList '/Query', '/TN', "\$word\Broken", '/HRESULT', '/XML'
    $file = Join-Path -Path ([Environment]::GetFolderPath('System')) -ChildPath "Tasks\$word"
    [ordered]@{ steps = $steps; folder_stays = [IO.Directory]::Exists($file) }
}

function Read-TaskAccount {
    # What a task of SYSTEM sees, with the two priorities that the collection uses.
    $script, $answer = Write-Probe
    $found = [ordered]@{}
    foreach ($priority in 7, 4) {
        [IO.File]::Delete($answer)
        $name = "\$word\Probe-4"
        $found["priority $priority"] = Get-Tried {
            Register-NodeTask -Name $name -Description 'a transcript' -Path $script -ArgumentList @($answer) `
                -Priority $priority
            Start-NodeTask -Name $name
            $watch = [Diagnostics.Stopwatch]::StartNew()
            $isThere = Wait-File -Path $answer
            $seconds = [Math]::Round($watch.Elapsed.TotalSeconds, 1)
            Remove-NodeTask -Name $name
            if (-not $isThere) { throw 'the task has not answered within 60 s' }
            $seen = ConvertFrom-Json -InputObject (Read-NodeText -Path $answer)
            [ordered]@{ seconds = $seconds; seen = ConvertTo-Table -InputObject $seen }
        }
    }
    $found
}

function ConvertTo-Table {
    param($InputObject)
    $table = [ordered]@{}
    foreach ($property in $InputObject.PSObject.Properties) { $table[$property.Name] = $property.Value }
    $table
}

function Get-CommandStart {
    # How cmd.exe is started with its output in a pipe.
    param([string] $Arguments)
    $program = Join-Path -Path ([Environment]::GetFolderPath('System')) -ChildPath 'cmd.exe'
    $start = New-Object System.Diagnostics.ProcessStartInfo $program, $Arguments
    $start.UseShellExecute = $false
    $start.CreateNoWindow = $true
    $start.RedirectStandardOutput = $true
    $start
}

function Read-Process {
    # A small tree of this script's own, as ProcessTable.cs shows it, and how it ends.
    $process = [Diagnostics.Process]::Start((Get-CommandStart -Arguments '/d /c ping.exe -n 60 127.0.0.1'))
    try {
        Start-Sleep -Seconds 2
        $birth = Get-ProcessBirth -ProcessId $process.Id
        $ticks = $process.StartTime.ToUniversalTime().Ticks
        $type = "$word.ProcessTable" -as [type]
        $tree = @($type::ReadTree($process.Id, $birth) | ForEach-Object {
                [ordered]@{
                    name = $_.Name; is_root = $_.Id -eq $process.Id; has_birth = $_.Birth -gt 0; path = $_.Path
                    born_after_root_ms = $_.Birth - $birth; parent_is_root = $_.ParentId -eq $process.Id
                }
            })
        $kernel = @($type::Read() | Where-Object { $_.Id -le 4 -or @('Registry', 'lsass.exe') -contains $_.Name } |
                ForEach-Object {
                    $id = if ($_.Id -le 4) { $_.Id } else { -1 }
                    [ordered]@{ id = $id; name = $_.Name; birth = [Math]::Sign($_.Birth); path = $_.Path }
                })
        $ended = Get-Tried { Stop-NodeProcessTree -ProcessId $process.Id -Birth $birth }
        Start-Sleep -Seconds 1
        [ordered]@{
            tree = $tree
            kernel = $kernel
            birth_equals_start_time = $birth -eq [long](($ticks - $ticks % 10000) / 10000)
            tree_ended = $ended
            exit_code = Get-Tried { $process.ExitCode }
            left = @($type::ReadTree($process.Id, $birth)).Count
            kill_again = Get-Tried { $process.Kill() }
            birth_of_ended = Get-ProcessBirth -ProcessId $process.Id
            birth_of_system = [Math]::Sign((Get-ProcessBirth -ProcessId 4))
            start_time_of_system = Get-Tried { [Diagnostics.Process]::GetProcessById(4).StartTime.Year }
            module_of_system = Get-Tried { [Diagnostics.Process]::GetProcessById(4).MainModule.FileName }
            absent_id = Get-Tried { [Diagnostics.Process]::GetProcessById(99999999) }
        }
    }
    finally {
        if (-not $process.HasExited) { $process.Kill() }
        $process.Dispose()
    }
}

function Read-Sddl {
    param([string] $Path)
    $sections = [Security.AccessControl.AccessControlSections]'Owner, Access'
    $security = New-Object System.Security.AccessControl.DirectorySecurity $Path, $sections
    $text = $security.GetSecurityDescriptorSddlForm($sections)
    [ordered]@{ sddl = $text; problem = Get-SddlProblem -Sddl $text }
}

function Read-Folder {
    # The access lists of folders made as the collection makes its own, and what junctions look like.
    $root = Get-StateFolder
    foreach ($own in $root, (Get-CodeFolder)) { New-ProtectedFolder -Path $own }
    $inner = Join-Path -Path $root -ChildPath 'inner'
    $null = [IO.Directory]::CreateDirectory($inner)
    $file = Join-Path -Path $root -ChildPath 'file.txt'
    Write-NodeText -Path $file -Text 'one'
    Write-NodeText -Path $file -Text 'two'
    $plain = $root + 'Plain'
    $answer = [ordered]@{
        state_folder = Get-Tried { Read-Sddl -Path $root }
        folder_in_it = Get-Tried { Read-Sddl -Path $inner }
        program_data = Get-Tried { Read-Sddl -Path ([Environment]::GetFolderPath('CommonApplicationData')) }
        code_folder = Get-Tried { Read-Sddl -Path (Get-CodeFolder) }
        trusted = Get-Tried { Assert-FolderTrust -Path $inner }
    }
    try {
        $null = [IO.Directory]::CreateDirectory($plain)
        $answer['plain_folder'] = Get-Tried { Read-Sddl -Path $plain }
        $link = Join-Path -Path $root -ChildPath 'link'
        Invoke-Recorded -Program 'cmd.exe' -ArgumentList '/d', '/c', 'mklink', '/J', $link, $plain
        $answer['junction_attributes'] = Get-Tried { [string][IO.File]::GetAttributes($link) }
        $answer['link_found'] = Get-Tried { [bool](Get-FolderLink -Path (Join-Path -Path $link -ChildPath 'x')) }
        $answer['distrusted'] = Get-Tried { Assert-FolderTrust -Path $link }
        $answer['junction_removed'] = Get-Tried { [IO.Directory]::Delete($link) }
        $answer['target_stays'] = [IO.Directory]::Exists($plain)
    }
    finally { if ([IO.Directory]::Exists($plain)) { [IO.Directory]::Delete($plain, $true) } }
    $alone = [IO.FileShare]::None
    $held = New-Object System.IO.FileStream $file, ([IO.FileMode]::Open), ([IO.FileAccess]::Read), $alone
    try {
        $answer['read_held'] = Get-Tried { Read-NodeText -Path $file }
        $answer['delete_held'] = Get-Tried { [IO.File]::Delete($file) }
        $new = Join-Path -Path $root -ChildPath 'new.txt'
        [IO.File]::WriteAllText($new, 'new', $utf8)
        $answer['replace_held'] = Get-Tried { [IO.File]::Replace($new, $file, [NullString]::Value) }
        $answer['move_onto'] = Get-Tried { [IO.File]::Move($new, $file) }
    }
    finally { $held.Dispose() }
    [IO.File]::SetAttributes($file, [IO.FileAttributes]::ReadOnly)
    $answer['delete_read_only'] = Get-Tried { [IO.File]::Delete($file) }
    [IO.File]::SetAttributes($file, [IO.FileAttributes]::Normal)
    $long = Join-Path -Path $root -ChildPath (('x' * 100) + '\' + ('y' * 100) + '\' + ('z' * 100))
    $answer['long_path'] = Get-Tried { [IO.Directory]::CreateDirectory($long).FullName.Length }
    $answer['free_bytes'] = Get-Tried { [Math]::Sign((Get-FreeByte -Path $root)) }
    $answer
}

function Read-Cim {
    # The questions of NodeMetadata.psm1 and how long Windows thinks about them. Names of groups are not recorded.
    $seconds = 30
    $answer = [ordered]@{}
    $watch = [Diagnostics.Stopwatch]::StartNew()
    $groups = @(Get-CimInstance -ClassName Win32_Group -Filter 'LocalAccount=True' -OperationTimeoutSec $seconds)
    $answer['groups_seconds'] = [Math]::Round($watch.Elapsed.TotalSeconds, 2)
    $answer['groups'] = $groups.Count
    $answer['properties'] = @($groups | Select-Object -First 1 | ForEach-Object { $_.CimInstanceProperties } |
            ForEach-Object { '{0}: {1}' -f $_.Name, $_.CimType } | Sort-Object)
    $administrators = @($groups | Where-Object { $_.SID -eq 'S-1-5-32-544' })[0]
    $answer['domain_is_machine'] = $administrators.Domain -eq [Environment]::MachineName
    $select = "SELECT PartComponent FROM Win32_GroupUser WHERE GroupComponent=`"Win32_Group.Domain='{0}',Name='{1}'`""
    $query = $select -f $administrators.Domain, $administrators.Name.Replace("'", "\'")
    $watch = [Diagnostics.Stopwatch]::StartNew()
    $members = @(Get-CimInstance -Query $query -OperationTimeoutSec $seconds)
    $answer['members_seconds'] = [Math]::Round($watch.Elapsed.TotalSeconds, 2)
    $answer['members'] = @($members | ForEach-Object {
            [ordered]@{
                class = $_.PartComponent.CimSystemProperties.ClassName
                is_local = $_.PartComponent.Domain -eq [Environment]::MachineName
                has_name = [bool]$_.PartComponent.Name
            }
        })
    $answer
}

function Read-NativeOutput {
    # The bytes that programs of Windows print into a pipe, and what our process helper makes of them.
    $text = -join [char[]](0xE4, 0x20AC, 0x4E2D)
    $answer = [ordered]@{ console_output = [Console]::OutputEncoding.CodePage; sent = $text }
    foreach ($page in '', '437', '65001') {
        $command = if ($page) { "/d /c chcp $page >nul & echo $text" } else { "/d /c echo $text" }
        $start = Get-CommandStart -Arguments $command
        $name = if ($page) { "page_$page" } else { 'page_as_found' }
        $answer[$name] = Get-Tried {
            $process = [Diagnostics.Process]::Start($start)
            $bytes = New-Object System.IO.MemoryStream
            $process.StandardOutput.BaseStream.CopyTo($bytes)
            $process.WaitForExit()
            [BitConverter]::ToString($bytes.ToArray())
        }
    }
    Invoke-Recorded -Program 'cmd.exe' -ArgumentList '/d', '/c', 'echo', $text
    Invoke-Recorded -Program 'cmd.exe' -ArgumentList '/d', '/c', 'chcp'
    Invoke-Recorded -Program 'whoami.exe' -ArgumentList '/user', '/fo', 'csv', '/nh'
    Invoke-Recorded -Program 'sc.exe' -ArgumentList 'query', "${word}Absent"
    Invoke-Recorded -Program 'cmd.exe' -ArgumentList '/d', '/c', 'exit 1060'
    # Quotes and backslashes as ConvertTo-NativeArgument writes them.
    Invoke-Recorded -Program 'WindowsPowerShell\v1.0\powershell.exe' -ArgumentList '-NoProfile', '-NonInteractive',
    '-Command', "'a b', 'c\', `"d`""
    $answer
}

function Read-Service {
    # What the service manager says of a service that is absent, and of one that always runs.
    Add-Type -AssemblyName System.ServiceProcess
    $absent = New-Object System.ServiceProcess.ServiceController "${word}Absent"
    [ordered]@{
        absent_state = Get-Tried { [string]$absent.Status }
        absent_start = Get-Tried { $absent.Start() }
        absent_our_state = Get-ServiceStatus -Name "${word}Absent"
        absent_our_start = Start-ServiceSurely -Name "${word}Absent" -TimeoutSeconds 5
        running = Get-NodeService -Name 'EventLog'
        service_process = [Math]::Sign((("$word.ProcessTable" -as [type])::GetServiceProcess('EventLog')))
    }
}

Assert-Elevated
Start-Transcription -Folder $OutputFolder -Script 'record_windows.ps1'
$swept = @{ removed = @(); left = @() }
try {
    $null = Import-NodeCode -Source $CodeSource -Word $word
    # What a run that was broken off may have left.
    $null = Remove-Trace -Word $word -Task $taskNames
    Write-Subject -Name 'system' -Action { Read-System }
    Write-Subject -Name 'json' -Action { Read-Json }
    Write-Subject -Name 'schtasks' -Action { Read-ScheduledTask }
    Write-Subject -Name 'task_account' -Action { Read-TaskAccount }
    Write-Subject -Name 'processes' -Action { Read-Process }
    Write-Subject -Name 'folders' -Action { Read-Folder }
    Write-Subject -Name 'cim' -Action { Read-Cim }
    Write-Subject -Name 'native_output' -Action { Read-NativeOutput }
    Write-Subject -Name 'services' -Action { Read-Service }
}
finally {
    $swept = Remove-Trace -Word $word -Task $taskNames
    Complete-Transcription -Removed $swept.removed -LeftBehind $swept.left
}

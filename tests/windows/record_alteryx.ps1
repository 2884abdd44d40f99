# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Records what a real Alteryx Server looks like to the collection: see README.md. Reads only; with -StopService it also
# stops the service, watches, and starts it again.

param(
    # Absent or empty; gets one JSON file for each subject.
    [Parameter(Mandatory = $true)][string] $OutputFolder,
    # plugins\module_utils of the repository.
    [string] $CodeSource = '',
    [string] $ServiceName = 'AlteryxService',
    # Costs downtime: minutes on most servers, more while workflows run.
    [switch] $StopService,
    [int] $StopMinutes = 30
)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$word = 'AlteryxOpsTranscript'
$here = if ($PSScriptRoot) { $PSScriptRoot } else { (Get-Location -PSProvider FileSystem).ProviderPath }
$common = [scriptblock]::Create([IO.File]::ReadAllText((Join-Path -Path $here -ChildPath 'Transcript.psm1')))
New-Module -Name 'Transcript' -ScriptBlock $common -ArgumentList $here | Import-Module -Global
Add-Type -AssemblyName System.ServiceProcess

$dataFolder = Join-Path -Path ([Environment]::GetFolderPath('CommonApplicationData')) -ChildPath 'Alteryx'
$secretName = 'Password|Passwd|Pwd|Token|Secret|Key|Encrypted|Connection|Credential|Licen[cs]e|Salt|Hash'
# Values of these elements tell who the site is, whatever they look like.
$siteName = 'User|Domain|Mail|Admin|Company|Organi[sz]ation|Entity|Title|Host|Address|Ur[il]|(Server|Name)$'

function Hide-Setting {
    # A value of the settings as it may leave the server: kept only where it is a truth value, a number, a local path, a
    # plain word or this machine itself.
    param([string] $Name, [AllowEmptyString()][string] $Value)
    $text = $Value.Trim()
    if (-not $text) { return '' }
    if ($Name -match $secretName) { return 'REMOVED' }
    if ($text -match '^(?i:true|false|-?\d+(\.\d+)?|localhost(:\d+)?|127\.0\.0\.1(:\d+)?)$') { return $text }
    $removed = "REMOVED ($($text.Length) characters)"
    if ($Name -cmatch $siteName -and $Name -notmatch '(Database|ReplSet)Name$') { return $removed }
    if ($text -match '^[A-Za-z]:\\[^;=@]*$') { return Protect-Identity -Text $text }
    if ($text -match '^[A-Za-z_]{1,32}$') { return $text }
    $removed
}

function Get-InnerElement {
    param($Node)
    $Node.ChildNodes | Where-Object { $_.NodeType -eq 'Element' }
}

function Read-Settings {
    # The two settings files, section by section.
    $answer = [ordered]@{}
    foreach ($path in "$dataFolder\RuntimeSettings.xml", "$bin\RuntimeData\RuntimeSettings.xml") {
        $answer[$path] = Get-Tried {
            $reading = New-Object System.Xml.XmlReaderSettings
            $reading.DtdProcessing = [Xml.DtdProcessing]::Prohibit
            $reading.XmlResolver = $null
            $text = Read-NodeText -Path $path
            $reader = [Xml.XmlReader]::Create((New-Object System.IO.StringReader $text), $reading)
            $document = New-Object System.Xml.XmlDocument
            $document.XmlResolver = $null
            $document.Load($reader)
            $sections = [ordered]@{}
            foreach ($section in @(Get-InnerElement -Node $document.DocumentElement)) {
                $sections[$section.Name] = @(Get-InnerElement -Node $section | ForEach-Object {
                        $isDeep = @(Get-InnerElement -Node $_).Count -gt 0
                        $value = 'REMOVED (elements)'
                        if (-not $isDeep) { $value = Hide-Setting -Name $_.Name -Value $_.InnerText }
                        $attributes = @($_.Attributes | ForEach-Object { $_.Name })
                        [ordered]@{ name = $_.Name; attributes = $attributes; value = $value }
                    })
            }
            [ordered]@{
                declaration = if ($text -match '^\s*(<\?xml[^>]*\?>)') { $Matches[1] } else { '' }
                root = $document.DocumentElement.Name
                attributes = @($document.DocumentElement.Attributes | ForEach-Object { $_.Name })
                sections = $sections
            }
        }
    }
    $answer
}

function Read-Version {
    $answer = [ordered]@{
        windows = [Environment]::OSVersion.Version.ToString(); powershell = $PSVersionTable.PSVersion.ToString()
    }
    foreach ($path in 'SOFTWARE\WOW6432Node\SRC\Alteryx', 'SOFTWARE\SRC\Alteryx') {
        $machine = [Microsoft.Win32.RegistryKey]::OpenBaseKey(
            [Microsoft.Win32.RegistryHive]::LocalMachine, [Microsoft.Win32.RegistryView]::Registry64)
        $key = $machine.OpenSubKey($path)
        if ($null -ne $key) {
            $values = [ordered]@{}
            foreach ($name in @($key.GetValueNames() | Sort-Object)) {
                # Other values may be serial numbers.
                $isKnown = @('LastInstallDir', 'LastVersion') -contains $name
                $values[$name] = [string]$(if ($isKnown) { $key.GetValue($name) } else { $key.GetValueKind($name) })
            }
            $answer[$path] = [ordered]@{ values = $values; subkeys = @($key.GetSubKeyNames() | Sort-Object) }
            $key.Dispose()
        }
        $machine.Dispose()
    }
    $answer['programs'] = @([IO.Directory]::GetFiles($bin, '*.exe') | Sort-Object | ForEach-Object {
            $version = [Diagnostics.FileVersionInfo]::GetVersionInfo($_)
            [ordered]@{
                name = [IO.Path]::GetFileName($_); bytes = (New-Object System.IO.FileInfo $_).Length
                file_version = [string]$version.FileVersion; product_version = [string]$version.ProductVersion
            }
        })
    $answer
}

function Read-Layout {
    # Folders as numbers of files, bytes and kinds. Names of files only where the collection looks for them.
    param([string] $Root, [int] $Depth, [string[]] $Named = @())
    $found = New-Object System.Collections.ArrayList
    $waiting = New-Object System.Collections.Queue
    $waiting.Enqueue(@($Root, 0))
    while ($waiting.Count -gt 0 -and $found.Count -lt 2000) {
        $folder, $level = $waiting.Dequeue()
        $relative = $folder.Substring($Root.Length).TrimStart('\')
        $entry = [ordered]@{ path = $relative }
        try {
            $files = @((New-Object System.IO.DirectoryInfo $folder).GetFiles())
            $entry['files'] = $files.Count
            $entry['bytes'] = [long](@($files | ForEach-Object { $_.Length }) + 0 | Measure-Object -Sum).Sum
            $entry['kinds'] = @($files | Group-Object -Property Extension | Sort-Object -Property Name |
                    ForEach-Object { '{0}: {1}' -f $_.Name, $_.Count } | Select-Object -First 40)
            if ($Named -contains $relative) {
                $entry['names'] = @($files | Sort-Object -Property Name | Select-Object -First 300 |
                        ForEach-Object { '{0}: {1}' -f $_.Name, $_.Length })
            }
            if ($level -lt $Depth) {
                foreach ($inner in [IO.Directory]::GetDirectories($folder) | Sort-Object) {
                    $isLink = [IO.File]::GetAttributes($inner) -band [IO.FileAttributes]::ReparsePoint
                    if ($isLink) { $entry['links'] = $true }
                    else { $waiting.Enqueue(@($inner, ($level + 1))) }
                }
            }
        }
        catch { $entry['problem'] = Get-ProblemText -ErrorRecord $_ }
        $null = $found.Add($entry)
    }
    , $found.ToArray()
}

function Read-AllLayout {
    $answer = [ordered]@{
        bin = Read-Layout -Root $bin -Depth 1 -Named '', 'RuntimeData'
        data = Read-Layout -Root $dataFolder -Depth 2 -Named '', 'Keys', 'Keys\dcm', 'Engine', 'Service'
    }
    $file = Join-Path -Path $dataFolder -ChildPath 'RuntimeSettings.xml'
    if ([IO.File]::Exists($file) -and (Read-NodeText -Path $file) -match '<EmbeddedMongoDBRootPath>([^<]+)<') {
        $answer['database'] = Read-Layout -Root $Matches[1].TrimEnd('\') -Depth 1
    }
    $answer
}

function Read-AccessList {
    $sections = [Security.AccessControl.AccessControlSections]'Owner, Access'
    $answer = [ordered]@{}
    foreach ($folder in $bin, $dataFolder, (Join-Path -Path $dataFolder -ChildPath 'Keys')) {
        $answer[$folder] = Get-Tried {
            $security = New-Object System.Security.AccessControl.DirectorySecurity $folder, $sections
            $security.GetSecurityDescriptorSddlForm($sections)
        }
    }
    $answer
}

function Read-ServiceSetup {
    $answer = [ordered]@{ ours = Get-NodeService -Name $ServiceName }
    $key = [Microsoft.Win32.Registry]::LocalMachine.OpenSubKey("SYSTEM\CurrentControlSet\Services\$ServiceName")
    $values = [ordered]@{}
    foreach ($name in @($key.GetValueNames() | Sort-Object)) {
        $value = $key.GetValue($name)
        $values[$name] = if ($value -is [byte[]]) { [BitConverter]::ToString($value) } else { $value }
    }
    $key.Dispose()
    $answer['registry'] = $values
    $answer['cim'] = Get-Tried {
        $watch = [Diagnostics.Stopwatch]::StartNew()
        $found = Get-CimInstance -ClassName Win32_Service -Filter "Name='$ServiceName'" -OperationTimeoutSec 30
        [ordered]@{
            seconds = [Math]::Round($watch.Elapsed.TotalSeconds, 2); state = $found.State; start_mode = $found.StartMode
            path = $found.PathName; account = $found.StartName; type = $found.ServiceType
            accepts_stop = $found.AcceptStop; delayed = $found.DelayedAutoStart
        }
    }
    Invoke-Recorded -Program 'sc.exe' -ArgumentList 'queryex', $ServiceName
    Invoke-Recorded -Program 'sc.exe' -ArgumentList 'qc', $ServiceName
    Invoke-Recorded -Program 'sc.exe' -ArgumentList 'qfailure', $ServiceName
    $answer
}

function Read-Process {
    # Processes of the installation and everything that they have started. No command lines: they may hold secrets.
    $all = @(("$word.ProcessTable" -as [type])::Read())
    $names = @{}
    foreach ($process in $all) { $names[$process.Id] = $process.Name }
    $root = (Get-NodeService -Name $ServiceName).process_id
    $member = @{}
    foreach ($process in $all) {
        $isInside = $process.Path.StartsWith("$bin\", [StringComparison]::OrdinalIgnoreCase)
        if ($process.Id -eq $root -or $isInside) { $member[$process.Id] = $true }
    }
    do {
        $before = $member.Count
        foreach ($process in $all) {
            if ($member.ContainsKey($process.ParentId) -and $process.ParentId -ne 0) { $member[$process.Id] = $true }
        }
    } while ($member.Count -gt $before)
    , @($all | Where-Object { $member.ContainsKey($_.Id) } | ForEach-Object {
            [ordered]@{
                id = $_.Id; name = $_.Name; parent_id = $_.ParentId; parent = [string]$names[$_.ParentId]
                is_service = $_.Id -eq $root; path = $_.Path; has_birth = $_.Birth -gt 0
            }
        })
}

function Invoke-Verb {
    # Verbs that only read, and what they print. Without a verb the program is the service itself, so it is never
    # started without one.
    foreach ($verb in 'getversion', '-help', '?') {
        Invoke-Recorded -Program $executable -ArgumentList $verb -TimeoutSeconds 60
    }
    foreach ($verb in 'getserversecret', 'getemongopassword') {
        Invoke-Recorded -Program $executable -ArgumentList $verb -TimeoutSeconds 60 -HideText
    }
    [ordered]@{ service_state = Get-ServiceStatus -Name $ServiceName }
}

function Watch-Service {
    # States of the service and names of the processes of the installation, whenever they change.
    param([string] $State, [double] $Seconds, [double] $Longer = 0)
    $watch = [Diagnostics.Stopwatch]::StartNew()
    $changes = New-Object System.Collections.ArrayList
    $last = ''
    $reached = -1.0
    while ($watch.Elapsed.TotalSeconds -lt $Seconds) {
        $now = Get-ServiceStatus -Name $ServiceName
        $names = @(Get-AlteryxProcess -BinFolder $bin | ForEach-Object { $_.name } | Group-Object |
                Sort-Object -Property Name | ForEach-Object { '{0} x {1}' -f $_.Count, $_.Name })
        $elapsed = $watch.Elapsed.TotalSeconds
        if ("$now $names" -ne $last) {
            $null = $changes.Add([ordered]@{ at = [Math]::Round($elapsed, 2); state = $now; processes = $names })
            $last = "$now $names"
        }
        if ($now -eq $State -and $reached -lt 0) { $reached = $elapsed }
        if ($reached -ge 0 -and $elapsed - $reached -ge $Longer) { break }
        Start-Sleep -Milliseconds 250
    }
    [ordered]@{ reached_after = [Math]::Round($reached, 2); changes = $changes.ToArray() }
}

function Read-Stop {
    # Down, a look at what is left, and up again.
    $data = [ordered]@{}
    $found = Get-ServiceStatus -Name $ServiceName
    if ($found -ne 'Running') { throw "$ServiceName is $found, so it is not stopped" }
    Write-Line -Text "Stopping $ServiceName now."
    $watch = [Diagnostics.Stopwatch]::StartNew()
    try {
        $data['request'] = Get-Tried { Request-ServiceStop -Name $ServiceName }
        $data['stop'] = Watch-Service -State 'Stopped' -Seconds (60 * $StopMinutes) -Longer 30
        $data['processes_left'] = Read-Process
        if ($data.stop.reached_after -ge 0) { $data['verbs_while_stopped'] = Invoke-Verb }
    }
    finally {
        $start = Start-ServiceSurely -Name $ServiceName -TimeoutSeconds (60 * $StopMinutes)
        $data['start'] = $start
        $data['down_seconds'] = [Math]::Round($watch.Elapsed.TotalSeconds, 1)
        if ($start.reached) { Write-Line -Text "$ServiceName is Running again after $($data.down_seconds) s." }
        else { Write-Line -Text "$ServiceName IS NOT RUNNING ($($start.problem)). Start it: sc.exe start $ServiceName" }
    }
    $data['after_start'] = Watch-Service -State 'none' -Seconds 20
    $data
}

Assert-Elevated
$null = Import-NodeCode -Source $CodeSource -Word $word
$setup = Get-NodeService -Name $ServiceName
if (-not $setup.exists) { throw "There is no service $ServiceName on this machine. Nothing was changed." }
$executable = $setup.executable
$bin = [IO.Path]::GetDirectoryName($executable)
Start-Transcription -Folder $OutputFolder -Script 'record_alteryx.ps1'
# The account of the service belongs to the site.
if (@('LocalSystem', 'NT AUTHORITY\LocalService', 'NT AUTHORITY\NetworkService') -notcontains $setup.account) {
    foreach ($part in @($setup.account -split '[\\@]')) {
        Add-Mask -Value $part.Trim('.') -Placeholder 'SERVICE-ACCOUNT'
    }
}
$swept = @{ removed = @(); left = @() }
try {
    Write-Subject -Name 'versions' -Action { Read-Version }
    Write-Subject -Name 'layout' -Action { Read-AllLayout }
    Write-Subject -Name 'settings' -Action { Read-Settings }
    Write-Subject -Name 'access' -Action { Read-AccessList }
    Write-Subject -Name 'service' -Action { Read-ServiceSetup }
    Write-Subject -Name 'processes' -Action { Read-Process }
    Write-Subject -Name 'verbs' -Action { Invoke-Verb }
    if ($StopService) { Write-Subject -Name 'stop' -Action { Read-Stop } }
}
finally {
    # Only a start makes something: the count of its attempts in the registry.
    $swept = Remove-Trace -Word $word
    Complete-Transcription -Removed $swept.removed -LeftBehind $swept.left
}

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeFiles
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeSecret

# What a new host needs beside Alteryx and its files: drivers, data sources, connectors, packages, bindings, groups.
# Read from registry and folders; no program is started, and no function throws. Values that may contain a password are
# left out.

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$script:MaximumEntries = 1000
$script:MaximumConfigBytes = 1MB
$script:GroupSeconds = 3

function Get-NodeMetadata {
    <#
    .SYNOPSIS
    The items that only the node knows, as an ordered dictionary: id -> state (found, absent, unreadable), value (null
    unless found), why. Wanted is made by plugin_utils/_plan/_node_metadata.py.
    #>
    param([Parameter(Mandatory = $true)] $Wanted)
    $items = [ordered]@{}
    if ($Wanted.licence.Count -gt 0) {
        $items['licence'] = Read-MetadataItem -Single -Absent 'the registry does not have this value' -Read {
            Read-Licence -Key $Wanted.licence.key -Name $Wanted.licence.name
        }
    }
    $items['odbc_drivers'] = Read-MetadataItem -Absent 'no driver is registered' -Read { Read-Driver }
    $items['odbc_data_sources'] = Read-MetadataItem -Absent 'no system data source is registered' -Read {
        Read-DataSource
    }
    $items['connectors'] = Read-MetadataItem -Absent "there is none in $($Wanted.tools_folder)" -Read {
        Read-Connector -Folder $Wanted.tools_folder
    }
    $noPackages = "there is no Lib\site-packages with packages below $($Wanted.bin_folder)"
    $items['python_packages'] = Read-MetadataItem -Absent $noPackages -Read {
        Read-PythonPackage -BinFolder $Wanted.bin_folder
    }
    $items['ad_groups'] = Read-MetadataItem -Absent 'no local group that was looked at has a domain group in it' -Read {
        Read-DomainGroup
    }
    $items['tls_bindings'] = Read-MetadataItem -Absent 'HTTP.sys has none' -Read { Read-TlsBinding }
    $items['alteryx_config'] = Read-MetadataItem -Absent 'it is in neither of its places' -Read {
        foreach ($path in $Wanted.config_files) { if ([IO.File]::Exists($path)) { $path } }
    }
    $items['places'] = Read-MetadataItem -Absent 'no path is known' -Read { Read-Place -Place $Wanted.places }
    $items
}

function Read-MetadataItem {
    # Runs one reader. An exception becomes the why of this item and does not affect the others.
    param([scriptblock] $Read, [string] $Absent, [switch] $Single)
    try { $found = @(& $Read) }
    catch {
        $why = Get-ShortText -Text $_.Exception.GetBaseException().Message -Length 300
        return [ordered]@{ state = 'unreadable'; value = $null; why = $why }
    }
    if ($found.Count -eq 0) { return [ordered]@{ state = 'absent'; value = $null; why = $Absent } }
    if ($Single) { return [ordered]@{ state = 'found'; value = $found[0]; why = '' } }
    $why = ''
    if ($found.Count -gt $script:MaximumEntries) {
        $why = 'only the first {0} of {1} entries' -f $script:MaximumEntries, $found.Count
        $found = @($found[0..($script:MaximumEntries - 1)])
    }
    [ordered]@{ state = 'found'; value = $found; why = $why }
}

function Get-ShortText {
    # One line for people, without passwords.
    param([string] $Text, [int] $Length)
    $line = Hide-Secret -Text ($Text -replace '\s+', ' ').Trim()
    if ($line.Length -gt $Length) { $line = $line.Substring(0, $Length) }
    $line
}

function Open-MachineKey {
    # A key of HKEY_LOCAL_MACHINE in the view of 64-bit or 32-bit programs; nothing if it does not exist.
    param([int] $Bits, [string] $Path)
    $view = if ($Bits -eq 32) { [Microsoft.Win32.RegistryView]::Registry32 }
    else { [Microsoft.Win32.RegistryView]::Registry64 }
    $machine = [Microsoft.Win32.RegistryKey]::OpenBaseKey([Microsoft.Win32.RegistryHive]::LocalMachine, $view)
    try { $machine.OpenSubKey($Path) }
    finally { $machine.Dispose() }
}

function Read-KeyValue {
    # The named values of a key, or all values if no name is given: name -> value. Empty if the key does not exist.
    param([int] $Bits = 64, [string] $Path, [string[]] $Name = @())
    $values = @{}
    $key = Open-MachineKey -Bits $Bits -Path $Path
    if ($null -eq $key) { return $values }
    try {
        foreach ($each in $key.GetValueNames()) {
            if ($each -and ($Name.Count -eq 0 -or $Name -contains $each)) { $values[$each] = $key.GetValue($each) }
        }
    }
    finally { $key.Dispose() }
    $values
}

function Read-SubKeyName {
    param([string] $Path)
    $key = Open-MachineKey -Bits 64 -Path $Path
    if ($null -eq $key) { return }
    try { $key.GetSubKeyNames() }
    finally { $key.Dispose() }
}

function Read-Licence {
    # The last four characters of a licence key: enough to recognize the key, too little to use it.
    param([string] $Key, [string] $Name)
    $values = Read-KeyValue -Path $Key -Name $Name
    if (-not $values.ContainsKey($Name)) { return }
    $text = ([string]$values[$Name]).Trim()
    if ($text.Length -ge 16) { '****' + $text.Substring($text.Length - 4) }
    elseif ($text) { '****' }
}

function Read-Driver {
    foreach ($bits in 64, 32) {
        $drivers = Read-KeyValue -Bits $bits -Path 'SOFTWARE\ODBC\ODBCINST.INI\ODBC Drivers'
        foreach ($name in $drivers.Keys | Sort-Object) {
            $driver = Read-KeyValue -Bits $bits -Path "SOFTWARE\ODBC\ODBCINST.INI\$name" -Name 'Driver'
            $file = [string]$driver['Driver']
            # Windows redirects System32 to another folder for 32-bit programs.
            if ($bits -eq 32) { $file = $file -replace '(?i)\\system32\\', '\SysWOW64\' }
            [ordered]@{ name = $name; bits = $bits; file = $file; version = Get-ProgramVersion -Path $file }
        }
    }
}

function Get-ProgramVersion {
    # Only for a file on a drive of this node, because a lost share may take minutes to report an error.
    param([string] $Path)
    if ($Path -cnotmatch '^[A-Za-z]:\\' -or -not [IO.File]::Exists($Path)) { return '' }
    try { $found = [Diagnostics.FileVersionInfo]::GetVersionInfo($Path) }
    catch { return '' }
    '{0}.{1}.{2}.{3}' -f $found.FileMajorPart, $found.FileMinorPart, $found.FileBuildPart, $found.FilePrivatePart
}

function Read-DataSource {
    # Only the server and the database of a data source are taken, because other values may be a user and a password.
    foreach ($bits in 64, 32) {
        $listed = Read-KeyValue -Bits $bits -Path 'SOFTWARE\ODBC\ODBC.INI\ODBC Data Sources'
        foreach ($name in $listed.Keys | Sort-Object) {
            $values = Read-KeyValue -Bits $bits -Path "SOFTWARE\ODBC\ODBC.INI\$name" -Name @(
                'Server', 'ServerName', 'Host', 'HostName', 'Database', 'DatabaseName'
            )
            [ordered]@{
                name = $name
                bits = $bits
                driver = [string]$listed[$name]
                server = Select-PlainText -Values $values -Name 'Server', 'ServerName', 'Host', 'HostName'
                database = Select-PlainText -Values $values -Name 'Database', 'DatabaseName'
            }
        }
    }
}

function Select-PlainText {
    # The first of these values that is a plain name or address. A value with = ; or @ may be part of a connection
    # string and is left out.
    param([hashtable] $Values, [string[]] $Name)
    foreach ($each in $Name) {
        $text = [string]$Values[$each]
        if ($text -match '^[\w.,:\\/\-\[\]() ]{1,128}$') { return $text }
    }
    ''
}

function Read-Connector {
    # The version of a tool is in NAMEConfig.xml, and often also in the name of its folder.
    param([string] $Folder)
    if (-not [IO.Directory]::Exists($Folder)) { return }
    foreach ($path in [IO.Directory]::GetDirectories($Folder) | Sort-Object) {
        $name = [IO.Path]::GetFileName($path)
        $version = ''
        try {
            foreach ($file in [IO.Directory]::GetFiles($path, '*Config.xml')) {
                if ((New-Object System.IO.FileInfo $file).Length -gt $script:MaximumConfigBytes) { continue }
                if ((Read-NodeText -Path $file) -match '<ToolVersion>\s*([\w.-]{1,40})\s*</ToolVersion>') {
                    $version = $Matches[1]
                }
            }
        }
        catch { $version = '' }
        if (-not $version -and $name -match '_v?(\d+(?:[._]\d+)+)$') { $version = $Matches[1].Replace('_', '.') }
        [ordered]@{ name = $name; version = $version }
    }
}

function Read-PythonPackage {
    # Packages of every Python below bin and of its environments, read from the folders that pip and conda create beside
    # the packages.
    param([string] $BinFolder)
    foreach ($python in [IO.Directory]::GetDirectories($BinFolder) | Sort-Object) {
        $environments = Join-Path -Path $python -ChildPath 'envs'
        $homes = @($python) + @(if ([IO.Directory]::Exists($environments)) {
                [IO.Directory]::GetDirectories($environments) | Sort-Object
            })
        foreach ($each in $homes) {
            $library = Join-Path -Path $each -ChildPath 'Lib\site-packages'
            if (-not [IO.Directory]::Exists($library)) { continue }
            foreach ($entry in [IO.Directory]::GetFileSystemEntries($library, '*-info') | Sort-Object) {
                if ([IO.Path]::GetFileName($entry) -match '^([^-]+)(?:-([^-]+))?(?:-py[\d.]+.*)?\.(?:dist|egg)-info$') {
                    $version = if ($Matches.ContainsKey(2)) { $Matches[2] } else { '' }
                    $below = $each.Substring($BinFolder.TrimEnd('\').Length + 1)
                    [ordered]@{ name = $Matches[1]; version = $version; python = $below }
                }
            }
        }
    }
}

function Read-DomainGroup {
    # Domain groups in Administrators, Remote Desktop Users and in groups that an administrator has created. WMI is
    # asked, because its classes distinguish groups from users in every language. Each group is asked for separately,
    # because a query for all groups searches the domain. The query runs in a separate runspace, which is abandoned if
    # it does not answer, because the time limit of Get-CimInstance has no effect when the connection to WMI hangs.
    $shell = [PowerShell]::Create()
    $null = $shell.AddScript([string]$script:DomainGroupScript).AddArgument($script:GroupSeconds)
    $null = $shell.AddArgument([Environment]::MachineName)
    $asked = $shell.BeginInvoke()
    if (-not $asked.AsyncWaitHandle.WaitOne(1000 * $script:GroupSeconds + 1000)) {
        # Not Stop, which waits until the pipeline has ended.
        $null = $shell.BeginStop($null, $null)
        throw (New-Object System.TimeoutException "WMI did not answer within $script:GroupSeconds s")
    }
    try {
        foreach ($found in $shell.EndInvoke($asked)) {
            [ordered]@{ local_group = [string]$found.local_group; domain_group = [string]$found.domain_group }
        }
    }
    finally { $shell.Dispose() }
}

$script:DomainGroupScript = {
    param($GroupSeconds, $Computer)
    Set-StrictMode -Version 2.0
    $ErrorActionPreference = 'Stop'
    $watch = [Diagnostics.Stopwatch]::StartNew()
    $groups = @(Get-CimInstance -ClassName Win32_Group -Filter 'LocalAccount=True' -OperationTimeoutSec $GroupSeconds)
    foreach ($group in $groups) {
        if ($group.SID -match '^S-1-5-32-' -and @('S-1-5-32-544', 'S-1-5-32-555') -notcontains $group.SID) { continue }
        if ($watch.Elapsed.TotalSeconds -gt $GroupSeconds) {
            throw (New-Object System.TimeoutException "WMI did not answer within $GroupSeconds s")
        }
        $select = 'SELECT PartComponent FROM Win32_GroupUser WHERE ' +
        "GroupComponent=`"Win32_Group.Domain='{0}',Name='{1}'`""
        $query = $select -f $group.Domain, $group.Name.Replace("'", "\'")
        foreach ($member in @(Get-CimInstance -Query $query -OperationTimeoutSec $GroupSeconds)) {
            $part = $member.PartComponent
            if ($part.CimSystemProperties.ClassName -eq 'Win32_Group' -and $part.Domain -ne $Computer) {
                @{ local_group = [string]$group.Name; domain_group = '{0}\{1}' -f $part.Domain, $part.Name }
            }
        }
    }
}

function Read-TlsBinding {
    # The bindings that `netsh http show sslcert` prints, for addresses and for host names. They are read from the
    # registry key of HTTP.sys, because netsh prints in the language of Windows.
    foreach ($kind in 'SslBindingInfo', 'SslSniBindingInfo') {
        $path = "SYSTEM\CurrentControlSet\Services\HTTP\Parameters\$kind"
        foreach ($address in Read-SubKeyName -Path $path | Sort-Object) {
            $values = Read-KeyValue -Path "$path\$address" -Name 'SslCertHash', 'AppId', 'SslCertStoreName'
            $hash = $values['SslCertHash']
            $id = $values['AppId']
            [ordered]@{
                address = $address
                certificate = if ($hash -is [byte[]]) { ConvertTo-Hexadecimal -Bytes $hash } else { '' }
                application_id = if ($id -is [byte[]] -and $id.Length -eq 16) {
                    (New-Object System.Guid (, $id)).ToString('B')
                }
                else { '' }
                store = [string]$values['SslCertStoreName']
            }
        }
    }
}

function Read-Place {
    # The folders in the settings: is each on another drive than Windows, and does it exist? A share is not accessed.
    param($Place)
    $system = [IO.Path]::GetPathRoot([Environment]::SystemDirectory).Substring(0, 2)
    foreach ($each in $Place) {
        [ordered]@{
            element = $each.element
            path = $each.path
            other_drive = [bool]($each.drive -and $each.drive -ne $system)
            exists = if ($each.drive -match ':') {
                [IO.Directory]::Exists($each.path) -or [IO.File]::Exists($each.path)
            }
            else { $null }
        }
    }
}

Export-ModuleMember -Function Get-NodeMetadata

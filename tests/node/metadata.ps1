# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# A machine with this and that on it, and what NodeMetadata.psm1 finds:
# JSON with the inventory before, after, and of a domain.

$local = [Microsoft.Win32.Registry]::LocalMachine
$module = [scriptblock]::Create([IO.File]::ReadAllText('C:\inventory\NodeMetadata.psm1'))
New-Module -Name 'NodeMetadata' -ScriptBlock $module | Import-Module -Global

function Set-Value([string] $Key, [string] $Name, $Value) {
    $opened = $local.CreateSubKey($Key)
    $opened.SetValue($Name, $Value)
    $opened.Dispose()
}

$nothing = @{
    licence = @{}
    tools_folder = 'C:\inventory\none'
    bin_folder = 'C:\inventory\nowhere'
    config_files = @('C:\inventory\a')
    places = @()
}
$answer = @{ nothing = Get-NodeMetadata -Wanted $nothing }

Set-Value -Key 'SOFTWARE\InventoryTest' -Name 'Long' -Value 'AAAA-BBBB-CCCC-DDDD-9TX2'
Set-Value -Key 'SOFTWARE\InventoryTest' -Name 'Short' -Value 'AAAA-9TX2'
$sources = @{
    Named = @{ ServerName = 'db\instance'; Database = 'Sales (old)'; PWD = 'Pa55word' }
    Text = @{
        Server = 'db;PWD=Pa55word'
        Host = 'user:Pa55word@db'
        HostName = 'db.example.test:1433'
        Database = 'x=Pa55word'
    }
    Empty = @{}
}
foreach ($name in $sources.Keys) {
    Set-Value -Key 'SOFTWARE\ODBC\ODBC.INI\ODBC Data Sources' -Name $name -Value 'Some Driver'
    foreach ($value in $sources[$name].Keys) {
        Set-Value -Key "SOFTWARE\ODBC\ODBC.INI\$name" -Name $value -Value $sources[$name][$value]
    }
}
$http = 'SYSTEM\CurrentControlSet\Services\HTTP\Parameters'
Set-Value -Key "$http\SslSniBindingInfo\alteryx.example.test:443" -Name 'SslCertHash' -Value ([byte[]](1, 254))
Set-Value -Key "$http\SslBindingInfo\0.0.0.0:444" -Name 'AppId' -Value ([byte[]](1, 2, 3))
Set-Value -Key 'SOFTWARE\ODBC\ODBCINST.INI\ODBC Drivers' -Name 'There' -Value 'Installed'
Set-Value -Key 'SOFTWARE\ODBC\ODBCINST.INI\There' -Name 'Driver' -Value 'C:\pwsh-win-x64\pwsh.exe'
Set-Value -Key 'SOFTWARE\ODBC\ODBCINST.INI\ODBC Drivers' -Name 'Share' -Value 'Installed'
Set-Value -Key 'SOFTWARE\ODBC\ODBCINST.INI\Share' -Name 'Driver' -Value '\\nas\drivers\d.dll'
foreach ($number in 1..1001) {
    $null = [IO.Directory]::CreateDirectory(('C:\inventory\tools\Tool{0}_v1_{0}' -f $number))
}
$null = [IO.Directory]::CreateDirectory('C:\inventory\bin\Miniconda3\Lib\site-packages\no_version.egg-info')

function Get-Wanted([string] $Licence) {
    @{
        licence = @{ key = 'SOFTWARE\InventoryTest'; name = $Licence }
        tools_folder = 'C:\inventory\tools'
        bin_folder = 'C:\inventory\bin'
        config_files = @()
        places = @(
            @{ element = 'a'; path = 'D:\'; drive = 'D:' },
            @{ element = 'b'; path = '\\nas\x'; drive = '\\' },
            @{ element = 'c'; path = 'x'; drive = '' }
        )
    }
}
$watch = [Diagnostics.Stopwatch]::StartNew()
$answer['something'] = Get-NodeMetadata -Wanted (Get-Wanted 'Long')
$answer['seconds'] = $watch.Elapsed.TotalSeconds
$answer['short'] = (Get-NodeMetadata -Wanted (Get-Wanted 'Short'))['licence']
$answer['none'] = (Get-NodeMetadata -Wanted (Get-Wanted 'None'))['licence']

# What WMI says on a member of a domain; the lab's engine does not know these classes.
$script:asked = New-Object System.Collections.ArrayList
function global:Get-CimInstance([string] $ClassName, [string] $Filter, [string] $Query, [int] $OperationTimeoutSec) {
    if ($ClassName) {
        foreach ($each in @('Administrators', 'S-1-5-32-544'), @('Guests', 'S-1-5-32-546'),
            @("People's", 'S-1-5-21-1-2-3-1001')) {
            New-Object psobject -Property @{ Name = $each[0]; SID = $each[1]; Domain = 'NODE' }
        }
        return
    }
    $null = $script:asked.Add($Query)
    $members = @(
        @('Win32_Group', 'EXAMPLE', 'Domain Admins'),
        @('Win32_UserAccount', 'EXAMPLE', 'svc'),
        @('Win32_Group', [Environment]::MachineName, 'Local')
    )
    foreach ($each in $members) {
        $class = New-Object psobject -Property @{ ClassName = $each[0] }
        New-Object psobject -Property @{
            PartComponent = New-Object psobject -Property @{
                CimSystemProperties = $class; Domain = $each[1]; Name = $each[2]
            }
        }
    }
}
# Here and not in the runspace of its own, which does not know the function above.
$found = & (Get-Module -Name 'NodeMetadata') { & $script:DomainGroupScript 3 ([Environment]::MachineName) }
$answer['domain'] = @{ state = 'found'; value = @($found); why = '' }
$answer['asked'] = $script:asked.ToArray()
ConvertTo-Json -InputObject $answer -Depth 9 -Compress

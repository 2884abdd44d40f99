# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeClock
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeProcess
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeService

# The Alteryx installation, as found: which of its processes live, and where it answers.

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

function Test-TcpPort {
    <#
    .SYNOPSIS
    Does anybody accept connections there? Every address of every name is asked, IPv4 and IPv6, because a service may
    listen on one of them only.
    #>
    param(
        [Parameter(Mandatory = $true)][string[]] $HostName,
        [Parameter(Mandatory = $true)][int] $Port
    )
    foreach ($name in $HostName) {
        try {
            $asked = [Net.Dns]::BeginGetHostAddresses($name, $null, $null)
            if (-not $asked.AsyncWaitHandle.WaitOne(5000)) { continue }
            $addresses = @([Net.Dns]::EndGetHostAddresses($asked))
        }
        catch { continue }
        foreach ($address in $addresses) { if (Test-TcpAddress -Address $address -Port $Port) { return $true } }
    }
    $false
}

function Test-TcpAddress {
    param([Net.IPAddress] $Address, [int] $Port)
    $client = $null
    try {
        $client = New-Object System.Net.Sockets.TcpClient $Address.AddressFamily
        $asked = $client.BeginConnect($Address, $Port, $null, $null)
        if (-not $asked.AsyncWaitHandle.WaitOne(5000)) { return $false }
        $client.EndConnect($asked)
        $true
    }
    catch { $false }
    finally { if ($null -ne $client) { $client.Close() } }
}

function Get-UrlAnswer {
    <# .SYNOPSIS
    What a web address answers, seen from this node: the status as text, e.g. 200, or why there is none. #>
    param([Parameter(Mandatory = $true)][string] $Url)
    [Net.ServicePointManager]::SecurityProtocol = [Net.ServicePointManager]::SecurityProtocol -bor
    [Net.SecurityProtocolType]::Tls12
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
        $_.Exception.GetBaseException().Message
    }
    finally { if ($null -ne $response) { $response.Close() } }
}

function Get-AlteryxProcess {
    <#
    .SYNOPSIS
    Processes that belong to the installation: their executable lies in the bin folder. Objects with name, process_id,
    parent_id, started. One of a name that was asked for and whose executable Windows does not tell counts, because it
    may be one, unless only those are wanted that surely belong to it.
    #>
    param(
        [Parameter(Mandatory = $true)][string] $BinFolder,
        [string[]] $Name = @(),
        [switch] $Surely
    )
    $prefix = $BinFolder.TrimEnd('\') + '\'
    foreach ($process in [AlteryxOps.ProcessTable]::Read()) {
        $isNamed = $Name -contains $process.Name
        if ($Name.Count -gt 0 -and -not $isNamed) { continue }
        $isInside = $process.Path.StartsWith($prefix, [StringComparison]::OrdinalIgnoreCase)
        if ($isInside -or ($isNamed -and -not $process.Path -and -not $Surely)) {
            @{
                name = [string]$process.Name
                process_id = [int]$process.Id
                parent_id = [int]$process.ParentId
                started = Get-UtcText -Time (New-Object System.DateTime ($process.Birth * 10000), ([DateTimeKind]::Utc))
            }
        }
    }
}

Export-ModuleMember -Function Test-TcpPort, Get-UrlAnswer, Get-AlteryxProcess

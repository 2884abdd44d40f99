# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeClock
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeProcess

# What the node has of Alteryx: which processes of the installation run, which address the Server answers on, and what
# the verbs of AlteryxService.exe print.

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$script:Failure = '\b(fail|failed|error|exception|unable|cannot|invalid|denied)\b'

function Test-TcpPort {
    <#
    .SYNOPSIS
    Does a program accept connections on this port? Every address of every name is asked, IPv4 and IPv6, because a
    service may listen on one of them only.
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
    Requests a web address from this node. Returns the HTTP status as text, e.g. 200, or why there was no answer. #>
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
    Processes that belong to the installation: their executable is in the bin folder. Objects with name, process_id,
    parent_id, started. A process that has a requested name and whose path Windows does not report is included, because
    it may belong to the installation. The caller can ask for only those whose path is known.
    #>
    param(
        [Parameter(Mandatory = $true)][string] $BinFolder,
        [string[]] $Name = @(),
        [switch] $Surely
    )
    # The service may name its folder through a link, a mounted volume or short names (C:\PROGRA~1).
    $real = [AlteryxOps.ProcessTable]::RealFolder($BinFolder)
    $prefixes = @(foreach ($folder in $BinFolder, $real) { if ($folder) { $folder.TrimEnd('\') + '\' } })
    foreach ($process in [AlteryxOps.ProcessTable]::Read()) {
        $isNamed = $Name -contains $process.Name
        if ($Name.Count -gt 0 -and -not $isNamed) { continue }
        $isInside = $false
        foreach ($prefix in $prefixes) {
            if ($process.Path.StartsWith($prefix, [StringComparison]::OrdinalIgnoreCase)) { $isInside = $true }
        }
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

function Get-VerbAnswer {
    <#
    .SYNOPSIS
    Runs one verb of AlteryxService.exe. Returns text, the output of the verb, and problem, which says why the output
    cannot be used and does not quote it; problem is empty for a usable output. The exit codes of these verbs are not
    documented, so an output that is empty or that contains a word of failure cannot be used. The output is a secret:
    callers must not write it to logs, messages or files.
    #>
    param(
        [Parameter(Mandatory = $true)][string] $Executable,
        [Parameter(Mandatory = $true)][string] $Verb,
        [Parameter(Mandatory = $true)][int] $TimeoutSeconds
    )
    $answer = Invoke-NativeProcess -FileName $Executable -ArgumentList @($Verb) -TimeoutSeconds $TimeoutSeconds `
        -TickSeconds 0.1
    $text = $answer.stdout.Trim()
    $problem = ''
    if ($answer.timed_out) { $problem = "did not end within $TimeoutSeconds s" }
    # Not -match: in a Turkish locale, ignoring case maps I and i to other letters.
    elseif (-not $text -or [regex]::IsMatch($text, $script:Failure, 'IgnoreCase, CultureInvariant')) {
        $problem = "gave no usable answer (exit code $($answer.exit_code), $($text.Length) characters)"
    }
    @{ text = $text; problem = $problem }
}

Export-ModuleMember -Function Test-TcpPort, Get-UrlAnswer, Get-AlteryxProcess, Get-VerbAnswer

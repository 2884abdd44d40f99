# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

#AnsibleRequires -CSharpUtil ansible_collections.alteryx_ops.server_backup.plugins.module_utils.MongoClient
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeDisk
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeProcess
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeSecret
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeType

# What this collection does with MongoDB by itself, without the tools of the Server: connects to a server, starts a
# scratch mongod on a data folder, and counts the documents of each collection.

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$script:ScratchReason = 'scratch_mongod_failed'
# Another program may take the free port before mongod opens it, so another port is tried.
$script:PortTaken = 48
$script:MostDifferences = 20

function Open-MongoClient {
    <#
    .SYNOPSIS
    Connects to a server and returns the client, an AlteryxOps.MongoClient, which the caller disposes of. Its method
    Authenticate logs in, so that the password is not an argument of a command, which Windows may record. CaFile: see
    AlteryxOps.MongoAddress. OnTick runs up to ten times a second while the client waits. An exception of OnTick ends
    the wait and reaches the caller.
    #>
    param(
        [Parameter(Mandatory = $true)][string] $HostName,
        [Parameter(Mandatory = $true)][int] $Port,
        [switch] $Tls,
        [AllowEmptyString()][string] $CaFile = '',
        [double] $ConnectSeconds = 10,
        [double] $ReadSeconds = 60,
        [scriptblock] $OnTick = {}
    )
    if ($null -eq ('AlteryxOps.MongoClient' -as [type])) { Import-NodeType -Name 'MongoClient' }
    $address = New-Object AlteryxOps.MongoAddress
    $address.Host = $HostName
    $address.Port = $Port
    $address.Tls = [bool]$Tls
    $address.CaFile = $CaFile
    $address.ConnectMilliseconds = [int](1000 * $ConnectSeconds)
    $address.ReadMilliseconds = [int](1000 * $ReadSeconds)
    $address.Tick = $OnTick
    [AlteryxOps.MongoClient]::Connect($address)
}

function Get-MongoProblem {
    <# .SYNOPSIS
    Returns the first AlteryxOps.MongoProblem among the exceptions of an error record, or nothing. #>
    param([Parameter(Mandatory = $true)][System.Management.Automation.ErrorRecord] $ErrorRecord)
    for ($failure = $ErrorRecord.Exception; $null -ne $failure; $failure = $failure.InnerException) {
        if ($failure.GetType().FullName -ceq 'AlteryxOps.MongoProblem') { return $failure }
    }
}

function Invoke-ScratchMongod {
    <#
    .SYNOPSIS
    Starts a mongod on a data folder, runs Action with a client that has all rights in it, ends the mongod cleanly and
    returns the result of Action. The mongod listens on loopback only and accepts only a client that has the key of this
    call. OnTick runs at least four times a second, also while the client waits. An exception of OnTick or of Action
    ends the mongod and reaches the caller. Staging is a folder that only SYSTEM and Administrators can use. When this
    function returns or throws, it has ended the mongod and deleted its key and its log.
    #>
    param(
        [Parameter(Mandatory = $true)][string] $Program,
        [Parameter(Mandatory = $true)][string] $Folder,
        [Parameter(Mandatory = $true)][string] $Staging,
        [ValidateRange(0.25, 1.0)][double] $CacheGigabyte = 1,
        [double] $StartSeconds = 120,
        [double] $StopSeconds = 300,
        [Parameter(Mandatory = $true)][scriptblock] $OnTick,
        [Parameter(Mandatory = $true)][scriptblock] $Action
    )
    $own = Join-Path -Path $Staging -ChildPath 'scratch_mongod'
    $scratch = @{
        program = $Program; folder = $Folder.TrimEnd('\'); own = $own; cache = $CacheGigabyte; secret = ''
        key = Join-Path -Path $own -ChildPath 'key'; log = Join-Path -Path $own -ChildPath 'mongod.log'
        process = $null; birth = [long]0; port = 0; client = $null; printed = @()
    }
    try {
        # Remove the folder that an interrupted run has left.
        Remove-NodeFolder -Path $own
        New-ProtectedFolder -Path $own
        $scratch.secret = New-KeyText
        [IO.File]::WriteAllText($scratch.key, $scratch.secret, [Text.Encoding]::ASCII)
        Start-ScratchMongod -Scratch $scratch -Seconds $StartSeconds -OnTick $OnTick
        try { $answer = @(& $Action $scratch.client) }
        catch {
            Assert-ScratchAlive -Scratch $scratch -ErrorRecord $_
            throw
        }
        Stop-ScratchMongod -Scratch $scratch -Seconds $StopSeconds -OnTick $OnTick
        $answer
    }
    finally { Clear-ScratchMongod -Scratch $scratch }
}

function New-KeyText {
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'makes a text')]
    param()
    $bytes = New-Object byte[] 96
    $random = New-Object System.Security.Cryptography.RNGCryptoServiceProvider
    try { $random.GetBytes($bytes) }
    finally { $random.Dispose() }
    [Convert]::ToBase64String($bytes)
}

function Get-FreePort {
    $listener = New-Object System.Net.Sockets.TcpListener ([Net.IPAddress]::Loopback), 0
    $listener.Start()
    try { $listener.LocalEndpoint.Port }
    finally { $listener.Stop() }
}

function Start-ScratchMongod {
    # Returns when the client is logged in. The server proves in the log-in that it has the key, so it is the mongod
    # that this function started and not another program on the port.
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'callers check')]
    param([hashtable] $Scratch, [double] $Seconds, [scriptblock] $OnTick)
    $watch = [Diagnostics.Stopwatch]::StartNew()
    $attempts = 1
    Start-MongodProcess -Scratch $Scratch
    $last = ''
    while ($true) {
        $null = & $OnTick
        if ($Scratch.process.HasExited) {
            $code = $Scratch.process.ExitCode
            if ($code -ne $script:PortTaken -or $attempts -ge 3) {
                throw (New-ScratchFailure -Scratch $Scratch -What "ended with code $code instead of starting")
            }
            $attempts++
            $Scratch.process.Dispose()
            Start-MongodProcess -Scratch $Scratch
        }
        try {
            $Scratch.client = Open-MongoClient -HostName '127.0.0.1' -Port $Scratch.port -ConnectSeconds 5 `
                -ReadSeconds 10 -OnTick $OnTick
            $Scratch.client.Authenticate('__system', $Scratch.secret, 'local', '')
            $Scratch.client.ReadMilliseconds = 60000
            return
        }
        catch {
            if ($null -ne $Scratch.client) { $Scratch.client.Dispose() }
            $problem = Get-MongoProblem -ErrorRecord $_
            if ($null -eq $problem) { throw }
            $last = $problem.Message
        }
        if ($watch.Elapsed.TotalSeconds -gt $Seconds) {
            $what = "was not ready within $Seconds s ($last)"
            throw (New-ScratchFailure -Scratch $Scratch -What $what)
        }
        Start-Sleep -Milliseconds 100
    }
}

function Start-MongodProcess {
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'callers check')]
    param([hashtable] $Scratch)
    $Scratch.port = Get-FreePort
    $words = @(
        '--dbpath', $Scratch.folder, '--bind_ip', '127.0.0.1', '--port', [string]$Scratch.port,
        '--auth', '--keyFile', $Scratch.key, '--setParameter', 'enableLocalhostAuthBypass=false',
        # The mongod must not delete documents that have expired since the backup, and must not write diagnostic files
        # into the folder.
        '--setParameter', 'ttlMonitorEnabled=false', '--setParameter', 'diagnosticDataCollectionEnabled=false',
        '--wiredTigerCacheSizeGB', $Scratch.cache.ToString([cultureinfo]::InvariantCulture),
        '--logpath', $Scratch.log, '--logappend'
    )
    $process = New-NativeProcess -FileName $Scratch.program -ArgumentList $words -Utf8
    try { $null = $process.Start() }
    catch {
        $why = $_.Exception.GetBaseException().Message
        throw (New-NodeFailure -Reason $script:ScratchReason -Message "$($Scratch.program) cannot be started: $why")
    }
    $Scratch.process = $process
    $Scratch.birth = [Math]::Max([long]0, (Get-ProcessBirth -ProcessId $process.Id))
    $process.StandardInput.Close()
    $Scratch.printed = @(
        (New-Object AlteryxOps.PrintedText $process.StandardOutput),
        (New-Object AlteryxOps.PrintedText $process.StandardError)
    )
    # The services of the node may be running, so the mongod has a low priority.
    try { $process.PriorityClass = [Diagnostics.ProcessPriorityClass]::BelowNormal }
    catch { Write-Verbose -Message "priority of mongod: $_" }
}

function Assert-ScratchAlive {
    # Throws if Action failed because the mongod has ended.
    param([hashtable] $Scratch, [System.Management.Automation.ErrorRecord] $ErrorRecord)
    $problem = Get-MongoProblem -ErrorRecord $ErrorRecord
    if ($null -eq $problem -or [string]$problem.Kind -cne 'Network') { return }
    # The connections of a process end some time before the process itself.
    if (-not $Scratch.process.WaitForExit(5000)) { return }
    $what = "ended with code $($Scratch.process.ExitCode) while it was in use ($($problem.Message))"
    throw (New-ScratchFailure -Scratch $Scratch -What $what)
}

function Stop-ScratchMongod {
    # On Windows a mongod shuts down when the event is set that has the process id of the mongod in its name.
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'callers check')]
    param([hashtable] $Scratch, [double] $Seconds, [scriptblock] $OnTick)
    $Scratch.client.Dispose()
    $watch = [Diagnostics.Stopwatch]::StartNew()
    Request-MongodEnd -Scratch $Scratch
    while (-not $Scratch.process.WaitForExit(100)) {
        $null = & $OnTick
        if ($watch.Elapsed.TotalSeconds -gt $Seconds) {
            throw (New-ScratchFailure -Scratch $Scratch -What "did not end within $Seconds s")
        }
    }
    # A mongod that has closed its files leaves mongod.lock empty. At a start, a mongod takes a lock file with content
    # as the sign of a crash.
    $lock = New-Object System.IO.FileInfo (Join-Path -Path $Scratch.folder -ChildPath 'mongod.lock')
    if ($lock.Exists -and $lock.Length -eq 0) { return }
    $what = "ended with code $($Scratch.process.ExitCode) and did not close its files"
    throw (New-ScratchFailure -Scratch $Scratch -What $what)
}

function Request-MongodEnd {
    param([hashtable] $Scratch)
    $name = "Global\Mongo_$($Scratch.process.Id)"
    try {
        $signal = [Threading.EventWaitHandle]::OpenExisting($name)
        try { $null = $signal.Set() }
        finally { $signal.Dispose() }
    }
    catch {
        if ($Scratch.process.HasExited) { return }
        $why = $_.Exception.GetBaseException().Message
        throw (New-ScratchFailure -Scratch $Scratch -What "cannot be told to end, its event ${name}: $why")
    }
}

function Clear-ScratchMongod {
    # Never throws, because the next run removes what is left, and the key is useless without its mongod.
    param([hashtable] $Scratch)
    try {
        if ($null -ne $Scratch.client) { $Scratch.client.Dispose() }
        if ($null -ne $Scratch.process -and -not $Scratch.process.HasExited) {
            # The caller may still use the data folder. Files that mongod has closed need no recovery.
            try {
                Request-MongodEnd -Scratch $Scratch
                $null = $Scratch.process.WaitForExit(10000)
            }
            catch { Write-Verbose -Message "mongod: $_" }
            if (-not $Scratch.process.HasExited) {
                $null = Stop-NodeProcessTree -ProcessId $Scratch.process.Id -Birth $Scratch.birth
            }
        }
    }
    catch { Write-Verbose -Message "mongod: $_" }
    foreach ($path in $Scratch.key, $Scratch.log) {
        try { if ([IO.File]::Exists($path)) { Remove-NodeFile -Path $path } }
        catch { Write-Verbose -Message "${path}: $_" }
    }
    try { Remove-NodeFolder -Path $Scratch.own }
    catch { Write-Verbose -Message "$($Scratch.own): $_" }
    if ($null -ne $Scratch.process) { $Scratch.process.Dispose() }
}

function New-ScratchFailure {
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'makes an object')]
    param([hashtable] $Scratch, [string] $What)
    $text = "The scratch mongod on $($Scratch.folder) $What"
    $said = Get-ScratchOutput -Scratch $Scratch
    if ($said) { $text += ". It says: $said" }
    New-NodeFailure -Reason $script:ScratchReason -Message $text
}

function Get-ScratchOutput {
    # The first errors in the log, because later errors follow from them. If the log has no errors: its last lines, or
    # the output of a mongod that ended before it opened its log.
    param([hashtable] $Scratch)
    $text = ''
    try {
        if ([IO.File]::Exists($Scratch.log)) {
            $stream = Open-SharedFile -Path $Scratch.log
            try {
                $null = $stream.Seek([Math]::Max(0, $stream.Length - 1MB), [IO.SeekOrigin]::Begin)
                $reader = New-Object System.IO.StreamReader $stream, ([Text.Encoding]::UTF8)
                $text = $reader.ReadToEnd()
            }
            finally { $stream.Dispose() }
        }
        if (-not $text.Trim()) {
            $text = @($Scratch.printed | ForEach-Object {
                    $null = $_.Wait(1000)
                    $_.Text
                }) -join "`n"
        }
    }
    catch { Write-Verbose -Message "log of mongod: $_" }
    $lines = @($text -split '\r?\n' | Where-Object { $_.Trim() } |
            ForEach-Object { $_.Substring(0, [Math]::Min($_.Length, 600)) })
    # The log is JSON since MongoDB 4.4. Before that, a line has a date and a letter for its severity.
    $errors = @($lines | Where-Object { $_ -cmatch '"s":"[EF]"|^\S+ [EF] ' } | Select-Object -First 5)
    if ($errors.Count -eq 0) { $errors = @($lines | Select-Object -Last 10) }
    $text = Hide-Secret -Text ($errors -join "`n")
    if ($Scratch.secret) { $text = $text.Replace($Scratch.secret, '(redacted)') }
    $text
}

function Test-DumpedCollection {
    # Does mongodump write documents of this collection? Of a view it writes none.
    param([string] $Database, [string] $Name, [string] $Type)
    if ($Type -ceq 'view' -or $Type -ceq 'timeseries' -or $Name.Contains('$')) { return $false }
    if ($Database -ceq 'admin') { return $Name -cne 'system.keys' }
    if ($Database -ceq 'config') {
        $left = 'transactions', 'transaction_coordinators', 'system.sessions', 'system.indexBuilds'
        return $left -cnotcontains $Name
    }
    $isSystem = $Name.StartsWith('system.', [StringComparison]::Ordinal)
    -not $isSystem -or $Name -ceq 'system.js' -or $Name.StartsWith('system.buckets.', [StringComparison]::Ordinal)
}

function ConvertTo-CountTable {
    # A copy of the table in which names can differ by case alone. The keys of a hashtable literal cannot.
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseLiteralInitializerForHashtable', '',
        Justification = 'case counts')]
    param([hashtable] $Table)
    $exact = New-Object System.Collections.Hashtable ([StringComparer]::Ordinal)
    foreach ($name in $Table.get_Keys()) { $exact[[string]$name] = [long]$Table[$name] }
    $exact
}

function Get-DocumentCount {
    <#
    .SYNOPSIS
    The number of documents in each collection of these databases: a hashtable (names differ by case) with
    database.collection -> documents, for the collections whose documents mongodump writes. They are counted one by one,
    each collection within TimeoutSeconds.
    #>
    param(
        [Parameter(Mandatory = $true)] $Client,
        [Parameter(Mandatory = $true)][AllowEmptyCollection()][string[]] $Database,
        [double] $TimeoutSeconds = 3600
    )
    $found = ConvertTo-CountTable -Table @{}
    $before = $Client.ReadMilliseconds
    $Client.ReadMilliseconds = [int](1000 * $TimeoutSeconds)
    try {
        foreach ($name in $Database) {
            foreach ($collection in $Client.ListCollections($name)) {
                if (-not (Test-DumpedCollection -Database $name -Name $collection.Name -Type $collection.Type)) {
                    continue
                }
                $found["$name.$($collection.Name)"] = [long]$Client.Count($name, $collection.Name)
            }
        }
    }
    finally { $Client.ReadMilliseconds = $before }
    $found
}

function Compare-DocumentCount {
    <#
    .SYNOPSIS
    Compares two tables as Get-DocumentCount returns them. Returns a text for each of the first 20 differences, and one
    with the number of the others. Returns nothing if the tables are equal.
    #>
    param(
        [Parameter(Mandatory = $true)][hashtable] $Expected,
        [Parameter(Mandatory = $true)][hashtable] $Found
    )
    $tables = @($Expected, $Found | ForEach-Object { ConvertTo-CountTable -Table $_ })
    $names = [string[]]@(@($tables[0].get_Keys()) + @($tables[1].get_Keys() | Where-Object {
                -not $tables[0].ContainsKey($_)
            }))
    [Array]::Sort($names, [StringComparer]::Ordinal)
    $texts = @(foreach ($name in $names) {
            if (-not $tables[1].ContainsKey($name)) {
                "$name is missing; $($tables[0][$name]) documents were expected"
            }
            elseif (-not $tables[0].ContainsKey($name)) {
                "$name was not expected; it has $($tables[1][$name]) documents"
            }
            elseif ($tables[0][$name] -ne $tables[1][$name]) {
                "$name has $($tables[1][$name]) documents; $($tables[0][$name]) were expected"
            }
        })
    $texts | Select-Object -First $script:MostDifferences
    $more = $texts.Count - $script:MostDifferences
    if ($more -gt 0) { "and $more more differences" }
}

Export-ModuleMember -Function @(
    'Open-MongoClient', 'Get-MongoProblem', 'Invoke-ScratchMongod', 'Get-DocumentCount', 'Compare-DocumentCount'
)

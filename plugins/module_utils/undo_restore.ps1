# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Finds out how far a restore came that has not ended, and undoes it: renames the old files and folders back, according
# to the journal of the restore (NodeRestore.psm1). The guard, the restore job, recover.yml and restore-service.cmd all
# run this one file. Like the guard, it compiles nothing and loads no other file.
#
# Returns a hashtable: state, why (a sentence) and did (an array of sentences). State is one of
#   committed   the restore is complete; the new server may be started
#   undone      everything is as it was before; the old server may be started
#   unproven    it is not certain what is on the disk; nothing may be started
# It never deletes: files and folders of the restore are renamed.

param(
    # Identity of the restore.
    [Parameter(Mandatory = $true)][string] $RunId,
    [Parameter(Mandatory = $true)][string] $Service
)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

Add-Type -AssemblyName System.ServiceProcess

$state = Join-Path -Path ([Environment]::GetFolderPath('CommonApplicationData')) -ChildPath 'AlteryxOps'
$journalPath = Join-Path -Path $state -ChildPath 'restore.json'
$records = Join-Path -Path $state -ChildPath 'restores'
$utf8 = New-Object System.Text.UTF8Encoding $false
# Another program, such as a virus scanner, may lock a file for a moment.
$patienceSeconds = 30
# Another undo may be running and must end first.
$gateSeconds = 120
$sharingViolation = 32
# Start types of a service.
$automatic, $manual = 2, 3
$did = New-Object System.Collections.ArrayList

function New-Verdict {
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'returns a hashtable')]
    param([string] $State, [string] $Why)
    @{ state = $State; why = $Why; did = $did.ToArray() }
}

function Enter-Gate {
    # Only one undo runs at a time, because guard, job and playbook may start at the same moment, and each checks the
    # disk before it renames. The gate is a file that is opened without sharing. Windows closes it when its process
    # dies. If it cannot be created (a full drive), no other undo has it either.
    $watch = [Diagnostics.Stopwatch]::StartNew()
    while ($true) {
        try {
            return New-Object System.IO.FileStream "$journalPath.gate", ([IO.FileMode]::OpenOrCreate),
            ([IO.FileAccess]::ReadWrite), ([IO.FileShare]::None)
        }
        catch {
            if (($_.Exception.GetBaseException().HResult -band 0xFFFF) -ne $sharingViolation) { return }
            if ($watch.Elapsed.TotalSeconds -ge $gateSeconds) { throw }
        }
        Start-Sleep -Milliseconds 250
    }
}

function Invoke-Again {
    # Runs an action until it succeeds, or until $patienceSeconds are over. Then throws the last error.
    param([scriptblock] $Action)
    $watch = [Diagnostics.Stopwatch]::StartNew()
    while ($true) {
        try { return & $Action }
        catch { if ($watch.Elapsed.TotalSeconds -ge $patienceSeconds) { throw } }
        Start-Sleep -Milliseconds 250
    }
}

function Read-Journal {
    param([string] $Path)
    Invoke-Again -Action {
        $share = [IO.FileShare]::ReadWrite -bor [IO.FileShare]::Delete
        $stream = New-Object System.IO.FileStream $Path, ([IO.FileMode]::Open), ([IO.FileAccess]::Read), $share
        try { $text = (New-Object System.IO.StreamReader $stream, $utf8).ReadToEnd() }
        finally { $stream.Dispose() }
        $journal = ConvertFrom-Json -InputObject $text
        if ($null -eq $journal -or @('prepared', 'begun') -cnotcontains [string]$journal.state) {
            throw "$Path is damaged"
        }
        $journal
    }
}

function Test-Thing { param([string] $Path) [IO.File]::Exists($Path) -or [IO.Directory]::Exists($Path) }

function Move-Thing {
    # Renames a file or a folder. Both names are on the same drive, so nothing is copied.
    param([string] $Path, [string] $Target)
    Invoke-Again -Action {
        if ([IO.Directory]::Exists($Path)) { [IO.Directory]::Move($Path, $Target) }
        else { [IO.File]::Move($Path, $Target) }
    }
    $null = $did.Add("$Path is now $Target")
}

function Get-Fingerprint {
    # The fingerprint that distinguishes a file or folder from the one that replaces it: SHA-256 of the content of a
    # file, or of the names and sizes in a folder; 'unreadable' if it cannot be read.
    param([string] $Path)
    try { Invoke-Again -Action { Read-Fingerprint -Path $Path } }
    catch { 'unreadable' }
}

function Read-Fingerprint {
    param([string] $Path)
    $algorithm = New-Object System.Security.Cryptography.SHA256CryptoServiceProvider
    try {
        if ([IO.File]::Exists($Path)) {
            $stream = New-Object System.IO.FileStream $Path, ([IO.FileMode]::Open), ([IO.FileAccess]::Read),
            ([IO.FileShare]'ReadWrite, Delete')
            try { $bytes = $algorithm.ComputeHash($stream) }
            finally { $stream.Dispose() }
        }
        else {
            $root = New-Object System.IO.DirectoryInfo $Path
            $lines = foreach ($file in $root.GetFiles('*', [IO.SearchOption]::AllDirectories)) {
                '{0} {1}' -f $file.FullName.Substring($root.FullName.Length), $file.Length
            }
            $list = New-Object 'System.Collections.Generic.List[string]'
            foreach ($line in $lines) { $list.Add($line) }
            $list.Sort([StringComparer]::Ordinal)
            $bytes = $algorithm.ComputeHash($utf8.GetBytes(($list.ToArray() -join "`n")))
        }
        [BitConverter]::ToString($bytes).Replace('-', '').ToLowerInvariant()
    }
    finally { $algorithm.Dispose() }
}

function Get-FreeName {
    # The name for a file or folder of the restore that is renamed: the name in the journal, or the first one that is
    # free.
    param($Entry)
    $name = [string]$Entry.new
    if (-not $name) { $name = "$($Entry.path).failed_$RunId" }
    $free = $name
    for ($number = 2; Test-Thing -Path $free; $number++) { $free = "$name.$number" }
    $free
}

function Undo-Entry {
    # Puts back the old file or folder of one path. The state on the disk decides, so that an interrupted undo can be
    # repeated.
    param($Entry)
    $path = [string]$Entry.path
    $away = [string]$Entry.away
    if (Test-Thing -Path $away) {
        if (Test-Thing -Path $path) { Move-Thing -Path $path -Target (Get-FreeName -Entry $Entry) }
        Move-Thing -Path $away -Target $path
    }
    elseif (-not [bool]$Entry.existed -and (Test-Thing -Path $path)) {
        Move-Thing -Path $path -Target (Get-FreeName -Entry $Entry)
    }
    # Either nothing existed at the path before, or the old one is already back. The disk must confirm this.
    if ((Test-Thing -Path $path) -ne [bool]$Entry.existed) { throw "$path is not as it was before the restore" }
    if (-not [bool]$Entry.existed) { return }
    $found = Get-Fingerprint -Path $path
    if ([string]$Entry.fingerprint -ceq 'unreadable' -or $found -ceq [string]$Entry.fingerprint) { return }
    throw "$path has another content than before the restore"
}

function Save-Rename {
    # Windows writes a rename to the disk some seconds later, and in order. So a file that is created and flushed on a
    # drive makes the renames before it on that drive permanent. Best effort: only a power failure could undo a rename.
    param([object[]] $Entries)
    $folders = @($Entries | ForEach-Object { [IO.Path]::GetDirectoryName([string]$_.path) } | Sort-Object -Unique)
    foreach ($folder in $folders) {
        try {
            $path = Join-Path -Path $folder -ChildPath "undo_$RunId.tmp"
            $stream = New-Object System.IO.FileStream $path, ([IO.FileMode]::Create), ([IO.FileAccess]::Write),
            ([IO.FileShare]::None), 4096, ([IO.FileOptions]::DeleteOnClose)
            try {
                $stream.WriteByte(0)
                $stream.Flush($true)
            }
            finally { $stream.Dispose() }
        }
        catch { Write-Verbose -Message "${folder}: $_" }
    }
}

function Complete-Undo {
    # Renames the journal to the record of a restore that was undone.
    $null = [IO.Directory]::CreateDirectory($records)
    Move-Thing -Path $journalPath -Target (Join-Path -Path $records -ChildPath "$RunId.undone.json")
}

function Resume-StartAtBoot {
    # Sets the start type back to automatic when the server is complete. Windows reads it from the registry at boot.
    # After a boot during the restore, the service manager still has the value that it read then, so it is changed there
    # too. Never throws, because a failure must not prevent the start of the service.
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'the undo acts on its own')]
    param([string] $Record)
    try {
        $journal = Read-Journal -Path $Record
        # Only if a restore changed the start type, and it was not changed again since.
        $type = if ($journal.PSObject.Properties['boot_start']) { [int]$journal.boot_start } else { 0 }
        if ($type -ne $automatic) { return }
        $machine = [Microsoft.Win32.RegistryKey]::OpenBaseKey(
            [Microsoft.Win32.RegistryHive]::LocalMachine, [Microsoft.Win32.RegistryView]::Registry64)
        $key = $machine.OpenSubKey("SYSTEM\CurrentControlSet\Services\$Service", $true)
        if ($null -eq $key -or @($manual, $automatic) -notcontains [int]$key.GetValue('Start', 0)) { return }
        $key.SetValue('Start', $automatic, [Microsoft.Win32.RegistryValueKind]::DWord)
        $key.Flush()
        $controller = New-Object System.ServiceProcess.ServiceController $Service
        try { if ([string]$controller.StartType -eq 'Manual') { Set-Service -Name $Service -StartupType 'Automatic' } }
        finally { $controller.Dispose() }
    }
    catch {
        $null = $did.Add("$Service does not start at boot any more, set its start type to Automatic: " +
            $_.Exception.GetBaseException().Message)
    }
}

$gate = $null
try {
    $gate = Enter-Gate
    foreach ($word in 'committed', 'undone') {
        $record = Join-Path -Path $records -ChildPath "$RunId.$word.json"
        if ([IO.File]::Exists($record)) {
            Resume-StartAtBoot -Record $record
            return New-Verdict -State $word -Why "the restore $RunId is $word"
        }
    }
    if (-not [IO.File]::Exists($journalPath)) {
        return New-Verdict -State 'unproven' -Why "the journal $journalPath of the restore $RunId is missing"
    }
    $journal = Read-Journal -Path $journalPath
    if ([string]$journal.run_id -cne $RunId) {
        return New-Verdict -State 'unproven' -Why "the journal $journalPath belongs to the restore $($journal.run_id)"
    }
    if ($journal.state -ceq 'begun') {
        $controller = New-Object System.ServiceProcess.ServiceController $Service
        try { $status = [string]$controller.Status } finally { $controller.Dispose() }
        # Windows reports no status of a service that does not exist.
        if ($status -and $status -ne 'Stopped') {
            return New-Verdict -State 'unproven' -Why "$Service is $status, so its files are in use"
        }
        # In an array, because Windows PowerShell does not unroll a list that is the only output.
        $entries = @($journal.entries | Where-Object { $null -ne $_ })
        for ($at = $entries.Count - 1; $at -ge 0; $at--) { Undo-Entry -Entry $entries[$at] }
        Save-Rename -Entries $entries
    }
    Complete-Undo
    Resume-StartAtBoot -Record (Join-Path -Path $records -ChildPath "$RunId.undone.json")
    New-Verdict -State 'undone' -Why "the restore $RunId is undone"
}
catch { New-Verdict -State 'unproven' -Why $_.Exception.GetBaseException().Message }
finally { if ($null -ne $gate) { $gate.Dispose() } }

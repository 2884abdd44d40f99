# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Copies the files of one backup to each destination, one after the other, or tests whether they could be copied. A
# failure at one destination does not affect the others. A file has a temporary name until it was read back from the
# destination. The .sha256 file is copied last, so where it exists, the copy is complete. No file is ever overwritten.

param([Parameter(Mandatory = $true)] $Spec)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

Import-NodeType -Name 'ShareAccount', 'FileCopier'

# The archive job writes three lines, so a longer file is not its .sha256 file.
$longestSidecar = 65536

# Errors of Windows for a name that is taken.
$existsCodes = 80, 183

$progress = @{ phase = ''; name = ''; watch = $null }
$onTick = {
    # Reports the progress of the current file: bytes, size and rate.
    param([long] $Done, [long] $Total)
    Assert-JobWanted
    if (-not $progress.phase) { return }
    $rate = $Done / [Math]::Max(0.1, $progress.watch.Elapsed.TotalSeconds) / 1000000
    $text = '{0}, {1} MB/s' -f $progress.name, $rate.ToString('0.0', [Globalization.CultureInfo]::InvariantCulture)
    Write-JobStatus -Phase $progress.phase -DoneBytes $Done -TotalBytes $Total -Message $text
}

function Get-CopyFailure {
    # Describes a failure for the operator: reason, message, and whether another attempt may help.
    param([System.Management.Automation.ErrorRecord] $ErrorRecord)
    for ($cause = $ErrorRecord.Exception; $null -ne $cause; $cause = $cause.InnerException) {
        if ($cause -isnot [AlteryxOps.CopyException]) { continue }
        if ($cause.IsSource) { return @{ reason = 'archive_bad'; message = $cause.Message; helps = $false } }
        $reason = if ($existsCodes -contains $cause.Code) { 'copy_exists' } else { Get-ShareReason -Code $cause.Code }
        if (-not $reason) { $reason = 'copy_failed' }
        # A log-in that is tried again locks an account, and waiting makes no room.
        $helps = 'destination_unreachable', 'copy_failed' -contains $reason
        return @{ reason = $reason; message = $cause.Message; helps = $helps }
    }
    $failure = Get-NodeFailure -ErrorRecord $ErrorRecord
    if ($failure.reason -eq 'unexpected') { $failure.reason = 'copy_failed' }
    @{ reason = $failure.reason; message = $failure.message; helps = $false }
}

function Open-Target {
    # Makes the object that works at a destination in a separate thread. The password is not an argument of a command,
    # because Windows may record arguments.
    param($Destination, [double] $StallSeconds)
    $target = New-Object AlteryxOps.CopyTarget
    $target.User = $Destination.user
    $target.Domain = $(if ($Destination.domain) { $Destination.domain } else { [NullString]::Value })
    $target.Password = $Destination.password
    $target.StallSeconds = $StallSeconds
    $target.BytesPerSecond = $Destination.bytes_per_second
    $target.Tick = $onTick
    Start-Progress
    $target
}

function Read-Sidecar {
    # The files of the backup, in the order in which they get their final names: hashtables with name, path, sha256 and
    # bytes.
    $path = "$base.sha256"
    if (-not [IO.File]::Exists($path)) {
        throw (New-NodeFailure -Reason 'archive_incomplete' -Message "$path is missing, so the archive is not complete")
    }
    if ((New-Object System.IO.FileInfo $path).Length -gt $longestSidecar) {
        throw (New-NodeFailure -Reason 'archive_bad' -Message "$path has more than $longestSidecar bytes")
    }
    $text = Read-NodeText -Path $path
    $said = @{}
    foreach ($line in $text.Split([char[]]@("`n"), [StringSplitOptions]::RemoveEmptyEntries)) {
        # Only names of this backup are accepted: another name could point to any file on the node.
        $known = $line.TrimEnd() -cmatch '^([0-9a-f]{64}) \*(.+)\.(zip|manifest\.json|secrets\.pem)$'
        if (-not $known -or $Matches[2] -cne $Spec.base_name) {
            throw (New-NodeFailure -Reason 'archive_bad' -Message "$path has a line that is not of this backup: $line")
        }
        $said[$Matches[3]] = $Matches[1]
    }
    $said['sha256'] = Get-TextSha256 -Text $text
    foreach ($ending in 'manifest.json', 'secrets.pem', 'zip', 'sha256') {
        if (-not $said.ContainsKey($ending)) {
            if ($ending -eq 'secrets.pem') { continue }
            throw (New-NodeFailure -Reason 'archive_bad' -Message "$path does not name $($Spec.base_name).$ending")
        }
        $file = "$base.$ending"
        if (-not [IO.File]::Exists($file)) {
            throw (New-NodeFailure -Reason 'archive_incomplete' -Message "$file is missing")
        }
        @{
            name = "$($Spec.base_name).$ending"; path = $file; sha256 = $said[$ending]
            bytes = (New-Object System.IO.FileInfo $file).Length
        }
    }
}

function Read-Verdict {
    # The verdict of the newest verification of the archive; nothing if the archive was not verified.
    $newest = ''
    foreach ($path in [IO.Directory]::GetFiles($Spec.folder, "$($Spec.base_name).verify_*.json")) {
        if ([string]::CompareOrdinal($path, $newest) -gt 0) { $newest = $path }
    }
    if (-not $newest) { return }
    try { ConvertFrom-Json -InputObject (Read-NodeText -Path $newest) }
    catch { Write-JobLog -Level 'WARNING' -Text "$newest cannot be read: $($_.Exception.GetBaseException().Message)" }
}

function Start-Progress {
    # Sets the phase and the name under which the progress at the destination is reported from now on. Without a phase,
    # no progress is reported, and the job only checks whether it was cancelled.
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'changes a variable')]
    param([string] $Phase = '', [string] $Name = '')
    $progress.phase = $Phase
    $progress.name = $Name
    $progress.watch = [Diagnostics.Stopwatch]::StartNew()
}

function Test-SameFile {
    # Is the file already at the destination? Throws copy_exists if a different file has its name.
    param($Target, [string] $Path, $File, $Copy)
    $size = $Target.Size($Path)
    if ($size -lt 0) { return $false }
    $same = $size -eq $File.bytes
    if ($same) {
        Start-Progress -Phase "compare $($Copy.destination)" -Name $File.name
        $read = $Target.Hash($Path)
        Add-Readback -Copy $Copy -Read $read
        $same = $read.Sha256 -ceq $File.sha256
    }
    if ($same) { return $true }
    throw (New-NodeFailure -Reason 'copy_exists' -Message (
            "$Path exists already, is another file and is not overwritten"))
}

function Add-Readback {
    param($Copy, $Read)
    $Copy.read_bytes += $Read.Bytes
    # If one file was read from the cache, the result for the whole copy is "cached".
    $how = if ($Read.IsUncached) { 'uncached' } else { 'cached' }
    if ($Copy.readback -ne 'cached') { $Copy.readback = $how }
}

function Send-File {
    # Copies a file under its temporary name. A part that an earlier attempt has left is used. If the file then has a
    # wrong hash, it is copied again from the beginning.
    param($Target, [string] $Partial, $File, $Copy)
    foreach ($isTrusted in $true, $false) {
        Start-Progress -Phase "copy to $($Copy.destination)" -Name $File.name
        $watch = [Diagnostics.Stopwatch]::StartNew()
        $before = $Target.Size($Partial)
        try { $sent = $Target.Copy($File.path, $Partial, $isTrusted) }
        finally {
            $Copy.send_seconds += $watch.Elapsed.TotalSeconds
            $Copy.sent_bytes += $Target.Sent
        }
        $Copy.resumed_bytes += $sent.Kept
        $Copy.again_bytes += $sent.Dropped
        if ($sent.Kept) {
            Write-JobLog -Text (
                '{0}: {1} was continued at byte {2}; {3} bytes were there' -f
                $Copy.destination, $File.name, $sent.Kept, $before)
        }
        if ($sent.Sha256 -ceq $File.sha256) { return }
        if ($sent.Kept -eq 0) { break }
        Write-JobLog -Level 'WARNING' -Text (
            "$($Copy.destination): what was there of $($File.name) is not a part of it, so all of it is sent again")
        $Copy.resumed_bytes -= $sent.Kept
        $Copy.again_bytes += $sent.Kept
    }
    throw (New-NodeFailure -Reason 'archive_bad' -Message (
            "$($File.path) does not have the SHA-256 of the .sha256 file any more, so it is not copied"))
}

function Copy-Once {
    # Makes one attempt; throws if it fails. Done: the names of the files that are complete at the destination.
    param($Target, $Destination, $Files, $Done, $Copy)
    $Target.Check($Destination.path)
    $null = $Target.MakeFolder($Destination.path, $Spec.below)
    $folder = $Copy.folder
    foreach ($file in $Files) {
        if ($Done -contains $file.name) { continue }
        if (Test-SameFile -Target $Target -Path "$folder\$($file.name)" -File $file -Copy $Copy) {
            $null = $Done.Add($file.name)
        }
    }
    $todo = @($Files | Where-Object { $Done -notcontains $_.name })
    Assert-Room -Target $Target -Folder $folder -Files $todo
    foreach ($file in $todo) {
        $partial = "$folder\$($file.name).partial"
        Send-File -Target $Target -Partial $partial -File $file -Copy $Copy
        if ($Destination.readback -eq 'none') { continue }
        Start-Progress -Phase "read back from $($Copy.destination)" -Name $file.name
        $read = $Target.Hash($partial)
        Add-Readback -Copy $Copy -Read $read
        if ($read.Sha256 -cne $file.sha256) {
            throw (New-NodeFailure -Reason 'copy_differs' -Message (
                    "$partial was written and flushed, but what is read back has another SHA-256"))
        }
    }
    # The .sha256 file is the last one in the list.
    foreach ($file in $todo) {
        $Target.Rename("$folder\$($file.name).partial", "$folder\$($file.name)")
        $null = $Done.Add($file.name)
    }
    if ($todo.Count) { $Copy.state = 'copied' }
    else { $Copy.state = 'present' }
}

function Assert-Room {
    # Throws before any byte is sent, if Windows reports that there is not enough free space.
    param($Target, [string] $Folder, $Files)
    [long] $need = 0
    foreach ($file in $Files) {
        $need += [Math]::Max([long]0, $file.bytes - [Math]::Max([long]0, $Target.Size("$Folder\$($file.name).partial")))
    }
    $free = $Target.FreeBytes($Folder)
    if ($free -lt 0 -or $free -ge $need) { return }
    throw (New-NodeFailure -Reason 'destination_full' -Message "$Folder has $free bytes free, needed are $need bytes")
}

function Save-Verdict {
    # Writes a verdict beside the copy. The documents were checked when the archive was verified, and the copy has the
    # same bytes. Never throws, because the copy is good without its verdict.
    param($Target, $Copy)
    $name = '{0}.verify_{1}.json' -f $Spec.base_name, $Spec.stamp
    $isKnown = $null -ne $verdict -and $verdict.verdict -eq 'good' -and $verdict.archive_sha256 -ceq $archive.sha256
    # If the archive was not verified, only the equality of the bytes is known.
    if (-not $isKnown -or $Copy.readback -eq 'none') { return }
    $how = if ($Copy.readback -eq 'uncached') { 'past the cache of the node' } else { 'through the cache of the node' }
    $words = [ordered]@{
        schema = 1
        archive = $archive.name
        archive_sha256 = $archive.sha256
        run_id = [string]$verdict.run_id
        started = $Spec.stamp -replace '^(\d{4})(\d\d)(\d\d)_(\d\d)(\d\d)(\d\d)$', '$1-$2-$3T$4:$5:$6.000Z'
        verified = Get-UtcText
        method = "copied by the node, every byte read back $how against the .sha256 file; " +
        'entries and documents as in the archive that was copied'
        verdict = 'good'
        entries = [long]$verdict.entries
        bytes = [long]$Copy.read_bytes
        collections = [long]$verdict.collections
        documents = [long]$verdict.documents
        problems = @()
        problems_total = 0
        seconds = [Math]::Round($Copy.seconds, 3)
    }
    try {
        $text = (ConvertTo-NodeDocument -InputObject $words) + "`n"
        $Target.Write("$($Copy.folder)\$name", [Text.Encoding]::UTF8.GetBytes($text))
    }
    catch {
        $why = $_.Exception.GetBaseException().Message
        Write-JobLog -Level 'WARNING' -Text "$($Copy.destination): the verdict of the copy was not written: $why"
    }
}

function Remove-Partial {
    # Removes files that only take up space. Never throws.
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'the job has no check mode')]
    param($Destination, $Files, $Copy)
    $target = Open-Target -Destination $Destination -StallSeconds 60
    try {
        foreach ($file in $Files) { $target.Delete("$($Copy.folder)\$($file.name).partial") }
    }
    catch { Write-JobLog -Level 'WARNING' -Text "$($Copy.destination): $($_.Exception.GetBaseException().Message)" }
    finally { $target.Dispose() }
}

function Wait-Attempt {
    param([double] $Seconds, $Copy)
    $watch = [Diagnostics.Stopwatch]::StartNew()
    while ($watch.Elapsed.TotalSeconds -lt $Seconds) {
        Assert-JobWanted
        Write-JobStatus -Phase "wait for $($Copy.destination)"
        Start-Sleep -Milliseconds 200
    }
}

function Copy-Backup {
    # Copies to one destination, with several attempts. Returns the result.
    param($Destination, $Files, [string] $Damage)
    $copy = @{
        destination = $Destination.name; folder = "$($Destination.path.TrimEnd('\'))\$($Spec.below)"; state = 'failed'
        reason = ''; message = ''; attempts = 0; bytes = [long]0; sent_bytes = [long]0; resumed_bytes = [long]0
        again_bytes = [long]0; read_bytes = [long]0; seconds = 0.0; send_seconds = 0.0; rate = 0.0; readback = 'none'
    }
    foreach ($file in $Files) { $copy.bytes += $file.bytes }
    if ($Damage) {
        $copy.reason = 'archive_bad'
        $copy.message = $Damage
        return $copy
    }
    $done = New-Object System.Collections.ArrayList
    $watch = [Diagnostics.Stopwatch]::StartNew()
    while ($true) {
        $copy.attempts++
        $target = Open-Target -Destination $Destination -StallSeconds $Spec.stall_seconds
        try {
            Copy-Once -Target $target -Destination $Destination -Files $Files -Done $done -Copy $copy
            $copy.seconds = $watch.Elapsed.TotalSeconds
            Save-Verdict -Target $target -Copy $copy
            break
        }
        catch {
            if (Test-JobCancelled) { throw }
            $failure = Get-CopyFailure -ErrorRecord $_
            if (-not $failure.helps -or $copy.attempts -gt $Spec.retries) {
                $copy.reason = $failure.reason
                $copy.message = $failure.message
                break
            }
            # The random part prevents that many nodes that lost the same server connect to it again at the same moment.
            $jitter = 0.75 + 0.5 * $random.NextDouble()
            $pause = $Spec.retry_seconds * [Math]::Pow(2, $copy.attempts - 1) * $jitter
            Write-JobLog -Level 'WARNING' -Text (
                '{0}: {1}; next attempt in {2} s' -f $copy.destination, $failure.message, [int]$pause)
            Wait-Attempt -Seconds $pause -Copy $copy
        }
        finally { $target.Dispose() }
    }
    $copy.seconds = [Math]::Round($watch.Elapsed.TotalSeconds, 3)
    $copy.send_seconds = [Math]::Round($copy.send_seconds, 3)
    if ($copy.send_seconds -gt 0) { $copy.rate = [Math]::Round($copy.sent_bytes / $copy.send_seconds) }
    # After a lost connection, partial files stay, so that the next copy of this backup can continue with them.
    if ('destination_full', 'copy_differs', 'archive_bad' -contains $copy.reason) {
        Remove-Partial -Destination $Destination -Files $Files -Copy $copy
    }
    if ($copy.reason) { Write-JobLog -Level 'ERROR' -Text "$($copy.destination): $($copy.message)" }
    else { Write-JobLog -Text "$($copy.destination): $($copy.folder) has the backup ($($copy.state))" }
    $copy
}

function Test-Destination {
    # Writes, reads and deletes a small file in the folder of the copy. Returns the result.
    param($Destination)
    $copy = @{
        destination = $Destination.name; folder = "$($Destination.path.TrimEnd('\'))\$($Spec.below)"; state = 'failed'
        reason = ''; message = ''; free_bytes = [long](-1); seconds = 0.0
    }
    $watch = [Diagnostics.Stopwatch]::StartNew()
    Write-JobStatus -Phase "try $($copy.destination)"
    $trial = '.alteryx-trial-{0}.tmp' -f [Guid]::NewGuid().ToString('N')
    $target = Open-Target -Destination $Destination -StallSeconds $Spec.stall_seconds
    try {
        $target.Check($Destination.path)
        $made = $target.MakeFolder($Destination.path, $Spec.below)
        try {
            $bytes = [Text.Encoding]::ASCII.GetBytes($trial)
            $target.Write("$($copy.folder)\$trial", $bytes)
            try {
                # The destination is the archive directory under another name: through a junction or a share of the node
                # itself.
                $isOwn = [IO.File]::Exists((Join-Path -Path $Spec.archive_directory -ChildPath "$($Spec.below)\$trial"))
                if ($isOwn) {
                    throw (New-NodeFailure -Reason 'destination_invalid' -Message (
                            "$($Destination.path) is the archive directory $($Spec.archive_directory) by another name"))
                }
                if ($target.Hash("$($copy.folder)\$trial").Sha256 -cne (Get-TextSha256 -Text $trial)) {
                    throw (New-NodeFailure -Reason 'copy_differs' -Message (
                            "$($copy.folder)\$trial was written, but what is read back is not the same"))
                }
            }
            finally { $target.Delete("$($copy.folder)\$trial") }
            $copy.free_bytes = $target.FreeBytes($copy.folder)
            $copy.state = 'usable'
        }
        finally { $target.RemoveFolders($made) }
    }
    catch {
        if (Test-JobCancelled) { throw }
        $failure = Get-CopyFailure -ErrorRecord $_
        $copy.state = 'failed'
        $copy.reason = $failure.reason
        $copy.message = $failure.message
    }
    finally { $target.Dispose() }
    $copy.seconds = [Math]::Round($watch.Elapsed.TotalSeconds, 3)
    $copy
}

$copies = New-Object System.Collections.ArrayList
if ($Spec.only_try) {
    foreach ($destination in $Spec.destinations) {
        $tried = Test-Destination -Destination $destination
        $null = $copies.Add($tried)
        if ($tried.state -eq 'usable') {
            Write-JobLog -Text "$($destination.name): a file was written, read and deleted in $($destination.path)"
        }
        Assert-JobWanted
    }
    return @{ copies = $copies.ToArray() }
}

$base = Join-Path -Path $Spec.folder -ChildPath $Spec.base_name
$random = New-Object System.Random
if (-not [IO.File]::Exists("$base.sha256") -and -not [IO.File]::Exists("$base.zip")) {
    throw (New-NodeFailure -Reason 'backup_unknown' -Message "$($Spec.folder) has no backup $($Spec.base_name)")
}
$files = @(Read-Sidecar)
$archive = $files | Where-Object { $_.name -ceq "$($Spec.base_name).zip" }
$verdict = Read-Verdict
if ($null -ne $verdict -and $verdict.verdict -eq 'bad') {
    throw (New-NodeFailure -Reason 'archive_bad' -Message (
            "$($Spec.base_name).zip was found to be bad by its last verification, so it is not copied"))
}
$damage = ''
foreach ($destination in $Spec.destinations) {
    # The archive itself is damaged, so the copy would fail at every destination.
    $copy = Copy-Backup -Destination $destination -Files $files -Damage $damage
    if ($copy.reason -eq 'archive_bad') { $damage = $copy.message }
    $null = $copies.Add($copy)
}
$failed = @($copies | Where-Object { $_.state -eq 'failed' })
if ($failed.Count) {
    $texts = @($failed | ForEach-Object { "$($_.destination): $($_.message)" })
    throw (New-NodeFailure -Reason $failed[0].reason -Detail @{ copies = $copies.ToArray() } -Message (
            '{0} of {1} destinations have no copy of {2}: {3}' -f
            $failed.Count, @($Spec.destinations).Count, $Spec.base_name, ($texts -join '; ')))
}
@{ copies = $copies.ToArray() }

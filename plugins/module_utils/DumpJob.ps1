# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The dump of a self-managed MongoDB while every service runs. No lease: nothing is stopped.

param([Parameter(Mandatory = $true)] $Spec)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

# It holds the passwords, and this process has read them.
[IO.File]::Delete($specPath)

$stagingDrive = New-Object System.IO.DriveInfo $Spec.dump_folder.Substring(0, 1)
$watch = [Diagnostics.Stopwatch]::StartNew()
$look = @{ next = 0.0 }

function Get-ReasonToEnd {
    if ($watch.Elapsed.TotalSeconds -lt $look.next) { return '' }
    $look.next = $watch.Elapsed.TotalSeconds + 1
    try { if ($stagingDrive.AvailableFreeSpace -lt $Spec.space_reserve) { return 'space_reserve' } }
    catch { Write-Verbose -Message "free space: $_" }
    try { Write-JobStatus -DoneBytes (Get-FolderByteCount -Path $Spec.dump_folder) -TotalBytes $Spec.expected_bytes }
    catch { Write-Verbose -Message "size of the dump: $_" }
    ''
}

$messages = @{
    space_reserve = "less than $($Spec.space_reserve) bytes are free on the drive of $($Spec.dump_folder), so the dump was ended"
    dump_timeout = "mongodump was ended because it was not done within $($Spec.dump_timeout) s"
}

if ([IO.Directory]::Exists($Spec.dump_folder)) {
    throw (New-NodeFailure -Reason 'staging_in_use' -Message "The dump folder $($Spec.dump_folder) exists already")
}
$null = New-RunStaging -Root $Spec.staging_directory -RunId $Spec.run_id
$null = [IO.Directory]::CreateDirectory($Spec.dump_folder)

Write-JobStatus -Phase 'dump' -TotalBytes $Spec.expected_bytes
Write-JobLog -Text "dumping to $($Spec.dump_folder)"
$dump = Invoke-Mongodump -Tool $Spec.tool -Dumps @($Spec.dumps) -ConfigPath $Spec.config_path -TimeoutSeconds $Spec.dump_timeout -OnTick { Get-ReasonToEnd }
$detail = @{
    dump_folder = [string]$Spec.dump_folder
    exit_code = $dump.exit_code
    output = Hide-Secret -Text ($dump.stdout + $dump.stderr)
    files = @(Get-FolderFile -Path $Spec.dump_folder | ForEach-Object { @{ path = $_.path; bytes = $_.bytes } })
}
$ended = if ($dump.stopped_because) { $dump.stopped_because } elseif ($dump.timed_out) { 'dump_timeout' } else { '' }
if ($ended) { throw (New-NodeFailure -Reason $ended -Detail $detail -Message $messages[$ended]) }
$detail

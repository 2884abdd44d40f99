# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Dumps a self-managed MongoDB while all services run. It needs no lease, because it does not stop a service.

param([Parameter(Mandatory = $true)] $Spec)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$watch = [Diagnostics.Stopwatch]::StartNew()
$look = @{ next = 0.0 }

function Get-ReasonToEnd {
    if (Test-JobCancelled) { return 'job_died' }
    if ($watch.Elapsed.TotalSeconds -lt $look.next) { return '' }
    $look.next = $watch.Elapsed.TotalSeconds + 1
    if (Test-SpaceBelow -Path $Spec.dump_folder -Bytes $Spec.space_reserve) { return 'space_reserve' }
    Write-DumpProgress -Path $Spec.dump_folder
    ''
}

$messages = @{
    job_died = 'The job was cancelled during the dump'
    space_reserve = "less than $($Spec.space_reserve) bytes are free on the drive of $($Spec.dump_folder), " +
    'so the dump was ended'
    dump_timeout = "mongodump was ended because it was not done within $($Spec.dump_timeout) s"
}

if ([IO.Directory]::Exists($Spec.dump_folder)) {
    throw (New-NodeFailure -Reason 'staging_in_use' -Message "The dump folder $($Spec.dump_folder) exists already")
}
$null = New-RunStaging -Root $Spec.staging_directory -RunId $Spec.run_id
$null = [IO.Directory]::CreateDirectory($Spec.dump_folder)

Write-JobStatus -Phase 'dump'
Write-JobLog -Text "dumping to $($Spec.dump_folder)"
$dump = Invoke-Mongodump -Tool $Spec.tool -Dumps @($Spec.dumps) -ConfigPath $Spec.config_path `
    -TimeoutSeconds $Spec.dump_timeout -OnTick { Get-ReasonToEnd }
if ($dump.left) { Write-JobLog -Level 'WARNING' -Text $dump.left }
$detail = @{
    dump_folder = [string]$Spec.dump_folder
    exit_code = $dump.exit_code
    output = Hide-Secret -Text ($dump.stdout + $dump.stderr)
    files = @(Get-FolderFile -Path $Spec.dump_folder)
}
$ended = if ($dump.stopped_because) { $dump.stopped_because } elseif ($dump.timed_out) { 'dump_timeout' } else { '' }
Save-DumpRecord -Memo $Spec.memo -Reason $ended -Detail $detail
if ($ended) { throw (New-NodeFailure -Reason $ended -Detail $detail -Message $messages[$ended]) }
$detail

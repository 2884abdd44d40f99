# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeFiles
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeDisk
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeClock

# The staging folder of a run: its paths, its permissions, the record of its dump, and the folders that interrupted runs
# have left. The paths are the same as in plugin_utils/_core/paths.py.
#
#   <staging>\<run>\files       everything that goes into the archive; the dump is in files\database
#                  \dump.json   the record of a dump that has ended: the result of its job, and what the archive needs
#                               from the control node (memo, a JSON text). It is deleted when the archive has been
#                               verified. So where it exists, the dump is not in a verified archive yet.

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$script:RecordName = 'dump.json'

function Test-RunId {
    <# .SYNOPSIS
    Does a text have the form of a run ID, such as Full_20260901_020000_7f3a? #>
    param([Parameter(Mandatory = $true)][AllowEmptyString()][string] $Text)
    $Text -cmatch '^(Full|DB|Config|Restore)_[0-9]{8}_[0-9]{6}_[0-9a-f]{4}\z'
}

function Test-DumpRecord {
    <# .SYNOPSIS
    Does the staging folder of a run hold a dump that is not in a verified archive yet? #>
    param([Parameter(Mandatory = $true)][string] $Staging)
    [IO.File]::Exists((Join-Path -Path $Staging -ChildPath $script:RecordName))
}

function Write-DumpRecord {
    <#
    .SYNOPSIS
    Records a dump that has ended, so that recover.yml or another run can archive it if this run dies. Reason says why
    the job fails; it is empty if the job succeeds.
    #>
    param(
        [Parameter(Mandatory = $true)][string] $Staging,
        [Parameter(Mandatory = $true)][AllowEmptyString()][string] $Memo,
        [Parameter(Mandatory = $true)][AllowEmptyString()][string] $Reason,
        [Parameter(Mandatory = $true)][hashtable] $Detail
    )
    $record = @{
        schema = 1; memo = $Memo; reason = $Reason; detail = $Detail; ended = Get-UtcText
    }
    $path = Join-Path -Path $Staging -ChildPath $script:RecordName
    Write-NodeText -Path "$path.new" -Text (ConvertTo-NodeJson -InputObject $record)
    Move-NodeFile -Path "$path.new" -Target $path -Seconds 60
}

function Read-DumpRecord {
    <# .SYNOPSIS
    The record of a dump, as JSON text. #>
    param([Parameter(Mandatory = $true)][string] $Staging)
    $path = Join-Path -Path $Staging -ChildPath $script:RecordName
    Invoke-Patiently -Seconds 10 -Action { Read-NodeText -Path $path } -IsHopeless { -not [IO.File]::Exists($path) }
}

function Move-DumpRecord {
    <# .SYNOPSIS
    Moves the record of a dump to the staging folder that the dump was moved to. #>
    param([Parameter(Mandatory = $true)][string] $Staging, [Parameter(Mandatory = $true)][string] $Target)
    $from, $to = @($Staging, $Target) | ForEach-Object { Join-Path -Path $_ -ChildPath $script:RecordName }
    Move-NodeFile -Path $from -Target $to -Seconds 60
}

function Move-RunDump {
    <#
    .SYNOPSIS
    Moves the dump of a dead run and its record to the staging folder of this run. Both folders are on the same drive,
    so nothing is copied.
    #>
    param(
        [Parameter(Mandatory = $true)][string] $Root,
        [Parameter(Mandatory = $true)][string] $From,
        [Parameter(Mandatory = $true)][string] $RunId
    )
    $source = @{ Root = $Root; RunId = $From }
    $target = @{ Root = $Root; RunId = $RunId }
    $null = New-RunStaging @target
    $null = [IO.Directory]::CreateDirectory((Get-StagingPath @target -Part 'files'))
    # A virus scanner may keep a file open for a moment, so this is tried for a minute.
    $dump = Get-StagingPath @source -Part 'dump'
    Move-NodeFile -Path $dump -Target (Get-StagingPath @target -Part 'dump') -Seconds 60
    if (Test-DumpRecord -Staging (Get-StagingPath @source)) {
        Move-DumpRecord -Staging (Get-StagingPath @source) -Target (Get-StagingPath @target)
    }
    # If this fails, the next run deletes the folder.
    try { Remove-NodeFolder -Path (Get-StagingPath @source) }
    catch { Write-Verbose -Message "the staging folder of $From could not be deleted: $_" }
}

function Remove-DumpRecord {
    <# .SYNOPSIS
    Deletes the record of a dump, because its archive has been verified. #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'callers check')]
    param([Parameter(Mandatory = $true)][string] $Staging)
    Remove-NodeFile -Path (Join-Path -Path $Staging -ChildPath $script:RecordName) -Seconds 60
}

function Get-StaleStaging {
    <#
    .SYNOPSIS
    The folders below Root that runs other than those named have left. A folder whose name is not a run ID does not
    belong to this collection and is not listed.
    #>
    param(
        [Parameter(Mandatory = $true)][string] $Root,
        [Parameter(Mandatory = $true)][AllowEmptyString()][string[]] $RunId
    )
    if (-not [IO.Directory]::Exists($Root)) { return }
    foreach ($folder in [IO.Directory]::GetDirectories($Root)) {
        $name = [IO.Path]::GetFileName($folder)
        if ((Test-RunId -Text $name) -and $RunId -cnotcontains $name) { $folder }
    }
}

function Get-StagingPath {
    <#
    .SYNOPSIS
    The folder of a run below Root, or a part of it: files (the content of the archive), dump (part of the files),
    secrets (the encrypted file).
    #>
    param(
        [Parameter(Mandatory = $true)][string] $Root,
        [Parameter(Mandatory = $true)][string] $RunId,
        [ValidateSet('files', 'dump', 'secrets')][string] $Part
    )
    $path = Join-Path -Path $Root -ChildPath $RunId
    switch ($Part) {
        'files' { $path = Join-Path -Path $path -ChildPath 'files' }
        'dump' { $path = Join-Path -Path $path -ChildPath 'files\database' }
        'secrets' { $path = Join-Path -Path $path -ChildPath 'secrets.pem' }
    }
    $path
}

function New-RunStaging {
    <#
    .SYNOPSIS
    Creates <Root>\<RunId>, SYSTEM and Administrators only, and returns it.
    #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'callers check')]
    param(
        [Parameter(Mandatory = $true)][string] $Root,
        [Parameter(Mandatory = $true)][string] $RunId
    )
    New-ProtectedFolder -Path $Root
    $own = Get-StagingPath -Root $Root -RunId $RunId
    New-ProtectedFolder -Path $own
    $own
}

Export-ModuleMember -Function @(
    'Test-RunId', 'Get-StagingPath', 'Get-StaleStaging', 'New-RunStaging', 'Test-DumpRecord', 'Write-DumpRecord',
    'Read-DumpRecord', 'Move-RunDump', 'Remove-DumpRecord'
)

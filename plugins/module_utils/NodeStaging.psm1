# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeFiles
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeDisk
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeClock

# The staging folder of a run: what is in it, protected before the first byte, and what dead runs left is swept. The
# paths are those of plugin_utils/_core/paths.py, which tells the jobs theirs.
#
#   <staging>\<run>\files       what goes into the archive; the dump in files\database
#                  \dump.json   the record of a dump that has ended: what its job reports and what an archive of it
#                               needs (memo: JSON text of the control node). It is deleted when the archive was
#                               verified, so a record means a dump that is in no archive yet.

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$script:RecordName = 'dump.json'

function Test-RunId {
    <# .SYNOPSIS
    Does a text have the form of a run ID, such as Full_20260901_020000_7f3a? #>
    param([Parameter(Mandatory = $true)][AllowEmptyString()][string] $Text)
    $Text -cmatch '^(Full|DB|Config)_[0-9]{8}_[0-9]{6}_[0-9a-f]{4}\z'
}

function Test-DumpRecord {
    <# .SYNOPSIS
    Does this staging folder of a run hold a dump that is in no archive yet? #>
    param([Parameter(Mandatory = $true)][string] $Staging)
    [IO.File]::Exists((Join-Path -Path $Staging -ChildPath $script:RecordName))
}

function Write-DumpRecord {
    <#
    .SYNOPSIS
    Records a dump that has ended, so that somebody else can archive it if the control node dies. Reason says why the
    job fails; it is empty when it does not.
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
    Takes the record of a dump to the staging folder that the dump has been moved to. #>
    param([Parameter(Mandatory = $true)][string] $Staging, [Parameter(Mandatory = $true)][string] $Target)
    $from, $to = @($Staging, $Target) | ForEach-Object { Join-Path -Path $_ -ChildPath $script:RecordName }
    Move-NodeFile -Path $from -Target $to -Seconds 60
}

function Move-RunDump {
    <#
    .SYNOPSIS
    The dump of a dead run and its record become those of this run. On one drive that is a rename.
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
    # A scanner that holds a file of it for a moment is no reason to lose it.
    $dump = Get-StagingPath @source -Part 'dump'
    Move-NodeFile -Path $dump -Target (Get-StagingPath @target -Part 'dump') -Seconds 60
    if (Test-DumpRecord -Staging (Get-StagingPath @source)) {
        Move-DumpRecord -Staging (Get-StagingPath @source) -Target (Get-StagingPath @target)
    }
    # What stays here is swept by the next run.
    try { Remove-NodeFolder -Path (Get-StagingPath @source) }
    catch { Write-Verbose -Message "the staging folder of $From is left behind: $_" }
}

function Remove-DumpRecord {
    <# .SYNOPSIS
    Forgets the record of a dump, because its archive was verified. #>
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
    The folder of a run below Root, or a part of it: files (what becomes the archive), dump (part of the files), secrets
    (the encrypted file).
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

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeCatalogue
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeTrust

# Deletes backups of one node in one folder, in the archive directory or at a destination, exactly as a plan names them.
# The order makes a death at any moment harmless:
#
#   1. NAME.prune.json    names the run of the backup, so that the next run knows what to complete
#   2. NAME.sha256 is deleted. From here on the backup counts as incomplete.
#   3. All other files are deleted, the manifest after them, and NAME.prune.json last.
#
# Steps 1 and 2 are done on every node of the fleet before step 3 begins on any.
#
# A planned backup is an object with name, run_id, fleet, mode, started, node, rule, archive_sha256, sidecar_sha256,
# files (name and bytes of everything in the folder of the node) and others (the same, in the folder above it).

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

function Get-PlanProblem {
    <#
    .SYNOPSIS
    How the files of a planned backup differ from the plan, as a sentence; empty if they do not differ. Listing is the
    result of Get-CatalogueFile for Folder.
    #>
    param(
        [Parameter(Mandatory = $true)] $Backup,
        [Parameter(Mandatory = $true)][hashtable] $Listing,
        [Parameter(Mandatory = $true)][string] $Folder
    )
    $found = New-Object 'System.Collections.Generic.Dictionary[string,long]' ([StringComparer]::OrdinalIgnoreCase)
    if ($Listing.bases.ContainsKey($Backup.name)) {
        foreach ($file in $Listing.bases[$Backup.name]) { $found[$file.name] = $file.bytes }
    }
    foreach ($log in $Listing.logs) {
        if (@($Backup.files | Where-Object { $_.name -eq $log.name }).Count) { $found[$log.name] = $log.bytes }
    }
    foreach ($file in $Backup.files) {
        if (-not $found.ContainsKey($file.name)) { return "$($file.name) is not there any more" }
        if ($found[$file.name] -ne [long]$file.bytes) {
            return "$($file.name) has $($found[$file.name]) bytes, not $($file.bytes)"
        }
        $null = $found.Remove($file.name)
    }
    if ($found.Count) { return "$(@($found.Keys)[0]) is new" }
    $sidecar = Join-Path -Path $Folder -ChildPath "$($Backup.name).sha256"
    if ($Backup.sidecar_sha256 -and
        (Get-TextSha256 -Text (Read-CatalogueText -Path $sidecar)) -cne $Backup.sidecar_sha256) {
        return "$($Backup.name).sha256 has other hashes"
    }
    ''
}

function Get-HeldReason {
    <# .SYNOPSIS
    Why the archive of a backup cannot be deleted now: another program has it open, or this account may not delete it.
    Empty if it can be deleted. #>
    param([Parameter(Mandatory = $true)][string] $Folder, [Parameter(Mandatory = $true)][string] $Name)
    $archive = Join-Path -Path $Folder -ChildPath "$Name.zip"
    if (-not [IO.File]::Exists($archive)) { return '' }
    try {
        (New-Object System.IO.FileStream $archive, ([IO.FileMode]::Open), ([IO.FileAccess]::ReadWrite),
            ([IO.FileShare]::None)).Dispose()
        ''
    }
    catch { $_.Exception.GetBaseException().Message }
}

function Assert-AsPlanned {
    <# .SYNOPSIS
    Throws prune_changed if the files of a planned backup differ from the plan. Changes nothing. #>
    param(
        [Parameter(Mandatory = $true)][AllowEmptyCollection()][object[]] $Backup,
        [Parameter(Mandatory = $true)][string] $Folder
    )
    if (-not $Backup.Count) { return }
    if (-not [IO.Directory]::Exists($Folder)) {
        throw (New-NodeFailure -Reason 'prune_changed' -Message "$Folder is not there any more")
    }
    $listing = Get-CatalogueFile -Path $Folder
    foreach ($each in $Backup) {
        $problem = Get-PlanProblem -Backup $each -Listing $listing -Folder $Folder
        if ($problem) {
            throw (New-NodeFailure -Reason 'prune_changed' -Message (
                    "the files of $($each.name) have changed since the plan was made: $problem. Nothing was deleted"))
        }
    }
}

function Start-BackupDeletion {
    <# .SYNOPSIS
    Steps 1 and 2: after them the backup is not complete, and its deletion is recorded. #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'callers check')]
    param([Parameter(Mandatory = $true)] $Backup, [Parameter(Mandatory = $true)][string] $Folder)
    $path = Join-Path -Path $Folder -ChildPath $Backup.name
    if (-not [IO.File]::Exists("$path.prune.json")) {
        $mark = [ordered]@{ schema = 1 }
        foreach ($name in @('run_id', 'fleet', 'mode', 'started', 'node', 'archive_sha256', 'rule')) {
            $mark[$name] = Get-FieldText -InputObject $Backup -Name $name
        }
        $mark['at'] = Get-UtcText
        Write-NodeText -Path "$path.prune.json" -Text ((ConvertTo-NodeDocument -InputObject $mark) + "`n")
    }
    Remove-NodeFile -Path "$path.sha256"
}

function Complete-BackupDeletion {
    <# .SYNOPSIS
    Step 3: removes every file of the plan, the manifest and the record of the deletion last. Root is the folder above
    that of the node. #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'callers check')]
    param(
        [Parameter(Mandatory = $true)] $Backup,
        [Parameter(Mandatory = $true)][string] $Folder,
        [Parameter(Mandatory = $true)][string] $Root
    )
    $last = @("$($Backup.name).manifest.json", "$($Backup.name).prune.json")
    foreach ($file in $Backup.files) {
        if ($last -notcontains $file.name) { Remove-NodeFile -Path (Join-Path -Path $Folder -ChildPath $file.name) }
    }
    foreach ($file in $Backup.others) { Remove-NodeFile -Path (Join-Path -Path $Root -ChildPath $file.name) }
    foreach ($name in $last) { Remove-NodeFile -Path (Join-Path -Path $Folder -ChildPath $name) }
}

function Assert-FileName {
    # A plan names files, never paths.
    param([object[]] $Backup)
    foreach ($each in $Backup) {
        $names = @($each.name) + @(foreach ($file in @($each.files) + @($each.others)) { $file.name })
        foreach ($name in $names) {
            if ([IO.Path]::GetFileName($name) -cne $name) { throw "$name is not the name of a file" }
        }
    }
}

function Invoke-BackupDeletion {
    <#
    .SYNOPSIS
    What the module backup_prune does in one of its states, in one folder. Returns a hashtable with held (a list of name
    and why), did (names), bytes, and problem (a sentence about what could not be deleted; empty for none).
    .DESCRIPTION
    Root is the folder above that of the node. Detail is for the audit log. With Predict nothing is touched.
    #>
    param(
        [Parameter(Mandatory = $true)][string] $State,
        [Parameter(Mandatory = $true)][AllowEmptyCollection()][object[]] $Backup,
        [Parameter(Mandatory = $true)][string] $Folder,
        [Parameter(Mandatory = $true)][string] $Root,
        [Parameter(Mandatory = $true)][AllowEmptyString()][string] $Who,
        [Parameter(Mandatory = $true)][hashtable] $Detail,
        [switch] $Predict
    )
    $answer = @{ held = @(); did = @(); bytes = [long]0; problem = '' }
    if (-not $Backup.Count) { return $answer }
    Assert-FileName -Backup $Backup
    # An account that can put a link there must not choose what is deleted.
    Assert-FolderTrust -Path $Folder
    if ($State -eq 'checked') {
        Assert-AsPlanned -Backup $Backup -Folder $Folder
        $answer.held = @(foreach ($each in $Backup) {
                $why = Get-HeldReason -Folder $Folder -Name $each.name
                if ($why) { @{ name = $each.name; why = $why } }
            })
        return $answer
    }
    if ($Predict) { return $answer }
    if ($State -eq 'begun') {
        Assert-AsPlanned -Backup $Backup -Folder $Folder
        $names = @(foreach ($each in $Backup) {
                @{ name = $each.name; rule = $each.rule; archive_sha256 = $each.archive_sha256 }
            })
        Add-AuditLine -Folder $Folder -Verb 'prune' -Who $Who -Detail ($Detail + @{ backups = $names })
    }
    $did = New-Object System.Collections.ArrayList
    $problems = New-Object System.Collections.ArrayList
    foreach ($each in $Backup) {
        try {
            if ($State -eq 'begun') { Start-BackupDeletion -Backup $each -Folder $Folder }
            else {
                Complete-BackupDeletion -Backup $each -Folder $Folder -Root $Root
                foreach ($file in @($each.files) + @($each.others)) { $answer.bytes += [long]$file.bytes }
            }
            $null = $did.Add($each.name)
        }
        # The next run finishes it.
        catch { $null = $problems.Add("$($each.name): $($_.Exception.GetBaseException().Message)") }
    }
    $answer.did = $did.ToArray()
    if ($problems.Count) {
        $answer.problem = '{0} of {1} backups could not be deleted: {2}' -f $problems.Count, $Backup.Count, (
            $problems.ToArray() -join '; ')
    }
    $answer
}

Export-ModuleMember -Function @(
    'Get-PlanProblem', 'Get-HeldReason', 'Assert-AsPlanned', 'Start-BackupDeletion', 'Complete-BackupDeletion',
    'Invoke-BackupDeletion'
)

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Deletes backups at destinations, exactly as a plan names them, in the states of the module backup_prune. A failure at
# one destination does not affect the others.
#
# A folder that has two names would count as two copies. Therefore, before anything is deleted, the job writes a small
# file at each destination and looks for it at all others and in the archive directory.

param([Parameter(Mandatory = $true)] $Spec)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

Import-NodeType -Name 'ShareAccount'

$answers = @{}

function Get-PlaceFolder {
    param($Place)
    Join-Path -Path $Place.folder -ChildPath $Spec.node
}

function Add-RunRecord {
    # Copies the .set.json of a run to the destination. Without it, the copies of the run do not count after the archive
    # directory has lost the run.
    param($Place)
    foreach ($name in $Place.brings) {
        if ([IO.Path]::GetFileName($name) -cne $name) { throw "$name is not the name of a file" }
        $target = Join-Path -Path $Place.folder -ChildPath $name
        if ([IO.File]::Exists($target)) { continue }
        $text = Read-CatalogueText -Path (Join-Path -Path $Spec.archive_directory -ChildPath $name)
        Write-NodeText -Path $target -Text $text
    }
}

function Remove-AtPlace {
    # One state at one destination.
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'the job has no check mode')]
    param($Place)
    $answer = $answers[$Place.name]
    Invoke-AtPlace -Place $Place -Phase "$($Spec.state) at" -Answer $answer -Action {
        if ($Spec.state -eq 'begun') { Add-RunRecord -Place $Place }
        $done = Invoke-BackupDeletion -State $Spec.state -Backup @($Place.backups) -Root $Place.folder `
            -Folder (Get-PlaceFolder -Place $Place) -Who $Spec.who `
            -Detail @{ run_id = $Spec.run_id; destination = $Place.name }
        foreach ($name in 'held', 'did', 'bytes') { $answer[$name] = $done[$name] }
        if ($done.problem) {
            throw (New-NodeFailure -Reason 'prune_incomplete' -Message $done.problem)
        }
    }
}

function Test-TrialFile {
    # Is the file there? Windows may answer the question for attributes from its memory, so it is opened.
    param([string] $Path)
    $share = [IO.FileShare]'ReadWrite, Delete'
    try {
        (New-Object System.IO.FileStream $Path, ([IO.FileMode]::Open), ([IO.FileAccess]::Read), $share).Dispose()
        $true
    }
    catch {
        $cause = $_.Exception.GetBaseException()
        if ($cause -is [IO.FileNotFoundException] -or $cause -is [IO.DirectoryNotFoundException]) { return $false }
        throw
    }
}

function Write-Trial {
    # Returns name of the destination -> name of the file that was written there.
    $found = @{}
    foreach ($place in $Spec.places) {
        if (-not @($place.backups).Count -or $answers[$place.name].reason) { continue }
        try {
            Enter-JobShare -Place $place
            $name = '.alteryx-trial-{0}.tmp' -f [Guid]::NewGuid().ToString('N')
            Write-NodeText -Path (Join-Path -Path (Get-PlaceFolder -Place $place) -ChildPath $name) -Text $name
            $found[$place.name] = $name
        }
        catch { Add-ShareFailure -Answer $answers[$place.name] -ErrorRecord $_ }
    }
    $found
}

function Find-Trial {
    # Refuses the destinations whose file is found in another place.
    param([hashtable] $Trial, [string] $Where, [string] $Folder)
    foreach ($name in @($Trial.Keys)) {
        if ($name -eq $Where -or $answers[$name].reason) { continue }
        if (Test-TrialFile -Path (Join-Path -Path $Folder -ChildPath $Trial[$name])) {
            $answers[$name].reason = 'destination_same'
            $answers[$name].message = "it is the same folder as $Where by another name"
        }
    }
}

function Assert-PlacesDiffer {
    $trial = Write-Trial
    if (-not $trial.Count) { return }
    $own = Join-Path -Path $Spec.archive_directory -ChildPath $Spec.node
    if ([IO.Directory]::Exists($own)) { Find-Trial -Trial $trial -Where 'the archive directory' -Folder $own }
    foreach ($place in $Spec.places) {
        try {
            Enter-JobShare -Place $place
            Find-Trial -Trial $trial -Where $place.name -Folder (Get-PlaceFolder -Place $place)
        }
        catch {
            $why = Get-InnerText -ErrorRecord $_
            foreach ($name in @($trial.Keys)) {
                if ($answers[$name].reason) { continue }
                $answers[$name].reason = 'destination_unreachable'
                $answers[$name].message = "$($place.name), which may hold the other copies, does not answer: $why"
            }
        }
    }
    foreach ($place in $Spec.places) {
        if (-not $trial.ContainsKey($place.name)) { continue }
        $path = Join-Path -Path (Get-PlaceFolder -Place $place) -ChildPath $trial[$place.name]
        try {
            Enter-JobShare -Place $place
            Remove-NodeFile -Path $path
        }
        catch { Write-JobLog -Level 'WARNING' -Text "$path could not be deleted: $(Get-InnerText -ErrorRecord $_)" }
    }
}

foreach ($place in $Spec.places) {
    $answers[$place.name] = @{
        destination = $place.name; held = @(); did = @(); bytes = [long]0; reason = ''; message = ''
    }
    Remove-AtPlace -Place $place
}
if ($Spec.state -eq 'checked') { Assert-PlacesDiffer }
@{ places = @(foreach ($place in $Spec.places) { $answers[$place.name] }) }

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeFailure
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeManifest
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeCatalogue

# Reads which backups the files of a destination describe. The control node decides what that means.

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

function Get-ManifestFact {
    param([string] $Path)
    $fact = @{
        error = ''; schema = 0; tool = ''; run_id = ''; mode = ''; fleet = ''; node = ''; computer = ''; machine_id = ''
        started = ''; alteryx_version = ''; databases = @(); documents = [long]0; dumped = $false
        downtime_seconds = 0.0; file_count = [long]0; file_bytes = [long]0; secrets = $false; proof = ''; roles = @()
        database_kind = ''; data_folder = ''; status = ''
    }
    try {
        $manifest = Read-ManifestHead -Path $Path
        $fact.schema = [int](Get-Field -InputObject $manifest -Name 'schema')
        $texts = 'tool', 'run_id', 'mode', 'fleet', 'node', 'computer', 'machine_id', 'started', 'alteryx_version'
        foreach ($name in $texts + 'status') {
            $fact[$name] = Get-FieldText -InputObject $manifest -Name $name
        }
        $fact.roles = @(foreach ($role in @(Get-Field -InputObject $manifest -Name 'roles')) { [string]$role })
        $fact.file_count = [long](Get-Field -InputObject $manifest -Name 'file_count')
        $fact.file_bytes = [long](Get-Field -InputObject $manifest -Name 'file_bytes')
        $secrets = Get-Field -InputObject $manifest -Name 'secrets'
        $fact.secrets = [bool](Get-Field -InputObject $secrets -Name 'included')
        $database = Get-Field -InputObject $manifest -Name 'database'
        if ($null -ne $database) {
            $fact.dumped = $true
            $names = @(Get-Field -InputObject $database -Name 'databases')
            $fact.databases = @(foreach ($name in $names) { [string]$name })
            $fact.proof = Get-FieldText -InputObject $database -Name 'proof'
            $fact.database_kind = Get-FieldText -InputObject $database -Name 'kind'
            $fact.data_folder = Get-FieldText -InputObject $database -Name 'data_folder'
            $fact.downtime_seconds = [double](Get-Field -InputObject $database -Name 'downtime_seconds')
            $documents = Get-Field -InputObject $database -Name 'documents'
            if ($null -ne $documents) {
                foreach ($collection in $documents.PSObject.Properties) { $fact.documents += [long]$collection.Value }
            }
        }
    }
    catch { $fact.error = (Get-NodeFailure -ErrorRecord $_).message }
    $fact
}

function Get-SidecarFact {
    param([string] $Path)
    $fact = @{ error = ''; names = @(); archive_sha256 = ''; sha256 = '' }
    try {
        $text = Read-CatalogueText -Path $Path
        # A deletion identifies the backup by the hash of this file, which contains the hashes of the others.
        $fact.sha256 = Get-TextSha256 -Text $text
        $lines = $text.Split([char[]]@("`n"), [StringSplitOptions]::RemoveEmptyEntries)
        $fact.names = @(foreach ($line in $lines) {
                if ($line.TrimEnd() -notmatch '^([0-9a-f]{64}) \*(.+)$') {
                    throw "it has a line that is not '<SHA-256> *<file name>': $line"
                }
                if ($Matches[2].EndsWith('.zip', [StringComparison]::OrdinalIgnoreCase)) {
                    $fact.archive_sha256 = $Matches[1]
                }
                $Matches[2]
            })
    }
    catch { $fact.error = (Get-NodeFailure -ErrorRecord $_).message }
    $fact
}

function Get-VerificationFact {
    param([string] $Path)
    $fact = @{ error = ''; verified = ''; method = ''; verdict = ''; problems = [long]0; problem = '' }
    try {
        $verdict = ConvertFrom-Json -InputObject (Read-CatalogueText -Path $Path)
        foreach ($name in @('verified', 'method', 'verdict')) {
            $fact[$name] = Get-FieldText -InputObject $verdict -Name $name
        }
        $problems = @(Get-Field -InputObject $verdict -Name 'problems')
        $fact.problems = [long]$problems.Count
        # The list may be cut off if there are very many files.
        $total = Get-Field -InputObject $verdict -Name 'problems_total'
        if ($null -ne $total) { $fact.problems = [long]$total }
        if ($problems.Count) { $fact.problem = [string]$problems[0] }
    }
    catch { $fact.error = (Get-NodeFailure -ErrorRecord $_).message }
    $fact
}

function Get-TextFact {
    # Texts of a small file of this collection, as a hashtable with error and these names.
    param([string] $Path, [string[]] $Name)
    $fact = @{ error = '' }
    foreach ($each in $Name) { $fact[$each] = '' }
    try {
        $read = ConvertFrom-Json -InputObject (Read-CatalogueText -Path $Path)
        foreach ($each in $Name) { $fact[$each] = Get-FieldText -InputObject $read -Name $each }
    }
    catch { $fact.error = (Get-NodeFailure -ErrorRecord $_).message }
    $fact
}

function Get-SetFact {
    param([string] $Path, [string] $Base)
    $fact = @{
        base = $Base; error = ''; run_id = ''; fleet = ''; mode = ''; started = ''; verdict = ''; nodes = @()
        bytes = (New-Object System.IO.FileInfo $Path).Length
    }
    try {
        $set = ConvertFrom-Json -InputObject (Read-CatalogueText -Path $Path)
        foreach ($name in @('run_id', 'fleet', 'mode', 'started', 'verdict')) {
            $fact[$name] = Get-FieldText -InputObject $set -Name $name
        }
        $nodes = Get-Field -InputObject $set -Name 'nodes'
        $fact.nodes = @(if ($null -ne $nodes) {
                foreach ($node in $nodes.PSObject.Properties) {
                    if (Get-FieldText -InputObject $node.Value -Name 'archive') { $node.Name }
                }
            })
    }
    catch { $fact.error = (Get-NodeFailure -ErrorRecord $_).message }
    $fact
}

function Get-BackupFact {
    # The files of one base name, and the content of those that describe the archive; null for a missing file.
    param([string] $Path, [string] $Base, $Files)
    $fact = @{
        base = $Base; files = $Files.ToArray(); manifest = $null; sidecar = $null; verification = $null; pin = $null
        prune = $null
    }
    $newest = ''
    foreach ($file in $Files) {
        $full = Join-Path -Path $Path -ChildPath $file.name
        $ending = $file.name.Substring($Base.Length + 1).ToLowerInvariant()
        if ($ending -ceq 'manifest.json') { $fact.manifest = Get-ManifestFact -Path $full }
        elseif ($ending -ceq 'sha256') { $fact.sidecar = Get-SidecarFact -Path $full }
        elseif ($ending -ceq 'pin.json') { $fact.pin = Get-TextFact -Path $full -Name 'at', 'who', 'why', 'until' }
        elseif ($ending -ceq 'prune.json') {
            $fact.prune = Get-TextFact -Path $full -Name 'run_id', 'fleet', 'mode', 'started', 'node'
        }
        elseif ($ending -like 'verify_*' -and [string]::CompareOrdinal($ending, $newest) -gt 0) { $newest = $ending }
    }
    if ($newest) { $fact.verification = Get-VerificationFact -Path (Join-Path -Path $Path -ChildPath "$Base.$newest") }
    $fact
}

function Get-FolderFact {
    param([string] $Path, [string] $Name)
    $files = Get-CatalogueFile -Path $Path
    @{
        name = $Name
        others = $files.others
        logs = @($files.logs)
        sets = @(foreach ($base in $files.sets) {
                Get-SetFact -Path (Join-Path -Path $Path -ChildPath "$base.set.json") -Base $base
            })
        backups = @(foreach ($base in $files.bases.Keys) {
                Get-BackupFact -Path $Path -Base $base -Files $files.bases[$base]
            })
    }
}

function Get-DestinationFact {
    <#
    .SYNOPSIS
    A destination as a hashtable: exists, utc (the time here), folders (the destination itself and the folders of nodes
    in it, or only those that the caller names) and skipped (a sentence for each folder that could not be read).
    #>
    param([Parameter(Mandatory = $true)][string] $Folder, [string[]] $Node = @())
    # The comparison is case-sensitive, because in a Turkish locale ignoring case maps I to another letter.
    if ($Folder -cnotmatch '^([A-Za-z]:\\|\\\\)') {
        throw (New-NodeFailure -Reason 'folder_invalid' -Message "$Folder is not an absolute path on this node")
    }
    if ([IO.File]::Exists($Folder)) {
        throw (New-NodeFailure -Reason 'folder_invalid' -Message "$Folder is a file, not a folder")
    }
    $found = @{ exists = [IO.Directory]::Exists($Folder); utc = Get-UtcText; folders = @(); skipped = @() }
    if (-not $found.exists) { return $found }
    $skipped = New-Object System.Collections.ArrayList
    $found.folders = @(
        Get-FolderFact -Path $Folder -Name ''
        foreach ($child in (New-Object System.IO.DirectoryInfo $Folder).EnumerateDirectories()) {
            if ($Node.Count -and $Node -notcontains $child.Name) { continue }
            # A drive has System Volume Information, and other programs may have folders that this account may not read.
            try { Get-FolderFact -Path $child.FullName -Name $child.Name }
            catch {
                $why = $_.Exception.GetBaseException().Message
                $null = $skipped.Add("$($child.FullName) was not read: $why")
            }
        }
    )
    $found.skipped = $skipped.ToArray()
    $found
}

Export-ModuleMember -Function Get-DestinationFact

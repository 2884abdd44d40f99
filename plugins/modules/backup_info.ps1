#!powershell

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

#AnsibleRequires -CSharpUtil Ansible.Basic
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeModule
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeManifest

# Reads the files of backups in a folder of the node. The control node decides what they mean.

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$spec = @{
    options = @{
        # Written by `make docs` from backup_info.yml.
        folder = @{ type = 'str'; required = $true }
        nodes = @{ type = 'list'; elements = 'str'; default = @() }
        name_pattern = @{ type = 'str'; default = 'ServerBackup_{mode}_{stamp}' }
    }
    supports_check_mode = $true
}
$module = [Ansible.Basic.AnsibleModule]::Create($args, $spec)

# A larger file beside an archive is not one of this collection and is not read.
$maximumText = 4MB
$known = New-Object System.Text.RegularExpressions.Regex (
    '^(?<base>.+?)\.(zip|zip\.partial|manifest\.json|secrets\.pem|sha256|set\.json|' +
    'verify_[0-9]{8}_[0-9]{6}\.json)$'), ([Text.RegularExpressions.RegexOptions]'IgnoreCase, CultureInvariant')

function Read-SmallText {
    param([string] $Path)
    $length = (New-Object System.IO.FileInfo $Path).Length
    if ($length -gt $maximumText) { throw "it has $length bytes; the limit is $maximumText" }
    Read-NodeText -Path $Path
}

function Get-Field {
    # A property of an object that came from JSON of whatever origin; nothing when it is absent.
    param($InputObject, [string] $Name)
    if ($null -eq $InputObject) { return }
    $property = $InputObject.PSObject.Properties[$Name]
    if ($null -ne $property) { $property.Value }
}

function Get-FieldText {
    param($InputObject, [string] $Name)
    $value = Get-Field -InputObject $InputObject -Name $Name
    # Some PowerShells make dates of texts that look like one.
    if ($value -is [DateTime]) { Get-UtcText -Time $value }
    # An expandable string is one even where the field is absent.
    else { "$value" }
}

function Get-ManifestFact {
    param([string] $Path)
    $fact = @{
        error = ''; schema = 0; tool = ''; run_id = ''; mode = ''; fleet = ''; node = ''; computer = ''; started = ''
        alteryx_version = ''; databases = @(); documents = [long]0; dumped = $false; downtime_seconds = 0.0
        file_count = [long]0; file_bytes = [long]0; secrets = $false; proof = ''
    }
    try {
        $manifest = Read-ManifestHead -Path $Path
        $fact.schema = [int](Get-Field -InputObject $manifest -Name 'schema')
        foreach ($name in @('tool', 'run_id', 'mode', 'fleet', 'node', 'computer', 'started', 'alteryx_version')) {
            $fact[$name] = Get-FieldText -InputObject $manifest -Name $name
        }
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
    $fact = @{ error = ''; names = @(); archive_sha256 = '' }
    try {
        $lines = (Read-SmallText -Path $Path).Split([char[]]@("`n"), [StringSplitOptions]::RemoveEmptyEntries)
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
        $verdict = ConvertFrom-Json -InputObject (Read-SmallText -Path $Path)
        foreach ($name in @('verified', 'method', 'verdict')) {
            $fact[$name] = Get-FieldText -InputObject $verdict -Name $name
        }
        $problems = @(Get-Field -InputObject $verdict -Name 'problems')
        $fact.problems = [long]$problems.Count
        # The list may be cut where there are very many.
        $total = Get-Field -InputObject $verdict -Name 'problems_total'
        if ($null -ne $total) { $fact.problems = [long]$total }
        if ($problems.Count) { $fact.problem = [string]$problems[0] }
    }
    catch { $fact.error = (Get-NodeFailure -ErrorRecord $_).message }
    $fact
}

function Get-SetFact {
    param([string] $Path, [string] $Base)
    $fact = @{ base = $Base; error = ''; run_id = ''; verdict = '' }
    try {
        $set = ConvertFrom-Json -InputObject (Read-SmallText -Path $Path)
        foreach ($name in @('run_id', 'verdict')) { $fact[$name] = Get-FieldText -InputObject $set -Name $name }
    }
    catch { $fact.error = (Get-NodeFailure -ErrorRecord $_).message }
    $fact
}

function Get-BackupFact {
    # The files of one base name, and what those of them say that describe the archive; null stands for
    # a file that is not there.
    param([string] $Path, [string] $Base, $Files)
    $fact = @{ base = $Base; files = $Files.ToArray(); manifest = $null; sidecar = $null; verification = $null }
    $newest = ''
    foreach ($file in $Files) {
        $full = Join-Path -Path $Path -ChildPath $file.name
        $ending = $file.name.Substring($Base.Length + 1).ToLowerInvariant()
        if ($ending -ceq 'manifest.json') { $fact.manifest = Get-ManifestFact -Path $full }
        elseif ($ending -ceq 'sha256') { $fact.sidecar = Get-SidecarFact -Path $full }
        elseif ($ending -like 'verify_*' -and [string]::CompareOrdinal($ending, $newest) -gt 0) { $newest = $ending }
    }
    if ($newest) { $fact.verification = Get-VerificationFact -Path (Join-Path -Path $Path -ChildPath "$Base.$newest") }
    $fact
}

function Get-FolderFact {
    param([string] $Path, [string] $Name)
    $bases = New-Object 'System.Collections.Generic.Dictionary[string,object]' ([StringComparer]::OrdinalIgnoreCase)
    $sets = New-Object System.Collections.ArrayList
    $others = 0
    foreach ($file in (New-Object System.IO.DirectoryInfo $Path).EnumerateFiles()) {
        $match = $known.Match($file.Name)
        if (-not $match.Success) {
            if ($file.Name -notmatch '^(BackupLog_.+\.log|README\.txt)$') { $others++ }
            continue
        }
        $base = $match.Groups['base'].Value
        if ($file.Name.EndsWith('.set.json', [StringComparison]::OrdinalIgnoreCase)) {
            $null = $sets.Add((Get-SetFact -Path $file.FullName -Base $base))
            continue
        }
        if (-not $bases.ContainsKey($base)) { $bases[$base] = New-Object System.Collections.ArrayList }
        $null = $bases[$base].Add(@{ name = $file.Name; bytes = [long]$file.Length })
    }
    @{
        name = $Name
        others = $others
        sets = $sets.ToArray()
        backups = @(foreach ($base in $bases.Keys) { Get-BackupFact -Path $Path -Base $base -Files $bases[$base] })
    }
}

Invoke-NodeModule -Module $module -Body {
    $folder = $module.Params.folder
    # Case counts: to ignore it, Turkish makes another letter of I.
    if ($folder -cnotmatch '^([A-Za-z]:\\|\\\\)') {
        throw (New-NodeFailure -Reason 'folder_invalid' -Message "$folder is not an absolute path on this node")
    }
    if ([IO.File]::Exists($folder)) {
        throw (New-NodeFailure -Reason 'folder_invalid' -Message "$folder is a file, not a folder")
    }
    $exists = [IO.Directory]::Exists($folder)
    $module.Result['exists'] = $exists
    $module.Result['folders'] = @(if ($exists) {
            Get-FolderFact -Path $folder -Name ''
            foreach ($child in (New-Object System.IO.DirectoryInfo $folder).EnumerateDirectories()) {
                if (@($module.Params.nodes).Count -and @($module.Params.nodes) -notcontains $child.Name) { continue }
                # A drive has System Volume Information, and other programs may have folders that we may not read.
                try { Get-FolderFact -Path $child.FullName -Name $child.Name }
                catch { $module.Warn("$($child.FullName) was not read: $($_.Exception.GetBaseException().Message)") }
            }
        })
}

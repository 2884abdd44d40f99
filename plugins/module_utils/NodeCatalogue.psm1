# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeFiles
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeClock

# Finds out which files of a destination belong to which backup.

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

# A file beside an archive is read only if it has at most this size.
$script:MaximumText = 4MB
$script:Known = New-Object System.Text.RegularExpressions.Regex (
    '^(?<base>.+?)\.(zip|zip\.partial|manifest\.json|secrets\.pem|sha256|set\.json|pin\.json|prune\.json|' +
    'verify_[0-9]{8}_[0-9]{6}\.json)$'), ([Text.RegularExpressions.RegexOptions]'IgnoreCase, CultureInvariant')

function Read-CatalogueText {
    <# .SYNOPSIS
    The text of a small file of a destination; throws for one that is not small. #>
    param([Parameter(Mandatory = $true)][string] $Path)
    $length = (New-Object System.IO.FileInfo $Path).Length
    if ($length -gt $script:MaximumText) { throw "it has $length bytes; the limit is $script:MaximumText" }
    Read-NodeText -Path $Path
}

function Get-Field {
    <# .SYNOPSIS
    A property of an object that was read from JSON of any origin; nothing if the property is absent. #>
    param([AllowNull()] $InputObject, [Parameter(Mandatory = $true)][string] $Name)
    if ($null -eq $InputObject) { return }
    $property = $InputObject.PSObject.Properties[$Name]
    if ($null -ne $property) { $property.Value }
}

function Get-FieldText {
    <# .SYNOPSIS
    The same as text; empty when it is absent. #>
    param([AllowNull()] $InputObject, [Parameter(Mandatory = $true)][string] $Name)
    $value = Get-Field -InputObject $InputObject -Name $Name
    # Some versions of PowerShell turn a text that looks like a date into a date.
    if ($value -is [DateTime]) { Get-UtcText -Time $value }
    # The quotes make the result a string even if the field is absent.
    else { "$value" }
}

function Get-CatalogueFile {
    <#
    .SYNOPSIS
    The files of one folder: a hashtable with bases (base name of a backup -> list of name and bytes), sets (base names
    of backup sets), logs (list of name and bytes) and others (the number of files that do not belong to a backup).
    #>
    param([Parameter(Mandatory = $true)][string] $Path)
    $bases = New-Object 'System.Collections.Generic.Dictionary[string,object]' ([StringComparer]::OrdinalIgnoreCase)
    $sets = New-Object System.Collections.ArrayList
    $logs = New-Object System.Collections.ArrayList
    $others = 0
    foreach ($file in (New-Object System.IO.DirectoryInfo $Path).EnumerateFiles()) {
        $match = $script:Known.Match($file.Name)
        if (-not $match.Success) {
            if ($file.Name -match '^BackupLog_.+\.log$') {
                $null = $logs.Add(@{ name = $file.Name; bytes = [long]$file.Length })
            }
            elseif ($file.Name -notmatch '^(BackupAudit\.log|README\.txt)$') { $others++ }
            continue
        }
        $base = $match.Groups['base'].Value
        if ($file.Name.EndsWith('.set.json', [StringComparison]::OrdinalIgnoreCase)) {
            $null = $sets.Add($base)
            continue
        }
        if (-not $bases.ContainsKey($base)) { $bases[$base] = New-Object System.Collections.ArrayList }
        $null = $bases[$base].Add(@{ name = $file.Name; bytes = [long]$file.Length })
    }
    @{ bases = $bases; sets = $sets.ToArray(); logs = $logs.ToArray(); others = $others }
}

function Add-AuditLine {
    <#
    .SYNOPSIS
    Writes one line of JSON to the log of changes to the backups of a node: at, verb, who, and the content of Detail.
    The line is on the disk when this returns.
    #>
    param(
        [Parameter(Mandatory = $true)][string] $Folder,
        [Parameter(Mandatory = $true)][string] $Verb,
        [Parameter(Mandatory = $true)][string] $Who,
        [Parameter(Mandatory = $true)][hashtable] $Detail
    )
    $line = [ordered]@{ at = Get-UtcText; verb = $Verb; who = $Who }
    foreach ($name in @($Detail.Keys | Sort-Object)) { $line[$name] = $Detail[$name] }
    $text = (ConvertTo-NodeJson -InputObject $line) + "`n"
    # A virus scanner or a person may have the file open.
    Invoke-Patiently -Seconds 15 -Action {
        Add-NodeText -Path (Join-Path -Path $Folder -ChildPath 'BackupAudit.log') -Text $text
    }
}

Export-ModuleMember -Function Read-CatalogueText, Get-Field, Get-FieldText, Get-CatalogueFile, Add-AuditLine

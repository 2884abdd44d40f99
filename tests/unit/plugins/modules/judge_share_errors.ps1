# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Runs Add-ShareFailure of job_host.ps1, taken from its syntax tree, for errors of Windows at a destination; prints
# error number -> answer as JSON. Codes: numbers, with commas.

param([string] $Folder, [string] $Codes)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

foreach ($name in 'NodeFailure', 'NodeShare') {
    $text = [IO.File]::ReadAllText((Join-Path -Path $Folder -ChildPath "$name.psm1"))
    New-Module -Name $name -ScriptBlock ([scriptblock]::Create($text)) | Import-Module -Global
}
$tokens = $null
$mistakes = $null
$path = Join-Path -Path $Folder -ChildPath 'job_host.ps1'
$tree = [Management.Automation.Language.Parser]::ParseFile($path, [ref]$tokens, [ref]$mistakes)
$isWanted = {
    param($node)
    $node -is [Management.Automation.Language.FunctionDefinitionAst] -and $node.Name -eq 'Add-ShareFailure'
}
. ([scriptblock]::Create($tree.Find($isWanted, $true).Extent.Text))

$answers = @{}
foreach ($code in $Codes.Split(',')) {
    $answers[$code] = @{}
    try {
        if ($code -eq '5') { throw (New-Object System.UnauthorizedAccessException 'Access is denied.') }
        if ($code -eq 'named') { throw (New-NodeFailure -Reason 'folder_untrusted' -Message 'a named failure') }
        throw (New-Object System.IO.IOException "error $code", (0x80070000 -bor [int]$code))
    }
    catch { Add-ShareFailure -Answer $answers[$code] -ErrorRecord $_ }
}
[Console]::Out.Write((ConvertTo-Json -InputObject $answers -Compress))

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Runs the function Get-Settings of node_info.ps1, taken from its syntax tree, over every file of a folder;
# prints file -> answer as JSON.

param([string] $Module, [string] $Folder)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$tokens = $null
$mistakes = $null
$tree = [Management.Automation.Language.Parser]::ParseFile($Module, [ref]$tokens, [ref]$mistakes)
$isWanted = {
    param($node)
    $node -is [Management.Automation.Language.FunctionDefinitionAst] -and $node.Name -eq 'Get-Settings'
}
$function = $tree.Find($isWanted, $true)
. ([scriptblock]::Create($function.Extent.Text))
$maximumSettingsBytes = 10MB
# That of NodeDisk.psm1 needs Windows.
function Open-SharedFile { param([string] $Path) [IO.File]::OpenRead($Path) }
$utils = Join-Path -Path ([IO.Path]::GetDirectoryName($Module)) -ChildPath '../module_utils/NodeSecret.psm1'
New-Module -Name NodeSecret -ScriptBlock ([scriptblock]::Create([IO.File]::ReadAllText($utils))) | Import-Module

$answers = @{}
foreach ($file in [IO.Directory]::GetFiles($Folder)) {
    $answers[[IO.Path]::GetFileName($file)] = Get-Settings -Path $file
}
[Console]::Out.Write((ConvertTo-Json -InputObject $answers -Depth 6 -Compress))

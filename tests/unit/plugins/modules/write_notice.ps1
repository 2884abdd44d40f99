# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Runs Write-NodeNotice of NodeLease.psm1, taken from its syntax tree, and prints the files that it writes, as JSON:
# name -> text.

param([string] $Module, [string] $UndoScript, [string] $Work)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$tokens = $null
$mistakes = $null
$tree = [Management.Automation.Language.Parser]::ParseFile($Module, [ref]$tokens, [ref]$mistakes)
foreach ($name in 'Write-NodeNotice', 'Get-LeaseUndo') {
    $isWanted = {
        param($node)
        $node -is [Management.Automation.Language.FunctionDefinitionAst] -and $node.Name -eq $name
    }
    . ([scriptblock]::Create($tree.Find($isWanted, $true).Extent.Text))
}
# Those of other modules need Windows.
function Get-StatePath { param([string] $Name) $Name }
function Get-UtcText { '2026-09-01T02:00:00Z' }
$written = @{}
function Write-NodeText { param([string] $Path, [string] $Text) $written[$Path] = $Text }
$script:GuardTask = '\AlteryxOps\Guard'

$lease = @{ service = 'AlteryxService'; deadline = '2026-09-01T08:00:00Z'; run_id = 'R'; undo_script = $UndoScript }
$given = if ($Work) { @{ Work = $Work } } else { @{} }
Write-NodeNotice -Lease $lease @given
[Console]::Out.Write((ConvertTo-Json -InputObject $written -Compress))

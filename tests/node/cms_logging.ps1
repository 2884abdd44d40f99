# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Encrypts a text with the functions of config_export.ps1 while module logging is on, as a group policy switches it on, and says whether it
# was on before and as Protect-CmsMessage ran, then the message.

param([string] $Script, [string] $Certificate, [string] $Text)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$tokens = $null
$errors = $null
$source = [Management.Automation.Language.Parser]::ParseFile($Script, [ref] $tokens, [ref] $errors)
$wanted = @('Disable-CmsLogging', 'Protect-Secret')
foreach ($function in $source.FindAll({ param($node) $node -is [Management.Automation.Language.FunctionDefinitionAst] -and $wanted -contains $node.Name }, $true)) {
    . ([scriptblock]::Create($function.Extent.Text))
}

$original = Get-Command -Name Protect-CmsMessage -CommandType Cmdlet
$carrier = @(@($original.Module, $original.PSSnapIn) | Where-Object { $null -ne $_ })[0]
$carrier.LogPipelineExecutionDetails = $true
[Console]::Out.WriteLine("before: logging=$($carrier.LogPipelineExecutionDetails)")

function Protect-CmsMessage {
    param($Content, $To)
    $now = Get-Command -Name Protect-CmsMessage -CommandType Cmdlet
    $logged = @(@($now.Module, $now.PSSnapIn) | Where-Object { $null -ne $_ -and $_.LogPipelineExecutionDetails }).Count -gt 0
    [Console]::Out.WriteLine("during: logging=$logged")
    & $original -Content $Content -To $To
}

$module = @{ Params = @{ recipients = @([IO.File]::ReadAllText($Certificate)) } }
Protect-Secret -Text $Text

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The sanity test pslint requires a module of this name, which only the PowerShell Gallery has. This one takes its place
# and finds what that one is for: -Path where the command has -LiteralPath. It does not look into splatted or positional
# arguments; the rule wildcard-path of node_rules.ps1 does.

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

# A list, because rules run in a session that need not know the commands of the files they look at.
$withLiteralPath = @(
    'Add-Content', 'Clear-Content', 'Clear-Item', 'Clear-ItemProperty', 'Convert-Path', 'Copy-Item',
    'Copy-ItemProperty', 'Get-Acl', 'Get-ChildItem', 'Get-Content', 'Get-FileHash', 'Get-Item', 'Get-ItemProperty',
    'Import-Csv',
    'Invoke-Item', 'Move-Item', 'Move-ItemProperty', 'Push-Location', 'Remove-Item', 'Remove-ItemProperty',
    'Rename-Item', 'Resolve-Path', 'Select-String', 'Set-Acl', 'Set-Content', 'Set-Item', 'Set-ItemProperty',
    'Set-Location', 'Test-Path', 'Unblock-File'
)

function Invoke-ScriptAnalyzer {
    <#
    .SYNOPSIS
    The command of PSScriptAnalyzer, reduced to what ansible-test reads. The lab engine does not load the type file of
    that module, without which its findings have no Line and Column.
    #>
    [CmdletBinding()]
    param([string] $Path, [string[]] $CustomRulePath, [switch] $IncludeDefaultRules, [object] $Setting)
    foreach ($finding in @(PSScriptAnalyzer\Invoke-ScriptAnalyzer @PSBoundParameters)) {
        [pscustomobject]@{
            RuleName = $finding.RuleName
            Message = $finding.Message
            ScriptPath = $finding.ScriptPath
            Line = $finding.Extent.StartLineNumber
            Column = $finding.Extent.StartColumnNumber
            Severity = [int]$finding.Severity
        }
    }
}

function Measure-UseLiteralPath {
    <#
    .SYNOPSIS
    Finds commands that are given -Path and could be given -LiteralPath.
    #>
    [CmdletBinding()]
    param([Parameter(Mandatory = $true)][System.Management.Automation.Language.ScriptBlockAst] $ScriptBlockAst)
    $isCommand = { param($ast) $ast -is [System.Management.Automation.Language.CommandAst] }
    foreach ($command in $ScriptBlockAst.FindAll($isCommand, $true)) {
        $parameters = @($command.CommandElements | Where-Object {
                $_ -is [System.Management.Automation.Language.CommandParameterAst]
            } | ForEach-Object { $_.ParameterName })
        if ($parameters -notcontains 'Path' -or $withLiteralPath -notcontains $command.GetCommandName()) { continue }
        [Microsoft.Windows.PowerShell.ScriptAnalyzer.Generic.DiagnosticRecord]@{
            Extent = $command.Extent
            Message = 'Use -LiteralPath instead of -Path'
            RuleName = 'PSCustomUseLiteralPath'
            Severity = 'Warning'
        }
    }
}

Export-ModuleMember -Function Invoke-ScriptAnalyzer, Measure-UseLiteralPath

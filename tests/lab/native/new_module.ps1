# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The body of the function New-Module of every runspace of a node: the cmdlet, but Ansible's compiler of C# loads
# what it compiled once. Ansible makes that module of its script in every process; where the script is not as known
# here, it stays as it is.

[CmdletBinding()]
param(
    [Parameter(ParameterSetName = 'Name', Mandatory = $true, ValueFromPipeline = $true, Position = 0)] [string] $Name,
    [Parameter(ParameterSetName = 'Name', Mandatory = $true, Position = 1)]
    [Parameter(ParameterSetName = 'ScriptBlock', Mandatory = $true, Position = 0)] [scriptblock] $ScriptBlock,
    [string[]] $Function,
    [string[]] $Cmdlet,
    [switch] $ReturnResult,
    [switch] $AsCustomObject,
    [Alias('Args')] [object[]] $ArgumentList
)

process {
    if ($Name -eq 'Ansible.ModuleUtils.AddType') {
        $text = $ScriptBlock.ToString()
        $load = '[System.Runtime.Loader.AssemblyLoadContext]::Default.LoadFromStream($code_ms, $pdb_ms)'
        $begin = 'Function Add-CSharpType {'
        $end = 'Export-ModuleMember -Function Add-CSharpType'
        if ($text.Contains($load) -and $text.Contains($begin) -and $text.Contains($end)) {
            $kept = '$([AlteryxLab.CompileCache]::Keep($CacheKey, $code_ms.ToArray()); ' + $load + ')'
            $compiler = $text.Replace($load, $kept).Replace($end, '')
            $compiler = $compiler.Replace($begin, 'Function Add-UncachedCSharpType {')
            $PSBoundParameters['ScriptBlock'] = {
                param($Compiler)

                Function Add-CSharpType {
                    <#
                    .SYNOPSIS
                    Ansible's own, with a cache of what it compiles.
                    #>
                    param(
                        [Parameter(Mandatory = $true)][AllowEmptyCollection()][String[]]$References,
                        [Switch]$IgnoreWarnings,
                        [Switch]$PassThru,
                        [Parameter(Mandatory = $true, ParameterSetName = "Module")][Object]$AnsibleModule,
                        [Parameter(ParameterSetName = "Manual")][String]$TempPath,
                        [Parameter(ParameterSetName = "Manual")][Switch]$IncludeDebugInfo,
                        [String[]]$CompileSymbols = @()
                    )
                    $CacheKey = [AlteryxLab.CompileCache]::Key(
                        @('Add-CSharpType', "$CompileSymbols", "$IgnoreWarnings") + $References)
                    $compiled = [AlteryxLab.CompileCache]::Load($CacheKey)
                    if (-not $compiled) {
                        . ([scriptblock]::Create($Compiler))
                        return Add-UncachedCSharpType @PSBoundParameters
                    }
                    $accelerators = [PSObject].Assembly.GetType('System.Management.Automation.TypeAccelerators')
                    $wanted = '//\s*TypeAccelerator\s+-Name\s+([\w.]*)\s+-TypeName\s+([\w.]*)'
                    foreach ($match in [regex]::Matches($References -join "`n", $wanted)) {
                        foreach ($type in $compiled.GetTypes()) {
                            if ($type.Name -ne $match.Groups[2].Value) { continue }
                            $accelerators::Add($match.Groups[1].Value, $type)
                            break
                        }
                    }
                    if ($PassThru) { return $compiled }
                }

                Export-ModuleMember -Function Add-CSharpType
            }
            $PSBoundParameters['ArgumentList'] = @($compiler)
        }
    }
    $module = $ExecutionContext.InvokeCommand.GetCommand('New-Module', 'Cmdlet')
    & $module @PSBoundParameters
}

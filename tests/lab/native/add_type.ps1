# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The body of the function Add-Type of every runspace of a node: the cmdlet, but C# that was compiled once is loaded.

[CmdletBinding(DefaultParameterSetName = 'FromSource')]
param(
    [Parameter(ParameterSetName = 'FromSource', Mandatory = $true, Position = 0)] [string] $TypeDefinition,
    [Parameter(ParameterSetName = 'FromMember', Mandatory = $true, Position = 0)] [string] $Name,
    [Parameter(ParameterSetName = 'FromMember', Mandatory = $true, Position = 1)] [string[]] $MemberDefinition,
    [Parameter(ParameterSetName = 'FromMember')] [Alias('NS')] [AllowNull()] [AllowEmptyString()] [string] $Namespace,
    [Parameter(ParameterSetName = 'FromMember')] [Alias('Using')] [string[]] $UsingNamespace,
    [Parameter(ParameterSetName = 'FromPath', Mandatory = $true, Position = 0)] [string[]] $Path,
    [Parameter(ParameterSetName = 'FromLiteralPath', Mandatory = $true)] [Alias('PSPath', 'LP')]
    [string[]] $LiteralPath,
    [Parameter(ParameterSetName = 'FromAssemblyName', Mandatory = $true)] [Alias('AN')] [string[]] $AssemblyName,
    [string] $Language,
    [Alias('RA')] [string[]] $ReferencedAssemblies,
    [Alias('OA')] [string] $OutputAssembly,
    [Alias('OT')] [string] $OutputType,
    [string[]] $CompilerOptions,
    [switch] $PassThru,
    [switch] $IgnoreWarnings
)

end {
    $simple = 'TypeDefinition', 'ReferencedAssemblies', 'IgnoreWarnings', 'ErrorAction'
    $key = ''
    if ($TypeDefinition -and $IgnoreWarnings -and
        -not @($PSBoundParameters.Keys | Where-Object { $simple -notcontains $_ })) {
        $key = [AlteryxLab.CompileCache]::Key('Add-Type', $TypeDefinition, "$ReferencedAssemblies")
        if ([AlteryxLab.CompileCache]::Load($key)) { return }
    }

    # The caller's preference: a function of the global scope does not see a module's, a cmdlet does.
    if (-not $PSBoundParameters.ContainsKey('ErrorAction')) {
        $PSBoundParameters['ErrorAction'] = $PSCmdlet.SessionState.PSVariable.GetValue('ErrorActionPreference')
    }
    $cmdlet = $ExecutionContext.InvokeCommand.GetCommand('Add-Type', 'Cmdlet')
    $draft = ''
    try {
        if ($key) {
            $draft = [IO.Path]::Combine([IO.Path]::GetTempPath(), "$([Guid]::NewGuid()).dll")
            $null = & $cmdlet @PSBoundParameters -OutputAssembly $draft -PassThru
            [AlteryxLab.CompileCache]::Keep($key, [IO.File]::ReadAllBytes($draft))
        }
        else { & $cmdlet @PSBoundParameters }
    }
    catch { $PSCmdlet.ThrowTerminatingError($_) }
    finally { if ($draft) { [IO.File]::Delete($draft) } }
}

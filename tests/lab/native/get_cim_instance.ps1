# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The body of the function Get-CimInstance of every runspace of a node: the cmdlet, with the faults that are ordered.

[CmdletBinding(DefaultParameterSetName = 'Class')]
param(
    [Parameter(ParameterSetName = 'Class', Mandatory = $true, Position = 0, ValueFromPipelineByPropertyName = $true)]
    [string] $ClassName,
    [Parameter(ParameterSetName = 'Query', Mandatory = $true)] [string] $Query,
    [Parameter(ParameterSetName = 'Object', Mandatory = $true, Position = 0, ValueFromPipeline = $true)]
    [Alias('CimInstance')] $InputObject,
    [Parameter(ParameterSetName = 'Class')] [string] $Filter,
    [Parameter(ParameterSetName = 'Class')] [Alias('SelectProperties')] [string[]] $Property,
    [Parameter(ValueFromPipelineByPropertyName = $true)] [string] $Namespace,
    [Alias('CN', 'ServerName')] [string[]] $ComputerName,
    [Alias('OT')] [uint32] $OperationTimeoutSec,
    [string] $QueryDialect,
    [switch] $KeyOnly,
    [switch] $Shallow
)

process {
    # The caller's preference: a function of the global scope does not see a module's, a cmdlet does.
    $preference = $PSCmdlet.SessionState.PSVariable.GetValue('ErrorActionPreference')
    if ($PSBoundParameters.ContainsKey('ErrorAction')) { $preference = $PSBoundParameters['ErrorAction'] }

    $fault = [AlteryxLab.Behaviour]::Get('wmi')
    if ($fault -eq 'hang') { [AlteryxLab.Behaviour]::WaitWhile('wmi', 'hang') }
    if ($fault -eq 'slow') {
        $pause = [AlteryxLab.Behaviour]::Get('wmi_slow_ms')
        [Threading.Thread]::Sleep($(if ($pause) { [int]$pause } else { 5000 }))
    }
    if ($fault -eq 'error') {
        $failure = New-Object Runtime.InteropServices.COMException 'The RPC server is unavailable.', 0x800706BA
        $id = 'HRESULT 0x800706ba'
        $record = New-Object Management.Automation.ErrorRecord $failure, $id, 'NotSpecified', $ClassName
        if ($preference -eq 'Stop') { $PSCmdlet.ThrowTerminatingError($record) }
        $PSCmdlet.WriteError($record)
        return
    }

    # The function collects errors and output in the caller's variables itself.
    foreach ($kind in 'Out', 'Pipeline', 'Error', 'Warning', 'Information') {
        $null = $PSBoundParameters.Remove($kind + 'Variable')
    }
    $null = $PSBoundParameters.Remove('OutBuffer')
    $PSBoundParameters['ErrorAction'] = $preference
    $last = $null
    try {
        $cmdlet = $ExecutionContext.InvokeCommand.GetCommand('Get-CimInstance', 'Cmdlet')
        & $cmdlet @PSBoundParameters | ForEach-Object { ($last = $_) }
    }
    catch { $PSCmdlet.ThrowTerminatingError($_) }

    # A process whose start and program WMI does not know, as those of the kernel are.
    if ($fault -eq 'bare_rows' -and $last -and -not $Filter -and "$ClassName$Query" -match 'Win32_Process\s*$') {
        $bare = $last.PSObject.Copy()
        foreach ($member in 'Name', 'Caption', 'ProcessName') { $bare.$member = 'Registry' }
        foreach ($member in 'CreationDate', 'ExecutablePath', 'CommandLine') { $bare.$member = $null }
        $bare.ProcessId = [uint32]88
        $bare.Handle = '88'
        $bare.ParentProcessId = [uint32]4
        $bare
    }
}

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What the engine gives to the event log where module logging is on (event 4103 of Windows), kept in $recorded instead.
# The classes that write it are internal, so one of them is made here, at run time.

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$engine = [psobject].Assembly
$provider = $engine.GetType('System.Management.Automation.LogProvider')
$inner = [Reflection.BindingFlags]'Instance, NonPublic'
$codes = [Reflection.Emit.OpCodes]

$name = New-Object System.Reflection.AssemblyName 'Recorder'
$assembly = [Reflection.Emit.AssemblyBuilder]::DefineDynamicAssembly(
    $name, [Reflection.Emit.AssemblyBuilderAccess]::Run)
$module = $assembly.DefineDynamicModule('Recorder')

# With this attribute the runtime lets the assembly at what is internal in the engine.
$word = 'System.Runtime.CompilerServices.IgnoresAccessChecksToAttribute'
$attribute = $module.DefineType($word, 'Public, Class', [Attribute])
$build = $attribute.DefineConstructor('Public', 'Standard', [type[]]@([string])).GetILGenerator()
$build.Emit($codes::Ldarg_0)
$build.Emit($codes::Call, [Attribute].GetConstructor($inner, $null, [type[]]@(), $null))
$build.Emit($codes::Ret)
$made = $attribute.CreateType().GetConstructor([type[]]@([string]))
$assembly.SetCustomAttribute(
    (New-Object System.Reflection.Emit.CustomAttributeBuilder $made, @('System.Management.Automation')))

$class = $module.DefineType('Recorder', 'Public, Class', $provider)
$lines = $class.DefineField('Lines', [Collections.Generic.List[string]], 'Public, Static')
$build = $class.DefineConstructor('Public', 'Standard', [type[]]@()).GetILGenerator()
$build.Emit($codes::Ldarg_0)
$build.Emit($codes::Call, $provider.GetConstructor($inner, $null, [type[]]@(), $null))
$build.Emit($codes::Ret)
foreach ($method in @($provider.GetMethods($inner) | Where-Object { $_.IsAbstract })) {
    $types = [type[]]@($method.GetParameters() | ForEach-Object { $_.ParameterType })
    $own = $class.DefineMethod(
        $method.Name, 'Assembly, Virtual, HideBySig, CheckAccessOnOverride', $method.ReturnType, $types)
    $build = $own.GetILGenerator()
    if ($method.Name -eq 'LogPipelineExecutionDetailEvent') {
        $build.Emit($codes::Ldsfld, $lines)
        $build.Emit($codes::Ldarg_2)
        $build.Emit($codes::Callvirt, [Collections.Generic.List[string]].GetMethod('AddRange'))
    }
    $build.Emit($codes::Ret)
}
$recorder = $class.CreateType()
$recorded = New-Object 'System.Collections.Generic.List[string]'
$recorder.GetField('Lines').SetValue($null, $recorded)

$log = $engine.GetType('System.Management.Automation.MshLog')
$providers = $log.GetField('s_logProviders', [Reflection.BindingFlags]'Static, NonPublic').GetValue($null)
$list = [Activator]::CreateInstance($providers.GetType().GetGenericArguments()[1])
$list.Add([Activator]::CreateInstance($recorder))
foreach ($shell in @($providers.Keys) + 'Microsoft.PowerShell') { $providers[$shell] = $list }

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Encrypts a text twice with the function of config_export.ps1 while module logging is on: once as it is, once as the
# frame of all modules runs it. Prints what was recorded each time, and the message, as JSON.

param([string] $Plugins, [string] $Certificate, [string] $Text)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

. (Join-Path -Path $PSScriptRoot -ChildPath 'recorder.ps1')

$tokens = $null
$errors = $null
$file = Join-Path -Path $Plugins -ChildPath 'modules/config_export.ps1'
$source = [Management.Automation.Language.Parser]::ParseFile($file, [ref] $tokens, [ref] $errors)
$isWanted = {
    param($node)
    $node -is [Management.Automation.Language.FunctionDefinitionAst] -and $node.Name -eq 'Protect-Secret'
}
. ([scriptblock]::Create($source.Find($isWanted, $true).Extent.Text))
foreach ($name in 'NodeFailure', 'NodeSecret', 'NodeModule') {
    $code = [IO.File]::ReadAllText((Join-Path -Path $Plugins -ChildPath "module_utils/$name.psm1"))
    # The class is Ansible's.
    $code = $code.Replace('[Ansible.Basic.AnsibleModule]', '')
    New-Module -Name $name -ScriptBlock ([scriptblock]::Create($code)) | Import-Module -Global
}
foreach ($name in 'ForEach-Object', 'ConvertFrom-Json', 'Join-Path', 'Protect-CmsMessage') {
    $command = Get-Command -Name $name -CommandType Cmdlet
    foreach ($carrier in @($command.Module, $command.PSSnapIn)) {
        if ($null -ne $carrier) { $carrier.LogPipelineExecutionDetails = $true }
    }
}
foreach ($loaded in @(Get-Module -All)) { $loaded.LogPipelineExecutionDetails = $true }

$module = New-Object psobject -Property @{
    Params = @{ recipients = @([IO.File]::ReadAllText($Certificate)) }
    CheckMode = $false
    Result = @{}
}
$module | Add-Member -MemberType ScriptMethod -Name ExitJson -Value { }
$module | Add-Member -MemberType ScriptMethod -Name FailJson -Value { throw $args[0] }
$answer = @{}
$null = Protect-Secret -Text $Text
$answer['before'] = $recorded.ToArray() -join "`n"
$recorded.Clear()
Invoke-NodeModule -Module $module -Body { $answer['message'] = Protect-Secret -Text $Text }
$answer['during'] = $recorded.ToArray() -join "`n"
[Console]::Out.Write((ConvertTo-Json -Depth 2 -InputObject $answer))

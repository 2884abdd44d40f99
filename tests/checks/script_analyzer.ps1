# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PSScriptAnalyzer with the Windows PowerShell 5.1 profiles over a list of files, in one process: the profiles alone
# take seconds to load. Reads JSON (paths, ignored_types), writes a JSON list of findings.
param([string] $Module, [string] $InputFile, [string] $OutputFile)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

# For each name that it does not know the analyzer looks for a program in each folder of PATH: most of its time.
$env:PATH = ''
Import-Module $Module
$request = [IO.File]::ReadAllText($InputFile) | ConvertFrom-Json
$profiles = @(
    'win-8_x64_10.0.14393.0_5.1.14393.2791_x64_4.0.30319.42000_framework'  # Windows Server 2016
    'win-8_x64_10.0.17763.0_5.1.17763.316_x64_4.0.30319.42000_framework'  # Windows Server 2019
)
# What the targets lack is a finding only where another profile has it. The analyzer unites all profiles of a folder for
# this, and reads 280 MB where it has its own folder.
$newer = 'win-8_x64_10.0.17763.0_7.0.0_x64_3.1.2_core'
$folder = New-Item -ItemType Directory -Path (Join-Path (Split-Path $OutputFile) 'profiles')
foreach ($name in @($profiles) + $newer) {
    $target = Join-Path (Split-Path $Module) "compatibility_profiles/$name.json"
    [void] (New-Item -ItemType SymbolicLink -Path (Join-Path $folder "$name.json") -Target $target)
}
$compatible = @{ Enable = $true; ProfileDirPath = $folder.FullName; TargetProfiles = $profiles }
$settings = @{
    Severity = @('Error', 'Warning', 'ParseError')
    Rules = @{
        PSUseCompatibleSyntax = @{ Enable = $true; TargetVersions = @('5.1') }
        PSUseCompatibleCommands = $compatible
        PSUseCompatibleTypes = $compatible + @{ IgnoreTypes = @($request.ignored_types) }
    }
}
function Get-Record {
    # The rules of PSScriptAnalyzer run at the same time and share tables without a lock, so on a busy machine it throws
    # now and then: a NullReferenceException, or that a cmdlet lacks a parameter which it has. An exception is not a
    # finding. Such a file is analysed again, at most twice, and the output says so.
    param([string] $Path)
    for ($attempt = 1; ; $attempt++) {
        try { return @(Invoke-ScriptAnalyzer -Path $Path -Settings $settings) }
        catch {
            if ($attempt -eq 3) { throw }
            [Console]::Out.WriteLine("PSScriptAnalyzer failed at ${Path}: $_")
        }
    }
}

$found = New-Object System.Collections.Generic.List[object]
foreach ($file in @($request.paths)) {
    foreach ($record in @(Get-Record -Path $file)) {
        $found.Add([ordered]@{ path = $file; line = $record.Line; rule = $record.RuleName; text = $record.Message })
    }
}
[IO.File]::WriteAllText($OutputFile, (ConvertTo-Json -InputObject $found.ToArray() -Depth 3))

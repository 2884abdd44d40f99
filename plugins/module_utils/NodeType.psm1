# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeFiles

# C# for jobs: code that must be fast is compiled on the node from the sources beside the scripts.

param([string] $CodeFolder)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

function Import-NodeType {
    <#
    .SYNOPSIS
    Compiles the named C# files of the code folder, in one go, because each start of the compiler
    takes a third of a second.
    #>
    param([Parameter(Mandatory = $true)][string[]] $Name)
    $imports = New-Object System.Collections.ArrayList
    $bodies = foreach ($file in $Name) {
        $text = Read-NodeText -Path (Join-Path -Path $CodeFolder -ChildPath "$file.cs")
        foreach ($found in [regex]::Matches($text, '(?m)^using [\w.]+;')) { $null = $imports.Add($found.Value) }
        $text -replace '(?m)^using [\w.]+;'
    }
    $source = ((@($imports | Sort-Object -Unique) + $bodies) -join "`n")
    # System.Core holds the hash classes. The lab's engine reports them as obsolete. Warnings can be ignored here,
    # because the checks of this project find those of 5.1.
    Add-Type -TypeDefinition $source -ReferencedAssemblies 'System.Core' -IgnoreWarnings
}

Export-ModuleMember -Function Import-NodeType

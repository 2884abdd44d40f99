# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Runs Get-SddlProblem of NodeTrust.psm1 over a file of SDDL texts, one a line; prints the answers as JSON.

param([string] $Module, [string] $File)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

New-Module -Name NodeTrust -ScriptBlock ([scriptblock]::Create([IO.File]::ReadAllText($Module))) | Import-Module

$answers = @([IO.File]::ReadAllLines($File) | ForEach-Object { [string](Get-SddlProblem -Sddl $_) })
[Console]::Out.Write((ConvertTo-Json -InputObject $answers -Depth 2 -Compress))

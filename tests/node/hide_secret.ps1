# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Hide-Secret of each line of a file.

param([string] $Module, [string] $Lines)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

Import-Module -Name $Module
foreach ($line in [IO.File]::ReadAllLines($Lines)) { [Console]::Out.WriteLine((Hide-Secret -Text $line)) }

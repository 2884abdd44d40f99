# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What must not be told: settings and the output of tools go into results and logs only through here, and Windows
# records no argument of a command of ours.

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

function Hide-Secret {
    <#
    .SYNOPSIS
    The text without the passwords it may hold: in addresses (scheme://user:password@host), in connection strings
    (Password=...;) and in arguments (--password ...).
    #>
    param([Parameter(Mandatory = $true)][AllowEmptyString()][string] $Text)
    # Up to the last @ before the path: a password that is not percent-encoded may hold one.
    $Text = [regex]::Replace($Text, '(?<=://[^:/@\s]*:)[^\s/]+(?=@)', '(redacted)')
    $Text = [regex]::Replace($Text, '(?i)(?<=--password\s+)("[^"]*"|[^\s"]+)', '(redacted)')
    $pattern = '(?i)(?<=(password|passwd|pwd|secret|accountkey)["'']?\s*[=:]\s*)(?!\(redacted\))' +
    '("[^"]*"|''[^'']*''|[^\s;,&"'']+)'
    [regex]::Replace($Text, $pattern, '(redacted)')
}

function Disable-CommandLogging {
    <#
    .SYNOPSIS
    Switches module logging off for all that runs in this process. Where a group policy has it on, Windows writes the
    arguments of every command into the event log (4103), a password too. To be called before one is read.
    Never throws: where Windows refuses, the policy that preflight names is in force.
    #>
    # A console loads a module of Windows with the first of its commands, and module logging is switched on with it.
    try {
        foreach ($name in 'ForEach-Object', 'ConvertFrom-Json', 'Join-Path', 'Protect-CmsMessage') {
            $found = Get-Command -Name $name -CommandType Cmdlet -ErrorAction SilentlyContinue
            if ($null -eq $found) { continue }
            # A runspace made by a program, as Ansible's are, has them as snap-ins.
            foreach ($carrier in @($found.Module, $found.PSSnapIn)) {
                if ($null -ne $carrier) { $carrier.LogPipelineExecutionDetails = $false }
            }
        }
        foreach ($module in @(Get-Module -All)) { $module.LogPipelineExecutionDetails = $false }
    }
    catch { Write-Verbose -Message "module logging: $_" }
}

Export-ModuleMember -Function Hide-Secret, Disable-CommandLogging

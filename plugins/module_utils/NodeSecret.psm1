# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Keeps secrets out of results and logs: settings and the output of tools pass through these functions, and Windows must
# not record the arguments of commands.

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

function Hide-Secret {
    <#
    .SYNOPSIS
    The text without the passwords it may hold: in addresses (scheme://user:password@host), in connection strings
    (Password=...;) and in arguments (--password ...).
    #>
    param([Parameter(Mandatory = $true)][AllowEmptyString()][string] $Text)
    # Up to the last @ before the path: a password that is not percent-encoded may contain an @.
    $Text = [regex]::Replace($Text, '(?<=://[^:/@\s]*:)[^\s/]+(?=@)', '(redacted)')
    $Text = [regex]::Replace($Text, '(?i)(?<=--password\s+)("[^"]*"|[^\s"]+)', '(redacted)')
    $pattern = '(?i)(?<=(password|passwd|pwd|secret|accountkey)["'']?\s*[=:]\s*)(?!\(redacted\))' +
    '("[^"]*"|''[^'']*''|[^\s;,&"'']+)'
    [regex]::Replace($Text, $pattern, '(redacted)')
}

function Disable-CommandLogging {
    <#
    .SYNOPSIS
    Switches module logging off for all that runs in this process. Where a group policy enables it, Windows writes the
    arguments of every command to the event log (4103), also a password. Must be called before a password is read. Never
    throws: if Windows refuses, preflight warns about that policy.
    #>
    # A console loads a module of Windows when it runs the first of its commands, and that enables module logging for
    # it.
    try {
        foreach ($name in 'ForEach-Object', 'ConvertFrom-Json', 'Join-Path', 'Protect-CmsMessage') {
            $found = Get-Command -Name $name -CommandType Cmdlet -ErrorAction SilentlyContinue
            if ($null -eq $found) { continue }
            # A runspace that a program creates, such as Ansible's, has these modules as snap-ins.
            foreach ($carrier in @($found.Module, $found.PSSnapIn)) {
                if ($null -ne $carrier) { $carrier.LogPipelineExecutionDetails = $false }
            }
        }
        foreach ($module in @(Get-Module -All)) { $module.LogPipelineExecutionDetails = $false }
    }
    catch { Write-Verbose -Message "module logging: $_" }
}

Export-ModuleMember -Function Hide-Secret, Disable-CommandLogging

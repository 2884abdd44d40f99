# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What text of others may hold and must not tell: settings and the output of tools go into results and logs only through here.

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

function Hide-Secret {
    <#
    .SYNOPSIS
    The text without the passwords it may hold: in addresses (scheme://user:password@host), in connection strings (Password=...;) and in arguments (--password ...).
    #>
    param([Parameter(Mandatory = $true)][AllowEmptyString()][string] $Text)
    # Up to the last @ before the path: a password that is not percent-encoded may hold one.
    $Text = [regex]::Replace($Text, '(?<=://[^:/@\s]*:)[^\s/]+(?=@)', '(redacted)')
    $Text = [regex]::Replace($Text, '(?i)(?<=--password\s+)("[^"]*"|[^\s"]+)', '(redacted)')
    [regex]::Replace($Text, '(?i)(?<=(password|passwd|pwd|secret|accountkey)["'']?\s*[=:]\s*)(?!\(redacted\))("[^"]*"|''[^'']*''|[^\s;,&"'']+)', '(redacted)')
}

Export-ModuleMember -Function Hide-Secret

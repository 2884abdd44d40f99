# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

#AnsibleRequires -CSharpUtil Ansible.Basic

# The smallest module there is: what a call costs before it does anything. A stand-in node has its double, under the
# name of ansible.windows.
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$spec = @{ options = @{ data = @{ type = 'str'; default = 'pong' } }; supports_check_mode = $true }
$module = [Ansible.Basic.AnsibleModule]::Create($args, $spec)
$module.Result.ping = $module.Params.data
$module.ExitJson()

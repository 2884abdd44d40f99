#!powershell

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

#AnsibleRequires -CSharpUtil Ansible.Basic
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeModule
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.AlteryxNode
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeExport
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeMetadata
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeStaging

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$spec = @{
    options = @{
        # Written by `make docs` from config_export.yml.
        run_id = @{ type = 'str'; required = $true }
        staging_directory = @{ type = 'str'; required = $true }
        executable = @{ type = 'str'; required = $true }
        files = @{
            type = 'list'
            elements = 'dict'
            required = $true
            options = @{
                id = @{ type = 'str'; required = $true }
                source = @{ type = 'str'; required = $true }
                archive_path = @{ type = 'str'; required = $true }
                required = @{ type = 'bool'; default = $false }
                permissions = @{ type = 'bool'; default = $false }
            }
        }
        secrets = @{
            type = 'list'
            elements = 'str'
            choices = @('controller_token', 'mongodb_passwords')
            default = @()
        }
        recipients = @{ type = 'list'; elements = 'str'; default = @() }
        facts = @{ type = 'dict'; default = @{} }
        database_kind = @{ type = 'str'; default = '' }
        licence_value = @{ type = 'str'; default = '' }
        # The control node makes this from facts, database_kind and licence_value.
        _metadata = @{ type = 'dict'; default = @{} }
    }
    supports_check_mode = $true
}
$module = [Ansible.Basic.AnsibleModule]::Create($args, $spec)

function Write-Metadata {
    # Writes node.json: the items from the control node and those that only this node knows. Returns a short form of the
    # items. Without a folder nothing is written.
    param($Wanted, [string] $Folder)
    $document = [ordered]@{}
    foreach ($name in 'schema', 'run_id', 'node', 'computer') { $document[$name] = $Wanted.head[$name] }
    $document['collected'] = Get-UtcText
    $items = Get-NodeMetadata -Wanted $Wanted
    foreach ($name in $Wanted.items.Keys) { $items[$name] = $Wanted.items[$name] }
    # Items without an order are sorted by their names.
    $document['items'] = @{}
    foreach ($name in $items.Keys) { $document.items[$name] = $items[$name] }
    if ($Folder) {
        $target = Join-Path -Path $Folder -ChildPath $Wanted.archive_path.Replace('/', '\')
        $null = [IO.Directory]::CreateDirectory([IO.Path]::GetDirectoryName($target))
        Write-NodeText -Path $target -Text ((ConvertTo-NodeDocument -InputObject $document) + "`n")
    }
    foreach ($name in $items.Keys) { @{ id = $name; state = $items[$name].state; why = $items[$name].why } }
}

function Read-Verb {
    # Runs one get-verb of AlteryxService.exe. Its output is written to the encrypted file and nowhere else.
    param([string] $Verb)
    $answer = Get-VerbAnswer -Executable $module.Params.executable -Verb $Verb -TimeoutSeconds 120
    if ($answer.problem) {
        throw (New-NodeFailure -Reason 'secret_unreadable' -Message "AlteryxService.exe $Verb $($answer.problem)")
    }
    $answer.text
}

function Protect-Secret {
    # CMS for all recipients. Each of them can decrypt it alone.
    param([string] $Text)
    $certificates = @(foreach ($pem in $module.Params.recipients) {
            $bytes = [Convert]::FromBase64String([regex]::Replace($pem, '-----[^-]+-----|\s', ''))
            New-Object System.Security.Cryptography.X509Certificates.X509Certificate2 (, $bytes)
        })
    Protect-CmsMessage -Content $Text -To $certificates
}

function Export-Secret {
    # Reads the secrets into memory and writes them encrypted. They are never in a file in clear text. After a failure,
    # no part of the file is left. Without a path, this only tests whether they can be read and encrypted.
    param([string] $Path)
    $secret = [ordered]@{
        schema = 1; run_id = $module.Params.run_id; computer = [Environment]::MachineName; created = Get-UtcText
    }
    $done = $false
    try {
        if ($module.Params.secrets -contains 'controller_token') {
            $secret['controller_token'] = Read-Verb -Verb 'getserversecret'
        }
        if ($module.Params.secrets -contains 'mongodb_passwords') {
            $text = Read-Verb -Verb 'getemongopassword'
            $passwords = [ordered]@{}
            if ($text -match '(?im)^\s*Admin:\s*(\S+)\s*$') { $passwords['admin'] = $Matches[1] }
            if ($text -match '(?im)^\s*Non-Admin:\s*(\S+)\s*$') { $passwords['non_admin'] = $Matches[1] }
            if ($passwords.Count -ne 2) {
                $message = 'AlteryxService.exe getemongopassword did not name an Admin and a Non-Admin password'
                throw (New-NodeFailure -Reason 'secret_unreadable' -Message $message)
            }
            $secret['mongodb_passwords'] = $passwords
        }
        $encrypted = Protect-Secret -Text (ConvertTo-NodeDocument -InputObject $secret)
        if ($Path) { Write-NodeText -Path $Path -Text ($encrypted.TrimEnd() + "`n") }
        $done = $true
    }
    finally {
        $secret.Clear()
        if ($Path -and -not $done) {
            $folder = [IO.Path]::GetDirectoryName($Path)
            foreach ($left in [IO.Directory]::GetFiles($folder, ([IO.Path]::GetFileName($Path) + '*'))) {
                [IO.File]::Delete($left)
            }
        }
    }
}

Invoke-NodeModule -Module $module -Body {
    $staging = @{ Root = $module.Params.staging_directory; RunId = $module.Params.run_id }
    $folder = Get-StagingPath @staging -Part 'files'
    $module.Result['changed'] = $true
    $listed = New-Object System.Collections.ArrayList
    if (-not $module.CheckMode) {
        $null = New-RunStaging @staging
        $null = [IO.Directory]::CreateDirectory($folder)
    }
    foreach ($item in $module.Params.files) {
        $entry = Export-CriticalItem -Item $item -Target $(if ($module.CheckMode) { '' } else { $folder })
        $entry['permissions'] = 0
        $null = $listed.Add($entry)
        if (-not $entry.present) { continue }
        if ($item.permissions) {
            $target = if ($module.CheckMode) { '' }
            else { Join-Path -Path $folder -ChildPath ($item.archive_path.Replace('/', '\') + '.sddl') }
            $entry.permissions = Save-Permission -Path $item.source -Target $target
        }
    }
    $module.Result['files'] = $listed.ToArray()
    $module.Result['metadata'] = @()
    if ($module.Params._metadata.Count -gt 0) {
        $target = if ($module.CheckMode) { '' } else { $folder }
        $module.Result['metadata'] = @(Write-Metadata -Wanted $module.Params._metadata -Folder $target)
    }
    $module.Result['secrets_file'] = ''
    $module.Result['secrets'] = @($module.Params.secrets)
    if ($module.Params.secrets.Count -gt 0) {
        $path = if ($module.CheckMode) { '' } else { Get-StagingPath @staging -Part 'secrets' }
        Export-Secret -Path $path
        $module.Result['secrets_file'] = $path
    }
}

#!powershell

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

#AnsibleRequires -CSharpUtil Ansible.Basic
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeModule
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeClock
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeFailure
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeFiles
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeInventory
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeProcess
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeStaging

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$spec = @{
    options = @{
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
        secrets = @{ type = 'list'; elements = 'str'; choices = @('controller_token', 'mongodb_passwords'); default = @() }
        recipients = @{ type = 'list'; elements = 'str'; default = @() }
        run_id = @{ type = 'str'; required = $true }
        facts = @{ type = 'dict'; default = @{} }
        database_kind = @{ type = 'str'; default = '' }
        licence_value = @{ type = 'str'; default = '' }
        # What the control node makes of these three.
        _metadata = @{ type = 'dict'; default = @{} }
    }
    supports_check_mode = $true
}
$module = [Ansible.Basic.AnsibleModule]::Create($args, $spec)

function Copy-Unchanged {
    # Copies a file so that the copy is one state of it: hashed before and after, read again if somebody wrote meanwhile.
    param([string] $Source, [string] $Target)
    for ($attempt = 1; $attempt -le 5; $attempt++) {
        $before = Get-FileSha256 -Path $Source
        [IO.File]::Copy($Source, $Target, $true)
        $copied = Get-FileSha256 -Path $Target
        if ($before -ceq $copied -and (Get-FileSha256 -Path $Source) -ceq $before) { return $copied }
        Start-Sleep -Milliseconds 500
    }
    throw (New-NodeFailure -Reason 'file_changed' -Message "$Source kept changing while it was copied")
}

function Get-Permission {
    # SDDL text (owner, group, entries) of a folder or file and of everything in it, each with the path relative to it. What cannot be read is listed without.
    param([string] $Path)
    $sections = [Security.AccessControl.AccessControlSections]'Owner, Group, Access'
    $paths = @($Path)
    if ([IO.Directory]::Exists($Path)) {
        $below = [IO.Directory]::GetFileSystemEntries($Path, '*', [IO.SearchOption]::AllDirectories)
        [Array]::Sort($below, [StringComparer]::Ordinal)
        $paths += $below
    }
    foreach ($each in $paths) {
        $sddl = ''
        try {
            $type = if ([IO.Directory]::Exists($each)) { 'DirectorySecurity' } else { 'FileSecurity' }
            $security = New-Object "System.Security.AccessControl.$type" $each, $sections
            $sddl = $security.GetSecurityDescriptorSddlForm($sections)
        }
        catch { $sddl = '' }
        $relative = $each.Substring($Path.Length).TrimStart('\')
        @{ path = if ($relative) { $relative } else { '.' }; sddl = $sddl }
    }
}

function Save-Permission {
    # Beside the copy, a line each: SDDL, a tab, the path; best effort. Returns how many could be read.
    param([string] $Path, [string] $Target)
    try { $found = @(Get-Permission -Path $Path) }
    catch { return 0 }
    $lines = foreach ($each in $found) { "{0}`t{1}`n" -f $(if ($each.sddl) { $each.sddl } else { '(unreadable)' }), $each.path }
    if ($Target) {
        $null = [IO.Directory]::CreateDirectory([IO.Path]::GetDirectoryName($Target))
        Write-NodeText -Path $Target -Text (-join $lines)
    }
    @($found | Where-Object { $_.sddl }).Count
}

function Write-Metadata {
    # node.json: what the control node knows and what only this node can tell. Returns the items in short. Without a folder nothing is written.
    param($Wanted, [string] $Folder)
    $document = [ordered]@{}
    foreach ($name in $Wanted.head.Keys) { $document[$name] = $Wanted.head[$name] }
    $document['collected'] = Get-UtcText
    $items = Get-NodeInventory -Wanted $Wanted
    foreach ($name in $Wanted.items.Keys) { $items[$name] = $Wanted.items[$name] }
    $document['items'] = $items
    if ($Folder) {
        $target = Join-Path -Path $Folder -ChildPath $Wanted.archive_path.Replace('/', '\')
        $null = [IO.Directory]::CreateDirectory([IO.Path]::GetDirectoryName($target))
        Write-NodeText -Path $target -Text ((ConvertTo-NodeJson -InputObject $document) + "`n")
    }
    foreach ($name in $items.Keys) { @{ id = $name; state = $items[$name].state; why = $items[$name].why } }
}

function Read-Verb {
    # One get-verb of AlteryxService.exe. Its text is a secret: it goes into the encrypted file and nowhere else, error texts included.
    param([string] $Verb)
    $answer = Invoke-NativeProcess -FileName $module.Params.executable -ArgumentList @($Verb) -TimeoutSeconds 120 -TickSeconds 0.1
    $text = $answer.stdout.Trim()
    # No exit code of these verbs is documented; what is empty or speaks of failure is not a secret.
    if (-not $text -or $text -match '(?i)\b(fail|failed|error|exception|unable|cannot|invalid)\b') {
        throw (New-NodeFailure -Reason 'secret_unreadable' -Message ('AlteryxService.exe {0} gave no usable answer (exit code {1}, {2} characters)' -f $Verb, $answer.exit_code, $text.Length))
    }
    $text
}

function Disable-CmsLogging {
    # Module logging, which a group policy switches on as a module is loaded, would write the arguments of Protect-CmsMessage into the event log.
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '', Justification = 'in this process only')]
    param()
    $command = Get-Command -Name 'Protect-CmsMessage' -CommandType Cmdlet
    # A runspace made by a program, as Ansible's are, has Microsoft.PowerShell.Security as a snap-in, a console has it as a module.
    foreach ($carrier in @($command.Module, $command.PSSnapIn)) {
        if ($null -ne $carrier) { $carrier.LogPipelineExecutionDetails = $false }
    }
}

function Protect-Secret {
    # CMS for every recipient; each opens it alone.
    param([string] $Text)
    Disable-CmsLogging
    $certificates = @(foreach ($pem in $module.Params.recipients) {
            $base64 = [regex]::Replace($pem, '-----[^-]+-----|\s', '')
            New-Object System.Security.Cryptography.X509Certificates.X509Certificate2 (, [Convert]::FromBase64String($base64))
        })
    Protect-CmsMessage -Content $Text -To $certificates
}

function Export-Secret {
    # Reads the secrets into memory and writes them encrypted; in clear text they are never in a file. Whatever fails, no part of the file is left.
    param([string] $Path)
    $secret = @{ schema = 1; run_id = $module.Params.run_id; computer = [Environment]::MachineName; created = Get-UtcText }
    $done = $false
    try {
        if ($module.Params.secrets -contains 'controller_token') { $secret['controller_token'] = Read-Verb -Verb 'getserversecret' }
        if ($module.Params.secrets -contains 'mongodb_passwords') {
            $text = Read-Verb -Verb 'getemongopassword'
            $passwords = @{}
            if ($text -match '(?im)^\s*Admin:\s*(\S+)\s*$') { $passwords['admin'] = $Matches[1] }
            if ($text -match '(?im)^\s*Non-Admin:\s*(\S+)\s*$') { $passwords['non_admin'] = $Matches[1] }
            if ($passwords.Count -ne 2) {
                throw (New-NodeFailure -Reason 'secret_unreadable' -Message 'AlteryxService.exe getemongopassword did not name an Admin and a Non-Admin password')
            }
            $secret['mongodb_passwords'] = $passwords
        }
        Write-NodeText -Path $Path -Text ((Protect-Secret -Text (ConvertTo-NodeJson -InputObject $secret)).TrimEnd() + "`n")
        $done = $true
    }
    finally {
        $secret.Clear()
        if (-not $done) {
            $folder = [IO.Path]::GetDirectoryName($Path)
            foreach ($left in [IO.Directory]::GetFiles($folder, ([IO.Path]::GetFileName($Path) + '*'))) { [IO.File]::Delete($left) }
        }
    }
}

Invoke-NodeModule -Module $module -Body {
    $staging = $module.Params.staging_directory
    $folder = Join-Path -Path $staging -ChildPath 'files'
    $module.Result['changed'] = $true
    $listed = New-Object System.Collections.ArrayList
    if (-not $module.CheckMode) {
        $null = New-RunStaging -Root ([IO.Path]::GetDirectoryName($staging)) -RunId ([IO.Path]::GetFileName($staging))
        $null = [IO.Directory]::CreateDirectory($folder)
    }
    foreach ($item in $module.Params.files) {
        $present = [IO.File]::Exists($item.source) -or [IO.Directory]::Exists($item.source)
        if (-not $present -and $item.required) {
            throw (New-NodeFailure -Reason 'critical_file_missing' -Message "The critical file $($item.source) is absent")
        }
        $entry = @{ id = $item.id; source = $item.source; present = $present; files = 0; bytes = [long]0; permissions = 0 }
        $null = $listed.Add($entry)
        if (-not $present) { continue }
        $sources = if ([IO.Directory]::Exists($item.source)) {
            @(Get-FolderFile -Path $item.source | ForEach-Object { @{ from = $_.full_path; to = '{0}/{1}' -f $item.archive_path, $_.path } })
        }
        else { @(, @{ from = $item.source; to = $item.archive_path }) }
        foreach ($pair in $sources) {
            $entry.files++
            $entry.bytes += (New-Object System.IO.FileInfo $pair.from).Length
            if ($module.CheckMode) { continue }
            $target = Join-Path -Path $folder -ChildPath $pair.to.Replace('/', '\')
            $null = [IO.Directory]::CreateDirectory([IO.Path]::GetDirectoryName($target))
            $null = Copy-Unchanged -Source $pair.from -Target $target
        }
        if ($item.permissions) {
            $target = if ($module.CheckMode) { '' } else { Join-Path -Path $folder -ChildPath ($item.archive_path.Replace('/', '\') + '.sddl') }
            $entry.permissions = Save-Permission -Path $item.source -Target $target
        }
    }
    $module.Result['files'] = $listed.ToArray()
    $module.Result['metadata'] = @()
    if ($module.Params._metadata.Count -gt 0) {
        $module.Result['metadata'] = @(Write-Metadata -Wanted $module.Params._metadata -Folder $(if ($module.CheckMode) { '' } else { $folder }))
    }
    $module.Result['secrets_file'] = ''
    $module.Result['secrets'] = @($module.Params.secrets)
    if ($module.Params.secrets.Count -gt 0 -and -not $module.CheckMode) {
        $path = Join-Path -Path $staging -ChildPath 'secrets.pem'
        Export-Secret -Path $path
        $module.Result['secrets_file'] = $path
    }
}

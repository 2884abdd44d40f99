#!powershell

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

#AnsibleRequires -CSharpUtil Ansible.Basic
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeModule
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeCatalogue

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$spec = @{
    options = @{
        # Written by `make docs` from backup_pin.yml.
        state = @{ type = 'str'; choices = @('pinned', 'unpinned'); default = 'pinned' }
        folder = @{ type = 'str'; required = $true }
        catalogues = @{ type = 'str'; required = $true }
        backup = @{ type = 'str'; required = $true }
        who = @{ type = 'str'; default = '' }
        why = @{ type = 'str'; default = '' }
        until = @{ type = 'str'; default = '' }
        _node = @{ type = 'str' }
        _who = @{ type = 'str' }
    }
    supports_check_mode = $true
}
$module = [Ansible.Basic.AnsibleModule]::Create($args, $spec)

function Test-SamePin {
    # Does the pin already have this content? The time when it was written does not matter.
    param([string] $Path, $Pin)
    if (-not [IO.File]::Exists($Path)) { return $false }
    try { $old = ConvertFrom-Json -InputObject (Read-CatalogueText -Path $Path) }
    catch { return $false }
    foreach ($name in @('who', 'why')) {
        if ((Get-FieldText -InputObject $old -Name $name) -cne $Pin[$name]) { return $false }
    }
    # Only the day is compared, because some versions of PowerShell write a time in another form.
    $until = Get-FieldText -InputObject $old -Name 'until'
    ($until + ' ' * 10).Substring(0, 10).Trim() -ceq ($Pin['until'] + ' ' * 10).Substring(0, 10).Trim()
}

Invoke-NodeModule -Module $module -Body {
    $folder = Join-Path -Path $module.Params.folder -ChildPath $module.Params._node
    $name = $module.Params.backup
    if ([IO.Path]::GetFileName($name) -cne $name) { throw "$name is not the name of a backup" }
    Assert-FolderTrust -Path $folder
    if (-not [IO.Directory]::Exists($folder) -or -not (Get-CatalogueFile -Path $folder).bases.ContainsKey($name)) {
        throw (New-NodeFailure -Reason 'pin_refused' -Message "$folder has no backup $name any more")
    }
    $path = Join-Path -Path $folder -ChildPath "$name.pin.json"
    $pin = [ordered]@{
        schema = 1; at = Get-UtcText; who = $module.Params.who; why = $module.Params.why; until = $module.Params.until
    }
    $pins = $module.Params.state -eq 'pinned'
    $isDone = if ($pins) { Test-SamePin -Path $path -Pin $pin } else { -not [IO.File]::Exists($path) }
    $module.Result['changed'] = -not $isDone
    if ($isDone -or $module.CheckMode) { return }
    $detail = @{ backup = $name }
    if ($pins) { foreach ($key in @('who', 'why', 'until')) { $detail["pin_$key"] = $pin[$key] } }
    $verb = if ($pins) { 'pin' } else { 'unpin' }
    Add-AuditLine -Folder $folder -Verb $verb -Who $module.Params._who -Detail $detail
    if ($pins) { Write-NodeText -Path $path -Text ((ConvertTo-NodeDocument -InputObject $pin) + "`n") }
    else { Remove-NodeFile -Path $path }
}

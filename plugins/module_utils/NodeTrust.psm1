# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeFailure
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeFiles

# Checks whether the folders of this collection on the node can be trusted. Users may create folders in ProgramData, and
# workers run users' code, so another account may have prepared a folder. A folder that is not trusted is not read and
# not deleted. This never prevents the start of a service.
#
# SDDL: Microsoft Learn, "Security Descriptor String Format" and "ACE Strings".

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$script:Trusted = @('SY', 'S-1-5-18', 'BA', 'S-1-5-32-544')

function Get-SddlProblem {
    <#
    .SYNOPSIS
    The problem of the owner and the access list of a folder, as a sentence without its subject; empty if only
    Administrators and SYSTEM have any rights. Sddl is the text of owner and DACL.
    #>
    param([Parameter(Mandatory = $true)][AllowEmptyString()][string] $Sddl)
    $owner = if ($Sddl -cmatch '^O:(S-[0-9-]+|[A-Z]{2})') { $Matches[1] } else { 'nobody' }
    if ($script:Trusted -cnotcontains $owner) { return "belongs to $owner, not to Administrators or SYSTEM" }
    # Windows writes NO_ACCESS_CONTROL for a null access list, which grants everything to every account.
    if ($Sddl -cnotmatch '(?s)D:([A-Z_]*)((?:\([^()]*\))*)(.*)' -or $Matches[1] -cmatch 'NO_ACCESS_CONTROL') {
        return 'has no access list, so everybody may write to it'
    }
    $flags, $entries, $rest = $Matches[1], $Matches[2], $Matches[3]
    if ($rest) { return "has an access list that is not understood: $rest" }
    if ($flags -cnotmatch 'P') { return 'inherits access from the folder above it' }
    foreach ($entry in [regex]::Matches($entries, '\(([^)]*)\)')) {
        $parts = $entry.Groups[1].Value.Split(';') + @('', '', '', '', '', '')
        if ($parts[1] -cmatch 'ID') { return "has an inherited entry for $($parts[5])" }
        # Besides A, conditional and object entries can also grant rights.
        $grants = @('D', 'OD', 'XD') -cnotcontains $parts[0]
        if ($grants -and $script:Trusted -cnotcontains $parts[5]) { return "grants access to $($parts[5])" }
    }
    ''
}

function Get-FolderLink {
    <# .SYNOPSIS
    Returns the part of a path that is a junction, a link or a mounted volume, or an empty text. #>
    param([Parameter(Mandatory = $true)][string] $Path)
    $found = ''
    for ($part = $Path; $part; $part = [IO.Path]::GetDirectoryName($part)) {
        if (-not [IO.Directory]::Exists($part)) { continue }
        if ([IO.File]::GetAttributes($part) -band [IO.FileAttributes]::ReparsePoint) { $found = $part }
    }
    $found
}

function Get-FolderDistrust {
    <#
    .SYNOPSIS
    Why a folder below the state or the code folder must not be trusted: a hashtable with the sentences link and access,
    which are empty if there is no problem. access is about the state or code folder itself, because an account that may
    not write there cannot have created anything below it. With Itself, the access list of the given folder is checked
    too; this is for a folder at another place.
    #>
    param([Parameter(Mandatory = $true)][string] $Path, [switch] $Itself)
    $answer = @{ path = $Path; link = ''; access = '' }
    $link = Get-FolderLink -Path $Path
    if ($link) { $answer.link = "$link is a link to somewhere else" }
    $judged = @(foreach ($own in @((Get-StateFolder), (Get-CodeFolder))) {
            if (Test-PathBelow -Path $Path -Folder $own) { $own }
        })
    if ($Itself) { $judged += $Path }
    foreach ($folder in $judged) {
        if (-not [IO.Directory]::Exists($folder)) { continue }
        try {
            $sections = [Security.AccessControl.AccessControlSections]'Owner, Access'
            $security = New-Object System.Security.AccessControl.DirectorySecurity $folder, $sections
            $problem = Get-SddlProblem -Sddl $security.GetSecurityDescriptorSddlForm($sections)
        }
        catch { $problem = "does not show its access list ($($_.Exception.GetBaseException().Message))" }
        if ($problem) { $answer.access = "$folder $problem" }
    }
    $answer
}

function Assert-FolderTrust {
    <#
    .SYNOPSIS
    Throws folder_untrusted, naming the folder, unless it may be trusted. The operator may accept the access list
    (alteryx_preflight_folder_trust: warn). A link is never accepted. Itself: see Get-FolderDistrust.
    #>
    param([Parameter(Mandatory = $true)][string] $Path, [switch] $Itself)
    $distrust = Get-FolderDistrust -Path $Path -Itself:$Itself
    $problem = $distrust.link
    $isStrict = [Environment]::GetEnvironmentVariable('ALTERYX_OPS_FOLDER_TRUST') -ne 'warn'
    if (-not $problem -and $isStrict) { $problem = $distrust.access }
    if ($problem) { throw (New-NodeFailure -Reason 'folder_untrusted' -Message $problem) }
}

Export-ModuleMember -Function Get-SddlProblem, Get-FolderLink, Get-FolderDistrust, Assert-FolderTrust

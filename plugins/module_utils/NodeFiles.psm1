# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Files and folders of a node. Text is UTF-8 without a byte order mark, in every version of PowerShell. A text file is
# replaced as a whole or stays unchanged.

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$script:Utf8 = New-Object System.Text.UTF8Encoding $false
# SYSTEM and Administrators only, inherited by everything below, nothing inherited from above.
$script:ProtectedSddl = 'O:BAG:BAD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)'

function Get-StateFolder {
    <# .SYNOPSIS
    The folder with the lease, the jobs and the logs of this collection on a node. #>
    Join-Path -Path ([Environment]::GetFolderPath('CommonApplicationData')) -ChildPath 'AlteryxOps'
}

function Get-CodeFolder {
    <# .SYNOPSIS
    The folder with the scripts that run without Ansible (guard, jobs) on a node. #>
    Join-Path -Path ([Environment]::GetFolderPath('ProgramFiles')) -ChildPath 'AlteryxOps'
}

function Test-PathBelow {
    <# .SYNOPSIS
    Is the path this folder, or inside it? #>
    param([Parameter(Mandatory = $true)][string] $Path, [Parameter(Mandatory = $true)][string] $Folder)
    ($Path.TrimEnd('\') + '\').StartsWith($Folder.TrimEnd('\') + '\', [StringComparison]::OrdinalIgnoreCase)
}

function New-ProtectedFolder {
    <#
    .SYNOPSIS
    Creates a folder that only SYSTEM and Administrators may touch, in one call, so that no other account can use the
    folder before it is protected. An existing folder is left as it is.
    #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'callers check')]
    param([Parameter(Mandatory = $true)][string] $Path)
    if ([IO.Directory]::Exists($Path)) { return }
    $security = New-Object System.Security.AccessControl.DirectorySecurity
    $security.SetSecurityDescriptorSddlForm($script:ProtectedSddl)
    $folder = New-Object System.IO.DirectoryInfo $Path
    # .NET Framework has the overload on DirectoryInfo itself, later .NET moved it to an extension class.
    $extensions = 'System.IO.FileSystemAclExtensions' -as [type]
    if ($null -ne $extensions) { $extensions::Create($folder, $security) }
    else { $folder.Create($security) }
}

function Read-NodeText {
    <# .SYNOPSIS
    The text of a file that another program may be replacing at the moment. #>
    param([Parameter(Mandatory = $true)][string] $Path)
    $share = [IO.FileShare]::ReadWrite -bor [IO.FileShare]::Delete
    $stream = New-Object System.IO.FileStream $Path, ([IO.FileMode]::Open), ([IO.FileAccess]::Read), $share
    try {
        $reader = New-Object System.IO.StreamReader $stream, $script:Utf8, $true
        $reader.ReadToEnd()
    }
    finally { $stream.Dispose() }
}

function Write-NodeText {
    <#
    .SYNOPSIS
    Writes a text file so that a reader sees the old or the new content, never a part: temporary name, flush to disk,
    rename.
    #>
    param(
        [Parameter(Mandatory = $true)][string] $Path,
        [Parameter(Mandatory = $true)][AllowEmptyString()][string] $Text
    )
    $temporary = '{0}.{1}.new' -f $Path, [Guid]::NewGuid().ToString('N')
    $bytes = $script:Utf8.GetBytes($Text)
    $stream = New-Object System.IO.FileStream $temporary, ([IO.FileMode]::CreateNew), ([IO.FileAccess]::Write),
    ([IO.FileShare]::None)
    try {
        $stream.Write($bytes, 0, $bytes.Length)
        $stream.Flush($true)
        $stream.Dispose()
    }
    catch {
        # On a full drive, the temporary file may hold a part of the text.
        try { $stream.Dispose() } catch { Write-Verbose -Message "$temporary`: $_" }
        [IO.File]::Delete($temporary)
        throw
    }
    # A reader, a virus scanner or a backup agent may hold the old file for some seconds.
    for ($attempt = 1; ; $attempt++) {
        try {
            if ([IO.File]::Exists($Path)) { [IO.File]::Replace($temporary, $Path, [NullString]::Value) }
            else { [IO.File]::Move($temporary, $Path) }
            return
        }
        catch {
            if ($attempt -ge 100) {
                [IO.File]::Delete($temporary)
                throw
            }
            Start-Sleep -Milliseconds 100
        }
    }
}

function Add-NodeText {
    <# .SYNOPSIS
    Appends text to a file, creating it. #>
    param(
        [Parameter(Mandatory = $true)][string] $Path,
        [Parameter(Mandatory = $true)][string] $Text
    )
    $bytes = $script:Utf8.GetBytes($Text)
    $share = [IO.FileShare]::ReadWrite -bor [IO.FileShare]::Delete
    $stream = New-Object System.IO.FileStream $Path, ([IO.FileMode]::Append), ([IO.FileAccess]::Write), $share
    try { $stream.Write($bytes, 0, $bytes.Length) }
    finally { $stream.Dispose() }
}

function Invoke-Patiently {
    <#
    .SYNOPSIS
    Runs Action until it succeeds, at most for Seconds, because another program may lock a file for some time. Returns
    the result of Action, or throws its last error. Throws at once when IsHopeless returns true. OnTick runs between
    attempts.
    #>
    param(
        [Parameter(Mandatory = $true)][scriptblock] $Action,
        [Parameter(Mandatory = $true)][double] $Seconds,
        [scriptblock] $OnTick = {},
        [scriptblock] $IsHopeless = { $false }
    )
    $watch = [Diagnostics.Stopwatch]::StartNew()
    while ($true) {
        try { return & $Action }
        catch { if ($watch.Elapsed.TotalSeconds -ge $Seconds -or (& $IsHopeless)) { throw } }
        $null = & $OnTick
        Start-Sleep -Milliseconds 200
    }
}

function Remove-NodeFile {
    <#
    .SYNOPSIS
    Removes a file; an absent one is fine. If another program locks the file, tries again, at most for Seconds.
    #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'callers check')]
    param([Parameter(Mandatory = $true)][string] $Path, [double] $Seconds = 15)
    Invoke-Patiently -Seconds $Seconds -Action { [IO.File]::Delete($Path) }
}

function Move-NodeFile {
    <#
    .SYNOPSIS
    Gives a file or folder another name on the same drive; never replaces anything. If another program locks it (a virus
    scanner opens every new file), tries again, at most for Seconds. OnTick runs meanwhile.
    #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'callers check')]
    param(
        [Parameter(Mandatory = $true)][string] $Path,
        [Parameter(Mandatory = $true)][string] $Target,
        [double] $Seconds = 15,
        [scriptblock] $OnTick = {}
    )
    Invoke-Patiently -Seconds $Seconds -OnTick $OnTick -Action {
        if ([IO.Directory]::Exists($Path)) { [IO.Directory]::Move($Path, $Target) }
        else { [IO.File]::Move($Path, $Target) }
    } -IsHopeless { [IO.File]::Exists($Target) -or [IO.Directory]::Exists($Target) }
}

function Set-NodeDecision {
    <#
    .SYNOPSIS
    Writes a word into a file, unless the file exists, and returns the word in the file. If two processes write at the
    same moment, the word of the first counts for both.
    #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'callers check')]
    param(
        [Parameter(Mandatory = $true)][string] $Path,
        [Parameter(Mandatory = $true)][string] $Word
    )
    $new = '{0}.{1}.new' -f $Path, [Guid]::NewGuid().ToString('N')
    try {
        if (-not [IO.File]::Exists($Path)) {
            [IO.File]::WriteAllText($new, $Word)
            Move-NodeFile -Path $new -Target $Path -Seconds 5
        }
    }
    catch { if (-not [IO.File]::Exists($Path)) { throw } }
    finally { try { [IO.File]::Delete($new) } catch { Write-Verbose -Message "${new}: $_" } }
    Invoke-Patiently -Seconds 5 -Action { Read-NodeText -Path $Path }
}

function Get-FileSha256 {
    <# .SYNOPSIS
    SHA-256 of a file as 64 lower-case hexadecimal digits. #>
    param([Parameter(Mandatory = $true)][string] $Path)
    $stream = New-Object System.IO.FileStream $Path, ([IO.FileMode]::Open), ([IO.FileAccess]::Read),
    ([IO.FileShare]::Read), 1048576
    # The CSP class, because it also works where FIPS mode forbids managed implementations.
    $algorithm = New-Object System.Security.Cryptography.SHA256CryptoServiceProvider
    try { ConvertTo-Hexadecimal -Bytes $algorithm.ComputeHash($stream) }
    finally {
        $algorithm.Dispose()
        $stream.Dispose()
    }
}

function Get-TextSha256 {
    <# .SYNOPSIS
    SHA-256 of a text in UTF-8 as 64 lower-case hexadecimal digits. #>
    param([Parameter(Mandatory = $true)][AllowEmptyString()][string] $Text)
    $algorithm = New-Object System.Security.Cryptography.SHA256CryptoServiceProvider
    try { ConvertTo-Hexadecimal -Bytes $algorithm.ComputeHash($script:Utf8.GetBytes($Text)) }
    finally { $algorithm.Dispose() }
}

function ConvertTo-Hexadecimal {
    <# .SYNOPSIS
    Bytes as lower-case hexadecimal digits. #>
    param([Parameter(Mandatory = $true)][AllowEmptyCollection()][byte[]] $Bytes)
    [BitConverter]::ToString($Bytes).Replace('-', '').ToLowerInvariant()
}

function ConvertTo-NodeJson {
    <# .SYNOPSIS
    One line of JSON. #>
    param([Parameter(Mandatory = $true)] $InputObject)
    ConvertTo-Json -InputObject $InputObject -Depth 20 -Compress
}

function ConvertTo-NodeDocument {
    <#
    .SYNOPSIS
    JSON for people, the same in every PowerShell and every run: a line for each value, two blanks a level. Ordered
    dictionaries keep the order of their keys; the keys of other dictionaries are sorted.
    #>
    param([Parameter(Mandatory = $true)] $InputObject)
    Format-Json -Text (ConvertTo-NodeJson -InputObject (ConvertTo-OrderedData -InputObject $InputObject))
}

function ConvertTo-OrderedData {
    param($InputObject)
    if ($InputObject -is [Collections.IDictionary]) {
        $keys = [string[]]@($InputObject.get_Keys())
        if ($InputObject -isnot [Collections.Specialized.OrderedDictionary]) {
            [Array]::Sort($keys, [StringComparer]::Ordinal)
        }
        $ordered = [ordered]@{}
        foreach ($key in $keys) { $ordered[$key] = ConvertTo-OrderedData -InputObject $InputObject[$key] }
        return $ordered
    }
    if ($InputObject -is [Collections.IList]) {
        $list = New-Object System.Collections.ArrayList
        foreach ($each in $InputObject) { $null = $list.Add((ConvertTo-OrderedData -InputObject $each)) }
        # With the comma, a list of one item or of no items stays a list.
        return , $list.ToArray()
    }
    $InputObject
}

function Format-Json {
    # JSON without blanks, as ConvertTo-Json -Compress writes it, with lines. Windows PowerShell escapes & ' < > as
    # \u0026 and so on, which makes a password unreadable for people.
    param([string] $Text)
    $builder = New-Object System.Text.StringBuilder
    $level = 0
    $isOpen = $false
    foreach ($token in [regex]::Matches($Text, '"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+')) {
        $value = $token.Value
        $isClosing = $value -eq '}' -or $value -eq ']'
        if ($isClosing) { $level-- }
        # An empty object or list has no line break between its brackets.
        if ($isOpen -ne $isClosing) { $null = $builder.Append("`n").Append([char]' ', 2 * $level) }
        if ($value.Contains('\u00')) {
            $value = [regex]::Replace($value, '\\(?:u00(26|27|3c|3e)|.)', {
                    param($Found)
                    if ($Found.Groups[1].Success) { [string][char][Convert]::ToInt32($Found.Groups[1].Value, 16) }
                    else { $Found.Value }
                })
        }
        $null = $builder.Append($value)
        if ($value -eq ':') { $null = $builder.Append(' ') }
        elseif ($value -eq ',') { $null = $builder.Append("`n").Append([char]' ', 2 * $level) }
        $isOpen = $value -eq '{' -or $value -eq '['
        if ($isOpen) { $level++ }
    }
    $builder.ToString()
}

Export-ModuleMember -Function @(
    'Get-StateFolder', 'Get-CodeFolder', 'Test-PathBelow', 'New-ProtectedFolder', 'Read-NodeText', 'Write-NodeText',
    'Add-NodeText', 'Invoke-Patiently', 'Remove-NodeFile', 'Move-NodeFile', 'Set-NodeDecision', 'Get-FileSha256',
    'Get-TextSha256', 'ConvertTo-Hexadecimal', 'ConvertTo-NodeJson', 'ConvertTo-NodeDocument'
)

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What the archive job is compared with, in one engine on the same data: a copy by the disk, one core's deflate of what
# was read, and what .NET brings.

$folder = 'D:\bench\staging\files'
$buffer = New-Object byte[] 1048576

function Measure-Pass {
    param([string] $Name, [scriptblock] $Body)
    $watch = [Diagnostics.Stopwatch]::StartNew()
    & $Body
    '{0}={1}' -f $Name, $watch.Elapsed.TotalSeconds.ToString([Globalization.CultureInfo]::InvariantCulture)
}

function Copy-Data {
    param([IO.Stream] $Target)
    foreach ($file in [IO.Directory]::GetFiles($folder)) {
        $source = [IO.File]::OpenRead($file)
        try { while (($count = $source.Read($buffer, 0, $buffer.Length)) -gt 0) { $Target.Write($buffer, 0, $count) } }
        finally { $source.Dispose() }
    }
}

Measure-Pass -Name 'read and write' -Body {
    $target = [IO.File]::Create('D:\bench\copy.bin')
    try {
        Copy-Data -Target $target
        $target.Flush($true)
    }
    finally { $target.Dispose() }
}
Measure-Pass -Name 'deflate of one core' -Body {
    $level = [IO.Compression.CompressionLevel]::Optimal
    $target = New-Object System.IO.Compression.DeflateStream ([IO.Stream]::Null), $level
    try { Copy-Data -Target $target } finally { $target.Dispose() }
}
Measure-Pass -Name 'ZipFile.CreateFromDirectory' -Body {
    [IO.Compression.ZipFile]::CreateFromDirectory(
        $folder, 'D:\bench\dotnet.zip', [IO.Compression.CompressionLevel]::Optimal, $false)
}

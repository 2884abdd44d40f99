# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Judges damaged copies of files in memory, all in this process. C:\chaos\work.txt has a line each: kind (zip or bson),
# file, what (flip, cut or clean), where (bit of the file, or its new length). C:\chaos\answers.txt gets a line each:
# SHA-256 of what was judged, number of problems, documents.

Import-NodeType -Name 'ZipReader', 'ManifestReader', 'BsonWalker', 'ArchiveVerifier'
$contents = @{}
$answers = New-Object System.IO.StreamWriter 'C:\chaos\answers.txt'
$algorithm = New-Object System.Security.Cryptography.SHA256CryptoServiceProvider
try {
    foreach ($line in [IO.File]::ReadAllLines('C:\chaos\work.txt')) {
        $kind, $file, $what, $where = $line.Split(' ')
        if (-not $contents.ContainsKey($file)) { $contents[$file] = [IO.File]::ReadAllBytes($file) }
        $bytes = $contents[$file].Clone()
        $position = [long]$where
        if ($what -eq 'flip') {
            $at = [int][Math]::Floor($position / 8)
            $bytes[$at] = $bytes[$at] -bxor [byte](1 -shl ($position % 8))
        }
        elseif ($what -eq 'cut') { [Array]::Resize([ref]$bytes, [int]$position) }
        if ($kind -eq 'zip') {
            $problems = New-Object AlteryxOps.ProblemList
            $open = [Func[IO.Stream]] { New-Object System.IO.MemoryStream (, $bytes) }
            $verifier = New-Object AlteryxOps.ArchiveVerifier $open, $problems
            $verifier.Run()
            $answers.WriteLine(('{0} {1} {2}' -f $verifier.ArchiveSha256, $problems.Total, $verifier.Documents))
        }
        else {
            $result = [AlteryxOps.BsonWalker]::Walk((New-Object System.IO.MemoryStream (, $bytes)))
            $sum = (ConvertTo-Hexadecimal -Bytes $algorithm.ComputeHash($bytes))
            $answers.WriteLine(('{0} {1} {2}' -f $sum, [int]($result.Problem -ne ''), $result.Documents))
        }
    }
}
finally {
    $answers.Dispose()
    $algorithm.Dispose()
}

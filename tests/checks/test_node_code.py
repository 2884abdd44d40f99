# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Node code must mean the same in Windows PowerShell 5.1 on .NET Framework as in the lab's newer engine.

The rules below find what silently differs; RULES says why each one is there. PowerShell is judged on its syntax tree
(node_rules.ps1, one process for all files and all examples), C# on its text without comments.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.checks import csharp_text, powershell, sources

RULES = {
    "alias": "aliases differ between versions and hosts: write the command's name",
    "ansi": "Encoding.Default is the ANSI code page in 5.1 and UTF-8 in 7: name the encoding",
    "assembly": "5.1 does not load this type's assembly by itself: Add-Type -AssemblyName in the file that uses it",
    "console": "nobody watches a console on a node: use the module's result or the job's log",
    "culture": (
        "gives other text on a host with other regional settings: pass InvariantCulture, "
        "StringComparison.Ordinal, ToLowerInvariant"
    ),
    "encoded-command": "virus scanners stop encoded commands: plain text only",
    "exit": "ends the whole host process, Ansible's wrapper included: return or throw",
    "fips": "throws on a host with FIPS policy: use [Security.Cryptography.SHA256CryptoServiceProvider]",
    "foreign-assembly": "our C# refers to the .NET Framework only, so that mcs can hold it to C# 5",
    "invoke-expression": "runs text as code: use the call operator or a script block",
    "json-depth": "ConvertTo-Json cuts silently below depth 2: name -Depth",
    "native-program": (
        "native programs go through the one process helper: output decoding and standard error differ between versions"
    ),
    "newer-than-5.1": "exists in the lab's engine but not in PowerShell 5.1 or .NET Framework",
    "non-ascii": "5.1 reads a script without byte order mark as ANSI: write ASCII, with [char]0x.. where needed",
    "redirection": "5.1 makes error records of redirected standard error (fatal under Stop) and UTF-16 files of >",
    "split": (
        "Split('ab') splits at 'ab' in 7 and at every a and b in 5.1: use -split or [string[]] with StringSplitOptions"
    ),
    "strict": "without strict mode and Stop a misspelt name is silently empty",
    "syntax": "does not parse",
    "text-cmdlet": "its encoding differs between versions: use [IO.File] with explicit UTF-8",
    "tls": (
        "the default protocols of .NET Framework may be TLS 1.0: set SecurityProtocol to Tls12 or name it in the call"
    ),
    "wildcard-path": "[ and ] in a path would be a wildcard: use -LiteralPath",
    "wmi": "not in newer versions (and Win32_Product repairs every MSI package it lists): use Get-CimInstance",
}

# (path, rule) -> why this one place is right. An entry that excuses nothing any more fails the test.
EXCEPTIONS: dict[tuple[str, str], str] = {}

STRICT = "Set-StrictMode -Version 2.0\n$ErrorActionPreference = 'Stop'\n"

# Per rule: snippets that must be found, snippets that must pass.
POWERSHELL_EXAMPLES: dict[str, tuple[list[str], list[str]]] = {
    "alias": (
        ["$x | % { $_ }", "$x | where { $_ }", "ls C:\\", "gci"],
        ["$x | ForEach-Object { $_ }", "# ls -l", "$x.where({ $_ })"],
    ),
    "ansi": (["[Text.Encoding]::Default.GetString($b)"], ["[Text.Encoding]::UTF8.GetString($b)"]),
    "assembly": (
        [
            "[IO.Compression.ZipFile]::OpenRead($x)",
            "param([ServiceProcess.ServiceController] $x)",
            "New-Object IO.Compression.ZipArchive($s)",
        ],
        [
            (
                "Add-Type -AssemblyName System.IO.Compression, System.IO.Compression.FileSystem\n"
                "[IO.Compression.ZipFile]::OpenRead($x)"
            ),
            "Add-Type -AssemblyName System.ServiceProcess\n[ServiceProcess.ServiceController]$x = 1",
            "New-Object IO.Compression.DeflateStream($s, 1)",
        ],
    ),
    "console": (["Write-Host 'x'"], ["'Write-Host x'", "Write-Verbose 'x'"]),
    "culture": (
        [
            "(Get-Date).ToString('yyyyMMdd')",
            '$size.ToString("N2")',
            "'{0:N1} GB' -f $size",
            "'{0:yyyy-MM-dd}' -f $date",
            "'{0,10:P0}' -f $part",
            "[string]::Format('{0:D3}', $n)",
            "Get-Date -Format yyyyMMdd",
            "[double]::Parse($text)",
            "[datetime]::TryParse($text, [ref]$out)",
            "$name.ToLower()",
            "$name.StartsWith('AS_')",
        ],
        [
            "(Get-Date).ToString('yyyyMMdd', [cultureinfo]::InvariantCulture)",
            "$time.ToUniversalTime().ToString('o')",
            "[guid]::NewGuid().ToString('N')",
            "$byte.ToString('x2')",
            "'{0}: {1,5} {2:x4}' -f $a, $b, $c",
            "Get-Date -Format o",
            "[double]::Parse($text, [cultureinfo]::InvariantCulture)",
            "[string]::Format([cultureinfo]::InvariantCulture, '{0:N1}', $n)",
            "$name.StartsWith('AS_', [StringComparison]::Ordinal)",
            "$name.ToLowerInvariant()",
            "# '{0:N1}' -f $size",
        ],
    ),
    "encoded-command": (
        ["$a = 'powershell.exe -NoProfile -EncodedCommand ' + $x", "Invoke-Tool -EncodedCommand $x", '$a = "-enc $x"'],
        ["$a = 'no encoded command here'", "# -EncodedCommand"],
    ),
    "exit": (["if ($bad) { exit 1 }", "function f { exit }"], ["$module.ExitJson()", "'exit 1'", "# exit"]),
    "fips": (
        [
            "[Security.Cryptography.SHA256]::Create()",
            "New-Object System.Security.Cryptography.SHA256Managed",
            "[System.Security.Cryptography.SHA256Managed]::new()",
            "[Security.Cryptography.HashAlgorithm]::Create('MD5')",
        ],
        ["New-Object Security.Cryptography.SHA256CryptoServiceProvider", "# [Security.Cryptography.SHA256]::Create()"],
    ),
    "invoke-expression": (["Invoke-Expression $x", "iex $x"], ["& $block", "'Invoke-Expression'"]),
    "json-depth": (
        ["$x | ConvertTo-Json", "ConvertTo-Json -InputObject $x -Compress"],
        ["ConvertTo-Json -InputObject $x -Depth 9", "ConvertTo-Json @splat"],
    ),
    "native-program": (
        [
            "schtasks /query",
            "& 'C:\\x\\mongodump.exe' --version",
            "whoami.exe",
            "Start-Process -FilePath $x",
            "net stop x",
        ],
        ["Start-NativeProgram -Path 'C:\\x\\mongodump.exe'", "& $scriptBlock", "# schtasks /query"],
    ),
    "newer-than-5.1": (
        [
            "[IO.File]::Move($a, $b, $true)",
            "$process.Kill($true)",
            "$start.ArgumentList.Add('x')",
            "[IO.Path]::Join('a', 'b')",
            "[Convert]::ToHexString($bytes)",
            "[Security.Cryptography.SHA256]::HashData($bytes)",
            "[IO.File]::ReadAllTextAsync($path).Result",
            "[Environment]::TickCount64",
            "$a = $b ?? 1",
            "$a ??= 1",
            "$a = $b ? 1 : 2",
            "Get-Item -LiteralPath x && Get-Item -LiteralPath y",
            "Get-Item -LiteralPath x || Get-Item -LiteralPath y",
            "${a}?.Length",
            "1..3 | ForEach-Object -Parallel { $_ }",
            "$x | ConvertFrom-Json -AsHashtable",
            "$x | ConvertFrom-Json -Depth 5",
            "Get-Date -AsUTC",
            "Join-Path a b c",
            "Split-Path -LeafBase $x",
            "if ($IsWindows) { 1 }",
            "Get-Process\n    | Sort-Object Id",
            "Get-Process &",
            "$a = 0b101",
            '"`e[0m"',
            '"`u{1F600}"',
            "$a.Replace('a', 'b', [StringComparison]::Ordinal)",
            "$a.Contains('a', [StringComparison]::Ordinal)",
            "New-Object System.IO.EnumerationOptions",
            "[System.Net.Http.SocketsHttpHandler]::new()",
        ],
        [
            "[IO.File]::Move($a, $b)",
            "$process.Kill()",
            "Start-Job -ScriptBlock $x -ArgumentList 1",
            "[IO.Path]::Combine('a', 'b')",
            "$x | ConvertFrom-Json",
            "Join-Path a b",
            "Split-Path -Leaf $x",
            "Get-Process |\n    Sort-Object Id",
            "'a && b || c ?? d'",
            "# $a ?? $b",
            '"``e"',
            "$a = 0x1F; $b = 1KB; $c = 5l",
            "$a | Where-Object { $_ } | ForEach-Object { $_ }",
        ],
    ),
    "redirection": (
        ["& $tool 2>&1", "& $tool 2> $null", "& $tool > out.txt", "& $tool *> $null", "'x' >> log.txt"],
        ["$list.Add(1) > $null", "'a > b 2>&1'", "$a -gt $b"],
    ),
    "split": (
        ["'a, b'.Split(', ')"],
        ["'a,b'.Split(',')", "'a, b' -split ', '", "$a.Split([string[]]@(', '), [StringSplitOptions]::None)"],
    ),
    "syntax": (["if ($a {"], ["if ($a) { 1 }"]),
    "text-cmdlet": (
        ["Get-Content -LiteralPath $x", "Set-Content -Path x -Value 1", "'x' | Out-File x", "Add-Content x 1"],
        ["[IO.File]::ReadAllText($x)", "'Get-Content'", "# Get-Content"],
    ),
    "tls": (
        [
            "Invoke-RestMethod -Uri $u",
            "(New-Object Net.WebClient).DownloadString($u)",
            "$stream.AuthenticateAsClient($name)",
        ],
        ["[Net.ServicePointManager]::SecurityProtocol = [Net.SecurityProtocolType]::Tls12\nInvoke-RestMethod -Uri $u"],
    ),
    "wildcard-path": (
        ["Test-Path $x", "Remove-Item -Path $x", "Get-ChildItem $x -Recurse", "Test-Path 'C:\\a[1]'"],
        ["Test-Path -LiteralPath $x", "Get-Item 'HKLM:\\SOFTWARE'", "$items | Remove-Item", "Remove-Item @splat"],
    ),
    "wmi": (
        [
            "Get-WmiObject Win32_Service",
            "[wmi]'x'",
            "[wmiclass]'Win32_Process'",
            "Get-CimInstance -ClassName Win32_Product",
        ],
        ["Get-CimInstance -ClassName Win32_Service", "# Get-WmiObject"],
    ),
}

# Rule -> pattern over C# code without comments and without the contents of texts.
CSHARP_CODE = {
    "ansi": r"\bEncoding\.Default\b",
    "culture": r"\.To(Lower|Upper)\(\s*\)"
    r"|\b(DateTime|DateTimeOffset|double|Double|decimal|Decimal|float|Single)\.Parse\([^,()]*(\([^()]*\))?[^,()]*\)",
    "fips": r"\b(SHA1|SHA256|SHA384|SHA512|MD5|HashAlgorithm|Aes|Rijndael)\.Create\(|\b(SHA\d+|Aes|Rijndael)Managed\b",
    "foreign-assembly": r"\bSystem\.Management\.Automation\b|\bAnsible\.Basic\b",
    "newer-than-5.1": r"\.HashData\(|\.ToHexString(Lower)?\(|\bTickCount64\b|\bPath\.Join\(|\.ArgumentList\b"
    r"|\.Kill\(\s*true|\b(ReadAll|WriteAll|AppendAll)\w*Async\(|\bFile\.Move\([^;]*,[^;]*,[^;]*\)"
    r"|\bRandom\.Shared\b|\bSpan<",
    "tls": r"\bAuthenticateAsClient\([^,()]*\)",
}
# Rule -> pattern over C# code without comments, contents of texts included.
CSHARP_TEXT = {
    "culture": r"""\.ToString\(\s*"(?![oOsu]"|[xX]\d*")[^"]*"\s*\)"""
    r"""|\b[sS]tring\.Format\(\s*"[^"]*\{\d+(,-?\d+)?:(?![xX]\d*\})"""
    r"""|\.(StartsWith|EndsWith|IndexOf|LastIndexOf)\(\s*"[^"]*"\s*\)""",
    "encoded-command": r"(?i)-(EncodedCommand|enc)\b",
}
CSHARP_EXAMPLES: dict[str, tuple[list[str], list[str]]] = {
    "ansi": (
        ["Encoding.Default.GetBytes(x);"],
        ["Encoding.UTF8.GetBytes(x); // not Encoding.Default", 'Say("Encoding.Default");'],
    ),
    "culture": (
        [
            'now.ToString("yyyy");',
            'string.Format("{0:N1}", n);',
            "name.ToLower();",
            "double.Parse(text);",
            'name.StartsWith("a");',
        ],
        [
            'now.ToString("yyyy", CultureInfo.InvariantCulture);',
            'now.ToString("o");',
            'string.Format("{0} {1:x2}", n, m);',
            "name.ToLowerInvariant();",
            "double.Parse(text, CultureInfo.InvariantCulture);",
            'name.StartsWith("a", StringComparison.Ordinal);',
        ],
    ),
    "encoded-command": (['Run("powershell -EncodedCommand x");'], ["// -EncodedCommand"]),
    "fips": (
        ["SHA256.Create();", "new SHA256Managed();"],
        ["new SHA256CryptoServiceProvider();", "/* SHA256.Create() */"],
    ),
    "foreign-assembly": (["using System.Management.Automation;", "using Ansible.Basic;"], ["using System.Management;"]),
    "newer-than-5.1": (
        [
            "File.Move(a, b, true);",
            "x.Kill(true);",
            "Convert.ToHexString(x);",
            "SHA256.HashData(x);",
            "Path.Join(a, b);",
            "Environment.TickCount64;",
        ],
        ["File.Move(a, b);", "process.Kill();", 'Say("Path.Join(a)");', "int a = b ?? c; bool d = e && f ? g : h;"],
    ),
    "tls": (
        ["stream.AuthenticateAsClient(name);"],
        ["stream.AuthenticateAsClient(name, null, SslProtocols.Tls12, true);"],
    ),
}


@dataclass(frozen=True, order=True)
class Finding:
    """One place that breaks a rule."""

    path: str
    line: int
    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.text.strip()}\n    {RULES[self.rule]}"


@pytest.fixture(scope="session")
def powershell_findings(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, list[Finding]]:
    """Findings per file: the collection's PowerShell and every example, from one run of the parser."""
    folder = tmp_path_factory.mktemp("node-code")
    for rule, (bad, good) in POWERSHELL_EXAMPLES.items():
        for kind, snippets in (("bad", bad), ("good", good)):
            for number, snippet in enumerate(snippets):
                (folder / f"{rule} {kind} {number}.ps1").write_text(STRICT + snippet + "\n", encoding="utf-8")
    (folder / "no strict mode.ps1").write_text(
        "$ErrorActionPreference = 'Stop'\nfunction f { Set-StrictMode -Version 2.0 }\n", encoding="utf-8"
    )
    (folder / "no stop.ps1").write_text(
        "Set-StrictMode -Version 2.0\n$ErrorActionPreference = 'Continue'\n", encoding="utf-8"
    )
    (folder / "both.ps1").write_text(STRICT, encoding="utf-8")

    paths = [*sorted(folder.glob("*.ps1")), *sources.node_code(".ps1", ".psm1")]
    request, answer = folder / "request.json", folder / "answer.json"
    request.write_text(json.dumps([str(path) for path in paths]), encoding="utf-8")
    powershell.run(Path(__file__).with_name("node_rules.ps1"), request, answer)
    found: dict[Path, list[Finding]] = {path: [] for path in paths}
    for entry in json.loads(answer.read_text(encoding="utf-8"))["findings"]:
        path = Path(entry["path"])
        found[path].append(Finding(sources.shown(path), entry["line"], entry["rule"], entry["text"]))
    return found


def _example(findings: dict[Path, list[Finding]], name: str) -> list[str]:
    return [finding.rule for path, found in findings.items() if path.name == name for finding in found]


def csharp_findings(path: str, source: str) -> list[Finding]:
    """What the C# rules find in one source."""
    found = []
    for patterns, text in (
        (CSHARP_CODE, csharp_text.code_only(source)),
        (CSHARP_TEXT, csharp_text.without_comments(source)),
    ):
        for rule, pattern in patterns.items():
            for match in re.finditer(pattern, text):
                line = text.count("\n", 0, match.start()) + 1
                found.append(Finding(path, line, rule, source.splitlines()[line - 1]))
    return found


def encoding_findings(path: str, content: bytes) -> list[Finding]:
    """Characters beyond ASCII in a file without byte order mark."""
    if content.startswith(b"\xef\xbb\xbf") or content.isascii():
        return []
    lines = content.split(b"\n")
    return [
        Finding(path, number, "non-ascii", line.decode("utf-8", "replace"))
        for number, line in enumerate(lines, 1)
        if not line.isascii()
    ]


def unexcused(findings: list[Finding], exceptions: dict[tuple[str, str], str]) -> list[str]:
    """Findings without an exception, and exceptions without a finding."""
    stale = set(exceptions) - {(finding.path, finding.rule) for finding in findings}
    return [str(finding) for finding in sorted(findings) if (finding.path, finding.rule) not in exceptions] + [
        f"{path}: the exception for {rule} excuses nothing, remove it" for path, rule in sorted(stale)
    ]


def test_powershell_keeps_the_rules(powershell_findings: dict[Path, list[Finding]]) -> None:
    findings = [
        finding for path, found in powershell_findings.items() if path.is_relative_to(sources.ROOT) for finding in found
    ]
    problems = unexcused(findings, {key: reason for key, reason in EXCEPTIONS.items() if not key[0].endswith(".cs")})
    assert not problems, "\n".join(problems)


def test_csharp_keeps_the_rules() -> None:
    findings = [
        finding
        for path in sources.node_code(".cs")
        for finding in csharp_findings(sources.shown(path), path.read_text(encoding="utf-8-sig"))
    ]
    problems = unexcused(findings, {key: reason for key, reason in EXCEPTIONS.items() if key[0].endswith(".cs")})
    assert not problems, "\n".join(problems)


def test_node_code_is_ascii_or_marked() -> None:
    paths = sources.node_code(".ps1", ".psm1", ".cs")
    problems = [str(finding) for path in paths for finding in encoding_findings(sources.shown(path), path.read_bytes())]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("rule", sorted(POWERSHELL_EXAMPLES))
def test_powershell_rule_finds_the_bad_and_passes_the_good(
    powershell_findings: dict[Path, list[Finding]], rule: str
) -> None:
    bad, good = POWERSHELL_EXAMPLES[rule]
    missed = [
        snippet
        for number, snippet in enumerate(bad)
        if rule not in _example(powershell_findings, f"{rule} bad {number}.ps1")
    ]
    blamed = [
        snippet
        for number, snippet in enumerate(good)
        if rule in _example(powershell_findings, f"{rule} good {number}.ps1")
    ]
    assert (missed, blamed) == ([], [])


def test_strict_mode_and_stop_are_demanded_at_the_top_level(powershell_findings: dict[Path, list[Finding]]) -> None:
    assert [_example(powershell_findings, name) for name in ("no strict mode.ps1", "no stop.ps1", "both.ps1")] == [
        ["strict"],
        ["strict"],
        [],
    ]


@pytest.mark.parametrize("rule", sorted(CSHARP_EXAMPLES))
def test_csharp_rule_finds_the_bad_and_passes_the_good(rule: str) -> None:
    bad, good = CSHARP_EXAMPLES[rule]
    missed = [snippet for snippet in bad if rule not in {finding.rule for finding in csharp_findings("x", snippet)}]
    blamed = [snippet for snippet in good if rule in {finding.rule for finding in csharp_findings("x", snippet)}]
    assert (missed, blamed) == ([], [])


def test_non_ascii_needs_a_byte_order_mark() -> None:
    assert [finding.line for finding in encoding_findings("x", "a\n# gr\u00fcn\n".encode())] == [2]
    assert encoding_findings("x", "\ufeff# gr\u00fcn\n".encode()) == []


def test_every_rule_has_an_example_and_a_stale_exception_fails() -> None:
    assert set(RULES) == set(POWERSHELL_EXAMPLES) | set(CSHARP_EXAMPLES) | {"non-ascii", "strict"}
    assert unexcused([], {("plugins/x.ps1", "alias"): "reason"}) == [
        "plugins/x.ps1: the exception for alias excuses nothing, remove it"
    ]
    finding = Finding("plugins/x.ps1", 1, "alias", "ls")
    assert unexcused([finding], {("plugins/x.ps1", "alias"): "reason"}) == []

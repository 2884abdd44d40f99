# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every C# source that runs on a node compiles as C# 5 against .NET Framework assemblies, as Windows
PowerShell 5.1 compiles it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.checks import powershell, sources

# What Add-Type and Ansible's loader refer to on .NET Framework; anything else must be said by //AssemblyReference.
REFERENCES = ["System.dll", "System.Core.dll"]
_REFERENCE = re.compile(r"//\s*AssemblyReference\s+-Name\s+(?P<name>[\w.]+)(?:\s+-CLR\s+(?P<clr>Core|Framework))?")


def compile_csharp(folder: Path, *paths: Path) -> str:
    """Compile these sources together; returns what the compiler complains about, warnings included."""
    if not shutil.which("mcs"):
        pytest.skip("no mcs (Debian packages mono-mcs and libmono-cil-dev): C# 5 is not checked")
    texts = [path.read_text(encoding="utf-8-sig") for path in paths]
    named = {match["name"] for text in texts for match in _REFERENCE.finditer(text) if match["clr"] != "Core"}
    command = [
        "mcs",
        "-langversion:5",
        "-target:library",
        "-unsafe",
        "-warnaserror",
        f"-out:{folder / 'checked.dll'}",
        "-noconfig",
    ]
    command += [f"-r:{name}" for name in sorted({*REFERENCES, *named})] + [str(path) for path in paths]
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=120, stdin=subprocess.DEVNULL)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def embedded_csharp(folder: Path, scripts: list[Path]) -> list[Path]:
    """C# texts inside PowerShell files (for Add-Type), each as a file of its own."""
    request, answer = folder / "request.json", folder / "answer.json"
    request.write_text(json.dumps([str(path) for path in scripts]), encoding="utf-8")
    powershell.run(Path(__file__).with_name("node_rules.ps1"), request, answer)
    found = []
    for entry in json.loads(answer.read_text(encoding="utf-8"))["csharp"]:
        path = folder / f"{Path(entry['path']).stem}-line-{entry['line']}.cs"
        path.write_text(entry["source"], encoding="utf-8")
        found.append(path)
    return found


def test_csharp_sources_compile(tmp_path: Path) -> None:
    paths = sources.node_code(".cs")
    complaints = compile_csharp(tmp_path, *paths) if paths else ""
    assert not complaints, complaints


def test_csharp_inside_powershell_compiles(tmp_path: Path) -> None:
    complaints = "".join(
        compile_csharp(tmp_path, path) for path in embedded_csharp(tmp_path, sources.node_code(".ps1", ".psm1"))
    )
    assert not complaints, complaints


@pytest.mark.parametrize(
    ("body", "error"),
    [
        pytest.param('public static string A(int b) { return $"{b}"; }', "CS1644", id="C# 6 interpolated text"),
        pytest.param("public static string A(string b) { return b?.Trim(); }", "CS1644", id="C# 6 null-conditional"),
        pytest.param(
            "public static void A() { System.IO.File.Move(null, null, true); }", "CS1501", id="newer overload"
        ),
        pytest.param(
            "public static object A() { return new System.IO.Compression.ZipArchive(null); }",
            "CS0234",
            id="unnamed assembly",
        ),
        pytest.param("public static void A() { int unused = 1; }", "CS0219", id="warning"),
    ],
)
def test_what_5_1_cannot_compile_is_refused(tmp_path: Path, body: str, error: str) -> None:
    source = tmp_path / "planted.cs"
    source.write_text(f"public class Planted {{ {body} }}\n", encoding="utf-8")
    assert f"error {error}" in compile_csharp(tmp_path, source)


def test_named_assembly_is_referred_to(tmp_path: Path) -> None:
    source = tmp_path / "good.cs"
    text = (
        "//AssemblyReference -Name System.IO.Compression.dll\n"
        "public class G { public static System.IO.Compression.ZipArchive A() { return null; } }\n"
    )
    source.write_text(text, encoding="utf-8")
    assert compile_csharp(tmp_path, source) == ""


def test_csharp_inside_powershell_is_found(tmp_path: Path) -> None:
    script = tmp_path / "script.ps1"
    script.write_text(
        "Add-Type -TypeDefinition @'\nusing System;\npublic class A { public int B; }\n'@\n", encoding="utf-8"
    )
    found = embedded_csharp(tmp_path, [script])
    assert [path.name for path in found] == ["script-line-1.cs"]
    assert compile_csharp(tmp_path, *found) == ""

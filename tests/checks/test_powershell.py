# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PSScriptAnalyzer with the Windows PowerShell 5.1 compatibility profiles over all PowerShell that runs on a node."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.checks import powershell, sources

# (path, rule) -> why it stays. An entry that excuses nothing any more fails the test.
EXCEPTIONS: dict[tuple[str, str], str] = {}
# Rules that are wrong wherever they speak.
EXCUSED_RULES = {
    "PSReviewUnusedParameter": "this version does not see a parameter's use inside a script block of the same function"
}

# Types the profiles do not list, because they hold only what a fresh 5.1 has loaded; .NET Framework 4.6 has each of
# them, and test_node_code.py demands the Add-Type that loads their assembly.
IGNORED_TYPES = [
    "System.ServiceProcess.ServiceController",
    "System.ServiceProcess.ServiceControllerStatus",
    "System.IO.Compression.ZipArchive",
    "System.IO.Compression.ZipArchiveEntry",
    "System.IO.Compression.ZipArchiveMode",
    "System.IO.Compression.ZipFile",
    "System.IO.Compression.ZipFileExtensions",
    # Ansible's own, compiled on the node before the module runs.
    "Ansible.Basic.AnsibleModule",
]

PLANTED = """
function Get-Planted {
    $unused = [Environment]::TickCount64
    [System.Text.Json.JsonSerializer]::Serialize(1)
    Remove-Service -Name x
    $PSVersionTable ?? 'none'
}
"""
PLANTED_RULES = {
    "PSUseCompatibleCommands",
    "PSUseCompatibleSyntax",
    "PSUseCompatibleTypes",
    "PSUseDeclaredVarsMoreThanAssignments",
}


@dataclass(frozen=True, order=True)
class Finding:
    """One warning or error of the analyzer."""

    path: str
    line: int
    rule: str
    text: str


@pytest.fixture(scope="session")
def findings(tmp_path_factory: pytest.TempPathFactory) -> list[Finding]:
    """What the analyzer says about the collection's files and one file with planted faults."""
    folder = tmp_path_factory.mktemp("script-analyzer")
    planted = folder / "planted.ps1"
    planted.write_text(PLANTED, encoding="utf-8")
    request, answer = folder / "request.json", folder / "answer.json"
    paths = [planted, *sources.node_code(".ps1", ".psm1")]
    request.write_text(
        json.dumps({"paths": [str(path) for path in paths], "ignored_types": _spellings(IGNORED_TYPES)}),
        encoding="utf-8",
    )
    powershell.run(Path(__file__).with_name("script_analyzer.ps1"), powershell.script_analyzer(), request, answer)
    found = json.loads(answer.read_text(encoding="utf-8"))
    return [
        Finding(sources.shown(Path(entry["path"])), entry["line"] or 0, entry["rule"], entry["text"]) for entry in found
    ]


def _spellings(types: list[str]) -> list[str]:
    # The analyzer compares with the text as written, and PowerShell lets one leave out System.
    return [*types, *(name.removeprefix("System.") for name in types)]


def unexcused(findings: list[Finding], exceptions: dict[tuple[str, str], str]) -> list[str]:
    """Findings without an exception, and exceptions without a finding."""
    stale = set(exceptions) - {(finding.path, finding.rule) for finding in findings}
    kept = [
        finding
        for finding in sorted(findings)
        if finding.rule not in EXCUSED_RULES and (finding.path, finding.rule) not in exceptions
    ]
    return [f"{finding.path}:{finding.line}: {finding.rule}: {finding.text}" for finding in kept] + [
        f"{path}: the exception for {rule} excuses nothing, remove it" for path, rule in sorted(stale)
    ]


def test_script_analyzer_has_nothing_to_say(findings: list[Finding]) -> None:
    problems = unexcused([finding for finding in findings if finding.path != "planted.ps1"], EXCEPTIONS)
    assert not problems, "\n".join(problems)


def test_planted_faults_are_found(findings: list[Finding]) -> None:
    found = {finding.rule for finding in findings if finding.path == "planted.ps1"}
    assert found >= PLANTED_RULES


def test_exceptions_are_narrow_and_stale_ones_fail() -> None:
    finding = Finding("plugins/x.ps1", 3, "PSRule", "text")
    assert unexcused([finding], {}) == ["plugins/x.ps1:3: PSRule: text"]
    assert unexcused([finding], {("plugins/x.ps1", "PSRule"): "reason"}) == []
    assert len(unexcused([finding], {("plugins/y.ps1", "PSRule"): "reason"})) == 2

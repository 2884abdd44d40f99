# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Node code gets the files whose functions and types it uses, and names no file that comes anyway.

A line #AnsibleRequires brings a file with everything that it requires itself: Ansible resolves the lines transitively.
Jobs get the whole set of scripts() and read no such line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from ansible.executor.powershell.module_manifest import PSModuleDepFinder

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._node import _node_code
from tests.checks import sources

FOLDER = sources.ROOT / "plugins" / "module_utils"
MODULES = sorted((sources.ROOT / "plugins" / "modules").glob("*.ps1"))
UTILS = sorted(FOLDER.glob("*.psm1"))
PACKAGE = "ansible_collections.alteryx_ops.server_backup.plugins.module_utils"

Graph = Mapping[str, set[str]]
"""File of module_utils -> the files that it requires."""


def required(text: str) -> set[str]:
    """The files of ours that a script requires by its own lines."""
    found = re.findall(rf"(?m)^#AnsibleRequires -(PowerShell|CSharpUtil) {re.escape(PACKAGE)}\.(\w+)$", text)
    return {name + (".psm1" if kind == "PowerShell" else ".cs") for kind, name in found}


def brought(names: set[str], graph: Graph) -> set[str]:
    """These files and all that come with them."""
    seen: set[str] = set()
    left = list(names)
    while left:
        if (name := left.pop()) not in seen:
            seen.add(name)
            left += graph.get(name, ())
    return seen


def code_only(text: str) -> str:
    """A script without its comments."""
    return re.sub(r"(?m)(^|\s)#.*$", "", re.sub(r"(?s)<#.*?#>", "", text))


def exported(utils: Mapping[str, str]) -> dict[str, str]:
    """Function -> the file that exports it."""
    found = {}
    for name, text in utils.items():
        said = re.search(r"(?s)Export-ModuleMember -Function (.*)$", text)
        for function in re.findall(r"[\w]+-[\w]+", said[1]) if said else ():
            found[function] = name
    return found


def used(name: str, text: str, functions: Mapping[str, str]) -> set[str]:
    """The files of ours whose functions and types a script uses."""
    code = code_only(text)
    own = set(re.findall(r"(?m)^\s*function ([\w-]+)", code))
    called = {functions[word] for word in set(re.findall(r"(?<![\w-])[A-Z]\w+-\w+", code)) - own if word in functions}
    types = {f"{kind}.cs" for kind in re.findall(r"AlteryxOps\.(\w+)", code)}
    return (called | {kind for kind in types if (FOLDER / kind).is_file()}) - {name}


def problems(name: str, text: str, graph: Graph, functions: Mapping[str, str]) -> list[str]:
    """Lines that a script lacks, and lines that it could do without."""
    lines, needs = required(text), used(name, text, functions)
    found = [f"{name} uses {other} and does not require it" for other in sorted(needs - brought(lines, graph))]
    for line in sorted(lines):
        if line in brought(lines - {line}, graph):
            found.append(f"{name} requires {line}, which comes with another file")
        elif line not in needs:
            found.append(f"{name} requires {line} and does not use it")
    return found


TEXTS = {path.name: path.read_text(encoding="utf-8") for path in UTILS}
GRAPH = {name: required(text) for name, text in TEXTS.items()}
FUNCTIONS = exported(TEXTS)


@pytest.mark.parametrize("path", [*UTILS, *MODULES], ids=lambda path: path.name)
def test_every_script_requires_what_it_uses_and_nothing_else(path: Path) -> None:
    assert problems(path.name, path.read_text(encoding="utf-8"), GRAPH, FUNCTIONS) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_ansible_brings_a_module_all_that_its_lines_bring(path: Path) -> None:
    found = PSModuleDepFinder().scan_module(path.read_bytes(), fqn=PACKAGE.replace("module_utils", "modules"))
    ours = {name.removeprefix(f"{PACKAGE}.") for name in found if name.startswith(PACKAGE)}
    assert ours == brought(required(path.read_text(encoding="utf-8")), GRAPH)


def test_what_a_job_uses_is_in_the_set_that_a_node_gets() -> None:
    shipped = json.loads(_node_code.scripts())
    assert {"job_host.ps1", "window_job.ps1", "ProcessTable.cs"} <= shipped.keys()
    missing = {name: used(name, text, FUNCTIONS) - shipped.keys() for name, text in shipped.items()}
    assert {name: files for name, files in missing.items() if files} == {}


def test_planted_lines_are_found() -> None:
    def script(*names: str) -> str:
        lines = "".join(f"#AnsibleRequires -PowerShell {PACKAGE}.{name}\n" for name in names)
        return lines + "<# Get-C #>\nGet-A -Path $x # Get-B\n"

    graph = {"A.psm1": {"B.psm1"}, "B.psm1": set(), "C.psm1": set()}
    functions = exported({name: f"Export-ModuleMember -Function Get-{name[0]}" for name in graph})
    assert problems("x", script("A"), graph, functions) == []
    assert problems("x", script("A", "B"), graph, functions) == ["x requires B.psm1, which comes with another file"]
    assert problems("x", script("A", "C"), graph, functions) == ["x requires C.psm1 and does not use it"]
    assert problems("x", script("B"), graph, functions)[0] == "x uses A.psm1 and does not require it"

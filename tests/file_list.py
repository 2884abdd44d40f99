# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page with one line for each file of the collection, docs/files.md (`make docs`): the first sentence at the head
of the file, so that the page cannot differ from the files."""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "files.md"
_HEAD = """<!-- Written by `make docs` from the head of each file. Do not edit. -->
# Files

One line for each file of the collection and of the lab: what it knows or does. [CONTRIBUTING.md](../CONTRIBUTING.md)
says where a change belongs, [architecture.md](architecture.md) how the parts work together.
"""
_ROOMS = {
    "_ansible": "the only room that knows Ansible",
    "_archive": "archives, their manifests, and the catalogue",
    "_copy": "destinations and copies",
    "_core": "what all others need",
    "_database": "MongoDB and dumps",
    "_fleet": "the nodes of a fleet and their facts",
    "_node": "jobs and scripts on a node",
    "_plan": "the plan of a run",
    "_report": "outcome, summary and log",
    "_restore": "restore and rollback",
    "_retention": "retention",
    "_server_api": "the API of the Server",
}
_LICENSE = re.compile(r"Copyright|GNU General Public|SPDX-|AnsibleRequires")


def page() -> str:
    """The text of the page."""
    lines = [_HEAD]
    for title, files in _sections():
        lines += [f"\n## {title}\n"]
        for file in files:
            name = file.parts[-3] if file.name == "argument_specs.yml" else file.name
            lines += _wrapped(f"- `{name}`: {sentence(file)}")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"


def sentence(file: Path) -> str:
    """The first sentence at the head of a file. Of a module or role: its short description. Of a playbook: its name."""
    text = file.read_text(encoding="utf-8")
    if file.name == "argument_specs.yml":
        text = "; ".join(spec["short_description"] for spec in yaml.safe_load(text)["argument_specs"].values())
    elif file.parent.name == "modules":
        text = yaml.safe_load(text)["DOCUMENTATION"]["short_description"]
    elif file.suffix == ".yml":
        text = next(part["name"] for part in yaml.safe_load(text))
    elif file.suffix == ".py":
        text = ast.get_docstring(ast.parse(text)) or ""
    else:
        text = _comment(text)
    text = " ".join(text.split())
    found = re.match(r".+?[.?](?=\s|$)", text)
    return (found[0] if found else text).rstrip(".")


def _comment(text: str) -> str:
    """The first comment that is not about the license."""
    paragraph: list[str] = []
    for line in text.splitlines():
        match = re.match(r"\s*(?:#|//|\*|/\*)+\s?(.*?)\s*(?:\*/)?$", line)
        words = match[1] if match else ""
        if words and not _LICENSE.search(words):
            paragraph.append(words)
        elif paragraph:
            break
    return " ".join(paragraph)


def _sections() -> list[tuple[str, list[Path]]]:
    rooms = sorted({file.parent.name for file in _files("plugins/plugin_utils/*/*.py")})
    return [
        ("playbooks", _files("playbooks/*.yml")),
        ("roles", _files("roles/*/meta/argument_specs.yml")),
        (
            "plugins/modules: with `NAME.ps1` for the node, `action/NAME.py` for the control node, or both",
            _files("plugins/modules/*.yml"),
        ),
        *(
            (f"plugins/plugin_utils/{room}: {_ROOMS[room]}", _files(f"plugins/plugin_utils/{room}/*.py"))
            for room in rooms
        ),
        (
            "plugins/module_utils: scripts and jobs on the node",
            [file for file in _files("plugins/module_utils/*") if file.suffix != ".cs"],
        ),
        ("plugins/module_utils: C#", _files("plugins/module_utils/*.cs")),
        ("plugins/callback", _files("plugins/callback/*.py")),
        ("tests/lab", _files("tests/lab/*.py")),
        ("tests: what several folders of tests use", _files("tests/*.py")),
    ]


def _files(pattern: str) -> list[Path]:
    """The files of a pattern, without the empty ones of Python's packages."""
    return sorted(file for file in ROOT.glob(pattern) if file.is_file() and file.name != "__init__.py")


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 120, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)

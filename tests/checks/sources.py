# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files the static checks look at."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.lab import layout

ROOT = layout.ROOT


def project_files() -> list[Path]:
    """Every file of ours that is, or is about to be, part of the project; nothing a tool or the lab made."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=False,
        text=True,
    )
    if listed.returncode == 0:
        found = {ROOT / name for name in listed.stdout.split("\0") if name}
    else:  # an unpacked archive: no git there
        made = {"collections", "__pycache__"}
        found = {
            path
            for path in ROOT.rglob("*")
            if not any(part in made or part.startswith(".") for part in path.relative_to(ROOT).parts)
        }
    # Without the lab's PowerShell: a separate program (.NET 10 C#), taken over unchanged, which no rule here fits.
    own = {path for path in found if not path.is_relative_to(layout.PWSH_SOURCES)}
    return sorted(path for path in own if path.is_file() and not path.is_symlink())


def node_code(*suffixes: str) -> list[Path]:
    """What runs on a node, by suffix: everything under plugins and roles, and what a person runs
    there (tests/windows)."""
    folders = tuple(ROOT / folder for folder in ("plugins", "roles", "tests/windows"))
    return [
        path
        for path in project_files()
        if path.suffix in suffixes and any(path.is_relative_to(folder) for folder in folders)
    ]


def shown(path: Path) -> str:
    """The path as people name it: relative to the repository."""
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name


def load_yaml(path: Path) -> Any:
    """What a YAML file holds; nothing where there is no file."""
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None


def tasks(entries: Any) -> Iterator[dict[str, Any]]:
    """All tasks of a list of tasks or plays, those in blocks included."""
    for entry in entries if isinstance(entries, list) else []:
        yield entry
        for key in ("tasks", "block", "rescue", "always"):
            yield from tasks(entry.get(key))

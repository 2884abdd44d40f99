# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files the static checks look at."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.lab import layout

ROOT = layout.ROOT


def project_files() -> list[Path]:
    """Every file that is, or is about to be, part of the project; nothing a tool or the lab made."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=False, text=True
    )
    if listed.returncode == 0:
        found = {ROOT / name for name in listed.stdout.split("\0") if name}
    else:  # an unpacked archive: no git there
        made = {"collections", "__pycache__"}
        found = {path for path in ROOT.rglob("*") if not any(part in made or part.startswith(".") for part in path.relative_to(ROOT).parts)}
    return sorted(path for path in found if path.is_file() and not path.is_symlink())


def node_code(*suffixes: str) -> list[Path]:
    """What runs on a node, by suffix: everything under plugins and roles."""
    return [path for path in project_files() if path.suffix in suffixes and path.relative_to(ROOT).parts[0] in {"plugins", "roles"}]


def shown(path: Path) -> str:
    """The path as people name it: relative to the repository."""
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name

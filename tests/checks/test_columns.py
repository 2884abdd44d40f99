# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of code and text have at most 120 columns."""

from __future__ import annotations

import re
from pathlib import Path

from tests.checks import sources

COLUMNS = 120
# A word (an address, a key, a hash) and what Ansible wants on one line cannot be broken either.
UNBREAKABLE = re.compile(r"\W*\S+|#AnsibleRequires .+")
# Drawings, and what tools write or machines have recorded.
OTHERS = (".json", ".svg", "CHANGELOG.rst", "changelogs/changelog.yaml")
RECORDED = sources.ROOT / "tests" / "windows" / "transcripts"


def too_wide(name: str, text: str) -> list[str]:
    """FILE:LINE of every line that is too wide, and how wide it is."""
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > COLUMNS and not UNBREAKABLE.fullmatch(line):
            found.append(f"{name}:{number}: {len(line)} columns")
    return found


def measured() -> list[Path]:
    """Every file that people write."""
    return [
        path
        for path in sources.project_files()
        if not sources.shown(path).endswith(OTHERS) and not path.is_relative_to(RECORDED)
    ]


def test_no_line_is_too_wide() -> None:
    found = [line for path in measured() for line in too_wide(sources.shown(path), path.read_text(encoding="utf-8"))]
    assert not found, "\n".join(found)


def test_every_kind_of_text_is_measured() -> None:
    kinds = {path.suffix or path.name for path in measured()}
    assert kinds >= {".py", ".ps1", ".psm1", ".cs", ".c", ".h", ".yml", ".md", ".toml", "Makefile", "bootstrap"}


def test_a_planted_wide_line_is_found() -> None:
    wide = "x " * 61
    assert too_wide("a.py", f"{'x' * 120}\n{wide}\n") == ["a.py:2: 122 columns"]
    assert too_wide("a.yml", f"# https://example.test/{'x' * 120}\n") == []
    assert too_wide("a.ps1", f"#AnsibleRequires -PowerShell {wide}\n# {wide}\n") == ["a.ps1:2: 124 columns"]
    assert too_wide("a.md", f"| {wide} |\n{wide}\n") == ["a.md:1: 126 columns", "a.md:2: 122 columns"]

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A copy of the collection with one line changed: what the tests must notice."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.lab import layout

_PARTS = ("plugins", "roles", "playbooks", "meta", "galaxy.yml")


@dataclass(frozen=True)
class CollectionCopy:
    """The copy; its playbooks run with its own plugins and roles."""

    root: Path

    @classmethod
    def make(cls, folder: Path) -> CollectionCopy:
        """Copy the collection below a folder."""
        root = folder / "collections" / "ansible_collections" / "alteryx_ops" / "server_backup"
        root.mkdir(parents=True)
        for part in _PARTS:
            source = layout.ROOT / part
            if source.is_dir():
                shutil.copytree(source, root / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, root / part)
        return cls(root)

    @property
    def playbooks(self) -> Path:
        """Where to run its playbooks."""
        return self.root / "playbooks"

    @property
    def environment(self) -> dict[str, str]:
        """What lets ansible-playbook find this collection and no other."""
        return {"ANSIBLE_COLLECTIONS_PATH": str(self.root.parents[2])}

    def change(self, file: str, line: str, to: str) -> None:
        """Replace a text that stands exactly once in a file."""
        path = self.root / file
        text = path.read_text(encoding="utf-8")
        assert text.count(line) == 1, f"{file} has changed: {line!r} stands there {text.count(line)} times"
        path.write_text(text.replace(line, to), encoding="utf-8")

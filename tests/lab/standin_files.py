# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a stand-in node, as the collection's PowerShell reads and writes them; and its clocks."""

from __future__ import annotations

import datetime
import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

STATE_FOLDER = r"C:\ProgramData\AlteryxOps"


@dataclass(frozen=True)
class FoundFile:
    """A file below a folder: path relative to it, with /."""

    path: str
    full_path: Path

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return self.full_path.stat().st_size

    @property
    def modified(self) -> float:
        """When it was written last, Unix time."""
        return self.full_path.stat().st_mtime


def utc_text(time: float | None = None) -> str:
    """A Unix time, or now, as the node's results write it: 2026-09-01T02:00:00.123Z."""
    moment = datetime.datetime.now(datetime.UTC) if time is None else datetime.datetime.fromtimestamp(time, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def write_text(file: Path, text: str) -> None:
    """Replace a text file whole; its folder is made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f"{file.name}.{os.getpid()}-{threading.get_ident()}.new")
    draft.write_bytes(text.encode())
    draft.replace(file)


def sha256(file: Path) -> str:
    """SHA-256 of a file as 64 lower-case hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def files_below(folder: Path) -> list[FoundFile]:
    """Every file below a folder in the order in which a Windows node lists them (the separator sorts as a backslash)."""
    return sorted(_walk(folder), key=lambda found: found.path.replace("/", "\\"))


def bytes_below(folder: Path) -> int:
    """Sum of the sizes of all files below a folder; 0 where there is none."""
    return sum(found.size for found in _walk(folder))


def _walk(folder: Path) -> Iterator[FoundFile]:
    for root, _, names in os.walk(folder):
        for name in names:
            full_path = Path(root, name)
            yield FoundFile(full_path.relative_to(folder).as_posix(), full_path)

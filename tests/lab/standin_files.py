# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a stand-in node, as the collection's PowerShell reads and writes them."""

from __future__ import annotations

import datetime
import os
import threading
from pathlib import Path

STATE_FOLDER = r"C:\ProgramData\AlteryxOps"


def utc_text(time: float | None = None) -> str:
    """A Unix time, or now, as the node's results write it: 2026-09-01T02:00:00.123Z."""
    zone = datetime.UTC
    moment = datetime.datetime.now(zone) if time is None else datetime.datetime.fromtimestamp(time, zone)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def write_text(file: Path, text: str) -> None:
    """Replace a text file whole; its folder is made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f"{file.name}.{os.getpid()}-{threading.get_ident()}.new")
    draft.write_bytes(text.encode())
    draft.replace(file)


def files_below(folder: Path) -> dict[str, Path]:
    """Every file below a folder: path relative to it, with /, to the file. Empty where there is no such folder."""
    return {file.relative_to(folder).as_posix(): file for file in sorted(folder.rglob("*")) if file.is_file()}

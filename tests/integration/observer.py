# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a node, seen from outside: for tests that nothing was changed, or that a text is in no file."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.lab.node import Node

# Where Alteryx, this collection and Ansible write. The rest of drive C is Wine and PowerShell.
WATCHED = (r"C:\ProgramData", r"C:\Program Files\Alteryx", r"C:\Program Files\AlteryxOps", "D:\\")
# The live database and the logs of service and lab change by themselves.
_MOVING = (
    r"D:\Alteryx\Service\Persistence",
    r"D:\Alteryx\Service\AlteryxServiceLog.log",
    r"D:\Alteryx\Service\mongoDBLog.log",
)
_PROGRAMS = (".exe", ".dll", ".msstyles", ".nls")


def tree(node: Node) -> dict[str, tuple[int, int] | None]:
    """Path -> size and time of change of every file (None: a folder) that a run could touch."""
    found: dict[str, tuple[int, int] | None] = {}
    for path in _walk(node, WATCHED):
        status = path.stat()
        found[str(path.relative_to(node.folder))] = None if path.is_dir() else (status.st_size, status.st_mtime_ns)
    return found


def difference(before: dict[str, tuple[int, int] | None], after: dict[str, tuple[int, int] | None]) -> list[str]:
    """Paths that came, went or changed."""
    return sorted(
        path
        for path in before.keys() | after.keys()
        if path not in before or path not in after or before[path] != after[path]
    )


def files(node: Node, since: float) -> Iterator[Path]:
    """Every file of the node: its drives, its registry, and the files of the lab about it. Without programs that were
    not changed since that time (Unix time), and without files that the nodes of a lab share and do not change (hard
    links)."""
    for root, _unused, names in os.walk(node.folder):
        for path in (Path(root, name) for name in names):
            status = path.lstat()
            program = path.suffix.lower() in _PROGRAMS and status.st_ctime < since
            if stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and not program:
                yield path


def _walk(node: Node, folders: Iterable[str]) -> Iterator[Path]:
    moving = {node.path(path) for path in _MOVING}
    for folder in folders:
        top = node.path(folder)
        for root, names, file_names in os.walk(top):
            here = Path(root)
            names[:] = [name for name in names if here / name not in moving]
            yield from (
                here / name
                for name in [*names, *file_names]
                if here / name not in moving and not (here / name).is_symlink()
            )

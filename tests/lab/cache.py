# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Things made once and used by every node: made in a temporary folder, then renamed, so that a
half-made one is never seen."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from . import layout


@contextmanager
def lock(name: str) -> Iterator[None]:
    """One process at a time; the others wait and then find the work done."""
    layout.CACHE.mkdir(parents=True, exist_ok=True)
    with (layout.CACHE / f".{name}.lock").open("w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def folder(name: str, fill: Callable[[Path], None]) -> Path:
    """The cache folder of this name, filled by ``fill`` if it is not there yet."""
    target = layout.CACHE / name
    if target.is_dir():
        return target
    with lock(name):
        if target.is_dir():
            return target
        draft = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=layout.CACHE))
        try:
            fill(draft)
            draft.chmod(0o755)  # mkdtemp makes it private
            draft.rename(target)
            for older in layout.CACHE.glob(name.rpartition("-")[0] + "-*"):  # the same thing made of former sources
                if older != target:
                    shutil.rmtree(older, ignore_errors=True)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return target


def sha256(file: Path) -> str:
    """SHA-256 of a file as 64 lower-case hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest(*parts: str | bytes | Path) -> str:
    """A short name for what these strings and files make together."""
    total = hashlib.sha256()
    for part in parts:
        content = part.read_bytes() if isinstance(part, Path) else part.encode() if isinstance(part, str) else part
        total.update(hashlib.sha256(content).digest())
    return total.hexdigest()[:16]

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies on a node, seen from outside: for "nothing was touched", and for secrets in clear text."""

from __future__ import annotations

import base64
import gzip
import os
import urllib.parse
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.lab.node import Node

# Where Alteryx, this collection and Ansible write. The rest of drive C is Wine and PowerShell.
WATCHED = (r"C:\ProgramData", r"C:\Program Files\Alteryx", r"C:\Program Files\AlteryxOps", "D:\\")
_CANARY_FOLDERS = (*WATCHED, r"C:\users", r"C:\windows\temp", r"C:\windows\system32\Tasks", r"C:\AlteryxLab")
# The live database and the logs of service and lab change by themselves.
_MOVING = (r"D:\Alteryx\Service\Persistence", r"D:\Alteryx\Service\AlteryxServiceLog.log", r"D:\Alteryx\Service\mongoDBLog.log")
_CHUNK_MEMORY = 64 * 1024 * 1024


def tree(node: Node) -> dict[str, tuple[int, int] | None]:
    """Path -> size and time of change of every file (None: a folder) that a run could touch."""
    found: dict[str, tuple[int, int] | None] = {}
    for path in _walk(node, WATCHED):
        status = path.stat()
        found[str(path.relative_to(node.folder))] = None if path.is_dir() else (status.st_size, status.st_mtime_ns)
    return found


def difference(before: dict[str, tuple[int, int] | None], after: dict[str, tuple[int, int] | None]) -> list[str]:
    """Paths that came, went or changed."""
    return sorted(path for path in before.keys() | after.keys() if path not in before or path not in after or before[path] != after[path])


def files(node: Node, leave_out: Iterable[Path] = ()) -> Iterator[Path]:
    """Files of the node in which a secret could lie."""
    out = set(leave_out)
    yield from (path for path in _walk(node, _CANARY_FOLDERS) if path.is_file() and path not in out)


def secrets_in(content: bytes, secrets: dict[str, str]) -> list[str]:
    """Names of the secrets that stand in this content: plain, UTF-16, URL, hexadecimal, base64 at every offset, and all of it in gzip or zlib."""
    found = [name for name, secret in secrets.items() if any(form in content for form in _forms(secret))]
    for inner in _unpacked(content):
        found += [name for name, secret in secrets.items() if any(form in inner for form in _forms(secret))]
    return sorted(set(found))


def _forms(secret: str) -> set[bytes]:
    plain = [secret.encode(), secret.encode("utf-16-le")]
    forms = set(plain)
    forms.add(urllib.parse.quote(secret, safe="").encode())
    for text in plain:
        forms |= {text.hex().encode(), text.hex().upper().encode()}
        for offset in range(3):
            # The first and last characters depend on the neighbours: only the middle is certain.
            encoded = base64.b64encode(b"\0" * offset + text)
            forms.add(encoded[(4 if offset else 0):-4])
            forms.add(encoded[(4 if offset else 0):-4].decode().encode("utf-16-le"))
    return forms


def _unpacked(content: bytes) -> Iterator[bytes]:
    at = content.find(b"\x1f\x8b\x08")
    while at >= 0:
        try:
            yield zlib.decompressobj(wbits=31).decompress(content[at:], _CHUNK_MEMORY)
        except (zlib.error, gzip.BadGzipFile, EOFError):
            pass  # three bytes that only look like it
        at = content.find(b"\x1f\x8b\x08", at + 1)


def _walk(node: Node, folders: Iterable[str]) -> Iterator[Path]:
    moving = {node.path(path) for path in _MOVING}
    for folder in folders:
        top = node.path(folder)
        for root, names, file_names in os.walk(top):
            here = Path(root)
            names[:] = [name for name in names if here / name not in moving]
            yield from (here / name for name in [*names, *file_names] if here / name not in moving and not (here / name).is_symlink())

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An observer of a run: reads the command line of every process of the machine, and files that exist only for a
moment."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

_SECONDS = 0.03
_LARGEST = 1 << 20  # a dump is read when it is in the archive


class Onlooker:
    """Looks while it is entered.

    Args:
        folders: where files may come and go.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="onlooker", daemon=True)
        self._seen: set[tuple[str, int, int]] = set()
        self.command_lines: set[bytes] = set()
        self.files: dict[str, set[bytes]] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join(30)

    def contents(self) -> list[bytes]:
        """Contents of all files it has seen."""
        return [content for contents in self.files.values() for content in contents]

    def _run(self) -> None:
        while not self._ending.wait(_SECONDS):
            for process in os.listdir("/proc"):  # noqa: PTH208  # thirty times a second: names alone
                if process.isdigit():
                    with contextlib.suppress(OSError):
                        self.command_lines.add(Path("/proc", process, "cmdline").read_bytes())
            for folder in self._folders:
                for root, _unused, names in os.walk(folder):
                    for name in names:
                        with contextlib.suppress(OSError):
                            self._look(Path(root, name))

    def _look(self, file: Path) -> None:
        status = file.stat()
        key = (str(file), status.st_mtime_ns, status.st_size)
        if key not in self._seen and status.st_size <= _LARGEST:
            self._seen.add(key)
            self.files.setdefault(file.name, set()).add(file.read_bytes())

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a run keeps its files on a node. Only this file and, on the node, NodeStaging.psm1 put these paths together."""

from __future__ import annotations

import ntpath
from dataclasses import dataclass

_DUMP = "database"
DUMP_PREFIX = f"{_DUMP}/"
"""Where the dump is in an archive, which has the names of the files in staging with slashes."""


@dataclass(frozen=True)
class Staging:
    """The folder of a run in the staging directory of a node."""

    directory: str
    run_id: str

    @property
    def folder(self) -> str:
        """The folder of the run, which the archive job removes."""
        return ntpath.join(self.directory, self.run_id)

    @property
    def files(self) -> str:
        """What becomes the archive."""
        return ntpath.join(self.folder, "files")

    @property
    def dump(self) -> str:
        """What the dump tool writes; part of the files."""
        return ntpath.join(self.files, _DUMP)

    @property
    def mongodump_config(self) -> str:
        """Holds the password of MongoDB as long as mongodump runs; not part of the files."""
        return ntpath.join(self.folder, "mongodump.config")


def archive_folder(directory: str, node: str) -> str:
    """Where the archives of a node are in its archive directory."""
    return ntpath.join(directory, node)


def archive_file(folder: str, base_name: str) -> str:
    """The archive of a backup in the folder of its node."""
    return ntpath.join(folder, f"{base_name}.zip")


def log_folder(state_folder: str) -> str:
    """Where the log of a run without an archive goes."""
    return ntpath.join(state_folder, "logs")

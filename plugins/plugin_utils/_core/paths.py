# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths on a node: how an operator may write one, and where a run keeps its files. Only this file and, on the node,
NodeStaging.psm1 build these paths."""

from __future__ import annotations

import ntpath
import re
from dataclasses import dataclass

NODE_PATHS: dict[str, str] = {
    "staging_directory": "alteryx_preflight_staging_directory",
    "archive_directory": "alteryx_archive_directory",
    "archive_folder": "alteryx_archive_directory",
    "folder": "alteryx_archive_directory",
    "folders": "",
    "target": "",
    "try_folders": "",
    "work_directory": "alteryx_restore_work_directory",
    "data_folder": "alteryx_restore_data_folder",
    "mongodump": "alteryx_preflight_mongodump",
    "tls_ca_file": "alteryx_preflight_mongodb_connections",
    "tls_certificate_key_file": "alteryx_preflight_mongodb_connections",
}
"""Options of modules that are paths on a node -> the variable from which a role takes them, "" for several."""

_BACKSLASH = "\\"
# The control characters that Ansible (-e NAME=VALUE) and YAML in double quotes make from a backslash and a letter.
_ESCAPES = {"\0": "0", "\a": "a", "\b": "b", "\t": "t", "\n": "n", "\v": "v", "\f": "f", "\r": "r"}

_DUMP = "database"
DUMP_PREFIX = f"{_DUMP}/"
"""The folder of the dump in an archive. Names in an archive are the names in staging, with slashes."""


def read_node_path(text: str) -> str:
    """Converts a path on a node that an operator wrote, also with slashes, to the form of Windows.

    Raises:
        ValueError: Ansible or YAML changed the path; the text, which is the rest of a sentence, says how.
    """
    if found := re.search(r"[\x00-\x1f\x7f]", text):
        written = re.sub(r"[\x00-\x1f\x7f]", lambda each: f"\\{_letter(each[0])}", text)
        better = f"{written.replace(_BACKSLASH, '/')} or {written.replace(_BACKSLASH, 2 * _BACKSLASH)}"
        raise ValueError(
            f"contains a control character: \\{_letter(found[0])} in {written} was read as one. "
            f"Write {better}; in YAML, put the path in single quotes"
        )
    if re.match(r"[A-Za-z]:[^\\/]", text):
        raise ValueError(
            f"is {text}, without a backslash after the drive. A shell removes a backslash that is not in quotes: write "
            f"the path with slashes, for example {text[:2]}/AlteryxBackups"
        )
    is_absolute = re.match(r"[A-Za-z]:[\\/]|[\\/]{2}", text)
    return text.replace("/", _BACKSLASH) if is_absolute else text


def _letter(control: str) -> str:
    """The letter that follows the backslash in the escape of a control character."""
    return _ESCAPES.get(control, f"x{ord(control):02x}")


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
        """The folder of the files that become the archive."""
        return ntpath.join(self.folder, "files")

    @property
    def dump(self) -> str:
        """The folder that the dump tool writes, inside the folder of the files."""
        return ntpath.join(self.files, _DUMP)

    @property
    def mongodump_config(self) -> str:
        """The file with the password of MongoDB while mongodump runs; not inside the folder of the files."""
        return ntpath.join(self.folder, "mongodump.config")


def archive_folder(directory: str, node: str) -> str:
    """The folder of a node in its archive directory."""
    return ntpath.join(directory, node)


def archive_file(folder: str, base_name: str) -> str:
    """The archive of a backup in the folder of its node."""
    return ntpath.join(folder, f"{base_name}.zip")


def log_folder(state_folder: str) -> str:
    """The folder for the log of a run without an archive."""
    return ntpath.join(state_folder, "logs")

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where reports are on the control node."""

from __future__ import annotations

from pathlib import Path

from . import _collection


def resolve_directory(directory: str, collection: Path = _collection.ROOT) -> Path:
    """The folder of alteryx_report_directory.

    A relative path is below the working directory of ansible-playbook. If that directory is inside the installed
    collection, whose folder ansible-galaxy replaces, the path is below the home folder.

    Args:
        directory: the value of the variable; ~ is the home folder.
        collection: the folder of this collection.
    """
    folder = Path(directory).expanduser()
    if folder.is_absolute():
        return folder
    folder = Path.cwd() / folder
    # A checkout has galaxy.yml instead.
    is_installed = (collection / "MANIFEST.json").exists()
    if is_installed and folder.resolve().is_relative_to(collection.resolve()):
        return Path.home() / directory
    return folder

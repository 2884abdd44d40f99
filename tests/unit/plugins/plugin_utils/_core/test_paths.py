# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths on a node as Windows writes them."""

from __future__ import annotations

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core import paths


@pytest.mark.parametrize(("directory", "folder"), [
    (r"D:\Staging", r"D:\Staging\run"), ("D:\\Staging\\", r"D:\Staging\run"), ("D:\\", r"D:\run"),
    (r"\\nas\share", r"\\nas\share\run"),
])  # fmt: skip
def test_the_parts_of_staging_are_below_the_folder_of_the_run(directory: str, folder: str) -> None:
    staging = paths.Staging(directory, "run")
    assert staging.folder == folder
    assert staging.dump == rf"{folder}\files\database"
    # The password is no part of the archive.
    assert staging.mongodump_config.startswith(folder)
    assert not staging.mongodump_config.startswith(staging.files)
    # An archive has the names of the files with slashes.
    assert staging.dump == staging.files + "\\" + paths.DUMP_PREFIX.removesuffix("/")


def test_an_archive_is_in_the_folder_of_its_node() -> None:
    folder = paths.archive_folder("E:\\", "node1")
    assert paths.archive_file(folder, "Backup_1") == r"E:\node1\Backup_1.zip"

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths on a node as Windows writes them."""

from __future__ import annotations

import re

import pytest
from ansible.parsing.splitter import parse_kv
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core import paths


@pytest.mark.parametrize(("directory", "folder"), [
    (r"D:\Staging", r"D:\Staging\run"), ("D:\\Staging\\", r"D:\Staging\run"), ("D:\\", r"D:\run"),
    (r"\\nas\share", r"\\nas\share\run"),
])  # fmt: skip
def test_the_parts_of_staging_are_below_the_folder_of_the_run(directory: str, folder: str) -> None:
    staging = paths.Staging(directory, "run")
    assert staging.folder == folder
    assert staging.dump == rf"{folder}\files\database"
    # The password is not in the archive.
    assert staging.mongodump_config.startswith(folder)
    assert not staging.mongodump_config.startswith(staging.files)
    # An archive has the names of the files with slashes.
    assert staging.dump == staging.files + "\\" + paths.DUMP_PREFIX.removesuffix("/")


def test_an_archive_is_in_the_folder_of_its_node() -> None:
    folder = paths.archive_folder("E:\\", "node1")
    assert paths.archive_file(folder, "Backup_1") == r"E:\node1\Backup_1.zip"


@pytest.mark.parametrize(
    ("given_path", "path"),
    [
        ("D:/backups", r"D:\backups"),
        ("D:/My Backups/a/", "D:\\My Backups\\a\\"),
        (r"D:\a/b", r"D:\a\b"),
        ("//nas/share", r"\\nas\share"),
        (r"D:\backups", r"D:\backups"),
        ("D:", "D:"),
        ("", ""),
        # Not judged here, but where it is used: it is not an absolute path.
        ("a/b", "a/b"),
    ],
)
def test_slashes_become_backslashes(given_path: str, path: str) -> None:
    assert paths.read_node_path(given_path) == path


@given(st.text(st.characters(exclude_categories=["Cc"])))
def test_a_path_that_was_read_is_read_as_it_is(text: str) -> None:
    try:
        path = paths.read_node_path(text)
    except ValueError:
        return
    assert paths.read_node_path(path) == path


@pytest.mark.parametrize("letter", "abfnrtv")
def test_a_backslash_that_ansible_has_read_as_a_control_character_is_named_and_how_to_write_it(letter: str) -> None:
    # As -e NAME=VALUE on the command line.
    (value,) = parse_kv(rf"name=D:\{letter}ackups").values()
    with pytest.raises(ValueError, match="contains a control character") as raised:
        paths.read_node_path(value)
    said = str(raised.value)
    assert rf"\{letter} in D:\{letter}ackups was read as one" in said
    assert f"Write D:/{letter}ackups or D:\\\\{letter}ackups;" in said
    for better in (f"name=D:/{letter}ackups", f"name=D:\\\\{letter}ackups"):
        assert paths.read_node_path(parse_kv(better)["name"]) == rf"D:\{letter}ackups"


def test_a_backslash_that_a_shell_has_removed_is_named() -> None:
    with pytest.raises(ValueError, match="is D:backups, without a backslash after the drive"):
        paths.read_node_path("D:backups")


@given(st.text())
def test_no_text_is_too_odd_to_be_told(text: str) -> None:
    try:
        told = paths.read_node_path(f"D:\\{text}")
        assert "/" not in told
    except ValueError as error:
        told = str(error)
    # A path or a message, it goes to a terminal.
    assert re.search(r"[\x00-\x1f\x7f]", told) is None

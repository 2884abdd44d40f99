# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a report holds is for the account that runs ansible-playbook, whatever its umask."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._report import _files


@pytest.fixture(autouse=True)
def generous() -> t.Iterator[None]:
    """A umask that does not remove any rights."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> str:
    return oct(path.stat().st_mode & 0o777)


def test_a_file_and_every_folder_that_is_made_for_it_are_private(tmp_path: Path) -> None:
    file = tmp_path / "a" / "backup-runs" / "run" / "outcome.json"
    _files.write_private_text(file, "äöü")
    assert file.read_text(encoding="utf-8") == "äöü"
    assert mode(file) == "0o600"
    assert [mode(folder) for folder in list(file.parents)[:3]] == ["0o700"] * 3


def test_a_folder_that_the_operator_has_made_stays_as_it_is(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir(mode=0o755)
    _files.write_private_text(runs / "run" / "outcome.json", "x")
    assert (mode(runs), mode(runs / "run")) == ("0o755", "0o700")


def test_what_others_could_read_is_private_once_it_is_written_again(tmp_path: Path) -> None:
    file = tmp_path / "run" / "outcome.json"
    file.parent.mkdir(mode=0o755)
    for left in (file, file.with_name(".outcome.json.new")):
        left.write_text("old", encoding="utf-8")
        left.chmod(0o666)
    _files.write_private_text(file, "new")
    assert (mode(file), file.read_text(encoding="utf-8"), mode(file.parent)) == ("0o600", "new", "0o700")
    assert list(file.parent.iterdir()) == [file]

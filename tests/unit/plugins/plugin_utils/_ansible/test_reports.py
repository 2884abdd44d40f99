# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports are where the operator works, and never in a folder that an update of the collection replaces."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._reports import resolve_directory


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    """An installed one."""
    folder = tmp_path / "collections" / "server_backup"
    (folder / "playbooks").mkdir(parents=True)
    (folder / "MANIFEST.json").touch()
    return folder


def test_a_relative_folder_is_below_the_working_directory(
    tmp_path: Path, collection: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve_directory("backup-runs", collection) == tmp_path / "backup-runs"


@pytest.mark.parametrize("where", [".", "playbooks"])
def test_it_is_not_inside_of_an_installed_collection(
    home: Path, collection: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.chdir(collection / where)
    assert resolve_directory("backup-runs", collection) == home / "backup-runs"


def test_neither_behind_a_link_to_it(
    tmp_path: Path, home: Path, collection: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(collection)
    monkeypatch.chdir(tmp_path / "link" / "playbooks")
    assert resolve_directory("backup-runs", tmp_path / "link") == home / "backup-runs"


def test_a_checkout_keeps_its_reports(collection: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (collection / "MANIFEST.json").unlink()
    monkeypatch.chdir(collection / "playbooks")
    assert resolve_directory("backup-runs", collection) == collection / "playbooks" / "backup-runs"


def test_what_the_operator_names_whole_is_taken_as_it_is(
    home: Path, collection: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(collection)
    assert resolve_directory("/srv/runs", collection) == Path("/srv/runs")
    assert resolve_directory(str(collection / "runs"), collection) == collection / "runs"
    assert resolve_directory("~/runs", collection) == home / "runs"

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The folders of plugin_utils import each other in one direction, and only one of them knows Ansible."""

from __future__ import annotations

import graphlib
from pathlib import Path

import pytest

from tests import rooms

FILES = sorted(rooms.FOLDER.glob("*/*.py"))


def test_every_room_may_import_something_and_none_imports_what_it_may_not() -> None:
    found = rooms.imports()
    assert found.keys() == rooms.MAY_IMPORT.keys()
    assert {
        room: below - rooms.MAY_IMPORT[room] for room, below in found.items() if below - rooms.MAY_IMPORT[room]
    } == {}


def test_what_is_allowed_has_one_direction() -> None:
    assert rooms.levels(rooms.MAY_IMPORT)["_core"] == 0
    with pytest.raises(graphlib.CycleError):
        rooms.levels({**rooms.MAY_IMPORT, "_fleet": {"_core", "_plan"}})


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_only_one_room_knows_ansible(path: Path) -> None:
    names = set(rooms.imported(path.read_text(encoding="utf-8"), path.parent.name))
    assert "ansible_collections" not in names
    assert path.parent.name == "_ansible" or "ansible" not in names


def test_planted_imports_are_found() -> None:
    source = (
        "import ansible.errors\nfrom .._plan import _plan\nfrom . import x\nfrom .y import z\nfrom ansible.x import y\n"
    )
    assert list(rooms.imported(source, "_fleet")) == ["ansible", "_plan", "_fleet", "_fleet", "ansible"]


def test_the_picture_has_every_room_and_every_file() -> None:
    text = rooms.picture()
    assert [
        name for room, names in rooms.files().items() for name in (room, *names) if f">{name}</text>" not in text
    ] == []

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a node reads its settings files (the real PowerShell of node_info, without a node), and what is
decided on what it read."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._fleet import _runtime_settings as rs
from tests.checks import powershell, sources
from tests.unit.plugins.modules.settings_pairs import PAIRS, Pair

SCRIPT = Path(__file__).with_name("read_settings.ps1")
MODULE = sources.ROOT / "plugins" / "modules" / "node_info.ps1"


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, t.Any]]:
    """What the node's code says of every file, in one process."""
    folder = tmp_path_factory.mktemp("settings")
    for number, pair in enumerate(PAIRS):
        (folder / f"{number}o.xml").write_bytes(pair.overrides)
        if pair.defaults is not None:
            (folder / f"{number}d.xml").write_bytes(pair.defaults)
    return t.cast(dict[str, dict[str, t.Any]], json.loads(powershell.run(SCRIPT, MODULE, folder)))


def test_there_are_enough_pairs_and_none_twice() -> None:
    assert len({pair.name for pair in PAIRS}) == len(PAIRS) >= 40


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_no_pair_of_files_is_misread(read: dict[str, dict[str, t.Any]], pair: Pair) -> None:
    number = PAIRS.index(pair)
    overrides = read[f"{number}o.xml"]
    assert bool(overrides["error"]) is pair.unreadable
    if pair.unreadable:
        return
    defaults = read.get(f"{number}d.xml")
    usable = defaults is not None and not defaults["error"]
    settings = rs.effective(overrides["sections"], defaults["sections"] if defaults is not None and usable else None)
    assert (rs.roles(settings), rs.database_kind(settings), len(rs.problems(settings))) == (
        pair.roles,
        pair.kind,
        pair.problems,
    )
    assert settings.fallback_used is not (usable and bool(defaults and defaults["sections"]))
    for path, text in (pair.values or {}).items():
        assert settings.get(*path.split("/")) == text


def test_no_secret_of_a_settings_file_leaves_the_node(read: dict[str, dict[str, t.Any]]) -> None:
    text = json.dumps(read)
    assert "SYNTHETIC" not in text
    assert "P%40ss" not in text
    assert "mongodb://ayx_ui:(redacted)@db1.example.test:27017" in text

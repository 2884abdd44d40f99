# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Long texts go to a node in a way in which Ansible does not write them into its event log."""

from __future__ import annotations

import json
import re
import typing as t

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.action.backup_set import ActionModule
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible import _collection
from tests.unit.plugins.action import harness

LONG = {"backup_set": "_texts", "schedule_pause": "_record"}


@pytest.mark.parametrize(("module", "option"), LONG.items())
def test_an_argument_that_may_be_long_is_a_text_that_is_not_logged(module: str, option: str) -> None:
    # Ansible.Basic masks what is marked as a text only: of a dictionary it takes the name of its class.
    script = (_collection.ROOT / "plugins" / "modules" / f"{module}.ps1").read_text(encoding="utf-8")
    declared = re.search(rf"\b{option} = @\{{([^\n]*)\}}", script)
    assert declared
    assert "type = 'str'" in declared[1]
    assert "no_log = $true" in declared[1]


def test_what_a_node_is_told_beside_the_texts_fits_into_its_event_log() -> None:
    files = {"BackupLog_Full_20260901_020000.log": "a line\n" * 20_000, "node1\\x.log": "größe"}
    told: list[dict[str, t.Any]] = []

    def node(arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        told.append(dict(arguments))
        return {"changed": True, "written": []}

    assert harness.run(ActionModule, {"folder": r"D:\AlteryxBackups", "files": files}, node)["changed"] is True
    (arguments,) = told
    assert json.loads(arguments.pop("_texts")) == files
    assert len(str(arguments)) < 1000

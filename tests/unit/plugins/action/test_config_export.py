# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node is told to take and to write down."""

from __future__ import annotations

import typing as t

from ansible_collections.alteryx_ops.server_backup.plugins.action.config_export import ActionModule
from tests.unit.plugins import samples
from tests.unit.plugins.action import harness

ARGUMENTS = {
    "run_id": samples.RUN_ID,
    "staging_directory": samples.STAGING,
    "executable": samples.EXECUTABLE,
    "files": [],
}


def called_with(**more: t.Any) -> dict[str, t.Any]:
    calls: list[dict[str, t.Any]] = []

    def node(arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        calls.append(arguments)
        return {"changed": True, "files": [], "metadata": [], "secrets": [], "secrets_file": ""}

    assert not harness.run(ActionModule, {**ARGUMENTS, **more}, node).get("failed")
    (call,) = calls
    return call


def test_the_node_gets_what_is_made_of_the_facts_and_not_the_facts() -> None:
    call = called_with(facts=samples.facts(), database_kind="embedded")
    assert call["_metadata"]["head"]["node"] == "node1"
    assert call["_metadata"]["items"]["persistence"]["value"] == "embedded"
    assert not {"facts", "database_kind", "licence_value"} & call.keys()


def test_without_facts_nothing_is_written_down() -> None:
    assert "_metadata" not in called_with()

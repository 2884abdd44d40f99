# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documents and the example inventory promise exists: every variable, and an inventory that Ansible reads."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible import _variables
from tests.checks import sources
from tests.checks.test_collection import ansible

EXAMPLE = sources.ROOT / "inventory" / "example.yml"
TEXTS = (EXAMPLE, sources.ROOT / "README.md", *sorted((sources.ROOT / "docs").glob("*.md")))


@pytest.mark.parametrize("file", TEXTS, ids=lambda file: file.name)
def test_no_document_names_a_variable_that_does_not_exist(file: sources.Path) -> None:
    known = _variables.read(sources.ROOT / "roles")
    names = set(re.findall(rf"\b(?:{'|'.join(known.roles)})_\w+", file.read_text(encoding="utf-8")))
    assert _variables.unknown(names, known) == []


def test_the_example_is_a_fleet_with_every_kind_of_node() -> None:
    done = ansible("ansible-inventory", "-i", EXAMPLE, "--list")
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    assert content["alteryx"]["children"] == ["alteryx_prod"]
    assert len(content["alteryx_prod"]["hosts"]) == 4


def test_what_the_example_leaves_out_is_an_example_too() -> None:
    text = re.sub(r"(?m)^(\s+)# (?=alteryx_|  )", r"\1", EXAMPLE.read_text(encoding="utf-8"))
    variables = yaml.safe_load(text)["alteryx"]["children"]["alteryx_prod"]["vars"]
    assert variables["alteryx_preflight_mongodb_connections"]["service"]["connection"].endswith("?replicaSet=rs0")
    assert set(variables["alteryx_window_schedules_api"]) == {"base", "client_id", "client_secret"}

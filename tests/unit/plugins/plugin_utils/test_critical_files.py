# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files of a node a configuration backup takes."""

from __future__ import annotations

import itertools

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils import _critical_files

DATA, BIN = r"C:\ProgramData", r"D:\Alteryx\bin"
ROLES = [roles for count in range(1, 4) for roles in itertools.combinations(("controller", "worker", "ui"), count)]


@pytest.mark.parametrize("roles", ROLES)
def test_every_node_gives_its_settings_keys_and_service_configuration(roles: tuple[str, ...]) -> None:
    files = {item["id"]: item for item in _critical_files.of_node(roles, DATA, BIN)}
    assert files["runtime_settings"]["source"] == r"C:\ProgramData\Alteryx\RuntimeSettings.xml"
    assert files["keys"]["source"] == r"C:\ProgramData\Alteryx\Keys"
    assert files["alteryx_config"]["source"] == r"D:\Alteryx\bin\server\config\alteryx.config"
    assert [identity for identity, item in files.items() if item["required"]] == ["runtime_settings"]


@pytest.mark.parametrize("roles", ROLES)
def test_only_workers_have_aliases_and_system_connections(roles: tuple[str, ...]) -> None:
    files = {item["id"] for item in _critical_files.of_node(roles, DATA, BIN)}
    assert ({"system_alias", "system_connections"} <= files) is ("worker" in roles)


@pytest.mark.parametrize("roles", ROLES)
def test_no_two_files_meet_in_the_archive_and_none_leaves_it(roles: tuple[str, ...]) -> None:
    items = _critical_files.of_node(roles, DATA, BIN)
    paths = [item["archive_path"].lower() for item in items]
    assert len(set(paths)) == len(paths) == len({item["id"] for item in items})
    for path in paths:
        assert path.startswith("configuration/")
        assert not {"", "..", "."} & set(path.split("/"))
        assert "\\" not in path
        assert not any(other.startswith(f"{path}/") for other in paths)

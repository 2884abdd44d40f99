# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files of a node a configuration backup takes."""

from __future__ import annotations

import itertools

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._fleet import _runtime_settings
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._plan import _critical_files
from tests.lab import alteryx_install
from tests.unit.plugins import samples

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


@pytest.mark.parametrize("drive", ["C", "D", "Z"])
@pytest.mark.parametrize("end", ["", "\\"])
def test_both_places_of_the_service_configuration_follow_the_installation_to_any_drive(drive: str, end: str) -> None:
    files = {
        item["id"]: item
        for item in _critical_files.of_node(("ui",), rf"{drive}:\ProgramData{end}", rf"{drive}:\Apps\Alteryx\bin{end}")
    }
    assert files["alteryx_config"]["source"] == rf"{drive}:\Apps\Alteryx\bin\server\config\alteryx.config"
    assert files["alteryx_config_old"]["source"] == rf"{drive}:\Apps\Alteryx\bin\config\alteryx.config"
    assert files["keys"]["source"] == rf"{drive}:\ProgramData\Alteryx\Keys"
    # Whichever of the two a version has, the other is listed as absent and no error.
    assert not files["alteryx_config"]["required"]
    assert not files["alteryx_config_old"]["required"]


def test_what_a_person_must_type_again_is_written_down_without_its_password() -> None:
    settings = _runtime_settings.effective(samples.settings_named("a"), samples.sections(samples.DEFAULTS))
    noted = _critical_files.to_note(("controller", "worker", "ui"), settings, r"EXAMPLE\svc-ayx")
    assert noted == {
        "service_account": r"EXAMPLE\svc-ayx", "run_as_user": r"EXAMPLE\svc-ayx-run",
        "smtp_server": "mail.example.test", "smtp_user": "", "authentication": "BuiltIn",
        "base_address": "https://alteryx.example.test/gallery/",
    }  # fmt: skip
    assert "SYNTHETIC" not in str(noted)


@pytest.mark.parametrize("roles", ROLES)
def test_each_role_has_its_own_things_to_write_down(roles: tuple[str, ...]) -> None:
    noted = _critical_files.to_note(roles, _runtime_settings.effective({}, None), "LocalSystem")
    assert ("run_as_user" in noted) is ("worker" in roles)
    assert ("smtp_user" in noted) is ("ui" in roles)
    assert noted["service_account"] == "LocalSystem"


def test_the_lab_has_every_critical_file_but_the_one_of_old_versions() -> None:
    there = alteryx_install.files({"admin": "x", "user": "x"})
    wanted = _critical_files.of_node(("controller", "worker", "ui"), r"C:\ProgramData", alteryx_install.BIN)
    lacking = [item["id"] for item in wanted if not any(path.startswith(item["source"]) for path in there)]
    assert lacking == ["alteryx_config_old"]

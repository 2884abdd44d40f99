# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each mode takes and leaves alone, and what a prediction changes: nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from tests.lab import alteryx_install
from tests.lab.node import ServiceState

from .backup_files import Backup
from .lab_of_tests import Lab, run_id_pattern
from .playbook_run import PlaybookRunner, Run

CONFIGURATION = {
    "configuration/RuntimeSettings.xml",
    "configuration/Keys/master.key",
    "configuration/bin/server/config/alteryx.config",
    "configuration/Engine/SystemAlias.xml",
    "configuration/Engine/SystemConnections.xml",
    "configuration/Keys.sddl",
    "configuration/node.json",
}


@dataclass(frozen=True)
class Made:
    """A backup that was made."""

    run: Run
    backup: Backup
    before: ServiceState
    after: ServiceState


def _make(lab: Lab, run_playbook: PlaybookRunner, playbook: str, word: str) -> Made:
    before = lab.node.service()
    run = run_playbook(playbook)
    run.assert_ok()
    match = run_id_pattern(word).fullmatch(run.outcome["run_id"])
    assert match, run.outcome["run_id"]
    return Made(run, Backup.of(lab, match.group(1), word), before, lab.node.service())


@pytest.fixture(scope="module")
def database(lab: Lab, run_playbook: PlaybookRunner) -> Made:
    return _make(lab, run_playbook, "database_backup.yml", "DB")


@pytest.fixture(scope="module")
def config(lab: Lab, run_playbook: PlaybookRunner) -> Made:
    return _make(lab, run_playbook, "config_backup.yml", "Config")


@pytest.mark.long
def test_database_mode_takes_the_database_and_nothing_else(database: Made) -> None:
    database.backup.assert_complete(secrets=False)
    names = database.backup.names()
    assert {name.split("/")[0] for name in names} == {"database"}
    assert {name.split("/")[1] for name in names} == {"AlteryxService", "AlteryxGallery", "AlteryxGallery_Lucene"}
    manifest = database.backup.manifest()
    assert (manifest["mode"], manifest["configuration"], manifest["secrets"]["included"]) == ("database", None, False)


@pytest.mark.long
def test_database_mode_stops_the_service_and_brings_it_back(database: Made, lab: Lab) -> None:
    assert database.before.state == database.after.state == "Running"
    assert database.after.pid != database.before.pid
    assert database.run.outcome["downtime"]["total"] > 0
    assert lab.leftovers() == []


def test_config_mode_takes_the_configuration_and_nothing_else(config: Made) -> None:
    config.backup.assert_complete(secrets=True)
    names = set(config.backup.names())
    assert {name.split("/")[0] for name in names} == {"configuration"}
    assert names >= CONFIGURATION
    manifest = config.backup.manifest()
    assert (manifest["mode"], manifest["database"], manifest["secrets"]["included"]) == ("config", None, True)


def test_an_optional_file_that_is_not_there_is_listed_as_absent(config: Made) -> None:
    listed = {entry["id"]: entry for entry in config.backup.manifest()["configuration"]}
    assert {identity for identity, entry in listed.items() if not entry["present"]} == {"alteryx_config_old"}
    assert (listed["alteryx_config_old"]["files"], listed["keys"]["files"]) == (0, 4)
    assert rf"alteryx_config_old: {listed['alteryx_config_old']['source']} is not on this node" in config.run.log


def test_the_permissions_of_the_keys_lie_beside_them(config: Made) -> None:
    lines = [line.split("\t") for line in config.backup.read("configuration/Keys.sddl").decode().splitlines()]
    assert [path for _unused, path in lines] == [
        ".",
        "dcm",
        r"dcm\vault.dat",
        r"dcm\vault.key",
        "master.key",
        "storage.key",
    ]
    assert [path for sddl, path in lines if not re.fullmatch(r"O:.+D:.+", sddl)] == []


def test_what_a_new_host_needs_is_written_down(config: Made, lab: Lab) -> None:
    items = config.backup.node_metadata()
    found = {name: item["value"] for name, item in items.items() if item["state"] == "found"}
    assert (found["version"], found["persistence"], found["service_account"]) == (
        alteryx_install.VERSION,
        "embedded",
        "LocalSystem",
    )
    assert (found["run_as_user"], found["smtp_server"]) == (r"EXAMPLE\svc-ayx-run", "mail.example.test")
    drivers = {(driver["name"], driver["bits"]): driver["file"] for driver in found["odbc_drivers"]}
    assert drivers["Lab DWH Driver", 64] == r"C:\Program Files\Lab DWH\labdwh.dll"
    assert drivers["Lab DWH Driver (old)", 32].lower() == r"c:\windows\syswow64\labdwh32.dll"
    sources = {
        source["name"]: (source["driver"], source["server"], source["database"])
        for source in found["odbc_data_sources"]
    }
    assert sources["SalesDWH"] == ("Lab DWH Driver", "dwh.example.test,1433", "Sales")
    assert sources["Lakehouse"] == ("Lab DWH Driver", "", "")
    assert found["connectors"] == [
        {"name": "LabConnector", "version": "1.2.3"},
        {"name": "OtherConnector_v2.0.1", "version": "2.0.1"},
    ]
    assert {(package["name"], package["version"]) for package in found["python_packages"]} == {
        ("pandas", "1.5.3"),
        ("lab_tools", "0.4"),
    }
    binding = {
        "address": "0.0.0.0:443",
        "certificate": alteryx_install.TLS_CERTIFICATE,
        "application_id": "{eea9431a-a3d4-4c9b-9f9a-b83916c11c67}",
        "store": "MY",
    }
    assert binding in found["tls_bindings"]
    assert len(found["alteryx_config"]) == 1
    places = {place["element"]: (place["other_drive"], place["exists"]) for place in found["places"]}
    assert (places["Environment/WorkingPath"], places["installation"]) == ((True, True), (False, True))
    assert not {"licence", "smtp_user"} & found.keys()
    # No such group is on a lab node, and Wine cannot even be asked for one.
    assert lab.kind == "windows" or items["ad_groups"]["state"] in ("absent", "unreadable")
    assert "licence: none, not exported: Alteryx does not document where the key is stored" in config.run.log


def test_config_mode_leaves_the_process_of_the_service_alone(config: Made, lab: Lab) -> None:
    assert config.before.state == "Running"
    assert config.after == config.before
    assert config.run.outcome["downtime"]["total"] == 0
    assert "not touched" in config.run.stdout
    assert lab.leftovers() == []


@pytest.mark.long
@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("playbook", "word"),
    [
        ("full_backup.yml", "Full"),
        ("database_backup.yml", "DB"),
        ("config_backup.yml", "Config"),
    ],
)
def test_check_mode_predicts_and_changes_nothing(
    lab: Lab, run_playbook: PlaybookRunner, playbook: str, word: str
) -> None:
    run = run_playbook(playbook, "--check")
    run.assert_ok()
    assert run.outcome["verdict"] == "PREDICTED"
    match = run_id_pattern(word).fullmatch(run.outcome["run_id"])
    assert match
    assert run.node()["archive"].endswith(rf"\{lab.node.name}\ServerBackup_{word}_{match.group(1)}.zip")
    assert "BACKUP PREDICTED" in run.stdout
    assert "changed=0" not in run.stdout

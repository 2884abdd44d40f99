# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each mode takes and leaves alone, and what a prediction changes: nothing."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.lab.node import ServiceState

from .backup_files import Backup
from .kinds import LONG_ON_WINE
from .lab_of_tests import Lab, run_id_pattern
from .playbook_run import PlaybookRunner, Run

CONFIGURATION = {"configuration/RuntimeSettings.xml", "configuration/Keys/master.key", "configuration/bin/server/config/alteryx.config",
                 "configuration/Engine/SystemAlias.xml", "configuration/Engine/SystemConnections.xml"}


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


def test_database_mode_takes_the_database_and_nothing_else(database: Made) -> None:
    database.backup.assert_complete(secrets=False)
    names = database.backup.names()
    assert {name.split("/")[0] for name in names} == {"database"}
    assert {name.split("/")[1] for name in names} == {"AlteryxService", "AlteryxGallery", "AlteryxGallery_Lucene"}
    manifest = database.backup.manifest()
    assert (manifest["mode"], manifest["configuration"], manifest["secrets"]["included"]) == ("database", None, False)


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


def test_config_mode_leaves_the_process_of_the_service_alone(config: Made, lab: Lab) -> None:
    assert config.before.state == "Running"
    assert config.after == config.before
    assert config.run.outcome["downtime"]["total"] == 0
    assert "not touched" in config.run.stdout
    assert lab.leftovers() == []


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(("playbook", "word"), [
    ("full_backup.yml", "Full"), pytest.param("database_backup.yml", "DB", marks=LONG_ON_WINE), ("config_backup.yml", "Config")])
def test_check_mode_predicts_and_changes_nothing(lab: Lab, run_playbook: PlaybookRunner, playbook: str, word: str) -> None:
    run = run_playbook(playbook, "--check")
    run.assert_ok()
    assert run.outcome["verdict"] == "PREDICTED"
    match = run_id_pattern(word).fullmatch(run.outcome["run_id"])
    assert match
    assert run.node()["archive"].endswith(rf"\{lab.node.name}\ServerBackup_{word}_{match.group(1)}.zip")
    assert "BACKUP PREDICTED" in run.stdout
    assert "changed=0" not in run.stdout

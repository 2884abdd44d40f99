# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A restore from a destination as it is planned of what the nodes have answered."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.action.restore_plan import ActionModule
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._archive import _catalogue
from tests.unit.plugins import samples
from tests.unit.plugins.action import harness
from tests.unit.plugins.plugin_utils._archive import test_catalogue as backups

SHARE = r"\\nas1\ayx\alteryx_prod"
GB = 10**9


def found(folder: str, *elsewhere: str) -> dict[str, t.Any]:
    """What backup_info has found: one backup in a folder, none in the archive directory but at these destinations."""
    manifest = backups.manifest(computer=samples.facts()["system"]["computer"], alteryx_version="2024.2.1.14")
    catalogue, _foreign = _catalogue.entries(backups.facts(backups.backup(manifest=manifest)), folder, backups.PATTERN)
    if not elsewhere:
        return {"catalogue": catalogue, "sets": [], "places": []}
    return {
        "catalogue": [],
        "sets": [],
        "places": [{"destination": name, "catalogue": catalogue} for name in elsewhere],
    }


def plan(
    catalogue: dict[str, t.Any], free: int = 900 * GB, settings: dict[str, t.Any] | None = None, **changes: t.Any
) -> dict[str, t.Any]:
    """The result of planning a restore of one node, unconfirmed. settings: what differs of its RuntimeSettings.xml."""
    facts = samples.facts()
    facts["settings"]["overrides"] = {**facts["settings"]["overrides"], **(settings or {})}
    facts["folders"] = [{**facts["folders"][0], "path": r"C:\AlteryxOps.r", "volume": "C:\\", "free_bytes": free}]
    hostvars = {
        "node1": {
            "inventory_hostname": "node1",
            "found": catalogue,
            "facts": facts,
            "records": {"records": []},
        }
    }
    arguments = {"facts": "facts", "records": "records", "catalogues": "found", "confirm": "alteryx_prod", **changes}
    groups = {"alteryx": ["node1"], "alteryx_prod": ["node1"], "all": ["node1"]}
    variables = {"hostvars": harness.HostVariables(hostvars), "ansible_play_hosts_all": ["node1"], "groups": groups}
    return harness.run(ActionModule, arguments, variables=variables)


@pytest.fixture(autouse=True)
def one_fleet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The node is the fleet."""
    name = "ansible_collections.alteryx_ops.server_backup.plugins.action.restore_plan.find_fleet"
    monkeypatch.setattr(name, lambda hosts, variables: ("alteryx_prod", ["node1"]))


@pytest.mark.reaches("invalid_variable")
def test_a_restore_reads_at_one_destination() -> None:
    result = plan(found(SHARE), destination="all")
    assert result["reason"] == "invalid_variable"
    assert "alteryx_catalogue_destination is all" in result["message"]
    assert result["detail"]["asked"]["verb"] == "restore"


def test_the_plan_of_a_restore_from_a_destination_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    result = plan(found(SHARE), destination="nas")
    assert not result.get("failed"), result
    node = result["plan"]["nodes"]["node1"]
    assert (result["plan"]["backup"]["destination"], node["folder"]) == ("nas", rf"{SHARE}\node1")
    text = " ".join("".join(capsys.readouterr()).split())
    assert "at the destination nas" in text
    assert rf"from {SHARE}\node1" in text


PATH = samples.facts()["settings"]["overrides"]["path"]
ABSENT = {"exists": False, "error": "", "sections": {}}
CUT = {"exists": True, "error": "Root element is missing.", "sections": {}}
EMPTY = {"exists": True, "error": "", "sections": {}}


@pytest.mark.parametrize(
    ("file", "said"),
    [(ABSENT, "does not exist"), (CUT, "cannot be read: Root element is missing."), (EMPTY, "has no settings")],
)
def test_the_plan_names_settings_that_are_empty_on_the_server(
    capsys: pytest.CaptureFixture[str], file: dict[str, t.Any], said: str
) -> None:
    result = plan(found(SHARE), destination="nas", settings=file)
    assert not result.get("failed"), result
    following = "the restore replaces it with the file of the backup"
    assert f"plan: warning: node1: {PATH} {said}; {following}" in " ".join("".join(capsys.readouterr()).split())


def test_the_plan_says_nothing_of_settings_that_can_be_read() -> None:
    warnings = plan(found(SHARE), destination="nas")["plan"]["warnings"]
    assert not [text for text in warnings if "RuntimeSettings" in text]


@pytest.mark.reaches("backup_at_destination")
def test_a_restore_of_what_only_a_destination_has_names_it() -> None:
    result = plan(found(SHARE, "nas"))
    assert (result["reason"], result["exit_code"]) == ("backup_at_destination", 3)
    assert "-e alteryx_catalogue_destination=nas" in result["message"]


@pytest.mark.reaches("space_short")
def test_only_the_unpacked_backup_needs_room_when_it_comes_from_a_destination() -> None:
    unpacked = found(SHARE)["catalogue"][0]["file_bytes"]
    reserve = {"destination": "nas", "space_reserve": 2 * GB}
    assert not plan(found(SHARE), unpacked + 2 * GB, **reserve).get("failed")
    assert plan(found(SHARE), unpacked + 2 * GB - 1, **reserve)["reason"] == "space_short"

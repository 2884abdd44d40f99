# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an archive and a backup set say about themselves."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._archive import _manifest
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._report import _report
from tests.unit.plugins import samples


def archive(mode: str = "full", **changes: t.Any) -> dict[str, t.Any]:
    """The manifest of the archive of a good run, completed as the node completes it."""
    results = samples.steps(mode, **changes)
    plan = results["plan"]["plan"]
    text = _manifest.of_archive(
        plan, plan["nodes"]["node1"], results.get("window"), results.get("configuration"), "0.1.0"
    )
    for word, value in (
        ("files", '[{"path": "a"}]'),
        ("file_count", "1"),
        ("file_bytes", "5"),
        ("ended", '"2026-09-01T02:01:12.000Z"'),
        ("collections", '[{"namespace": "a.b"}]'),
        ("mongodb_version", '"4.2.8"'),
        ("tool_version", '"100.3.1"'),
    ):
        of_the_dump = word in ("collections", "mongodb_version", "tool_version")
        assert text.count(f'"@@{word}@@"') == (1 if not of_the_dump or "window" in results else 0)
        text = text.replace(f'"@@{word}@@"', value)
    assert "@@" not in text
    return t.cast(dict[str, t.Any], json.loads(text))


def test_a_full_backup_says_what_it_holds() -> None:
    manifest = archive()
    assert manifest["schema"] == 1
    assert manifest["tool"] == "alteryx_ops.server_backup 0.1.0"
    assert (manifest["run_id"], manifest["mode"], manifest["fleet"], manifest["node"]) == (
        samples.RUN_ID,
        "full",
        "alteryx_prod",
        "node1",
    )
    assert manifest["roles"] == ["controller", "worker", "ui"]
    assert manifest["service"] == {
        "name": "AlteryxService",
        "account": "LocalSystem",
        "start_type": "Automatic",
        "state": "Running",
    }
    assert manifest["database"]["kind"] == "embedded"
    assert manifest["database"]["documents"] == {"AlteryxGallery.users": 120}
    assert manifest["database"]["collections"] == [{"namespace": "a.b"}]
    assert manifest["database"]["downtime_seconds"] == 41.0
    assert (manifest["database"]["mongodb_version"], manifest["database"]["tool_version"]) == ("4.2.8", "100.3.1")
    assert (manifest["started"], manifest["ended"]) == ("2026-09-01T02:00:00.000Z", "2026-09-01T02:01:12.000Z")
    assert manifest["configuration"] == [
        {"id": "keys", "source": r"C:\Keys", "present": True, "files": 2, "bytes": 300}
    ]
    assert manifest["secrets"] == {
        "included": True,
        "items": ["controller_token", "mongodb_passwords"],
        "recipients": ["ab" * 32],
    }
    assert (manifest["files"], manifest["file_count"], manifest["file_bytes"]) == ([{"path": "a"}], 1, 5)


def test_a_file_that_was_left_out_stands_in_its_entry_with_the_reason() -> None:
    results = samples.steps()
    results["configuration"]["files"][0]["left_out"] = [
        {"path": r"C:\Keys\a", "reason": "file_locked", "why": "it is held"}
    ]
    plan = results["plan"]["plan"]
    text = _manifest.of_archive(plan, plan["nodes"]["node1"], results["window"], results["configuration"], "0.1.0")
    assert json.loads(text)["configuration"][0]["left_out"] == [{"path": r"C:\Keys\a", "why": "it is held"}]


def test_the_folders_of_an_embedded_mongodb_are_in_the_manifest() -> None:
    database = archive()["database"]
    assert database["data_folder"] == samples.plan()["nodes"]["node1"]["data_folder"] != ""
    assert database["bin_folder"] == samples.plan()["nodes"]["node1"]["bin_folder"] != ""


def test_of_a_self_managed_mongodb_and_of_an_older_plan_they_are_not_claimed() -> None:
    results = samples.steps()
    plan = results["plan"]["plan"]
    node = {key: value for key, value in plan["nodes"]["node1"].items() if key != "data_folder"}
    told = json.loads(_manifest.of_archive(plan, node, results["window"], None, "0.1.0"))["database"]
    assert told["data_folder"] == ""
    node["database_kind"] = "mongodb"
    told = json.loads(_manifest.of_archive(plan, node, results["window"], None, "0.1.0"))["database"]
    assert "data_folder" not in told


def test_a_database_backup_has_no_configuration_and_says_so() -> None:
    manifest = archive("database")
    assert manifest["configuration"] is None
    assert manifest["secrets"]["included"] is False
    assert manifest["database"] is not None


def test_a_configuration_backup_has_no_database() -> None:
    manifest = archive("config")
    assert manifest["database"] is None
    assert manifest["secrets"]["included"] is True


def test_skipped_secrets_are_said_to_be_absent() -> None:
    secrets = archive(secrets="skip", recipients=[])["secrets"]
    assert secrets["included"] is False
    assert "NOT in this backup" in secrets["why"]


def test_a_node_without_secrets_claims_none() -> None:
    plan = samples.plan()
    configuration = {"files": [], "secrets": [], "secrets_file": ""}
    manifest = json.loads(_manifest.of_archive(plan, plan["nodes"]["node1"], None, configuration, "0.1.0"))
    assert manifest["secrets"] == {"included": False, "why": "only a controller has them"}


@pytest.mark.parametrize("name", ['quo"te', "Größe", "back\\slash", "new\nline"])
def test_names_of_any_kind_survive(name: str) -> None:
    plan = samples.plan(fleet=name)
    assert json.loads(_manifest.of_archive(plan, plan["nodes"]["node1"], None, None, "0.1.0"))["fleet"] == name


def test_a_set_names_every_archive_with_hash_and_verdict() -> None:
    results = {"node1": samples.steps()}
    outcome = _report.compose("full", results, check_mode=False, now="2026-09-01T02:01:00.000Z", clock=1060.0)
    text = _manifest.of_set(results["node1"]["plan"]["plan"], outcome, "OK")
    assert text.endswith("}\n")
    manifest = json.loads(text)
    assert manifest["nodes"]["node1"] == {
        "roles": ["controller", "worker", "ui"],
        "archive": rf"{samples.ARCHIVES}\node1\ServerBackup_Full_{samples.STAMP}.zip",
        "archive_bytes": 5_100_000,
        "archive_sha256": "9c1e" * 16,
        "verdict": "good",
    }
    assert (manifest["verdict"], manifest["downtime"]) == ("OK", samples.DOWNTIME)


def test_of_a_self_managed_mongodb_the_control_node_knows_the_versions() -> None:
    results = samples.steps()
    plan = results["plan"]["plan"]
    node = {**plan["nodes"]["node1"], "database_kind": "mongodb"}
    node["dump"] = {**node["dump"], "method": "mongodump", "tool_version": "100.9.4"}
    servers = [{"shown": f"db{number}", "version": version} for number, version in enumerate(("6.0.1", "6.0.1", "7.0"))]
    database = json.loads(_manifest.of_archive(plan, node, results["window"], None, "0.1.0", servers))["database"]
    assert (database["mongodb_version"], database["tool_version"]) == ("6.0.1, 7.0", "100.9.4")

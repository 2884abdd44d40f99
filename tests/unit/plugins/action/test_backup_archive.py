# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the archive job of a node is told."""

from __future__ import annotations

import json
import re
import typing as t

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.action.backup_archive import ActionModule
from ansible_collections.alteryx_ops.server_backup.plugins.action.backup_verify import ActionModule as Verify
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core import paths
from tests.unit.plugins import samples
from tests.unit.plugins.action import harness

VERIFY = {"run_id": samples.RUN_ID, "folder": "E:\\a", "base_name": "ServerBackup_Full_x"}


class Archiving:
    """A node whose job ends at once."""

    def __init__(self, **ended: t.Any) -> None:
        self.ended = {"state": "succeeded", **ended}
        self.calls: list[dict[str, t.Any]] = []

    def __call__(self, arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        self.calls.append(arguments)
        status = {"state": self.ended["state"], "phase": "end", "done_bytes": 0, "total_bytes": 0, "message": ""}
        return {
            "start": {},
            "poll": {"status": status, "log": "", "log_offset": 0, "result": json.dumps(self.ended)},
            "discard": {},
        }[arguments["_operation"]]

    @property
    def spec(self) -> dict[str, t.Any]:
        return t.cast(dict[str, t.Any], json.loads(self.calls[0]["_spec"]))


def arguments(mode: str = "full", **changes: t.Any) -> dict[str, t.Any]:
    steps = samples.steps(mode)
    parts = {name: steps[name] for name in ("window", "configuration") if name in steps}
    return {"plan": steps["plan"]["plan"], **parts, **changes}


def test_the_job_gets_folder_name_manifest_and_secrets() -> None:
    node = Archiving(archive="x.zip", archive_sha256="ab")
    result = harness.run(ActionModule, arguments(again=True), node)
    assert (result["archive"], result["archive_sha256"], result["changed"]) == ("x.zip", "ab", True)
    assert node.spec["source"] == rf"{samples.STAGING}\{samples.RUN_ID}\files"
    assert node.spec["folder"] == rf"{samples.ARCHIVES}\node1"
    assert node.spec["base_name"] == f"ServerBackup_Full_{samples.STAMP}"
    assert node.spec["secrets_file"] == r"D:\AlteryxStaging\secrets.pem"
    assert (node.spec["again"], node.spec["set_aside"], node.spec["only_dump"]) == (True, False, False)
    assert json.loads(node.spec["manifest"])["run_id"] == samples.RUN_ID
    assert node.spec["on_change"] == "fail"


def test_the_job_hears_what_the_dump_tool_reported_and_where_the_dump_is() -> None:
    node = Archiving()
    harness.run(ActionModule, arguments(), node)
    assert node.spec["reported"] == [{"namespace": "AlteryxGallery.users", "documents": 120}]
    folders = paths.Staging(samples.STAGING, samples.RUN_ID)
    assert (node.spec["staging"], node.spec["source"]) == (folders.folder, folders.files)
    assert folders.dump == "\\".join((folders.files, *node.spec["dump_prefix"].split("/")[:-1]))


def test_the_plan_does_not_travel_to_the_node() -> None:
    node = Archiving()
    harness.run(ActionModule, arguments(), node)
    assert all(call["plan"] == {} for call in node.calls)


def test_database_mode_has_no_secrets_file() -> None:
    node = Archiving()
    harness.run(ActionModule, arguments("database"), node)
    assert node.spec["secrets_file"] == ""
    assert json.loads(node.spec["manifest"])["configuration"] is None


def test_configuration_mode_has_nothing_to_walk() -> None:
    node = Archiving()
    harness.run(ActionModule, arguments("config"), node)
    assert node.spec["reported"] == []


def test_a_dump_is_archived_although_the_configuration_could_not_be_taken() -> None:
    node = Archiving()
    harness.run(ActionModule, arguments(configuration=samples.failed("secret_unreadable", 1, "no token")), node)
    manifest = json.loads(node.spec["manifest"])
    assert (manifest["status"], manifest["configuration"]) == ("partial", None)
    assert manifest["missing"] == [{"what": "configuration", "why": "no token"}]
    assert manifest["secrets"] == {"included": False, "why": "the configuration is missing"}
    assert node.spec["only_dump"] is True
    assert node.spec["secrets_file"] == ""


def test_a_dump_is_archived_although_its_window_failed_after_it() -> None:
    node = Archiving()
    window = samples.failed("service_not_restored", 7, detail=samples.steps()["window"])
    given = arguments(window=window)
    del given["configuration"]
    harness.run(ActionModule, given, node)
    manifest = json.loads(node.spec["manifest"])
    assert manifest["database"]["documents"] == {"AlteryxGallery.users": 120}
    assert manifest["missing"] == [{"what": "configuration", "why": "the run ended before it was taken"}]


def test_a_dump_that_does_not_count_is_not_archived() -> None:
    node = Archiving()
    found = {**samples.steps()["window"], "unusable": "the database is not in the dump"}
    del found["is_usable"]
    harness.run(ActionModule, arguments(window=samples.failed("dump_incomplete", 5, detail=found)), node)
    assert json.loads(node.spec["manifest"])["database"] is None


def test_a_whole_backup_lacks_nothing() -> None:
    for mode in ("full", "database", "config"):
        node = Archiving()
        harness.run(ActionModule, arguments(mode), node)
        manifest = json.loads(node.spec["manifest"])
        assert (manifest["status"], manifest["missing"]) == ("complete", [])


def test_a_failed_job_is_a_failed_step() -> None:
    result = harness.run(
        ActionModule, arguments(), Archiving(state="failed", reason="archive_exists", msg="x.zip exists already")
    )
    assert (result["failed"], result["reason"], result["exit_code"], result["message"]) == (
        True,
        "archive_exists",
        4,
        "x.zip exists already",
    )


@pytest.mark.parametrize(("plugin", "given"), [(ActionModule, arguments()), (Verify, VERIFY)])
def test_check_mode_touches_no_node(plugin: type, given: dict[str, t.Any]) -> None:
    result = harness.run(plugin, given, check_mode=True)
    assert (result["changed"], result.get("failed")) == (True, None)


def test_an_archive_with_any_legal_name_can_be_verified() -> None:
    node = Archiving(verdict="good")
    harness.run(Verify, {**VERIFY, "base_name": "Größe 20260901_020000"}, node)
    assert re.fullmatch("[A-Za-z0-9._-]+", node.calls[0]["_job_id"])


def test_every_verification_is_a_job_of_its_own() -> None:
    nodes = [Archiving(verdict="good") for _unused in range(3)]
    for node in nodes:
        assert harness.run(Verify, VERIFY, node)["verdict"] == "good"
        assert set(node.spec) == {"run_id", "folder", "base_name", "stamp", "staging", "keep_staging", "place"}
    assert len({node.calls[0]["_job_id"] for node in nodes}) == 3

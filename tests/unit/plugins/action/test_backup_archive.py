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
        return {"start": {}, "poll": {"status": status, "log": "", "log_offset": 0, "result": json.dumps(self.ended)}, "discard": {}}[arguments["_operation"]]

    @property
    def spec(self) -> dict[str, t.Any]:
        return t.cast(dict[str, t.Any], json.loads(self.calls[0]["_spec"]))


def arguments(mode: str = "full", **changes: t.Any) -> dict[str, t.Any]:
    steps = samples.steps(mode)
    parts = {name: steps[name] for name in ("window", "configuration") if name in steps}
    return {"plan": steps["plan"]["plan"], **parts, **changes}


def test_the_job_gets_folder_name_manifest_and_secrets() -> None:
    node = Archiving(archive="x.zip", archive_sha256="ab")
    result = harness.run(ActionModule, arguments(keep_staging=True), node)
    assert (result["archive"], result["archive_sha256"], result["changed"]) == ("x.zip", "ab", True)
    assert node.spec["source"] == rf"{samples.STAGING}\{samples.RUN_ID}\files"
    assert node.spec["folder"] == rf"{samples.ARCHIVES}\node1"
    assert node.spec["base_name"] == f"ServerBackup_Full_{samples.STAMP}"
    assert node.spec["secrets_file"] == r"D:\AlteryxStaging\secrets.pem"
    assert node.spec["keep_staging"] is True
    assert json.loads(node.spec["manifest"])["run_id"] == samples.RUN_ID
    assert node.spec["on_change"] == "fail"


def test_the_job_hears_what_the_dump_tool_reported_and_where_the_dump_is() -> None:
    node = Archiving()
    harness.run(ActionModule, arguments(), node)
    assert node.spec["reported"] == [{"namespace": "AlteryxGallery.users", "documents": 120}]
    assert samples.steps()["plan"]["plan"]["nodes"]["node1"]["dump_folder"] == "\\".join((node.spec["source"], *node.spec["dump_prefix"].split("/")[:-1]))


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


def test_a_failed_job_is_a_failed_step() -> None:
    result = harness.run(ActionModule, arguments(), Archiving(state="failed", reason="archive_exists", msg="x.zip exists already"))
    assert (result["failed"], result["reason"], result["exit_code"], result["message"]) == (True, "archive_exists", 4, "x.zip exists already")


@pytest.mark.parametrize(("plugin", "given"), [(ActionModule, arguments()), (Verify, VERIFY)])
def test_check_mode_touches_no_node(plugin: type, given: dict[str, t.Any]) -> None:
    result = harness.run(plugin, given, check_mode=True)
    assert (result["changed"], result.get("failed")) == (True, None)


def test_an_archive_with_any_legal_name_can_be_verified() -> None:
    node = Archiving(verdict="good")
    harness.run(Verify, {**VERIFY, "base_name": "Größe 20260901_020000"}, node)
    assert re.fullmatch("[A-Za-z0-9._-]+", node.calls[0]["_job_id"])


def test_every_verification_is_a_job_of_its_own() -> None:
    nodes = [Archiving(verdict="good") for _ in range(3)]
    for node in nodes:
        assert harness.run(Verify, VERIFY, node)["verdict"] == "good"
        assert set(node.spec) == {"run_id", "folder", "base_name", "stamp"}
    assert len({node.calls[0]["_job_id"] for node in nodes}) == 3

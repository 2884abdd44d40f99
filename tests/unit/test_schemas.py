# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The published schemas say what the code writes: no key more and none less."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._archive import _manifest
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._plan import _node_metadata
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._report import _report
from tests import schemas
from tests.lab import layout
from tests.unit.plugins import samples
from tests.unit.plugins.plugin_utils._archive import test_catalogue
from tests.unit.plugins.plugin_utils._restore import test_plan

NOW = "2026-09-01T02:05:00.000Z"
FILE = {"path": "files/a", "bytes": 5, "sha256": "0" * 64, "modified": NOW}


def manifest(mode: str = "full", **changes: Any) -> dict[str, Any]:
    steps = samples.steps(mode, **changes)
    plan = steps["plan"]["plan"]
    text = _manifest.of_archive(plan, plan["nodes"]["node1"], steps.get("window"), steps.get("configuration"), "0.1.0")
    collections = [{"namespace": "AlteryxGallery.users", "documents": 120, "bytes": 4096, "reported": 120}]
    text = text.replace('"@@collections@@"', json.dumps(collections))
    known = {
        "files": [FILE], "file_count": 1, "file_bytes": 5, "ended": NOW, "mongodb_version": "4.2.8",
        "tool_version": "100.3.1",
    }  # fmt: skip
    for word, value in known.items():
        text = text.replace(f'"@@{word}@@"', json.dumps(value))
    content: dict[str, Any] = json.loads(text)
    return content


def outcome(**failed: dict[str, Any]) -> dict[str, Any]:
    return _report.compose(
        "full", {"node1": {**samples.steps(), **failed}}, False, NOW, 1300.0, "alteryx_ops.server_backup 0.1.0"
    )


def node_json() -> dict[str, Any]:
    wanted = _node_metadata.to_collect("node1", samples.RUN_ID, samples.node_facts(), "embedded", "")
    collected = {
        "odbc_drivers": [{"name": "d", "bits": 64, "file": r"C:\d.dll", "version": "1.2.0.0"}],
        "odbc_data_sources": [{"name": "d", "bits": 32, "driver": "d", "server": "", "database": ""}],
        "connectors": [{"name": "c", "version": ""}],
        "python_packages": [{"name": "p", "version": "1.0", "python": "Miniconda3"}],
        "ad_groups": [{"local_group": "Administrators", "domain_group": r"EXAMPLE\Alteryx"}],
        "tls_bindings": [{"address": "0.0.0.0:443", "certificate": "5f1e", "application_id": "", "store": "MY"}],
        "alteryx_config": [r"C:\alteryx.config"],
        "places": [{"element": "installation", "path": r"D:\bin", "other_drive": True, "exists": None}],
    }
    return {
        **wanted["head"],
        "collected": NOW,
        "items": wanted["items"] | {name: _node_metadata.found(value) for name, value in collected.items()},
    }


def the_set() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(_manifest.of_set(samples.plan(), outcome(), "OK"))
    return content


VERDICT = {
    "schema": 1,
    "archive": "A.zip",
    "archive_sha256": "0" * 64,
    "run_id": samples.RUN_ID,
    "started": NOW,
    "verified": NOW,
    "method": "m",
    "verdict": "good",
    "entries": 1,
    "bytes": 5,
    "problems": [],
    "seconds": 0.1,
}
GOOD = {
    "manifest": manifest(), "set": the_set(), "node": node_json(), "outcome": outcome(), "verdict": VERDICT,
    "restore": test_plan.compose(),
    "catalogue": test_catalogue._catalogue.listing({"node1": test_catalogue.result(test_catalogue.backup())}, NOW),
}  # fmt: skip


def _objects(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield path, schema
        for key, inner in schema.items():
            yield from _objects(inner, f"{path}/{key}")
    elif isinstance(schema, list):
        for number, inner in enumerate(schema):
            yield from _objects(inner, f"{path}/{number}")


@pytest.mark.parametrize("name", schemas.NAMES)
def test_a_schema_is_a_schema_and_leaves_no_key_open(name: str) -> None:
    schema = schemas.schema(name)
    Draft202012Validator.check_schema(schema)
    assert schema["$id"].endswith(f"/docs/schemas/{name}-1.schema.json")
    for path, inner in _objects(schema):
        # A schema instead of false: the keys are data (hosts, namespaces, steps).
        assert inner.get("additionalProperties") is False or isinstance(inner["additionalProperties"], dict), path
        assert set(inner.get("required", [])) <= set(inner.get("properties", {})), path


def test_every_schema_file_is_known() -> None:
    assert {file.name for file in schemas.FOLDER.glob("*.json")} == {f"{name}-1.schema.json" for name in schemas.NAMES}


@pytest.mark.parametrize("name", schemas.NAMES)
def test_what_the_code_writes_is_of_the_schema(name: str) -> None:
    schemas.assert_valid(name, GOOD[name])


@pytest.mark.parametrize("name", schemas.NAMES)
def test_a_key_more_or_less_is_refused_at_every_level(name: str) -> None:
    keyed_by_data = {"documents", "nodes", "steps"}
    for path in _dictionaries(GOOD[name]):
        if path and path[-1] in keyed_by_data:
            continue
        changed = copy.deepcopy(GOOD[name])
        _at(changed, path)["invented"] = 1
        assert schemas.problems(name, changed), path
    for key in schemas.schema(name)["required"]:
        assert schemas.problems(name, {other: value for other, value in GOOD[name].items() if other != key}), key


def _dictionaries(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict):
        yield path
        for key, inner in value.items():
            yield from _dictionaries(inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _dictionaries(inner, (*path, number))


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def test_a_manifest_with_a_file_left_out_fits() -> None:
    told = manifest()
    told["configuration"][0]["left_out"] = [{"path": r"C:\Keys\a", "why": "it is held"}]
    schemas.assert_valid("manifest", told)


@pytest.mark.parametrize("changes", [{"mode": "database"}, {"mode": "config"}, {"secrets": "skip", "recipients": []}])
def test_manifests_of_every_mode_are_of_the_schema(changes: dict[str, Any]) -> None:
    schemas.assert_valid("manifest", manifest(**changes))


def test_what_later_writers_add_is_of_the_schema_already() -> None:
    told = copy.deepcopy(GOOD["manifest"])
    told["database"]["collections"] = [
        {"namespace": "AlteryxGallery.users", "documents": 120, "bytes": 9, "reported": number}
        for number in (120, None)
    ]
    schemas.assert_valid("manifest", told)
    schemas.assert_valid(
        "verdict",
        {**VERDICT, "verdict": "bad", "problems": ["x"], "problems_total": 2_000_000, "documents": 1, "collections": 1},
    )


@pytest.mark.parametrize("results", [{}, {"node1": {}}, {"node1": {"request": samples.failed("invalid_mode", 6)}}])
def test_the_outcome_of_a_run_that_came_to_nothing_is_of_the_schema(results: dict[str, Any]) -> None:
    schemas.assert_valid("outcome", _report.compose("everything", results, False, NOW, 1300.0))


def test_the_outcome_of_a_failed_run_is_of_the_schema() -> None:
    schemas.assert_valid(
        "outcome", outcome(window=samples.failed("dump_failed", 5), verify=samples.failed("archive_bad", 3))
    )


def test_every_item_of_a_node_may_be_absent_or_unreadable_and_says_why() -> None:
    for name in GOOD["node"]["items"]:
        for state in ("absent", "unreadable"):
            changed = copy.deepcopy(GOOD["node"])
            changed["items"][name] = {"state": state, "value": None, "why": "x"}
            schemas.assert_valid("node", changed)
            changed["items"][name]["why"] = ""
            assert schemas.problems("node", changed), name


def test_the_verdict_a_node_writes_has_the_keys_of_the_schema() -> None:
    source = (layout.ROOT / "plugins" / "module_utils" / "verify_job.ps1").read_text(encoding="utf-8")
    (block,) = re.findall(r"^\$verdict = \[ordered\]@\{\n(.*?)^\}", source, re.MULTILINE | re.DOTALL)
    written = set(re.findall(r"^    (\w+) = ", block, re.MULTILINE))
    assert written == set(schemas.schema("verdict")["properties"])


def test_documents_of_earlier_versions_are_of_the_schema() -> None:
    earlier = {name: value for name, value in VERDICT.items() if name not in ("archive_sha256", "run_id", "started")}
    schemas.assert_valid("verdict", earlier)
    told = manifest()
    del told["ended"], told["database"]["mongodb_version"], told["database"]["tool_version"]
    schemas.assert_valid("manifest", told)

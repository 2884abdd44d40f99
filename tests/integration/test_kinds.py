# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All three modes x every kind of persistence x one node and three: what ran, result and exit code. The table is left
in kinds.txt of the lab."""

from __future__ import annotations

import contextlib
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.lab import mongo_servers, seed
from tests.lab.node import Node

from .lab_of_tests import SETTINGS, Lab, run_id_pattern
from .playbook_run import PlaybookRunner, Run

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

KINDS = ("embedded", "self-managed", "replica set", "SQL Server")
MODES = {"full": "Full", "database": "DB", "config": "Config"}
QUICK = {"alteryx_window_health_stable": 0}
OLDER = "mongodump 100.3.1 is made for MongoDB up to 4.4, the server is 7.0.15: use a newer one"


@dataclass(frozen=True)
class Expected:
    """What a cell must show: exit code, reason, whether services went down, tool of the manifest ("" for no
    dump), point in time."""

    code: int = 0
    reason: str = ""
    stops: bool = False
    method: str = ""
    whole: bool | None = None


def expected(kind: str, mode: str, variables: dict[str, Any]) -> Expected:
    """Of a cell."""
    if mode == "config":
        return Expected()
    if kind == "SQL Server":
        hook = variables.get("alteryx_preflight_sqlserver") == "hook"
        return Expected() if hook and mode == "full" else Expected(3, "sqlserver_not_dumped")
    if kind == "embedded":
        return Expected(stops=True, method="emongodump", whole=True)
    stops = variables.get("alteryx_preflight_mongodb_stop", True)
    return Expected(stops=stops, method="mongodump", whole=True)


@contextlib.contextmanager
def settings(node: Node, changes: dict[str, str]) -> Iterator[None]:
    """The controller's settings with other elements of Controller, put back afterwards."""
    file = node.path(SETTINGS)
    before = file.read_bytes()
    text = before.decode()
    for name in ("EmbeddedMongoDBEnabled", *changes):
        text = re.sub(rf"\s*<{name}>[^<]*</{name}>", "", text)
    added = "".join(
        f"\r\n    <{name}>{value}</{name}>" for name, value in {"EmbeddedMongoDBEnabled": "False", **changes}.items()
    )
    file.write_bytes(text.replace("<Controller>", f"<Controller>{added}", 1).encode())
    try:
        yield
    finally:
        file.write_bytes(before)


@contextlib.contextmanager
def persistence(lab: Lab, kind: str) -> Iterator[dict[str, Any]]:
    """The controller of the lab with this kind of persistence; the variables that go with it."""
    if kind == "embedded":
        yield {}
        return
    if kind == "SQL Server":
        with settings(lab.node, {"InventedSqlServerConnection": "Server=db1;Database=Alteryx"}):
            yield {"alteryx_preflight_sqlserver": "hook"}
        return
    members = 3 if kind == "replica set" else 1
    with (
        mongodb(lab, members) as mongo,
        settings(
            lab.node,
            {
                "MongoDBEnabled": "True",
                "MongoDBServerName": mongo.hosts.split(",", maxsplit=1)[0],
                "MongoDBDatabaseName": "AlteryxService",
                "MongoDBUserName": mongo.user,
            },
        ),
    ):
        place = f"mongodb://{mongo.hosts}/" + (f"?replicaSet={mongo.replica_set}" if members > 1 else "")
        service = {"connection": place, "user": mongo.user, "password": mongo.password}
        # The one is stopped for the dump, the other is not.
        yield {
            "alteryx_preflight_mongodb_connections": {"service": service},
            "alteryx_preflight_mongodb_stop": members == 1,
        }


@contextlib.contextmanager
def mongodb(lab: Lab, members: int) -> Iterator[mongo_servers.Mongo]:
    """A MongoDB with the databases of a Server."""
    name = "rs0" if members > 1 else ""
    with mongo_servers.running(lab.node.folder, members, replica_set=name) as mongo:
        with mongo.client() as client:
            chance = random.Random(seed.SEED)
            for database, collection, count, make in seed._collections():
                client[database][collection].insert_many([make(chance, index) for index in range(min(count, 100))])
        yield mongo


def judge(lab: Lab, run: Run, mode: str, wanted: Expected, before: dict[str, Any]) -> str:
    """Asserts what a cell must show; returns what it was, for the table."""
    shown = run.output[-3000:]
    assert run.rc == wanted.code, shown
    assert run.outcome["reason"] == wanted.reason, shown
    assert [path for each in lab.each() for path in each.leftovers()] == []
    moved = {
        name: lab_node.service().pid != before[name].pid
        for name, lab_node in {node.name: node for node in lab.nodes}.items()
    }
    assert set(moved.values()) == {wanted.stops}, f"{moved}\n{shown}"
    if wanted.code:
        return f"refused: {wanted.reason}"
    match = run_id_pattern(MODES[mode]).fullmatch(run.outcome["run_id"])
    assert match
    archives = {name: each for name, each in run.outcome["nodes"].items() if each["archive"]}
    assert all(each["verdict"] == "good" for each in archives.values())
    assert set(archives) == (set(run.outcome["nodes"]) if mode != "database" else {lab.node.name})
    manifest = manifest_of(lab, match.group(1), mode)
    database = manifest["database"]
    if not wanted.method:
        assert database is None
    else:
        assert database["method"].startswith(wanted.method)
        assert database["method"].endswith("service stopped" if wanted.stops else "service running")
        assert database["point_in_time"] is wanted.whole
        assert set(database["databases"]) >= {"AlteryxService", "AlteryxGallery"}
        assert [server["version"][:2] for server in database["servers"]] == (
            ["7."] if wanted.method == "mongodump" else []
        )
        older = [text for text in run.outcome["warnings"] if "use a newer one" in text]
        assert older == ([f"{lab.node.name}: {OLDER}"] if wanted.method == "mongodump" else []), run.outcome["warnings"]
    return f"{len(archives)} archives" + (f", {database['method']}" if database else ", no dump")


def manifest_of(lab: Lab, stamp: str, mode: str) -> dict[str, Any]:
    """The manifest of the controller's archive."""
    from .backup_files import Backup

    return Backup.of(lab, stamp, MODES[mode]).manifest()


def note(folder: Path, row: str) -> None:
    """One row of the table."""
    with (folder / "kinds.txt").open("a", encoding="utf-8") as table:
        table.write(f"{row}\n")


def run_cell(lab: Lab, kind: str, mode: str) -> None:
    with persistence(lab, kind) as variables:
        before = {node.name: node.service() for node in lab.nodes}
        run = PlaybookRunner(lab)(f"{mode}_backup.yml", extra_vars={**QUICK, **variables}, timeout=600)
        said = judge(lab, run, mode, expected(kind, mode, variables), before)
    note(lab.folder, f"{len(lab.nodes)} node(s)  {kind:<12}  {mode:<8}  exit code {run.rc}  {said}")
    if password := variables.get("alteryx_preflight_mongodb_connections", {}).get("service", {}).get("password"):
        assert password not in run.output
        assert password not in run.log


@pytest.mark.usefixtures("recovered")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_single_node(lab: Lab, kind: str, mode: str) -> None:
    run_cell(lab, kind, mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_fleet_of_three(fleet: Lab, kind: str, mode: str) -> None:
    try:
        run_cell(fleet, kind, mode)
    finally:
        for each in fleet.each():
            each.recover()


@pytest.mark.parametrize("mode", ["full", "database"])
def test_without_the_oplog_and_without_a_stop_the_manifest_says_that_it_may_not_be_one_point_in_time(
    lab: Lab, mode: str
) -> None:
    with persistence(lab, "replica set") as variables:
        packed = {**variables, "alteryx_preflight_mongodb_oplog": "never", "alteryx_preflight_mongodb_gzip": True}
        run = PlaybookRunner(lab)(f"{mode}_backup.yml", extra_vars=packed)
    run.assert_ok()
    match = run_id_pattern(MODES[mode]).fullmatch(run.outcome["run_id"])
    assert match
    database = manifest_of(lab, match.group(1), mode)["database"]
    assert database["point_in_time"] is False
    assert "may not be of one point in time" in database["why"]
    assert any("may not be of one point in time" in text for text in run.outcome["warnings"])


def test_the_tasks_of_the_operator_run_in_place_of_the_dump_of_sql_server(lab: Lab, tmp_path: Path) -> None:
    tasks = tmp_path / "database.yml"
    tasks.write_text(
        "---\n- name: Dump SQL Server by our own means\n  ansible.builtin.debug:\n"
        '    msg: "hook of {{ inventory_hostname }}"\n',
        encoding="utf-8",
    )
    with persistence(lab, "SQL Server") as variables:
        run = PlaybookRunner(lab)("full_backup.yml", extra_vars={**variables, "alteryx_window_database": str(tasks)})
    run.assert_ok()
    assert f"hook of {lab.node.name}" in run.stdout
    assert any("SQL Server" in text for text in run.outcome["warnings"])

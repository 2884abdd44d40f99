# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""dump_job.ps1 with a real mongodump.exe and a real replica set: a dump without a stop is one point in time, and
says where it may not be."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.lab import alteryx_install, mongo_servers, seed, wine_node
from tests.node.engine import Engine

pytestmark = [pytest.mark.wine, pytest.mark.long]

RUN = "Full_20260901_020000_7f3a"
ENTRY = {"user": "", "password": "", "auth_source": "", "tls": False, "tls_ca_file": "", "tls_certificate_key_file": "",
         "tls_certificate_key_password": "", "databases": list(seed.DATABASES)}  # fmt: skip


@pytest.fixture(scope="module")
def machine(engine: Engine) -> Engine:
    """The engine with the database programs beside it."""
    alteryx_install.put_database_programs(engine.folder)
    return engine


@pytest.fixture(scope="module")
def replica_set(machine: Engine) -> Iterator[mongo_servers.Mongo]:
    """Three members with the seed's documents."""
    with mongo_servers.running(machine.folder, 3, replica_set="rs0") as mongo:
        with mongo.client() as client:
            chance = seed.random.Random(seed.SEED)
            for database, name, count, make in seed._collections():
                client[database][name].insert_many([make(chance, index) for index in range(count)])
        yield mongo


def dump(
    machine: Engine, entry: dict[str, Any], staging: str, *, oplog: str = "auto", gzip: bool = False
) -> tuple[dict[str, Any], Any, Any]:
    """Result of the job, evidence, decision."""
    # Here: conftest.py loads before the collection's name resolves.
    from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core import paths
    from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._database import (
        _dump,
        _dump_evidence,
        _persistence,
    )

    entries = {"service": {**ENTRY, **entry}}
    connections = _dump.read_connections(entries)
    where = (_persistence.Target(connections["service"], seed.DATABASES),)
    decision = _persistence.decide(
        "database", "mongodb", _persistence.Options(stop=False, oplog=oplog, gzip=gzip), where
    )
    plan = {"tool": rf"{alteryx_install.BIN}\mongodump.exe", "dumps": _dump.plan_dumps(decision, connections)}
    folders = paths.Staging(staging, RUN)
    spec = {"run_id": RUN, "staging_directory": staging, "dump_timeout": 300, "dump_folder": folders.dump,
            "space_reserve": 1_000_000, **_dump.build_mongodump_spec(plan, entries, folders)}  # fmt: skip
    end = machine.run_job("dump_job", spec, timeout=400)
    assert end.result["state"] == "succeeded", end
    files = {found["path"]: found["bytes"] for found in end.result["files"]}
    evidence = _dump_evidence.judge(files, end.result["output"], end.result["exit_code"])
    # The password is in no file any more: neither the tool's nor the job's.
    secret = connections["service"].password.encode()
    left = [
        file
        for root in (machine.path(staging), machine.path(r"C:\jobs"))
        for file in root.rglob("*")
        if file.is_file() and secret in file.read_bytes()
    ]
    assert left == []
    return end.result, evidence, decision


@contextmanager
def writer(mongo: mongo_servers.Mongo) -> Iterator[threading.Event]:
    """Writes pairs, the debit always before its credit: at any point in time the credits are the
    debits, or all but the last."""
    stop = threading.Event()
    written: list[int] = []

    def write() -> None:
        with mongo.client() as client:
            number = 0
            while not stop.is_set():
                client["AlteryxService"]["AS_Debits"].insert_one({"_id": number})
                client["AlteryxGallery"]["credits"].insert_one({"_id": number})
                written.append(number)
                number += 1

    with mongo.client() as client:
        client["AlteryxService"]["AS_Debits"].drop()
        client["AlteryxGallery"]["credits"].drop()
    thread = threading.Thread(target=write)
    thread.start()
    try:
        while len(written) < 20:
            assert thread.is_alive()
            thread.join(0.05)
        yield stop
    finally:
        stop.set()
        thread.join(60)


def restored(machine: Engine, folder: str, *, replay: bool, gzip: bool) -> tuple[int, int, bool]:
    """Debits and credits of the dump, restored into a scratch server, and whether they are of one point in time."""
    with mongo_servers.running(machine.folder, authenticated=False) as scratch:
        more = (["--oplogReplay"] if replay else []) + (["--gzip"] if gzip else [])
        tool = rf"{alteryx_install.BIN}\mongorestore.exe"
        # Users and settings of the whole instance are not what is looked at; mongorestore takes no
        # excludes with --oplogReplay.
        for name in ("admin", "config"):
            shutil.rmtree(machine.path(rf"{folder}\{name}"), ignore_errors=True)
        wine_node.run(machine.folder, tool, f"--uri=mongodb://{scratch.hosts}/", f"--dir={folder}", *more, timeout=300)
        client: mongo_servers.Client
        with mongo_servers.MongoClient("127.0.0.1", scratch.ports[0], directConnection=True) as client:
            debits = sorted(entry["_id"] for entry in client["AlteryxService"]["AS_Debits"].find())
            credited = sorted(entry["_id"] for entry in client["AlteryxGallery"]["credits"].find())
    assert debits == list(range(len(debits)))
    assert credited == list(range(len(credited)))
    return len(debits), len(credited), 0 <= len(debits) - len(credited) <= 1


@pytest.mark.parametrize("gzip", [False, True], ids=["plain", "gzip"])
def test_a_replica_set_dumped_while_a_writer_runs_is_one_point_in_time(
    machine: Engine, replica_set: mongo_servers.Mongo, gzip: bool
) -> None:
    entry = {
        "connection": f"mongodb://{replica_set.user}:{replica_set.password}@{replica_set.hosts}"
        f"/?replicaSet={replica_set.replica_set}"
    }
    staging = rf"D:\oplog-{gzip}"
    with writer(replica_set):
        result, evidence, decision = dump(machine, entry, staging, gzip=gzip)
    assert evidence.problems == (), result["output"]
    assert decision.point_in_time is True
    debits, credited, whole = restored(machine, result["dump_folder"], replay=True, gzip=gzip)
    dumped = (evidence.reported["AlteryxService.AS_Debits"], evidence.reported["AlteryxGallery.credits"])
    print(  # noqa: T201  # the figures
        f"with oplog, gzip {gzip}: dumped {dumped}, after --oplogReplay {debits} debits, {credited} credits, "
        f"one point in time: {whole}"
    )
    assert whole
    # The oplog had something to do.
    assert debits > dumped[0]


def test_without_the_oplog_the_decision_says_that_it_may_not_be_one(
    machine: Engine, replica_set: mongo_servers.Mongo
) -> None:
    entry = {
        "connection": replica_set.hosts.split(",", maxsplit=1)[0],
        "user": replica_set.user,
        "password": replica_set.password,
    }
    with writer(replica_set):
        result, evidence, decision = dump(machine, entry, r"D:\without", oplog="never")
    assert evidence.problems == ()
    assert decision.point_in_time is False
    assert "may not be of one point in time" in decision.why
    debits, credited, whole = restored(machine, result["dump_folder"], replay=False, gzip=False)
    # The figures.
    print(f"without oplog: {debits} debits, {credited} credits, one point in time: {whole}")  # noqa: T201
    # Two databases, one after the other: the second holds what was written meanwhile.
    assert not whole


def asked(machine: Engine, entry: dict[str, Any], *, oplog: bool = False) -> dict[str, Any]:
    """What mongodb_info finds out of a server; raises StepFailed."""
    from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._database import (
        _dump,
        _mongodb_check,
        _persistence,
    )

    entries = {"service": {**ENTRY, **entry}}
    connections = _dump.read_connections(entries)
    where = (_persistence.Target(connections["service"], seed.DATABASES),)
    decision = _persistence.decide(
        "database", "mongodb", _persistence.Options(stop=False, oplog="always" if oplog else "never"), where
    )
    plan = {
        "dumps": _dump.plan_dumps(decision, connections),
        "tool_version": "100.3.1",
        "service_database": "AlteryxService",
        "gallery_database": "AlteryxGallery",
    }
    questions = _mongodb_check.questions(plan, entries)
    probes = machine.path(r"D:\probes.json")
    probes.write_text(
        json.dumps([{"config": question.config, "arguments": question.arguments} for question in questions]),
        encoding="utf-8",
    )
    tool = rf"{alteryx_install.BIN}\mongodump.exe"
    printed = machine.run(
        rf"""
        Import-NodeType -Name 'ProcessTable'
        $probes = ConvertFrom-Json -InputObject ([IO.File]::ReadAllText('D:\probes.json'))
        $found = @(foreach ($probe in $probes) {{
            Read-MongodumpPrelude -Tool '{tool}' -Config $probe.config -ConfigPath 'D:\probe.config' `
                -ArgumentList @($probe.arguments) -TimeoutSeconds 60
        }})
        ConvertTo-NodeJson -InputObject @{{ answers = $found }}""",
        timeout=180,
    )
    assert not machine.path(r"D:\probe.config").exists()
    return _mongodb_check.judge_answers(plan, questions, json.loads(printed)["answers"])


def test_a_replica_set_says_version_databases_and_that_it_has_an_oplog(
    machine: Engine, replica_set: mongo_servers.Mongo
) -> None:
    entry = {
        "connection": f"mongodb://{replica_set.user}:{replica_set.password}@{replica_set.hosts}"
        f"/?replicaSet={replica_set.replica_set}"
    }
    (server,) = asked(machine, entry, oplog=True)["servers"]
    assert server["version"] == "7.0.15"
    found = {database["name"]: database["collections"] for database in server["databases"]}
    with replica_set.client() as client:
        for name in seed.DATABASES:
            assert found[name] == len(client[name].list_collection_names())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"password": "wrong"}, "mongodb_denied"),
        ({"connection": "127.0.0.1:1"}, "mongodb_unreachable"),
        ({"tls": True}, "mongodb_unreachable"),
    ],
)
def test_a_mongodb_that_cannot_be_reached_says_why(
    machine: Engine, replica_set: mongo_servers.Mongo, change: dict[str, Any], reason: str
) -> None:
    from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import StepFailed

    entry = {
        "connection": replica_set.hosts.split(",", maxsplit=1)[0],
        "user": replica_set.user,
        "password": replica_set.password,
    }
    with pytest.raises(StepFailed) as caught:
        asked(machine, {**entry, **change})
    assert caught.value.reason.name == reason
    assert replica_set.password not in str(caught.value)


def test_tls_with_a_client_certificate(machine: Engine, tmp_path: Path) -> None:
    from tests.lab import certificates

    made = certificates.ensure(tmp_path)
    client_certificate = certificates.write_client(tmp_path, "mongodump")
    pem = client_certificate.certificate.read_bytes() + client_certificate.key.read_bytes()
    machine.path(r"D:\client.pem").write_bytes(pem)
    machine.path(r"D:\ca.pem").write_bytes(made.authority.read_bytes())
    with (
        mongo_servers.running(machine.folder) as mongo,
        mongo_servers.tls_front(mongo.ports[0], made.endpoint, client_certificate.certificate) as port,
    ):
        with mongo.client() as client:
            chance = seed.random.Random(seed.SEED)
            for database, name, count, make in seed._collections():
                client[database][name].insert_many([make(chance, index) for index in range(min(count, 20))])
        entry = {
            "connection": f"localhost:{port}",
            "user": mongo.user,
            "password": mongo.password,
            "tls": True,
            "tls_ca_file": r"D:\ca.pem",
            "tls_certificate_key_file": r"D:\client.pem",
        }
        _unused, evidence, _unused = dump(machine, entry, r"D:\tls", gzip=True)
    assert evidence.problems == ()
    assert evidence.databases == ("AlteryxGallery", "AlteryxGallery_Lucene", "AlteryxService")

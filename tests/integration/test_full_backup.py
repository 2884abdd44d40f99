# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A full backup, told as much as ansible-playbook can tell, everything it leaves, and what it is for: the server is
restored from it at the end. More of restores is in test_restore.py."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from tests.lab import alteryx_install, wine_node
from tests.lab.node import ServiceState

from . import canary_search, observer
from . import restore_scene as scene
from .backup_files import Backup, flipped_bit, published
from .kinds import on_standin_too, wine_only
from .lab_of_tests import ARCHIVES, SETTINGS, Lab, run_id_pattern
from .playbook_run import PlaybookRunner, Run
from .restored_server import Server, assert_refused, nothing_touched

DATABASES = {"AlteryxService", "AlteryxGallery", "AlteryxGallery_Lucene"}


@dataclass(frozen=True)
class FullBackup:
    """A full backup that was made."""

    run: Run
    stamp: str
    backup: Backup
    before: ServiceState
    after: ServiceState
    began: float


@pytest.fixture(scope="module")
def full(lab: Lab, run_playbook: PlaybookRunner) -> FullBackup:
    before, began = lab.node.service(), time.time()
    run = run_playbook("full_backup.yml", "-vvvvv")
    run.assert_ok()
    match = run_id_pattern("Full").fullmatch(run.outcome["run_id"])
    assert match
    return FullBackup(run, match.group(1), Backup.of(lab, match.group(1), "Full"), before, lab.node.service(), began)


@on_standin_too
def test_every_file_lies_where_the_design_says(full: FullBackup, lab: Lab) -> None:
    base = f"ServerBackup_Full_{full.stamp}"
    own = {name.replace("\\", "/") for name in published(lab) if full.stamp in name}
    verifications = {name for name in own if ".verify_" in name}
    assert len(verifications) == 1
    assert own - verifications == {
        f"BackupLog_Full_{full.stamp}.log",
        f"{base}.set.json",
        f"{lab.node.name}/BackupLog_Full_{full.stamp}.log",
        *(f"{lab.node.name}/{base}{ending}" for ending in (".zip", ".manifest.json", ".secrets.pem", ".sha256")),
    }


@on_standin_too
def test_other_tools_open_the_archive_and_agree_with_manifest_and_sidecar(full: FullBackup) -> None:
    full.backup.assert_complete(secrets=True)


def test_the_archive_holds_database_and_configuration(full: FullBackup, lab: Lab) -> None:
    names = full.backup.names()
    assert {name.split("/")[1] for name in names if name.startswith("database/")} == DATABASES
    with zipfile.ZipFile(full.backup.archive) as opened:
        assert opened.read("configuration/RuntimeSettings.xml") == lab.node.path(SETTINGS).read_bytes()
        keys = lab.node.path(r"C:\ProgramData\Alteryx\Keys")
        for key in (file for file in keys.rglob("*") if file.is_file()):
            assert opened.read(f"configuration/Keys/{key.relative_to(keys).as_posix()}") == key.read_bytes()
    manifest = full.backup.manifest()
    assert (manifest["mode"], manifest["node"], manifest["run_id"]) == (
        "full",
        lab.node.name,
        full.run.outcome["run_id"],
    )
    assert set(manifest["database"]["databases"]) == DATABASES
    assert manifest["secrets"]["included"] is True


@on_standin_too
def test_a_person_can_read_every_document(full: FullBackup, lab: Lab) -> None:
    (verdict,) = full.backup.folder.glob(f"{full.backup.base}.verify_*.json")
    texts = {
        "verdict": verdict.read_text(encoding="utf-8"),
        "node.json": full.backup.read("configuration/node.json").decode(),
        "manifest": full.backup.file(".manifest.json").read_text(encoding="utf-8"),
        "secrets": full.backup.secrets_text(lab.recipient("operator")),
    }
    for name, text in texts.items():
        lines = text.splitlines()
        assert lines[:2] == ["{", '  "schema": 1,'], name
        assert lines[-1] == "}", name
    assert list(json.loads(texts["secrets"])) == [
        "schema",
        "run_id",
        "computer",
        "created",
        "controller_token",
        "mongodb_passwords",
    ]
    assert list(json.loads(texts["secrets"])["mongodb_passwords"]) == ["admin", "non_admin"]
    told = json.loads(texts["node.json"])
    assert list(told) == ["schema", "run_id", "node", "computer", "collected", "items"]
    assert list(told["items"]) == sorted(told["items"])
    assert all(list(item) == ["state", "value", "why"] for item in told["items"].values())


@on_standin_too
def test_a_verdict_names_the_archive_it_is_about(full: FullBackup) -> None:
    (file,) = full.backup.folder.glob(f"{full.backup.base}.verify_*.json")
    verdict = json.loads(file.read_text(encoding="utf-8"))
    digest = full.backup.file(".sha256").read_text(encoding="ascii").split(" ", 1)[0]
    assert (verdict["run_id"], verdict["archive_sha256"]) == (full.run.outcome["run_id"], digest)
    # The moment in the name of the file, in another form.
    assert re.sub(r"\D", "", verdict["started"])[:14] == file.name.rpartition(".verify_")[2][:15].replace("_", "")
    assert verdict["started"][:19] <= verdict["verified"][:19]


@on_standin_too
def test_a_person_who_has_only_the_folder_finds_out_what_to_do(full: FullBackup) -> None:
    readme = (full.backup.folder / "README.txt").read_bytes()
    assert readme.isascii()
    assert readme.startswith(b"Backups of Alteryx Server (alteryx_ops.server_backup, text version ")


def test_the_manifest_names_the_versions_of_database_and_tool_and_when_it_ended(full: FullBackup) -> None:
    manifest = full.backup.manifest()
    database = manifest["database"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", database["mongodb_version"])
    assert re.fullmatch(r"\d+\.\d+\.\d+", database["tool_version"])
    assert manifest["started"] < manifest["ended"]


def test_set_manifest_outcome_and_log_tell_the_same(full: FullBackup, lab: Lab) -> None:
    root = lab.node.path(ARCHIVES)
    told = json.loads((root / f"ServerBackup_Full_{full.stamp}.set.json").read_text(encoding="utf-8"))
    node = full.run.node()
    digest = full.backup.file(".sha256").read_text(encoding="ascii").split(" ", 1)[0]
    assert told["nodes"][lab.node.name]["archive_sha256"] == node["archive_sha256"] == digest
    assert told["nodes"][lab.node.name]["verdict"] == node["verdict"] == "good"
    assert lab.node.path(node["archive"]) == full.backup.archive
    assert node["archive_bytes"] == full.backup.archive.stat().st_size
    log = (root / f"BackupLog_Full_{full.stamp}.log").read_text(encoding="utf-8")
    assert "SUCCESS" in log
    assert "window: done" in log
    # One node: its own log is the log of the run. That of the control node tells also what came after.
    assert (root / lab.node.name / f"BackupLog_Full_{full.stamp}.log").read_text(encoding="utf-8") == log
    assert "SUCCESS" in full.run.log
    assert "unlock: done" in full.run.log


def test_the_downtime_is_what_its_parts_make(full: FullBackup) -> None:
    down = full.run.outcome["downtime"]
    assert down["total"] > 0
    assert down["total"] == pytest.approx(down["stop"] + down["dump"] + down["start"] + down["rest"], abs=0.01)
    # The budget of design section 12.
    assert down["rest"] < 3


@pytest.mark.parametrize("recipient", ["operator", "deputy"])
def test_each_recipient_alone_opens_the_secrets_with_openssl_and_they_are_those_of_the_node(
    full: FullBackup, lab: Lab, recipient: str
) -> None:
    secrets = lab.secrets()
    opened = full.backup.open_secrets(lab.recipient(recipient))
    assert opened["controller_token"] == secrets["controller_token"]
    assert opened["mongodb_passwords"] == {"admin": secrets["admin"], "non_admin": secrets["non_admin"]}
    program = rf"{alteryx_install.BIN}\AlteryxService.exe"
    assert lab.run_program(program, "getserversecret").strip() == opened["controller_token"]


def test_the_service_runs_again_in_a_new_process(full: FullBackup) -> None:
    assert full.before.state == full.after.state == "Running"
    assert full.after.pid != full.before.pid
    node = full.run.node()
    assert (node["process_before"]["process_id"], node["process_after"]["process_id"]) == (
        full.before.pid,
        full.after.pid,
    )


@on_standin_too
def test_nothing_is_left_on_the_node(full: FullBackup, lab: Lab) -> None:
    del full
    assert lab.leftovers() == []


def test_the_last_lines_say_what_an_operator_wants_to_know(full: FullBackup, lab: Lab) -> None:
    run = full.run
    summary = run.stdout[run.stdout.index("BACKUP OK") :]
    assert f"mode=full  id={run.outcome['run_id']}" in summary
    assert f" downtime {run.outcome['downtime']['total']:.1f} s = stop " in summary
    assert rf"{ARCHIVES}\{lab.node.name}\ServerBackup_Full_{full.stamp}.zip" in summary
    assert "service Running -> Running" in summary
    assert f" report   {run.folder}" in summary
    assert "good, secrets encrypted beside it" in summary


def test_no_secret_stands_anywhere_in_clear_text(full: FullBackup, lab: Lab) -> None:
    secrets = lab.secrets()
    assert all(len(secret) >= 16 for secret in secrets.values())
    assert canary_search.find(full.run.output.encode(), secrets) == {}
    assert full.run.folder
    assert (
        list(canary_search.find_in_files([*full.run.folder.iterdir(), *observer.files(lab.node, full.began)], secrets))
        == []
    )


@pytest.fixture
def restored(full: FullBackup, lab: Lab) -> Iterator[MongoClient[dict[str, Any]]]:
    """A server of its own into which the real mongorestore.exe has put the dump of the archive."""
    scratch = lab.node.path(r"C:\AlteryxLab") / "restore"
    (scratch / "data").mkdir(parents=True)
    with zipfile.ZipFile(full.backup.archive) as opened:
        opened.extractall(scratch / "archive", [name for name in opened.namelist() if name.startswith("database/")])
    port, folder, bin_folder = alteryx_install.free_port(), r"C:\AlteryxLab\restore", alteryx_install.BIN
    server = _start(
        lab,
        rf"{bin_folder}\mongod.exe",
        "--port",
        str(port),
        "--bind_ip",
        "127.0.0.1",
        "--dbpath",
        rf"{folder}\data",
        "--logpath",
        rf"{folder}\mongod.log",
        "--setParameter",
        "diagnosticDataCollectionEnabled=false",
        "--wiredTigerCacheSizeGB",
        "0.25",
    )
    client: MongoClient[dict[str, Any]] = MongoClient(
        "127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=60_000
    )
    try:
        client.admin.command("ping")
        wine_node.run(
            lab.node.folder,
            rf"{bin_folder}\mongorestore.exe",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--dir",
            rf"{folder}\archive\database",
            timeout=120,
        )
        yield client
    finally:
        _shut_down(client)
        server.wait(60)
        client.close()
        shutil.rmtree(scratch)


@wine_only
def test_the_dump_restores_into_an_empty_server_with_equal_counts(
    full: FullBackup, lab: Lab, restored: MongoClient[dict[str, Any]]
) -> None:
    password = full.backup.open_secrets(lab.recipient("operator"))["mongodb_passwords"]["non_admin"]
    port = int(lab.settings().findtext("Controller/EmbeddedMongoDBPort") or 0)
    live: MongoClient[dict[str, Any]]
    with MongoClient(
        "127.0.0.1", port, username="user", password=password, authSource="AlteryxService", directConnection=True
    ) as live:
        expected = _counts(live)
    assert _counts(restored) == expected
    assert set(restored.list_database_names()) - {"admin", "config", "local"} == DATABASES
    reported = {
        f"{database}.{name}": number
        for database, collections in expected.items()
        for name, number in collections.items()
    }
    database = full.backup.manifest()["database"]
    assert database["documents"] == reported
    assert {
        walked["namespace"]: walked["documents"]
        for walked in database["collections"]
        if walked["namespace"] in reported
    } == reported
    assert sum(reported.values()) > 1000


def _counts(client: MongoClient[dict[str, Any]]) -> dict[str, dict[str, int]]:
    return {
        database: {
            name: client[database][name].count_documents({})
            for name in sorted(client[database].list_collection_names())
        }
        for database in sorted(DATABASES)
    }


def _start(lab: Lab, *argv: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        wine_node.wine_command(lab.node.folder, *argv),
        env=wine_node.environment(lab.node.folder),
        cwd=lab.node.path("C:\\"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _shut_down(client: MongoClient[dict[str, Any]]) -> None:
    with contextlib.suppress(PyMongoError):  # the answer of a server that ends
        client.admin.command("shutdown")


@pytest.fixture(scope="module")
def backed_up(
    full: FullBackup, lab: Lab, run_playbook: PlaybookRunner, tmp_path_factory: pytest.TempPathFactory
) -> Server:
    """The server, just after its backup."""
    return Server.of(lab, run_playbook, full.run, full.backup, tmp_path_factory.mktemp("cold"))


@pytest.mark.timeout(1800)
@wine_only
def test_a_restore_and_its_rollback_give_the_damaged_server_back_and_delete_nothing(server: Server) -> None:
    damaged = server.damage()
    # The archive is read under the lock of the node, before anything is stopped.
    with flipped_bit(server.backup.archive), nothing_touched(server, "c/ProgramData/AlteryxOps"):
        assert_refused(server.restore(backup=server.run_id), 3, server.backup.base)
    run = server.restore(backup=server.run_id)
    run.assert_ended_well()
    assert scene.judge_server(server.lab.node, damaged, server.golden) == "new"
    with scene.ServedStates(server.lab, damaged, server.golden) as served:
        back = server.roll_back(run.outcome["run_id"])
    back.assert_ended_well()
    assert scene.compare(damaged, server.now()) == []
    served.assert_never_half()
    assert served.verdicts[-1] == "old"
    assert server.leftovers() == []
    # What the restore has brought is aside now, in its place.
    kept = scene.kept(server.lab.node)
    assert any("MongoDB." in path for path in kept)
    server.accept(run.outcome["run_id"]).assert_ended_well()
    assert scene.kept(server.lab.node) == []
    assert scene.compare(damaged, server.now()) == []

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Wine node is before and after a restore, seen without the collection: documents, files, permissions, service.

Documents are read by pymongo: of a service that runs from its MongoDB, otherwise by a mongod.exe of the lab on a copy
of the data folder, so that nothing is written to the folder that is judged. Permissions are what Wine answers: it makes
them of owner and mode of the host's file, so they tell whether a file has those of its neighbours, not more.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from defusedxml import ElementTree
from pymongo import MongoClient
from pymongo.errors import ConnectionFailure, PyMongoError

from tests.faults import watch
from tests.lab import alteryx_install, downloads, layout, wine_node
from tests.lab.node import SERVICE, Node

from .lab_of_tests import SETTINGS, STATE_FOLDER, Lab

RESTORE = "emongorestore="
DATA = alteryx_install.DATA
PERSISTENCE = DATA.rpartition("\\")[0]
KEYS = rf"{alteryx_install.PROGRAM_DATA}\Keys"
ENGINE = rf"{alteryx_install.PROGRAM_DATA}\Engine"
SERVER = rf"{alteryx_install.BIN}\server"
FILES = {
    "RuntimeSettings.xml": SETTINGS,
    "alteryx.config": rf"{SERVER}\config\alteryx.config",
    r"Engine\SystemAlias.xml": rf"{ENGINE}\SystemAlias.xml",
    r"Engine\SystemConnections.xml": rf"{ENGINE}\SystemConnections.xml",
}
"""The critical files beside the folder Keys: name -> where."""

AUTOMATIC, DISABLED = 2, 4
_OURS = ("admin", "config", "local")
_SCRATCH = r"C:\AlteryxLab\scratch"
_MONGOD = r"C:\AlteryxLab\bin\lab-mongod.exe"  # not the installation's: code under test may look for that one
_SECONDS = 60

Client = MongoClient[dict[str, Any]]


@dataclass(frozen=True)
class Collection:
    """A collection: number of its documents, SHA-256 of all of them in the order of their _id, its indexes."""

    documents: int
    digest: str
    indexes: str


@dataclass(frozen=True)
class GoldenState:
    """What must be the same after a restore."""

    collections: Mapping[str, Collection]  # by database.collection
    users: Mapping[str, str]  # of the database: database.name -> roles
    no_database: str  # why the collections could not be read
    files: Mapping[str, str]  # SHA-256 by name, as in FILES; Keys\... for the keys
    permissions: Mapping[str, str | None]  # SDDL by path
    service: str
    start_type: int


def take_golden_state(node: Node) -> GoldenState:
    """The state of a node now. Its service may be stopped or running."""
    answer = _service(node)
    collections: dict[str, Collection] = {}
    users: dict[str, str] = {}
    no_database = ""
    if alteryx_install.has_database(node.role):
        try:
            if answer["state"] == "Running":
                with _served_database(node) as client:
                    collections, users = _read_collections(client), _read_users(client)
            else:
                collections, users = read_data_folder(node)
        except (PyMongoError, FileNotFoundError, RuntimeError, ElementTree.ParseError) as error:
            no_database = f"{type(error).__name__}: {error}"
    paths = {name: path for name, path in _paths(node).items() if node.path(path).exists()}
    return GoldenState(
        collections,
        users,
        no_database,
        read_files(node),
        _permissions(node, [*paths.values(), *([DATA] if alteryx_install.has_database(node.role) else [])]),
        answer["state"],
        answer["start_type"],
    )


def read_files(node: Node) -> dict[str, str]:
    """The critical files of any kind of node: name -> SHA-256."""
    files = {name: node.path(path) for name, path in _paths(node).items()}
    return {name: _digest(file) for name, file in files.items() if file.is_file()}


def read_data_folder(node: Node, folder: str = DATA) -> tuple[dict[str, Collection], dict[str, str]]:
    """Collections and users in a data folder that no mongod.exe uses.

    Raises:
        FileNotFoundError, RuntimeError: it holds no database that mongod.exe starts on.
    """
    with _scratch_mongod(node, folder) as client:
        return _read_collections(client), _read_users(client)


def compare(golden: GoldenState, now: GoldenState) -> list[str]:
    """A text for each thing that differs: what it is, a colon, how it differs."""
    found = _compare_content(golden, now)
    for path in sorted({*golden.permissions, *now.permissions}):
        was, is_now = golden.permissions.get(path), now.permissions.get(path)
        if was and is_now and was != is_now:  # what is absent is told of as such
            found.append(f"permissions of {path}: were {was}, are {is_now}")
    if golden.service != now.service:
        found.append(f"service: was {golden.service}, is {now.service}")
    if golden.start_type != now.start_type:
        found.append(f"start type: was {golden.start_type}, is {now.start_type}")
    return found


def judge_server(node: Node, old: GoldenState, new: GoldenState) -> str:
    """Whether documents and files of a node are the "old" or the "new" ones, or "half: why"."""
    now = take_golden_state(node)
    against_old = _compare_content(old, now)
    if not against_old:
        return "old"
    against_new = _compare_content(new, now)
    if not against_new:
        return "new"
    return f"half: not the old one ({_few(against_old)}), not the new one ({_few(against_new)})"


def kept(node: Node) -> list[str]:
    """What restores keep beside, so that they can be taken back: every path NAME.before_RUN and the like."""
    places = (PERSISTENCE, alteryx_install.PROGRAM_DATA, SERVER)
    return sorted(
        str(path.relative_to(node.folder))
        for place in places
        for path in node.path(place).rglob("*")
        if re.search(r"\.(before|rolled_back|failed|new)_Restore_", path.name)
    )


def read_audit(node: Node) -> list[dict[str, Any]]:
    """What was restored, rolled back and accepted on a node, a line each."""
    lines = node.path(rf"{STATE_FOLDER}\restores\BackupAudit.log").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def damage_server(node: Node, seed: int) -> list[str]:
    """Spoil a node whose service runs: documents, then settings, keys and aliases. Returns what compare() names."""
    done = []
    if alteryx_install.has_database(node.role):
        with _served_database(node) as client:
            done += _damage_documents(client, seed)
    return [*done, *damage_files(node, seed)]


def damage_files(node: Node, seed: int) -> list[str]:
    """Spoil the critical files of any kind of node. Returns their names."""
    settings = node.path(SETTINGS)
    text = settings.read_text(encoding="utf-8")
    assert "<WorkingPath>" in text
    settings.write_text(
        text.replace("<WorkingPath>", rf"<WorkingPath>E:\Damaged{seed}", 1).replace(
            "</SystemSettings>", f"  <Designer><Damage>{seed}</Damage></Designer>\r\n</SystemSettings>"
        ),
        encoding="utf-8",
        newline="",
    )
    node.path(rf"{KEYS}\storage.key").write_bytes(f"damage {seed}".encode())
    node.path(rf"{KEYS}\dcm\vault.dat").unlink()
    node.path(rf"{KEYS}\dcm\added.key").write_bytes(f"added {seed}".encode())
    with node.path(FILES["alteryx.config"]).open("ab") as file:
        file.write(f"<!-- damage {seed} -->\r\n".encode())
    with node.path(FILES[r"Engine\SystemAlias.xml"]).open("ab") as file:
        file.write(f"<!-- damage {seed} -->\r\n".encode())
    node.path(FILES[r"Engine\SystemConnections.xml"]).unlink()
    return [*FILES, r"Keys\storage.key", r"Keys\dcm\vault.dat", r"Keys\dcm\added.key"]


def break_server(node: Node, *, disabled: bool = True) -> None:
    """The hard case: the service is stopped (and disabled), data folder and keys are gone, the settings are empty."""
    stop_service(node)
    if disabled:
        set_start_type(node, DISABLED)
    if alteryx_install.has_database(node.role):
        shutil.rmtree(node.path(DATA))
    node.path(SETTINGS).write_bytes(b"")
    shutil.rmtree(node.path(KEYS))


def stop_service(node: Node) -> None:
    """Stop the service as a person at the node would. A stopped service is not an error."""
    _service(node, "stop", "60")


def start_service(node: Node) -> str:
    """Start it as a person at the node would; returns the state it ends in: Running, Stopped, or one that lasts."""
    state: str = _service(node, "start", "1")["state"]
    limit = time.monotonic() + _SECONDS
    while state.endswith("Pending") and time.monotonic() < limit:
        time.sleep(0.2)
        state = _service(node)["state"]
    return state


def let_service_hang(node: Node, action: str) -> str:
    """Let the service hang while it starts or stops; returns the state in which it is then."""
    if action == "start":
        stop_service(node)
    node.behave(**{action: "hang"})
    _service(node, action, "1")
    state: str = _service(node)["state"]
    assert state == {"start": "StartPending", "stop": "StopPending"}[action]
    return state


def set_start_type(node: Node, start_type: int) -> None:
    """How Windows starts the service: AUTOMATIC, DISABLED."""
    _service(node, "start_type", str(start_type))


@dataclass(frozen=True)
class ColdCopy:
    """A server that was stopped, copied on the host: what tests spoil is put back out of it."""

    folder: Path
    start_type: int

    @classmethod
    def of(cls, node: Node, folder: Path) -> ColdCopy:
        """Stop the service, copy the server, start the service again."""
        start_type = _service(node)["start_type"]
        stop_service(node)
        for index, place in enumerate(_PLACES):
            if node.path(place).is_dir():
                _copy(node.path(place), folder / str(index))
        assert start_service(node) == "Running"
        return cls(folder, start_type)

    def put_back(self, node: Node) -> None:
        """The server is as it was, whatever has become of it, and its service runs."""
        for program in (RESTORE, "mongorestore.exe"):
            watch.signal_processes(node, program, signal.SIGKILL)
        stop_service(node)
        watch.signal_processes(node, "mongod.exe", signal.SIGKILL)
        watch.until(lambda: not watch.host_processes(node, "mongod.exe"), 30, "the end of mongod.exe")
        for index, place in enumerate(_PLACES):
            shutil.rmtree(node.path(place), ignore_errors=True)
            if (self.folder / str(index)).is_dir():
                _copy(self.folder / str(index), node.path(place))
        set_start_type(node, self.start_type)
        assert start_service(node) == "Running"


_PLACES = (PERSISTENCE, alteryx_install.PROGRAM_DATA, SERVER, STATE_FOLDER)


@dataclass
class ServedStates:
    """Judges the server beside the test each time its service was seen to run: no client may be served by a partly
    restored server.

    Use as a context manager, around what restores.
    """

    lab: Lab
    old: GoldenState
    new: GoldenState
    watching: watch.Watch = field(init=False)
    verdicts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.watching = watch.Watch(self.lab, RESTORE)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._judge, daemon=True)

    def __enter__(self) -> Self:
        self.watching.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(120)
        self.watching.__exit__()

    def assert_never_half(self) -> None:
        """Every time it ran it was the old or the new one."""
        assert self.verdicts, "the service was never seen to run"
        assert not [verdict for verdict in self.verdicts if verdict not in ("old", "new")], self.watching.history()

    def _judge(self) -> None:
        judged = 0
        is_due = False
        while True:
            over = self._end.is_set()
            states = self.watching.states[judged:]
            judged += len(states)
            is_due = self.watching.state == "Running" and (is_due or any(state == "Running" for _at, state in states))
            if is_due:
                # What changes while it is read is judged when the service runs again; a node that is off says nothing.
                with contextlib.suppress(RuntimeError, OSError, subprocess.SubprocessError):
                    verdict = judge_server(self.lab.node, self.old, self.new)
                    if self.watching.state == "Running":
                        self.verdicts.append(verdict)
                        is_due = False
            if over:
                return
            self._end.wait(0.1)


def _compare_content(golden: GoldenState, now: GoldenState) -> list[str]:
    if now.no_database and not golden.no_database:
        found = [f"database: {now.no_database}"]
    else:
        found = [
            f"{name}: {text}"
            for name in sorted({*golden.collections, *now.collections})
            if (text := _difference(golden.collections.get(name), now.collections.get(name)))
        ]
        if golden.users != now.users:
            found.append(f"users: were {dict(golden.users)}, are {dict(now.users)}")
    for name in sorted({*golden.files, *now.files}):
        was, is_now = golden.files.get(name), now.files.get(name)
        if was != is_now:
            found.append(f"{name}: {'added' if not was else 'gone' if not is_now else 'other content'}")
    return found


def _difference(was: Collection | None, is_now: Collection | None) -> str:
    if not was or not is_now:
        return "added" if not was else "gone"
    if was.documents != is_now.documents:
        return f"{was.documents} documents were there, {is_now.documents} are"
    if was.digest != is_now.digest:
        return "other documents"
    return "" if was.indexes == is_now.indexes else f"the indexes were {was.indexes}, are {is_now.indexes}"


def _few(texts: list[str]) -> str:
    return "; ".join(texts[:4]) + (f"; {len(texts) - 4} more" if len(texts) > 4 else "")


def _damage_documents(client: Client, seed: int) -> list[str]:
    service, gallery = client["AlteryxService"], client["AlteryxGallery"]
    some = [one["_id"] for one in service["AS_Queue"].find({}, {"_id": 1}, sort=[("_id", 1)], skip=seed % 100, limit=7)]
    service["AS_Queue"].delete_many({"_id": {"$in": some}})
    gallery["users"].update_many({"role": "Curator"}, {"$set": {"name": f"Damage {seed}"}})
    service["AS_Schedules"].insert_many([{"Name": f"damage {seed}", "number": number} for number in range(3)])
    service["AS_Results"].create_index("Seconds", name=f"damage_{seed}")
    gallery["apiNonces"].drop()
    gallery["damage"].insert_one({"seed": seed})
    return [
        "AlteryxService.AS_Queue",
        "AlteryxGallery.users",
        "AlteryxService.AS_Schedules",
        "AlteryxService.AS_Results",
        "AlteryxGallery.apiNonces",
        "AlteryxGallery.damage",
    ]


@contextlib.contextmanager
def _served_database(node: Node) -> Iterator[Client]:
    settings = ElementTree.fromstring(node.path(SETTINGS).read_bytes())
    client: Client
    with MongoClient(
        "127.0.0.1",
        int(settings.findtext("Controller/EmbeddedMongoDBPort") or ""),
        username="admin",
        password=alteryx_install.decrypt(settings.findtext("Controller/EmbeddedMongoDBAdminPasswordEncrypted") or ""),
        directConnection=True,
        serverSelectionTimeoutMS=_SECONDS * 1000,
    ) as client:
        yield client


@contextlib.contextmanager
def _scratch_mongod(node: Node, data: str) -> Iterator[Client]:
    if not (node.path(data) / "WiredTiger").exists():
        raise FileNotFoundError(f"{data} holds no database")
    folder = rf"{_SCRATCH}-{secrets.token_hex(4)}"
    _copy(node.path(data), node.path(folder))
    port = alteryx_install.free_port()
    process = subprocess.Popen(
        wine_node.wine_command(node.folder, _lab_mongod(node), *_options(folder, port)),
        env=wine_node.environment(node.folder),
        cwd=layout.drive(node.folder, "c"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        client: Client
        with MongoClient("127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=500) as client:
            _wait_for(client, process)
            yield client
            with contextlib.suppress(ConnectionFailure):  # the answer of a server that ends
                client.admin.command("shutdown")
        process.wait(_SECONDS)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(_SECONDS)
        shutil.rmtree(node.path(folder))


def _options(folder: str, port: int) -> list[str]:
    address = ["--noauth", "--bind_ip", "127.0.0.1", "--port", str(port)]
    small = ["--setParameter", "diagnosticDataCollectionEnabled=false", "--wiredTigerCacheSizeGB", "0.25"]
    return [*address, "--dbpath", folder, "--logpath", rf"{folder}\scratch.log", *small]


def _wait_for(client: Client, process: subprocess.Popen[bytes]) -> None:
    limit = time.monotonic() + _SECONDS
    while True:
        try:
            client.admin.command("ping")
        except ConnectionFailure:
            if process.poll() is not None:
                raise RuntimeError(f"no mongod.exe starts on the data folder: exit code {process.returncode}") from None
            if time.monotonic() > limit:
                raise
        else:
            return


def _lab_mongod(node: Node) -> str:
    if not node.path(_MONGOD).exists():
        shutil.copyfile(downloads.mongod() / "mongod.exe", node.path(_MONGOD))
    return _MONGOD


def _read_collections(client: Client) -> dict[str, Collection]:
    raw = CodecOptions(document_class=RawBSONDocument)
    found = {}
    for database in sorted(set(client.list_database_names()) - set(_OURS)):
        for name in sorted(client[database].list_collection_names()):
            collection: Any = client[database].get_collection(name, codec_options=raw)
            digest, count = hashlib.sha256(), 0
            for document in collection.find(sort=[("_id", 1)]):
                digest.update(document.raw)
                count += 1
            indexes = sorted(
                ({key: value for key, value in index.items() if key != "v"} for index in collection.list_indexes()),
                key=lambda index: str(index["name"]),
            )
            found[f"{database}.{name}"] = Collection(count, digest.hexdigest(), json.dumps(indexes, default=str))
    return found


def _read_users(client: Client) -> dict[str, str]:
    answer = client.admin.command({"usersInfo": {"forAllDBs": True}})
    return {
        f"{user['db']}.{user['user']}": ", ".join(sorted(f"{role['db']}.{role['role']}" for role in user["roles"]))
        for user in answer["users"]
    }


def _paths(node: Node) -> dict[str, str]:
    found = dict(FILES)
    keys = node.path(KEYS)
    for path in sorted([keys, *keys.rglob("*")]) if keys.is_dir() else []:
        inner = "\\".join(path.relative_to(keys.parent).parts)
        found[inner] = rf"{alteryx_install.PROGRAM_DATA}\{inner}"
    return found


def _permissions(node: Node, paths: list[str]) -> dict[str, str | None]:
    answer: dict[str, str | None] = json.loads(
        wine_node.run(node.folder, wine_node.LABCTL, "permissions", *paths, timeout=_SECONDS)
    )
    return answer


def _service(node: Node, verb: str = "service", *arguments: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(
        wine_node.run(node.folder, wine_node.LABCTL, verb, SERVICE, *arguments, timeout=_SECONDS + 30)
    )
    return answer


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _copy(source: Path, target: Path) -> None:
    # A journal is 100 MB of zeros per file: holes cost neither time nor room.
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", "--sparse=always", "--reflink=auto", os.fspath(source), os.fspath(target)], check=True)

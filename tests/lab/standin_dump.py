# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""emongodump and mongodump of a stand-in node: a small dump with real BSON, and text like mongodump's."""

from __future__ import annotations

import functools
import gzip
import json
import random
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import bson

from . import seed, standin_install, standin_service
from .node import Node
from .standin_files import utc_text

_DOCUMENTS = 25  # of each collection; the seed of a Wine node has some thousand in all
_TICK_SECONDS = 0.1
_WRONG = 'password: "wrong"'  # the one password that no server takes
_DENIED = "Failed: can't create session: could not connect to server: connection() : auth error: (AuthenticationFailed) Authentication failed."


@dataclass(frozen=True)
class Collection:
    """One collection as it lies in a dump."""

    database: str
    name: str
    count: int
    documents: bytes
    metadata: bytes


def emongodump(node: Node, folder: str, tick: Callable[[], None]) -> tuple[int, str]:
    """What ``AlteryxService.exe emongodump=FOLDER`` does; tick is called while it works and may end it by raising. Returns exit code and output."""
    if node.service().state != "Stopped":
        return 0, "EMongoDump failed: the service is running\r\n"
    behaves = standin_service.behaviour(node)
    fault = behaves.get("emongodump", "")
    if fault == "exit1":
        return 1, ""
    began = time.monotonic()
    while standin_service.behaviour(node).get("emongodump") == "hang" or time.monotonic() - began < int(behaves.get("emongodump_delay_ms") or 0) / 1000:
        tick()
        time.sleep(_TICK_SECONDS)
    output: list[str] = []
    for database in seed.DATABASES:
        if database == "AlteryxGallery" and fault in {"fail", "leak"}:
            password = standin_install.secret(node, "EmbeddedMongoDBPasswordEncrypted")
            told = f"Failed: can't create session: mongodb://user:{password}@127.0.0.1:27018/\r\n" if fault == "leak" else ""
            return 0, "".join(output) + told + "EMongoDump failed\r\n"
        if database == "AlteryxGallery" and fault == "half":
            continue
        output += [_dump(node, folder, collection) for collection in collections() if collection.database == database]
        tick()
    if fault == "empty":
        node.path(rf"{folder}\AlteryxGallery\users.bson").write_bytes(b"")
    return 0, "".join(output)


def mongodump(node: Node, dumps: list[dict[str, Any]], tick: Callable[[], None]) -> tuple[int, str]:
    """What mongodump does, once for each of the dumps (config and arguments, as the node's job gets them); returns exit code and output."""
    fault = standin_service.behaviour(node).get("mongodump", "")
    output: list[str] = []
    for dump in dumps:
        options = dict(argument.lstrip("-").partition("=")[::2] for argument in dump["arguments"])
        tick()
        if _WRONG in dump["config"]:
            return 1, f"{''.join(output)}{utc_text()}\t{_DENIED}\n"
        if fault == "fail" or "uri:" not in dump["config"]:
            return 1, f"{''.join(output)}{utc_text()}\tFailed: can't create session: could not connect to server: SIMULATED\n"
        wanted = [collection for collection in collections() if options.get("db", collection.database) == collection.database]
        output += [_dump(node, options["out"], collection, packed="gzip" in options) for collection in wanted]
        if "oplog" in options:
            node.path(rf"{options['out']}\oplog.bson").write_bytes(b"")
    return 0, "".join(output)


def mongodb_answers(node: Node, probes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a MongoDB says to the probes of mongodb_info."""
    fault = standin_service.behaviour(node).get("mongodb", "")
    said = {"denied": _DENIED,
            "unreachable": "Failed: can't create session: could not connect to server: server selection error: SIMULATED"}
    return [_mongodb_answer(probe["arguments"], fault, _DENIED if _WRONG in probe["config"] else said.get(fault, "")) for probe in probes]


def _mongodb_answer(arguments: list[str], fault: str, said: str) -> dict[str, Any]:
    if "--collection=oplog.rs" in arguments and fault == "standalone":
        said = "namespace with DB local and collection oplog.rs does not exist"
    database = next((argument.partition("=")[2] for argument in arguments if argument.startswith("--db=")), "")
    names = [collection.database for collection in collections() if fault != "empty" and database in ("", collection.database)]
    listed = [{"name": name, "collections": names.count(name)} for name in sorted(set(names))]
    return {"complete": not said, "timed_out": False, "output": said, "server_version": "" if said else "7.0.15", "databases": [] if said else listed}


@functools.cache
def collections() -> tuple[Collection, ...]:
    """The simulated database, the same on all nodes."""
    return tuple(_collections())


def _collections() -> Iterator[Collection]:
    chance = random.Random(seed.SEED)
    for database, name, count, make in seed._collections():
        documents = [bson.encode(make(chance, index)) for index in range(min(count, _DOCUMENTS))]
        metadata = {"indexes": [{"v": {"$numberInt": "2"}, "key": {"_id": {"$numberInt": "1"}}, "name": "_id_"}],
                    "uuid": uuid.uuid5(uuid.NAMESPACE_DNS, f"{database}.{name}").hex, "collectionName": name}
        yield Collection(database, name, len(documents), b"".join(documents), json.dumps(metadata, separators=(",", ":")).encode())


def _dump(node: Node, folder: str, collection: Collection, *, packed: bool = False) -> str:
    target = node.path(rf"{folder}\{collection.database}")
    target.mkdir(parents=True, exist_ok=True)
    for name, content in ((f"{collection.name}.bson", collection.documents), (f"{collection.name}.metadata.json", collection.metadata)):
        (target / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(content, mtime=0) if packed else content)
    at, namespace = utc_text().replace("Z", "+0000"), f"`{collection.database}.{collection.name}`"
    return (f"{at}\twriting {namespace} to {folder}\\{collection.database}\\{collection.name}.bson\n"
            f"{at}\tdone dumping {namespace} ({collection.count} document{'' if collection.count == 1 else 's'})\n")

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The database of a stand-in node: a small dump with real BSON, text like mongodump's, and the jobs that dump."""

from __future__ import annotations

import functools
import json
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import bson

from . import seed, standin_service, standin_state
from .node import Node
from .standin_failure import NodeFailure
from .standin_files import files_below, utc_text
from .standin_jobs import Job, double

_DOCUMENTS = 25  # of each collection; the seed of a Wine node has some thousand in all
# There is no self-managed MongoDB, so no login to one succeeds.
_DENIED = (
    "Failed: can't create session: could not connect to server: connection() : auth error: "
    "(AuthenticationFailed) Authentication failed."
)


@dataclass(frozen=True)
class Collection:
    """The files of one collection in a dump."""

    database: str
    name: str
    count: int
    documents: bytes
    metadata: bytes


@double
def database_window(job: Job, spec: dict[str, Any]) -> dict[str, Any]:
    """Stop, dump, and restore the prior state of the service."""
    node = job.node
    lease = standin_state.own_lease(node, spec["run_id"])
    states = job.stop(spec["service_name"])
    job.log(f"{spec['service_name']} is Stopped")
    job.log(f"dumping to {spec['dump_folder']}")
    job.mark("dump_started")
    output = _emongodump(node, spec["dump_folder"])
    job.mark("dump_ended")
    job.mark("start_requested")
    job.log(f"starting {spec['service_name']}")
    states += standin_service.change(node, lease["prior_state"])
    job.mark("running")
    standin_service.controller_is_back()
    job.log(f"{spec['service_name']} is {lease['prior_state']}")
    sizes = {path: file.stat().st_size for path, file in files_below(node.path(spec["dump_folder"])).items()}
    detail = {
        "prior_state": lease["prior_state"],
        "restored": True,
        "states": states,
        "marks": job.marks,
        "dump_folder": spec["dump_folder"],
        "exit_code": 0,
        "output": output,
        "files": [{"path": path, "bytes": size} for path, size in sizes.items()],
    }
    if job.marks["dump_ended"] - job.marks["dump_started"] > spec["dump_timeout"]:
        raise NodeFailure("dump_timeout", f"The dump was not done within {spec['dump_timeout']} s", detail)
    return detail


@double
def database_dump(job: Job, spec: dict[str, Any]) -> dict[str, Any]:
    """Dump a self-managed MongoDB while the service runs."""
    return {"dump_folder": spec["dump_folder"], "exit_code": 1, "output": _DENIED, "files": []}


def mongodb_info(node: Node, arguments: dict[str, Any]) -> dict[str, Any]:
    """The module mongodb_info."""
    denied = {"complete": False, "timed_out": False, "output": _DENIED, "server_version": "", "databases": []}
    return {"answers": [denied for _unused in json.loads(arguments["_probes"])]}


def _emongodump(node: Node, folder: str) -> str:
    """What ``AlteryxService.exe emongodump=FOLDER`` does; returns its output."""
    output = ""
    for collection in _collections():
        target = node.path(rf"{folder}\{collection.database}")
        target.mkdir(parents=True, exist_ok=True)
        (target / f"{collection.name}.bson").write_bytes(collection.documents)
        (target / f"{collection.name}.metadata.json").write_bytes(collection.metadata)
        at, namespace = utc_text().replace("Z", "+0000"), f"`{collection.database}.{collection.name}`"
        plural = "" if collection.count == 1 else "s"
        output += f"{at}\twriting {namespace} to {folder}\\{collection.database}\\{collection.name}.bson\n"
        output += f"{at}\tdone dumping {namespace} ({collection.count} document{plural})\n"
    return output


@functools.cache
def _collections() -> tuple[Collection, ...]:
    """The simulated database, the same on all nodes."""
    return tuple(_made_collections())


def _made_collections() -> Iterator[Collection]:
    chance = random.Random(seed.SEED)
    for database, name, count, make in seed._collections():
        documents = [bson.encode(make(chance, index)) for index in range(min(count, _DOCUMENTS))]
        metadata = {
            "indexes": [{"v": {"$numberInt": "2"}, "key": {"_id": {"$numberInt": "1"}}, "name": "_id_"}],
            "uuid": uuid.uuid5(uuid.NAMESPACE_DNS, f"{database}.{name}").hex,
            "collectionName": name,
        }
        yield Collection(database, name, len(documents), b"".join(documents), json.dumps(metadata).encode())

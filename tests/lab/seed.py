# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A database that looks like an Alteryx Server's: names from the facts, every value invented, the
same at every seeding."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from bson import Binary, Decimal128, Int64, ObjectId
from pymongo import MongoClient

SEED = 20260901
LARGE_CHUNK_BYTES = 11 * 1024 * 1024  # one document near MongoDB's limit of 16 MB
DATABASES = ("AlteryxService", "AlteryxGallery", "AlteryxGallery_Lucene")

Document = dict[str, Any]

_EPOCH = datetime(2025, 1, 1, tzinfo=UTC)
_NAMES = (
    "Ada Lovelace",
    "Zoë Müller",
    "Łukasz Żółć",
    "田中 花子",
    "Ιωάννης Παπάς",
    "Ольга Иванова",
    "سارة علي",
    "José Ñandú",
    "Søren Ødegård",
    "🦊 Test",
)
_WORDS = (
    "Umsatz",
    "forecast",
    "données",
    "在庫",
    "clean",
    "geocode",
    "join",
    "Übersicht",
    "nightly",
    "churn",
    "margin",
    "продажи",
)


def populate(client: MongoClient[Document], *, admin_password: str, user_password: str) -> dict[str, dict[str, int]]:
    """Fill an empty server that runs without authentication; returns the number of documents per
    database and collection."""
    chance = random.Random(SEED)
    counts: dict[str, dict[str, int]] = {name: {} for name in DATABASES}
    for database, collection, count, make in _collections():
        documents = [make(chance, index) for index in range(count)]
        target = client[database][collection]
        for start in range(0, count, 500):
            target.insert_many(documents[start : start + 500])
        counts[database][collection] = count
    chunks = client["AlteryxService"]["AS_App_Chunks"]
    chunks.insert_one({"_id": _id(chance), "Number": Int64(0), "Data": Binary(chance.randbytes(LARGE_CHUNK_BYTES))})
    counts["AlteryxService"]["AS_App_Chunks"] += 1
    client["AlteryxService"]["AS_Queue"].create_index([("Status", 1), ("CreationDateTime", -1)])
    client["AlteryxGallery"]["users"].create_index("email", unique=True)
    _create_users(client, admin_password, user_password)
    return counts


def _create_users(client: MongoClient[Document], admin_password: str, user_password: str) -> None:
    # The same roles as tests/lab/native/mongod_users.c gives after a restore.
    roles = [{"role": role, "db": database} for database in DATABASES for role in ("readWrite", "dbAdmin")]
    roles += [{"role": role, "db": "admin"} for role in ("backup", "restore")]
    client["AlteryxService"].command("createUser", "user", pwd=user_password, roles=roles)
    client["admin"].command("createUser", "admin", pwd=admin_password, roles=[{"role": "root", "db": "admin"}])


def _collections() -> Iterator[tuple[str, str, int, Callable[[random.Random, int], Document]]]:
    yield "AlteryxService", "AS_Applications", 150, _application
    yield "AlteryxService", "AS_ApplicationVersions", 400, _application_version
    yield "AlteryxService", "AS_App_Chunks", 60, _chunk
    yield "AlteryxService", "AS_PackageDefinitions", 80, _package
    yield "AlteryxService", "AS_Queue", 1500, _job
    yield "AlteryxService", "AS_Results", 900, _result
    yield "AlteryxService", "AS_Schedules", 120, _schedule
    yield "AlteryxGallery", "users", 250, _user
    yield "AlteryxGallery", "appInfos", 150, _app_info
    yield "AlteryxGallery", "collections", 40, _gallery_collection
    yield "AlteryxGallery", "dataConnections", 30, _data_connection
    yield "AlteryxGallery", "apiNonces", 300, _nonce
    yield "AlteryxGallery", "locks", 1, _lock
    yield "AlteryxGallery_Lucene", "files", 12, _search_file


def _id(chance: random.Random) -> ObjectId:
    return ObjectId(chance.randbytes(12))


def _guid(chance: random.Random) -> str:
    return str(uuid.UUID(bytes=chance.randbytes(16), version=4))


def _when(chance: random.Random) -> datetime:
    return _EPOCH + timedelta(milliseconds=chance.randrange(600 * 86_400_000))


def _title(chance: random.Random) -> str:
    return " ".join(chance.sample(_WORDS, 3))


def _application(chance: random.Random, index: int) -> Document:
    return {
        "_id": _id(chance),
        "Name": f"{_title(chance)} {index}.yxmd",
        "Owner": chance.choice(_NAMES),
        "CreationDateTime": _when(chance),
        "Tags": chance.sample(_WORDS, 2),
        "Private": chance.random() < 0.5,
        "Runs": Int64(chance.randrange(10**10)),
    }


def _application_version(chance: random.Random, index: int) -> Document:
    return {
        "_id": _id(chance),
        "Version": index % 5 + 1,
        "Published": _when(chance),
        "Chunks": [_id(chance) for _unused in range(chance.randrange(4))],
        "Comment": None if index % 7 else "første udgave",
        "Size": chance.randrange(10**7),
    }


def _chunk(chance: random.Random, index: int) -> Document:
    return {
        "_id": _id(chance),
        "Number": Int64(index),
        "Data": Binary(chance.randbytes(chance.randrange(1024, 64 * 1024))),
    }


def _package(chance: random.Random, index: int) -> Document:
    return {
        "_id": _id(chance),
        "Name": f"package-{index}",
        "Definition": {"tools": [{"id": n, "plugin": _title(chance)} for n in range(5)], "amp": True},
    }


def _job(chance: random.Random, _index: int) -> Document:
    created = _when(chance)
    return {
        "_id": _id(chance),
        "Status": chance.choice(("Queued", "Running", "Completed", "Error")),
        "CreationDateTime": created,
        "CompletionDateTime": created + timedelta(seconds=chance.randrange(7200)),
        "Priority": chance.randrange(4),
        "Worker": {"Name": f"worker-{chance.randrange(4)}", "Tag": ""},
        "Cost": Decimal128(f"{chance.randrange(10**6)}.{chance.randrange(100):02}"),
    }


def _result(chance: random.Random, _index: int) -> Document:
    return {
        "_id": _id(chance),
        "Seconds": chance.random() * 1000,
        "Messages": [{"tool": n, "text": _title(chance)} for n in range(chance.randrange(6))],
        "Output": Binary(chance.randbytes(200)),
    }


def _schedule(chance: random.Random, index: int) -> Document:
    return {
        "_id": _id(chance),
        "Name": f"{_title(chance)} #{index}",
        "Enabled": chance.random() < 0.8,
        "NextRun": _when(chance),
        "Frequency": {"type": "Daily", "at": "02:00:00", "zone": "Europe/Berlin"},
        "RunCount": index,
    }


def _user(chance: random.Random, index: int) -> Document:
    return {
        "_id": _id(chance),
        "email": f"user{index}@example.test",
        "name": chance.choice(_NAMES),
        "role": chance.choice(("Viewer", "Artisan", "Curator")),
        "created": _when(chance),
        "passwordHash": Binary(chance.randbytes(32)),
        "preferences": {"language": "de", "dark": bool(index % 2)},
        "lastLogin": None,
    }


def _app_info(chance: random.Random, index: int) -> Document:
    return {
        "_id": _id(chance),
        "applicationId": _guid(chance),
        "title": _title(chance),
        "downloads": index,
        "price": Decimal128("0.10"),
        "description": 'Zeile 1\nZeile 2\t\u0001 "quoted" \\ end',
    }


def _gallery_collection(chance: random.Random, index: int) -> Document:
    return {
        "_id": _id(chance),
        "name": f"Sammlung {index}",
        "users": [{"id": _guid(chance), "canAdd": True} for _unused in range(chance.randrange(8))],
    }


def _data_connection(chance: random.Random, index: int) -> Document:
    return {
        "_id": _id(chance),
        "name": f"connection {index}",
        "connectionString": Binary(chance.randbytes(160)),
        "users": [],
    }


def _nonce(chance: random.Random, _index: int) -> Document:
    return {"_id": _id(chance), "nonce": _guid(chance), "at": _when(chance)}


def _lock(chance: random.Random, _index: int) -> Document:
    return {"_id": "migration", "owner": _guid(chance), "at": _when(chance)}


def _search_file(chance: random.Random, index: int) -> Document:
    return {"_id": f"_{index:x}.cfs", "length": 4096, "content": Binary(chance.randbytes(4096))}

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MongoDB that its operator manages himself, under Wine: one server or a replica set, with users. Real
mongod.exe, only on loopback.

mongod.exe cannot offer TLS under Wine (Wine's certificate chain engine refuses its call), so TLS ends in a double
in front of it: tls_front.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from . import alteryx_install, layout, wine_node
from .certificates import KeyPair

Client = MongoClient[dict[str, Any]]
_SECONDS = 60


@dataclass(frozen=True)
class Mongo:
    """A running one: the ports of its members, the name of its replica set ("" without a replica set), a user for dumps
    and the password."""

    ports: tuple[int, ...]
    replica_set: str
    user: str
    password: str

    def client(self) -> Client:
        """As root; the password is the same."""
        more: dict[str, Any] = {"replicaSet": self.replica_set} if self.replica_set else {"directConnection": True}
        return MongoClient(
            [f"127.0.0.1:{port}" for port in self.ports],
            username="root",
            password=self.password,
            serverSelectionTimeoutMS=_SECONDS * 1000,
            **more,
        )

    @property
    def hosts(self) -> str:
        """host:port, separated by commas."""
        return ",".join(f"127.0.0.1:{port}" for port in self.ports)


@contextlib.contextmanager
def running(folder: Path, members: int = 1, *, replica_set: str = "", authenticated: bool = True) -> Iterator[Mongo]:
    """MongoDB in the prefix of a Wine machine that has the database programs; ended, with its data, at the end."""
    name = secrets.token_hex(4)
    home = layout.drive(folder, "d") / f"mongo-{name}"
    home.mkdir()
    (home / "key").write_text(secrets.token_hex(48), encoding="ascii")
    mongo = Mongo(
        tuple(alteryx_install.free_port() for _unused in range(members)), replica_set, "backup", secrets.token_hex(16)
    )
    processes = []
    try:
        for port in mongo.ports:
            (home / str(port)).mkdir()
            argv = [
                rf"{alteryx_install.BIN}\mongod.exe",
                "--bind_ip",
                "127.0.0.1",
                "--port",
                str(port),
                "--dbpath",
                rf"D:\{home.name}\{port}",
                "--logpath",
                rf"D:\{home.name}\{port}.log",
                "--setParameter",
                "diagnosticDataCollectionEnabled=false",
                "--wiredTigerCacheSizeGB",
                "0.25",
            ]
            argv += ["--replSet", replica_set] if replica_set else []
            argv += ["--keyFile", rf"D:\{home.name}\key", "--auth"] if authenticated else ["--noauth"]
            processes.append(
                subprocess.Popen(
                    wine_node.wine_command(folder, *argv),
                    env=wine_node.environment(folder),
                    cwd=layout.drive(folder, "c"),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
        _prepare(mongo, authenticated=authenticated)
        yield mongo
    finally:
        for port in mongo.ports:
            _shut_down(mongo, port, authenticated=authenticated)
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)


def _prepare(mongo: Mongo, *, authenticated: bool) -> None:
    client: Client
    for port in mongo.ports:  # a set is made of members that all answer
        with MongoClient("127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=_SECONDS * 1000) as client:
            client.admin.command("ping")
    # The first user of a server may be made from loopback without a log-in.
    with MongoClient(
        "127.0.0.1", mongo.ports[0], directConnection=True, serverSelectionTimeoutMS=_SECONDS * 1000
    ) as client:
        if mongo.replica_set:
            members = [{"_id": index, "host": f"127.0.0.1:{port}"} for index, port in enumerate(mongo.ports)]
            client.admin.command("replSetInitiate", {"_id": mongo.replica_set, "members": members})
    if not authenticated:
        return
    more: dict[str, Any] = {"replicaSet": mongo.replica_set} if mongo.replica_set else {"directConnection": True}
    with MongoClient(
        [f"127.0.0.1:{port}" for port in mongo.ports], serverSelectionTimeoutMS=_SECONDS * 1000, **more
    ) as client:
        client.admin.command("createUser", "root", pwd=mongo.password, roles=["root"])
    with mongo.client() as client:
        # mongodump before 100.7 also reads the database config (TOOLS-3203), which the role backup of
        # newer servers does not cover.
        everything = {"resource": {"anyResource": True}, "actions": ["find", "listCollections"]}
        client.admin.command("createRole", "reader", privileges=[everything], roles=[])
        client.admin.command("createUser", mongo.user, pwd=mongo.password, roles=["backup", "reader"])


def _shut_down(mongo: Mongo, port: int, *, authenticated: bool) -> None:
    login: dict[str, Any] = {"username": "root", "password": mongo.password} if authenticated else {}
    client: Client
    with (
        contextlib.suppress(PyMongoError),
        MongoClient("127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=5000, **login) as client,
    ):
        client.admin.command("shutdown", force=True)


@contextlib.contextmanager
def tls_front(port: int, server: KeyPair, clients_of: Path | None = None) -> Iterator[int]:
    """A port of loopback that speaks TLS and passes what it gets on to a port that does not.

    Args:
        clients_of: the authority whose certificates a client must show; None asks for none.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.certificate, server.key)
    if clients_of:
        context.load_verify_locations(clients_of)
        context.verify_mode = ssl.CERT_REQUIRED
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, context, port), daemon=True).start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, context: ssl.SSLContext, port: int) -> None:
    while True:
        try:
            connection, _unused = listener.accept()
        except OSError:
            return
        threading.Thread(target=_pass_on, args=(connection, context, port), daemon=True).start()


def _pass_on(connection: socket.socket, context: ssl.SSLContext, port: int) -> None:
    with (
        contextlib.suppress(OSError),
        context.wrap_socket(connection, server_side=True) as outside,
        socket.create_connection(("127.0.0.1", port)) as inside,
    ):
        back = threading.Thread(target=_copy, args=(inside, outside), daemon=True)
        back.start()
        _copy(outside, inside)
        back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while block := source.recv(65536):
            target.sendall(block)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that say what no MongoDB would say, and one that is as old as no MongoDB of the lab."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import bson

Document = dict[str, Any]

OP_REPLY = 1
OP_QUERY = 2004
OP_MSG = 2013


@dataclass(frozen=True)
class Request:
    """A command as it came: number of the message, its kind, database and document."""

    number: int
    kind: int
    database: str
    command: Document


Answer = Callable[[Request], bytes]
"""The bytes to send; none closes the connection."""


@contextlib.contextmanager
def serving(answer: Answer) -> Iterator[int]:
    """A port of loopback where each connection gets these answers."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, answer, over), daemon=True).start()
        yield int(listener.getsockname()[1])
        over.set()
        listener.shutdown(socket.SHUT_RDWR)


def reply(request: Request, document: Document) -> bytes:
    """A sound answer of the kind that the request has."""
    return reply_bytes(request, bson.encode(document))


def reply_bytes(request: Request, document: bytes, *, flags: int = 0, section: int = 0, count: int = 1) -> bytes:
    """The same with any bytes for the document."""
    if request.kind == OP_QUERY:
        return frame(request, OP_REPLY, struct.pack("<iqii", 8, 0, 0, count) + document)
    return frame(request, OP_MSG, struct.pack("<IB", flags, section) + document)


def frame(request: Request, kind: int, body: bytes, *, number: int | None = None, length: int | None = None) -> bytes:
    """A message with a head."""
    told = len(body) + 16 if length is None else length
    return struct.pack("<iiii", told, 77, request.number if number is None else number, kind) + body


def greeting(wire_version: int = 21) -> Document:
    """What a server says of itself."""
    return {"ismaster": True, "maxWireVersion": wire_version, "minWireVersion": 0, "ok": 1.0}


def _accept(listener: socket.socket, answer: Answer, over: threading.Event) -> None:
    while True:
        try:
            connection, _unused = listener.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(connection, answer, over), daemon=True).start()


def _serve(connection: socket.socket, answer: Answer, over: threading.Event) -> None:
    with contextlib.suppress(OSError), connection:
        while head := connection.recv(16, socket.MSG_WAITALL):
            length, number, _unused, kind = struct.unpack("<iiii", head)
            said = answer(_parse(number, kind, connection.recv(length - 16, socket.MSG_WAITALL)))
            if not said:
                return
            connection.sendall(said)
            if said == SILENCE:
                over.wait(30)


def _parse(number: int, kind: int, body: bytes) -> Request:
    if kind == OP_MSG:
        assert body[:5] == bytes(5)
        command = bson.decode(body[5:])
        return Request(number, kind, command["$db"], command)
    assert kind == OP_QUERY
    name, _zero, rest = body[4:].partition(b"\0")
    assert rest[:8] == struct.pack("<ii", 0, -1)
    assert name.endswith(b".$cmd")
    return Request(number, kind, name.decode().removesuffix(".$cmd"), bson.decode(rest[8:]))


SILENCE = struct.pack("<i", 47_000_000)
"""The beginning of a long message whose rest never comes."""

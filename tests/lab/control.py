# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control port of a running lab: one line of JSON there, one back, on loopback."""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import threading
from collections.abc import Callable
from typing import Any

Verb = Callable[[dict[str, Any]], dict[str, Any] | None]


class ControlServer:
    """Answers requests ``{"verb": ..., ...}`` with ``{"ok": true, ...}`` or ``{"ok": false, "error": ...}``."""

    def __init__(self, verbs: dict[str, Verb]) -> None:
        handler = type("Handler", (_Handler,), {"verbs": verbs})
        self._server = _Server(("127.0.0.1", 0), handler)
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, name="control", daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()


def ask(port: int, verb: str, *, timeout: float = 240, **arguments: object) -> dict[str, Any]:
    """Ask a running lab for something.

    Raises:
        RuntimeError: the lab could not do it.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        connection.sendall(json.dumps({"verb": verb, **arguments}).encode() + b"\n")
        answer: dict[str, Any] = json.loads(connection.makefile("rb").readline() or b"{}")
    if not answer.get("ok"):
        raise RuntimeError(f"{verb}: {answer.get('error', 'no answer')}")
    return answer


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


class _Handler(socketserver.StreamRequestHandler):
    verbs: dict[str, Verb]

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            self.wfile.write(json.dumps(self._answer(self.rfile.readline(1 << 20))).encode() + b"\n")

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request: dict[str, Any] = json.loads(line)
            verb = self.verbs.get(str(request.get("verb")))
            if verb is None:
                return {"ok": False, "error": f"unknown verb; there are: {', '.join(self.verbs)}"}
            return {"ok": True, **(verb(request) or {})}
        except Exception as error:  # the caller must receive the error, and the daemon must keep running
            return {"ok": False, "error": f"{type(error).__name__}: {error}"}

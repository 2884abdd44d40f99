# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A double of the Server's V3 API as far as schedules go: HTTPS, client credentials, short-lived tokens; there while
the service of the UI node is."""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_TOKEN_REQUESTS = 4
"""So many requests a token is good for: every run meets the end of one."""
_HANG_SECONDS = 60.0

SCHEDULES = {
    "64f0c0ffee00000000000001": ("Daily sales", True),
    "64f0c0ffee00000000000002": ("Monthly closing", False),
    "64f0c0ffee00000000000003": ("Rückstände, täglich", True),
    "64f0c0ffee00000000000004": ("Old import", False),
    "64f0c0ffee00000000000005": ("Stock levels", True),
}
"""What is there at the beginning: id -> name, enabled."""


@dataclass(frozen=True)
class Access:
    """Where it is and who may ask: alteryx_window_schedules_api of the inventory, but for the authority."""

    base: str
    client_id: str
    client_secret: str


class V3Api:
    """The API.

    Args:
        port: loopback port.
        context: TLS settings.
        is_up: does the service of the UI node run? Called for every request.
        behaviour: the faults that it simulates; the keys are in README.md.
    """

    def __init__(
        self, port: int, context: ssl.SSLContext, is_up: Callable[[], bool], behaviour: Callable[[], Mapping[str, str]]
    ) -> None:
        self.access = Access(f"https://localhost:{port}/webapi", secrets.token_hex(20), secrets.token_urlsafe(32))
        self.is_up, self.behaviour = is_up, behaviour
        self._lock = threading.Lock()
        self._tokens: dict[str, int] = {}
        self.reset()
        handler = type("Handler", (_Handler,), {"api": self})
        self._server = _Server(("127.0.0.1", port), handler, context)
        threading.Thread(target=self._server.serve_forever, name="v3 api", daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()

    def reset(self) -> None:
        """The schedules of the beginning, and nothing asked yet."""
        with self._lock:
            self._enabled = {identity: enabled for identity, (_unused, enabled) in SCHEDULES.items()}
            self._log: list[dict[str, Any]] = []

    def state(self) -> dict[str, Any]:
        """enabled: id -> bool. log: what was asked and changed something or was to, with at
        (monotonic seconds) and what."""
        with self._lock:
            return {"enabled": dict(self._enabled), "log": list(self._log)}

    def answer(self, method: str, path: str, authorization: str, body: bytes) -> tuple[int, Any]:
        """Status and content."""
        wrong = self.behaviour()
        if not self.is_up():
            return 503, {"message": "Service Unavailable"}
        if wrong.get("api") == "redirect" and path != "/elsewhere":
            return 307, {"message": "Temporary Redirect"}
        if path == "/elsewhere":
            with self._lock:
                self._log.append({"at": time.monotonic(), "what": "followed the redirect"})
        if (method, path) == ("POST", "/webapi/oauth2/token"):
            return self._token(authorization, body, deny=wrong.get("api") == "deny")
        if not self._is_good(authorization):
            return 401, {"message": "Unauthorized"}
        if (method, path) == ("GET", "/webapi/v3/schedules"):
            with self._lock:
                return 200, [_told(identity, enabled) for identity, enabled in self._enabled.items()]
        identity = urllib.parse.unquote(path.removeprefix("/webapi/v3/schedules/"))
        if method != "PATCH" or identity not in self._enabled:
            return 404, {"message": "Not Found"}
        return self._switch(identity, json.loads(body)["enabled"], wrong)

    def _token(self, authorization: str, body: bytes, *, deny: bool) -> tuple[int, Any]:
        login = f"{self.access.client_id}:{self.access.client_secret}"
        if (
            deny
            or authorization != f"Basic {base64.b64encode(login.encode()).decode()}"
            or b"grant_type=client_credentials" not in body
        ):
            return 400, {"error": "invalid_client"}
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._tokens = {token: _TOKEN_REQUESTS}
        return 200, {"access_token": token, "token_type": "bearer", "expires_in": 3600}

    def _is_good(self, authorization: str) -> bool:
        token = authorization.removeprefix("Bearer ")
        with self._lock:
            left = self._tokens.get(token, 0)
            self._tokens[token] = left - 1
            return left > 0

    def _switch(self, identity: str, enabled: bool, wrong: Mapping[str, str]) -> tuple[int, Any]:
        what = "enable" if enabled else "disable"
        if wrong.get(f"api_hang_{what}") == identity:
            time.sleep(_HANG_SECONDS)
        refused = wrong.get(f"api_refuse_{what}") == identity
        with self._lock:
            self._log.append({"at": time.monotonic(), "what": f"{what} {identity}{' refused' if refused else ''}"})
            if refused:
                return 500, {"message": "Internal Server Error"}
            self._enabled[identity] = enabled
        return 200, _told(identity, enabled)


def _told(identity: str, enabled: bool) -> dict[str, Any]:
    return {"id": identity, "name": SCHEDULES[identity][0], "enabled": enabled, "priority": "Low", "state": "Active"}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(
        self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], context: ssl.SSLContext
    ) -> None:
        super().__init__(address, handler)
        # The thread of the handler does the handshake, so that other clients do not wait for one that does not finish.
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone, or does not trust the certificate, is not an error of the lab."""


class _Handler(BaseHTTPRequestHandler):
    api: V3Api
    timeout = 90

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PATCH(self) -> None:
        self._answer()

    def log_message(self, *_: Any) -> None:
        """Nothing: state() tells what matters."""

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, content = self.api.answer(self.command, self.path, self.headers.get("Authorization", ""), body)
        told = json.dumps(content).encode()
        with contextlib.suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            if status == 307:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

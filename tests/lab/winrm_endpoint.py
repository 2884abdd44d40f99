# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The WinRM endpoint of a node: WS-Management over HTTPS with Basic authentication. Knows nothing of
what runs the commands."""

from __future__ import annotations

import base64
import binascii
import contextlib
import ctypes
import hmac
import json
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import winrm_messages as messages
from .certificates import KeyPair
from .executor import Executor, Taken
from .winrm_messages import Request, WsmanFault
from .winrm_shells import Shells, readable

MAX_ENVELOPE = 500 * 1024  # MaxEnvelopeSizekb of an unchanged Windows Server
_HEAD_LIMIT = 16 * 1024
_DISCARD_LIMIT = 64 << 20
_HANDSHAKE_SECONDS = 20.0
_SOAP = "application/soap+xml;charset=UTF-8"
_LOGGED_COMMAND_LINE = 200


def server_context(certificate: KeyPair) -> ssl.SSLContext:
    """TLS settings of all endpoints of a lab."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    return context


class Reception:
    """One thread that accepts connections for all endpoints of a process: 100 nodes need no 100 waiting threads."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        self._lock = threading.Lock()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="reception", daemon=True)
        self._thread.start()

    def listen(self, port: int, greet: Callable[[socket.socket], None]) -> socket.socket:
        """Listen on a loopback port; ``greet`` gets every new connection in the reception's
        thread and must not wait."""
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
        listener.setblocking(False)
        with self._lock:
            self._selector.register(listener, selectors.EVENT_READ, greet)
        self._wake()
        return listener

    def dismiss(self, listener: socket.socket) -> None:
        """Listen no more: connections are refused from here on."""
        with self._lock:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(listener)
            listener.close()
        self._wake()

    def close(self) -> None:
        """End the thread."""
        self._ending = True
        self._wake()
        self._thread.join(5)

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            self._wake_write.send(b"\0")

    def _run(self) -> None:
        while not self._ending:
            for key, _events in self._selector.select():
                if key.data is None:
                    with contextlib.suppress(OSError):
                        self._wake_read.recv(4096)
                    continue
                with self._lock:
                    try:
                        connection, _address = key.fileobj.accept()  # type: ignore[union-attr]
                    except OSError:
                        continue  # dismissed meanwhile, or the client has gone
                connection.setblocking(True)
                key.data(connection)


@dataclass(frozen=True)
class _HttpRequest:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    too_large: bool = False


class _Disconnected(Exception):
    """The other side has gone, or we have cut it off."""


class Endpoint:
    """The WinRM service of one node.

    Args:
        port: loopback port.
        executor: what runs the commands.
        passwords: user name to password.
        context: TLS settings.
        log: file of JSON lines, one per request.
        transcript: folder that gets what goes over the connections, while it exists: bodies as they are, but
            input and output of each command by themselves and put together, since what is told may begin in one
            message and end in the next.
        reception: who accepts the connections.
    """

    def __init__(
        self,
        *,
        port: int,
        executor: Executor,
        passwords: Mapping[str, str],
        context: ssl.SSLContext,
        log: Path,
        transcript: Path,
        reception: Reception,
    ) -> None:
        self.port = port
        self._passwords = {user.casefold(): (user, password) for user, password in passwords.items()}
        self._context = context
        self._log_file = log
        self._transcript = transcript
        self._log_lock = threading.Lock()
        self._reception = reception
        self._listener: socket.socket | None = None
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._return: threading.Timer | None = None
        self.shells = Shells(executor)

    def open(self) -> None:
        """Accept connections."""
        with self._lock:
            if self._listener is None:
                self._listener = self._reception.listen(self.port, self._greet)

    def close(self) -> None:
        """Refuse connections, end the shells and everything in them."""
        self._cut_off()
        self.shells.end_all()

    def cut(self, seconds: float) -> None:
        """Reset every connection and refuse new ones for a while; shells and what runs in them stay."""
        self._cut_off()
        timer = threading.Timer(seconds, self.open)
        timer.daemon = True
        with self._lock:
            self._return = timer
        timer.start()

    def _cut_off(self) -> None:
        with self._lock:
            listener, self._listener = self._listener, None
            timer, self._return = self._return, None
            if timer:
                timer.cancel()
            if listener:
                self._reception.dismiss(listener)
            for (
                connection
            ) in self._connections:  # with the lock held: none of them can be closed, its number reused, meanwhile
                _reset(connection)
            self._connections.clear()

    def _greet(self, connection: socket.socket) -> None:
        with self._lock:
            if self._listener is None:  # cut between connecting and accepting
                _reset(connection)
                connection.close()
                return
            self._connections.add(connection)
        threading.Thread(target=self._serve, args=(connection,), name=f"winrm-{self.port}", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        secure: ssl.SSLSocket | None = None
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(_HANDSHAKE_SECONDS)
            # The wrapper takes the descriptor over; a duplicate stays with us so that a cut can reset it at any time.
            secure = self._context.wrap_socket(connection.dup(), server_side=True)
            secure.settimeout(None)
            reader = secure.makefile("rb", buffering=64 * 1024)
            while (request := _read_request(reader)) is not None:
                if not self._answer(request, secure) or request.headers.get("connection", "").casefold() == "close":
                    break
        except (OSError, ssl.SSLError, ValueError, _Disconnected):
            pass  # a client that disconnects is not an error of the lab; its request is in the log
        finally:
            with self._lock:
                self._connections.discard(connection)
            for end in (secure, connection):
                if end is not None:
                    with contextlib.suppress(OSError):
                        end.close()

    def _answer(self, http: _HttpRequest, secure: ssl.SSLSocket) -> bool:
        """Answer one request; False when the connection is to be closed."""
        begun = time.time()
        entry: dict[str, Any] = {
            "time": round(begun, 3),
            "action": "",
            "shell": "",
            "command": "",
            "command_line": "",
            "in": len(http.body),
            "out": 0,
            "status": 0,
        }
        taken: tuple[str, str, str, Taken] | None = None
        headers: dict[str, str] = {}
        if http.too_large:
            status, body = 413, b""
        elif http.path.split("?")[0].rstrip("/").casefold() != "/wsman":
            status, body = 404, b""
        elif (user := self._user(http.headers.get("authorization", ""))) is None:
            status, body = 401, b""
            headers["WWW-Authenticate"] = 'Basic realm="WSMAN"'
        elif http.method != "POST":
            status, body = 405, b""
        else:
            entry["user"] = user
            status, body, taken = self._wsman(user, http.body, entry)
        entry["status"], entry["out"], entry["seconds"] = status, len(body), round(time.time() - begun, 3)
        if taken is None:  # what was taken is kept by itself, and there is nothing else in such an answer
            self._keep("responses.xml", body)
        self._log(entry)  # before the answer, so that a client that has the answer finds its request in the log
        try:
            _respond(secure, status, body, headers)
        except OSError:
            if taken is not None:
                self.shells.put_back(*taken)
            raise
        return status != 413

    def _wsman(
        self, user: str, raw: bytes, entry: dict[str, Any]
    ) -> tuple[int, bytes, tuple[str, str, str, Taken] | None]:
        request: Request | None = None
        try:
            request = messages.parse(raw)
            if request.action != "Send":
                self._keep("requests.xml", raw)
            entry["action"], entry["shell"] = request.action, request.shell_id
            if request.action == "Receive":
                command_id = messages.read_receive(request)
                entry["command"] = command_id
                taken = self.shells.receive(
                    user, request.shell_id, command_id, timeout=request.operation_timeout, limit=request.output_limit()
                )
                for chunk in taken.chunks:
                    self._keep(f"{command_id}.{chunk.stream}", chunk.data)
                return 200, messages.received(request, command_id, taken), (user, request.shell_id, command_id, taken)
            return 200, self._perform(user, request, entry), None
        except WsmanFault as fault:
            entry["fault"] = fault.code
            return 500, messages.fault(fault, request.message_id if request else ""), None
        except (
            Exception
        ) as error:  # the lab's own failure: report it to the client instead of hanging up, and in the log
            entry["error"] = f"{type(error).__name__}: {error}"
            return 500, messages.fault(WsmanFault(2150858752, f"lab endpoint failed: {error}")), None

    def _perform(self, user: str, request: Request, entry: dict[str, Any]) -> bytes:
        """Everything but Receive."""
        shell_id = request.shell_id
        if request.action == "Create":
            entry["shell"] = self.shells.create(user, messages.read_create(request))
            return messages.created(request, entry["shell"], user)
        if request.action == "Command":
            wanted = messages.read_command(request)
            entry["command_line"] = readable(wanted.text())[:_LOGGED_COMMAND_LINE]
            entry["command"] = self.shells.start(user, shell_id, wanted)
            self._keep(f"{entry['command']}.line", readable(wanted.text()).encode())
            return messages.command_started(request, entry["command"])
        if request.action == "Send":
            piece = messages.read_send(request)
            entry["command"], entry["input"] = piece.command_id, len(piece.data)
            self._keep(f"{piece.command_id}.stdin", piece.data)
            self.shells.send(
                user, shell_id, piece.command_id, piece.data, end=piece.end, timeout=request.operation_timeout
            )
            return messages.sent(request)
        if request.action == "Signal":
            entry["command"], entry["signal"] = messages.read_signal(request)
            self.shells.signal(user, shell_id, entry["command"], entry["signal"])
            return messages.signalled(request)
        self.shells.delete(user, shell_id)
        return messages.deleted(request)

    def _user(self, authorization: str) -> str | None:
        scheme, _unused, encoded = authorization.partition(" ")
        if scheme.casefold() != "basic":
            return None
        try:
            name, colon, password = base64.b64decode(encoded.strip(), validate=True).decode("utf-8").partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        user, expected = self._passwords.get(name.casefold(), ("", ""))
        right = hmac.compare_digest(password.encode(), expected.encode())
        return user if right and colon and user else None

    def _keep(self, name: str, content: bytes) -> None:
        if content and self._transcript.is_dir():
            with self._log_lock, contextlib.suppress(OSError), (self._transcript / name).open("ab") as file:
                file.write(content)

    def _log(self, entry: dict[str, Any]) -> None:
        line = json.dumps(entry) + "\n"
        with self._log_lock, contextlib.suppress(OSError), self._log_file.open("a", encoding="utf-8") as log:
            log.write(line)


def _read_request(reader: Any) -> _HttpRequest | None:
    """The next request of a connection; None when the client has closed it."""
    line: bytes = reader.readline(_HEAD_LIMIT)
    if not line:
        return None
    method, path, _version = line.decode("latin-1").split(" ", 2)
    headers: dict[str, str] = {}
    size = len(line)
    while (line := reader.readline(_HEAD_LIMIT)) not in (b"\r\n", b"\n"):
        size += len(line)
        if not line or size > _HEAD_LIMIT:
            raise _Disconnected
        name, _unused, value = line.decode("latin-1").partition(":")
        headers[name.strip().casefold()] = value.strip()
    length = int(headers.get("content-length", "0"))
    if length > MAX_ENVELOPE or "transfer-encoding" in headers:
        # Read on, or the client, still sending, would see a reset instead of the answer.
        for begin in range(0, min(length, _DISCARD_LIMIT), MAX_ENVELOPE):
            reader.read(min(MAX_ENVELOPE, length - begin))
        return _HttpRequest(method, path, headers, b"", too_large=True)
    body = reader.read(length)
    if len(body) != length:
        raise _Disconnected
    return _HttpRequest(method, path, headers, body)


_REASONS = {
    200: "OK",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Request Entity Too Large",
    500: "Internal Server Error",
}


def _respond(secure: ssl.SSLSocket, status: int, body: bytes, headers: Mapping[str, str]) -> None:
    lines = [f"HTTP/1.1 {status} {_REASONS[status]}", "Server: Microsoft-HTTPAPI/2.0", f"Content-Length: {len(body)}"]
    if body:
        lines.append(f"Content-Type: {_SOAP}")
    if status == 413:
        lines.append("Connection: close")
    lines += [f"{name}: {value}" for name, value in headers.items()]
    secure.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)


class _UnspecifiedAddress(ctypes.Structure):
    _fields_ = [("family", ctypes.c_ushort), ("data", ctypes.c_char * 14)]


def _reset(connection: socket.socket) -> None:
    """Send a TCP reset at once, also while another thread waits on the connection.

    ``close`` would wait for that thread and ``shutdown`` ends politely; connecting to "no address"
    is Linux's way to abort.
    """
    address = _UnspecifiedAddress(socket.AF_UNSPEC, b"")
    with contextlib.suppress(OSError):
        ctypes.CDLL(None, use_errno=True).connect(connection.fileno(), ctypes.byref(address), ctypes.sizeof(address))

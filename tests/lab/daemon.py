# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one detached process of a running lab: endpoints and Task Schedulers of all nodes.

Started by ``python -m tests.lab up`` as ``python -m tests.lab.daemon KIND COUNT MINUTE_SECONDS``; ends at SIGTERM and
takes its nodes with it.
"""

from __future__ import annotations

import logging
import os
import random
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.collection_link import link_collection

from . import certificates, fleet_roles, inventory, lab_state, layout, ready_engines
from .control import ControlServer, Verb
from .hosted_node import LOG, HostedNode, HostedStandinNode, HostedWineNode, Shared
from .lab_state import LabState
from .node import Kind, Node
from .task_scheduler import behaviour_reader
from .v3_api import V3Api
from .winrm_endpoint import Reception, server_context

HOST = "127.0.0.1"
USER = "ansible"
OPERATOR = "operator"
# Below the ports the kernel gives to outgoing connections: an endpoint that was cut off must find its
# port free when it returns.
_PORTS = range(20_000, 32_000)
_STANDIN_THREADS = 64


class Daemon:
    """The lab."""

    def __init__(self, kind: Kind, count: int, minute_seconds: float) -> None:
        self._begun = time.monotonic()
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._control = ControlServer(self._verbs())
        self._certificates = certificates.ensure(layout.CERTIFICATES)
        self._shared = Shared(
            Reception(), server_context(self._certificates.endpoint), ThreadPoolExecutor(_STANDIN_THREADS, "standin")
        )
        self._state = LabState(os.getpid(), lab_state.process_start(os.getpid()), kind, count, self._control.port)
        ports = free_ports()
        password = secrets.token_urlsafe(18)
        self._hosted: dict[str, HostedNode] = {}
        for number in range(1, count + 1):
            name = fleet_roles.NAME.format(number)
            self._hosted[name] = self._host(kind, name, password, ports, minute_seconds)
        self._state.nodes = [hosted.node for hosted in self._hosted.values()]
        self._api = self._api_of(self._state.nodes[-1], next(ports))

    def run(self) -> int:
        """Bring the nodes up, wait for the end, take them down."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._ending.set())
        self._state.write()
        try:
            self._bring_up()
            self._ending.wait()
        except Exception as error:
            LOG.exception("bringing up")
            self._state.phase, self._state.error = "failed", f"{type(error).__name__}: {error}"
            self._state.write()
        finally:
            self._take_down()
        return 1 if self._state.phase == "failed" else 0

    def _bring_up(self) -> None:
        workers = min(len(self._hosted), os.cpu_count() or 1) if self._state.kind == "wine" else 1
        with ThreadPoolExecutor(workers, "bring-up") as pool:
            list(pool.map(self._bring_up_one, self._hosted.values()))
        if self._ending.is_set():
            return
        link_collection()
        inventory.write(self._state.nodes, self._certificates, api=self._api.access)
        layout.RUNS.mkdir(parents=True, exist_ok=True)
        self._state.phase = "up"
        self._state.write()
        LOG.info("up after %.1f s", time.monotonic() - self._begun)

    def _bring_up_one(self, hosted: HostedNode) -> None:
        if self._ending.is_set():
            return
        hosted.node.folder.mkdir(parents=True, exist_ok=True)
        hosted.bring_up()
        with self._lock:
            self._state.ready[hosted.node.name] = round(time.monotonic() - self._begun, 2)
        LOG.info("%s ready on port %d", hosted.node.name, hosted.node.port)

    def _take_down(self) -> None:
        LOG.info("taking down")
        with ThreadPoolExecutor(max(1, min(len(self._hosted), 16)), "take-down") as pool:
            list(pool.map(lambda hosted: hosted.take_down(), self._hosted.values()))
        inventory.remove()
        self._api.close()
        self._shared.reception.close()
        self._control.close()
        LOG.info("down")

    def _host(self, kind: Kind, name: str, password: str, ports: Iterator[int], minute_seconds: float) -> HostedNode:
        node = Node(
            name=name,
            kind=kind,
            host=HOST,
            port=next(ports),
            user=USER,
            password=password,
            folder=layout.node_folder(name),
            control_port=self._control.port,
            role=fleet_roles.role(name, self._state.count),
        )
        passwords = {USER: password, OPERATOR: f"{password}-operator"}
        if kind == "standin":
            return HostedStandinNode(node, passwords, self._shared)
        return HostedWineNode(node, passwords, self._shared, ports=ports, minute_seconds=minute_seconds)

    def _api_of(self, ui: Node, port: int) -> V3Api:
        """The API is where the UI is: on the last node of a fleet."""
        return V3Api(
            port,
            server_context(self._certificates.endpoint),
            lambda: ui.service().state == "Running",
            behaviour_reader(layout.behaviour_file(ui.folder)),
        )

    def _use_ready_engines(self, request: dict[str, object]) -> None:
        """Start engines ahead of time or not, where that is asked; end those that wait."""
        if "wanted" in request:
            os.environ[ready_engines.SWITCH] = "1" if request["wanted"] else "0"
        for hosted in self._hosted.values():
            hosted.end_ready_engines()

    def _verbs(self) -> dict[str, Verb]:
        def named(request: dict[str, object]) -> HostedNode:
            name = str(request.get("node"))
            if name not in self._hosted:
                raise ValueError(f"no node {name}; there are: {', '.join(self._hosted)}")
            return self._hosted[name]

        def ping(_request: dict[str, object]) -> dict[str, object]:
            return {"pid": os.getpid(), "phase": self._state.phase}

        def reboot(request: dict[str, object]) -> None:
            named(request).reboot()

        def cut(request: dict[str, object]) -> None:
            named(request).cut(float(str(request["seconds"])))

        def minute(request: dict[str, object]) -> None:
            for hosted in self._hosted.values() if request.get("node") is None else [named(request)]:
                hosted.set_minute(float(str(request["seconds"])))

        def schedules(request: dict[str, object]) -> dict[str, object]:
            if request.get("reset"):
                self._api.reset()
            return self._api.state()

        return {
            "schedules": schedules,
            "ping": ping,
            "reboot": reboot,
            "cut": cut,
            "minute_seconds": minute,
            "ready_engines": self._use_ready_engines,
        }


def free_ports() -> Iterator[int]:
    """Loopback ports on which no program listens. Each is returned once."""
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        yield port


def free_port() -> int:
    """One of them, for who needs no second."""
    return next(free_ports())


def main(arguments: list[str]) -> int:
    """Entry point of the detached process."""
    kind: Kind = "wine" if arguments[0] == "wine" else "standin"
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(threadName)s %(message)s", stream=sys.stderr
    )
    Path("/proc/self/comm").write_text("alteryx-lab", encoding="ascii")  # what ps shows
    return Daemon(kind, int(arguments[1]), float(arguments[2])).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node as the daemon runs it: made, booted, rebooted, cut off, shut down; of either kind."""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor as ThreadPool
from dataclasses import dataclass
from typing import Protocol

from . import layout, standin_install, standin_modules, standin_node, standin_service, wine_node
from .executor import Executor
from .node import Node
from .schtasks import Answer, Call, Listener, answer
from .task_scheduler import TaskScheduler, behaviour_reader
from .wine_executor import WineExecutor
from .winrm_endpoint import Endpoint, Reception

LOG = logging.getLogger("lab")
SCHEDULER_STATE = "scheduler.json"


@dataclass(frozen=True)
class Shared:
    """What all nodes of a daemon share."""

    reception: Reception
    context: ssl.SSLContext
    pool: ThreadPool


class HostedNode(Protocol):
    """What the daemon does with a node."""

    node: Node

    def bring_up(self) -> None:
        """From nothing to a node that answers."""

    def reboot(self) -> None:
        """Power off, power on."""

    def cut(self, seconds: float) -> None:
        """Let the network fail for a while; processes on the node continue."""

    def set_minute(self, seconds: float) -> None:
        """Let the minute of its task triggers last that long."""

    def end_ready_engines(self) -> None:
        """End what waits for a command that has not come."""

    def take_down(self) -> None:
        """End it and everything of it; never raises."""


class _Hosted:
    def __init__(self, node: Node, executor: Executor, passwords: Mapping[str, str], shared: Shared) -> None:
        self.node = node
        self._power = threading.Lock()  # one boot or shutdown at a time
        self.endpoint = Endpoint(
            port=node.port,
            executor=executor,
            passwords=passwords,
            context=shared.context,
            log=layout.winrm_log(node.folder),
            transcript=layout.transcript(node.folder),
            reception=shared.reception,
        )

    def cut(self, seconds: float) -> None:
        self.endpoint.cut(seconds)


class HostedWineNode(_Hosted):
    """A Wine node: prefix, endpoint, Task Scheduler."""

    def __init__(
        self, node: Node, passwords: Mapping[str, str], shared: Shared, *, ports: Iterator[int], minute_seconds: float
    ) -> None:
        executor = WineExecutor(
            node.folder,
            command=wine_node.wine_command,
            environment=lambda: wine_node.environment(node.folder),
            working_directory=layout.drive(node.folder, "c"),
            path=node.path,
            behaviour=layout.behaviour_file(node.folder),
        )
        super().__init__(node, executor, passwords, shared)
        self._scheduler_port = next(ports)
        self._ports = wine_node.Ports(mongo=next(ports), service=next(ports), scheduler=self._scheduler_port)
        behaviour = behaviour_reader(layout.behaviour_file(node.folder))
        scheduler = TaskScheduler(
            executor,
            path=node.path,
            state_file=node.folder / SCHEDULER_STATE,
            behaviour=behaviour,
            minute_seconds=minute_seconds,
        )

        def respond(call: Call) -> Answer:
            return answer(scheduler, behaviour, call)

        self._executor = executor
        self.scheduler = scheduler
        self._respond = respond
        self._listener: Listener | None = None

    def bring_up(self) -> None:
        """Make and boot the node."""
        with self._power:
            wine_node.create(self.node.folder, self.node.name, self.node.role, self._ports)
            self._listener = Listener(self._scheduler_port, self._respond)
            wine_node.boot(self.node.folder)
            self.scheduler.start()
            self.endpoint.open()

    def reboot(self) -> None:
        """Cut the power and switch on again. Where only the service does not come up the node is there nevertheless,
        as a real one would be."""
        with self._power:
            self.endpoint.close()
            self.scheduler.stop()
            self._executor.end_ready()
            wine_node.power_off(self.node.folder)
            try:
                wine_node.boot(self.node.folder)
            finally:
                if wine_node.is_on(self.node.folder):
                    self.scheduler.start()
                    self.endpoint.open()

    def set_minute(self, seconds: float) -> None:
        """Let the minute of its task triggers last that long."""
        self.scheduler.set_minute(seconds)

    def end_ready_engines(self) -> None:
        """End the engine that waits for the next command."""
        self._executor.end_ready()

    def take_down(self) -> None:
        """Close the endpoint and end the prefix."""
        with self._power:
            for step in (
                self.endpoint.close,
                self.scheduler.stop,
                self._executor.end_ready,
                self._close_listener,
                lambda: wine_node.shutdown(self.node.folder),
            ):
                try:
                    step()
                except Exception:  # the next step must be taken whatever happened to this one
                    LOG.exception("%s: taking down", self.node.name)

    def _close_listener(self) -> None:
        if self._listener:
            self._listener.close()


class HostedStandinNode(_Hosted):
    """A stand-in node: endpoint and doubles."""

    def __init__(self, node: Node, passwords: Mapping[str, str], shared: Shared) -> None:
        super().__init__(
            node, standin_node.StandinExecutor(node, standin_modules.MODULES, shared.pool), passwords, shared
        )

    def bring_up(self) -> None:
        """Make and boot the node."""
        with self._power:
            standin_install.install(self.node)
            standin_service.put(self.node, "Running")
            self.endpoint.open()

    def reboot(self) -> None:
        """Forget the shells, start the service anew."""
        with self._power:
            self.endpoint.close()
            standin_service.put(self.node, "Running")
            self.endpoint.open()

    def set_minute(self, seconds: float) -> None:
        """A stand-in node has no clock of its own."""

    def end_ready_engines(self) -> None:
        """A stand-in node has no engines."""

    def take_down(self) -> None:
        """Close the endpoint."""
        self.endpoint.close()

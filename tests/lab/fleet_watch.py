# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at the services of a fleet from outside, all the time, and tells the order of what it saw."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from .node import Node
from .service_states import ServiceStates

_SECONDS = 0.02


@dataclass(frozen=True)
class Change:
    """A service was seen in another state than before. at: monotonic seconds."""

    at: float
    node: str
    state: str


class FleetWatch:
    """Samples every node while it is entered; a thread for each, as asking a node may take its time."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._run, args=(node,), name=f"watch {node.name}", daemon=True) for node in nodes
        ]
        self.begun = time.monotonic()
        self.changes: list[Change] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(60)

    def order(self, *states: str) -> list[tuple[str, str]]:
        """Node and state of every change to one of these states, in the order seen; the state at the beginning does not
        count as a change."""
        return [(change.node, change.state) for change in self._moves() if change.state in states]

    def downtime(self, node: str) -> float:
        """Seconds from when a service was last seen Running until it was so again; 0 when it never was otherwise."""
        moves = [change for change in self._moves() if change.node == node]
        if not moves or moves[-1].state != "Running":
            return 0.0
        return moves[-1].at - moves[0].at

    def table(self) -> str:
        """For a person: seconds, node, state."""
        return "\n".join(
            f"{change.at - self.begun:7.1f} s  {change.node:<16}  {change.state}" for change in self.changes
        )

    def _moves(self) -> list[Change]:
        seen: set[str] = set()
        moves = []
        for change in self.changes:
            if change.node in seen:
                moves.append(change)
            seen.add(change.node)
        return moves

    def _run(self, node: Node) -> None:
        states, last = ServiceStates(node), ""
        while not self._ending.is_set():
            with contextlib.suppress(
                RuntimeError, OSError, TimeoutError, ValueError
            ):  # a node that is off says nothing
                for state in states.read():
                    if state != last:
                        last = state
                        with self._lock:
                            self.changes.append(Change(time.monotonic(), node.name, state))
            self._ending.wait(_SECONDS)

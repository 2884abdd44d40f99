# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in node: no Windows and no PowerShell, only Python doubles of modules behind a real WinRM endpoint.

Everything it says is SIMULATED and marked so. It is a healthy node, for a first look where there is no Wine, and for
scale. Evidence about Windows, and about anything that goes wrong, comes from the other kinds of node.
"""

from __future__ import annotations

import json
import threading
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import Executor as ThreadPool
from typing import Any

from .ansible_payload import NotAnsible, read_module_call, reads_payload, script_of
from .executor import CommandOutput, InputClosed
from .node import Node
from .standin_failure import NodeFailure

Answer = dict[str, Any]
ModuleDouble = Callable[[Node, Answer], Answer]


class StandinExecutor:
    """Executor of one stand-in node. Commands run in a pool that all nodes share, not in processes or own threads.

    Args:
        node: the node.
        modules: name of a module, without its collection, to its double.
        pool: where commands run.
    """

    def __init__(self, node: Node, modules: Mapping[str, ModuleDouble], pool: ThreadPool) -> None:
        self._node = node
        self._modules = modules
        self._pool = pool

    def start(
        self,
        command_line: str,
        *,
        user: str,
        environment: Mapping[str, str],
        working_directory: str | None,
        output: CommandOutput,
    ) -> StandinCommand:
        """Start a command; a module waits until its payload is complete, and anything else is refused."""
        script = script_of(command_line)
        is_module = script is not None and reads_payload(script)
        run = self._run if is_module else lambda _: _refuse(script or command_line)
        command = StandinCommand(self._pool, output, run)
        command.write(b"", end=not is_module, timeout=0)
        return command

    def _run(self, stdin: bytes) -> Answer:
        call = read_module_call(stdin)
        double = self._modules.get(call.name.rpartition(".")[2])
        if double is None:
            known = ", ".join(sorted(self._modules))
            return _failed(f"SIMULATED: a stand-in node has no double of the module {call.name}. It has: {known}.")
        try:
            return double(self._node, call.arguments)
        except NodeFailure as failure:
            return _failed(failure.message, reason=failure.reason, detail=failure.detail)
        except Exception as error:  # what a double throws is a failed module, as what a module throws is
            return _failed(f"SIMULATED: the double of {call.name} failed: {error}", exception=traceback.format_exc())


class StandinCommand:
    """One command: collects its input, and runs once that is complete."""

    def __init__(self, pool: ThreadPool, output: CommandOutput, run: Callable[[bytes], Answer]) -> None:
        self._pool = pool
        self._output = output
        self._run = run
        self._lock = threading.Lock()
        self._input: bytearray | None = bytearray()  # None: no more is taken

    def write(self, data: bytes, *, end: bool, timeout: float) -> None:
        """Collect input."""
        with self._lock:
            if self._input is None:
                if data:
                    raise InputClosed
                return
            self._input += data
            if not end:
                return
            stdin, self._input = bytes(self._input), None
        self._pool.submit(self._work, stdin)

    def kill_tree(self) -> None:
        """Report the end; Python code that runs cannot be ended and finishes unheard."""
        with self._lock:
            self._input = None
        self._output.finish(1)

    def _work(self, stdin: bytes) -> None:
        try:
            answer = {"changed": False, **self._run(stdin), "simulated": True}
            self._output.append("stdout", json.dumps(answer).encode() + b"\r\n")
            self._output.finish(1 if answer.get("failed") else 0)
        except Exception as error:  # anything else would be a command that never ends
            self._output.append("stderr", f"SIMULATED: a stand-in node cannot do this: {error}\r\n".encode())
            self._output.finish(1)


def _failed(message: str, **more: Any) -> Answer:
    return {"failed": True, "msg": message, **more}


def _refuse(what: str) -> Answer:
    raise NotAnsible(what.strip()[:300])

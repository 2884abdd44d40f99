# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The node jobs of a stand-in node: done before the answer to their start, which therefore has the result."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from . import standin_service
from .node import Node
from .standin_failure import NodeFailure
from .standin_files import utc_text
from .standin_node import ModuleDouble


class Job:
    """One job: its node, what it has said, and its marks: name -> seconds since it began."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.events: list[dict[str, str]] = []
        self.marks: dict[str, float] = {}
        self._begun = time.monotonic()
        self.log("SIMULATED: this is a stand-in node")

    def log(self, text: str, level: str = "INFO") -> None:
        """One line for the operator."""
        self.events.append({"at": utc_text(), "level": level, "text": text})

    def mark(self, name: str) -> None:
        """Notes that the job has come so far."""
        self.marks[name] = time.monotonic() - self._begun

    def stop(self, service: str) -> list[dict[str, str]]:
        """Stops the service of the node; returns the states that it had."""
        self.mark("stop_requested")
        self.log(f"stopping {service}")
        states = standin_service.change(self.node, "Stopped")
        self.mark("stopped")
        return states


JobCode = Callable[[Job, dict[str, Any]], dict[str, Any]]

_done: dict[tuple[str, str], dict[str, Any]] = {}
"""Name of a node and id of a job -> what a poll answers."""

_waiting: dict[tuple[str, str], dict[str, Any]] = {}
"""The same -> spec of a job that waits for a request to continue."""

_READY = {
    "status": {"state": "running", "phase": "ready", "done_bytes": 0, "total_bytes": 0, "message": ""},
    "log": "",
    "log_offset": 0,
}


def double(code: JobCode) -> ModuleDouble:
    """The double of a module that has a job: its hidden operations start, open, poll, discard; cancel finds it over."""

    def called(node: Node, arguments: dict[str, Any]) -> dict[str, Any]:
        key = (node.name, arguments["_job_id"])
        match arguments["_operation"]:
            case "start":
                _waiting[key] = json.loads(arguments["_spec"])
                if not _waiting[key].get("open_within"):
                    _done[key] = _run(Job(node), code, _waiting.pop(key))
                return _answer(key)
            case "open":
                _done[key] = _run(Job(node), code, _waiting.pop(key))
            case "poll":
                return _answer(key)
            case _:
                _waiting.pop(key, None)
                _done.pop(key, None)
        return {}

    return called


def _answer(key: tuple[str, str]) -> dict[str, Any]:
    return _READY if key in _waiting else _done[key]


def _run(job: Job, code: JobCode, spec: dict[str, Any]) -> dict[str, Any]:
    try:
        result = {**code(job, spec), "state": "succeeded"}
    except NodeFailure as failure:
        job.log(failure.message, "ERROR")
        result = {**failure.detail, "reason": failure.reason, "msg": failure.message, "state": "failed"}
    except Exception as error:
        # Else every poll would find no answer, and the run would wait for one until its limit.
        message = f"the double of a job failed: {type(error).__name__}: {error}"
        job.log(message, "ERROR")
        result = {"reason": "unexpected", "msg": message, "state": "failed"}
    log = "".join(f"{event['at']} {event['level']} {event['text']}\r\n" for event in job.events)
    return {
        "status": {"state": result["state"]},
        "log": log,
        "log_offset": len(log),
        "result": json.dumps({**result, "events": job.events}),
    }

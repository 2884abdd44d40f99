# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the doubles of jobs that work at destinations have in common. On this node, a destination is a folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .node import Node
from .standin_failure import NodeFailure
from .standin_jobs import Job
from .standin_node import ModuleDouble

Work = Callable[[dict[str, Any], dict[str, Any]], None]
"""Gets a destination, and the answer about it to be completed."""


def run_at_shares(node: Node, arguments: dict[str, Any], job: ModuleDouble) -> dict[str, Any]:
    """An operation of such a job, or what letters of drives stand for (no share, on this node)."""
    if arguments["_operation"] == "resolve":
        letters = arguments["_letters"]
        return {"drives": {letter: {"exists": node.path(f"{letter}:").is_dir(), "share": ""} for letter in letters}}
    return job(node, arguments)


def each_share(job: Job, places: list[dict[str, Any]], begin: dict[str, Any], work: Work) -> list[dict[str, Any]]:
    """The answers about destinations. One that fails costs no other."""
    answers = []
    for place in places:
        answer = {"destination": place["name"], **begin, "reason": "", "message": ""}
        answers.append(answer)
        if not job.node.path(place["path"]).is_dir():
            answer["reason"] = "destination_unreachable"
            answer["message"] = f"{place['path']} cannot be reached: Path not found (error 3)"
            continue
        try:
            work(place, answer)
        except NodeFailure as failure:
            answer["reason"], answer["message"] = failure.reason, failure.message
    return answers

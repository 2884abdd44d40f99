# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control node's side of a node job: start, poll until it is over, discard. Lost connections are survived; the
job goes on without us."""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass

from .._core.text import size

POLL_SECONDS = 12.0
"""A poll waits that long on the node for the end of the job; below WinRM's operation time-out of 20 s."""

START_SECONDS = 150.0
"""How long a start whose answer was lost may still bring its job to life: 60 s for the first status of each of two
processes (NodeJob.psm1), and what comes before them."""


class ConnectionTrouble(Exception):
    """The node could not be asked; nothing is known about what happened there."""


class JobFailed(Exception):
    """The job is over or lost without success: reason, message, detail (what it reported)."""

    def __init__(self, reason: str, message: str, detail: t.Mapping[str, t.Any] | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.detail = dict(detail or {})


@dataclass(frozen=True)
class Limits:
    """total: seconds after which the job is cancelled. lost: seconds without an answer after which we give the node up
    (the job may live on)."""

    total: float
    lost: float = 900.0
    heartbeat: float = 20.0


Call = t.Callable[[str, t.Mapping[str, t.Any]], t.Mapping[str, t.Any]]


def run(
    call: Call,
    job_id: str,
    spec: t.Mapping[str, t.Any],
    code: str,
    limits: Limits,
    say: t.Callable[[str], None],
    clock: t.Callable[[], float],
    sleep: t.Callable[[float], None],
    attach: bool = False,
) -> dict[str, t.Any]:
    """Runs a job to its end and returns its result.

    Args:
        call: does one operation (start, poll, cancel, discard) on the node; raises ConnectionTrouble or JobFailed.
        say: tells the operator one line.
        clock: monotonic seconds.
        attach: the job runs already; poll it.

    Raises:
        JobFailed: with the reason the job gave, job_timeout, or connection_lost.
    """
    begun = clock()
    start_trouble = "" if attach else _start(call, job_id, spec, code, say)
    last_answer = last_said = clock()
    last_phase, offset = "", 0
    pause = 1.0
    while True:
        try:
            answer = call("poll", {"_job_id": job_id, "_wait_seconds": POLL_SECONDS, "_log_offset": offset})
        except JobFailed as failure:
            if start_trouble and failure.reason == "job_lost":
                # The node may still be at it: a start waits for the first status of its job.
                if clock() - begun < START_SECONDS:
                    sleep(pause)
                    pause = min(pause * 2, 10.0)
                    continue
                raise JobFailed(
                    "job_not_started", f"the start had no answer and no job has begun: {start_trouble}"
                ) from failure
            raise
        except ConnectionTrouble as trouble:
            silent = clock() - last_answer
            if silent > limits.lost:
                raise JobFailed(
                    "connection_lost", f"no answer from the node for {silent:.0f} s ({trouble}); its job goes on there"
                ) from trouble
            say(f"no answer ({trouble}); the job goes on there, asking again in {pause:.0f} s")
            sleep(pause)
            pause = min(pause * 2, 30.0)
            continue
        last_answer, pause, start_trouble = clock(), 1.0, ""
        offset = int(answer["log_offset"])
        for line in answer["log"].splitlines():
            # A line is UTC time, level, text; the time stands before what is said anyway.
            say(line.partition(" ")[2])
        status = answer["status"]
        if status["state"] != "running":
            return _finish(call, job_id, answer["result"], say)
        if status["phase"] != last_phase or clock() - last_said >= limits.heartbeat:
            last_phase, last_said = status["phase"], clock()
            say(progress_line(status, clock() - begun))
        if clock() - begun > limits.total:
            call("cancel", {"_job_id": job_id})
            raise JobFailed(
                "job_timeout", f"not done within {limits.total:.0f} s, so it was ended during {status['phase']}"
            )


def _start(call: Call, job_id: str, spec: t.Mapping[str, t.Any], code: str, say: t.Callable[[str], None]) -> str:
    """Starts the job; "" or, when there was no answer, what was wrong: it may have begun all the same,
    and the polls find out."""
    try:
        answer = call("start", {"_job_id": job_id, "_spec": json.dumps(spec), "_code": code})
    except ConnectionTrouble as trouble:
        say(f"no answer to the start ({trouble}); looking whether it has begun")
        return str(trouble)
    if answer.get("starts", 1) > 1:
        say("the first process of the job did not begin, so its task was started again")
    return ""


def _finish(call: Call, job_id: str, text: str, say: t.Callable[[str], None]) -> dict[str, t.Any]:
    """The result of an ended job; only now, with the result here, its folder on the node goes."""
    result: dict[str, t.Any] = json.loads(text)
    try:
        call("discard", {"_job_id": job_id})
    except (ConnectionTrouble, JobFailed) as trouble:
        say(f"the job's folder stays on the node until the next run ({trouble})")
    if result.pop("state") != "succeeded":
        raise JobFailed(
            result.pop("reason", "unexpected"), result.pop("msg", "the job failed without a message"), result
        )
    return result


def progress_line(status: t.Mapping[str, t.Any], seconds: float) -> str:
    """A heartbeat: phase, bytes, percent and time left where they are known."""
    line = f"{status['phase']}, {seconds:.0f} s"
    done, total = int(status["done_bytes"]), int(status["total_bytes"])
    if done:
        line += f", {size(done)}"
        if total >= done:
            line += f" of about {size(total)} ({100 * done // total} %)"
            line += f", about {seconds * (total - done) / done:.0f} s left"
    if status["message"]:
        line += f", {status['message']}"
    return line

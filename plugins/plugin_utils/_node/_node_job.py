# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of a node job on the control node: start, poll until its end, discard. The job continues during a lost
connection, and polling continues after it."""

from __future__ import annotations

import json
import re
import typing as t
from dataclasses import dataclass, field

from .._core.text import size

POLL_SECONDS = 12.0
"""How long a poll waits on the node for the end of the job. Below WinRM's operation time-out of 20 s."""

_FIRST_WAIT_SECONDS = 5.0
"""How long a start waits on the node for the end of its job. Many jobs end in that time and need no poll. It is short,
so that the operator soon sees that the job has begun. So is the first poll; each later poll waits twice as long."""

_SHORTEST_HEARTBEAT = 5.0

START_SECONDS = 150.0
"""How long the job of a start request may take to begin, if the answer to the request was lost: 60 s for the first
status of each of two processes (NodeJob.psm1), and the time before and after them."""


class ConnectionTrouble(Exception):
    """The node did not answer, so it is not known what happened there."""


class JobFailed(Exception):
    """The job has failed or is lost: reason, message, detail (its report)."""

    def __init__(self, reason: str, message: str, detail: t.Mapping[str, t.Any] | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.detail = dict(detail or {})


@dataclass(frozen=True)
class Limits:
    """total: seconds after which the job is cancelled. lost: seconds without an answer after which the node counts as
    lost (the job may continue). heartbeat: the longest time in seconds between two messages about the progress."""

    total: float
    lost: float = 900.0
    heartbeat: float = 60.0


@dataclass(frozen=True)
class Operator:
    """The output for the operator.

    Attributes:
        say: prints a line; its time is UTC text of the node, "" for now.
        warn: prints a warning that is also added to the report.
    """

    say: t.Callable[[str, str], None]
    warn: t.Callable[[str], None]


@dataclass(frozen=True)
class LastRun:
    """What the same job needed last time; empty if that is not known.

    Attributes:
        seconds: by phase.
        bytes: what it wrote.
    """

    seconds: t.Mapping[str, float] = field(default_factory=dict)
    bytes: int = 0


_LOG_LINE = re.compile(r"(\d{4}-\d\d-\d\dT[\d:.]+Z) (INFO )?(.*)")

Call = t.Callable[[str, t.Mapping[str, t.Any]], t.Mapping[str, t.Any]]


def run(
    call: Call,
    job_id: str,
    spec: t.Mapping[str, t.Any],
    code: str,
    limits: Limits,
    operator: Operator,
    clock: t.Callable[[], float],
    sleep: t.Callable[[float], None],
    attach: bool = False,
    last: LastRun | None = None,
    until: str = "",
) -> dict[str, t.Any]:
    """Runs a job to its end, or until it is in a phase, and returns its result.

    Args:
        call: does one operation (start, poll, cancel, discard) on the node; raises ConnectionTrouble or JobFailed.
            A start returns what a poll returns.
        operator: receives the messages of the node and the progress of the job.
        clock: monotonic seconds.
        attach: the job is already running, so only poll it.
        last: what the job needed last time.
        until: the phase in which the job waits for a request to continue, and the result is empty; "" for the end of
            the job.

    Raises:
        JobFailed: with the reason the job gave, job_timeout, or connection_lost.
    """
    begun, wait = clock(), _FIRST_WAIT_SECONDS
    answer, start_trouble = ({}, "") if attach else _start(call, job_id, spec, code, until, operator)
    screen = _Screen(operator, limits.heartbeat, clock, last or LastRun())
    last_answer, offset, pause, is_cut = clock(), 0, 1.0, False
    while True:
        try:
            if not answer:
                asked = {"_job_id": job_id, "_wait_seconds": wait, "_log_offset": offset, "_until": until}
                answer = call("poll", asked)
                wait = min(wait * 2, POLL_SECONDS)
        except JobFailed as failure:
            if start_trouble and failure.reason == "job_lost":
                # The node may still be executing the call: a start waits for the first status of its job.
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
                    "connection_lost",
                    f"no answer from the node for {silent:.0f} s ({trouble}); its job continues there",
                ) from trouble
            operator.say(f"no answer ({trouble}); the job continues there; next attempt in {pause:.0f} s", "")
            is_cut = True
            sleep(pause)
            pause = min(pause * 2, 30.0)
            continue
        if is_cut:
            operator.warn(f"the node gave no answer for {clock() - last_answer:.0f} s; its job went on meanwhile")
        last_answer, pause, start_trouble, is_cut = clock(), 1.0, "", False
        offset = int(answer["log_offset"])
        status = answer["status"]
        result: dict[str, t.Any] = json.loads(answer["result"]) if status["state"] != "running" else {}
        # The last line of a failed job is its failure, which the caller prints.
        screen.show_log(answer["log"], but_for=f"ERROR {result.get('msg')}")
        if result:
            return _finish(call, job_id, result, operator)
        if until and status["phase"] == until:
            return {}
        screen.show_status(status, float(answer.get("phase_seconds", -1)))
        if clock() - begun > limits.total:
            call("cancel", {"_job_id": job_id})
            raise JobFailed(
                "job_timeout", f"not done within {limits.total:.0f} s, so it was ended during {status['phase']}"
            )
        answer = {}


@dataclass
class _Screen:
    """The output about a job for the operator: its log lines and, from time to time, its progress."""

    operator: Operator
    heartbeat: float
    clock: t.Callable[[], float]
    last: LastRun
    phase: str = ""
    since: float = 0.0
    said: float = 0.0

    def show_log(self, text: str, but_for: str) -> None:
        for line in text.splitlines():
            found = _LOG_LINE.fullmatch(line)
            words, at = (found[3], found[1]) if found else (line, "")
            if words != but_for:
                self.operator.say(words, at)

    def show_status(self, status: t.Mapping[str, t.Any], age: float) -> None:
        now = self.clock()
        if status["phase"] != self.phase:
            self.phase, self.since, self.said = status["phase"], now, float("-inf")
        # A job of another version does not report the age of its phase.
        age = age if age >= 0 else now - self.since
        # For phases that last hours, the progress is printed less often.
        if now - self.said >= max(_SHORTEST_HEARTBEAT, min(self.heartbeat, age / 10)):
            self.said = now
            self.operator.say(progress_line(status, age, self.last), "")


def _start(
    call: Call, job_id: str, spec: t.Mapping[str, t.Any], code: str, until: str, operator: Operator
) -> tuple[t.Mapping[str, t.Any], str]:
    """Starts the job. Returns the first answer about it and "" or, if there was no answer, nothing and the problem. The
    job may have begun nevertheless, and the polls show that."""
    asked = {"_job_id": job_id, "_spec": json.dumps(spec), "_code": code}
    try:
        answer = call("start", {**asked, "_wait_seconds": _FIRST_WAIT_SECONDS, "_until": until})
    except ConnectionTrouble as trouble:
        operator.say(f"no answer to the start ({trouble}); looking whether it has begun", "")
        return {}, str(trouble)
    if answer.get("starts", 1) > 1:
        operator.warn("the first process of the job did not begin, so its task was started again")
    return answer, ""


def _finish(call: Call, job_id: str, result: dict[str, t.Any], operator: Operator) -> dict[str, t.Any]:
    """The result of a job that has ended. The folder of the job on the node is deleted only after the result was
    received."""
    try:
        call("discard", {"_job_id": job_id})
    except (ConnectionTrouble, JobFailed) as trouble:
        operator.warn(f"the folder of the job {job_id} stays on the node until the next run ({trouble})")
    if result.pop("state") != "succeeded":
        raise JobFailed(
            result.pop("reason", "unexpected"), result.pop("msg", "the job failed without a message"), result
        )
    return result


def progress_line(status: t.Mapping[str, t.Any], seconds: float, last: LastRun) -> str:
    """The progress of a job: its phase, the age of the phase, and bytes, percent, collections and remaining time if
    they are known.

    Args:
        status: of the job.
        seconds: since the phase began.
        last: what the job needed last time.
    """
    line = f"{status['phase']}, {seconds:.0f} s"
    if expected := last.seconds.get(status["phase"], 0.0):
        line += f" (last time {expected:.0f} s)"
    done, total = int(status["done_bytes"]), int(status["total_bytes"])
    if done:
        # The size of the last dump is a better estimate than the size of the data files.
        total = last.bytes or total
        line += f", {size(done)}"
        if total >= done:
            line += f" of about {size(total)} ({100 * done // total} %)"
            line += f", about {seconds * (total - done) / done:.0f} s left"
    if count := int(status.get("collections", 0)):
        line += f", {count} collections begun"
    if status["message"]:
        line += f", {status['message']}"
    return line

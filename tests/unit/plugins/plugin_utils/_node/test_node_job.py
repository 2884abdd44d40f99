# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job on a node is started once, followed through lost connections, and ended at its limit."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import typing as t
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._node import _node_job

SPEC = {"source": "D:\\x", "umlaut": "ü", "number": 3}


@dataclass
class SimulatedNode:
    """A node with one job, and a simulated clock, so that the test does not wait."""

    seconds: float = 60.0  # how long the job runs
    result: dict[str, t.Any] = field(default_factory=lambda: {"state": "succeeded", "bytes": 7})
    cuts: tuple[tuple[float, float], ...] = ()  # from, to: no connection
    call_seconds: float = 1.0
    phases: tuple[tuple[float, str], ...] = ((0.0, "dump"),)
    log: tuple[tuple[float, str], ...] = ()  # second of the job, line
    start_lost: str = ""  # "before" it arrives, or its answer "after" that
    discard_trouble: Exception | None = None
    now: float = 1000.0
    started_at: float | None = None
    calls: list[tuple[str, dict[str, t.Any]]] = field(default_factory=list)
    said: list[tuple[float, str]] = field(default_factory=list)
    stamps: list[str] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)
    starts: int = 1
    slept: list[float] = field(default_factory=list)
    cancelled: bool = False
    discarded: bool = False

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def say(self, line: str, at: str = "") -> None:
        self.said.append((self.now, line))
        self.stamps.append(at)

    def warn(self, line: str) -> None:
        self.warned.append(line)
        self.say(line)

    @property
    def operator(self) -> _node_job.Operator:
        return _node_job.Operator(self.say, self.warn)

    def call(self, operation: str, parameters: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        self.calls.append((operation, dict(parameters)))
        self.now += self.call_seconds
        if operation == "start":
            if self.start_lost != "before":
                self.started_at = self.now
            if self.start_lost:
                raise _node_job.ConnectionTrouble("cut off")
            return {"changed": True, "starts": self.starts, **self._answer(parameters["_wait_seconds"], 0)}
        if self.started_at is None:
            raise _node_job.JobFailed("job_lost", "the job is not on this node")
        since = self.now - self.started_at
        if operation == "cancel":
            self.cancelled = True
            return {"changed": True}
        if operation == "discard":
            assert since >= self.seconds, "discarded before its end"
            if self.discard_trouble:
                raise self.discard_trouble
            self.discarded = True
            return {}
        assert operation == "poll"
        assert not self.discarded
        if any(begin <= since < end for begin, end in self.cuts):
            raise _node_job.ConnectionTrouble("no route to host")
        return self._answer(parameters["_wait_seconds"], parameters["_log_offset"])

    def _answer(self, wait: float, offset: int) -> dict[str, t.Any]:
        assert self.started_at is not None
        self.now += min(wait, max(0.0, self.started_at + self.seconds - self.now))
        since = self.now - self.started_at
        phase = [name for begin, name in self.phases if begin <= since][-1]
        state = "running" if since < self.seconds else self.result["state"]
        written = "".join(f"{line}\r\n" for second, line in self.log if second <= since)
        return {
            "status": {"state": state, "phase": phase, "done_bytes": 0, "total_bytes": 0, "message": ""},
            "log": written[offset:], "log_offset": len(written),
            "result": json.dumps(self.result) if state != "running" else "",
        }  # fmt: skip

    def run(self, attach: bool = False, **limits: float) -> dict[str, t.Any]:
        limit = _node_job.Limits(**{"total": 10_000.0, **limits})
        return _node_job.run(
            self.call, "run1-window", SPEC, "CODE", limit, self.operator, self.clock, self.sleep, attach
        )

    def operations(self) -> list[str]:
        return [operation for operation, _unused in self.calls]


def test_a_job_gets_its_spec_and_code_and_gives_its_result() -> None:
    node = SimulatedNode()
    assert node.run() == {"bytes": 7}
    operation, parameters = node.calls[0]
    assert operation == "start"
    assert parameters["_job_id"] == "run1-window"
    assert json.loads(parameters["_spec"]) == SPEC
    assert parameters["_code"] == "CODE"
    assert node.operations()[-1] == "discard"
    assert node.operations().count("discard") == 1
    assert not node.slept


def test_what_a_job_fails_with_is_left_to_whoever_gets_the_failure() -> None:
    at = "2026-09-01T02:00:00.000Z"
    node = SimulatedNode(
        result={"state": "failed", "reason": "dump_failed", "msg": "exit code 1"},
        log=((1.0, f"{at} ERROR leftover"), (60.0, f"{at} ERROR exit code 1")),
    )
    with pytest.raises(_node_job.JobFailed, match="exit code 1"):
        node.run()
    said = [line for _now, line in node.said]
    assert "ERROR leftover" in said
    assert "ERROR exit code 1" not in said


CUT = st.tuples(st.floats(0, 3000), st.floats(0, 600)).map(lambda two: (two[0], two[0] + two[1]))


@given(st.floats(0, 4000), st.lists(CUT, max_size=1))
@example(seconds=100.0, cuts=[(0.0, 600.0)])
def test_lost_connections_shorter_than_the_limit_are_survived(seconds: float, cuts: list[tuple[float, float]]) -> None:
    node = SimulatedNode(seconds=seconds, cuts=tuple(cuts))
    assert node.run() == {"bytes": 7}
    assert node.operations().count("start") == 1
    assert "cancel" not in node.operations()
    assert all(1.0 <= pause <= 30.0 for pause in node.slept)


@given(st.floats(0, 500), st.floats(1000, 5000))
@pytest.mark.reaches("connection_lost")
def test_a_node_that_stays_silent_is_given_up_and_its_job_left_alone(begin: float, length: float) -> None:
    node = SimulatedNode(seconds=10_000, cuts=((begin, begin + length),))
    with pytest.raises(_node_job.JobFailed) as failure:
        node.run()
    assert failure.value.reason == "connection_lost"
    assert "continues there" in failure.value.message
    assert "cancel" not in node.operations()
    assert node.started_at is not None
    # Given up soon after the limit, not much later.
    assert 900 < node.now - (node.started_at + begin) < 900 + 13 + 31 + 2


def test_the_pauses_between_attempts_grow_and_begin_anew_after_an_answer() -> None:
    node = SimulatedNode(seconds=1000, cuts=((0.0, 100.0), (500.0, 540.0)))
    node.run()
    first, second = node.slept[: node.slept.index(1.0, 1)], node.slept[node.slept.index(1.0, 1) :]
    assert first[:6] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0]
    assert second[:4] == [1.0, 2.0, 4.0, 8.0]
    assert max(node.slept) == 30.0
    assert "next attempt in" in node.said[1][1]


@given(st.floats(1, 3000), st.floats(0, 60))
@pytest.mark.reaches("job_timeout")
def test_a_job_beyond_its_limit_is_ended_once_and_named(total: float, beyond: float) -> None:
    node = SimulatedNode(seconds=total + 60 + beyond)
    with pytest.raises(_node_job.JobFailed) as failure:
        node.run(total=total)
    assert failure.value.reason == "job_timeout"
    assert "during dump" in failure.value.message
    assert node.operations().count("cancel") == 1
    assert node.operations()[-1] == "cancel"
    # No later than one poll after the limit.
    assert node.now - 1000 <= total + _node_job.POLL_SECONDS + 4


def test_a_job_that_fails_keeps_its_reason_and_what_it_reported() -> None:
    node = SimulatedNode(
        result={
            "state": "failed",
            "reason": "dump_timeout",
            "msg": "too slow",
            "marks": {"stopped": 1.0},
            "restored": True,
        }
    )
    with pytest.raises(_node_job.JobFailed) as failure:
        node.run()
    assert (failure.value.reason, failure.value.message) == ("dump_timeout", "too slow")
    assert failure.value.detail == {"marks": {"stopped": 1.0}, "restored": True}


def test_a_job_that_fails_without_words_still_has_some() -> None:
    with pytest.raises(_node_job.JobFailed) as failure:
        SimulatedNode(result={"state": "failed"}).run()
    assert failure.value.reason == "unexpected"
    assert failure.value.message


@pytest.mark.parametrize("operation", ["start", "poll"])
def test_what_the_node_refuses_ends_the_run_of_the_job(operation: str) -> None:
    node = SimulatedNode()

    def call(asked: str, parameters: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        if asked == operation:
            raise _node_job.JobFailed("job_died", "gone")
        return node.call(asked, parameters)

    with pytest.raises(_node_job.JobFailed, match="gone"):
        _node_job.run(call, "j", SPEC, "CODE", _node_job.Limits(total=100), node.operator, node.clock, node.sleep)


@given(st.floats(30, 3000), st.floats(1, 60))
def test_the_operator_hears_something_at_every_heartbeat(seconds: float, heartbeat: float) -> None:
    node = SimulatedNode(seconds=seconds)
    node.run(heartbeat=heartbeat)
    times = [1000.0, *(moment for moment, _unused in node.said), node.now]
    longest = max(later - earlier for earlier, later in itertools.pairwise(times))
    assert longest <= heartbeat + 2 * (_node_job.POLL_SECONDS + node.call_seconds) + 1


def test_every_phase_is_said() -> None:
    node = SimulatedNode(seconds=100, phases=((0.0, "stop"), (20.0, "dump"), (50.0, "collect")))
    node.run(heartbeat=1000)
    phases = [line.split(",")[0] for _unused, line in node.said]
    assert [phase for phase, _unused in itertools.groupby(phases)] == ["stop", "dump", "collect"]


def test_a_poll_never_holds_a_connection_longer_than_winrm_allows() -> None:
    node = SimulatedNode(seconds=500)
    node.run(heartbeat=600)
    waits = [parameters["_wait_seconds"] for operation, parameters in node.calls if operation == "poll"]
    assert 0 < max(waits) <= _node_job.POLL_SECONDS < 20


def test_the_operator_soon_sees_that_the_job_has_begun() -> None:
    node = SimulatedNode(seconds=100, log=((0.1, "2026-09-01T02:00:00.000Z INFO stopping"),))
    node.run()
    assert next(moment for moment, line in node.said if line == "stopping") - 1000 < 7


@pytest.mark.parametrize("end", ["succeeded", "failed"])
def test_a_short_job_ends_in_the_call_that_starts_it(end: str) -> None:
    node = SimulatedNode(seconds=4, result={"state": end}, log=((3.0, "2026-09-01T02:00:00.000Z INFO pinned"),))
    with contextlib.nullcontext() if end == "succeeded" else pytest.raises(_node_job.JobFailed):
        node.run()
    assert node.operations() == ["start", "discard"]
    assert [line for _unused, line in node.said] == ["pinned"]


def test_a_start_waits_for_the_phase_that_is_asked_for() -> None:
    node = SimulatedNode(seconds=100, phases=((0.0, "begin"), (3.0, "ready")))
    limits = _node_job.Limits(total=200)
    assert not _node_job.run(node.call, "j", SPEC, "CODE", limits, node.operator, node.clock, node.sleep, until="ready")
    ((operation, parameters),) = node.calls
    assert (operation, parameters["_until"]) == ("start", "ready")


def test_the_log_is_read_on_from_where_it_was() -> None:
    node = SimulatedNode(seconds=50, log=tuple((second, f"2026 INFO line {second:02}") for second in range(0, 50, 5)))
    node.run()
    offsets = [parameters["_log_offset"] for operation, parameters in node.calls if operation == "poll"]
    assert offsets == sorted(offsets)
    assert 0 < offsets[0] < offsets[-1]


@given(
    st.floats(0, 300),
    st.lists(st.floats(0, 300), max_size=20).map(sorted),
    st.lists(st.tuples(st.floats(0, 300), st.floats(0, 100)), max_size=1),
)
def test_every_line_of_the_log_is_said_once_and_in_order_whatever_the_connection_does(
    seconds: float, moments: list[float], cuts: list[tuple[float, float]]
) -> None:
    lines = [f"line {number}" for number in range(len(moments))]
    log = tuple(
        (min(moment, seconds), f"2026-09-01T02:00:00.000Z INFO {line}")
        for moment, line in zip(moments, lines, strict=True)
    )
    node = SimulatedNode(seconds=seconds, log=log, cuts=tuple((begin, begin + length) for begin, length in cuts))
    node.run()
    assert [line for _unused, line in node.said if "line" in line] == lines


def test_a_job_that_runs_already_is_followed_and_not_started() -> None:
    node = SimulatedNode()
    node.started_at = node.now - 30
    assert node.run(attach=True) == {"bytes": 7}
    assert "start" not in node.operations()


def test_a_job_to_attach_to_that_is_not_there_is_lost() -> None:
    with pytest.raises(_node_job.JobFailed) as failure:
        SimulatedNode().run(attach=True)
    assert failure.value.reason == "job_lost"


def test_a_start_whose_answer_was_lost_is_not_repeated_but_looked_for() -> None:
    node = SimulatedNode(start_lost="after")
    assert node.run() == {"bytes": 7}
    assert node.operations().count("start") == 1
    assert "looking whether it has begun" in node.said[0][1]


@pytest.mark.reaches("job_not_started")
def test_a_start_that_never_arrived_is_found_out_and_says_both() -> None:
    node = SimulatedNode(start_lost="before")
    with pytest.raises(_node_job.JobFailed) as failure:
        node.run()
    assert failure.value.reason == "job_not_started"
    assert "cut off" in failure.value.message
    assert set(node.operations()) == {"start", "poll"}
    assert node.operations().count("start") == 1
    assert node.now > _node_job.START_SECONDS


def test_a_job_that_was_seen_and_then_is_gone_is_lost_and_not_a_start_that_failed() -> None:
    node = SimulatedNode(start_lost="after", seconds=100)

    def call(operation: str, parameters: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        if node.operations().count("poll") == 2:
            raise _node_job.JobFailed("job_lost", "somebody removed it")
        return node.call(operation, parameters)

    with pytest.raises(_node_job.JobFailed) as failure:
        _node_job.run(call, "j", SPEC, "CODE", _node_job.Limits(total=1000), node.operator, node.clock, node.sleep)
    assert failure.value.reason == "job_lost"


@pytest.mark.parametrize(
    "trouble", [_node_job.ConnectionTrouble("no route"), _node_job.JobFailed("unexpected", "in use")]
)
def test_a_result_that_is_here_counts_even_if_its_folder_stays_on_the_node(trouble: Exception) -> None:
    node = SimulatedNode(discard_trouble=trouble)
    assert node.run() == {"bytes": 7}
    assert "stays on the node" in node.said[-1][1]
    broken = SimulatedNode(discard_trouble=trouble, result={"state": "failed", "reason": "dump_failed", "msg": "no"})
    with pytest.raises(_node_job.JobFailed, match="no") as failure:
        broken.run()
    assert failure.value.reason == "dump_failed"


@pytest.mark.parametrize("end", ["succeeded", "failed"])
def test_an_ended_job_is_discarded_only_with_its_result_in_hand(end: str) -> None:
    node = SimulatedNode(result={"state": end})
    try:
        node.run()
    except _node_job.JobFailed:
        assert end == "failed"
    assert node.discarded
    assert node.operations()[-2:] == ["poll", "discard"]


def status(**values: t.Any) -> dict[str, t.Any]:
    return {"phase": "dump", "done_bytes": 0, "total_bytes": 0, "message": "", **values}


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({}, "dump, 10 s"),
        ({"message": "waiting for Stopped"}, "dump, 10 s, waiting for Stopped"),
        (
            {"done_bytes": 500_000_000, "total_bytes": 2_000_000_000},
            "dump, 10 s, 500.0 MB of about 2.0 GB (25 %), about 30 s left",
        ),
        ({"done_bytes": 500_000_000}, "dump, 10 s, 500.0 MB"),
        # The estimate was too small: no percentage beyond 100.
        ({"done_bytes": 500, "total_bytes": 400}, "dump, 10 s, 500 B"),
        ({"total_bytes": 400}, "dump, 10 s"),
    ],
)
def test_a_heartbeat_says_what_is_known(values: dict[str, t.Any], line: str) -> None:
    assert _node_job.progress_line(status(**values), 10.0, _node_job.LastRun()) == line


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({}, "dump, 10 s (last time 58 s)"),
        (
            {"done_bytes": 500_000_000, "total_bytes": 9_000_000_000, "collections": 7},
            "dump, 10 s (last time 58 s), 500.0 MB of about 2.0 GB (25 %), about 30 s left, 7 collections begun",
        ),
        ({"phase": "stop"}, "stop, 10 s (last time 3 s)"),
        ({"phase": "collect"}, "collect, 10 s"),
    ],
)
def test_a_heartbeat_tells_what_the_last_run_needed(values: dict[str, t.Any], line: str) -> None:
    last = _node_job.LastRun({"stop": 3.0, "dump": 58.0, "start": 0.0}, 2_000_000_000)
    assert _node_job.progress_line(status(**values), 10.0, last) == line


def test_what_the_node_notes_is_said_with_the_time_of_the_node_and_without_its_level() -> None:
    log = ((0.0, "2026-09-01T02:00:00.000Z INFO stopping"), (1.0, "2026-09-01T02:00:14.000Z WARNING no heartbeat"))
    node = SimulatedNode(seconds=5, log=(*log, (1.0, "rest of a line")))
    node.run()
    told = dict(zip((line for _unused, line in node.said), node.stamps, strict=True))
    assert told["stopping"] == "2026-09-01T02:00:00.000Z"
    assert told["WARNING no heartbeat"] == "2026-09-01T02:00:14.000Z"
    assert told["rest of a line"] == ""


def test_a_phase_is_counted_from_its_own_begin() -> None:
    node = SimulatedNode(seconds=100, phases=((0.0, "dump"), (60.0, "start")))
    node.run()
    first = next(line for _unused, line in node.said if line.startswith("start"))
    assert int(first.split()[1]) < 2 * _node_job.POLL_SECONDS


def test_the_node_says_how_old_a_phase_is() -> None:
    node = SimulatedNode(seconds=20)

    def call(operation: str, parameters: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        answer = node.call(operation, parameters)
        if operation != "discard":
            answer["phase_seconds"] = 7.4
        return answer

    _node_job.run(call, "j", SPEC, "CODE", _node_job.Limits(total=100), node.operator, node.clock, node.sleep)
    assert node.said[0][1] == "dump, 7 s"


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        ({"starts": 2}, "its task was started again"),
        ({"cuts": ((10.0, 60.0),)}, "the node gave no answer for"),
        ({"discard_trouble": _node_job.ConnectionTrouble("no route")}, "stays on the node until the next run"),
    ],
)
def test_what_went_wrong_on_the_way_is_a_warning_and_no_failure(changes: dict[str, t.Any], warning: str) -> None:
    node = SimulatedNode(**changes)
    assert node.run() == {"bytes": 7}
    assert [warning in line for line in node.warned] == [True]


def test_a_job_without_trouble_warns_of_nothing() -> None:
    node = SimulatedNode()
    node.run()
    assert node.warned == []


@given(st.integers(0, 10**15), st.integers(0, 10**15), st.floats(0, 10**6))
def test_a_heartbeat_never_promises_more_than_everything(done: int, total: int, seconds: float) -> None:
    line = _node_job.progress_line(status(done_bytes=done, total_bytes=total), seconds, _node_job.LastRun())
    if percent := re.search(r"\((\d+) %\)", line):
        assert 0 <= int(percent[1]) <= 100
    assert "-" not in line

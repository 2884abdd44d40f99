# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The window seen from the control node: what it asks for, how it judges the dump, how it counts downtime."""

from __future__ import annotations

import json
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.alteryx_ops.server_backup.plugins.action.database_window import ActionModule
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._collection import argument_spec
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._database._dump import (
    measure_downtime as downtime,
)
from tests.unit.plugins import samples
from tests.unit.plugins.action import harness

ARGUMENTS = {
    "run_id": samples.RUN_ID,
    "executable": samples.EXECUTABLE,
    "staging_directory": samples.STAGING,
    "expected_bytes": 3_000_000,
}
MARKS = {
    "stop_requested": 1.0,
    "stopped": 4.0,
    "dump_started": 4.5,
    "dump_ended": 34.5,
    "start_requested": 34.75,
    "running": 42.5,
}
FILES = {
    "AlteryxGallery/users.bson": 100, "AlteryxGallery/users.metadata.json": 10, "AlteryxService/AS_Queue.bson": 50,
    "AlteryxService/AS_Queue.metadata.json": 10,
}  # fmt: skip


def report(**changes: t.Any) -> dict[str, t.Any]:
    """What the job reports when all went well."""
    return {
        "state": "succeeded", "prior_state": "Running", "restored": True, "states": [{"state": "Stopped", "at": "x"}],
        "marks": MARKS, "dump_folder": "x", "files": [{"path": path, "bytes": size} for path, size in FILES.items()],
        "exit_code": 0, "output": "done dumping AlteryxGallery.users (3 documents)", "events": [], **changes,
    }  # fmt: skip


class Controller:
    """A node whose window job ends at once with this report."""

    def __init__(self, ended: dict[str, t.Any]) -> None:
        self.ended = ended
        self.calls: list[dict[str, t.Any]] = []

    def __call__(self, arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        self.calls.append(arguments)
        status = {"state": self.ended["state"], "phase": "end", "done_bytes": 0, "total_bytes": 0, "message": ""}
        answer = {"status": status, "log": "", "log_offset": 0, "result": json.dumps(self.ended)}
        return {
            "start": answer,
            "poll": answer,
            "discard": {},
            "adopt": {},
        }[arguments["_operation"]]


def test_a_good_window_returns_downtime_and_evidence() -> None:
    result = harness.run(ActionModule, ARGUMENTS, Controller(report()))
    assert not result.get("failed")
    assert result["changed"] is result["restored"] is True
    assert result["dump_bytes"] == 170
    assert result["databases"] == ["AlteryxGallery", "AlteryxService"]
    assert result["documents"] == {"AlteryxGallery.users": 3}
    assert result["downtime"] == {"total": 41.5, "stop": 3.0, "dump": 30.0, "start": 7.75, "rest": 0.75}
    assert "files" not in result


def test_the_job_is_told_every_option_by_its_name() -> None:
    controller = Controller(report())
    given = {"service_name": "AyxSvc", "stop_timeout": 10, "dump_timeout": 20, "start_timeout": 30, "max_downtime": 40}
    harness.run(ActionModule, {**ARGUMENTS, **given, "space_reserve": 500_000_000_000}, controller)
    assert controller.calls[0]["_operation"] == "start"
    assert controller.calls[0]["_job_id"] == f"{samples.RUN_ID}-window"
    # A number that does not fit into 32 bits is not passed as an option of the module on the node.
    assert "space_reserve" not in controller.calls[0]
    documented = {name: option.get("default") for name, option in argument_spec("database_window").items()}
    for name in ("dump", "mongodb_connections", "plan", "mongodb", "last_run", "armed"):
        del documented[name]
    spec = json.loads(controller.calls[0]["_spec"])
    assert json.loads(spec.pop("memo"))["judging"]["required"] == {}
    assert spec == {
        **documented, **ARGUMENTS, **given, "space_reserve": 500_000_000_000, "method": "emongodump",
        "dump_folder": rf"{samples.STAGING}\{samples.RUN_ID}\files\database",
    }  # fmt: skip


def test_the_screen_compares_a_dump_with_that_of_the_last_run(capsys: pytest.CaptureFixture[str]) -> None:
    controller = Controller(report())
    running = {"state": "running", "phase": "dump", "done_bytes": 500_000, "total_bytes": 9_000_000, "message": ""}
    first = {"status": {**running, "collections": 7}, "phase_seconds": 21.0, "log_offset": 9, "result": "", "log": (
        "2026-09-01T02:00:04.000Z INFO stopping AlteryxService\r\n"
    )}  # fmt: skip
    answers = [first]

    def node(arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        return answers.pop() if answers else controller(arguments)

    last = {"seconds": {"stop": 3.0, "dump": 30.0, "start": 7.8}, "bytes": 1_000_000}
    harness.run(ActionModule, {**ARGUMENTS, "last_run": last}, node)
    out = capsys.readouterr().out
    assert "2026-09-01T02:00:04.000Z node1: stopping AlteryxService" in out
    assert "node1: dump, 21 s (last time 30 s), 500.0 kB of about 1.0 MB (50 %), about 21 s left, 7 collections" in out


def test_an_armed_job_is_left_when_it_is_ready_and_then_asked_to_stop_the_service() -> None:
    controller = Controller(report())
    states = [{"state": "running", "phase": phase, "done_bytes": 0, "message": ""} for phase in ("ready", "begin")]
    asked: list[tuple[str, str]] = []

    def node(arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        asked.append((arguments["_operation"], arguments.get("_until", "")))
        if arguments["_operation"] == "open":
            return {}
        if states:
            return {"status": {"total_bytes": 0, **states.pop()}, "log": "", "log_offset": 0, "result": ""}
        return controller(arguments)

    armed = harness.run(ActionModule, {**ARGUMENTS, "state": "armed", "open_within": 60}, node)
    assert (armed["changed"], armed.get("failed")) == (True, None)
    assert asked == [("start", "ready"), ("poll", "ready")]
    asked.clear()
    opened = harness.run(ActionModule, {**ARGUMENTS, "state": "opened"}, node)
    assert (opened["changed"], opened.get("failed")) == (True, None)
    result = harness.run(ActionModule, {**ARGUMENTS, "armed": True}, node)
    assert not result.get("failed")
    assert result["dump_bytes"] == 170
    assert asked == [("open", ""), ("poll", ""), ("discard", "")]


def test_an_armed_job_that_has_given_up_is_a_closed_gate() -> None:
    def node(arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        assert arguments["_operation"] == "open"
        return {"failed": True, "reason": "gate_closed", "msg": "it has given the window up"}

    result = harness.run(ActionModule, {**ARGUMENTS, "state": "opened"}, node)
    assert (result["failed"], result["reason"]) == (True, "gate_closed")


def test_a_job_that_was_armed_in_vain_leaves_nothing() -> None:
    operations = []

    def node(arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        operations.append(arguments["_operation"])
        return {"changed": True}

    harness.run(ActionModule, {**ARGUMENTS, "state": "cancelled", "armed": True}, node)
    assert operations == ["cancel", "discard"]


def test_check_mode_touches_no_node() -> None:
    result = harness.run(ActionModule, ARGUMENTS, check_mode=True)
    assert (result["changed"], result.get("failed")) == (True, None)


DEAD_RUN = "Full_20260831_020000_0001"


def test_a_window_of_a_dead_run_is_followed_and_its_dump_taken_over() -> None:
    controller = Controller(report())
    result = harness.run(ActionModule, {**ARGUMENTS, "attach": DEAD_RUN}, controller)
    assert not result.get("failed")
    operations = [call["_operation"] for call in controller.calls]
    assert operations == ["poll", "discard", "adopt"]
    assert {call["_job_id"] for call in controller.calls[:2]} == {f"{DEAD_RUN}-window"}
    assert (controller.calls[-1]["attach"], controller.calls[-1]["run_id"]) == (DEAD_RUN, samples.RUN_ID)
    # What the archive is made of is where this run expects its own dump.
    assert result["dump_folder"] == rf"{samples.STAGING}\{samples.RUN_ID}\files\database"
    assert result["dump_bytes"] == 170


def test_a_window_of_a_dead_run_that_failed_leaves_nothing_to_take_over() -> None:
    controller = Controller(report(state="failed", reason="dump_timeout", msg="too slow"))
    result = harness.run(ActionModule, {**ARGUMENTS, "attach": DEAD_RUN}, controller)
    assert (result["failed"], result["reason"]) == (True, "dump_timeout")
    assert "adopt" not in [call["_operation"] for call in controller.calls]


def test_a_dump_that_is_not_complete_is_judged_also_when_it_was_taken_over() -> None:
    assert (
        harness.run(ActionModule, {**ARGUMENTS, "attach": DEAD_RUN}, Controller(report(files=[])))["reason"]
        == "dump_incomplete"
    )


@pytest.mark.parametrize(("attach", "job"), [("", f"{samples.RUN_ID}-window"), (DEAD_RUN, f"{DEAD_RUN}-window")])
@pytest.mark.parametrize("lived", [True, False])
def test_cancelling_ends_the_job_this_run_has_to_do_with(attach: str, job: str, lived: bool) -> None:
    calls: list[dict[str, t.Any]] = []

    def node(arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        calls.append(arguments)
        return {"changed": lived}

    result = harness.run(ActionModule, {"state": "cancelled", "run_id": samples.RUN_ID, "attach": attach}, node)
    assert (result["changed"], result.get("failed")) == (lived, None)
    assert [(call["_operation"], call["_job_id"], call["state"]) for call in calls] == [("cancel", job, "cancelled")]


def test_cancelling_in_check_mode_touches_no_node() -> None:
    result = harness.run(ActionModule, {"state": "cancelled", "run_id": samples.RUN_ID}, check_mode=True)
    assert (result["changed"], result.get("failed")) == (False, None)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"output": "EMongoDump failed"}, "dump_failed"),
        ({"exit_code": 1}, "dump_failed"),
        ({"files": []}, "dump_incomplete"),
        ({"output": "done dumping AlteryxGallery.other (3 documents)"}, "dump_incomplete"),
    ],
)
def test_a_dump_that_does_not_count_fails_although_the_job_was_content(changes: dict[str, t.Any], reason: str) -> None:
    result = harness.run(ActionModule, ARGUMENTS, Controller(report(**changes)))
    assert (result["failed"], result["reason"], result["exit_code"]) == (True, reason, 5)
    assert result["detail"]["restored"] is True
    assert result["detail"]["downtime"]["total"] == 41.5


def test_the_end_of_the_output_goes_along_with_a_failed_dump() -> None:
    result = harness.run(ActionModule, ARGUMENTS, Controller(report(output="x" * 5000 + "\nEMongoDump failed")))
    assert result["detail"]["output"].endswith("EMongoDump failed")
    assert len(result["detail"]["output"]) == 2000


def test_a_failed_job_keeps_its_reason_and_tells_its_downtime() -> None:
    ended = report(
        state="failed",
        reason="stop_timeout",
        msg="it was not Stopped",
        marks={"stop_requested": 0.0, "start_requested": 5.0, "running": 9.0},
    )
    result = harness.run(ActionModule, ARGUMENTS, Controller(ended))
    assert (result["reason"], result["exit_code"], result["message"]) == ("stop_timeout", 2, "it was not Stopped")
    assert result["detail"]["downtime"] == {"total": 9.0, "stop": 5.0, "dump": 0.0, "start": 4.0, "rest": 0.0}
    assert "files" not in result["detail"]


def test_a_failure_before_any_mark_has_no_downtime() -> None:
    def refuses(arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        return {"failed": True, "reason": "job_exists", "msg": "a job is there already"}

    result = harness.run(ActionModule, ARGUMENTS, refuses)
    assert result["reason"] == "job_exists"
    assert set(result["detail"]["downtime"].values()) == {0.0}


ORDER = ("stop_requested", "stopped", "dump_started", "dump_ended", "start_requested", "running")


@given(st.lists(st.floats(0, 10**6), min_size=6, max_size=6).map(sorted), st.integers(1, 4), st.integers(0, 2))
def test_the_parts_of_the_downtime_are_its_whole_wherever_the_window_broke(
    times: list[float], reached: int, after: int
) -> None:
    # It broke after so many marks; then the service was left down (0), asked to start (1) or was Running again (2).
    names = ORDER[:reached] + ORDER[4 : 4 + after]
    marks = {name: moment for name, moment in zip(ORDER, times, strict=True) if name in names}
    parts = downtime(marks)
    assert parts["total"] == pytest.approx(marks[names[-1]] - marks["stop_requested"], abs=0.001)
    assert sum(parts[name] for name in ("stop", "dump", "start", "rest")) == pytest.approx(parts["total"], abs=0.003)
    assert all(seconds >= 0 for seconds in parts.values())


def test_a_service_that_was_stopped_before_has_no_downtime() -> None:
    assert downtime({"dump_started": 1.0, "dump_ended": 5.0}) == {
        "total": 0.0,
        "stop": 0.0,
        "dump": 0.0,
        "start": 0.0,
        "rest": 0.0,
    }

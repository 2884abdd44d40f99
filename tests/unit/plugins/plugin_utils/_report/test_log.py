# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The log of a run: what a person who was not there can learn from it."""

from __future__ import annotations

import re
import typing as t
from types import SimpleNamespace

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import REASONS
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._report import _log, _report
from tests.unit.plugins import samples

NOW = "2026-09-01T02:05:00.000Z"
LINE = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (DEBUG|INFO|WARNING|ERROR|SUCCESS) (node1|-) (\w+): (\S.*)"
)


def lines(steps: dict[str, dict[str, t.Any]], mode: str = "full", check_mode: bool = False) -> list[str]:
    outcome = _report.compose(mode, {"node1": steps}, check_mode, NOW, 1300.0, "alteryx_ops.server_backup 0.1.0")
    return _log.text(outcome, {"node1": steps}, check_mode=check_mode).splitlines()


def test_the_log_is_one_line_an_event_in_the_order_of_time() -> None:
    steps = samples.steps()
    steps["window"]["events"].append({"at": "2026-09-01T02:00:05.600Z", "level": "ERROR", "text": "two\r\nlines"})
    steps["verify"] = samples.failed("archive_bad", 3, "bad\nnews", detail={"output": "said\r\n\r\nmore"})
    found = lines(steps)
    assert [line for line in found if not LINE.fullmatch(line)] == []
    times = [line.split(" ")[0] for line in found]
    assert times == sorted(times)
    assert any("window: two lines" in line for line in found)
    assert [line.rpartition("verify: ")[2] for line in found if "DEBUG node1 verify" in line] == ["said", "more"]


@pytest.mark.parametrize("mode", ["full", "database", "config"])
def test_a_good_run_begins_with_who_it_is_and_ends_with_success(mode: str) -> None:
    found = lines(samples.steps(mode), mode)
    assert found[0] == (
        f"2026-09-01T02:00:00.000Z INFO - run: alteryx_ops.server_backup 0.1.0: run {samples.RUN_ID}, "
        f"mode {mode}, fleet alteryx_prod, nodes node1"
    )
    assert found[-1] == f"{NOW} SUCCESS - report: OK after 300 s, exit code 0 (success)"
    assert not any(" ERROR " in line for line in found)


def test_the_log_of_a_full_backup_tells_every_event_an_operator_asks_for() -> None:
    text = "\n".join(lines(samples.steps()))
    for piece in (
        "INFO node1 request: mode full, staging in D:\\AlteryxStaging, archives to E:\\AlteryxBackups",
        "secrets are encrypted for CN=ops",
        "INFO node1 facts: Alteryx Server 2024.2.1.14 in C:\\Program Files\\Alteryx\\bin",
        "service AlteryxService is Running, start type Automatic",
        "data files of the embedded MongoDB in D:\\Alteryx\\Service\\Persistence\\MongoDB: 100.0 MB",
        "D:\\AlteryxStaging: 500.0 MB free",
        "INFO node1 plan: node1 is controller, worker, ui: dump its embedded database, take ",
        "INFO node1 drain: no workflow runs; 0 ran at first",
        (
            "SUCCESS node1 lease: the guard has answered as S-1-5-18; "
            "it brings AlteryxService back by 2026-09-01 08:00:00 UTC"
        ),
        "INFO node1 gate: every node is ready",
        "SUCCESS node1 window: dumped AlteryxGallery, AlteryxService: 120 documents in 1 collections, 12.8 MB",
        "downtime 41.0 s = stop 3.0 + dump 30.0 + start 7.8 + rest 0.2",
        "SUCCESS node1 restore: AlteryxService is Running, process 4812",
        "INFO node1 configuration: keys: 2 files, 300 B, from C:\\Keys; permissions of 3 files and folders",
        "INFO node1 configuration: recorded in node.json: version, odbc_drivers",
        "INFO node1 configuration: licence: none, it is not set",
        "WARNING node1 configuration: ad_groups could not be read: Invalid class",
        "INFO node1 configuration: encrypted: controller_token, mongodb_passwords",
        f"ServerBackup_Full_{samples.STAMP}.zip: 45 files, 12.9 MB in 5.1 MB, sha256 {'9c1e' * 16}",
        "SUCCESS node1 verify: good: ",
        "INFO node1 report: service Running -> Running; ",
    ):
        assert piece in text, piece


def test_an_error_names_node_cause_reason_code_and_what_to_do_next() -> None:
    steps = samples.steps()
    steps["window"] = samples.failed(
        "dump_failed", 5, "the tool said no", detail={"restored": True, "output": "assertion failure"}
    )
    found = lines(steps)
    hint = REASONS["dump_failed"].hint
    (error,) = [line for line in found if " ERROR node1 window: " in line]
    assert error.endswith(f"failed after 1.0 s: the tool said no [dump_failed, exit code 5]; next: {hint}")
    assert found[found.index(error) - 1].endswith("DEBUG node1 window: assertion failure")
    assert found[-1].endswith(
        "ERROR - report: FAILED after 300 s, exit code 5 (MongoDB: the dump failed), node1, "
        f"step window: dump_failed; next: {hint}"
    )


def test_what_no_step_has_said_is_an_error_too() -> None:
    steps = samples.steps()
    del steps["restore"], steps["window"]["restored"]
    errors = [line for line in lines(steps) if " ERROR node1 " in line]
    assert len(errors) == 1
    assert (
        "restore: no step has seen the service in the state that it had before the run "
        "[service_not_restored, exit code 7]; next: Start the service" in errors[0]
    )


TRACE = "Traceback:\n  line 1\nKeyError: 'x'"


@pytest.mark.parametrize("exception", [TRACE, SimpleNamespace(event=SimpleNamespace(formatted_traceback=TRACE))])
def test_where_our_own_code_broke_is_logged_in_full(exception: t.Any) -> None:
    steps = samples.steps()
    steps["archive"] = {"failed": True, "msg": "boom", "exception": exception}
    assert [line.rpartition("archive: ")[2] for line in lines(steps) if "DEBUG node1 archive" in line] == [
        "Traceback:",
        "  line 1",
        "KeyError: 'x'",
    ]


def test_an_exception_without_a_traceback_says_nothing_more() -> None:
    steps = samples.steps()
    exception = SimpleNamespace(event=SimpleNamespace(msg="boom", formatted_traceback=None))
    steps["archive"] = {"failed": True, "msg": "boom", "exception": exception}
    assert not [line for line in lines(steps) if "DEBUG node1 archive" in line]


@pytest.mark.parametrize("step", list(samples.steps()))
@pytest.mark.parametrize("result", [{}, {"changed": True}, {"failed": True}, {"unreachable": True, "msg": "gone"}])
def test_a_step_that_says_little_does_not_break_the_log(step: str, result: dict[str, t.Any]) -> None:
    for check_mode in (False, True):
        assert lines({**samples.steps(), step: result}, check_mode=check_mode)


def test_the_log_of_a_prediction_says_what_would_be_done_and_claims_nothing() -> None:
    steps = samples.steps()
    listed = {"schedules": [{"id": "a", "name": "Daily sales"}], "changed": True}
    steps |= {"pause": listed, "resume": listed}
    # In check mode, modules answer with fewer fields.
    steps["lease"] = steps["window"] = steps["verify"] = {"changed": True}
    steps["archive"] = {"changed": True, "archive": r"E:\x.zip"}
    steps["set"] = {"changed": True, "written": [r"E:\x.set.json"]}
    text = "\n".join(lines(steps, check_mode=True))
    for piece in (
        f"prediction (--check) of the run {samples.RUN_ID}, mode full",
        "INFO node1 pause: would be paused, and enabled again: Daily sales",
        "INFO node1 resume: would be enabled again: Daily sales",
        "INFO node1 configuration: would be recorded in node.json: version, odbc_drivers",
        "INFO node1 configuration: would be encrypted: controller_token, mongodb_passwords",
        r"INFO node1 set: would be written: E:\x.set.json",
        r"INFO node1 report: service Running -> Running; E:\x.zip would be written",
        "facts: done in 0.9 s",
        "lock: predicted in 0.9 s",
    ):
        assert piece in text, piece
    for claim in (
        ": written: ",
        ": encrypted: ",
        ": recorded ",
        ": paused",
        ": enabled",
        "sha256",
        " verified",
        "ready",
    ):
        assert claim not in text, claim


def test_what_needs_attention_is_a_warning() -> None:
    steps = samples.steps()
    steps["lock"]["did"] = ["removed the lock of the dead run X"]
    steps["lock"]["left_behind"] = [r"D:\s\Y of a dead run is left behind"]
    steps["configuration"]["files"][0]["left_out"] = [
        {"path": r"C:\Keys\a", "reason": "file_locked", "why": r"C:\Keys\a is held"}
    ]
    steps["drain"].update(forced=True, running=[{"name": "AlteryxEngineCmd.exe", "process_id": 7, "started": NOW}])
    steps["restore"]["service"]["state"] = "StartPending"
    warnings = [line.partition("WARNING ")[2] for line in lines(steps) if " WARNING " in line]
    assert warnings[:5] == [
        "node1 lock: removed the lock of the dead run X", r"node1 lock: D:\s\Y of a dead run is left behind",
        "node1 drain: going on although workflows run: AlteryxEngineCmd.exe (7)",
        "node1 restore: AlteryxService is StartPending, process 4812",
        r"node1 configuration: NOT in this backup (keys): C:\Keys\a is held",
    ]  # fmt: skip

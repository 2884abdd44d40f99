# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run says about itself in the end: never better than its evidence, and always what to do next."""

from __future__ import annotations

import copy
import json
import typing as t

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import EXIT_CODES, REASONS
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._report import _interruption, _log, _report
from tests.unit.plugins import samples
from tests.unit.plugins.plugin_utils._report.test_retention import verdict_of_set

NOW = "2026-09-01T02:05:00.000Z"
CLOCK = 1300.0
MODES = ("full", "database", "config")
Steps = dict[str, dict[str, t.Any]]


def outcome(steps: Steps, mode: str = "full", check_mode: bool = False) -> dict[str, t.Any]:
    """The outcome of a run over one node."""
    composed = _report.compose(mode, {"node1": steps}, check_mode, NOW, CLOCK)
    json.loads(_report.json_text(composed))  # it can be written whatever happened
    assert _report.summary(composed, "runs/x")
    assert _log.text(composed, {"node1": steps}).endswith("\n")
    return composed


def broken(step: str, failure: dict[str, t.Any], mode: str = "full") -> Steps:
    """A run that failed at a step: what comes before went well, restore and release ran all the
    same, the rest never did."""
    answer: Steps = {}
    seen = False
    for name, result in samples.steps(mode).items():
        if name == step:
            seen = True
            answer[name] = failure
        elif not seen or (name in ("restore", "release") and step in ("drain", "lease", "window")):
            answer[name] = result
    assert seen
    return answer


@pytest.mark.parametrize("mode", MODES)
def test_a_run_with_all_its_evidence_is_ok(mode: str) -> None:
    composed = outcome(samples.steps(mode), mode)
    assert (composed["verdict"], composed["exit_code"], composed["failures"], composed["hint"]) == ("OK", 0, [], "")
    assert composed["fleet"] == "alteryx_prod"
    assert composed["run_id"] == composed["name"] == samples.RUN_ID
    assert composed["nodes"]["node1"]["verdict"] == "good"
    assert composed["downtime"] == (samples.DOWNTIME if mode != "config" else dict.fromkeys(samples.DOWNTIME, 0.0))


def test_a_run_that_goes_on_with_the_dump_of_another_has_stopped_nothing_and_says_so() -> None:
    steps = samples.steps()
    for step in ("drain", "lease", "gate", "restore", "release"):
        del steps[step]
    steps["dump_recovery"] = {"changed": False, "did": [], "left_behind": [], "kept": samples.RUN_ID, "archives": []}
    steps["window"] |= {"dump_of_run": "Full_20260901_010000_0001", "data_as_of": "2026-09-01T01:04:11.000Z"}
    composed = outcome(steps)
    assert (composed["verdict"], composed["downtime"]["total"]) == ("OK", 0)
    assert composed["nodes"]["node1"]["service_after"] == "not touched"
    summary = _report.summary(composed, "runs/x")
    assert "that of the run Full_20260901_010000_0001: data as of 2026-09-01T01:04:11.000Z" in summary
    assert "downtime" not in summary


def test_skipped_secrets_are_good_but_said() -> None:
    composed = outcome(samples.steps(secrets="skip", recipients=[]))
    assert composed["verdict"] == "OK"
    assert any("not in this backup" in warning for warning in composed["warnings"])


EVIDENCE = {
    "full": [
        "window",
        "window.restored",
        "restore",
        "configuration",
        "archive",
        "archive.archive_sha256",
        "archive.secrets",
        "verify",
        "verify.verdict",
    ],
    "database": [
        "window",
        "window.restored",
        "restore",
        "archive",
        "archive.archive_sha256",
        "verify",
        "verify.verdict",
    ],
    "config": ["configuration", "archive", "archive.archive_sha256", "archive.secrets", "verify", "verify.verdict"],
}


def without(steps: Steps, evidence: str) -> None:
    step, _unused, key = evidence.partition(".")
    if key:
        steps.get(step, {}).pop(key, None)
    else:
        steps.pop(step, None)


@pytest.mark.parametrize(("mode", "evidence"), [(mode, evidence) for mode in MODES for evidence in EVIDENCE[mode]])
def test_a_run_that_lacks_evidence_is_never_ok_although_nothing_failed(mode: str, evidence: str) -> None:
    steps = samples.steps(mode)
    without(steps, evidence)
    composed = outcome(steps, mode)
    assert composed["verdict"] == "FAILED"
    assert composed["exit_code"] != 0
    assert composed["node"] == "node1"


@given(
    st.sampled_from(MODES).flatmap(
        lambda mode: st.tuples(st.just(mode), st.sets(st.sampled_from(EVIDENCE[mode]), min_size=1))
    )
)
def test_the_more_evidence_is_missing_the_less_it_is_ok(lost: tuple[str, set[str]]) -> None:
    mode, evidence = lost
    steps = samples.steps(mode)
    for one in sorted(evidence):
        without(steps, one)
    assert outcome(steps, mode)["verdict"] == "FAILED"


@pytest.mark.parametrize("verdict", ["bad", "", None, "GOOD", "unknown"])
def test_only_a_good_verdict_is_good(verdict: str | None) -> None:
    steps = samples.steps()
    steps["verify"]["verdict"] = verdict
    assert outcome(steps)["verdict"] == "FAILED"


def test_a_service_not_seen_running_is_7_although_no_step_failed() -> None:
    steps = samples.steps()
    del steps["restore"]
    steps["window"]["restored"] = False
    composed = outcome(steps)
    assert (composed["exit_code"], composed["reason"], composed["step"]) == (7, "service_not_restored", "restore")
    assert "Start the service" in composed["hint"]


STEPS = {mode: [step for step in samples.steps(mode) if step != "set"] for mode in MODES}
ANY_STEP = st.sampled_from([(mode, step) for mode in MODES for step in STEPS[mode]])


@given(ANY_STEP, st.sampled_from(sorted(REASONS)))
def test_every_kind_of_failure_at_every_step_gives_its_code_and_hint(place: tuple[str, str], name: str) -> None:
    mode, step = place
    # The service was started again after the window had failed; see below.
    assume((step, name) != ("window", "service_not_restored"))
    reason = REASONS[name]
    composed = outcome(
        broken(step, samples.failed(name, reason.exit_code, "what happened", detail={"restored": True}), mode), mode
    )
    assert composed["verdict"] == "FAILED"
    assert composed["exit_meaning"] == EXIT_CODES[composed["exit_code"]].meaning
    assert composed["failures"][0] == {
        "node": "node1", "step": step, "reason": name, "exit_code": reason.exit_code, "message": "what happened",
        "hint": reason.hint,
    }  # fmt: skip
    if step != "restore" and name != "service_not_restored":
        assert (composed["exit_code"], composed["reason"], composed["step"], composed["hint"]) == (
            reason.exit_code,
            name,
            step,
            reason.hint,
        )
    assert composed["message"] in _report.summary(composed, "x")


@given(ANY_STEP, st.dictionaries(st.sampled_from(["reason", "message", "exit_code", "node"]), st.none()), st.booleans())
def test_failures_of_other_making_are_unexpected_and_keep_their_words(
    place: tuple[str, str], extra: dict[str, None], unreachable: bool
) -> None:
    mode, step = place
    result: dict[str, t.Any] = {
        "unreachable" if unreachable else "failed": True,
        "msg": "Traceback:\n  line two",
        "changed": False,
    }
    result.update(extra)
    composed = outcome(broken(step, result, mode), mode)
    assert composed["verdict"] == "FAILED"
    first = composed["failures"][0]
    assert first["message"] == "Traceback: line two"
    assert first["exit_code"] in EXIT_CODES
    assert first["exit_code"] != 0
    assert first["node"] == "node1"


@given(st.sampled_from(["window", "restore"]), st.sampled_from(sorted(REASONS)), st.sampled_from(sorted(REASONS)))
def test_whatever_breaks_the_window_a_service_not_seen_back_is_7(step: str, first: str, second: str) -> None:
    steps = broken("window", samples.failed(first, REASONS[first].exit_code, detail={"restored": False}))
    steps["restore"] = samples.failed(second, REASONS[second].exit_code, "the start failed")
    if step == "restore":
        del steps["restore"]
    composed = outcome(steps)
    assert composed["exit_code"] == 7
    said = [name for name in ([first] if step == "restore" else [first, second]) if REASONS[name].exit_code == 7]
    # HOLD is a better word for it than that nothing is known.
    assert composed["reason"] == (said[0] if said else "service_not_restored")
    assert sum(failure["exit_code"] == 7 for failure in composed["failures"]) == max(1, len(said))


GAVE_UP = samples.failed(
    "service_not_restored",
    7,
    "AlteryxService is not Running again",
    detail={"restored": False, "downtime": samples.DOWNTIME},
)


def test_a_service_the_window_gave_up_and_the_next_step_brought_back_is_2() -> None:
    steps = broken("window", GAVE_UP)
    steps["restore"] = {**steps["restore"], "changed": True, "before": "StartPending"}
    composed = outcome(steps)
    assert (composed["verdict"], composed["exit_code"], composed["reason"], composed["step"]) == (
        "FAILED",
        2,
        "service_restored_late",
        "window",
    )
    assert [failure["exit_code"] for failure in composed["failures"]] == [2]
    assert composed["message"].startswith("AlteryxService is not Running again; ")
    # The hint does not tell the operator to start a service that is running.
    assert "Start the service" not in _report.summary(composed, "x")
    assert composed["nodes"]["node1"]["service_after"] == "Running"
    assert composed["downtime"] == samples.DOWNTIME


@pytest.mark.parametrize(
    "restore",
    [
        None, {}, {"service": {}}, {"service": None}, {"service": {"state": "Stopped"}},
        {"service": {"state": "StartPending"}}, samples.failed("connection_lost", 1), {"unreachable": True, "msg": "x"},
        {"failed": True, "msg": "x", "service": {"state": "Running"}},
        samples.failed("service_not_restored", 7, detail={"service": {"state": "Running"}}),
    ],
)  # fmt: skip
def test_a_service_the_window_gave_up_stays_7_unless_it_was_seen_running(restore: dict[str, t.Any] | None) -> None:
    steps = broken("window", GAVE_UP)
    del steps["restore"]
    if restore is not None:
        steps["restore"] = restore
    assert (outcome(steps)["exit_code"], outcome(steps)["reason"]) == (7, "service_not_restored")


def test_a_service_that_came_back_and_was_lost_again_is_7() -> None:
    steps = broken("window", GAVE_UP)
    steps["release"] = samples.failed("service_not_restored", 7, "AlteryxService is Stopped and was Running before")
    composed = outcome(steps)
    assert (composed["exit_code"], composed["step"]) == (7, "release")


def test_a_service_a_person_keeps_down_is_7_also_when_the_next_step_found_it_running() -> None:
    assert outcome(broken("window", samples.failed("held_by_operator", 7)))["reason"] == "held_by_operator"


@pytest.mark.parametrize("lost", [samples.failed("connection_lost", 1), {"unreachable": True, "msg": "timed out"}])
def test_a_node_lost_in_the_window_is_1_when_its_service_was_seen_back_and_7_when_not(lost: dict[str, t.Any]) -> None:
    steps = broken("window", lost)
    assert (outcome(steps)["exit_code"], outcome(steps)["reason"]) == (1, "connection_lost")
    steps["restore"] = lost
    del steps["release"]
    composed = outcome(steps)
    assert (composed["exit_code"], composed["reason"]) == (7, "service_not_restored")
    assert [failure["reason"] for failure in composed["failures"]] == [
        "connection_lost",
        "connection_lost",
        "service_not_restored",
    ]


def test_a_window_that_saw_its_service_back_is_believed_when_the_node_is_lost_afterwards() -> None:
    steps = samples.steps()
    steps["restore"] = samples.failed("connection_lost", 1)
    assert outcome(steps)["exit_code"] == 1


def test_a_node_that_never_answered_is_3() -> None:
    steps = broken("facts", {"unreachable": True, "msg": "no route"})
    assert (outcome(steps)["exit_code"], outcome(steps)["reason"]) == (3, "unreachable")


def test_before_the_window_a_lost_node_is_no_7() -> None:
    for step in ("drain", "lease"):
        steps = broken(step, samples.failed("connection_lost", 1))
        steps["restore"] = samples.failed("connection_lost", 1)
        assert outcome(steps)["exit_code"] == 1


def test_7_outranks_the_first_cause_and_both_are_said() -> None:
    steps = broken("window", samples.failed("dump_failed", 5, "the tool said no"))
    steps["restore"] = samples.failed(
        "service_not_restored", 7, "AlteryxService is Stopped", detail={"service": {"state": "Stopped"}}
    )
    composed = outcome(steps)
    assert (composed["exit_code"], composed["reason"]) == (7, "service_not_restored")
    assert [failure["reason"] for failure in composed["failures"]] == ["dump_failed", "service_not_restored"]
    assert composed["nodes"]["node1"]["service_after"] == "Stopped"
    text = _report.summary(composed, "x")
    assert "the tool said no" in text
    assert "Start the service" in text


def test_the_first_failure_is_the_cause_of_what_follows() -> None:
    steps = broken("window", samples.failed("dump_failed", 5))
    steps["release"] = samples.failed("unexpected", 1)
    assert outcome(steps)["reason"] == "dump_failed"


def test_what_one_node_reports_for_all_is_said_once() -> None:
    failure = samples.failed("several_fleets", 3)
    composed = _report.compose(
        "full", {host: {"request": failure} for host in ("node1", "node2", "node3")}, False, NOW, CLOCK
    )
    assert len(composed["failures"]) == 1
    log = _log.text(composed, {host: {"request": failure} for host in ("node1", "node2")})
    assert log.count("it went wrong") == 1


def test_failures_come_in_the_order_of_the_sequence_whatever_the_node() -> None:
    one = broken("verify", samples.failed("archive_bad", 3, "verify one"))
    two = broken("archive", samples.failed("archive_failed", 4, "archive two", node="node2"))
    composed = _report.compose("full", {"node1": one, "node2": two}, False, NOW, CLOCK)
    assert [failure["message"] for failure in composed["failures"]] == ["archive two", "verify one"]
    assert composed["exit_code"] == 4


@pytest.mark.parametrize("mode", [*MODES, "fulll", ""])
@pytest.mark.parametrize("results", [{}, {"node1": {}}])
def test_a_run_without_a_plan_is_never_ok(mode: str, results: dict[str, Steps]) -> None:
    composed = _report.compose(mode, results, False, NOW, CLOCK)
    assert (composed["verdict"], composed["exit_code"]) == ("FAILED", 1)
    assert "before it had a plan" in composed["message"]
    assert (composed["reason"], composed["exit_code"]) == ("run_incomplete", 1)
    assert composed["name"].endswith("_20260901_020500_0000")
    assert composed["mode"] == mode
    assert "control node" in _report.summary(composed, "x")


def test_a_failure_before_the_plan_keeps_its_own_code() -> None:
    composed = outcome({"request": samples.failed("invalid_mode", 6)}, "fulll")
    assert composed["exit_code"] == 6
    assert composed["nodes"]["node1"]["service_after"] == "not touched"


@pytest.mark.parametrize("mode", MODES)
def test_check_mode_predicts_and_claims_no_backup(mode: str) -> None:
    steps = samples.steps(mode)
    steps.pop("window", None)
    steps["archive"] = {"changed": True, "archive": r"E:\x.zip"}
    steps["verify"] = {"changed": True}
    composed = outcome(steps, mode, check_mode=True)
    assert (composed["verdict"], composed["exit_code"]) == ("PREDICTED", 0)
    node = composed["nodes"]["node1"]
    assert node["verdict"] == "not verified"
    # As a run would do it.
    assert node["secrets"] is (mode != "database")
    assert "sha256" not in _report.summary(composed, "x")


@pytest.mark.parametrize("reached", [True, False])
def test_a_prediction_that_failed_claims_no_backup_either(reached: bool) -> None:
    steps = samples.steps()
    steps["verify"] = samples.failed("unexpected", 1)
    steps["archive"] = {"changed": True, "archive": r"E:\x.zip"}
    if not reached:
        del steps["archive"], steps["verify"]
    composed = outcome(steps, check_mode=True)
    assert composed["verdict"] == "FAILED"
    assert composed["nodes"]["node1"]["secrets"] is reached
    assert "sha256" not in _report.summary(composed, "x")


def test_check_mode_stops_nothing_so_nothing_can_be_left_down() -> None:
    steps = samples.steps()
    steps["window"] = {"changed": True}
    steps["restore"] = samples.failed("connection_lost", 1)
    assert outcome(steps, check_mode=True)["exit_code"] == 1


def test_a_node_from_which_nothing_is_taken_needs_no_archive() -> None:
    results = {
        "node1": samples.steps("database"),
        "worker1": {"stop": {"service": {"state": "Stopped"}}, "restore": {"service": {"state": "Running"}}},
    }
    plan = results["node1"]["plan"]["plan"]
    plan["nodes"]["worker1"] = {**plan["nodes"]["node1"], "roles": ["worker"], "dumps": False, "secrets": []}
    composed = _report.compose("database", results, False, NOW, CLOCK)
    assert composed["failures"] == []
    assert composed["verdict"] == "OK"


def test_a_planned_node_without_any_result_is_missed() -> None:
    results = {"node1": samples.steps()}
    plan = results["node1"]["plan"]["plan"]
    plan["nodes"]["worker1"] = {**plan["nodes"]["node1"], "dumps": False}
    composed = _report.compose("full", results, False, NOW, CLOCK)
    assert {failure["node"] for failure in composed["failures"]} == {"worker1"}


@pytest.mark.parametrize(
    ("failure", "verdict"),
    [
        (samples.failed("archive_bad", 3), "bad"), (samples.failed("archive_incomplete", 3), "bad"),
        (samples.failed("connection_lost", 1), "not verified"), (samples.failed("job_died", 1), "not verified"),
        ({"unreachable": True, "msg": "x"}, "not verified"),
    ],
)  # fmt: skip
def test_an_archive_is_called_bad_only_by_a_verification_that_read_it(failure: dict[str, t.Any], verdict: str) -> None:
    assert outcome(broken("verify", failure))["nodes"]["node1"]["verdict"] == verdict


def test_processes_before_and_after_are_told() -> None:
    node = outcome(samples.steps())["nodes"]["node1"]
    assert (node["service_before"], node["service_after"]) == ("Running", "Running")
    assert (node["process_before"]["process_id"], node["process_after"]["process_id"]) == (4711, 4812)
    assert outcome(samples.steps("config"), "config")["nodes"]["node1"]["service_after"] == "not touched"


def test_the_summary_of_a_fleet_begins_with_the_downtime_of_the_ui_and_has_that_of_each_node() -> None:
    composed = outcome(samples.steps())
    assert f"downtime {composed['downtime']['total']:.1f} s = " in _report.summary(composed, "x")
    assert composed["users_downtime"] == {"node": "node1", "total": composed["downtime"]["total"]}
    down = {**composed["downtime"], "total": 99.25, "rest": 58.0}
    composed["nodes"]["node2"] = {**composed["nodes"]["node1"], "roles": ["ui"], "downtime": down}
    composed["users_downtime"] = {"node": "node2", "total": 99.25}
    lines = _report.summary(composed, "x").splitlines()
    assert lines[1] == " users    were without the UI for 99.2 s (node2)"
    assert any("node1" in line and "+ dump 30.0 +" in line for line in lines)
    assert any("node2" in line and "+ wait for others 58.0 +" in line for line in lines)


def test_the_downtime_of_a_failed_window_is_told() -> None:
    composed = outcome(
        broken("window", samples.failed("dump_failed", 5, detail={"downtime": samples.DOWNTIME, "restored": True}))
    )
    assert composed["downtime"] == samples.DOWNTIME


def test_what_is_left_out_of_the_backup_or_left_behind_on_the_node_is_a_warning() -> None:
    steps = samples.steps()
    steps["lock"]["left_behind"] = [r"D:\s\Full_1 of a dead run is left behind"]
    steps["configuration"]["files"][0]["left_out"] = [
        {"path": f"k{n}", "reason": "file_locked", "why": f"k{n} is held"} for n in range(5)
    ]
    warnings = outcome(steps)["warnings"]
    assert r"node1: D:\s\Full_1 of a dead run is left behind" in warnings
    assert "node1: NOT in this backup (keys): k0 is held; k1 is held; k2 is held and 2 more" in warnings
    assert outcome(steps)["verdict"] == "OK"


def test_warnings_of_certificates_and_nodes_reach_the_operator() -> None:
    steps = samples.steps(recipients=[{"pem": "P", "sha256": "s", "subject": "CN=x", "warning": "it expires soon"}])
    steps["plan"]["plan"]["nodes"]["node1"]["warnings"] = ["the service is Stopped already"]
    steps["mongodb"] = {"remarks": ["mongodump is too old"]}
    composed = outcome(steps)
    assert composed["warnings"] == [
        "it expires soon",
        "node1: the service is Stopped already",
        "node1: mongodump is too old",
        "node1: ad_groups could not be read: Invalid class",
    ]
    assert "it expires soon" in _report.summary(composed, "x")
    assert "WARNING - report: it expires soon" in _log.text(composed, {"node1": steps})


def test_a_run_that_was_refused_before_it_had_an_id_is_named_by_the_folder_of_its_report() -> None:
    steps = {"request": samples.failed("no_recipient", 3)}
    composed = outcome(steps)
    assert composed["run_id"] == ""
    assert f"id={composed['name']}  exit code 3" in _report.summary(composed, "x")
    assert f"run {composed['name']}, mode full" in _log.text(composed, {"node1": steps})


def with_events(*texts: str, **places: t.Any) -> dict[str, t.Any]:
    """A list of events of a node, as results have it."""
    events = [{"at": NOW, "level": "WARNING", "text": text} for text in texts]
    return {"events": [{"at": NOW, "level": "INFO", "text": "stopping"}, *events], **places}


def test_every_warning_of_the_log_of_a_node_is_in_outcome_and_summary_once() -> None:
    steps = samples.steps()
    steps["lock"] |= {"did": ["released the lease of the run X"], **with_events("its task was started again")}
    steps["window"] |= with_events("a start request was refused: 1056", "a start request was refused: 1056")
    composed = outcome(steps)
    assert composed["warnings"] == [
        "node1: its task was started again",
        "node1: released the lease of the run X",
        "node1: a start request was refused: 1056",
        "node1: ad_groups could not be read: Invalid class",
    ]
    log = _log.text(composed, {"node1": steps})
    said = {f"{line.split(' ')[2]}: {line.partition(': ')[2]}" for line in log.splitlines() if " WARNING " in line}
    assert said == set(composed["warnings"])
    text = _report.summary(composed, "x")
    assert [text.count(f" warning  {words}\n") for words in composed["warnings"]] == [1, 1, 1, 1]


@pytest.mark.parametrize("step", ["lock", "window"])
def test_a_step_that_failed_still_says_what_it_warned_of(step: str) -> None:
    detail = {"did": ["ended the job J"], "remarks": ["the dump is not proved"], **with_events("no heartbeat")}
    steps = broken(step, samples.failed("dump_failed", 5, detail=detail))
    warnings = outcome(steps)["warnings"]
    assert "node1: no heartbeat" in warnings
    assert ("node1: ended the job J" if step == "lock" else "node1: the dump is not proved") in warnings


def test_the_summary_says_once_what_failed_alike_on_several_nodes() -> None:
    refused = {host: {"facts": samples.failed("unreachable", 1, node=host)} for host in ("w0", "w1", "w2")}
    composed = _report.compose("full", refused, False, NOW, CLOCK)
    assert len(composed["failures"]) == 3
    lines = _report.summary(composed, "x").splitlines()
    assert [line.partition(": ")[0] for line in lines if ", step " in line] == [" w0, w1, w2, step facts"]
    assert lines[0].startswith("BACKUP REFUSED, nothing was touched  mode=full  id=")


def test_the_summary_says_once_what_several_nodes_warn_of_and_of_each_only_a_few() -> None:
    composed = outcome(samples.steps())
    composed["nodes"] = {f"w{n}": composed["nodes"]["node1"] for n in range(12)}
    composed["warnings"] = [f"w{n}: the clock is off" for n in range(12)] + [f"w0: file {n}" for n in range(20)]
    composed["warnings"] += ["it expires soon", f"w1: {'x ' * 400}"]
    lines = [line for line in _report.summary(composed, "x").splitlines() if line.startswith(" warning")]
    assert lines[0] == " warning  w0, w1, w2, w3, w4, w5, w6, w7 and 4 more: the clock is off"
    assert lines[1:8] == [f" warning  w0: file {n}" for n in range(7)]
    assert lines[8] == " warning  it expires soon"
    assert len(lines[9]) < 330
    assert lines[10:] == [" warning  w0: 13 more warnings are in outcome.json and in the log"]


def test_the_log_of_a_node_has_no_warnings_of_others() -> None:
    steps = samples.steps()
    steps["plan"]["plan"]["warnings"] = ["the fleet is partial"]
    other = copy.deepcopy(steps)
    for result in other.values():
        result["node"] = "node2"
    results = {"node1": steps, "node2": other}
    composed = _report.compose("full", results, False, NOW, 1300.0)
    composed["warnings"] += ["node2: of its plan"]
    log = _log.text(composed, results, "node1")
    assert "WARNING - report: the fleet is partial" in log
    assert "node2: of its plan" not in log
    assert "WARNING - report: node2: of its plan" in _log.text(composed, results, "node2")


def test_the_summary_of_a_good_run_says_verdict_downtime_sizes_place_and_state() -> None:
    text = _report.summary(outcome(samples.steps()), "/runs/x")
    for piece in (
        f"BACKUP OK  alteryx_prod  mode=full  id={samples.RUN_ID}",
        "downtime 41.0 s = stop 3.0 + dump 30.0 + start 7.8 + rest 0.2", "Running -> Running",
        rf"{samples.ARCHIVES}\node1\ServerBackup_Full_{samples.STAMP}.zip", "dump 12.8 MB", "archive 5.1 MB",
        "45 files", "9c1e9c1e9c1e...", "good", "secrets encrypted beside it", "/runs/x",
    ):  # fmt: skip
        assert piece in text
    assert "next" not in text


def test_composing_changes_nothing_it_was_given() -> None:
    steps = samples.steps()
    before = copy.deepcopy(steps)
    outcome(steps)
    assert steps == before


def test_the_set_is_named_like_its_archives() -> None:
    assert _report.set_name(samples.plan("database")) == f"ServerBackup_DB_{samples.STAMP}"


FLEET = ("node1", "node2")


def two_nodes(**failed: t.Any) -> dict[str, Steps]:
    """A controller and a second node with files of its own; failed: node -> steps."""
    results = {"node1": samples.steps(), "node2": samples.steps()}
    plan = results["node1"]["plan"]["plan"]
    plan["nodes"]["node2"] = {
        **plan["nodes"]["node1"],
        "name": "node2",
        "dumps": False,
        "secrets": [],
        "archive_folder": rf"{samples.ARCHIVES}\node2",
    }
    for result in results["node2"].values():
        result["node"] = "node2"
    for step in ("request", "plan", "gate"):
        results["node2"][step] = results["node1"][step]
    del results["node2"]["window"]
    return {**results, **failed}


def test_set_and_log_lie_beside_the_archives_of_the_controller_and_a_log_of_its_own_beside_those_of_every_node() -> (
    None
):
    results = two_nodes()
    log = f"BackupLog_Full_{samples.STAMP}.log"
    published = _report.list_publications(results, _report.compose("full", results, False, NOW, CLOCK), False)
    assert {host: (lay["folder"], set(lay["files"])) for host, lay in published.items()} == {
        "node1": (samples.ARCHIVES, {f"ServerBackup_Full_{samples.STAMP}.set.json", log, rf"node1\{log}"}),
        "node2": (samples.ARCHIVES, {rf"node2\{log}"}),
    }
    of_fleet, of_two = published["node1"]["files"][log], published["node2"]["files"][rf"node2\{log}"]
    assert " node1 window: " in of_fleet
    assert " node2 archive: " in of_fleet
    assert " node1 window: " not in of_two
    assert " node2 archive: " in of_two
    assert " node1 plan: " in of_two  # made by one for all


@pytest.mark.parametrize(
    ("step", "reason"), [("hook", "hook_failed"), ("health", "controller_silent"), ("resume", "schedules_not_resumed")]
)
def test_a_failure_that_is_about_the_services_costs_a_complete_set_nothing(step: str, reason: str) -> None:
    failed = samples.failed(reason, 1)

    def verdict(results: dict[str, t.Any]) -> str:
        composed = _report.compose("full", {"node1": results}, False, NOW, CLOCK)
        assert composed["verdict"] == "FAILED"
        return verdict_of_set(composed, results)

    assert verdict({**samples.steps(), step: failed}) == "OK"
    # The run did not come to the verification, or took no configuration.
    for lost in ("verify", "configuration"):
        lacking = {name: result for name, result in samples.steps().items() if name != lost}
        assert verdict({**lacking, step: failed}) == "FAILED"


def test_without_an_archive_the_log_of_a_node_lies_in_its_state_folder() -> None:
    results = {"node1": broken("drain", samples.failed("drain_timeout", 2))}
    composed = _report.compose("full", results, False, NOW, CLOCK)
    lay = _report.list_publications(results, composed, False)["node1"]
    assert (lay["folder"], list(lay["files"])) == (
        rf"{samples.STATE_FOLDER}\logs",
        [f"BackupLog_Full_{samples.STAMP}.log"],
    )
    assert "drain_timeout" in lay["files"][f"BackupLog_Full_{samples.STAMP}.log"]
    assert _report.list_publications(results, composed, True) == {}


def test_the_length_of_a_run_does_not_hang_on_the_wall_clock() -> None:
    composed = _report.compose("full", {"node1": samples.steps()}, False, "2026-08-31T23:00:00.000Z", 1061.5)
    assert composed["seconds"] == 61.5


@pytest.mark.parametrize("step", ["request", "facts", "plan", "lock"])
def test_a_run_that_has_not_begun_on_a_node_leaves_nothing_there(step: str) -> None:
    results = {"node1": broken(step, samples.failed("run_locked", 8))}
    assert _report.list_publications(results, _report.compose("full", results, False, NOW, CLOCK), False) == {}


def worker(**failed: t.Any) -> dict[str, t.Any]:
    """The steps of a node beside the controller that was down from 02:00:00 to 02:01:00."""
    steps = samples.steps()
    kept = {
        name: steps[name]
        for name in ("facts", "lock", "drain", "lease", "restore", "release", "configuration", "archive", "verify")
    }
    stop = {
        "states": [
            {"state": "StopPending", "at": "2026-09-01T02:00:00.000Z"},
            {"state": "Stopped", "at": "2026-09-01T02:00:04.000Z"},
        ],
        "service": {"state": "Stopped"},
    }
    back = {
        "states": [
            {"state": "Stopped", "at": "2026-09-01T02:00:53.000Z"},
            {"state": "Running", "at": "2026-09-01T02:01:00.000Z"},
        ]
    }
    restored = {**kept.pop("restore"), **back}
    before = {name: kept.pop(name) for name in ("facts", "lock", "drain", "lease")}
    return {**before, "stop": stop, "restore": restored, **kept, **failed}


def fleet(**failed: t.Any) -> dict[str, Steps]:
    steps = samples.steps()
    plan = copy.deepcopy(steps["plan"]["plan"])
    plan["nodes"]["worker1"] = {
        **plan["nodes"]["node1"],
        "name": "worker1",
        "roles": ["worker"],
        "dumps": False,
        "secrets": [],
    }
    steps["plan"] = {"plan": plan}
    return {"node1": steps, "worker1": worker(**failed)}


def composed(results: dict[str, Steps]) -> dict[str, t.Any]:
    return _report.compose("full", results, False, NOW, 1300.0)


def test_the_downtime_of_a_node_beside_the_controller_is_that_between_its_own_states() -> None:
    made = composed(fleet())
    assert made["exit_code"] == 0
    assert made["nodes"]["worker1"]["downtime"] == {"total": 60.0, "stop": 4.0, "dump": 0.0, "start": 7.0, "rest": 49.0}
    assert made["downtime"] == samples.DOWNTIME


def test_the_downtime_of_a_node_that_others_have_started_ends_with_the_birth_of_its_process() -> None:
    service = {"state": "Running", "started": "2026-09-01T02:00:40.000Z", "process_id": 7}
    made = composed(fleet(restore={"changed": False, "goal": "Running", "states": [], "service": service}))
    assert made["nodes"]["worker1"]["downtime"]["total"] == 40.0


def test_the_downtime_of_a_node_that_its_follower_has_started_ends_when_that_saw_it_running() -> None:
    service = {"state": "Running", "started": "2026-09-01T02:00:40.000Z", "process_id": 7}
    states = [
        {"state": "Stopped", "at": "2026-09-01T02:00:38.000Z"},
        {"state": "Running", "at": "2026-09-01T02:00:45.000Z"},
    ]
    made = composed(
        fleet(
            restore={"changed": False, "goal": "Running", "states": [], "service": service},
            release={"changed": True, "states": states, "why": "the controller has been down and answers again"},
        )
    )
    assert (made["nodes"]["worker1"]["downtime"]["total"], made["nodes"]["worker1"]["downtime"]["start"]) == (45.0, 7.0)


def test_a_node_that_was_to_be_stopped_and_shows_no_stop_is_missed() -> None:
    results = fleet()
    del results["worker1"]["stop"]
    assert [(failure["node"], failure["message"]) for failure in composed(results)["failures"]] == [
        ("worker1", "no proof that the service was stopped")
    ]


def test_a_node_whose_lease_was_taken_over_had_been_stopped_before() -> None:
    results = fleet()
    del results["worker1"]["stop"]
    results["worker1"]["lock"] = {**results["worker1"]["lock"], "adopted": "Full_20260901_010000_0001"}
    assert composed(results)["exit_code"] == 0


def test_a_stopped_node_not_seen_running_is_7() -> None:
    results = fleet()
    del results["worker1"]["restore"]
    made = composed(results)
    assert (made["exit_code"], made["node"]) == (7, "worker1")


def test_a_controller_on_standby_is_asked_for_no_proof_of_a_stop() -> None:
    results = fleet()
    results["node1"]["plan"]["plan"]["nodes"]["worker1"]["standby"] = True
    for step in ("lease", "stop", "restore", "release"):
        del results["worker1"][step]
    assert composed(results)["exit_code"] == 0


def test_failures_of_a_fleet_come_in_the_order_of_the_sequence() -> None:
    results = fleet(
        stop=samples.failed("stop_timeout", 2, node="worker1"),
        restore=samples.failed("service_not_restored", 7, node="worker1"),
    )
    made = composed(results)
    assert [failure["step"] for failure in made["failures"]] == ["stop", "restore"]
    assert made["exit_code"] == 7


def test_a_controller_that_does_not_answer_is_reported_and_ends_no_host() -> None:
    results = fleet()
    results["node1"]["health"] = {**samples.failed("controller_silent", 2)}
    assert composed(results)["reason"] == "controller_silent"
    assert not _report.ended_by_a_step(results)
    results["worker1"]["archive"] = samples.failed("archive_failed", 4)
    assert _report.ended_by_a_step(results)


PAUSED = [{"id": "a", "name": "Daily sales"}, {"id": "b", "name": ""}]


def with_schedules(resume: dict[str, t.Any] | None) -> Steps:
    """A good run that has paused schedules, and their result; None: the run did not try to enable them."""
    steps = samples.steps()
    steps["pause"] = {"changed": True, "schedules": PAUSED}
    return {**steps, "resume": resume} if resume else steps


def test_schedules_that_were_paused_and_enabled_again_are_told() -> None:
    steps = with_schedules({"changed": True, "schedules": PAUSED, "gone": [], "left": [], "did": []})
    composed = outcome(steps)
    assert (composed["exit_code"], composed["schedules"]) == (0, {"paused": 2, "resumed": 2, "left": []})
    assert "\n schedules 2 paused, 2 enabled again\n" in _report.summary(composed, "x")
    assert "SUCCESS node1 resume: enabled again: Daily sales, b" in _log.text(composed, {"node1": steps})


def test_schedules_that_are_still_paused_fail_the_run_and_are_named_and_end_no_host() -> None:
    detail = {"schedules": PAUSED[:1], "gone": [], "left": PAUSED[1:]}
    steps = with_schedules(
        samples.failed("schedules_not_resumed", 1, "these schedules are still paused: b", detail=detail)
    )
    composed = outcome(steps)
    assert (composed["exit_code"], composed["reason"], composed["schedules"]) == (
        1,
        "schedules_not_resumed",
        {"paused": 2, "resumed": 1, "left": ["b"]},
    )
    assert "schedules 2 paused, 1 enabled again, still paused: b" in _report.summary(composed, "x")
    assert not _report.ended_by_a_step({"node1": steps})


def test_a_run_that_does_not_show_that_schedules_are_enabled_again_is_never_ok() -> None:
    composed = outcome(with_schedules(None))
    assert composed["failures"][0]["message"] == "no proof that the paused schedules were enabled again"
    assert composed["schedules"]["left"] == ["Daily sales", "b"]


def test_a_prediction_leaves_no_schedule_paused() -> None:
    nothing = {"changed": False, "schedules": [], "gone": [], "left": [], "did": []}
    for steps in (with_schedules(None), with_schedules(nothing)):
        composed = outcome(steps, check_mode=True)
        assert composed["schedules"] == {"paused": 2, "resumed": 0, "left": []}
        assert "schedules 2 would be paused" in _report.summary(composed, "x")
    assert "schedules" not in _report.summary(outcome(samples.steps()), "x")


def test_what_a_dead_run_has_left_paused_and_nobody_could_enable_is_told() -> None:
    steps = samples.steps("config")
    steps["facts"]["schedules_left"] = (
        '{"schema": 1, "run_id": "dead", "base": "https://h/webapi", "schedules": [{"id": "a", "name": "Daily sales"}]}'
    )
    assert outcome(steps, "config")["schedules"] == {"paused": 0, "resumed": 0, "left": ["Daily sales"]}
    assert " schedules still paused: Daily sales" in _report.summary(outcome(steps, "config"), "x")
    steps["resume"] = {"changed": True, "schedules": PAUSED[:1], "gone": [], "left": [], "did": []}
    assert outcome(steps, "config")["schedules"] == {"paused": 0, "resumed": 1, "left": []}
    steps["facts"]["schedules_left"] = "{"
    assert (
        outcome({name: result for name, result in steps.items() if name != "resume"}, "config")["schedules"]["left"]
        == []
    )


def test_an_interrupted_run_says_what_continues_on_each_node_in_a_line_of_its_own() -> None:
    lease = {"lease": samples.steps("full")["lease"], "lock": samples.steps("full")["lock"]}
    results = {"node1": lease, "node2": {"lock": lease["lock"]}, "node3": {}}
    lines = _interruption.describe_nodes(results)
    composed = _report.compose("full", results, False, NOW, CLOCK, interruption="interrupted", continues=lines)
    told = [line for line in _report.summary(composed, "runs/x").splitlines() if line.startswith(" now ")]
    assert [line.split()[1] for line in told] == ["node1:", "node2:"]
    assert "Its window job continues" in told[0]
    assert "The lock of this run stays" in told[0]
    assert told[1].endswith("node2: The lock of this run stays until recover.yml or the next run removes it.")
    for line in lines:
        assert f"WARNING - report: {line}\n" in _log.text(composed, results)


@pytest.mark.parametrize(
    ("step", "ended", "then"),
    [
        ("lock", (), "If it did, the lock of this run stays until recover.yml or the next run removes it."),
        (
            "unlock",
            ("lock",),
            "If it did not, the lock of this run stays until recover.yml or the next run removes it.",
        ),
        ("pause", (), "If it did, its schedules stay paused until recover.yml or the next run enables them."),
        ("resume", (), "If it did not, its schedules stay paused until recover.yml or the next run enables them."),
        ("configuration", ("lock",), "The lock of this run stays until recover.yml or the next run removes it."),
    ],
)
def test_it_is_not_known_whether_a_step_that_has_not_answered_took_effect(
    step: str, ended: tuple[str, ...], then: str
) -> None:
    steps = samples.steps()
    results = {"node1": {name: steps[name] for name in ("request", "facts", "plan", *ended)}}
    assert _interruption.describe_nodes(results, unanswered={"node1": (step, "Do it")}) == [
        f'node1: The task "Do it" has not answered, so it is not known whether it took effect. {then}'
    ]


def test_a_step_that_only_looks_and_a_prediction_have_changed_nothing() -> None:
    nothing = ["The run has changed nothing on any node."]
    for step in ("request", "facts", "plan", "mongodb"):
        assert _interruption.describe_nodes({"node1": {}}, unanswered={"node1": (step, "Look")}) == nothing
    results = {"node1": samples.steps()}
    del results["node1"]["unlock"], results["node1"]["release"]
    assert _interruption.describe_nodes(results, check_mode=True, unanswered={"node1": ("unlock", "x")}) == nothing


def test_a_backup_of_a_stand_in_says_that_it_is_simulated() -> None:
    steps = samples.steps("full")
    steps["facts"] = {**steps["facts"], "simulated": True}
    composed = outcome(steps)
    assert composed["verdict"] == "OK"
    assert " warning  node1: SIMULATED: this is a stand-in node" in _report.summary(composed, "runs/x")


def test_the_summary_says_for_each_reason_what_to_do_next_that_of_the_exit_code_first() -> None:
    steps = samples.steps()
    for step, name in (("copy", "copy_failed"), ("window", "dump_failed"), ("unlock", "copy_failed")):
        steps[step] = {"failed": True, "reason": name, "message": f"it is {name}", "node": "node1", "detail": {}}
    composed = outcome(steps)
    assert composed["reason"] == "dump_failed"
    summary = _report.summary(composed, "runs/x").splitlines()
    assert [line for line in summary if line.startswith(" next ")] == [
        f" next     {REASONS[name].hint}" for name in ("dump_failed", "copy_failed")
    ]

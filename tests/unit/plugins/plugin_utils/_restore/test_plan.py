# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What refuses a restore, what each node is told, and what its result says."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import StepFailed
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._restore import _job, _outcome, _perform, _plan

RUN = "Restore_20260901_020000_7f3a"
ROLLBACK = "Restore_20260902_020000_7f3a"
DATA = r"D:\Alteryx\MongoDB"
SETTINGS = r"C:\ProgramData\Alteryx\RuntimeSettings.xml"
KEYS = r"C:\ProgramData\Alteryx\Keys"
WORK = rf"C:\AlteryxOps.r\{RUN}"
ASKED = _plan.Asked("restore", "full", "alteryx_prod", ())
BACKUP = {"folder": r"D:\AlteryxBackups\ctl", "id": "ServerBackup_Full_20260901_010000"}


def facts(**changes: t.Any) -> dict[str, t.Any]:
    service = {"exists": True, "name": "AlteryxService", "state": "Running", "start_type": "Auto"}
    return {
        "alteryx": {
            "executable": r"C:\Alteryx\bin\AlteryxService.exe",
            "bin_folder": r"C:\Alteryx\bin",
            "version": "1",
        },
        "service": {**service, **changes.pop("service", {})},
        "database": {"folder": DATA},
        "hold": False,
        **changes,
    }


def record(**changes: t.Any) -> dict[str, t.Any]:
    entries = [
        {"path": DATA, "away": f"{DATA}.before_{RUN}", "new": "", "existed": True},
        {"path": SETTINGS, "away": f"{SETTINGS}.before_{RUN}", "new": f"{SETTINGS}.new_{RUN}", "existed": False},
    ]
    return {"run_id": RUN, "word": "committed", "verb": "restore", "of": "", "path": "x", "entries": entries, **changes}


def extracted(**changes: t.Any) -> dict[str, t.Any]:
    items = {"runtime_settings": SETTINGS, "keys": KEYS, "system_alias": r"C:\alias.xml", "something_later": r"C:\x"}
    return {
        "target": WORK,
        "configuration_folder": rf"{WORK}\files\configuration",
        "database_folder": rf"{WORK}\files\database",
        "collection_file": rf"{WORK}\collections.json",
        "configuration": [{"id": key, "source": path, "present": key != "system_alias"} for key, path in items.items()],
        "database": {"data_folder": r"E:\OfTheBackup"},
        "bytes": 1000,
        **changes,
    }


def arguments(**changes: t.Any) -> dict[str, t.Any]:
    node = {**_plan.plan_node("ctl", facts(), ["controller"], BACKUP, ASKED), **changes.pop("node", {})}
    limits = dict.fromkeys(("stop_timeout", "leftover_timeout", "start_timeout", "max_downtime", "restore_timeout"), 60)
    more = {"service_name": "AlteryxService", "batch_size": 0, "space_reserve": 5, "scope": "full", "run_id": RUN}
    return {**limits, **more, "node": node, "extracted": extracted(), **changes}


def reason_of(call: t.Callable[[], object]) -> str:
    with pytest.raises(StepFailed) as failure:
        call()
    return failure.value.reason.name


@pytest.mark.reaches("restore_unconfirmed")
@pytest.mark.parametrize("confirm", ["", "alteryx_lab", "ALTERYX_PROD"])
def test_only_the_name_of_the_fleet_confirms(confirm: str) -> None:
    asked = _plan.Asked("restore", "full", confirm, ())
    assert reason_of(lambda: _plan.check_confirmation(asked, "alteryx_prod")) == "restore_unconfirmed"
    _plan.check_confirmation(ASKED, "alteryx_prod")


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        pytest.param("committed", "restore_pending", marks=pytest.mark.reaches("restore_pending")),
        pytest.param("pending", "restore_unfinished", marks=pytest.mark.reaches("restore_unfinished")),
        ("undone", ""),
    ],
)
def test_a_restore_without_a_decision_refuses_another_one(word: str, reason: str) -> None:
    records = {"ctl": [], "worker": [record(word=word)]}
    if reason:
        assert reason_of(lambda: _plan.check_pending(records)) == reason
    else:
        _plan.check_pending(records)


def test_a_rollback_is_a_decision_and_one_that_was_undone_is_none() -> None:
    done, undone = (record(run_id=ROLLBACK, verb="roll_back", of=RUN, word=word) for word in ("committed", "undone"))
    _plan.check_pending({"ctl": [record(), done], "worker": [record(), done]})
    records = {"ctl": [record(), undone], "worker": [record()]}
    assert reason_of(lambda: _plan.check_pending(records)) == "restore_pending"
    assert set(_plan.find_rollback(records, RUN)) == {"ctl", "worker"}


def test_a_node_that_kept_its_files_in_a_rollback_is_named_and_the_fleet_can_be_restored_again() -> None:
    done, undone = (record(run_id=ROLLBACK, verb="roll_back", of=RUN, word=word) for word in ("committed", "undone"))
    records = {"ctl": [record(), done], "worker": [record(), undone]}
    with pytest.raises(StepFailed, match="rolled back already, but worker kept the restored files; restore the fleet"):
        _plan.find_rollback(records, RUN)
    _plan.check_pending(records)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param(
            {"service": {"start_type": "Disabled"}},
            "restore_service_disabled",
            marks=pytest.mark.reaches("restore_service_disabled"),
        ),
        pytest.param({"service": {"exists": False}}, "service_absent", marks=pytest.mark.reaches("service_absent")),
        ({"service": {"state": "Stopped"}}, ""),
        ({"service": {"state": "StopPending"}}, ""),
    ],
)
def test_a_service_that_could_not_be_started_refuses_and_a_broken_one_does_not(
    changes: dict[str, t.Any], reason: str
) -> None:
    if reason:
        assert reason_of(lambda: _plan.check_service({"ctl": facts(**changes)})) == reason
    else:
        _plan.check_service({"ctl": facts(**changes)})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param(
            {"cluster_resource": "Alteryx"}, "cluster_resource", marks=pytest.mark.reaches("cluster_resource")
        ),
        pytest.param(
            {"service": {"dependants": ["Monitor"]}},
            "dependants_running",
            marks=pytest.mark.reaches("dependants_running"),
        ),
    ],
)
def test_a_stop_with_other_effects_is_refused_unless_the_service_is_stopped(
    changes: dict[str, t.Any], reason: str
) -> None:
    assert reason_of(lambda: _plan.check_service({"ctl": facts(**changes)})) == reason
    stopped = {**changes, "service": {**changes.get("service", {}), "state": "Stopped"}}
    _plan.check_service({"ctl": facts(**stopped)})


@pytest.mark.reaches("several_fleets")
def test_a_controller_that_stands_by_is_left_out_by_the_operator() -> None:
    controller, worker = {"is_controller": True}, {"is_controller": False}
    _plan.check_controllers({"c1": controller, "w": worker})
    with pytest.raises(StepFailed, match=r"c1 and c2 are controllers .* alteryx_restore_without_nodes") as failure:
        _plan.check_controllers({"c1": controller, "w": worker, "c2": controller})
    assert failure.value.reason.name == "several_fleets"


def test_a_rollback_without_the_controller_is_refused() -> None:
    known, unknown = {"rolls_back": record()}, {"rolls_back": {}}
    _plan.check_rollback({"ctl": known, "w": unknown}, "ctl", RUN)
    with pytest.raises(StepFailed, match=r"on the controller ctl, but on w.* accept it") as failure:
        _plan.check_rollback({"ctl": unknown, "w": known}, "ctl", RUN)
    assert failure.value.reason.name == "restore_unknown"


@pytest.mark.reaches("hold_present")
def test_a_person_who_holds_a_node_refuses_its_restore() -> None:
    assert reason_of(lambda: _plan.check_hold({"ctl": facts(hold=True)})) == "hold_present"


@pytest.mark.reaches("restore_unknown")
def test_only_a_complete_restore_can_be_rolled_back_and_only_once() -> None:
    assert _plan.find_rollback({"ctl": [record()]}, RUN)["ctl"]["entries"]
    rolled = {"ctl": [record(), record(run_id=ROLLBACK, verb="roll_back", of=RUN)]}
    for records in (rolled, {"ctl": [record(word="undone")]}, {"ctl": []}):
        with pytest.raises(StepFailed) as failure:
            _plan.find_rollback(records, RUN)
        assert failure.value.reason.name == "restore_unknown"
    assert _plan.find_accepted(rolled, RUN) == ["ctl"]
    assert reason_of(lambda: _plan.find_accepted({"ctl": []}, "")) == "restore_unknown"


def test_nodes_stop_before_the_controller_and_unknown_ones_count_as_workers() -> None:
    roles = {"ctl": ["controller", "ui"], "ui": ["ui"], "worker": ["worker"], "broken": []}
    assert _plan.order_tiers(roles) == [["ui"], ["worker", "broken"], ["ctl"]]


def test_a_job_gets_every_file_of_the_backup_with_its_place_and_the_database() -> None:
    spec = _job.build_restore_spec(arguments())
    assert [(file["path"], file["away"]) for file in spec["files"]] == [
        (SETTINGS, f"{SETTINGS}.before_{RUN}"),
        (KEYS, f"{KEYS}.before_{RUN}"),
    ]
    assert spec["files"][1]["permissions"] == rf"{WORK}\files\configuration\Keys.sddl"
    database = spec["database"]
    assert (database["data_folder"], database["target"], database["new"]) == (DATA, DATA, "")
    assert database["away"] == f"{DATA}.before_{RUN}"


@pytest.mark.parametrize("folder", [r"D:\My Data\MongoDB", r"D:\a,b"])
def test_a_folder_that_emongorestore_does_not_take_is_restored_beside_itself(folder: str) -> None:
    database = _job.build_restore_spec(arguments(node={"data_folder": folder}))["database"]
    assert database["target"] == database["new"] == f"{folder}.new_{RUN}"


@pytest.mark.reaches("restore_folder_unknown")
def test_the_data_folder_is_that_of_the_settings_else_of_the_backup_else_of_the_operator() -> None:
    node = {"data_folder": "", "data_folder_wanted": r"F:\Wanted"}
    assert _job.find_data_folder({**node, "data_folder": "D:\\Now\\"}, extracted()) == r"D:\Now"
    assert _job.find_data_folder(node, extracted()) == r"E:\OfTheBackup"
    assert _job.find_data_folder(node, extracted(database=None)) == r"F:\Wanted"
    nothing = {**node, "data_folder_wanted": ""}
    assert reason_of(lambda: _job.find_data_folder(nothing, extracted(database={}))) == "restore_folder_unknown"


@pytest.mark.parametrize(("scope", "files", "database"), [("database", 0, True), ("configuration", 2, False)])
def test_a_part_is_all_that_the_job_gets(scope: str, files: int, database: bool) -> None:
    node = _plan.plan_node("ctl", facts(), ["controller"], BACKUP, _plan.Asked("restore", scope, "", ()))
    spec = _job.build_restore_spec({**arguments(scope=scope), "node": {**node, "data_folder_wanted": ""}})
    assert (len(spec["files"]), spec["database"] is not None) == (files, database)


def test_a_rollback_puts_back_what_was_moved_away_and_moves_away_what_was_brought() -> None:
    rollback = "Restore_20260902_020000_7f3a"
    spec = _job.build_rollback_spec(arguments(run_id=rollback, node={"rolls_back": record()}))
    assert spec["database"] is None
    assert [(file["path"], file["new"], file["away"]) for file in spec["files"]] == [
        (DATA, f"{DATA}.before_{RUN}", f"{DATA}.rolled_back_{rollback}"),
        # It was absent before the restore, so nothing comes to its place.
        (SETTINGS, "", f"{SETTINGS}.rolled_back_{rollback}"),
    ]


def test_the_parts_of_the_downtime_add_up_to_it() -> None:
    marks = {
        "stop_requested": 1.0, "stopped": 3.0, "database_began": 4.0, "database_ended": 10.0, "committed": 11.0,
        "start_requested": 11.0, "running": 15.0,
    }  # fmt: skip
    down = _job.read_result({"committed": True, "marks": marks}, _job.build_restore_spec(arguments()))["downtime"]
    assert down == {"total": 14.0, "stop": 2.0, "files": 2.0, "database": 6.0, "start": 4.0, "rest": 0.0}
    assert _job.read_result({}, _job.build_restore_spec(arguments()))["kept"] == []


# --- the outcome ----------------------------------------------------------------------------------------------------


def steps(**changes: t.Any) -> dict[str, dict[str, t.Any]]:
    """What a good restore of one node has registered."""
    node = _plan.plan_node("ctl", facts(), ["controller"], BACKUP, ASKED)
    plan = {
        "run_id": RUN, "verb": "restore", "scope": "full", "fleet": "alteryx_prod", "backup": {"name": BACKUP["id"]},
        "restore_id": "", "started": "2026-09-01T02:00:00.000Z", "begun": 100.0, "warnings": [], "nodes": {"ctl": node},
    }  # fmt: skip
    job = _job.read_result(
        {"committed": True, "restored": True, "collections": 14, "documents": 3994, "marks": {}},
        _job.build_restore_spec(arguments()),
    )
    found: dict[str, dict[str, t.Any]] = {
        "facts": facts(), "plan": {"plan": plan}, "lock": {"changed": True}, "lease": {"changed": True}, "job": job,
        "service": {"service": {"state": "Running"}, "restore": "committed"}, "release": {"changed": True},
    }  # fmt: skip
    return {**found, **changes}


def failed(reason: str, **detail: t.Any) -> dict[str, t.Any]:
    return {"failed": True, "reason": reason, "message": f"it is {reason}", "detail": detail, "node": "ctl"}


RUNNING = {"service": {"state": "Running"}}


class FailingWork:
    """A node whose job fails; see NodeWork."""

    check_mode = False

    def __init__(self, failure: StepFailed) -> None:
        self.failure = failure

    def call_node(self, arguments: t.Any, variables: t.Any, patience: float = 0.0) -> dict[str, t.Any]:
        raise AssertionError(arguments, variables, patience)

    def run_job(self, *arguments: t.Any) -> dict[str, t.Any]:
        raise self.failure

    def note_warning(self, host: str, text: str) -> None:
        raise AssertionError(host, text)


@pytest.mark.parametrize(
    ("reason", "report", "server"),
    [
        ("restore_failed", {"committed": False, "undone": []}, "old"),
        ("restored_not_started", {"committed": True, "undone": []}, "new"),
        ("connection_lost", {}, "not known"),
        ("job_timeout", {}, "not known"),
    ],
)
def test_what_a_job_that_is_lost_has_done_is_not_known(reason: str, report: dict[str, t.Any], server: str) -> None:
    work = FailingWork(StepFailed(reason, "it failed", report))
    with pytest.raises(StepFailed) as caught:
        _perform.perform(work, {**arguments(), "state": "restored"}, {"inventory_hostname": "ctl"})
    job = failed(caught.value.reason.name, **caught.value.detail)
    assert compose(job=job, service=failed("connection_lost"))["nodes"]["ctl"]["server"] == server


class AskedWork:
    """A node that answers to one call; see NodeWork."""

    check_mode = False

    def __init__(self) -> None:
        self.asked: dict[str, t.Any] = {}

    def call_node(self, arguments: t.Any, variables: t.Any, patience: float = 0.0) -> dict[str, t.Any]:
        assert not self.asked
        assert patience
        self.asked = dict(arguments)
        return {}

    def run_job(self, *arguments: t.Any) -> dict[str, t.Any]:
        raise AssertionError(arguments)

    def note_warning(self, host: str, text: str) -> None:
        raise AssertionError(host, text)


def test_room_for_the_database_is_looked_for_before_the_stop_without_a_job() -> None:
    work = AskedWork()
    result = _perform.perform(work, {**arguments(), "state": "checked"}, {"inventory_hostname": "ctl"})
    assert result["changed"] is False
    wanted = arguments()["extracted"]["bytes"]
    assert (work.asked["_data_folder"], work.asked["_bytes"]) == (facts()["database"]["folder"], str(wanted))
    assert work.asked["_reserve"] == str(arguments()["space_reserve"])


def test_a_restore_of_the_files_alone_needs_no_room_for_a_database() -> None:
    work = AskedWork()
    asked = arguments()
    asked["node"] = {**asked["node"], "restores_database": False}
    _perform.perform(work, {**asked, "state": "checked"}, {"inventory_hostname": "ctl"})
    assert work.asked == {}


def compose(check_mode: bool = False, **changes: t.Any) -> dict[str, t.Any]:
    present = {name: result for name, result in steps(**changes).items() if result}
    return _outcome.compose({"ctl": present}, check_mode, "2026-09-01T02:05:00.000Z", 400.0, "x 1")


def test_a_good_restore_says_what_was_restored_and_how_to_go_on() -> None:
    outcome = compose()
    assert (outcome["verdict"], outcome["exit_code"], outcome["nodes"]["ctl"]["server"]) == ("RESTORED", 0, "new")
    text = _outcome.summarize(outcome, "/reports")
    for words in (
        "RESTORE OK",
        "3994 documents",
        f"{DATA}.before_{RUN}",
        "accept_restore.yml",
        "roll_back_restore.yml",
    ):
        assert words in text


def test_a_run_that_is_lost_after_the_commit_says_how_to_accept_and_not_to_run_again() -> None:
    outcome = compose(job=failed("job_died"), service={"service": {"state": "Running"}, "restore": "committed"})
    text = _outcome.summarize(outcome, "/reports")
    assert "RESTORE FAILED" in text
    assert "restored on ctl already, so do not run this again" in text
    assert outcome["hint"] not in text
    assert "accept_restore.yml" in text
    assert "roll_back_restore.yml" in text


@pytest.mark.parametrize(
    "changes",
    [
        {"job": {}},
        {"service": {"service": {"state": "Stopped"}, "restore": "committed"}},
        {"release": {}},
        {"job": {"committed": True, "restored": True, "collections": 0, "documents": 0}},
    ],
    ids=["no job", "service down", "lease held", "nothing counted"],
)
def test_nothing_is_good_because_nothing_failed(changes: dict[str, t.Any]) -> None:
    outcome = compose(**changes)
    assert (outcome["verdict"], outcome["exit_code"]) == ("FAILED", 1)


@pytest.mark.parametrize(
    ("changes", "code", "server"),
    [
        ({"job": failed("restore_failed", undone=["x"]), "service": {**RUNNING, "restore": "undone"}}, 5, "old"),
        ({"job": failed("restored_not_started", committed=True)}, 7, "new"),
        ({"job": failed("restore_unproven"), "service": failed("restore_unproven")}, 7, "not known"),
        ({"job": failed("connection_lost"), "service": failed("connection_lost")}, 1, "not known"),
        ({"lease": {}, "job": {}, "service": {}, "lock": failed("run_locked")}, 8, "untouched"),
    ],
    ids=["undone", "not started", "unproven", "lost", "locked"],
)
def test_a_failure_says_which_server_there_is_now(changes: dict[str, t.Any], code: int, server: str) -> None:
    outcome = compose(**changes)
    assert (outcome["exit_code"], outcome["nodes"]["ctl"]["server"]) == (code, server)
    assert outcome["hint"]
    assert "FAILED" in _outcome.summarize(outcome, "")


def test_a_prediction_and_a_run_without_confirmation_say_that_nothing_was_touched() -> None:
    only = {"lock": {}, "lease": {}, "job": {}, "service": {}, "release": {}}
    assert compose(check_mode=True, **only)["verdict"] == "PLANNED"
    refused = compose(**{**only, "plan": failed("restore_unconfirmed")})
    assert refused["exit_code"] == 3
    assert "nothing was touched" in _outcome.summarize(refused, "")
    unknown = _outcome.summarize(compose(**{**only, "plan": failed("backup_unknown")}), "")
    assert "REFUSED, nothing was touched" in unknown
    assert "unknown ->" not in unknown


def test_a_play_that_goes_on_after_a_failure_is_ended_by_its_report() -> None:
    assert not _outcome.ended_by_a_step({"ctl": steps(health=failed("controller_silent"))})
    assert _outcome.ended_by_a_step({"ctl": steps(lock=failed("run_locked"))})


def test_an_interrupted_restore_says_what_the_nodes_do_by_themselves() -> None:
    plan = {**steps()["plan"]["plan"], "controller": "ctl"}
    untouched: dict[str, t.Any] = {"facts": facts()}
    stopped = {**untouched, "lease": {"changed": True}}
    assert "recover.yml" in _outcome.describe_interruption(plan, {"ctl": stopped})
    assert "the job on ctl continues" in _outcome.describe_interruption(plan, {"ctl": stopped})
    assert "no service was stopped" in _outcome.describe_interruption(plan, {"ctl": untouched})


@pytest.mark.parametrize(("verb", "word"), [("restore", "restore"), ("roll_back", "rollback")])
def test_an_interruption_after_the_commit_does_not_say_that_files_may_be_put_back(verb: str, word: str) -> None:
    plan = {**steps()["plan"]["plan"], "controller": "ctl", "verb": verb}
    before = _outcome.describe_interruption(plan, {"ctl": steps(job={}), "w": {"lease": {"changed": True}}})
    assert f"it completes the {word}, or puts back the files that it has exchanged" in before
    for job in (steps()["job"], failed("service_start_timeout", committed=True)):
        after = _outcome.describe_interruption(plan, {"ctl": steps(job=job), "w": {"lease": {"changed": True}}})
        assert f"the {word} is complete on ctl, and nothing puts files back there" in after
        assert "or puts" not in after


def test_a_node_that_waits_for_the_controller_is_down_for_all_of_that() -> None:
    stop = {"states": [{"state": "Stopped", "at": "2026-09-01T02:00:00.000Z"}]}
    job = {**steps()["job"], "states": [{"state": "Running", "at": "2026-09-01T02:01:00.000Z"}]}
    down = compose(stop=stop, job=job)["nodes"]["ctl"]["downtime"]
    assert (down["total"], down["rest"]) == (60.0, 60.0)

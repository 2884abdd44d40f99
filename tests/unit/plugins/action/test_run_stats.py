# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What AWX gets of a run: exit code and reason are those that the caller of ansible-playbook gets."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.action.run_stats import ActionModule
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible import _variables
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import REASONS
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._report import _report, _stats
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._report._steps import STEPS
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._restore import _outcome
from tests.checks import sources
from tests.unit.plugins import samples
from tests.unit.plugins.action import harness

NOW = "2026-09-01T02:05:00.000Z"
Results = dict[str, dict[str, t.Any]]


def told(hosts: Results, lost: t.Collection[str] = (), check_mode: bool = False) -> dict[str, t.Any]:
    variables = {
        "ansible_play_hosts_all": list(hosts),
        "ansible_play_hosts": [host for host in hosts if host not in lost],
        "hostvars": harness.HostVariables(hosts),
        **hosts[next(iter(hosts))],
        "inventory_hostname": next(iter(hosts)),
    }
    result = harness.run(ActionModule, {}, variables=variables, check_mode=check_mode)
    assert not result.get("failed"), result
    assert result["changed"] is False
    assert result["ansible_stats"] == {"data": result["stats"], "per_host": False, "aggregate": False}
    return {name.removeprefix("server_backup_"): value for name, value in result["stats"].items()}


def backup(check_mode: bool = False, **changes: dict[str, t.Any]) -> dict[str, t.Any]:
    """What a host has at the end of a backup of which these steps have ended otherwise."""
    steps = {**samples.steps(), **changes}
    outcome = _report.compose("full", {"node1": steps}, check_mode, NOW, 1300.0)
    registered = {STEPS[step].variable: result for step, result in steps.items()}
    return {**registered, "alteryx_report_composed": {"outcome": outcome}}


def failure(reason: str, ended: str = NOW, **fields: t.Any) -> dict[str, t.Any]:
    return {"failed": True, "reason": reason, "exit_code": REASONS[reason].exit_code, "ended": ended, **fields}


def test_a_good_backup_tells_its_identity_its_archives_and_its_downtime() -> None:
    registered = backup()
    outcome = registered["alteryx_report_composed"]["outcome"]
    found = told({"node1": {**registered, "alteryx_report_published": {"outcome": outcome}}})
    node = outcome["nodes"]["node1"]
    assert found == {
        "code": 0,
        "reason": "",
        "run_id": samples.RUN_ID,
        "archives": [
            {"node": "node1", "archive": node["archive"], "sha256": node["archive_sha256"], "verdict": "good"}
        ],
        "downtime": outcome["downtime"]["total"],
        "users_downtime": outcome["users_downtime"]["total"],
    }
    assert found["downtime"] > 0


def test_a_failed_backup_tells_the_code_and_the_reason_of_its_report() -> None:
    found = told({"node1": backup(window=samples.failed("dump_failed", 5))}, lost=["node1"])
    assert (found["code"], found["reason"], found["run_id"]) == (5, "dump_failed", samples.RUN_ID)
    found = told({"node1": backup(verify=samples.failed("archive_bad", 3))}, lost=["node1"])
    assert (found["code"], found["reason"]) == (3, "archive_bad")


def test_a_rehearsal_has_no_archives_and_no_id_that_takes_the_place_of_the_backup_of_a_workflow() -> None:
    good = told({"node1": backup(check_mode=True)}, check_mode=True)
    assert (good["archives"], "run_id" in good) == ([], False)
    registered = backup(check_mode=True, verify=samples.failed("archive_bad", 3))
    bad = told({"node1": registered}, lost=["node1"], check_mode=True)
    assert (bad["code"], bad["archives"], "run_id" in bad) == (3, [], False)


def test_a_report_that_cannot_be_written_counts_although_the_backup_is_good() -> None:
    found = told({"node1": {**backup(), "alteryx_report_published": failure("report_failed")}}, lost=["node1"])
    assert (found["code"], found["reason"], found["run_id"]) == (1, "report_failed", samples.RUN_ID)


def test_a_later_failure_does_not_take_the_place_of_the_cause() -> None:
    registered = backup(verify=samples.failed("archive_bad", 3))
    found = told({"node1": {**registered, "alteryx_report_published": failure("report_failed")}}, lost=["node1"])
    assert (found["code"], found["reason"]) == (3, "archive_bad")


VERIFIED = [{"id": "ServerBackup_Full_20260901_020000", "verdict": "good"}]
CATALOGUE = [
    {"id": VERIFIED[0]["id"], "folder": r"D:\B\node1", "run_id": samples.RUN_ID, "archive_sha256": "0" * 64},
    {"id": "ServerBackup_DB_20260901_060000", "folder": r"D:\B\node1", "run_id": "DB_x", "archive_sha256": "1" * 64},
]


def verification(*ids: str, **changes: t.Any) -> dict[str, t.Any]:
    backups = [{"id": name, "verdict": "good"} for name in ids]
    return {
        "alteryx_catalogue_found": {"catalogue": CATALOGUE},
        "alteryx_catalogue_verified": {"backups": backups, **changes},
        "alteryx_catalogue_listed": {"listing": {}},
    }


def test_a_verification_tells_what_it_has_read() -> None:
    assert told({"node1": verification(CATALOGUE[0]["id"])}) == {
        "code": 0,
        "reason": "",
        "run_id": samples.RUN_ID,
        "archives": [
            {
                "node": "node1",
                "archive": r"D:\B\node1\ServerBackup_Full_20260901_020000.zip",
                "sha256": "0" * 64,
                "verdict": "good",
            }
        ],
    }


def test_a_verification_of_several_runs_names_none() -> None:
    # The next job of a workflow would take the id of one for that of all.
    found = told({"node1": verification(*(entry["id"] for entry in CATALOGUE))})
    assert "run_id" not in found
    assert len(found["archives"]) == 2


def test_what_a_bad_verification_has_read_is_told_too() -> None:
    detail = {"backups": [{"id": CATALOGUE[0]["id"], "verdict": "archive_bad"}]}
    bad = verification() | {"alteryx_catalogue_verified": failure("archive_bad", detail=detail)}
    found = told({"node1": bad}, lost=["node1"])
    assert (found["code"], found["reason"], found["archives"][0]["verdict"]) == (3, "archive_bad", "archive_bad")


RESTORE = "Restore_20260901_020000_7f3a"
SOURCE = "Full_20260831_220000_1b2c"
DOWN = {"total": 41.0, "stop": 8.0, "files": 1.0, "database": 20.0, "start": 12.0}


def restore(
    changes: t.Mapping[str, dict[str, t.Any]] | None = None, report: dict[str, t.Any] | None = None
) -> dict[str, dict[str, t.Any]]:
    """What a controller and a worker have at the end of a restore of which these steps of the controller have ended
    otherwise.

    Args:
        changes: step -> its result.
        report: the result of the report, where it has failed.
    """
    node = {"restores_database": True, "restores_files": True, "rolls_back": {}, "service_state": "Running"}
    plan = {
        "run_id": RESTORE,
        "verb": "restore",
        "scope": "full",
        "fleet": "alteryx_prod",
        "backup": {"run_id": SOURCE},
        "nodes": {
            "node1": {**node, "roles": ["controller"]},
            "node2": {**node, "roles": ["worker"], "restores_database": False},
        },
    }
    good: dict[str, dict[str, t.Any]] = {
        "plan": {"plan": plan},
        "lease": {},
        "job": {"committed": True, "collections": 3, "documents": 9, "downtime": DOWN},
        "service": {"service": {"state": "Running"}},
        "release": {},
    }
    good = {step: {"changed": True, **result} for step, result in good.items()}
    worker = {**good, "job": {"committed": True, "downtime": {**DOWN, "total": 90.0}}}
    steps = {"node1": {**good, **(changes or {})}, "node2": worker}
    results = {
        host: {step: result for step, result in each.items() if not result.get("skipped")}
        for host, each in steps.items()
    }
    outcome = _outcome.compose(results, False, NOW, 1300.0, "tests 1")
    reported = report or {"outcome": outcome, "exit_code": outcome["exit_code"]}
    return {
        host: {f"alteryx_restore_{step}": result for step, result in {**each, "reported": reported}.items()}
        for host, each in steps.items()
    }


def test_a_good_restore_tells_its_identity_what_each_node_has_and_the_downtime_of_the_controller() -> None:
    assert told(restore()) == {
        "code": 0,
        "reason": "",
        "run_id": RESTORE,
        "source_run_id": SOURCE,
        "servers": [{"node": "node1", "server": "new"}, {"node": "node2", "server": "new"}],
        "downtime": 41.0,
    }


def test_a_failed_restore_tells_the_code_and_the_reason_of_its_report_and_what_the_server_has() -> None:
    bad = failure("restore_failed", detail={"undone": ["the data folder"], "downtime": DOWN})
    found = told(restore({"job": bad}), lost=["node1", "node2"])
    assert (found["code"], found["reason"]) == (REASONS["restore_failed"].exit_code, "restore_failed")
    assert (found["run_id"], found["downtime"]) == (RESTORE, 41.0)
    assert found["servers"][0] == {"node": "node1", "server": "old"}


def test_a_restore_with_an_unknown_state_ends_with_exit_code_7() -> None:
    bad = failure("restore_unproven")
    found = told(restore({"job": bad, "service": bad}), lost=["node1", "node2"])
    assert (found["code"], found["reason"]) == (7, "restore_unproven")
    assert found["servers"][0] == {"node": "node1", "server": "not known"}


def test_a_restore_without_proof_tells_what_it_has_done_although_its_report_has_failed() -> None:
    # A module that fails returns no outcome.
    lacking = restore({"release": {"skipped": True}}, report=failure("unexpected"))
    found = told(lacking, lost=["node1"])
    assert (found["code"], found["reason"], found["run_id"]) == (1, "unexpected", RESTORE)
    assert [each["server"] for each in found["servers"]] == ["new", "new"]
    found = told(restore(report=failure("report_failed")), lost=["node1"])
    assert (found["code"], found["reason"], found["run_id"]) == (1, "report_failed", RESTORE)


def test_a_restore_that_was_not_confirmed_has_no_id() -> None:
    unconfirmed = {"alteryx_restore_plan": failure("restore_unconfirmed")}
    outcome = _outcome.compose({"node1": {"plan": unconfirmed["alteryx_restore_plan"]}}, False, NOW, 1300.0, "tests 1")
    found = told({"node1": {**unconfirmed, "alteryx_restore_reported": {"outcome": outcome}}}, lost=["node1"])
    assert found == {
        "code": REASONS["restore_unconfirmed"].exit_code,
        "reason": "restore_unconfirmed",
        "servers": [{"node": "node1", "server": "untouched"}],
        "downtime": 0.0,
    }


def test_a_rehearsal_of_a_restore_has_no_id() -> None:
    found = told(restore(), check_mode=True)
    assert (found["code"], "run_id" in found) == (0, False)


def test_a_restore_that_was_refused_before_its_first_step_tells_the_variable_and_not_the_missing_steps() -> None:
    # The report runs although the role was refused.
    hosts = {"node1": {"alteryx_restore_scope": "everything", "alteryx_restore_reported": failure("run_incomplete")}}
    found = told(hosts, lost=["node1"])
    assert (found["code"], found["reason"]) == (3, "invalid_variable")


def test_the_failure_that_came_first_counts_and_seven_outranks_it() -> None:
    early, late = "2026-09-01T02:00:01.000Z", "2026-09-01T02:00:02.000Z"
    hosts = {
        "node1": {"alteryx_recover_cleaned": failure("connection_lost", late)},
        "node2": {"alteryx_recover_cleaned": failure("run_locked", early)},
    }
    assert (told(hosts, lost=hosts)["code"], told(hosts, lost=hosts)["reason"]) == (8, "run_locked")
    hosts["node1"] = {"alteryx_recover_cleaned": failure("service_not_restored", late)}
    assert (told(hosts, lost=hosts)["code"], told(hosts, lost=hosts)["reason"]) == (7, "service_not_restored")


def test_a_failure_that_the_playbook_has_gone_on_after_does_not_count() -> None:
    hosts = {"node1": {"alteryx_recover_judged": failure("run_locked")}}
    assert told(hosts) == {"code": 0, "reason": ""}


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("alteryx_catalogue_mod", "full", "unknown_variable"),
        ("alteryx_catalogue_mode", "everything", "invalid_variable"),
        ("alteryx_catalogue_mode", "full", "unexpected"),
    ],
)
def test_a_role_that_was_refused_is_told_by_the_variable_that_was_wrong(variable: str, value: str, reason: str) -> None:
    found = told({"node1": {"inventory_hostname": "node1", variable: value}}, lost=["node1"])
    assert (found["code"], found["reason"]) == (REASONS[reason].exit_code, reason)


def test_no_name_is_one_that_the_next_job_of_a_workflow_refuses() -> None:
    known = _variables.read(sources.ROOT / "roles")
    names = _stats.compose_stats({"node1": backup()}, [])
    assert all(name.startswith("server_backup_") for name in names)
    assert _variables.strange(names, known, ()) == _variables.unknown(names, known) == []


def test_every_playbook_ends_by_telling() -> None:
    for playbook in sorted((sources.ROOT / "playbooks").glob("*.yml")):
        (play,) = sources.load_yaml(playbook)
        assert _last_file(playbook, play["tasks"][-1]).name == "stats.yml", playbook.name


def _last_file(file: Path, task: dict[str, t.Any]) -> Path:
    """The file whose tasks run last, whatever fails."""
    while True:
        while "always" in task:
            task = task["always"][-1]
        name = task.get("ansible.builtin.import_tasks")
        if name is None:
            return file
        # A name that is decided when it is read: both lead to the report.
        file = file.parent / ("keep_dump.yml" if isinstance(name, dict) else name)
        task = sources.load_yaml(file)[-1]


def test_what_is_told_is_looked_for_in_what_the_roles_register() -> None:
    registered = _variables.read(sources.ROOT / "roles").results
    assert {*_stats._REPORTS, _stats.RESTORED, _stats._VERIFIED, _stats._FOUND} <= registered
    assert {name for name in registered if name.startswith("alteryx_restore_")} >= {
        f"{_outcome.PREFIX}{step}" for step in _outcome.STEPS
    }
    # What can fail a play without a name would be told as unexpected.
    for file in sorted((sources.ROOT / "roles").glob("*/tasks/*.yml")):
        for task in sources.tasks(sources.load_yaml(file)):
            ours = [name for name in task if name.startswith("alteryx_ops.server_backup.")]
            assert not ours or "register" in task, f"{sources.shown(file)}: {task['name']}"

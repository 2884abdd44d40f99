# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every reason and every exit code is reached by a test: which one, and the proof of it whenever that test runs.

A reason counts as seen when our own code produced it while the test ran: raised by name in a file of the collection (a reason that merely passes through,
because a test's double said it, does not count), or given by node code to a run of ansible-playbook or of the engine. The hook in conftest.py fails a test
that is named here and has not seen what it is named for; tests/checks/test_reasons.py fails when a reason or a code has no test.
"""

from __future__ import annotations

import re
import sys
from functools import cache, wraps
from types import CodeType
from typing import Any

import pytest

_ACTIONS = "unit/plugins/action"
_PLAN = "unit/plugins/plugin_utils/test_plan.py"
_PERSISTENCE = "unit/plugins/plugin_utils/test_persistence.py"
_SCHEDULES = "unit/plugins/plugin_utils/test_schedules.py"
_MODES_AND_KINDS = f"{_PERSISTENCE}::test_what_runs_in_every_mode_for_every_kind"
_NODE_JOB = "unit/plugins/plugin_utils/test_node_job.py"
_BAD_INPUT = "integration/test_bad_input.py"
_FAILURES = "integration/test_failures.py"
_KINDS = "integration/test_kinds.py"
_CONTRACT = "integration/test_contract.py::test_a_failure_has_the_reason_that_belongs_to_it"
_LIMITS = f"{_FAILURES}::test_a_limit_of_the_window_ends_it_and_brings_the_service_back"
_JOBS = "node/test_job_reasons.py"

# Reason -> file::test below tests/; [word] narrows it to the parameters with that word in their id (ids are words with - between).
REACHED: dict[str, str] = {
    "invalid_mode": f"{_BAD_INPUT}::test_a_mode_there_is_not",
    "no_hosts": f"{_BAD_INPUT}::test_a_group_without_hosts",
    "unreachable": f"{_BAD_INPUT}::test_wrong_credentials",
    "several_fleets": f"{_PLAN}::test_two_controllers_are_two_fleets",
    "unknown_variable": f"{_BAD_INPUT}::test_an_unknown_variable_is_refused_with_the_nearest_name",
    "invalid_variable": f"{_ACTIONS}/test_backup_request.py::test_a_name_pattern_that_makes_no_good_name_is_refused",
    "not_administrator": f"{_BAD_INPUT}::test_not_an_administrator",
    "service_absent": f"{_BAD_INPUT}::test_no_such_service",
    "service_in_transition": f"{_PLAN}::test_a_service_on_its_way_is_refused_only_where_it_would_be_stopped",
    "installation_incomplete": f"{_PLAN}::test_a_node_that_cannot_be_backed_up_is_refused_in_every_mode[installation_incomplete]",
    "settings_missing": f"{_BAD_INPUT}::test_the_settings_file_is_absent",
    "settings_malformed": f"{_BAD_INPUT}::test_a_settings_file_that_cannot_be_read",
    "no_role": f"{_PLAN}::test_a_node_without_any_role_is_refused",
    "fleet_partial": f"{_PLAN}::test_a_part_of_a_fleet_is_refused_before_anything_else_is_said",
    "topology_contradicts": f"{_PLAN}::test_a_worker_of_another_controller_is_refused_where_services_stop_and_said_elsewhere",
    "settings_contradict": f"{_PLAN}::test_settings_that_contradict_themselves_are_refused_where_something_stops_and_said_elsewhere",
    "database_unknown": f"{_MODES_AND_KINDS}[database_unknown]",
    "database_kind_contradicts": f"{_PERSISTENCE}::test_a_kind_that_contradicts_the_settings_is_refused",
    "sqlserver_not_dumped": f"{_MODES_AND_KINDS}[sqlserver_not_dumped]",
    "database_split": f"{_PERSISTENCE}::test_a_ui_with_a_database_of_its_own_is_not_in_an_embedded_dump",
    "connection_invalid": f"{_PERSISTENCE}::test_an_override_without_a_place_is_refused",
    "mongodb_login_missing": f"{_PERSISTENCE}::test_a_login_is_missing_where_the_settings_hold_it_encrypted",
    "mongodump_unusable": "unit/plugins/plugin_utils/test_mongodb.py::test_a_tool_that_says_nothing_is_refused",
    "mongodb_unreachable": f"{_KINDS}::test_a_mongodb_that_cannot_be_dumped_is_refused_before_anything_is_touched[unreachable]",
    "mongodb_denied": f"{_KINDS}::test_a_mongodb_that_cannot_be_dumped_is_refused_before_anything_is_touched[denied]",
    "mongodb_lacks_database": f"{_KINDS}::test_a_mongodb_that_cannot_be_dumped_is_refused_before_anything_is_touched[lacks]",
    "oplog_impossible": f"{_MODES_AND_KINDS}[oplog_impossible]",
    "schedules_unreachable": f"{_SCHEDULES}::test_an_answer_that_is_none_is_refused_by_its_kind_and_nothing_is_paused[schedules_unreachable]",
    "schedules_denied": f"{_SCHEDULES}::test_wrong_credentials_are_denied",
    "schedules_unclear": f"{_SCHEDULES}::test_an_answer_that_is_none_is_refused_by_its_kind_and_nothing_is_paused[schedules_unclear]",
    "schedules_record_bad": f"{_SCHEDULES}::test_a_record_that_cannot_be_read_is_not_taken_for_an_empty_one",
    "schedules_not_resumed": "integration/test_schedules.py::test_one_that_cannot_be_enabled_fails_the_run_keeps_its_backup_and_is_mended_by_the_next",
    "database_missing": f"{_PLAN}::test_a_database_folder_that_is_absent_is_named",
    "folder_invalid": f"{_BAD_INPUT}::test_a_file_where_a_folder_is_to_be",
    "drive_missing": f"{_BAD_INPUT}::test_a_staging_folder_on_a_drive_the_node_does_not_have",
    "space_short": f"{_PLAN}::test_one_folder_for_both_purposes_needs_room_for_both",
    "no_recipient": f"{_BAD_INPUT}::test_secrets_without_a_recipient",
    "recipient_invalid": f"{_BAD_INPUT}::test_a_recipient_that_is_no_certificate",
    "node_name_invalid": f"{_PLAN}::test_a_node_that_cannot_be_backed_up_is_refused_in_every_mode[node_name_invalid]",
    "cluster_resource": f"{_PLAN}::test_what_forbids_a_stop_is_refused_only_where_something_would_be_stopped[cluster_resource]",
    "dependants_running": f"{_PLAN}::test_what_forbids_a_stop_is_refused_only_where_something_would_be_stopped[dependants_running]",
    "folder_untrusted": f"{_PLAN}::test_a_folder_that_somebody_could_have_prepared_is_refused_by_name",
    "hold_present": f"{_PLAN}::test_what_forbids_a_stop_is_refused_only_where_something_would_be_stopped[hold_present]",
    "run_locked": f"{_FAILURES}::test_a_node_that_another_run_holds_is_8",
    "foreign_job_alive": "faults/test_foreign_job.py::test_refuse_is_the_default_and_touches_nothing",
    "window_open": "integration/test_fleet.py::test_nobody_starts_a_worker_of_a_run_that_dumps",
    "lease_taken": _CONTRACT,
    "task_refused": f"{_FAILURES}::test_without_a_guard_that_has_answered_nothing_is_stopped[deny]",
    "task_unknown": "faults/test_scheduler_silent.py::test_a_scheduler_that_does_not_answer_keeps_the_lease",
    "drill_unanswered": f"{_FAILURES}::test_without_a_guard_that_has_answered_nothing_is_stopped[never_run]",
    "drill_wrong_account": f"{_FAILURES}::test_without_a_guard_that_has_answered_nothing_is_stopped[account]",
    "no_lease": f"{_FAILURES}::test_no_lease_no_stop",
    "hook_failed": f"{_FAILURES}::test_tasks_of_the_operator_that_fail_before_the_window_stop_nothing",
    "drain_timeout": f"{_FAILURES}::test_a_workflow_that_does_not_end_in_time_is_named_and_nothing_is_stopped",
    "stop_timeout": f"{_FAILURES}::test_a_service_that_stops_too_late_comes_back",
    "processes_left": f"{_FAILURES}::test_forced_the_run_goes_on_but_never_dumps_over_a_workflow_that_still_runs",
    "service_moved": f"{_FAILURES}::test_a_service_that_somebody_started_after_the_lease_is_not_stopped",
    "staging_in_use": f"{_LIMITS}[staging_in_use]",
    "dump_failed": f"{_FAILURES}::test_a_dump_that_fails_brings_the_service_back_and_publishes_nothing[fail]",
    "dump_incomplete": f"{_FAILURES}::test_a_dump_that_fails_brings_the_service_back_and_publishes_nothing[half]",
    "dump_timeout": _CONTRACT,
    "service_started_during_dump": "faults/test_others.py::test_a_service_that_somebody_starts_during_the_dump_fails_the_dump_and_is_not_killed",
    "lease_lost": "faults/test_node_faults.py::test_a_damaged_lease_ends_the_dump_and_the_service_comes_back",
    "space_reserve": f"{_LIMITS}[space_reserve]",
    "downtime_limit": f"{_LIMITS}[downtime_limit]",
    "gate_closed": "unit/plugins/plugin_utils/test_gate.py::test_the_state_that_was_seen_is_said",
    "window_job_alive": "faults/test_foreign_job.py::test_refuse_is_the_default_and_touches_nothing",
    "held_by_operator": "faults/test_others.py::test_hold_keeps_the_service_down_until_a_person_ends_it",
    "controller_silent": "integration/test_fleet.py::test_a_controller_that_runs_and_does_not_answer",
    "service_restored_late": f"{_FAILURES}::test_a_service_that_starts_too_late_but_starts_is_no_7",
    "service_logon_failed": "faults/test_service_control.py::test_a_wrong_password_of_the_service_is_tried_twice_in_fifteen_minutes",
    "service_not_restored": f"{_FAILURES}::test_a_service_that_does_not_start_again_outranks_all_and_is_still_brought_back",
    "critical_file_missing": _CONTRACT,
    "secret_unreadable": f"{_FAILURES}::test_secrets_that_cannot_be_read_fail_the_run",
    "file_vanished": "node/test_archive_job.py::test_a_file_that_vanishes_is_named",
    "file_unreadable": "node/test_archive_job.py::test_a_file_that_cannot_be_opened_is_named",
    "file_changed": "node/test_archive_job.py::test_progress_is_told_within_a_file_and_one_that_grows_meanwhile_is_named",
    "archive_exists": _CONTRACT,
    "archive_failed": f"{_FAILURES}::test_an_archive_that_cannot_be_written_is_a_matter_of_storage",
    "archive_incomplete": _CONTRACT,
    "archive_bad": _CONTRACT,
    "job_exists": f"{_JOBS}::test_a_job_there_already_is_not_started_again",
    "job_not_started": f"{_NODE_JOB}::test_a_start_that_never_arrived_is_found_out_and_says_both",
    "job_died": f"{_JOBS}::test_a_job_whose_process_is_gone_has_died",
    "job_lost": f"{_JOBS}::test_a_job_nobody_knows_is_lost",
    "job_timeout": f"{_NODE_JOB}::test_a_job_beyond_its_limit_is_ended_once_and_named",
    "connection_lost": f"{_NODE_JOB}::test_a_node_that_stays_silent_is_given_up_and_its_job_left_alone",
    "report_failed": f"{_ACTIONS}/test_backup_report.py::test_a_report_that_cannot_be_written_is_a_failure_with_the_cause",
    "unexpected": f"{_ACTIONS}/test_action.py::test_a_failure_without_a_reason_of_ours_is_unexpected[answer0]",
}

# Exit code of ansible-playbook -> the test that runs it.
EXIT_CODES: dict[int, str] = {
    0: "integration/test_list_backups.py::test_a_folder_that_is_not_there_is_said_and_no_failure",
    1: f"{_FAILURES}::test_secrets_that_cannot_be_read_fail_the_run",
    2: f"{_FAILURES}::test_a_workflow_that_does_not_end_in_time_is_named_and_nothing_is_stopped",
    3: f"{_BAD_INPUT}::test_no_such_service",
    4: f"{_FAILURES}::test_an_archive_that_cannot_be_written_is_a_matter_of_storage",
    5: f"{_FAILURES}::test_a_dump_that_fails_brings_the_service_back_and_publishes_nothing[fail]",
    6: f"{_BAD_INPUT}::test_a_mode_there_is_not",
    7: f"{_FAILURES}::test_a_service_that_does_not_start_again_outranks_all_and_is_still_brought_back",
    8: f"{_FAILURES}::test_a_node_that_another_run_holds_is_8",
}

_seen: set[str] = set()
_codes: set[int] = set()


def saw(*names: str) -> None:
    """The running test has seen our code give these reasons."""
    _seen.update(names)


def saw_run(text: str, code: int) -> None:
    """The running test has seen a run of ansible-playbook: what it printed (on one line) and its exit code. Every failure prints its hint."""
    _codes.add(code)
    saw(*(name for name, hint in _hints().items() if hint in text))


@cache
def _hints() -> dict[str, str]:
    # Inside: conftest.py imports this file before the collection's name resolves.
    from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._outcome import REASONS

    return {name: " ".join(reason.hint.split()) for name, reason in REASONS.items()}


@cache
def listen() -> None:
    """Let the exceptions of the collection tell of their reasons from now on."""
    from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._node_job import JobFailed
    from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._outcome import StepFailed

    for failure in (StepFailed, JobFailed):
        _listen_to(failure)


def _listen_to(failure: type[Any]) -> None:
    original = failure.__init__

    @wraps(original)
    def told(self: Any, reason: str, *more: Any, **named: Any) -> None:
        original(self, reason, *more, **named)
        if _raised_by_name(sys._getframe(1).f_code, reason):
            saw(reason)

    failure.__init__ = told


def _raised_by_name(code: CodeType, reason: str) -> bool:
    """Does the function that raises name the reason itself? What only passes through is a variable there."""
    return re.search(r"/plugins/(plugin_utils|action)/\w+\.py$", code.co_filename) is not None and reason in code.co_consts


def fits(test: str, name: str, words: str) -> bool:
    """Is it the test of an entry above? By its id below tests/ without parameters, and the id of its parameters."""
    wanted, _, narrowed = test.removesuffix("]").partition("[")
    return wanted == name and ({narrowed} - {""}) <= set(words.split("-"))


def claims(item: pytest.Item) -> tuple[set[str], set[int]]:
    """The reasons and exit codes that a test is named for."""
    # Behind the @ stands the lane of `make test LANES=n`.
    name, _, words = item.nodeid.removeprefix("tests/").partition("@")[0].partition("[")
    words = words.removesuffix("]")
    return ({reason for reason, test in REACHED.items() if fits(test, name, words)}, {code for code, test in EXIT_CODES.items() if fits(test, name, words)})


def begin() -> None:
    """A test begins."""
    _seen.clear()
    _codes.clear()


def missing(item: pytest.Item) -> list[str]:
    """What the test that has just run is named for and has not seen."""
    named, codes = claims(item)
    return sorted(named - _seen) + [f"exit code {code}" for code in sorted(codes - _codes)]

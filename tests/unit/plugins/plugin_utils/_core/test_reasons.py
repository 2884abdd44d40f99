# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One table of reasons, one exit code of a run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core import reasons as table

CODES = st.lists(st.sampled_from(sorted(table.EXIT_CODES)))
PLUGINS = Path(table.__file__).resolve().parents[2]


@given(CODES)
def test_a_service_that_is_down_outranks_everything(codes: list[int]) -> None:
    assert table.overall_exit_code([*codes, 7]) == 7
    assert table.overall_exit_code([7, *codes]) == 7


@given(CODES)
def test_a_run_is_a_success_only_without_any_failure(codes: list[int]) -> None:
    assert (table.overall_exit_code(codes) == 0) is not any(codes)


@given(CODES.filter(lambda codes: any(codes) and 7 not in codes))
def test_the_first_failure_is_the_cause(codes: list[int]) -> None:
    assert table.overall_exit_code(codes) == next(code for code in codes if code)


@pytest.mark.parametrize("name", sorted(table.REASONS))
def test_every_reason_leads_to_a_documented_failing_code_and_says_what_to_do(name: str) -> None:
    reason = table.REASONS[name]
    assert reason.name == name
    assert reason.exit_code in table.EXIT_CODES
    assert reason.exit_code != 0
    for sentence in (reason.meaning, reason.hint):
        assert sentence.endswith(".")
        assert "\n" not in sentence


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("invalid_mode", 6), ("unreachable", 3), ("settings_malformed", 3), ("service_absent", 3), ("no_recipient", 3),
        ("unknown_variable", 3), ("lease_taken", 8), ("run_locked", 8), ("foreign_job_alive", 8), ("hold_present", 3),
        ("cluster_resource", 3), ("dependants_running", 3), ("folder_untrusted", 3), ("gate_closed", 2),
        ("held_by_operator", 7), ("service_restored_late", 2), ("space_reserve", 4), ("lease_lost", 5),
        ("drain_timeout", 2), ("stop_timeout", 2), ("dump_failed", 5), ("dump_incomplete", 5), ("archive_failed", 4),
        ("archive_bad", 3), ("service_not_restored", 7), ("critical_file_missing", 1), ("secret_unreadable", 1),
        ("connection_lost", 1), ("unexpected", 1),
    ],
)  # fmt: skip
def test_the_codes_promised_to_callers(name: str, code: int) -> None:
    assert table.REASONS[name].exit_code == code


def test_an_unknown_reason_is_unexpected_and_keeps_its_message() -> None:
    failure = table.StepFailed("no_such_reason", "what happened", {"a": 1})
    assert (failure.reason.name, failure.reason.exit_code, failure.message, str(failure)) == (
        "unexpected",
        1,
        "what happened",
        "what happened",
    )
    assert failure.detail == {"a": 1}


def test_the_detail_of_a_failure_is_its_own() -> None:
    given_detail = {"a": 1}
    table.StepFailed("unexpected", "x", given_detail).detail["b"] = 2
    assert given_detail == {"a": 1}


def _reasons_given() -> dict[str, str]:
    """Reason -> a file that gives it."""
    given_in: dict[str, str] = {}
    for path in sorted(PLUGINS.rglob("*")):
        if path.suffix in (".ps1", ".psm1"):
            found = re.findall(r"-Reason '(\w+)'", path.read_text(encoding="utf-8"))
        elif path.suffix == ".py":
            found = re.findall(r'(?:StepFailed|JobFailed)\(\s*"(\w+)"', path.read_text(encoding="utf-8"))
        else:
            continue
        given_in.update(dict.fromkeys(found, path.name))
    return given_in


def test_every_reason_that_code_gives_is_in_the_table() -> None:
    given_in = _reasons_given()
    assert len(given_in) > 30
    window = (PLUGINS / "module_utils" / "window_job.ps1").read_text(encoding="utf-8")
    ends = re.findall(r"(?m)^    (\w+) = ", window[window.index("$messages = @{") :].partition("\n}")[0])
    assert {"lease_lost", "dump_timeout"} <= set(ends)
    given_in.update(dict.fromkeys([*ends, *re.findall(r"return '(\w+)'", window)], "window_job.ps1"))
    assert {reason: file for reason, file in given_in.items() if reason not in table.REASONS} == {}

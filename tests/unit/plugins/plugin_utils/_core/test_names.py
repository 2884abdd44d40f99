# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of runs and archives, and what Windows takes as a file name."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core import _names

ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
# Hypothesis adds the zone.
MOMENTS = st.datetimes(datetime(1980, 1, 2), datetime(2200, 1, 1), timezones=ZONES)  # noqa: DTZ001
FORBIDDEN = '<>:"/\\|?*\x00\x1f\n'
SAFE = st.text(
    st.characters(codec="utf-8", exclude_characters=FORBIDDEN, exclude_categories=("Cc", "Cs")),
    min_size=1,
    max_size=200,
)


def test_a_stamp_is_utc_whatever_the_zone() -> None:
    assert _names.stamp(datetime(2026, 9, 1, 4, 0, 0, tzinfo=timezone(timedelta(hours=2)))) == "20260901_020000"


def test_a_stamp_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        _names.stamp(datetime(2026, 9, 1))  # noqa: DTZ001


@given(MOMENTS)
def test_a_stamp_can_be_read_back(moment: datetime) -> None:
    assert datetime.strptime(_names.stamp(moment), "%Y%m%d_%H%M%S").replace(tzinfo=UTC) == moment.astimezone(
        UTC
    ).replace(microsecond=0)


@given(MOMENTS, MOMENTS)
def test_stamps_sort_like_the_moments(one: datetime, other: datetime) -> None:
    earlier, later = sorted((one, other))
    assert _names.stamp(earlier) <= _names.stamp(later)


@pytest.mark.parametrize(
    ("mode", "name"),
    [("full", "ServerBackup_Full_X"), ("database", "ServerBackup_DB_X"), ("config", "ServerBackup_Config_X")],
)
def test_every_mode_has_its_word_in_archive_names(mode: str, name: str) -> None:
    assert _names.base_name(mode, "X") == name


def test_the_operator_may_name_archives_differently() -> None:
    assert _names.base_name("full", "20260901_020000", "ayx-{stamp}-{mode}") == "ayx-20260901_020000-Full"


@given(
    st.text(st.sampled_from("{}:!.[]ab0") | st.characters(codec="utf-8")), st.sampled_from(["", "{mode}", "{stamp}"])
)
def test_a_pattern_is_filled_in_or_refused_and_nothing_else(text: str, field: str) -> None:
    try:
        name = _names.base_name("full", "20260901_020000", text + field)
    except (KeyError, ValueError):
        return
    assert not set(name) & set("{}")
    assert name == (text + field).replace("{mode}", "Full").replace("{stamp}", "20260901_020000")


@given(st.sampled_from(sorted(_names.MODES)), MOMENTS, st.text("0123456789abcdef", min_size=1, max_size=8))
def test_identities_of_runs_are_folder_names_and_job_names(mode: str, moment: datetime, word: str) -> None:
    identity = _names.run_id(mode, moment, word)
    assert _names.windows_name_problem(identity) is None
    # What a node takes as the name of a job.
    assert re.fullmatch(r"[A-Za-z0-9._-]+", identity)
    assert _names.windows_name_problem(_names.base_name(mode, _names.stamp(moment))) is None


@pytest.mark.parametrize(
    "name",
    ["ayx01", "ayx01.example.test", "Größe", "a b", "10.0.0.1", "console", "com10", "nul_", "x" * 200, ".hidden"],
)
def test_ordinary_names_are_taken(name: str) -> None:
    assert _names.windows_name_problem(name) is None


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "empty"), ("a/b", "'/'"), ("a\\b", "contains"), ("host:5986", "':'"), ("a\tb", "contains"),
        ("a\n", "contains"), ("ayx.", "ends"), ("ayx ", "ends"),
        ("con", "device"), ("NUL.txt", "device"), ("Com1.example.test", "device"), ("lpt0", "device"),
        ("LPT9", "device"), ("com¹", "device"), ("Lpt³.x", "device"), ("aux .log", "device"), ("..", "ends"),
        ("x" * 201, "201"),
    ],
)  # fmt: skip
def test_names_that_windows_refuses_are_refused_with_the_reason(name: str, why: str) -> None:
    assert why in (_names.windows_name_problem(name) or "accepted")


@given(SAFE, st.sampled_from(FORBIDDEN), SAFE)
def test_a_forbidden_character_anywhere_is_refused(before: str, character: str, after: str) -> None:
    assert _names.windows_name_problem(before + character + after)


@given(SAFE)
def test_a_name_that_is_taken_needs_no_repair(name: str) -> None:
    if _names.windows_name_problem(name) is None:
        assert name == name.rstrip(". ")
        assert not set(name) & set(FORBIDDEN)

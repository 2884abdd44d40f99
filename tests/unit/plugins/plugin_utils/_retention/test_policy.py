# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A policy is read, or refused with everything that is wrong with it."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import StepFailed
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._retention._policy import (
    ModePolicy,
    read_policy,
)


def test_nothing_is_deleted_by_default() -> None:
    assert not read_policy({})


def test_what_is_not_said_has_a_default() -> None:
    assert read_policy({"full": {}, "database": {"days": 3}, "config": {"monthly": "12"}}).modes == {
        "full": ModePolicy(30, 2),
        "database": ModePolicy(3, 2),
        "config": ModePolicy(14, 2, monthly=12),
    }


@pytest.mark.reaches("invalid_variable")
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"full": {"days": 0}}, "full.days is 0, which would delete every backup; it must be 1 or more"),
        ({"full": {"verified": 0}}, "full.verified is 0, which would delete every backup"),
        ({"full": {"days": -1}}, "full.days is -1, which would delete every backup"),
        ({"full": {"days": "many"}}, "full.days is 'many', which is not a whole number"),
        ({"full": {"days": True}}, "full.days is True, which is not a whole number"),
        ({"full": {"monthly": -1}}, "full.monthly is -1; it must be from 0"),
        ({"full": {"day": 3}}, "full has the unknown key day; it knows days, verified, daily, weekly, monthly"),
        ({"ful": {"days": 3}}, "has the unknown key ful; it knows full, database, config"),
        ({"days": 30}, "has the unknown key days"),
        ({"full": 30}, "full is not a dictionary; write full: {days: 30}"),
        ([], "is not a dictionary of modes"),
    ],
)
def test_what_is_wrong_is_refused_by_name(given: t.Any, words: str) -> None:
    with pytest.raises(StepFailed) as caught:
        read_policy(given)
    assert f"alteryx_retention_policy{'.' if words.startswith('full') else ' '}{words}" in caught.value.message


@pytest.mark.parametrize("share", [0, 101, "half", None])
def test_an_invalid_maximum_share_of_deletions_is_refused(share: t.Any) -> None:
    with pytest.raises(StepFailed, match="alteryx_retention_max_share is"):
        read_policy({"full": {}}, share)


def test_all_problems_are_said_at_once() -> None:
    with pytest.raises(StepFailed) as caught:
        read_policy({"full": {"days": 0, "x": 1}, "other": {}}, 0)
    assert caught.value.message.count(";") >= 3

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backup sets go: what must hold of every history, and each rule by an example."""

from __future__ import annotations

import random
import typing as t
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._retention import _prune
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._retention._policy import ModePolicy, Policy
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._retention._sets import BackupSet

from . import histories
from .histories import NOW, backup_set, begun, stored


def decided(sets: t.Sequence[BackupSet], share: int = 100, **rules: int) -> dict[str, _prune.Decision]:
    """Name -> decision, under one policy for the mode full."""
    policy = Policy({"full": ModePolicy(**{"days": 30, **rules})}, share)
    return {decision.of.name: decision for decision in _prune.decide(sets, policy, NOW)}


def hold(sets: list[BackupSet], policy: Policy) -> None:
    """The invariants of one history."""
    decisions = _prune.decide(sets, policy, NOW)
    assert [decision.of for decision in decisions] == sets
    assert all(decision.rule for decision in decisions)
    gone = [decision.of for decision in decisions if decision.deletes]
    assert not [one for one in gone if one.pin], "pinned"
    assert not [one for one in gone if one.moment > NOW and not one.pruning], "dated in the future, or without a date"
    fresh = [one for one in gone if not one.pruning]
    assert not [one for one in fresh if one.mode not in policy.modes], "of a mode without a policy"
    for mode, rules in policy.modes.items():
        own = [one for one in sets if one.mode == mode]
        limit = timedelta(days=rules.days)
        good = [one for one in own if one.is_good and one.moment <= NOW]
        left = [one for one in good if one not in gone]
        assert good[: rules.verified] == left[: rules.verified], "the newest verified ones"
        assert [one for one in good if one.age(NOW) <= limit] == [one for one in left if one.age(NOW) <= limit]
        older = [one for one in good if one.age(NOW) > limit]
        assert not older or older[0] in left, "the newest one older than the limit"
        assert (not good) == (not left), "everything"
        for one in fresh:
            if one.mode == mode:
                assert one.age(NOW) > limit
                # What does not count goes only when good ones have replaced it.
                assert one.is_good or sum(each.moment > one.moment for each in good) >= rules.verified
        assert sum(one.mode == mode for one in fresh) <= len(own) * policy.share // 100, "more than the share"
        for name, period in _prune._PERIODS.items():
            newest = {period(one.moment): one for one in reversed(good)}
            wanted = sorted(newest, reverse=True)[: getattr(rules, name)]
            assert all(newest[each] in left for each in wanted), name
            usable = [one for one in own if (one.is_good or one.verified) and one.moment <= NOW and not one.is_broken]
            wanted = sorted({period(one.moment) for one in usable}, reverse=True)[: getattr(rules, name)]
            there = {period(one.moment) for one in usable if one not in gone}
            assert there.issuperset(wanted), f"no archive of a {name} one is left"
    # A database alone cannot be restored elsewhere.
    full = [one for one in sets if one.mode == "full" and one.is_good and one.moment <= NOW]
    assert not full or full[0] not in gone


def stays_so(sets: list[BackupSet], policy: Policy) -> None:
    """Run after run, pruning comes to an end, and the last plan deletes nothing."""
    left = sets
    for _unused in range(len(sets) + 1):
        decisions = _prune.decide(left, policy, NOW)
        rest = [decision.of for decision in decisions if not decision.deletes]
        if rest == left:
            return
        left = rest
    raise AssertionError("pruning does not come to an end")


@given(histories.histories(), histories.POLICIES)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_must_hold_of_every_history(sets: list[BackupSet], policy: Policy) -> None:
    hold(sets, policy)
    stays_so(sets, policy)


@pytest.mark.long
@given(st.integers(0, 2**64))
@settings(max_examples=10_000, deadline=None, database=None)
def test_what_must_hold_of_ten_thousand_histories(seed: int) -> None:
    dice = random.Random(seed)
    sets, policy = histories.random_history(dice), histories.random_policy(dice)
    hold(sets, policy)
    stays_so(sets, policy)


NO_GOOD_ONE = " ones, because no good one of that time is left; it does not count: the archive of w is missing"
DAILY = [backup_set(24 * day) for day in range(120)]


def kept(decisions: t.Mapping[str, _prune.Decision]) -> list[int]:
    """Ages of the sets that stay, in days."""
    return sorted((NOW - each.of.moment).days for each in decisions.values() if not each.deletes)


def test_days_keep_what_is_young_and_the_newest_older_one() -> None:
    assert kept(decided(DAILY)) == list(range(32))


def test_buckets_keep_the_newest_of_each_period_that_has_one() -> None:
    assert kept(decided(DAILY, days=1, monthly=3)) == [0, 1, 2, 32]  # NOW is 1 September: 31 August, 31 July
    assert kept(decided(DAILY, days=1, weekly=3)) == [0, 1, 2, 9]  # a Tuesday: this week's, two Sundays
    assert kept(decided(DAILY, days=1, daily=5)) == [0, 1, 2, 3, 4]
    gap = [one for one in DAILY if (NOW - one.moment).days > 60 or one in DAILY[:1]]
    assert kept(decided(gap, days=1, verified=1, monthly=3)) == [0, 61, 63]  # 2 July, 30 June


def test_the_floor_holds_at_any_age() -> None:
    old = [backup_set(24 * day) for day in range(400, 410)]
    assert kept(decided(old, days=1, verified=3)) == [400, 401, 402]


def test_what_is_not_good_does_not_count_and_goes_by_age_alone() -> None:
    bad = [backup_set(24 * day, why=("its run ended FAILED",)) for day in range(60)]
    good = [backup_set(24 * day + 1) for day in (50, 51)]
    found = decided(sorted([*bad, *good], key=lambda one: one.moment, reverse=True))
    # Both good ones are newer than those of 52 days and more.
    assert kept(found) == sorted([*range(52), 50, 51])
    assert not any(each.deletes for each in decided(bad, days=1).values())


def test_where_no_good_one_is_left_an_archive_that_is_good_keeps_its_set() -> None:
    # The worker was installed anew, so its old archives are lost; those of the controller have the database.
    lost = [stored(backup_set(24 * day, why=("the archive of w is missing",))) for day in range(3, 365)]
    found = decided([*DAILY[:3], *lost], monthly=12)
    monthly = [each for each in found.values() if NO_GOOD_ONE in each.rule]
    # Good ones are in September and August.
    assert len({(each.of.moment.year, each.of.moment.month) for each in monthly}) == len(monthly) == 10
    assert not any(each.deletes for each in monthly)
    # Those of the same months that are older than 30 days go.
    assert sum(each.deletes for each in found.values()) > 300
    # A bad archive keeps nothing, and neither does a good one where there is a good set.
    assert not any(NO_GOOD_ONE in each.rule for each in decided([*DAILY, *lost[:50]], monthly=3).values())
    bad = [stored(one, "bad") for one in lost]
    assert not any(NO_GOOD_ONE in each.rule for each in decided([*DAILY[:3], *bad], monthly=12).values())


def test_a_set_of_the_future_is_kept_and_does_not_count() -> None:
    ahead = [backup_set(-24 * day) for day in (300, 200, 1)]
    found = decided([*ahead, *DAILY[40:]], days=1, verified=2)
    assert kept(found) == [-300, -200, -1, 40, 41]
    assert "future" in found[ahead[0].name].rule


def test_a_pin_has_priority_over_all_other_rules() -> None:
    old = backup_set(24 * 500, pin="pinned by ops: before the upgrade")
    found = decided([*DAILY, old])
    assert not found[old.name].deletes
    assert found[old.name].rule == "pinned by ops: before the upgrade"


def test_a_deletion_that_has_begun_is_finished_beyond_every_limit() -> None:
    rest = [begun(one) for one in DAILY[:3]]
    found = decided([*rest, *DAILY[3:6]], share=1)
    assert [found[one.name].rule for one in rest] == ["its deletion has begun"] * 3
    assert all(_decision.deletes for _decision in _prune.decide(rest, Policy({}), NOW))


def test_only_a_share_goes_at_once_and_the_oldest_first() -> None:
    found = decided(DAILY[:4] + DAILY[100:110], days=1, verified=1, share=20)
    gone = [name for name, each in found.items() if each.deletes]
    assert gone == [one.name for one in DAILY[108:110]]
    assert "at most 20 % of the 14 sets" in found[DAILY[107].name].rule


def test_without_a_policy_for_its_mode_a_set_stays() -> None:
    decisions = _prune.decide(DAILY, Policy({"database": ModePolicy(1)}), NOW)
    assert {each.rule for each in decisions} == {"alteryx_retention_policy has no rule for the mode full"}
    assert not any(each.deletes for each in decisions)

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decides which backup sets are deleted, and which rule keeps each of the others.

A pure function of sets, policy and time. A set is deleted only when no rule keeps it, so every rule can only make a
plan safer. Only good sets whose date is not in the future count.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from datetime import datetime, timedelta

from .._core.text import counted
from ._policy import ModePolicy, Policy
from ._sets import BackupSet

_PERIODS: dict[str, t.Callable[[datetime], tuple[int, ...]]] = {
    "daily": lambda moment: (moment.year, moment.month, moment.day),
    "weekly": lambda moment: tuple(moment.isocalendar()[:2]),
    "monthly": lambda moment: (moment.year, moment.month),
}


@dataclass(frozen=True)
class Decision:
    """The decision about a set, and its rule."""

    of: BackupSet
    deletes: bool
    rule: str


def decide(sets: t.Sequence[BackupSet], policy: Policy, now: datetime) -> list[Decision]:
    """A decision for each set, in the order of the sets.

    Args:
        sets: all sets of one fleet, of every mode.
        policy: of the operator.
        now: the time of the control node, with a zone.
    """
    decisions: dict[str, Decision] = {}
    for mode in dict.fromkeys(one.mode for one in sets):
        own = [one for one in sets if one.mode == mode]
        decided = _decide_mode(own, policy, mode, now)
        for decision in _within_share(decided, policy.share):
            decisions[decision.of.run_id] = decision
    return [decisions[one.run_id] for one in sets]


def _decide_mode(sets: t.Sequence[BackupSet], whole: Policy, mode: str, now: datetime) -> list[Decision]:
    policy = whole.modes.get(mode)
    good = list_good(sets, now)
    kept = _keep_good(good, policy, now) if policy else {}
    if policy:
        usable = _newest_first(one for one in sets if one.verified and not one.is_good and one.moment <= now)
        kept = {**_keep_usable(usable, good, policy), **kept}
    found = []
    for one in sets:
        rule = _always_keeps(one, whole, now) or kept.get(one.run_id, "")
        # What begins with the pin ends with it: a part of a set is of no use, but a person has said to keep it.
        if one.is_broken and not one.pin:
            found.append(Decision(one, True, "its deletion has begun"))
        elif rule or policy is None:
            found.append(Decision(one, False, rule))
        else:
            found.append(_decide_by_age(one, good, policy, now))
    return found


def list_good(sets: t.Iterable[BackupSet], now: datetime) -> list[BackupSet]:
    """Those that count, newest first. One that is dated in the future does not."""
    return _newest_first(one for one in sets if one.is_good and one.moment <= now)


def _newest_first(sets: t.Iterable[BackupSet]) -> list[BackupSet]:
    return sorted(sets, key=lambda one: one.order, reverse=True)


def _always_keeps(one: BackupSet, policy: Policy, now: datetime) -> str:
    """The rule that keeps a set whatever else there is, "" for none."""
    if one.pin:
        return one.pin
    if one.mode not in policy.modes:
        return (
            f"{policy.where} has no rule for the mode {one.mode or '(unknown)'}"
            if policy
            else f"{policy.where} is empty"
        )
    if one.started is None:
        return "nothing says when it was made"
    if one.moment > now:
        return "it is dated in the future; it does not count"
    return ""


def _keep_good(good: t.Sequence[BackupSet], policy: ModePolicy, now: datetime) -> dict[str, str]:
    """Run id -> the first rule that keeps a good set.

    Args:
        good: newest first, none with a date in the future.
        policy: of their mode.
        now: the time.
    """
    kept: dict[str, str] = {}
    limit = timedelta(days=policy.days)
    for one in good[: policy.verified]:
        kept.setdefault(one.run_id, f"one of the newest {policy.verified} that are verified good")
    for one in good:
        if one.age(now) <= limit:
            kept.setdefault(one.run_id, f"not older than {counted(policy.days, 'day')}")
    older = next((one for one in good if one.age(now) > limit), None)
    if older is not None:
        # Without it, the time from the limit to the next set would not be covered.
        kept.setdefault(older.run_id, f"the newest one older than {counted(policy.days, 'day')}")
    for name in _PERIODS:
        for one in _first_of_each(name, good)[: getattr(policy, name)]:
            kept.setdefault(one.run_id, f"one of the newest {getattr(policy, name)} {name} ones")
    return kept


def _first_of_each(name: str, sets: t.Iterable[BackupSet]) -> list[BackupSet]:
    """The first set of each day, week or month, by the name of the period."""
    found: dict[tuple[int, ...], BackupSet] = {}
    for one in sets:
        found.setdefault(_PERIODS[name](one.moment), one)
    return list(found.values())


def _keep_usable(usable: t.Sequence[BackupSet], good: t.Sequence[BackupSet], policy: ModePolicy) -> dict[str, str]:
    """Run id -> the rule that keeps a set that is not good, because no good one of its day, week or month is there. So
    the loss of the archives of one node does not delete those of the others.

    Args:
        usable: sets that are not good, with an archive that is verified good; newest first.
        good: newest first.
        policy: of their mode.
    """
    kept: dict[str, str] = {}
    for name in _PERIODS:
        for one in _newest_first(_first_of_each(name, (*good, *usable)))[: getattr(policy, name)]:
            if not one.is_good:
                rule = (
                    f"one of the newest {getattr(policy, name)} {name} ones, because no good one of that time is left"
                )
                kept.setdefault(one.run_id, f"{rule}; it does not count: {one.why[0]}")
    return kept


def _decide_by_age(one: BackupSet, good: t.Sequence[BackupSet], policy: ModePolicy, now: datetime) -> Decision:
    """Decides about a set that no rule keeps. One that is not good is deleted by its age, and only if newer good sets
    have replaced it."""
    days = counted(policy.days, "day")
    if one.is_good:
        return Decision(one, True, f"older than {days}, and no rule keeps it")
    problem = one.why[0]
    if one.age(now) <= timedelta(days=policy.days):
        return Decision(one, False, f"not older than {days}; it does not count: {problem}")
    newer = [each for each in good if each.moment > one.moment]
    if len(newer) < policy.verified:
        return Decision(one, False, f"there are not {policy.verified} newer good ones; it does not count: {problem}")
    return Decision(one, True, f"older than {days}, and it does not count: {problem}")


def _within_share(decided: t.Sequence[Decision], share: int) -> list[Decision]:
    """Limits the deletions to a percentage of the sets, the oldest first. A deletion that has begun is always
    completed."""
    room = len(decided) * share // 100
    new = [decision for decision in decided if decision.deletes and not decision.of.is_broken]
    newest = _newest_first(decision.of for decision in new)[: max(len(new) - room, 0)]
    waiting = {one.run_id for one in newest}
    rule = f"at most {share} % of the {len(decided)} sets of this mode are deleted in one run"
    return [Decision(decision.of, False, rule) if decision.of.run_id in waiting else decision for decision in decided]

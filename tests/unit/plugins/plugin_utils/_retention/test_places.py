# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which copies go at destinations: what must hold of every history while destinations are away and archive directories
are lost, and each rule by an example."""

from __future__ import annotations

import dataclasses
import random
import typing as t
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import StepFailed
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._retention import _places, _prune
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._retention._places import Place
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._retention._policy import ModePolicy, Policy
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._retention._sets import BackupSet

from . import histories
from .histories import NOW, backup_set, begun, stored

Archives = dict[str, set[tuple[str, str]]]


def archives_of(*holders: t.Iterable[BackupSet]) -> Archives:
    """Run -> the archives of it that are complete and verified good in any of these places."""
    found: Archives = {}
    for one in (one for sets in holders for one in sets):
        found.setdefault(one.run_id, set()).update(one.verified)
    return found


def kept_by(decisions: t.Iterable[_prune.Decision]) -> list[BackupSet]:
    return [decision.of for decision in decisions if not decision.deletes]


def hold(archive: list[BackupSet], places: list[Place], policy: Policy) -> tuple[list[BackupSet], list[Place]]:
    """The invariants of one plan. Returns what is there after it."""
    decisions, found = _places.decide_everywhere(archive, places, policy, NOW)
    known = [place for place in places if not place.away]
    assert sorted(found) == sorted(place.name for place in known), "one that is away is planned"
    pinned = {one.run_id for sets in (archive, *(place.sets for place in known)) for one in sets if one.pin}
    newest = {}
    for one in _prune.list_good(archive, NOW):
        newest.setdefault(one.mode, one.run_id)
    for place in known:
        decided = found[place.name]
        assert [each.of.run_id for each in decided] == [one.run_id for one in place.sets]
        own = {each.of.run_id: each for each in _prune.decide(place.sets, place.policy, NOW)}
        good = {one.run_id for one in place.sets if one.is_good}
        for each in decided:
            assert each.rule
            if not each.deletes:
                continue
            run_id = each.of.run_id
            assert own[run_id].deletes, "its own policy keeps it"
            assert run_id not in pinned, "pinned somewhere"
            assert each.of.is_broken or newest.get(each.of.mode) in good, "its own copy has not succeeded"
    after = [dataclasses.replace(place, sets=kept_by(found.get(place.name, ()))) for place in places]
    after = [new if not new.away else old for new, old in zip(after, places, strict=True)]
    left = kept_by(decisions)
    # Of all that exists, destinations that are away included, what the archive directory would keep is lost nowhere.
    everything = [archive, *(place.sets for place in places)]
    would_keep = _places._list_kept(everything, policy, NOW)
    before, now = archives_of(*everything), archives_of(left, *(place.sets for place in after))
    for run_id in would_keep:
        # A set without a verified archive may be deleted everywhere.
        assert before[run_id] == now.get(run_id, set()), f"the last copy of {run_id}"
    return left, after


def _some(dice: random.Random, sets: t.Iterable[BackupSet], share: float) -> list[BackupSet]:
    return [one if dice.random() < 0.9 else begun(one) for one in sets if dice.random() < share]


def _random_places(dice: random.Random, history: list[BackupSet], common: Policy) -> list[Place]:
    found = []
    for name in ("nas1", "nas2", "nas3")[: dice.randint(0, 3)]:
        policy = common if dice.random() < 0.5 else histories.random_policy(dice)
        sets = _some(dice, history, dice.choice((0.2, 0.7, 1.0)))
        found.append(Place(name, policy, {}, sets, "no answer" if dice.random() < 0.3 else ""))
    return found


def _with_archives(dice: random.Random, history: list[BackupSet]) -> list[BackupSet]:
    return [one if one.pruning else stored(one, "good" if one.is_good or dice.random() < 0.5 else "bad")
            for one in history]  # fmt: skip


def check_a_moment(seed: int) -> None:
    """Any sets, anywhere, under any policies."""
    dice = random.Random(seed)
    history = _with_archives(dice, histories.random_history(dice))
    policy = histories.random_policy(dice)
    archive = _some(dice, history, dice.choice((0.0, 0.3, 0.9)))
    places = _random_places(dice, history, policy)
    for _unused in range(3):
        archive, places = hold(archive, places, policy)


def check_days(seed: int) -> None:
    """Run after run: each is copied to the destinations that answer, and prunes. Once the archive directory is lost."""
    dice = random.Random(seed)
    policy = Policy({"full": ModePolicy(dice.randint(1, 8), dice.randint(1, 3), monthly=dice.randint(0, 2))}, 50)
    own = Policy({"full": ModePolicy(dice.randint(1, 20), dice.randint(1, 3))}, dice.choice((50, 100)))
    archive: list[BackupSet] = []
    places = [Place("nas1", policy), Place("nas2", own)]
    lost = dice.randint(5, 40)
    for day in range(40):
        archive = [_older(one) for one in archive]
        places = [dataclasses.replace(place, sets=[_older(one) for one in place.sets]) for place in places]
        if day == lost:
            archive = []
        fails = dice.random() < 0.1
        new = stored(backup_set(0, number=day, why=("its run ended FAILED",) if fails else ()))
        new = dataclasses.replace(new, run_id=f"run {day}", name=f"run {day}")
        new.backups["node1"]["archive_sha256"] = f"sha256 {day}"  # type: ignore[index]
        archive = [new, *archive]
        places = [dataclasses.replace(place, away="no answer" if dice.random() < 0.25 else "") for place in places]
        places = [place if place.away else dataclasses.replace(place, sets=[new, *place.sets]) for place in places]
        if not fails:
            archive, places = hold(archive, places, policy)


def _older(one: BackupSet) -> BackupSet:
    return dataclasses.replace(one, started=one.moment - timedelta(days=1))


@given(st.integers(0, 2**64))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_must_hold_wherever_the_sets_are(seed: int) -> None:
    check_a_moment(seed)


@given(st.integers(0, 2**64))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_must_hold_of_every_history_while_destinations_are_away(seed: int) -> None:
    check_days(seed)


@pytest.mark.long
@given(st.integers(0, 2**64))
@settings(max_examples=2_000, deadline=None, database=None)
def test_what_must_hold_of_thousands_of_histories(seed: int) -> None:
    check_a_moment(seed)
    check_days(seed)


RULES = Policy({"full": ModePolicy(30)}, 100)
SHORT = Policy({"full": ModePolicy(1, 1)}, 100)
DAILY = [stored(backup_set(24 * day)) for day in range(40)]


def rules(archive: list[BackupSet], *places: Place, policy: Policy = RULES) -> dict[str, dict[int, str]]:
    """Destination -> age in days -> the rule that keeps or removes, those that remove with a minus before them."""
    _decisions, found = _places.decide_everywhere(archive, places, policy, NOW)
    return {
        name: {(NOW - each.of.moment).days: f"{'-' if each.deletes else ''}{each.rule}" for each in decided}
        for name, decided in found.items()
    }


def kept(told: dict[int, str]) -> list[int]:
    return sorted(age for age, rule in told.items() if not rule.startswith("-"))


def test_a_destination_follows_its_own_policy() -> None:
    found = rules(DAILY, Place("nas1", RULES, sets=DAILY), Place("nas2", SHORT, sets=DAILY))
    assert kept(found["nas1"]) == list(range(32))
    # What the archive directory has needs no copy.
    assert kept(found["nas2"]) == [0, 1, 2]


def test_a_destination_waits_for_its_copy_of_the_newest_backup() -> None:
    (told,) = rules(DAILY, Place("nas1", SHORT, sets=DAILY[1:])).values()
    assert kept(told) == list(range(1, 40))
    assert told[20] == f"there is no good copy of {DAILY[0].name} here yet"


def test_a_destination_deletes_nothing_while_the_archive_directory_has_no_good_backup() -> None:
    (told,) = rules([], Place("nas1", SHORT, sets=DAILY)).values()
    assert kept(told) == list(range(40))
    assert told[20] == "the archive directory has no good backup of this mode"


def test_the_last_verified_copy_of_what_the_archive_directory_has_lost_stays() -> None:
    found = rules(DAILY[:3], Place("nas1", SHORT, sets=DAILY), Place("nas2", SHORT, sets=DAILY))
    # One destination is enough.
    assert kept(found["nas1"]) == list(range(32))
    assert found["nas1"][20] == "the last verified copy; the archive directory would keep it and does not have it"
    assert kept(found["nas2"]) == [0, 1, 2]
    # One that is away may have been lost, too.
    away = Place("nas1", SHORT, away="no answer")
    assert kept(rules(DAILY[:3], away, Place("nas2", SHORT, sets=DAILY))["nas2"]) == list(range(32))


def test_a_damaged_archive_is_as_good_as_none() -> None:
    bad = stored(dataclasses.replace(DAILY[20], why=("node1: its verification found it bad",)), "bad")
    (told,) = rules([*DAILY[:20], bad, *DAILY[21:]], Place("nas1", SHORT, sets=DAILY)).values()
    assert kept(told) == [0, 1, 2, 20]


def test_a_pin_holds_everywhere() -> None:
    pinned = dataclasses.replace(DAILY[39], pin="pinned by ops")
    (told,) = rules([*DAILY[:39], pinned], Place("nas1", SHORT, sets=DAILY)).values()
    assert told[39] == "pinned by ops"
    decisions, _found = _places.decide_everywhere(DAILY, [Place("nas1", SHORT, sets=[pinned])], RULES, NOW)
    assert decisions[39].rule == "pinned by ops"


def test_what_has_begun_is_finished_whatever_else_is_said() -> None:
    (told,) = rules([], Place("nas1", Policy({}), sets=[begun(DAILY[5])])).values()
    assert told[5] == "-its deletion has begun"


def test_policies_of_destinations_are_read_before_a_run() -> None:
    assert not _places.check_policies({"nas1": None, "nas2": {}}, 50)
    assert _places.check_policies({"nas1": None, "nas2": {"full": {"days": 365}}}, 50)
    with pytest.raises(StepFailed, match=r"destination nas2: retention\.full\.days is 0, which would"):
        _places.check_policies({"nas1": None, "nas2": {"full": {"days": 0}}}, 50)

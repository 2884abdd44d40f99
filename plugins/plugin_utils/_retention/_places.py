# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which copies of backup sets are deleted at destinations.

Each destination follows its own policy by the rules of _prune. What is here can only keep more: a destination waits for
its copy of the newest backup, a pin holds everywhere, and the last verified copy of a set stays while the policy of the
archive directory would keep the set.
"""

from __future__ import annotations

import dataclasses
import typing as t
from dataclasses import dataclass
from datetime import datetime

from .._core.reasons import StepFailed
from ._policy import Policy, read_policy
from ._prune import Decision, decide, list_good
from ._sets import BackupSet, Catalogues, Entry, read_sets


@dataclass(frozen=True)
class Place:
    """A destination as all nodes of a fleet see it.

    Attributes:
        name: of the destination.
        policy: what the operator has decided for it.
        catalogues: host -> catalogue and sets there.
        sets: of the fleet there, newest first.
        away: why what it holds is not known; then it counts as holding nothing. "" where it is known.
    """

    name: str
    policy: Policy
    catalogues: Catalogues = dataclasses.field(default_factory=dict)
    sets: t.Sequence[BackupSet] = ()
    away: str = ""


def read_places(catalogues: Catalogues, fleet: str, now: datetime, common: Policy, judged: str = "") -> list[Place]:
    """The destinations that every node was asked about.

    Args:
        catalogues: host -> result of backup_info with all destinations.
        fleet: its name.
        now: see _sets.read_sets.
        common: policy of destinations that have none of their own.
        judged: see _sets.read_sets.
    """
    records = [one for result in catalogues.values() for one in result.get("sets", [])]
    found: dict[str, dict[str, Entry]] = {}
    for host, result in catalogues.items():
        for seen in result.get("places", []):
            found.setdefault(seen["destination"], {})[host] = seen
    return [_read_place(name, seen, catalogues, fleet, now, common, judged, records) for name, seen in found.items()]


def _read_place(
    name: str,
    seen: dict[str, Entry],
    hosts: t.Collection[str],
    fleet: str,
    now: datetime,
    common: Policy,
    judged: str,
    records: t.Sequence[Entry],
) -> Place:
    own = next(iter(seen.values()))["retention"]
    policy = common if own is None else read_policy(own, common.share, name_policy(name))
    if away := _find_away(seen, hosts):
        return Place(name, policy, away=away)
    return Place(name, policy, seen, read_sets(seen, fleet, now, judged, records))


def name_policy(destination: str) -> str:
    """What messages call the policy of a destination."""
    return f"destination {destination}: retention"


def _find_away(seen: t.Mapping[str, Entry], hosts: t.Collection[str]) -> str:
    for host in hosts:
        if host not in seen:
            return f"{host} has no destination of this name"
        if seen[host]["reason"]:
            return f"{host} cannot list it: {seen[host]['message']}"
    return ""


def decide_everywhere(
    archive: t.Sequence[BackupSet], places: t.Sequence[Place], policy: Policy, now: datetime
) -> tuple[list[Decision], dict[str, list[Decision]]]:
    """What becomes of each set in the archive directory, and at each destination that is known.

    Args:
        archive: the sets in the archive directory.
        places: all destinations.
        policy: of the archive directory.
        now: the time of the control node.
    """
    known = [place for place in places if not place.away]
    pins = {one.run_id: one.pin for sets in (archive, *(place.sets for place in known)) for one in sets if one.pin}
    archive = _hold_pins(archive, pins)
    decisions = decide(archive, policy, now)
    sets = {place.name: _hold_pins(place.sets, pins) for place in known}
    found = {place.name: _wait_for_copy(decide(sets[place.name], place.policy, now), archive, now) for place in known}
    would_keep = _list_kept([archive, *sets.values()], policy, now)
    return decisions, _keep_last(found, decisions, would_keep)


def _hold_pins(sets: t.Iterable[BackupSet], pins: t.Mapping[str, str]) -> list[BackupSet]:
    """A pin holds wherever the set is."""
    return [dataclasses.replace(one, pin=one.pin or pins.get(one.run_id, "")) for one in sets]


def _is_new(decision: Decision) -> bool:
    """Does a rule delete the set, and not what has begun already?"""
    return decision.deletes and not decision.of.is_broken


def _wait_for_copy(decided: t.Sequence[Decision], archive: t.Sequence[BackupSet], now: datetime) -> list[Decision]:
    """Keeps all sets of a mode until the newest good one of the archive directory has a good copy here."""
    newest: dict[str, BackupSet] = {}
    for one in list_good(archive, now):
        newest.setdefault(one.mode, one)
    here = {decision.of.run_id for decision in decided if decision.of.is_good}

    def judge(decision: Decision) -> Decision:
        latest = newest.get(decision.of.mode)
        if not _is_new(decision) or (latest is not None and latest.run_id in here):
            return decision
        if latest is None:
            return Decision(decision.of, False, "the archive directory has no good backup of this mode")
        return Decision(decision.of, False, f"there is no good copy of {latest.name} here yet")

    return [judge(decision) for decision in decided]


def _list_kept(everywhere: t.Sequence[t.Sequence[BackupSet]], policy: Policy, now: datetime) -> set[str]:
    """The runs whose sets the archive directory would keep if it had all of them."""
    union: dict[str, BackupSet] = {}
    for one in (one for sets in everywhere for one in sets):
        if one.run_id not in union or (one.is_good and not union[one.run_id].is_good):
            union[one.run_id] = one
    decided = decide(list(union.values()), dataclasses.replace(policy, share=100), now)
    return {decision.of.run_id for decision in decided if not decision.deletes}


def _keep_last(
    found: t.Mapping[str, t.Sequence[Decision]], archive: t.Sequence[Decision], would_keep: t.Collection[str]
) -> dict[str, list[Decision]]:
    """Keeps what is the last verified copy of a set that the archive directory would keep and does not have any more.

    Args:
        found: destination -> what its policy says.
        archive: what becomes of the sets in the archive directory.
        would_keep: the runs whose sets it would keep.
    """
    held: dict[str, set[tuple[str, str]]] = {}
    for decision in (*archive, *(each for decided in found.values() for each in decided)):
        if not decision.deletes:
            held.setdefault(decision.of.run_id, set()).update(decision.of.verified)

    def judge(decision: Decision) -> Decision:
        one = decision.of
        others = held.setdefault(one.run_id, set())
        if not _is_new(decision) or one.run_id not in would_keep or one.verified <= others:
            return decision
        # The next destination with this set need not keep it, too.
        others.update(one.verified)
        return Decision(one, False, "the last verified copy; the archive directory would keep it and does not have it")

    return {name: [judge(decision) for decision in decided] for name, decided in found.items()}


def check_policies(retentions: t.Mapping[str, t.Any], share: t.Any) -> bool:
    """Is anything ever deleted at a destination by a policy of its own? Raises StepFailed for one that cannot be meant.

    Args:
        retentions: destination -> what the operator has written, None for nothing.
        share: percent.
    """
    problems: list[str] = []
    found = False
    for name, given in retentions.items():
        if given is None:
            continue
        try:
            found = bool(read_policy(given, share, name_policy(name))) or found
        except StepFailed as failure:
            problems.append(failure.message)
    if problems:
        raise StepFailed("invalid_variable", "; ".join(problems))
    return found

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chooses the backup set to restore: the newest good one, or the one that the operator names."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field
from datetime import datetime

from .._archive import _catalogue
from .._core.reasons import StepFailed
from .._retention import _sets
from .._retention._sets import BackupSet, Catalogues, Entry

LATEST = "latest"
"""The operator's word for the newest good set."""

SCOPES: dict[str, tuple[str, ...]] = {
    "full": ("full",),
    "database": ("full", "database"),
    "configuration": ("full", "config"),
}
"""The scopes of a restore -> the modes of backups that contain them."""


@dataclass(frozen=True)
class Choice:
    """The choice.

    Attributes:
        set: the backup set.
        backups: host -> its backup, for the hosts to restore.
        passed_over: newer sets with the scope that are not used, and why, a sentence each; newest first.
        warnings: problems of a set that the operator has named, if they do not prevent its restore.
    """

    set: BackupSet
    backups: t.Mapping[str, Entry] = field(default_factory=dict)
    passed_over: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def list_others(catalogues: Catalogues, fleet: str) -> list[Entry]:
    """The backups in the folders of these nodes that are not in a set of the fleet: those of other fleets, and those
    without a known fleet."""
    return [
        entry
        for host, result in catalogues.items()
        for entry in result["catalogue"]
        if _sets.is_of_node(entry, host) and not (entry["run_id"] and entry["fleet"] == fleet)
    ]


def holds(catalogue: t.Iterable[Entry], wanted: str, scope: str) -> bool:
    """Has a node a backup that may be what is wanted? Its set is judged when all nodes are known; see choose."""
    return any(
        entry["mode"] in SCOPES[scope]
        and not _incomplete(entry)
        and (
            entry["verified"]["verdict"] == "good"
            if wanted == LATEST
            else entry["verified"]["verdict"] != "bad" and _is_named(entry["run_id"], entry["id"], wanted)
        )
        for entry in catalogue
    )


def choose_backup(
    catalogues: Catalogues,
    fleet: str,
    wanted: str,
    scope: str,
    nodes: t.Sequence[str],
    now: datetime,
    destination: str = "",
) -> Choice:
    """Chooses the set that is restored, of what the nodes have found.

    Args:
        catalogues: of every node.
        fleet: its name.
        wanted, scope, nodes, now: as of choose.
        destination: that the catalogues are of; "" for the archive directories.

    Raises:
        StepFailed: as of choose; backup_at_destination when only a destination has it.
    """
    sets = _sets.read_sets(catalogues, fleet, now, are_copies=bool(destination))
    try:
        return choose(sets, wanted, scope, nodes, now, list_others(catalogues, fleet))
    except StepFailed as failure:
        found = _find_elsewhere(catalogues, fleet, wanted, scope, nodes, now)
        if found is None:
            raise
        name, there = found
        raise StepFailed(
            "backup_at_destination",
            f"{failure.message}; the destination {name} has {there.name} (run {there.run_id}): to restore it from "
            f"there, add -e alteryx_catalogue_destination={name}",
        ) from failure


def _find_elsewhere(
    catalogues: Catalogues, fleet: str, wanted: str, scope: str, nodes: t.Sequence[str], now: datetime
) -> tuple[str, BackupSet] | None:
    """A destination that has what the archive directories lack, and the set there that would be restored."""
    names = dict.fromkeys(place["destination"] for result in catalogues.values() for place in result["places"])
    for name in names:
        there = {host: {"catalogue": _entries_at(result, name)} for host, result in catalogues.items()}
        try:
            return name, choose(_sets.read_sets(there, fleet, now, are_copies=True), wanted, scope, nodes, now).set
        except StepFailed:
            continue
    return None


def _entries_at(result: t.Mapping[str, t.Any], destination: str) -> list[Entry]:
    """What a node has at a destination. A node that has not looked there has it in its archive directory."""
    if not result["places"]:
        return list(result["catalogue"])
    found = (place["catalogue"] for place in result["places"] if place["destination"] == destination)
    return next(found, [])


def choose(
    sets: t.Sequence[BackupSet],
    wanted: str,
    scope: str,
    nodes: t.Sequence[str],
    now: datetime,
    others: t.Sequence[Entry] = (),
) -> Choice:
    """Chooses the set that is restored.

    An archive that is not complete or was found bad is never chosen. If the operator names a set, its archives may be
    unverified, because the extraction reads all of an archive before the server is changed.

    Args:
        sets: of the fleet, see _sets.read_sets.
        wanted: LATEST, the id of a run, or the name of a backup.
        scope: one of SCOPES.
        nodes: the nodes to restore.
        now: a set that was started later is never the latest.
        others: see list_others.

    Raises:
        StepFailed: backup_unknown, no_good_backup, archive_incomplete, archive_bad, restore_scope_missing,
            restore_set_incomplete, invalid_variable.
    """
    if scope not in SCOPES:
        raise StepFailed("invalid_variable", f"the scope is {scope!r}, not one of {', '.join(SCOPES)}")
    ordered = sorted(sets, key=lambda one: (*one.order, one.run_id), reverse=True)
    if wanted == LATEST:
        return _choose_latest(ordered, scope, nodes, now)
    return _choose_named(ordered, wanted, scope, nodes, others)


def _choose_latest(sets: t.Sequence[BackupSet], scope: str, nodes: t.Sequence[str], now: datetime) -> Choice:
    passed_over: list[str] = []
    for one in sets:
        if one.mode not in SCOPES[scope]:
            continue
        why = [*one.why, *_missing(one, scope, nodes)]
        if one.started is None:
            why.append("nothing says when it was started")
        elif one.started > now:
            why.append("it was started in the future, by its date")
        if not why:
            return Choice(one, _backups(one, scope, nodes), tuple(passed_over))
        passed_over.append(f"{one.name}: {'; '.join(dict.fromkeys(why))}")
    what = f"no backup of the fleet holds the scope {scope} and is complete and verified good on every node"
    detail = {"passed_over": passed_over}
    raise StepFailed("no_good_backup", f"{what}: {' | '.join(passed_over) or 'there is none at all'}", detail)


def _choose_named(
    sets: t.Sequence[BackupSet], wanted: str, scope: str, nodes: t.Sequence[str], others: t.Sequence[Entry]
) -> Choice:
    found = _named(sets, wanted)
    if not found:
        raise _unknown(sets, wanted, others)
    if len(found) > 1:
        runs = " or ".join(one.run_id for one in found)
        raise StepFailed("backup_unknown", f"the name {wanted} stands for several backups: name the run, {runs}")
    one = found[0]
    if one.mode not in SCOPES[scope]:
        modes = " or ".join(SCOPES[scope])
        raise StepFailed(
            "restore_scope_missing",
            f"{one.name} is a backup of the mode {one.mode}; the scope {scope} needs one of the mode {modes}",
        )
    if missing := _missing(one, scope, nodes):
        raise StepFailed("restore_set_incomplete", f"{one.name}: {'; '.join(missing)}")
    backups = _backups(one, scope, nodes)
    if why := [f"{host}: {each}" for host, entry in backups.items() for each in _incomplete(entry)]:
        raise StepFailed("archive_incomplete", f"{one.name} is not complete: {'; '.join(why)}")
    if bad := [host for host, entry in backups.items() if entry["verified"]["verdict"] == "bad"]:
        why = [f"{host}: {backups[host]['verified']['problem'] or 'it does not say why'}" for host in bad]
        raise StepFailed("archive_bad", f"the verification of {one.name} found it bad: {'; '.join(why)}")
    return Choice(one, backups, warnings=tuple(f"{one.name}: {why}" for why in one.why))


def _named(sets: t.Sequence[BackupSet], wanted: str) -> list[BackupSet]:
    # A run ID belongs to one set.
    by_run = [one for one in sets if one.run_id == wanted]
    return by_run or [one for one in sets if _is_named("", one.name, wanted)]


def _is_named(run_id: str, name: str, wanted: str) -> bool:
    # Names of files in Windows are not case-sensitive.
    return wanted == run_id or wanted.casefold() == name.casefold()


def _unknown(sets: t.Sequence[BackupSet], wanted: str, others: t.Sequence[Entry]) -> StepFailed:
    """Explains why no set has this name."""
    for entry in others:
        if not _is_named(entry["run_id"], str(entry["id"]), wanted):
            continue
        if entry["fleet"]:
            return StepFailed("backup_unknown", f"{wanted} is a backup of another fleet, {entry['fleet']}")
        why = "; ".join(entry["why"]) or "its manifest names no fleet or no run"
        return StepFailed("archive_incomplete", f"{wanted} in {entry['folder']} is not complete: {why}")
    known = [{"id": one.name, "run_id": one.run_id} for one in sets]
    return StepFailed("backup_unknown", f"of this fleet, {_catalogue.unknown_text(known, wanted)}")


def _incomplete(entry: Entry) -> list[str]:
    """Why an archive is not complete; empty if it is complete."""
    if entry["pruning"]:
        return ["its deletion has begun"]
    return [] if entry["complete"] else [str(why) for why in entry["why"]] or ["it is not complete"]


def _backups(one: BackupSet, scope: str, nodes: t.Sequence[str]) -> dict[str, Entry]:
    """The backups to extract. For the scope database, only that of the node with the dump."""
    return {
        host: entry
        for host, entry in sorted(one.backups.items())
        if host in nodes and (scope != "database" or entry["dumped"])
    }


def _missing(one: BackupSet, scope: str, nodes: t.Sequence[str]) -> list[str]:
    """The parts of the scope that the set does not have."""
    found = []
    if scope != "configuration" and not any(one.backups[host]["dumped"] for host in nodes if host in one.backups):
        found.append("no archive of a node that is restored holds the database")
    if scope != "database":
        found += [f"it has no archive of {host}" for host in nodes if host not in one.backups]
    return found

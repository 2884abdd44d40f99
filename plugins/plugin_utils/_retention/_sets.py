# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backup sets: the entries of one run in the catalogues of all nodes. A set is kept or deleted as a whole."""

from __future__ import annotations

import ntpath
import typing as t
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

Entry = t.Mapping[str, t.Any]
"""A backup of one node, as _archive/_catalogue.py describes it."""
Catalogues = t.Mapping[str, t.Mapping[str, t.Any]]
"""Host -> result of backup_info."""


@dataclass(frozen=True)
class BackupSet:
    """The backups of one run of one fleet.

    Attributes:
        run_id: identity of the run.
        name: of its files, without an ending.
        mode: full, database or config.
        started: when the run began; None if that is not recorded.
        why: why it is not known to be good, one sentence each; empty if every node's archive was verified as good and
            the run ended well. Only such a set counts.
        pin: who pinned it, why and until when, as a sentence; "" if it is not pinned now.
        pruning: has its deletion begun? Then it can never be complete again.
        backups: host -> its backup.
        bytes: of all files.
    """

    run_id: str
    name: str
    mode: str
    started: datetime | None
    why: tuple[str, ...] = ()
    pin: str = ""
    pruning: bool = False
    backups: t.Mapping[str, Entry] = field(default_factory=dict)
    bytes: int = 0

    @property
    def is_good(self) -> bool:
        """Is the set good?"""
        return not self.why

    @property
    def is_broken(self) -> bool:
        """Has its deletion come so far that it is not complete any more?"""
        return any(entry["pruning"] and not entry["complete"] for entry in self.backups.values())

    @property
    def verified(self) -> frozenset[tuple[str, str]]:
        """Host and SHA-256 of each archive that is complete and was verified good, whatever the run said."""
        return frozenset(
            (host, str(entry["archive_sha256"])) for host, entry in self.backups.items() if not list(_problems(entry))
        )

    @property
    def moment(self) -> datetime:
        """When it was started. A set without a date counts as one of the far future, which is kept."""
        return self.started or datetime.max.replace(tzinfo=UTC)

    @property
    def order(self) -> tuple[datetime, str]:
        """The key for sorting: by time, and then by name."""
        return self.moment, self.name

    def age(self, now: datetime) -> timedelta:
        """The age of the set."""
        return now - self.moment


def read_sets(
    catalogues: Catalogues,
    fleet: str,
    now: datetime,
    judged: str = "",
    records: t.Iterable[Entry] = (),
    *,
    are_copies: bool = False,
) -> list[BackupSet]:
    """The sets of a fleet on its nodes, newest first.

    A backup without a manifest that names this fleet is left out, so it is never planned and never deleted.

    Args:
        catalogues: of every node of the fleet.
        fleet: its name.
        now: pins that have ended by then do not count.
        judged: ID of the current run if it has judged itself, because it has no .set.json yet.
        records: the content of .set.json files at other places. A record in the catalogues replaces one of these.
        are_copies: the catalogues are those of a destination, where a .set.json may be missing. Without one, the
            verdicts of the archives alone count.
    """
    members: dict[str, dict[str, Entry]] = {}
    for host, result in catalogues.items():
        for entry in result["catalogue"]:
            if is_of_node(entry, host) and entry["run_id"] and entry["fleet"] == fleet:
                members.setdefault(entry["run_id"], {})[host] = entry
    own = (one for result in catalogues.values() for one in result.get("sets", []))
    runs = {one["run_id"]: one for one in (*records, *own) if not one["error"]}
    unrecorded = members.keys() - runs.keys() if are_copies else set()
    found = [
        _read_set(run_id, backups, runs.get(run_id), catalogues, now, is_judged=run_id in {judged, *unrecorded})
        for run_id, backups in members.items()
    ]
    return sorted(found, key=lambda one: one.order, reverse=True)


def is_of_node(entry: Entry, host: str) -> bool:
    """Is a backup in the folder of this node? Other nodes may use the same share."""
    # Names of folders in Windows are not case-sensitive.
    return ntpath.basename(str(entry["folder"])).casefold() == host.casefold()


def _read_set(
    run_id: str,
    backups: dict[str, Entry],
    run: Entry | None,
    hosts: t.Collection[str],
    now: datetime,
    *,
    is_judged: bool,
) -> BackupSet:
    first = next(iter(backups.values()))
    why = [f"{host}: {problem}" for host, entry in backups.items() for problem in _problems(entry)]
    if len({(entry["id"], entry["mode"]) for entry in backups.values()}) > 1:
        why.append("its backups differ in name or mode")
    if not is_judged:
        why += _run_problems(run, backups, hosts)
    dates = [moment for entry in backups.values() if (moment := read_time(entry["started"])) is not None]
    pins = [text for entry in backups.values() if (text := describe_pin(entry["pin"], now))]
    return BackupSet(
        run_id=run_id,
        name=first["id"],
        mode=first["mode"],
        # The pin with the later date applies.
        started=max(dates, default=None),
        why=tuple(why),
        pin=pins[0] if pins else "",
        pruning=any(entry["pruning"] for entry in backups.values()),
        backups=backups,
        bytes=sum(file["bytes"] for entry in backups.values() for file in entry["files"]),
    )


def _problems(entry: Entry) -> t.Iterator[str]:
    if not entry["complete"]:
        yield from entry["why"]
    elif entry["verified"]["verdict"] != "good":
        yield {"bad": "its verification found it bad"}.get(
            entry["verified"]["verdict"], f"its verdict is: {entry['verified']['verdict']}"
        )
    if entry["partial"]:
        yield "its run did not take all that it was to take"


def _run_problems(run: Entry | None, backups: t.Collection[str], hosts: t.Collection[str]) -> t.Iterator[str]:
    """The problems that the run recorded. A set in which the archive of a node is missing is not complete."""
    if run is None:
        yield "there is no .set.json of its run"
        return
    if run["verdict"] != "OK":
        yield f"its run ended {run['verdict'] or 'without a verdict'}"
    # The backups of a node that was removed from the fleet are not available.
    yield from (f"the archive of {node} is missing" for node in run["nodes"] if node in hosts and node not in backups)


def describe_pin(pin: Entry | None, now: datetime) -> str:
    """A pin that applies, as a sentence; "" for none and for one that has ended. A pin that cannot be read applies."""
    if pin is None:
        return ""
    if pin["error"]:
        return f"pinned; its pin cannot be read: {pin['error']}"
    until = read_time(pin["until"])
    if until is not None and until < now:
        return ""
    end = f" until {pin['until'][:10]}" if pin["until"] else ""
    why = f": {pin['why']}" if pin["why"] else ""
    return f"pinned by {pin['who'] or 'somebody'}{end}{why}"


def read_time(text: str) -> datetime | None:
    """UTC text as a moment; None if the text is not a time with a zone."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pins: the backups that an operator chooses, and until when they are kept."""

from __future__ import annotations

import typing as t
from datetime import UTC, date, datetime, time

from .._archive import _catalogue
from .._copy import _copies
from .._core.reasons import StepFailed
from ._sets import Catalogues, Entry, is_of_node


def read_end(text: str, now: datetime) -> str:
    """Until when a pin holds, as UTC text: the end of a day. "" for a pin without an end.

    Args:
        text: YYYY-MM-DD, or "".
        now: a day that has ended by then is refused.
    """
    if not text:
        return ""
    try:
        end = datetime.combine(date.fromisoformat(text), time(23, 59, 59), UTC)
    except ValueError as error:
        raise StepFailed("pin_refused", f"{text!r} is not a date; write YYYY-MM-DD, e.g. {now:%Y}-12-31") from error
    if end < now:
        raise StepFailed("pin_refused", f"{text} is in the past")
    return end.isoformat().replace("+00:00", "Z")


def find_backups(catalogues: Catalogues, fleet: str, wanted: str) -> dict[str, dict[str, Entry]]:
    """Place -> host -> its backup of the named run there. The place "" is the archive directory. Raises StepFailed if
    no place has the backup, or if the backups of a node could not be listed.

    Args:
        catalogues: host -> result of backup_info with all destinations.
        fleet: backups of others are not touched.
        wanted: name of a backup or id of its run.
    """
    if not wanted:
        raise StepFailed("pin_refused", "no backup is named; set alteryx_retention_pin_id")
    places: dict[str, dict[str, t.Sequence[Entry]]] = {"": {}}
    for host, result in catalogues.items():
        if "catalogue" not in result:
            raise StepFailed("pin_refused", f"the backups of {host} could not be listed", {"node": host})
        places[""][host] = result["catalogue"]
        for place in result.get("places", []):
            places.setdefault(place["destination"], {})[host] = place["catalogue"]
    own = {
        (place, host): [entry for entry in entries if entry["fleet"] == fleet and is_of_node(entry, host)]
        for place, hosts in places.items()
        for host, entries in hosts.items()
    }
    found: dict[str, dict[str, Entry]] = {}
    for (place, host), entries in own.items():
        if chosen := _catalogue.chosen(entries, wanted):
            found.setdefault(place, {})[host] = chosen[0]
    if not found:
        every = [entry for entries in own.values() for entry in entries]
        raise StepFailed("pin_refused", f"in the fleet {fleet} {_catalogue.unknown_text(every, wanted)}")
    return found


def leave_out_broken(found: t.Mapping[str, dict[str, Entry]], wanted: str) -> dict[str, dict[str, Entry]]:
    """The places where the deletion of the set has not begun. Raises StepFailed if it has begun everywhere.

    Args:
        found: see find_backups.
        wanted: what the operator has named.
    """
    whole = {place: hosts for place, hosts in found.items() if not any(entry["pruning"] for entry in hosts.values())}
    if not whole:
        raise StepFailed("pin_refused", f"the deletion of {wanted} has begun; it cannot be kept any more")
    return whole


def build_pin_spec(
    name: str, host: str, pin: t.Mapping[str, str] | None, who: str, places: t.Sequence[Entry], fleet: str
) -> dict[str, t.Any]:
    """The spec of a job that writes or removes a pin at destinations.

    Args:
        name: of the backup.
        host: whose backup it is.
        pin: who, why and until; None to remove it.
        who: for the audit log.
        places: the destinations with accounts, as jobs want them.
        fleet: whose folder there it is.
    """
    return {
        "run_id": "",
        "name": name,
        "node": host,
        "pin": pin,
        "who": who,
        "places": _copies.add_folders(places, fleet),
    }

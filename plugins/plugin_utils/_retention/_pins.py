# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pins: the backups that an operator chooses, and until when they are kept."""

from __future__ import annotations

from datetime import UTC, date, datetime, time

from .._archive import _catalogue
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


def find_backups(catalogues: Catalogues, fleet: str, wanted: str) -> dict[str, Entry]:
    """Host -> its backup of the chosen run. Raises StepFailed if there is none, or if a node is not known.

    Args:
        catalogues: host -> result of backup_info.
        fleet: backups of other fleets are not changed.
        wanted: name of a backup or id of its run.
    """
    if not wanted:
        raise StepFailed("pin_refused", "no backup is named; set alteryx_retention_pin_id")
    for host, result in catalogues.items():
        if "catalogue" not in result:
            raise StepFailed("pin_refused", f"the backups of {host} could not be listed", {"node": host})
    own = {
        host: [entry for entry in result["catalogue"] if entry["fleet"] == fleet and is_of_node(entry, host)]
        for host, result in catalogues.items()
    }
    found = {host: chosen[0] for host, entries in own.items() if (chosen := _catalogue.chosen(entries, wanted))}
    if not found:
        every = [entry for entries in own.values() for entry in entries]
        raise StepFailed("pin_refused", f"in the fleet {fleet} {_catalogue.unknown_text(every, wanted)}")
    return found

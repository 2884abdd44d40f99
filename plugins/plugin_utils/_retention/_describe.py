# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a deletion for people: a line for each set with the rule that keeps or removes it."""

from __future__ import annotations

import typing as t

from .._core.text import counted, one_line, size

_COLUMNS = ("", "BACKUP SET", "MODE", "STARTED (UTC)", "SIZE", "RULE")


def describe_plan(plan: t.Mapping[str, t.Any], would: bool = False) -> str:
    """A sentence, and below it the table of all sets.

    Args:
        plan: see _orders.write_plan.
        would: is this a prediction?
    """
    rows = [
        (
            ("would delete" if would else "delete") if one["deletes"] else "keep",
            one["name"],
            one["mode"] or "?",
            one["started"].replace("T", " ")[:16] or "?",
            size(one["bytes"]),
            _printable(one["rule"]),
        )
        for one in plan["sets"]
    ]
    where = f" at {plan['destination']}" if plan["destination"] else ""
    head = f"retention of {plan['fleet']}{where}: {summarize(plan, would)}"
    if not rows:
        return head
    widths = [max(len(row[column]) for row in (_COLUMNS, *rows)) for column in range(len(_COLUMNS))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (_COLUMNS, *rows)
    ]
    return "\n".join([head, *lines])


def summarize(plan: t.Mapping[str, t.Any], would: bool = False) -> str:
    """What is deleted, or why nothing is, as one sentence."""
    sets = plan["sets"]
    doomed = [one for one in sets if one["deletes"]]
    if plan["refused"]:
        return f"nothing {'more ' if plan.get('for_room') else ''}is deleted: {plan['refused']}"
    if not sets:
        return "nothing is deleted: there are no backup sets of this fleet"
    if not doomed:
        return f"nothing is deleted: a rule keeps each of the {counted(len(sets), 'backup set')}"
    verb = "would be deleted" if would else "are to be deleted"
    return f"{len(doomed)} of {counted(len(sets), 'backup set')} {verb}, {size(sum(one['bytes'] for one in doomed))}"


def describe_for_room(names: t.Sequence[str], would: bool) -> str:
    """What a run has deleted before its dump.

    Args:
        names: of the backup sets.
        would: is this a prediction?
    """
    verb = "would delete" if would else "has deleted"
    return f"for room, this run {verb} {', '.join(names)} before its dump"


def _printable(text: str) -> str:
    # A reason comes from a file that any account may have written, so control characters for a terminal are removed.
    return "".join(letter if letter.isprintable() else "?" for letter in one_line(text))

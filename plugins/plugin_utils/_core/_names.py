# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names: stamps, archive names, and what Windows accepts as a file name."""

from __future__ import annotations

import re
import string
from datetime import UTC, datetime

MODES: dict[str, str] = {"full": "Full", "database": "DB", "config": "Config"}
"""Mode of a run -> its word in file names (REQ 1.1.5)."""

RESTORE = "Restore"
"""The word of a restore in its identity."""

RUN_ID = rf"({'|'.join([*MODES.values(), RESTORE])})_\d{{8}}_\d{{6}}_[0-9a-f]{{4}}"
"""The form of run IDs and restore IDs, as a regular expression."""

_STAMP = "%Y%m%d_%H%M%S"
_RESERVED = {
    "CON",
    "PRN",
    "AUX",
    "NUL",
    *(f"{port}{digit}" for port in ("COM", "LPT") for digit in "0123456789\u00b9\u00b2\u00b3"),
}


def stamp(moment: datetime) -> str:
    """A moment in the form for names, in UTC: YYYYMMDD_HHmmss. Raises ValueError for a moment without a zone."""
    if moment.tzinfo is None:
        raise ValueError("a moment needs a zone")
    return moment.astimezone(UTC).strftime(_STAMP)


def base_name(mode: str, run_stamp: str, pattern: str = "ServerBackup_{mode}_{stamp}") -> str:
    """The name of an archive without its ending, e.g. ServerBackup_Full_20260901_020000.

    Raises:
        KeyError: the pattern has another field than {mode} and {stamp}, or one with attributes.
        ValueError: the pattern has a single brace, or escaped braces.
    """
    for literal, field, _unused, _unused in string.Formatter().parse(pattern):
        if "{" in literal or "}" in literal:
            raise ValueError(f"a brace stands for itself in {pattern!r}")
        if field not in (None, "mode", "stamp"):
            raise KeyError(field)
    return pattern.format(mode=MODES[mode], stamp=run_stamp)


def log_name(mode: str, run_stamp: str) -> str:
    """The name of the log of a run, e.g. BackupLog_Full_20260901_020000.log."""
    return f"BackupLog_{MODES[mode]}_{run_stamp}.log"


def run_id(mode: str, moment: datetime, word: str) -> str:
    """An identity of a run that is also a legal folder name, e.g. Full_20260901_020000_7f3a."""
    return f"{MODES[mode]}_{stamp(moment)}_{word}"


def restore_id(moment: datetime, word: str) -> str:
    """An identity of a restore or a rollback, e.g. Restore_20260901_020000_7f3a."""
    return f"{RESTORE}_{stamp(moment)}_{word}"


def replace_odd_characters(name: str) -> str:
    """A name in which _ replaces all characters that are not allowed in names of files, folders and scheduled tasks."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)


def windows_name_problem(name: str) -> str | None:
    """Why Windows does not accept this as a file name, or None.

    Source: Microsoft, "Naming Files, Paths, and Namespaces" (reserved characters and device names,
    trailing dot and space).
    """
    if not name:
        return "it is empty"
    if found := re.search(r'[<>:"/\\|?*\x00-\x1f]', name):
        return f"it contains {found.group()!r}"
    if name[-1] in ". ":
        return f"it ends in {name[-1]!r}"
    if name.split(".", maxsplit=1)[0].rstrip().upper() in _RESERVED:
        return "it is the name of a device"
    if len(name) > 200:
        return f"it has {len(name)} characters, more than 200"
    return None

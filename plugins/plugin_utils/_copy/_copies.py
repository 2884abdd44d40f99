# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of one backup: the specs of their jobs, and texts about the results."""

from __future__ import annotations

import ntpath
import secrets
import typing as t

from .._core.text import size

Copy = t.Mapping[str, t.Any]
"""The result of a copy to one destination; see copy_job.ps1."""

GOOD = ("copied", "present")

_READBACKS = {
    "uncached": "read back past the cache",
    "cached": "read back, maybe from the cache",
    "none": "not read back",
}


def build_copy_spec(
    folder: str,
    base_name: str,
    below: str,
    stamp: str,
    destinations: t.Sequence[Copy],
    run_id: str = "",
    retries: int = 3,
    retry_seconds: int = 30,
) -> dict[str, t.Any]:
    """The spec of a job that copies a backup or, with base_name "", tests whether it can.

    Args:
        folder: of the backup on the node.
        base_name: of the backup.
        below: its folder below each destination; see place_copies.
        stamp: of the verdict.
        destinations: see _destinations.build_job_destinations.
        run_id: of the run that copies, "" for none.
        retries: further attempts after the first.
        retry_seconds: the wait before the first of them. The wait doubles before each further attempt.
    """
    return {
        "run_id": run_id,
        "only_try": not base_name,
        "folder": folder,
        "archive_directory": ntpath.dirname(folder),
        "base_name": base_name,
        "below": below,
        "stamp": stamp,
        "destinations": list(destinations),
        "retries": retries,
        "retry_seconds": retry_seconds,
        # A test must not delay a run. A share that does not answer within a minute does not answer at all.
        "stall_seconds": 600 if base_name else 60,
    }


def build_list_spec(places: t.Sequence[Copy], fleet: str, nodes: t.Sequence[str], run_id: str = "") -> dict[str, t.Any]:
    """The spec of a job that lists the backups at destinations.

    Args:
        places: see _destinations.build_job_destinations.
        fleet: whose folder is listed at each.
        nodes: names of the folders in it; all when empty.
        run_id: of the current run, "" for none.
    """
    return {
        "run_id": run_id,
        "nodes": list(nodes),
        "places": add_folders(places, fleet),
    }


def add_folders(places: t.Iterable[Copy], fleet: str) -> list[dict[str, t.Any]]:
    """The destinations of a job, each with the folder of a fleet there.

    Args:
        places: see _destinations.build_job_destinations.
        fleet: its name.
    """
    return [{**place, "folder": ntpath.join(place["path"], fleet)} for place in places]


def place_copies(fleet: str, folder: str) -> str:
    """Where the backups of a node are below a destination: the folder of its fleet, and in it its own.

    Args:
        fleet: name of the fleet.
        folder: of the node in the archive directory.
    """
    return ntpath.join(fleet, ntpath.basename(folder))


def name_job(base_name: str) -> str:
    """A name for a job that copies a backup. Several may run at the same time."""
    return f"{base_name or 'destinations'}-copy-{secrets.token_hex(2)}"


def list_bad(copies: t.Iterable[Copy]) -> list[Copy]:
    """The destinations that do not have the backup."""
    return [copy for copy in copies if copy["state"] not in GOOD]


def describe_copy(copy: Copy) -> str:
    """The result of a copy to one destination, on one line."""
    if copy["state"] not in GOOD:
        again = f" after {copy['attempts']} attempts" if copy["attempts"] > 1 else ""
        return f"FAILED{again}: {copy['message']} [{copy['reason']}]"
    readback = _READBACKS[copy["readback"]]
    if copy["state"] == "present":
        return f"{size(copy['bytes'])} were there already, {readback}"
    # The rate is 0 if the copy took no measurable time.
    rate = f" ({size(copy['rate'])}/s)" if copy["rate"] else ""
    parts = [f"{size(copy['sent_bytes'])} in {copy['send_seconds']:.0f} s{rate}"]
    if copy["resumed_bytes"]:
        parts.append(f"{size(copy['resumed_bytes'])} were there from an earlier attempt")
    if copy["attempts"] > 1:
        parts.append(f"{copy['attempts']} attempts")
    return ", ".join([*parts, readback])

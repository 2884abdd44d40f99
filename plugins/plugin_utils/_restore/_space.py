# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks whether the drives of a node have enough space for the files that will be written there."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._core.text import size


@dataclass(frozen=True)
class Need:
    """The space that a part of a restore needs on a volume of a node.

    Attributes:
        volume: where it is mounted, as C:\\.
        free: free bytes of the volume; negative if Windows does not report it.
        what: the part, in words.
        bytes: the space that it needs.
    """

    volume: str
    free: int
    what: str
    bytes: int


def find_shortages(needs: t.Iterable[Need], reserve: int) -> list[str]:
    """A sentence for each volume that has too little space for the sum of its parts.

    Args:
        needs: of one node.
        reserve: bytes that must stay free on each volume.
    """
    volumes: dict[str, list[Need]] = {}
    for need in needs:
        # Names of volumes are not case-sensitive.
        volumes.setdefault(need.volume.casefold(), []).append(need)
    return [text for there in volumes.values() if (text := _shortage(there, reserve))]


def _shortage(needs: t.Sequence[Need], reserve: int) -> str:
    free = min((need.free for need in needs if need.free >= 0), default=-1)
    short = sum(need.bytes for need in needs) + reserve - free
    if free < 0 or short <= 0:
        return ""
    wanted = " and ".join(f"{size(need.bytes)} for {need.what}" for need in needs)
    return (
        f"{needs[0].volume} has {size(free)} free; the restore needs {wanted}, and {size(reserve)} are to stay free, "
        f"so {size(short)} are missing"
    )

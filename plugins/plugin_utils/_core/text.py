# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values as people read them."""

from __future__ import annotations

import re
import typing as t


def one_line(words: t.Any) -> str:
    """A message from any source, on one line. Very long words are cut, because some messages of PowerShell contain
    encoded commands, which are longer than any path."""
    return re.sub(
        r"\S{400,}",
        lambda found: f"{found[0][:40]}... ({len(found[0])} characters)",
        " ".join(str(words or "no message").split()),
    )


def counted(count: int, noun: str) -> str:
    """A number and its noun: 1 file, 38 files."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def name_some(names: t.Sequence[str], limit: int = 8) -> str:
    """The first names of a list, and how many more there are: ayx-1, ayx-2 and 38 more."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"{', '.join(names[:limit])}{more}"


def name_nodes(found: t.Iterable[tuple[str, str]]) -> t.Iterator[tuple[str, str]]:
    """Node and text pairs, with a text that several nodes have in common once: (names of the nodes, text).

    The order is that of the first node of each text.
    """
    nodes: dict[str, list[str]] = {}
    for node, text in found:
        nodes.setdefault(text, []).append(node)
    for text, names in nodes.items():
        yield name_some(list(dict.fromkeys(names))), text


def duration(seconds: float) -> str:
    """A time for people, in the largest unit of which there are two or more: 90 s, 24.0 h, 8.0 days."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def free_space(volume: str, purpose: str, free: int, need: int) -> str:
    """How much room a volume has, and how much is needed there."""
    return f"the volume {volume} of the {purpose} has {free} bytes free, needed are {need} bytes"


def size(count: float) -> str:
    """Bytes for people: 12.3 MB (powers of ten)."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rooms of plugins/plugin_utils: which imports which, and the picture of that in docs/rooms.svg (`make docs`)."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "plugins" / "plugin_utils"
PICTURE = ROOT / "docs" / "rooms.svg"

MAY_IMPORT: dict[str, set[str]] = {
    "_core": set(),
    "_node": {"_core"},
    "_server_api": {"_core"},
    "_archive": {"_core"},
    "_fleet": {"_core"},
    "_database": {"_core", "_fleet"},
    "_plan": {"_core", "_fleet", "_database", "_server_api"},
    "_copy": {"_core"},
    "_report": {"_core", "_archive", "_copy", "_server_api"},
    "_retention": {"_core", "_archive", "_copy"},
    "_restore": {"_core", "_archive", "_retention", "_fleet", "_database", "_plan"},
    # The one that knows Ansible; action plugins join it with all others.
    "_ansible": {"_core", "_node", "_archive", "_copy"},
}
"""Room -> the rooms that its files may import."""


def files() -> dict[str, list[str]]:
    """Room -> its files."""
    found: dict[str, list[str]] = {}
    for path in sorted(FOLDER.glob("*/*.py")):
        found.setdefault(path.parent.name, []).append(path.stem.lstrip("_"))
    return found


def imported(source: str, room: str) -> Iterator[str]:
    """What a file of a room imports: rooms by their names, and packages that are not of this collection."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = (node.module or "").split(".")
            yield names[0] if node.level != 1 else room


def imports() -> dict[str, set[str]]:
    """Room -> the other rooms that its files import."""
    found: dict[str, set[str]] = {room: set() for room in files()}
    for path in FOLDER.glob("*/*.py"):
        room = path.parent.name
        found[room] |= set(imported(path.read_text(encoding="utf-8"), room)) & found.keys() - {room}
    return found


def levels(graph: Mapping[str, set[str]]) -> dict[str, int]:
    """Room -> its place above those that it imports; 0 for one that imports none.

    Raises:
        graphlib.CycleError: rooms import each other.
    """
    found: dict[str, int] = {}
    for room in graphlib.TopologicalSorter(graph).static_order():
        found[room] = max((found[below] + 1 for below in graph[room]), default=0)
    return found


_LINE, _PAD, _WIDTH, _GAP = 17, 12, 860, 46
_HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"
  font-family="sans-serif" font-size="13" role="img"
  aria-label="The folders of plugin_utils and which imports which">
  <!-- Written by `make docs` from the imports of plugins/plugin_utils. -->
  <defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
    <path d="M0 0L8 4L0 8z" fill="#444"/></marker></defs>
  <rect width="{width}" height="{height}" fill="#fff"/>
"""


def picture() -> str:
    """Rooms as boxes with their files, each above those that it imports; arrows for all imports but those of _core."""
    graph, rows = imports(), dict[int, list[str]]()
    for room, level in sorted(levels(graph).items()):
        rows.setdefault(level, []).append(room)
    listed = {**files(), "plugins/action": ["a file for each module"]}
    rows[max(rows) + 1] = ["plugins/action"]
    boxes: dict[str, tuple[float, float, float, float]] = {}
    top = _PAD
    for level in sorted(rows, reverse=True):
        width = (_WIDTH - _PAD) / len(rows[level]) - _PAD
        height = _LINE * (1 + max(len(listed[room]) for room in rows[level])) + _PAD
        for number, room in enumerate(rows[level]):
            boxes[room] = (_PAD + number * (width + _PAD), top, width, height)
        top += height + _GAP
    body = [_HEAD.format(width=_WIDTH, height=top - _GAP + _PAD)]
    # First, so that boxes on the way hide them.
    for room in graph:
        for below in sorted(graph[room] - {"_core"}):
            (x1, y1, w1, h1), (x2, y2, w2, _height) = boxes[room], boxes[below]
            line = f'x1="{x1 + w1 / 2:.0f}" y1="{y1 + h1:.0f}" x2="{x2 + w2 / 2:.0f}" y2="{y2:.0f}"'
            body.append(f'  <line {line} stroke="#444" marker-end="url(#a)"/>\n')
    for room, (left, above, width, height) in boxes.items():
        box = f'x="{left:.0f}" y="{above:.0f}" width="{width:.0f}" height="{height:.0f}"'
        body.append(f'  <rect {box} rx="6" fill="#f4f6f8" stroke="#8a96a3"/>\n')
        for number, text in enumerate([room, *listed[room]]):
            weight = ' font-weight="bold"' if number == 0 else ""
            place = f'x="{left + _PAD:.0f}" y="{above + _LINE * (number + 1):.0f}"'
            body.append(f"  <text {place}{weight}>{text}</text>\n")
    return "".join([*body, "</svg>\n"])

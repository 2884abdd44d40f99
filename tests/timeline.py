# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The timeline of a backup as a picture, drawn from the outcome.json of its run.

`make docs` draws docs/timeline.svg from timeline_outcome.json, which a full backup of a Wine node of the lab has
written. `python -m tests.timeline OUTCOME.json > PICTURE.svg` draws any other.
"""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "timeline.svg"
SAMPLE = ROOT / "tests" / "timeline_outcome.json"

_GREY, _RED, _BLUE, _GREEN = "#64748b", "#dc2626", "#0e7490", "#15803d"
# What a row is called, the steps of the run that it shows, its colour.
_BEFORE = (
    ("checks", ("request", "facts", "plan", "lock", "trial", "drain"), _GREY),
    ("lease", ("lease", "gate"), _GREY),
)
_AFTER = (
    ("release", ("restore", "release"), _GREY),
    ("configuration", ("configuration",), _BLUE),
    ("archive", ("archive",), _BLUE),
    ("verify", ("verify",), _GREEN),
    ("report", ("set", "unlock"), _GREY),
)

_WIDTH, _LEFT, _RIGHT, _ROW, _TOP = 640, 124, 24, 22, 78
_TICKS = 8


@dataclass(frozen=True)
class Bar:
    """A row of the picture, in seconds since the run began."""

    label: str
    begin: float
    end: float
    colour: str


def read_bars(outcome: Mapping[str, Any], node: str) -> Iterator[Bar]:
    """The rows of one node, in the order of the run."""
    steps = outcome["nodes"][node]["steps"]
    origin = _instant(outcome["started"])
    for label, names, colour in _BEFORE:
        yield from _bar(label, steps, names, origin, colour)
    yield from _bar("window job", steps, ("window",), origin, _GREY)
    if down := downtime(outcome, node):
        parts = outcome["nodes"][node]["downtime"]
        begin, end = down
        yield Bar("stop", begin, begin + parts["stop"], _RED)
        yield Bar("dump", end - parts["start"] - parts["dump"], end - parts["start"], _RED)
        yield Bar("start", end - parts["start"], end, _RED)
    for label, names, colour in _AFTER:
        yield from _bar(label, steps, names, origin, colour)


def downtime(outcome: Mapping[str, Any], node: str) -> tuple[float, float] | None:
    """From when to when the service of a node was down; nothing where it was not.

    The outcome says how long. When it ended follows from its new process, which begins when the start is asked for.
    """
    report = outcome["nodes"][node]
    parts = report["downtime"]
    if not parts["total"]:
        return None
    end = _instant(report["process_after"]["started"]) - _instant(outcome["started"]) + parts["start"]
    return end - parts["total"], end


def _bar(label: str, steps: Mapping[str, Any], names: tuple[str, ...], origin: float, colour: str) -> Iterator[Bar]:
    done = [steps[name] for name in names if name in steps]
    if done:
        begin, end = _instant(done[0]["started"]) - origin, _instant(done[-1]["finished"]) - origin
        yield Bar(label, max(begin, 0.0), end, colour)


def _instant(text: str) -> float:
    return datetime.datetime.fromisoformat(text).timestamp()


def controller(outcome: Mapping[str, Any]) -> str:
    """The node whose database was dumped, or the first."""
    nodes = outcome["nodes"]
    return next((name for name, node in nodes.items() if "window" in node["steps"]), next(iter(nodes)))


def draw(outcome: Mapping[str, Any]) -> str:
    """The picture as SVG: the service above, a row for each part of the run below it, the time at the bottom."""
    node = controller(outcome)
    bars, down = list(read_bars(outcome, node)), downtime(outcome, node)
    total = outcome["seconds"]
    scale = (_WIDTH - _LEFT - _RIGHT) / total
    bottom = _TOP + _ROW * len(bars)
    words = f"down for {down[1] - down[0]:.1f} s of {total:.0f} s" if down else f"{total:.0f} s, the service runs"
    title = escape(f"{outcome['mode'].capitalize()} backup of {node}: {words}")
    font = 'font-family="system-ui, Segoe UI, Helvetica, Arial, sans-serif" font-size="14"'
    size = f'width="{_WIDTH}" height="{bottom + 34}" viewBox="0 0 {_WIDTH} {bottom + 34}"'
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="title" {font}>',
        f'<title id="title">{title}</title>',
        f'<rect width="{_WIDTH}" height="{bottom + 34}" fill="#ffffff"/>',
        f'<text x="12" y="26" font-size="16" font-weight="600" fill="#0f172a">{title}</text>',
        *_ticks(total, scale, bottom),
        *_service(down, total, scale, bottom),
    ]
    for number, row in enumerate(bars):
        top = _TOP + _ROW * number
        length = max((row.end - row.begin) * scale, 2)
        left = _LEFT + row.begin * scale
        seconds = f"{row.end - row.begin:.1f} s"
        # Behind the bar, or before it where there is no room.
        fits = left + length + 52 < _WIDTH
        where = f'x="{left + length + 6:.1f}"' if fits else f'x="{left - 6:.1f}" text-anchor="end"'
        body += [
            f'<text x="12" y="{top + 16}" fill="#0f172a">{row.label}</text>',
            f'<rect x="{left:.1f}" y="{top + 3}" width="{length:.1f}" height="{_ROW - 6}" rx="2" fill="{row.colour}"/>',
            f'<text {where} y="{top + 16}" font-size="13" fill="#334155">{seconds}</text>',
        ]
    return "\n".join([*body, "</svg>\n"])


def _service(down: tuple[float, float] | None, total: float, scale: float, bottom: float) -> Iterator[str]:
    begin, end = down or (total, total)
    spans = ((0.0, begin, "#bbf7d0", "#14532d", "Running"), (begin, end, "#fecaca", "#7f1d1d", "down"))
    yield '<text x="12" y="59" fill="#0f172a">service</text>'
    if down:
        left, width = _LEFT + begin * scale, (end - begin) * scale
        yield f'<rect x="{left:.1f}" y="66" width="{width:.1f}" height="{bottom - 66}" fill="#fee2e2"/>'
    for start, stop, fill, ink, word in (*spans, (end, total, "#bbf7d0", "#14532d", "Running")):
        left, width = _LEFT + start * scale, (stop - start) * scale
        if width:
            yield f'<rect x="{left:.1f}" y="42" width="{width:.1f}" height="24" fill="{fill}"/>'
        if width > 60 or (width > 36 and word == "down"):
            middle = left + width / 2
            yield f'<text x="{middle:.1f}" y="59" text-anchor="middle" fill="{ink}">{word}</text>'


def _ticks(total: float, scale: float, bottom: float) -> Iterator[str]:
    # The finest step of which there are not too many.
    step = next((size for size in (1, 2, 5, 10, 30, 60, 300, 600, 1800, 3600) if total / size <= _TICKS), 21600)
    for number in range(int(total / step) + 1):
        x = _LEFT + number * step * scale
        yield f'<line x1="{x:.1f}" y1="66" x2="{x:.1f}" y2="{bottom + 6}" stroke="#e2e8f0"/>'
        text = f"{number * step} s" if step < 60 else f"{number * step // 60} min"
        yield f'<text x="{x:.1f}" y="{bottom + 24}" font-size="13" text-anchor="middle" fill="#475569">{text}</text>'


def picture() -> str:
    """docs/timeline.svg."""
    return draw(json.loads(SAMPLE.read_text(encoding="utf-8")))


if __name__ == "__main__":
    sys.stdout.write(draw(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))

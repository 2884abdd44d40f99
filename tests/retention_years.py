# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two simulated years of backups under retention: the table and the picture in docs/retention.md (`make docs`).

A full backup each night and a database backup every four hours. One run in twenty fails and leaves a set that does not
count. For a fortnight there are no runs at all. Each good run prunes, by the rules that runs use.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "retention.md"
PICTURE = ROOT / "docs" / "retention.svg"

BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
DAYS = 730
OUTAGE = (400, 414)
FAILS = 0.05
POLICY: dict[str, Any] = {"full": {"days": 30, "monthly": 12}, "database": {"days": 7}}
"""The example of docs/retention.md."""


@dataclass
class Years:
    """What has happened.

    Attributes:
        kept: date -> mode -> what is there at the end of that day: the dates of the good sets and of the others.
        runs, failed, deleted: mode -> how many.
    """

    kept: dict[datetime, dict[str, tuple[list[datetime], list[datetime]]]] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=lambda: dict.fromkeys(POLICY, 0))
    failed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(POLICY, 0))
    deleted: dict[str, int] = field(default_factory=lambda: dict.fromkeys(POLICY, 0))


def _runs() -> Iterator[tuple[datetime, str]]:
    """When a run begins, and its mode."""
    for day in range(DAYS):
        if not OUTAGE[0] <= day < OUTAGE[1]:
            today = BEGIN + timedelta(days=day)
            yield today + timedelta(hours=2), "full"
            for hour in range(4, 25, 4):
                yield today + timedelta(hours=hour - 1), "database"


@cache
def simulate(seed: int = 25) -> Years:
    """Both years, the same for a seed."""
    # Inside: started by hand, the collection's name resolves only later; see generated_docs.py.
    from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._retention import _policy, _prune, _sets

    dice, policy, years = random.Random(seed), _policy.read_policy(POLICY), Years()
    sets: list[_sets.BackupSet] = []
    for moment, mode in _runs():
        fails = dice.random() < FAILS
        name = f"{mode} {moment:%Y%m%d_%H%M%S}"
        sets.insert(0, _sets.BackupSet(name, name, mode, moment, ("its run ended FAILED",) if fails else ()))
        years.runs[mode] += 1
        years.failed[mode] += fails
        if not fails:
            decisions = _prune.decide(sets, policy, moment + timedelta(minutes=10))
            for decision in decisions:
                years.deleted[decision.of.mode] += decision.deletes
            sets = [decision.of for decision in decisions if not decision.deletes]
        years.kept[moment.replace(hour=0)] = {
            each: (
                [one.moment for one in sets if one.mode == each and one.is_good],
                [one.moment for one in sets if one.mode == each and not one.is_good],
            )
            for each in POLICY
        }
    return years


def table() -> str:
    """What is kept on some days, as Markdown."""
    years = simulate()
    moments = (
        (29, "after 30 days"),
        (OUTAGE[0] - 1, "last day before the fortnight without runs"),
        (OUTAGE[1], "first day after it"),
        (OUTAGE[1] + 31, "a month later"),
        (DAYS - 1, "after two years"),
    )
    lines = [
        "| day | full: good | not good | oldest good | database: good | not good | oldest good |",
        "|---|---|---|---|---|---|---|",
    ]
    for day, what in moments:
        kept = years.kept[BEGIN + timedelta(days=day)]
        cells = [
            cell
            for mode in POLICY
            for cell in (str(len(kept[mode][0])), str(len(kept[mode][1])), f"{min(kept[mode][0]):%Y-%m-%d}")
        ]
        lines.append(f"| {BEGIN + timedelta(days=day):%Y-%m-%d}, {what} | {' | '.join(cells)} |")
    totals = ", ".join(
        f"{years.runs[mode]} {mode} backups ({years.failed[mode]} failed, {years.deleted[mode]} deleted)"
        for mode in POLICY
    )
    return "\n".join([*lines, "", f"In both years together: {totals}."])


def with_table(page: str) -> str:
    """The page with the table between its marks."""
    marks = r"(<!-- Written by `make docs` from tests/retention_years.py. -->\n).*?(\n<!-- End. -->)"
    return re.sub(marks, lambda found: f"{found[1]}\n{table()}\n{found[2]}", page, flags=re.DOTALL)


_WIDTH, _LEFT, _RIGHT = 860, 90, 20
_COLOURS = {"full": "#0e7490", "database": "#15803d"}
_CHART = (52, 150)
"""Top and height of the upper part."""
_STRIPS = {"full": 262, "database": 300}
_BOTTOM = 346


def picture() -> str:
    """docs/retention.svg: above how many sets are kept day by day, below the sets that are left in the end."""
    years = simulate()
    scale = (_WIDTH - _LEFT - _RIGHT) / DAYS
    top, height = _CHART
    most = max(len(good) + len(bad) for kept in years.kept.values() for good, bad in kept.values())

    def x(moment: datetime) -> float:
        return _LEFT + (moment - BEGIN) / timedelta(days=1) * scale

    font = 'font-family="system-ui, Segoe UI, Helvetica, Arial, sans-serif" font-size="13"'
    body = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_BOTTOM}" role="img" '
            f'aria-label="Backup sets that are kept over two years" {font}>'
        ),
        "<!-- Written by `make docs` from tests/retention_years.py. -->",
        f'<rect width="{_WIDTH}" height="{_BOTTOM}" fill="#ffffff"/>',
        (
            '<text x="12" y="26" font-size="16" font-weight="600" fill="#0f172a">Backup sets that are kept, '
            "day by day, and those that are left after two years</text>"
        ),
    ]
    begin, end = (x(BEGIN + timedelta(days=day)) for day in OUTAGE)
    body.append(
        f'<rect x="{begin:.1f}" y="{top}" width="{end - begin:.1f}" height="{_BOTTOM - top - 30}" fill="#fee2e2"/>'
    )
    body.append(f'<text x="{end + 4:.1f}" y="{top + 12}" fill="#7f1d1d">no runs</text>')
    for count in range(0, most + 10, 10):
        y = top + height - count / (most + 5) * height
        if y >= top:
            body.append(f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}" stroke="#e2e8f0"/>')
            body.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#475569">{count}</text>')
    last = years.kept[max(years.kept)]
    for mode, colour in _COLOURS.items():
        points = " ".join(
            f"{x(day):.1f},{top + height - sum(map(len, kept[mode])) / (most + 5) * height:.1f}"
            for day, kept in years.kept.items()
        )
        body.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.2"/>')
        strip = _STRIPS[mode]
        body.append(f'<text x="12" y="{strip + 5}" fill="{colour}">{mode}</text>')
        body.append(f'<line x1="{_LEFT}" y1="{strip}" x2="{_WIDTH - _RIGHT}" y2="{strip}" stroke="#e2e8f0"/>')
        for moments, ink in ((last[mode][0], colour), (last[mode][1], "#dc2626")):
            body += [
                f'<line x1="{x(each):.1f}" y1="{strip - 10}" x2="{x(each):.1f}" y2="{strip + 10}" stroke="{ink}"/>'
                for each in moments
            ]
    body.append(f'<text x="12" y="{top + height + 38}" fill="#475569">left:</text>')
    for month in range(0, 25, 3):
        moment = datetime(BEGIN.year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
        body.append(
            f'<text x="{x(moment):.1f}" y="{_BOTTOM - 10}" text-anchor="middle" fill="#475569">{moment:%Y-%m}</text>'
        )
    return "\n".join([*body, "</svg>\n"])

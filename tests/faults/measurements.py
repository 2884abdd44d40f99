# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the fault tests measured, one line each, kept beside the lab so that it can be quoted."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

from tests.lab import layout

FILE = layout.LAB / "measurements.txt"


def note(name: str, seconds: Sequence[float], limit: float | None = None) -> None:
    """Append minimum, median and maximum of a measurement and show them."""
    values = sorted(seconds)
    line = (
        f"{name}: n={len(values)} min={values[0]:.2f} s median={statistics.median(values):.2f} s max={values[-1]:.2f} s"
    )
    line += f" (limit {limit:.0f} s)" if limit is not None else ""
    FILE.parent.mkdir(parents=True, exist_ok=True)
    with FILE.open("a", encoding="utf-8") as file:
        file.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {line}\n")
    print(line)  # noqa: T201

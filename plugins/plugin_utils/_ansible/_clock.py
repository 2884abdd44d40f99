# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The difference between the clock of a node and the clock of the control node."""

from __future__ import annotations

from datetime import datetime


def clock_off(node_utc: str, asked: datetime, answered: datetime) -> float:
    """Seconds; positive if the clock of the node is ahead.

    The node read its clock between the request and the answer, so a time in that interval counts as no difference.
    """
    node = datetime.fromisoformat(node_utc)
    off = (node - asked).total_seconds() if node < asked else max(0.0, (node - answered).total_seconds())
    return round(off, 3)

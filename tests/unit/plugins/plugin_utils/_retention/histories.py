# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backup sets, histories of them and policies, as the rules of retention get them."""

from __future__ import annotations

import random
import typing as t
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core import _names
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._retention._policy import ModePolicy, Policy
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._retention._sets import BackupSet

NOW = datetime(2026, 9, 1, 3, 0, tzinfo=UTC)
MODES = tuple(_names.MODES)


def backup_set(age_hours: float, mode: str = "full", number: int = 0, **changes: t.Any) -> BackupSet:
    """A good set that was started so many hours before NOW; below 0 for one of the future."""
    started = NOW - timedelta(hours=age_hours)
    run_id = f"{_names.run_id(mode, started, f'{number:04x}')}"
    return BackupSet(
        **{
            "run_id": run_id,
            "name": _names.base_name(mode, _names.stamp(started)),
            "mode": mode,
            "started": started,
            "bytes": 1000,
            **changes,
        }
    )


def stored(one: BackupSet, verdict: str = "good") -> BackupSet:
    """The same with the archive of one node."""
    entry = {
        "pruning": False, "partial": False, "complete": True, "why": [], "files": [], "archive_sha256": one.run_id,
        "verified": {"verdict": verdict},
    }  # fmt: skip
    return BackupSet(**{**vars(one), "backups": {"node1": entry}})


def begun(one: BackupSet) -> BackupSet:
    """The same after its deletion has begun."""
    entry = {"pruning": True, "partial": False, "complete": False, "why": ["its deletion has begun"], "files": []}
    return BackupSet(**{**vars(one), "pruning": True, "why": ("its deletion has begun",), "backups": {"node1": entry}})


def _policy(number: t.Callable[[int, int], int]) -> ModePolicy:
    return ModePolicy(number(1, 60), number(1, 5), number(0, 10), number(0, 8), number(0, 14))


def _set(number: t.Callable[[int, int], int], index: int) -> BackupSet:
    # Most of them within the limits of a policy, some a year ahead, some of years ago.
    hours = number(-24, 24 * 90) if number(0, 2) else number(-24 * 400, 24 * 900)
    why: tuple[str, ...] = ("node1: no .sha256",) if number(0, 3) == 0 else ()
    one = backup_set(hours, MODES[number(0, 2)], index, why=why, pin="pinned by ops" if number(0, 9) == 0 else "")
    if number(0, 14) == 0:
        one = BackupSet(**{**vars(one), "started": None, "why": ("its manifest cannot be read",)})
    if why and number(0, 1):
        one = stored(one)  # the archive of another node is missing
    return begun(one) if number(0, 14) == 0 else one


def _history(number: t.Callable[[int, int], int], count: int) -> list[BackupSet]:
    sets = [_set(number, index) for index in range(count)]
    return sorted(sets, key=lambda one: (one.moment, one.name), reverse=True)


def random_history(dice: random.Random) -> list[BackupSet]:
    """Up to 60 sets of all kinds, newest first."""
    return _history(dice.randint, dice.randint(0, 60))


def random_policy(dice: random.Random) -> Policy:
    """Policies for some of the modes."""
    return Policy({mode: _policy(dice.randint) for mode in MODES if dice.random() < 0.8}, dice.randint(1, 100))


@st.composite
def histories(draw: st.DrawFn) -> list[BackupSet]:
    """A few sets of all kinds, newest first, which hypothesis can make fewer."""
    return _history(lambda low, high: draw(st.integers(low, high)), draw(st.integers(0, 8)))


@st.composite
def _policies(draw: st.DrawFn) -> Policy:
    def number(low: int, high: int) -> int:
        return draw(st.integers(low, high))

    return Policy({mode: _policy(number) for mode in MODES if draw(st.booleans())}, number(1, 100))


POLICIES = _policies()

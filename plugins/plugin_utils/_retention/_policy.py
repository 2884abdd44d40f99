# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operator's policy about the age of backups. A mode without a policy is never pruned."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._core import _names
from .._core.reasons import StepFailed

VARIABLE = "alteryx_retention_policy"
SHARE_VARIABLE = "alteryx_retention_max_share"

DAYS: dict[str, int] = {"full": 30, "database": 7, "config": 14}
"""Mode -> the number of days for which every backup set is kept, if the policy of the mode does not set it."""

VERIFIED = 2
"""The number of the newest good sets that are kept at any age, if the policy of the mode does not set it."""

_LEAST = {"days": 1, "verified": 1, "daily": 0, "weekly": 0, "monthly": 0}
"""Key of the policy of a mode -> its smallest value."""

_MOST = 36_500


@dataclass(frozen=True)
class ModePolicy:
    """How long the sets of one mode are kept.

    Attributes:
        days: keep each set up to this age in days.
        verified: keep this number of the newest good sets at any age.
        daily, weekly, monthly: keep the newest good set of each day, week or month, for this number of the newest days,
            weeks and months that have one.
    """

    days: int
    verified: int = VERIFIED
    daily: int = 0
    weekly: int = 0
    monthly: int = 0


@dataclass(frozen=True)
class Policy:
    """The policies by mode, how many percent of the sets of a mode one run may delete, and where that is written."""

    modes: t.Mapping[str, ModePolicy]
    share: int = 50
    where: str = VARIABLE

    def __bool__(self) -> bool:
        """Does this policy allow any deletion?"""
        return bool(self.modes)


def read_policy(given: t.Any, share: t.Any = 50, where: str = VARIABLE) -> Policy:
    """The policy that an operator has written.

    Args:
        given: mode -> keys of ModePolicy; {} if nothing must be deleted.
        share: percent.
        where: what the operator has written it in.

    Raises:
        StepFailed: invalid_variable; every problem in one message.
    """
    problems: list[str] = []
    modes: dict[str, ModePolicy] = {}
    if not isinstance(given, t.Mapping):
        problems.append(f"{where} is not a dictionary of modes")
        given = {}
    for mode, keys in given.items():
        if mode not in _names.MODES:
            problems.append(f"{where} has the unknown key {mode}; it knows {', '.join(_names.MODES)}")
        elif not isinstance(keys, t.Mapping):
            problems.append(f"{where}.{mode} is not a dictionary; write {mode}: {{days: {DAYS[mode]}}}")
        else:
            found = list(_key_problems(mode, keys, where))
            problems += found
            if not found:
                modes[mode] = ModePolicy(**{"days": DAYS[mode], **{name: int(value) for name, value in keys.items()}})
    if not _is_number(share) or not 1 <= int(share) <= 100:
        problems.append(f"{SHARE_VARIABLE} is {share}; it must be from 1 to 100 percent")
    if problems:
        raise StepFailed("invalid_variable", "; ".join(problems))
    return Policy(modes, int(share), where)


def _key_problems(mode: str, keys: t.Mapping[t.Any, t.Any], variable: str) -> t.Iterator[str]:
    for name, value in keys.items():
        where = f"{variable}.{mode}.{name}"
        if name not in _LEAST:
            yield f"{variable}.{mode} has the unknown key {name}; it knows {', '.join(_LEAST)}"
        elif not _is_number(value):
            yield f"{where} is {value!r}, which is not a whole number"
        elif int(value) < _LEAST[name] and _LEAST[name]:
            yield f"{where} is {value}, which would delete every backup; it must be {_LEAST[name]} or more"
        elif not _LEAST[name] <= int(value) <= _MOST:
            yield f"{where} is {value}; it must be from {_LEAST[name]} to {_MOST}"


def _is_number(value: t.Any) -> bool:
    """Values from -e NAME=VALUE are texts."""
    if isinstance(value, str):
        return value.strip().removeprefix("-").isdecimal()
    return isinstance(value, int) and not isinstance(value, bool)

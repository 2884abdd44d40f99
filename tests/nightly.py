# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which rows of a table of tests `make test` leaves to `make test-lab`."""

from __future__ import annotations

from collections.abc import Iterable

import pytest


def after_first(rows: Iterable[object]) -> list[object]:
    """The rows of pytest.mark.parametrize. All but the first one are long: they show more of what it shows.

    A tuple holds the values of several arguments; use pytest.param for a value that is a tuple.
    """
    first, *others = rows
    return [first, *map(_long, others)]


def _long(row: object) -> object:
    if isinstance(row, type(pytest.param())):
        return pytest.param(*row.values, id=row.id, marks=[*row.marks, pytest.mark.long])  # type: ignore[attr-defined]
    return pytest.param(*(row if isinstance(row, tuple) else (row,)), marks=pytest.mark.long)

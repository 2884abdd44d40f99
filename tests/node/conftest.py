# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One engine for all tests of node code: its start costs more than most of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.node.engine import Engine, running_engine


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """The engine; tests that write files use folders of their own on its drives."""
    with running_engine() as running:
        yield running

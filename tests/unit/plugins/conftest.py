# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How property tests run here: many of them and fast, no time limit for one example (machines differ),
nothing kept on disk."""

from __future__ import annotations

import pytest
from hypothesis import settings

from tests import reasons

settings.register_profile("plugins", deadline=None, max_examples=50, database=None)
settings.load_profile("plugins")


@pytest.fixture(scope="session", autouse=True)
def told() -> None:
    """Failures tell their reasons."""
    reasons.listen()

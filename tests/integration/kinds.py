# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of node the tests run on."""

from __future__ import annotations

import os

import pytest

# A run on a Wine node takes ten times as long as on a stand-in node: what a run of the same kind shows as well waits for `make test-lab`.
LONG_ON_WINE = pytest.mark.long_on_wine
wine_only = pytest.mark.parametrize("lab", [pytest.param("wine", marks=pytest.mark.wine)], indirect=True)

WINDOWS = os.environ.get("ALTERYX_LAB_KIND") == "windows"
KINDS = [pytest.param("windows", marks=pytest.mark.windows)] if WINDOWS else [
    pytest.param("wine", marks=pytest.mark.wine), pytest.param("standin", marks=pytest.mark.standin)]

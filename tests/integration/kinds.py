# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of node the tests run on."""

from __future__ import annotations

import os

import pytest

WINE = pytest.param("wine", marks=pytest.mark.wine)
LONG_ON_WINE = pytest.param("wine", marks=[pytest.mark.wine, pytest.mark.long])
STANDIN = pytest.param("standin", marks=pytest.mark.standin)

# A test runs on a Windows: a real one where there is one, otherwise a Wine node.
WINDOWS = os.environ.get("ALTERYX_LAB_KIND") == "windows"
KINDS = [pytest.param("windows", marks=pytest.mark.windows)] if WINDOWS else [WINE]

wine_only = pytest.mark.parametrize("lab", [WINE], indirect=True)
# What must be the same on the stand-in, so that it can be trusted for what it is there for: scale, and a first look
# where there is no Wine.
on_standin_too = pytest.mark.parametrize("lab", KINDS if WINDOWS else [WINE, STANDIN], indirect=True)

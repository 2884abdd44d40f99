# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages that are written from the code say what the code says."""

from __future__ import annotations

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._outcome import REASONS
from tests import exit_code_page


def test_every_reason_has_a_meaning() -> None:
    assert set(exit_code_page.MEANINGS) == set(REASONS)


def test_the_page_of_exit_codes_is_current() -> None:
    assert exit_code_page.PAGE.read_text(encoding="utf-8") == exit_code_page.page(), "run `make docs`"

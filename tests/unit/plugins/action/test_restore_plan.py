# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a restore refuses of the variables of other roles."""

from __future__ import annotations

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.action.restore_plan import ActionModule
from tests.unit.plugins.action import harness


@pytest.mark.reaches("invalid_variable")
def test_a_restore_reads_at_one_destination() -> None:
    asked = {"facts": "facts", "records": "records", "catalogues": "found", "destination": "all"}
    result = harness.run(ActionModule, asked)
    assert result["reason"] == "invalid_variable"
    assert "alteryx_catalogue_destination is all" in result["message"]
    assert result["detail"]["asked"]["verb"] == "restore"

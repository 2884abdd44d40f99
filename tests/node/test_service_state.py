# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service whose state the service manager does not tell."""

from __future__ import annotations

import json

import pytest

from tests.node.engine import Engine

pytestmark = pytest.mark.wine


def test_a_state_that_is_not_told_is_unknown_and_no_state_of_its_own(engine: Engine) -> None:
    # A dump continues while its service is Stopped or Unknown, so any other state would end a good dump.
    assert engine.run("Get-ServiceStatus -Name 'NoSuchService'").strip() == "Unknown"


def test_a_service_that_does_not_exist_is_asked_once(engine: Engine) -> None:
    script = "ConvertTo-NodeJson -InputObject (Start-ServiceSurely -Name 'NoSuchService' -TimeoutSeconds 5)"
    answer = json.loads(engine.run(script))
    assert (answer["reached"], answer["gave_up"], answer["error"]) == (False, True, 1060)

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scheduled tasks that something else deletes at the same time."""

from __future__ import annotations

import pytest

from tests.node.engine import Engine

pytestmark = pytest.mark.wine

REMOVE = r"""
& (Get-Module -Name 'NodeTask') {
    $script:looks = 0
    function Test-NodeTask { param($Name) $script:looks++; $script:looks -le $global:seen }
    function Invoke-TaskCommand { param($ArgumentList, $Doing) throw 'no such task' }
    try { Remove-NodeTask -Name '\AlteryxOps\Guard'; 'gone' } catch { "$_" }
}
"""


@pytest.mark.parametrize(("seen", "end"), [(0, "gone"), (1, "gone"), (2, "no such task")])
def test_a_task_that_is_gone_when_its_deletion_is_refused_was_deleted(engine: Engine, seen: int, end: str) -> None:
    assert engine.run(f"$global:seen = {seen}\n{REMOVE}").strip() == end

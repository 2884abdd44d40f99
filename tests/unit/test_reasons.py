# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What counts as a reason that was reached: one that our code gave, not one that a test's double put into its mouth."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.action.node_info import ActionModule
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import REASONS, StepFailed
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._plan import _plan
from tests import reasons
from tests.unit.plugins import samples
from tests.unit.plugins.action import harness


@pytest.fixture(autouse=True)
def nothing_seen() -> Iterator[None]:
    """Each test begins with nothing, and leaves nothing to the proof of another."""
    reasons.listen()
    reasons.begin()
    yield
    reasons.begin()


def test_what_our_code_raises_by_name_counts() -> None:
    with pytest.raises(StepFailed):
        _plan.plan_node("node1", samples.node_facts(service__exists=False), samples.request())
    assert reasons._seen == {"service_absent"}


def test_what_a_test_makes_or_a_double_says_does_not_count() -> None:
    assert StepFailed("dump_failed", "made here").reason.name == "dump_failed"
    result = harness.run(
        ActionModule, {}, lambda arguments: {"failed": True, "reason": "lease_lost", "msg": "said by a double"}
    )
    assert result["reason"] == "lease_lost"
    assert reasons._seen == set()


def test_a_run_is_read_by_the_hints_it_prints() -> None:
    reasons.saw_run(f"fatal: it went wrong. {REASONS['space_short'].hint} and so on", 3)
    assert (reasons._seen, reasons._codes) == ({"space_short"}, {3})


def test_hints_tell_reasons_apart() -> None:
    hints = [reason.hint for reason in REASONS.values()]
    assert [(one, other) for one in hints for other in hints if one is not other and one in other] == []


@pytest.mark.parametrize("word", ["wine-deny", "wine-denyx"])
def test_a_claim_may_be_for_a_word_of_the_parameters(request: pytest.FixtureRequest, word: str) -> None:
    request.applymarker(pytest.mark.reaches("no_role", exit_code=6, when="deny"))
    request.applymarker(pytest.mark.reaches("no_hosts"))
    assert reasons.claims(request.node) == (
        ({"no_role", "no_hosts"}, {6}) if word == "wine-deny" else ({"no_hosts"}, set())
    )
    reasons.saw_run(f"{REASONS['no_role'].hint} {REASONS['no_hosts'].hint}", 6)  # or the hook would fail this test


def test_a_test_that_does_not_reach_what_it_claims_lacks_it(request: pytest.FixtureRequest) -> None:
    request.applymarker(pytest.mark.reaches("no_role", exit_code=6))
    reasons.saw("no_hosts")
    assert reasons.missing(request.node) == ["no_role", "exit code 6"]
    reasons.saw_run(REASONS["no_role"].hint, 6)
    assert reasons.missing(request.node) == []

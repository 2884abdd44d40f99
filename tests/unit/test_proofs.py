# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What counts as shown on a Wine node."""

from __future__ import annotations

import pytest

from tests import proofs

GOOD = """
TASK [alteryx_ops.server_backup.alteryx_window : Dump the database] ***
changed: [node-1]

TASK [A task of the operator] ***
ok: [node-1]

TASK [alteryx_ops.server_backup.alteryx_report : Write and print the report] ***
ok: [node-1]
"""
FAILED = """
TASK [alteryx_ops.server_backup.alteryx_preflight : Check the node] ***
ok: [node-1]

TASK [alteryx_ops.server_backup.alteryx_window : Stop the service] ***
fatal: [node-1]: FAILED! => the service did not stop [stop_timeout]

TASK [A task of the operator] ***
fatal: [node-1]: FAILED! => another
"""


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    """Forget what other tests have seen."""
    proofs.take()


def test_a_good_run_shows_the_playbook_and_the_roles_that_did_something() -> None:
    proofs.saw_run("wine", "/somewhere/full_backup.yml", GOOD, 0)
    assert proofs.take() == [
        "alteryx_report: good run",
        "alteryx_window: good run",
        "full_backup.yml: good run",
    ]


def test_a_failure_belongs_to_the_role_of_the_failed_task() -> None:
    proofs.saw_run("wine", "full_backup.yml", FAILED, 2)
    assert proofs.take() == ["alteryx_window: failure", "full_backup.yml: failure"]


def test_a_standin_shows_nothing() -> None:
    proofs.saw_run("standin", "full_backup.yml", GOOD, 0)
    assert proofs.take() == []


def test_what_was_not_seen_is_lacking() -> None:
    every = {f"{name}: {end}" for name in proofs.names() for end in (proofs.GOOD, proofs.FAILED)}
    assert proofs.lacking(every) == []
    assert proofs.lacking(every - {"prune.yml: failure"}) == ["prune.yml: failure"]
    assert {"full_backup.yml: good run", "alteryx_window: failure"} <= set(proofs.lacking([]))

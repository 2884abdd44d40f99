# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the copy job is told, and what an operator reads of its answer."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._copy import _copies


def copy(**changes: t.Any) -> dict[str, t.Any]:
    """A copy that went well, as the node reports it."""
    return {
        "backup": "B", "destination": "nas", "folder": r"\\nas1\ayx\prod\n1", "state": "copied", "reason": "",
        "message": "", "attempts": 1, "bytes": 2_000_000, "sent_bytes": 2_000_000, "resumed_bytes": 0,
        "again_bytes": 0, "read_bytes": 2_000_000, "seconds": 3.0, "send_seconds": 2.0, "rate": 1_000_000.0,
        "readback": "uncached", **changes,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({}, "2.0 MB in 2 s (1.0 MB/s), read back past the cache"),
        ({"readback": "cached"}, "2.0 MB in 2 s (1.0 MB/s), read back, maybe from the cache"),
        ({"readback": "none"}, "2.0 MB in 2 s (1.0 MB/s), not read back"),
        ({"rate": 0, "send_seconds": 0.2}, "2.0 MB in 0 s, read back past the cache"),
        ({"state": "present"}, "2.0 MB were there already, read back past the cache"),
        (
            {"resumed_bytes": 500_000, "attempts": 2},
            (
                "2.0 MB in 2 s (1.0 MB/s), 500.0 kB were there from an earlier attempt, 2 attempts, "
                "read back past the cache"
            ),
        ),
        ({"state": "failed", "reason": "copy_failed", "message": "broken"}, "FAILED: broken [copy_failed]"),
        (
            {"state": "failed", "reason": "copy_failed", "message": "broken", "attempts": 4},
            "FAILED after 4 attempts: broken [copy_failed]",
        ),
    ],
)
def test_one_line_for_each_end(change: dict[str, t.Any], line: str) -> None:
    assert _copies.describe_copy(copy(**change)) == line


def test_the_job_copies_below_fleet_and_node() -> None:
    below = _copies.place_copies("prod", r"D:\AlteryxBackups\n1")
    spec = _copies.build_copy_spec(r"D:\AlteryxBackups\n1", "B", below, "1", [])
    assert (spec["below"], spec["archive_directory"], spec["only_try"]) == (r"prod\n1", r"D:\AlteryxBackups", False)
    assert _copies.build_copy_spec(r"D:\AlteryxBackups\n1", "", below, "1", [])["only_try"] is True


def test_two_jobs_have_two_names() -> None:
    assert _copies.name_job("B") != _copies.name_job("B")


def test_what_is_there_counts_and_what_failed_does_not() -> None:
    found = [copy(), copy(state="present"), copy(state="failed")]
    assert _copies.list_bad(found) == [found[2]]

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deletion for room: all nodes get enough by the plan of the policy, or no node loses anything."""

from __future__ import annotations

import typing as t

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._retention import _orders, _prune, _room
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._retention._policy import Policy
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._retention._sets import BackupSet

from . import histories
from .histories import NOW

NODES = ("controller", "worker")


def on_nodes(one: BackupSet, sizes: t.Sequence[int]) -> BackupSet:
    """The set with an archive of so many bytes on each node."""
    more = {"id": one.name, "fleet": "prod", "archive_sha256": "", "sidecar_sha256": "", "pruning": one.pruning,
            "complete": not one.pruning, "partial": False, "why": ["its deletion has begun"],
            "verified": {"verdict": "good" if one.is_good else "bad"}}  # fmt: skip
    backups = {
        node: {**more, "files": [{"name": f"{one.name}.zip", "bytes": size}]}
        for node, size in zip(NODES, sizes, strict=True)
    }
    return BackupSet(**{**vars(one), "backups": backups})


def needs(*lacks: int, free: int = 0) -> dict[str, dict[str, t.Any]]:
    """The needs of nodes that lack so many bytes."""
    return {node: {"volume": "D:\\", "bytes": free + lack} for node, lack in zip(NODES, lacks, strict=False)}


def measured(*free: int) -> dict[str, dict[str, t.Any]]:
    return {node: {"folders": [{"free_bytes": each}]} for node, each in zip(NODES, free, strict=False)}


@given(
    sets=histories.histories(),
    policy=histories.POLICIES,
    lacks=st.tuples(st.integers(-50, 300), st.integers(-50, 300)),
    sizes=st.tuples(st.integers(0, 99), st.integers(0, 99)),
    in_use=st.integers(0, 8),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_plan_for_room_is_that_of_the_policy_and_frees_enough_on_every_node_or_is_refused(
    sets: list[BackupSet], policy: Policy, lacks: tuple[int, int], sizes: tuple[int, int], in_use: int
) -> None:
    sets = [on_nodes(one, sizes) for one in sets]
    decisions = _prune.decide(sets, policy, NOW)
    plan = _orders.write_plan(decisions, {node: {"sets": []} for node in NODES}, "prod")
    room = _room.read_room(needs(*lacks, free=1000), measured(1000, 1000))
    assert set(room) == {node for node, lack in zip(NODES, lacks, strict=True) if lack > 0}
    held = {one.name for one in sets[:in_use]}
    goes = [one["name"] for one in plan["sets"] if one["deletes"] and one["name"] not in held]
    enough = all(len(goes) * size >= lack for size, lack in zip(sizes, lacks, strict=True) if lack > 0)
    assert (_room.find_shortage(plan, room, held) is None) == enough
    for mode, rules in policy.modes.items():
        good = [one for one in sets if one.mode == mode and one.is_good and one.moment <= NOW]
        assert not {one.name for one in good[: rules.verified]} & set(goes), "below the floor"


def test_a_shortage_names_the_node_and_all_numbers() -> None:
    sets = [on_nodes(histories.backup_set(24 * age), (40, 10)) for age in (1, 2, 40, 50, 60)]
    policy = Policy({"full": histories.ModePolicy(30, 1)}, 100)
    plan = _orders.write_plan(_prune.decide(sets, policy, NOW), {node: {"sets": []} for node in NODES}, "prod")
    assert _room.find_shortage(plan, _room.read_room(needs(80, 20), measured(0, 0))) is None
    found = _room.find_shortage(plan, _room.read_room(needs(80, 21), measured(0, 0)))
    told = "the volume D:\\ of the archive directory has 0 bytes free, needed are 21 bytes"
    assert found == ("worker", f"{told}, and retention would free 20 bytes")
    oldest = {sets[-1].name}
    found = _room.find_shortage(plan, _room.read_room(needs(80), measured(0)), oldest)
    assert found
    assert "would free 40 bytes" in found[1]


def test_a_node_that_was_not_measured_has_no_free_space() -> None:
    for unknown in ({}, {"controller": {"failed": True}}, measured(-1)):
        assert _room.read_room(needs(5), unknown) == {"controller": {"volume": "D:\\", "bytes": 5, "free_bytes": 0}}
    assert _room.read_room(needs(5), measured(5)) == {}

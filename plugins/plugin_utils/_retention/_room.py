# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deletion for room, before the dump of a run: whether the plan frees enough on every node that lacks room. If it does
not, nothing is deleted on any node."""

from __future__ import annotations

import typing as t

from .._core.text import free_space
from ._orders import Plan, list_orders

Room = t.Mapping[str, t.Mapping[str, t.Any]]
"""Host -> volume, bytes (needed there) and free_bytes, of each node that lacks room."""


def read_room(needs: t.Mapping[str, t.Mapping[str, t.Any]], measured: t.Mapping[str, t.Mapping[str, t.Any]]) -> Room:
    """The room of the nodes that lack it.

    Args:
        needs: host -> volume and bytes, as the run was planned.
        measured: host -> result of node_info for the archive directory. Since the run was planned, the dump of an
            interrupted run may have been archived.
    """
    found = {}
    for host, need in needs.items():
        # What Windows does not tell, and a node that has not answered, count as no free space.
        free = max((folder["free_bytes"] for folder in measured.get(host, {}).get("folders", ())), default=-1)
        if free < need["bytes"]:
            found[host] = {**need, "free_bytes": max(free, 0)}
    return found


def find_shortage(plan: Plan, room: Room, held: t.Collection[str] = ()) -> tuple[str, str] | None:
    """Finds the first node on which the plan does not free enough space. Returns the node and a sentence with the
    numbers, or None if the plan frees enough on every node.

    Args:
        plan: see _orders.write_plan.
        room: see read_room.
        held: names of the sets that cannot be deleted now.
    """
    for host, short in room.items():
        orders = list_orders(plan, host, held)
        frees = sum(file["bytes"] for order in orders for file in (*order["files"], *order["others"]))
        if short["free_bytes"] + frees < short["bytes"]:
            told = free_space(short["volume"], "archive directory", short["free_bytes"], short["bytes"])
            return host, f"{told}, and retention would free {frees} bytes"
    return None


def list_deleted(results: t.Mapping[str, t.Mapping[str, t.Mapping[str, t.Any]]], predicts: bool) -> list[str]:
    """Names of the backup sets that the run has deleted for room.

    Args:
        results: host -> step -> result, before the end of the run.
        predicts: the names of those that a run would delete.
    """
    planned = next((steps["prune_plan"] for steps in results.values() if "prune_plan" in steps), {}).get("plan") or {}
    if not planned.get("room"):
        return []
    did = {name for steps in results.values() for name in steps.get("prune", {}).get("did", ())}
    return [one["name"] for one in planned["sets"] if one["deletes"] and (predicts or one["name"] in did)]

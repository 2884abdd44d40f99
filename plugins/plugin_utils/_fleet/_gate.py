# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate: may the window open? A pure function of the reports of all nodes."""

from __future__ import annotations

import typing as t

from .._core.reasons import StepFailed

Results = t.Mapping[str, t.Mapping[str, t.Any]]


SPARE_SECONDS = 10.0
"""The time that the request to the window job to stop the controller may need."""


def check(
    run_id: str, controller: str, leases: Results, stops: Results, age: float = 0.0, open_within: float = 900.0
) -> None:
    """Returns if the window may open, or raises the reason why it must not.

    Args:
        run_id: of this run.
        controller: the node whose database is dumped; its window job stops it itself.
        leases: node -> result of maintenance_lease, of every node of the fleet.
        stops: node -> result of alteryx_service, of every node except the controller.
        age: seconds since the first stop of a node was requested.
        open_within: seconds after its stop within which a node must learn that the window is open; after that it starts
            its service again.

    Raises:
        StepFailed: gate_closed, naming the first node that is not ready.
    """
    for node, lease in leases.items():
        taken = lease.get("lease") or {}
        if lease.get("failed") or lease.get("unreachable") or taken.get("run_id") != run_id:
            raise StepFailed("gate_closed", "the node holds no lease of this run", {"node": node})
        if not taken.get("drilled"):
            raise StepFailed("gate_closed", "the guard of the node has not answered its drill", {"node": node})
        if node == controller:
            continue
        stopped = stops.get(node) or {}
        state = (stopped.get("service") or {}).get("state", "unknown")
        if stopped.get("failed") or stopped.get("unreachable") or state != "Stopped":
            raise StepFailed("gate_closed", f"the service of the node is not Stopped ({state})", {"node": node})
    if len(leases) > 1 and age > open_within - SPARE_SECONDS:
        message = f"the first node was stopped {age:.0f} s ago, and the window has to open within {open_within:.0f} s"
        raise StepFailed("gate_closed", message, {"node": controller})

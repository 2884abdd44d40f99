# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a deletion as data: the decision about each set and its reason, and exactly which files each node
deletes."""

from __future__ import annotations

import typing as t

from ._prune import Decision
from ._sets import BackupSet, Catalogues

Plan = dict[str, t.Any]


def write_plan(
    decisions: t.Sequence[Decision], catalogues: Catalogues, fleet: str, run_id: str = "", refused: str = ""
) -> Plan:
    """The plan of a fleet, JSON-able: fleet, run_id, refused, deletes (is any set deleted?), sets, and nodes (host ->
    backups that it deletes).

    Args:
        decisions: one for each set.
        catalogues: of every node; they list the files that do not belong to a single node.
        fleet: name of the fleet.
        run_id: of the run that prunes, "" outside of a run.
        refused: why nothing is deleted in spite of the decisions.
    """
    doomed = [] if refused else [decision for decision in decisions if decision.deletes]
    return {
        "fleet": fleet,
        "run_id": run_id,
        "refused": refused,
        "deletes": bool(doomed),
        "sets": [_describe(decision, bool(refused)) for decision in decisions],
        "nodes": {
            host: [_order(decision, host, catalogues[host]) for decision in doomed if host in decision.of.backups]
            for host in catalogues
        },
    }


def _describe(decision: Decision, refused: bool) -> dict[str, t.Any]:
    one = decision.of
    return {
        "name": one.name,
        "run_id": one.run_id,
        "mode": one.mode,
        "started": _text(one),
        "bytes": one.bytes,
        "nodes": sorted(one.backups),
        "counts": one.is_good,
        "deletes": decision.deletes and not refused,
        "rule": decision.rule,
    }


def _order(decision: Decision, host: str, catalogue: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    one = decision.of
    entry = one.backups[host]
    return {
        "name": entry["id"],
        "run_id": one.run_id,
        "fleet": entry["fleet"],
        "mode": one.mode,
        "started": _text(one),
        "node": host,
        "rule": decision.rule,
        "archive_sha256": entry["archive_sha256"],
        "sidecar_sha256": entry["sidecar_sha256"],
        "files": [dict(file) for file in entry["files"]],
        "others": [
            dict(file) for run in catalogue.get("sets", []) if run["run_id"] == one.run_id for file in run["files"]
        ],
    }


def _text(one: BackupSet) -> str:
    return one.started.isoformat(timespec="milliseconds").replace("+00:00", "Z") if one.started else ""


def read_held(checked: t.Mapping[str, t.Mapping[str, t.Any]]) -> dict[str, str]:
    """Name of a backup that cannot be deleted now -> where and why.

    Args:
        checked: host -> result of backup_prune with state=checked.
    """
    return {
        held["name"]: f"in use on {host}: {held['why']}"
        for host, result in checked.items()
        for held in result.get("held", [])
    }


def list_orders(plan: Plan, host: str, held: t.Collection[str]) -> list[dict[str, t.Any]]:
    """The sets that a node deletes. A set that is in use on one node stays on all nodes."""
    return [order for order in plan["nodes"].get(host, []) if order["name"] not in held]

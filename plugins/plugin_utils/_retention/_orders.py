# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a deletion as data: the decision about each set and its reason, and exactly which files each node
deletes."""

from __future__ import annotations

import typing as t

from .._copy import _copies
from ._places import Place
from ._prune import Decision
from ._sets import BackupSet, Catalogues, Entry

Plan = dict[str, t.Any]


def write_plan(
    decisions: t.Sequence[Decision],
    catalogues: Catalogues,
    fleet: str,
    run_id: str = "",
    refused: str = "",
    destination: str = "",
) -> Plan:
    """The plan of a fleet in one place, JSON-able: fleet, destination, run_id, refused, deletes (is anything?), sets,
    and nodes (host -> backups that it deletes).

    Args:
        decisions: one for each set.
        catalogues: of every node; they list the files that do not belong to a single node.
        fleet: name of the fleet.
        run_id: of the run that prunes, "" outside of a run.
        refused: why nothing is deleted whatever the decisions are.
        destination: name of the place, "" for the archive directory.
    """
    doomed = [] if refused else [decision for decision in decisions if decision.deletes]
    return {
        "fleet": fleet,
        "destination": destination,
        "run_id": run_id,
        "refused": refused,
        "deletes": bool(doomed),
        "sets": [_describe(decision, bool(refused)) for decision in decisions],
        "nodes": {
            host: [_order(decision, host, catalogues[host]) for decision in doomed if host in decision.of.backups]
            for host in catalogues
        },
    }


def write_place_plan(
    place: Place,
    decisions: t.Sequence[Decision],
    catalogues: Catalogues,
    fleet: str,
    run_id: str = "",
    refused: str = "",
) -> Plan:
    """The plan of a destination: see write_plan, and brings (host -> names of .set.json files that it brings there).

    Without its .set.json, a copy does not count when the archive directory has lost or deleted the set.

    Args:
        place: the destination.
        decisions: one for each of its sets.
        catalogues: of every node, of the archive directory.
        fleet, run_id, refused: see write_plan.
    """
    plan = write_plan(decisions, place.catalogues, fleet, run_id, refused or place.away, place.name)
    stay = set() if plan["refused"] else {one["run_id"] for one in plan["sets"] if not one["deletes"]}
    there = {one["run_id"] for result in place.catalogues.values() for one in result.get("sets", [])}
    return {**plan, "brings": _find_records(stay - there, catalogues)}


def _find_records(runs: t.Collection[str], catalogues: Catalogues) -> dict[str, list[str]]:
    """Host -> names of the .set.json files of these runs in its archive directory. One node of all that have it is
    enough."""
    owners: dict[str, tuple[str, Entry]] = {}
    for host, result in catalogues.items():
        for one in result.get("sets", []):
            if one["run_id"] in runs and not one["error"]:
                owners.setdefault(one["run_id"], (host, one))
    found: dict[str, list[str]] = {}
    for host, one in owners.values():
        found.setdefault(host, []).append(f"{one['base']}.set.json")
    return found


def join_plans(plan: Plan, places: t.Sequence[Plan]) -> Plan:
    """The plan of the archive directory with those of the destinations. acts: is there anything to do?"""
    acts = plan["deletes"] or any(place["deletes"] or place["brings"] for place in places)
    return {**plan, "places": list(places), "acts": acts}


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


def read_held(checked: t.Mapping[str, t.Mapping[str, t.Any]], destination: str = "") -> set[str]:
    """Names of the backups that cannot be deleted now.

    Args:
        checked: host -> result of backup_prune with state=checked.
        destination: where they are, "" for the archive directory.
    """
    found = _find_results(checked, destination) if destination else checked
    return {held["name"] for result in found.values() for held in result.get("held", [])}


def read_refusals(checked: t.Mapping[str, t.Mapping[str, t.Any]], destination: str) -> dict[str, t.Mapping[str, t.Any]]:
    """Host -> reason and message, of hosts because of which nothing is deleted at a destination.

    Args:
        checked: see read_held.
        destination: its name.
    """
    return {host: result for host, result in _find_results(checked, destination).items() if result["reason"]}


def _find_results(checked: t.Mapping[str, t.Mapping[str, t.Any]], destination: str) -> dict[str, t.Mapping[str, t.Any]]:
    return {
        host: place
        for host, result in checked.items()
        for place in result.get("places", [])
        if place["destination"] == destination
    }


def build_places(
    plan: Plan, host: str, checked: t.Mapping[str, t.Mapping[str, t.Any]], state: str
) -> dict[str, dict[str, t.Any]]:
    """Destination -> backups and brings, of the destinations that a node works on in a state of backup_prune.

    Args:
        plan: see join_plans.
        host: the node.
        checked: see read_held; {} before that.
        state: checked, begun or finished.
    """
    found: dict[str, dict[str, t.Any]] = {}
    for place in plan.get("places", []):
        name = place["destination"]
        # In which order its nodes have failed does not matter: none of them has deleted anything.
        if place["refused"] or read_refusals(checked, name):
            continue
        orders = list_orders(place, host, read_held(checked, name))
        brings = place["brings"].get(host, []) if state == "begun" else []
        found[name] = {"backups": orders, "brings": brings}
    if state == "checked":
        # They are compared with each other, those of which nothing is deleted, too.
        return found if any(one["backups"] for one in found.values()) else {}
    return {name: one for name, one in found.items() if one["backups"] or one["brings"]}


def build_prune_spec(
    state: str,
    archive_directory: str,
    host: str,
    run_id: str,
    who: str,
    places: t.Sequence[t.Mapping[str, t.Any]],
    fleet: str,
    work: t.Mapping[str, t.Mapping[str, t.Any]],
) -> dict[str, t.Any]:
    """The spec of a job that deletes at destinations.

    Args:
        state: of backup_prune.
        archive_directory: of the node.
        host: the node.
        run_id: of the run that prunes, "" for none.
        who: for the audit log.
        places: the destinations with accounts, as jobs want them.
        fleet: whose folder there it is.
        work: see build_places.
    """
    return {
        "state": state,
        "archive_directory": archive_directory,
        "node": host,
        "run_id": run_id,
        "who": who,
        "places": [{**place, **work[place["name"]]} for place in _copies.add_folders(places, fleet)],
    }


def list_orders(plan: Plan, host: str, held: t.Collection[str]) -> list[dict[str, t.Any]]:
    """The sets that a node deletes. A set that is in use on one node stays on all nodes."""
    return [order for order in plan["nodes"].get(host, []) if order["name"] not in held]

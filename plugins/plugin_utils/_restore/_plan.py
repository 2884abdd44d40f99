# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a restore: which backup is restored on which node, in which order, and the reasons to refuse it."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._core import paths
from .._core.reasons import StepFailed
from .._core.text import size
from .._fleet._topology import STOP_ORDER
from .._plan._fleet_topology import list_rolled_back
from .._plan._plan import check_stop
from .._retention._sets import BackupSet


@dataclass(frozen=True)
class Asked:
    """The request of the operator.

    Attributes:
        verb: restore, roll_back or accept.
        scope: full, database or configuration.
        confirm: name of the fleet, "" if only the plan is requested.
        without: nodes that are left out.
    """

    verb: str
    scope: str
    confirm: str
    without: tuple[str, ...]


Facts = t.Mapping[str, t.Mapping[str, t.Any]]
"""Host -> result of node_info."""
Records = t.Mapping[str, t.Sequence[t.Mapping[str, t.Any]]]
"""Host -> records of restore_record."""


def check_confirmation(asked: Asked, fleet: str) -> None:
    """Refuses to continue unless the operator has named the fleet.

    Raises:
        StepFailed: restore_unconfirmed.
    """
    if asked.confirm == fleet:
        return
    if asked.confirm:
        raise StepFailed("restore_unconfirmed", f"alteryx_restore_confirm is {asked.confirm}, and the fleet is {fleet}")
    raise StepFailed(
        "restore_unconfirmed",
        f"nothing was touched: this was only the plan. To carry it out, add -e alteryx_restore_confirm={fleet}",
    )


def check_pending(records: Records) -> None:
    """Refuses a restore while an earlier one has not ended, or is neither accepted nor rolled back.

    Raises:
        StepFailed: restore_unfinished, restore_pending.
    """
    rolled = _rolled_back(records)
    for host, found in records.items():
        for record in found:
            name = record["run_id"] or record["path"]
            if record["word"] == "pending":
                raise StepFailed("restore_unfinished", f"the restore {name} of {host} has not ended", {"node": host})
            # What a rollback has kept is not needed to go back from the next restore.
            if record["word"] == "committed" and not record["of"] and record["run_id"] not in rolled:
                message = f"the restore {name} of {host} is neither accepted nor rolled back"
                raise StepFailed("restore_pending", message, {"node": host})


def check_hold(facts: Facts) -> None:
    """Refuses a restore if a person has put the file HOLD on the node, so that the service stays as it is.

    Raises:
        StepFailed: hold_present.
    """
    for host, found in facts.items():
        if found["hold"]:
            raise StepFailed("hold_present", f"the file HOLD is in the state folder of {host}", {"node": host})


def check_service(facts: Facts) -> None:
    """Refuses nodes on which the service cannot be started afterwards, or on which a stop has other effects.

    Raises:
        StepFailed: service_absent, restore_service_disabled, cluster_resource, dependants_running.
    """
    for host, found in facts.items():
        service = found["service"]
        if not service["exists"]:
            raise StepFailed(
                "service_absent", f"there is no Windows service {service['name']} on {host}", {"node": host}
            )
        if service["start_type"] == "Disabled":
            raise StepFailed(
                "restore_service_disabled",
                f"the start type of {service['name']} on {host} is Disabled, so it could not be started afterwards",
                {"node": host},
            )
        if service["state"] == "Stopped":
            continue
        try:
            check_stop(
                f"{service['name']} on {host}", found.get("cluster_resource", ""), service.get("dependants") or ()
            )
        except StepFailed as failure:
            failure.detail["node"] = host
            raise


def check_controllers(nodes: t.Mapping[str, t.Mapping[str, t.Any]]) -> None:
    """Refuses a fleet of which two nodes are controllers: one stands by, and a restore would start both.

    Args:
        nodes: host -> its part of the plan.

    Raises:
        StepFailed: several_fleets.
    """
    controllers = [host for host, node in nodes.items() if node["is_controller"]]
    if len(controllers) > 1:
        raise StepFailed(
            "several_fleets",
            f"{' and '.join(controllers)} are controllers by their settings; leave the one that stands by out, by the "
            "limit and by alteryx_restore_without_nodes",
        )


def check_rollback(nodes: t.Mapping[str, t.Mapping[str, t.Any]], controller: str, restore_id: str) -> None:
    """Refuses a rollback that would not include the controller.

    Raises:
        StepFailed: restore_unknown.
    """
    if controller and not nodes[controller]["rolls_back"]:
        others = ", ".join(host for host, node in nodes.items() if node["rolls_back"])
        raise StepFailed(
            "restore_unknown",
            f"there is no restore {restore_id} to go back from on the controller {controller}, but on {others}, whose "
            "old files do not fit the controller any more; accept it with accept_restore.yml",
        )


def find_rollback(records: Records, restore_id: str) -> dict[str, dict[str, t.Any]]:
    """The records of the restore that is rolled back, by host.

    Raises:
        StepFailed: restore_unknown.
    """
    found = {
        host: dict(record)
        for host, each in records.items()
        for record in each
        if record["run_id"] == restore_id and record["word"] == "committed" and record["verb"] == "restore"
    }
    if restore_id in _rolled_back(records):
        # The other nodes follow the controller, so it cannot be repeated on them alone.
        left = [host for host in found if restore_id not in list_rolled_back(records[host])]
        more = f", but {', '.join(left)} kept the restored files; restore the fleet again" if left else ""
        raise StepFailed("restore_unknown", f"the restore {restore_id} is rolled back already{more}")
    if not found:
        known = sorted(
            {record["run_id"] for each in records.values() for record in each if record["word"] == "committed"}
        )
        there = f"those that can be rolled back are {', '.join(known)}" if known else "there is none on these nodes"
        raise StepFailed("restore_unknown", f"no restore {restore_id or '(no id given)'} to go back from; {there}")
    return found


def _rolled_back(records: Records) -> set[str]:
    return list_rolled_back(record for found in records.values() for record in found)


def find_accepted(records: Records, restore_id: str) -> list[str]:
    """The hosts on which a restore, or its rollback, is accepted.

    Raises:
        StepFailed: restore_unknown.
    """
    hosts = [
        host
        for host, each in records.items()
        if any(restore_id in (record["run_id"], record["of"]) and record["word"] != "pending" for record in each)
    ]
    if not hosts or not restore_id:
        known = sorted(
            {record["run_id"] for each in records.values() for record in each if record["word"] != "pending"}
        )
        there = f"known are {', '.join(known)}" if known else "nothing is kept on these nodes"
        raise StepFailed("restore_unknown", f"no restore {restore_id or '(no id given)'} to accept; {there}")
    return hosts


def order_tiers(roles: t.Mapping[str, t.Sequence[str]]) -> list[list[str]]:
    """Hosts by tier in the order of stopping; the controller comes last. A host without known roles counts as a
    worker."""
    tier = {
        host: next((role for role in ("controller", *STOP_ORDER) if role in found), "worker")
        for host, found in roles.items()
    }
    tiers = [[host for host in roles if tier[host] == role] for role in (*STOP_ORDER, "controller")]
    return [each for each in tiers if each]


def plan_node(
    host: str, facts: t.Mapping[str, t.Any], roles: t.Sequence[str], backup: t.Mapping[str, t.Any], asked: Asked
) -> dict[str, t.Any]:
    """What is done on a node.

    Args:
        host: its name in the inventory.
        facts: of node_info.
        roles: of the backup, or of the node.
        backup: its entry in the catalogue; empty for a rollback.
        asked: the request.
    """
    alteryx, service = facts["alteryx"], facts["service"]
    return {
        "name": host,
        "roles": list(roles),
        "is_controller": "controller" in roles,
        "service_state": service["state"],
        "executable": alteryx["executable"],
        "bin_folder": alteryx["bin_folder"],
        "data_folder": facts["database"]["folder"],
        "data_folder_wanted": "",
        "controller_host": "",
        "controller_port": 80,
        "folder": backup.get("folder", ""),
        "base_name": backup.get("id", ""),
        "archive": paths.archive_file(backup["folder"], backup["id"]) if backup else "",
        "work_folder": "",
        "restores_database": bool(backup) and "controller" in roles and asked.scope != "configuration",
        "restores_files": bool(backup) and asked.scope != "database",
        "rolls_back": {},
    }


def describe_plan(plan: t.Mapping[str, t.Any], chosen: BackupSet | None, passed_over: t.Iterable[str]) -> str:
    """The plan as text for the operator."""
    lines = []
    words = {"restore": "restore", "roll_back": "roll back the restore of", "accept": "accept the restore of"}
    if chosen is not None:
        lines.append(
            f"plan: restore {plan['scope']} of the fleet {plan['fleet']} from {chosen.name} "
            f"(run {chosen.run_id}, {size(chosen.bytes)}){_at(plan['backup']['destination'])}"
        )
    else:
        lines.append(f"plan: {words[plan['verb']]} {plan['fleet']}: {plan['restore_id']}")
    lines += [f"plan: newer, and not used: {text}" for text in passed_over]
    for tier in plan["stop_tiers"]:
        lines += [f"plan: {_describe_node(plan['nodes'][host])}" for host in tier]
    lines += [f"plan: warning: {text}" for text in plan["warnings"]]
    return "\n".join(lines)


def _at(destination: str) -> str:
    return f" at the destination {destination}" if destination else ""


def _describe_node(node: t.Mapping[str, t.Any]) -> str:
    start = f"{node['name']} ({', '.join(node['roles']) or 'roles unknown'}), service {node['service_state']}"
    if node["rolls_back"]:
        return f"{start}: {', '.join(entry['path'] for entry in node['rolls_back']['entries'])} as before the restore"
    what = [name for name, does in (("database", node["restores_database"]), ("files", node["restores_files"])) if does]
    return f"{start}: {' and '.join(what) or 'stopped and started only'}" + (f" from {node['archive']}" if what else "")

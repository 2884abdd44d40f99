# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The topology of a fleet in words, which topology.yml prints: the roles of every node by its settings, where the data
is, and contradictions.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._core.reasons import StepFailed
from .._core.text import name_nodes
from .._database import _persistence
from .._fleet import _node_facts, _runtime_settings, _topology

_KINDS = {
    "embedded": "embedded MongoDB",
    "mongodb": "self-managed MongoDB",
    "sqlserver": "SQL Server",
    "contradictory": "contradictory",
    "unknown": "unknown",
}


@dataclass(frozen=True)
class FleetTopology:
    """text: for people. controller, roles: by the settings.

    problems: (node, text) for everything that prevents a backup with a stop. unread: node -> why it could not be read:
    the name of a reason, and a text.
    """

    text: str
    controller: str
    roles: dict[str, tuple[str, ...]]
    problems: tuple[tuple[str, str], ...]
    unread: dict[str, tuple[str, str]]


def describe_fleet(
    fleet: str,
    answers: t.Mapping[str, t.Mapping[str, t.Any]],
    addresses: t.Mapping[str, str] | None = None,
    controller_names: t.Sequence[str] = (),
    left: t.Mapping[str, t.Mapping[str, t.Any]] | None = None,
    restores: t.Mapping[str, t.Mapping[str, t.Any]] | None = None,
) -> FleetTopology:
    """Surveys a fleet.

    Args:
        fleet: its name.
        answers: host -> the answer of node_info, which may be a failure; in the order of the inventory.
        addresses: host -> its address in the inventory, a further name of its machine.
        controller_names: see _topology.derive.
        left: host -> the answer of run_lock to an inspection.
        restores: host -> the answer of restore_record to an inspection.
    """
    nodes, read, unread = [], dict[str, _node_facts.NodeFacts](), dict[str, tuple[str, str]]()
    for name, answer in answers.items():
        try:
            if "settings" not in answer:
                raise StepFailed(
                    answer.get("reason", "unreachable"), str(answer.get("message") or answer.get("msg") or "no answer")
                )
            facts = _node_facts.read(answer)
            nodes.append(_topology.fleet_node(name, facts, (addresses or {}).get(name, "")))
            read[name] = facts
        except StepFailed as failure:
            unread[name] = (failure.reason.name, failure.message)
    topology = _topology.derive(nodes, controller_names)
    problems = [*((name, message) for name, (_unused, message) in unread.items()), *topology.problems]
    warnings = list(topology.warnings)
    alarms: list[tuple[str, str]] = []
    if topology.rivals:
        problems.append(("", f"not exactly one active controller: {', '.join(topology.rivals)}"))
    elif not topology.controller and not unread:
        problems.append(("", "no node is a controller"))
    shown = {}
    for name, facts in read.items():
        own = facts.settings
        if own.fallback_used:
            file = facts.settings_files.defaults.path
            warnings.append((name, f"the defaults file {file} could not be read; known defaults are assumed"))
        problems += [(name, text) for text in _runtime_settings.problems(own)]
        warnings += [(name, text) for text in _runtime_settings.warnings(own)]
        warnings += [(name, text) for text in _describe_runs(facts, (left or {}).get(name, {}))]
        warnings += [(name, text) for text in _describe_restores((restores or {}).get(name, {}))]
        alarms += [(name, text) for text in _describe_service(facts, (restores or {}).get(name, {}))]
        alarms += [(name, text) for text in _describe_unread((restores or {}).get(name, {}))]
        database = ""
        if name == topology.controller:
            others = [other.settings for node, other in read.items() if node != name and "ui" in other.roles]
            database = _KINDS[_runtime_settings.database_kind(own)]
            try:
                problems += [(name, f"its database is {database}")] if database in ("contradictory", "unknown") else []
                warnings += [(name, text) for text in _places(own, others, facts.database.folder)]
            except StepFailed as failure:
                problems.append((name, failure.message))
        shown[name] = {
            "computer": facts.system.computer,
            "version": facts.alteryx.version,
            "service": facts.service.state if facts.service.state == "Running" else f"{facts.service.state} (!)",
            "database": database,
        }
    table = _topology.describe(topology, shown, list(unread))
    lines = [
        f"{kind}: {f'{nodes}: ' if nodes else ''}{text}"
        for kind, found in (("problem", problems), ("warning", alarms), ("note", warnings))
        for nodes, text in name_nodes(found)
    ]
    roles = {node.name: node.roles for node in nodes}
    return FleetTopology(
        "\n".join([f"fleet {fleet}", table, *lines]), topology.controller, roles, tuple(problems), unread
    )


def _describe_service(facts: _node_facts.NodeFacts, restores: t.Mapping[str, t.Any]) -> list[str]:
    """A sentence about a service that is not Running, and what to do."""
    service = facts.service
    if not service.exists or service.state == "Running":
        return []
    text = f"the service {service.name} is {service.state}"
    if facts.lease:
        return [f"{text}; the run {facts.lease.run_id} holds its lease and restores {facts.lease.prior_state}"]
    if any(record["word"] == "pending" for record in restores.get("records", ())):
        return [f"{text}; do not use Start-Service, because a restore has not ended and its files may not be whole"]
    return [f"{text}; start it (Start-Service {service.name}), unless it is stopped on purpose"]


def _describe_runs(facts: _node_facts.NodeFacts, left: t.Mapping[str, t.Any]) -> list[str]:
    """The locks and leases of runs on a node, and what interrupted runs have left there, a sentence each."""
    found = []
    if lock := facts.lock:
        text = f"the lock of the run {lock.run_id} of {lock.holder}, since {lock.started}, is "
        when = f", stale in {lock.stale_in:.0f} s, at {lock.stale_at}" if lock.stale_at else ""
        found.append(f"{text}alive{when}" if lock.fresh else f"{text}stale")
    if lease := facts.lease:
        found.append(
            f"the run {lease.run_id} holds a lease until {lease.deadline}; its guard restores the service to"
            f" {lease.prior_state}"
        )
    if facts.hold:
        found.append("the file HOLD is in the state folder: nothing is stopped or started")
    if facts.schedules_left:
        found.append("schedules that a run has paused are not enabled again")
    # The sentence about the lock says that already.
    if left.get("reason", "run_locked") != "run_locked":
        found.append(f"recover.yml would do nothing: {left['message']}")
    found += [f"recover.yml {done}" for done in left.get("did", [])]
    found += [
        f"recover.yml would archive the dump of the run {run_id}, if it can be used"
        for run_id in left.get("unarchived", [])
    ]
    found += [f"recover.yml would wait for {what}" for what in left.get("pending", [])]
    return found


def list_rolled_back(found: t.Iterable[t.Mapping[str, t.Any]]) -> set[str]:
    """The restores that were rolled back on a node with these records. A rollback that was undone does not count: the
    node then has the restored files."""
    return {record["of"] for record in found if record["of"] and record["word"] == "committed"}


def _describe_restores(found: t.Mapping[str, t.Any]) -> list[str]:
    """What restores have left on a node, and what the operator can do about it, a sentence each."""
    texts = []
    rolled = list_rolled_back(found.get("records", ()))
    for record in found.get("records", ()):
        if record.get("problem"):
            continue
        run = record["run_id"] or record["path"]
        if record["word"] == "pending":
            texts.append(f"the restore {run} has not ended; if its run has died, recover.yml undoes it")
        elif record["word"] == "undone":
            what = "rollback" if record["of"] else "restore"
            texts.append(
                f"the {what} {run} was undone; what it had copied to the node uses disk space until "
                f"accept_restore.yml -e alteryx_restore_run={run}"
            )
        elif record["of"]:
            texts.append(
                f"the restore {record['of']} was rolled back; the restored files use disk space until "
                f"accept_restore.yml -e alteryx_restore_run={record['of']}"
            )
        elif run not in rolled:
            texts.append(
                f"the restore {run} keeps the previous database and files on the disk: accept_restore.yml deletes them,"
                f" roll_back_restore.yml returns to them, both with -e alteryx_restore_run={run}"
            )
    return texts


def _describe_unread(found: t.Mapping[str, t.Any]) -> list[str]:
    """The records of restores that cannot be read, and what the operator can do about each, a sentence each."""
    if found and "records" not in found:
        why = str(found.get("message") or found.get("msg") or "no answer").rstrip(".")
        text = (
            "the records of restores in the state folder (restore.json and the folder restores) cannot be read: "
            f"{why}. It is not known whether a restore has ended. Remove the cause, then run topology.yml again"
        )
        return [text]
    texts = []
    for record in found.get("records", ()):
        if not record.get("problem"):
            continue
        text = f"the record {record['path']} of a restore cannot be read: {record['problem'].rstrip('.')}. "
        run = record["run_id"]
        if record["word"] == "pending":
            texts.append(
                f"{text}Do not start the service. Run recover.yml; if that fails, follow docs/recovering.md, Undo a "
                "restore by hand"
            )
        else:
            texts.append(
                f"{text}What that restore has kept is in files and folders whose names contain _{run}. Keep or delete "
                f"them by hand, then run accept_restore.yml -e alteryx_restore_run={run}"
            )
    return texts


def _places(
    own: _runtime_settings.EffectiveSettings, others: t.Sequence[_runtime_settings.EffectiveSettings], folder: str
) -> list[str]:
    """Where the data is, in words without secrets. folder: of the embedded MongoDB."""
    kind = _runtime_settings.database_kind(own)
    if kind == "embedded":
        apart = [
            f"{name} is True: the UI keeps a database elsewhere, which emongodump misses"
            for name in _persistence.elsewhere([own, *others])
        ]
        return [f"its data is in {folder or '(EmbeddedMongoDBRootPath is not set)'}", *apart]
    if kind == "mongodb":
        placed = _persistence.stores(own, others)
        return [
            f"{store.database} is on "
            + (store.connection.shown if store.connection else "a server that the settings do not name")
            for store in placed
        ]
    return []

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The survey of a fleet, which topology.yml prints: what every node is by its settings, where the data is, and what does not fit together."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from . import _persistence, _plan, _runtime_settings, _topology
from ._outcome import StepFailed

_KINDS = {"embedded": "embedded MongoDB", "mongodb": "self-managed MongoDB", "sqlserver": "SQL Server", "contradictory": "contradictory", "unknown": "unknown"}


@dataclass(frozen=True)
class Survey:
    """text: for people. controller, roles: by the settings. problems: (node, what) of all that keeps a fleet from being backed up with a stop.

    unread: node -> why nothing is known of it: the name of a reason, and words.
    """

    text: str
    controller: str
    roles: dict[str, tuple[str, ...]]
    problems: tuple[tuple[str, str], ...]
    unread: dict[str, tuple[str, str]]


def survey(
    fleet: str, facts: t.Mapping[str, t.Mapping[str, t.Any]], addresses: t.Mapping[str, str] | None = None, controller_names: t.Sequence[str] = ()
) -> Survey:
    """Surveys a fleet.

    Args:
        fleet: its name.
        facts: host -> what node_info has answered, a failure included; in the order of the inventory.
        addresses: host -> how the inventory reaches it, a further name of its machine.
        controller_names: see _topology.derive.
    """
    nodes, settings, unread = [], {}, dict[str, tuple[str, str]]()
    for name, answer in facts.items():
        try:
            if "settings" not in answer:
                raise StepFailed(answer.get("reason", "unreachable"), str(answer.get("message") or answer.get("msg") or "no answer"))
            settings[name] = _plan.read_settings(answer["settings"])
            nodes.append(_plan.fleet_node(name, answer, (addresses or {}).get(name, "")))
        except StepFailed as failure:
            unread[name] = (failure.reason.name, failure.message)
    topology = _topology.derive(nodes, controller_names)
    problems = [*((name, message) for name, (_, message) in unread.items()), *topology.problems]
    warnings = list(topology.warnings)
    if topology.rivals:
        problems.append(("", f"not exactly one active controller: {', '.join(topology.rivals)}"))
    elif not topology.controller and not unread:
        problems.append(("", "no node is a controller"))
    shown = {}
    for name, own in settings.items():
        if own.fallback_used:
            warnings.append((name, f"the defaults file {facts[name]['settings']['defaults']['path']} could not be read; known defaults are assumed"))
        problems += [(name, text) for text in _runtime_settings.problems(own)]
        warnings += [(name, text) for text in _runtime_settings.warnings(own)]
        database = ""
        if name == topology.controller:
            others = [settings[node.name] for node in nodes if node.name != name and "ui" in node.roles]
            database = _KINDS[_runtime_settings.database_kind(own)]
            try:
                problems += [(name, f"its database is {database}")] if database in ("contradictory", "unknown") else []
                warnings += [(name, text) for text in _places(own, others, facts[name])]
            except StepFailed as failure:
                problems.append((name, failure.message))
        alteryx, service = facts[name]["alteryx"], facts[name]["service"]
        shown[name] = {
            "computer": facts[name]["system"]["computer"], "version": alteryx["version"], "service": service["state"], "database": database,
        }  # fmt: skip
    table = _topology.describe(topology, shown, list(unread))
    lines = [f"{kind}: {f'{node}: ' if node else ''}{text}" for kind, found in (("problem", problems), ("note", warnings)) for node, text in found]
    roles = {node.name: node.roles for node in nodes}
    return Survey("\n".join([f"fleet {fleet}", table, *lines]), topology.controller, roles, tuple(problems), unread)


def _places(own: _runtime_settings.EffectiveSettings, others: t.Sequence[_runtime_settings.EffectiveSettings], facts: t.Mapping[str, t.Any]) -> list[str]:
    """Where the data is, in words without secrets."""
    kind = _runtime_settings.database_kind(own)
    if kind == "embedded":
        folder = facts["database"]["folder"]
        apart = [f"{name} is True: the UI keeps a database elsewhere, which emongodump misses" for name in _persistence.elsewhere([own, *others])]
        return [f"its data is in {folder or '(EmbeddedMongoDBRootPath is not set)'}", *apart]
    if kind == "mongodb":
        placed = _persistence.stores(own, others)
        return [f"{store.database} is on {store.connection.shown if store.connection else 'a server that the settings do not name'}" for store in placed]
    return []

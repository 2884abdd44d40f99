# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The topology of a fleet: who is the controller, who belongs to it, and in which order services go down and come up.

A controller's file does not list its workers (facts: RuntimeSettings.xml), so the inventory defines which nodes belong
together, and every worker's own file is compared with it.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._core.reasons import StepFailed
from . import _runtime_settings
from ._node_facts import NodeFacts

NETBIOS_LENGTH = 15
"""Windows cuts the computer name at this length."""

STOP_ORDER = ("ui", "worker")
"""The tiers that stop before the controller: UI nodes first, so that users start no new work, and then workers. The
controller always stops last and starts first. The plan, the run and topology.yml take the order from here."""


@dataclass(frozen=True)
class FleetNode:
    """The facts about a node that the topology needs.

    name: inventory_hostname. names: other names of the node: computer name, fully qualified name, address. roles: see
    _runtime_settings. controller_address: the address at which it looks for its controller, "" for itself. active: its
    service is running, or would be if an interrupted run had not stopped it.
    """

    name: str
    roles: tuple[str, ...]
    names: tuple[str, ...] = ()
    controller_address: str = ""
    active: bool = True

    @property
    def tier(self) -> str:
        """The tier of the node. One service carries all roles of its node: a controller is in the last tier, and a UI
        node stops before workers."""
        return next((role for role in ("controller", "ui", "worker") if role in self.roles), "worker")


def fleet_node(name: str, facts: NodeFacts, address: str = "") -> FleetNode:
    """The facts about a node that the topology needs.

    Raises:
        StepFailed: its settings cannot be read.
    """
    settings = facts.settings
    names = tuple(each for each in (facts.system.computer, facts.system.fqdn, address) if each)
    left_down = facts.lease is not None and facts.lease.prior_state == "Running"
    active = facts.service.state != "Stopped" or left_down
    return FleetNode(name, facts.roles, names, _runtime_settings.controller_address(settings), active)


@dataclass(frozen=True)
class Topology:
    """controller: name, "" if not exactly one controller is active.

    standby: the other controllers, which are not active. rivals: all controllers, if not exactly one is active.
    problems, warnings: impossible and doubtful facts, each (node, text).
    """

    nodes: tuple[FleetNode, ...]
    controller: str
    standby: tuple[str, ...]
    rivals: tuple[str, ...]
    problems: tuple[tuple[str, str], ...]
    warnings: tuple[tuple[str, str], ...]

    @property
    def stop_tiers(self) -> tuple[tuple[str, ...], ...]:
        """Names by tier in the order of stopping, the controller alone in the last; inside a tier all at once.
        Empty tiers are left out."""
        moving = [node for node in self.nodes if node.name not in self.standby]
        tiers = [tuple(node.name for node in moving if node.tier == role) for role in (*STOP_ORDER, "controller")]
        return tuple(tier for tier in tiers if tier)

    @property
    def start_tiers(self) -> tuple[tuple[str, ...], ...]:
        """Names by tier in the order of starting: the order of stopping, backwards."""
        return tuple(reversed(self.stop_tiers))


def derive(nodes: t.Sequence[FleetNode], controller_names: t.Sequence[str] = ()) -> Topology:
    """The topology of the nodes.

    Args:
        nodes: of one fleet.
        controller_names: further names of the controller: DNS aliases, addresses, a name of a load balancer or cluster.
    """
    controllers = [node for node in nodes if "controller" in node.roles]
    active = [node for node in controllers if node.active] if len(controllers) > 1 else controllers
    rivals = tuple(node.name for node in controllers) if len(controllers) > 1 and len(active) != 1 else ()
    controller = active[0] if active and not rivals else None
    standby = () if rivals else tuple(node.name for node in controllers if node is not controller)
    problems: list[tuple[str, str]] = []
    warnings: list[tuple[str, str]] = [
        (name, "a controller whose service is stopped beside one that runs: it is left alone") for name in standby
    ]
    for node in nodes:
        problem = _misplaced(node, controller, (*controller_names, *standby))
        if problem:
            # It was observed, but is not documented, that UI nodes have the address of their controller under Worker.
            # So a mismatch is not a reason to refuse a backup.
            sure = "worker" in node.roles or "controller" in node.roles
            (problems if sure else warnings).append((node.name, problem))
    return Topology(
        tuple(nodes), controller.name if controller else "", standby, rivals, tuple(problems), tuple(warnings)
    )


def _misplaced(node: FleetNode, controller: FleetNode | None, aliases: t.Sequence[str]) -> str:
    """Why a node does not belong to the controller; "" when it does."""
    address = host_of(node.controller_address)
    if "controller" in node.roles:
        if not node.controller_address or _is_local(address) or is_called(address, (node.name, *node.names, *aliases)):
            return ""
        return (
            "Controller/ControllerEnabled is True, but Worker/UseLocalServer is False "
            f"and Worker/ServerName is {node.controller_address}"
        )
    if not node.controller_address:
        return "Worker/UseLocalServer is True, but Controller/ControllerEnabled is False: the node has no controller"
    if _is_local(address) or is_called(address, (node.name, *node.names)):
        return f"Worker/ServerName is {node.controller_address}, but this node is not a controller"
    if controller is None:
        return ""
    if is_called(address, (controller.name, *controller.names, *aliases)):
        return ""
    return (
        f"Worker/ServerName is {node.controller_address}, "
        f"and nothing says that this is the controller {controller.name}"
    )


def host_of(address: str) -> str:
    """The host of "host:port", in lower case, without port, scheme, brackets and closing dot."""
    text = address.strip().lower()
    text = text.partition("://")[2] or text
    text = text.partition("/")[0]
    if text.startswith("["):
        return text[1:].partition("]")[0]
    # More than one colon without brackets is a bare IPv6 address.
    return (text.partition(":")[0] if text.count(":") == 1 else text).rstrip(".")


def port_of(address: str) -> int:
    """The port of "host:port"; 0 where it names none."""
    text = address.strip().partition("://")[2] or address.strip()
    text = text.partition("/")[0]
    port = text.rpartition("]:")[2] if "]:" in text else (text.partition(":")[2] if text.count(":") == 1 else "")
    return int(port) if port.isdigit() and 0 < int(port) < 65536 else 0


def is_called(host: str, names: t.Iterable[str]) -> bool:
    """Is one of the names a name of this host?

    A short name is equal to a qualified name with that first label, and to a computer name, which is cut at 15
    characters. But if a qualified name with that first label is known, another qualified name means a machine in
    another domain.
    """
    wanted, known = host_of(host), [host_of(name) for name in names if name]
    if wanted in known:
        return bool(wanted)
    if "." in wanted and any("." in name and name.partition(".")[0] == wanted.partition(".")[0] for name in known):
        return False
    return any(_same(wanted, name) for name in known)


def _same(one: str, other: str) -> bool:
    if _is_address(one) or _is_address(other):
        return False
    if "." in one and "." in other:
        return False
    short, long = one.partition(".")[0], other.partition(".")[0]
    if not short or not long:
        return False
    if "." not in other and len(other) == NETBIOS_LENGTH:
        short = short[:NETBIOS_LENGTH]
    elif "." not in one and len(one) == NETBIOS_LENGTH:
        long = long[:NETBIOS_LENGTH]
    return short == long


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()


def _is_local(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith(("127.", "localhost."))


def check(topology: Topology, stops_services: bool) -> list[tuple[str, str]]:
    """If services would be stopped, refuses a fleet that contradicts itself or does not have exactly one active
    controller.

    If no service is stopped, the fleet may have no controller, and problems are warnings.

    Returns:
        The warnings, each (node, text).

    Raises:
        StepFailed: several_fleets, topology_contradicts, no_role.
    """
    if topology.rivals:
        raise StepFailed(
            "several_fleets",
            f"more than one node is a controller, and not exactly one of them is active: {', '.join(topology.rivals)}",
        )
    if not stops_services:
        return [*topology.warnings, *topology.problems]
    if not topology.controller:
        raise StepFailed("no_role", "none of the nodes is a controller, so there is nothing to dump")
    if topology.problems:
        node, text = topology.problems[0]
        more = f" (and {len(topology.problems) - 1} more nodes)" if len(topology.problems) > 1 else ""
        raise StepFailed(
            "topology_contradicts",
            f"{text}{more}",
            {"node": node, "problems": [list(problem) for problem in topology.problems]},
        )
    return list(topology.warnings)


def check_whole(
    fleet: str, members: t.Collection[str], hosts: t.Collection[str], stops_services: bool, partial_wanted: bool
) -> str:
    """Refuses a run over a part of a fleet (--limit) if services would be stopped, unless the operator wants that.

    Returns:
        A warning, "" if the fleet is complete.

    Raises:
        StepFailed: fleet_partial.
    """
    missing = sorted(set(members) - set(hosts))
    if not missing:
        return ""
    text = (
        f"{len(missing)} of {len(members)} nodes of the fleet {fleet} are left out: "
        f"{', '.join(missing[:10])}{', ...' if len(missing) > 10 else ''}"
    )
    if stops_services and not partial_wanted:
        raise StepFailed("fleet_partial", text, {"missing": missing})
    return text


def table(rows: t.Sequence[t.Sequence[str]]) -> str:
    """Rows as text in columns. The first row is the head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)


HEAD = ("NODE", "ROLES", "COMPUTER", "VERSION", "SERVICE", "DATABASE", "CONTROLLER IT NAMES", "STOPS", "STARTS")


def describe(topology: Topology, facts: t.Mapping[str, t.Mapping[str, str]], unread: t.Iterable[str] = ()) -> str:
    """The table of a fleet, in the order of starting.

    Args:
        facts: node -> computer, version, service, database; an absent value is shown as a dash.
        unread: nodes that could not be read.
    """
    stops = {name: str(place) for place, tier in enumerate(topology.stop_tiers, 1) for name in tier}
    starts = {name: str(place) for place, tier in enumerate(topology.start_tiers, 1) for name in tier}
    places = {name: place for place, tier in enumerate(topology.start_tiers) for name in tier}
    rows: list[tuple[str, ...]] = [HEAD]
    for node in sorted(topology.nodes, key=lambda node: (places.get(node.name, len(places)), node.name)):
        known = facts.get(node.name, {})
        rows.append((
            node.name,
            ", ".join(node.roles) + (" (standby)" if node.name in topology.standby else "") or "-",
            *(known.get(key) or "-" for key in ("computer", "version", "service", "database")),
            node.controller_address or "itself",
            stops.get(node.name, "-"),
            starts.get(node.name, "-"),
        ))  # fmt: skip
    rows += [(name, *("-" for _unused in HEAD[1:])) for name in sorted(unread)]
    return table(rows)

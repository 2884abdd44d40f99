# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a run: the roles of every node, and what will be done to it and in which order; or the reason why nothing
is done. A pure function: it takes facts, and returns a plan or raises a failure."""

from __future__ import annotations

import contextlib
import typing as t
from dataclasses import asdict, dataclass, field, replace

from .._core import _names, paths
from .._core.reasons import StepFailed
from .._core.text import free_space
from .._database import _dump, _mongodb, _persistence
from .._database._mongodb import Connection
from .._fleet import _health, _node_facts, _runtime_settings, _topology
from .._fleet._node_facts import NodeFacts
from .._server_api import _schedules
from . import _critical_files

CLOCK_OFF_SECONDS = 60.0
"""A larger difference of clocks causes a warning. Names and ages do not depend on the clocks of nodes."""


@dataclass(frozen=True)
class Request:
    """The request of the operator. Its values are already validated."""

    run_id: str
    stamp: str
    mode: str
    fleet: str
    service_name: str
    staging_directory: str
    archive_directory: str
    name_pattern: str
    space_factor: float
    secrets: str
    folder_trust: str
    needs_stop: bool = True
    pauses_schedules: bool = False
    knows_api: bool = False
    """Has the operator set the credentials of the Server's API?"""
    prunes: bool = False
    """Has the operator allowed runs to delete old backups?"""
    prunes_for_room: bool = False
    """Has the operator allowed that before the dump, too, if the room is short?"""
    copies: bool = False
    """Has the operator configured copies at other places?"""
    copies_with_password: bool = False
    """Does a node log on at one of these places with an account of the operator?"""

    @property
    def stops_services(self) -> bool:
        """Config mode does not stop services, and some dumps do not need a stop."""
        return self.mode != "config" and self.needs_stop

    @property
    def takes_database(self) -> bool:
        """Config mode does not take a dump."""
        return self.mode != "config"

    @property
    def exports_configuration(self) -> bool:
        """Database mode does not back up files."""
        return self.mode != "database"


NO_DUMP: dict[str, t.Any] = {
    "method": "", "tool": "", "tool_version": "", "dumps": [], "service_database": "AlteryxService",
    "gallery_database": "AlteryxGallery", "point_in_time": None, "why": "",
}  # fmt: skip
"""The dump of a node in the form for the modules; see _persistence.Decision and _dump.plan_dumps."""


@dataclass(frozen=True)
class Database:
    """The operator's values for the database: its kind ("" for that of the settings), options, part -> connection."""

    kind: str = ""
    options: _persistence.Options = field(default_factory=_persistence.Options)
    connections: t.Mapping[str, Connection] = field(default_factory=dict)


@dataclass
class NodePlan:
    """The facts about one node, and what will be done to it."""

    name: str
    roles: tuple[str, ...]
    database_kind: str
    version: str
    service: _node_facts.Service
    computer: str
    bin_folder: str
    executable: str
    archive_root: str
    archive_folder: str
    base_name: str
    expected_bytes: int
    files: list[dict[str, t.Any]] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    machine_id: str = ""
    standby: bool = False
    controller_host: str = ""
    controller_port: int = 0
    controller_url: str = ""
    data_folder: str = ""
    """The folder of the embedded MongoDB; "" if there is none."""
    dump: dict[str, t.Any] = field(default_factory=lambda: dict(NO_DUMP))
    resumes_schedules: bool = False
    """Has an interrupted run left a record of schedules that this run can use?"""
    room: dict[str, t.Any] = field(default_factory=dict)
    """volume and bytes: the room that retention must find in the archive directory before the dump; {} if there is
    enough, or if it must not."""

    @property
    def dumps(self) -> bool:
        """Does this run dump a database on the node? Only on the active controller."""
        return self.dump["method"] in ("emongodump", "mongodump")


def plan_node(name: str, facts: NodeFacts, request: Request, database: Database | None = None) -> NodePlan:
    """Plans one node.

    Args:
        name: inventory_hostname.
        facts: of the node.
        request: the request of the operator.

    Raises:
        StepFailed: the node cannot be backed up; reason, message and hint say why. The first problem is raised, in the
            order in which an operator would correct them.
    """
    if problem := _names.windows_name_problem(name):
        raise StepFailed(
            "node_name_invalid", f"the host name {name!r} is not a valid folder name on Windows: {problem}"
        )
    system, service, alteryx = facts.system, facts.service, facts.alteryx
    if not system.is_administrator:
        raise StepFailed("not_administrator", f"the account {system.user} is not an administrator of the node")
    _check_free(facts)
    if not service.exists:
        raise StepFailed("service_absent", f"there is no Windows service {service.name}")
    if not alteryx.executable_exists:
        raise StepFailed("installation_incomplete", f"{alteryx.executable or 'AlteryxService.exe'} does not exist")
    settings, roles = facts.settings, facts.roles
    if not roles:
        raise StepFailed("no_role", "the settings of the node name none of the roles controller, worker and UI")
    kind, kind_warning = (
        _persistence.resolve_kind(settings, (database or Database()).kind) if "controller" in roles else ("", "")
    )
    node_plan = NodePlan(
        name=name,
        roles=roles,
        database_kind=kind,
        version=alteryx.version,
        service=service,
        computer=system.computer,
        machine_id=system.machine_id,
        bin_folder=alteryx.bin_folder,
        executable=alteryx.executable,
        archive_root=request.archive_directory,
        archive_folder=paths.archive_folder(request.archive_directory, name),
        base_name=_names.base_name(request.mode, request.stamp, request.name_pattern),
        expected_bytes=facts.database.bytes,
        data_folder=facts.database.folder if kind == "embedded" else "",
    )
    node_plan.warnings += _check_state_folders(facts, request)
    node_plan.resumes_schedules, left = _schedules_left(facts, request)
    node_plan.warnings += [left] if left else []
    node_plan.warnings += [f"Windows wants a reboot: {sign}" for sign in facts.reboot_pending]
    if abs(facts.clock_off) > CLOCK_OFF_SECONDS:
        node_plan.warnings.append(f"its clock is {facts.clock_off:.0f} s away from that of the control node")
    if settings.fallback_used:
        node_plan.warnings.append(
            f"the defaults file {facts.settings_files.defaults.path} could not be read; "
            "the known defaults of Alteryx Server are assumed"
        )
    node_plan.warnings += [kind_warning] if kind_warning else []
    node_plan.warnings += _check_settings(settings, kind, request)
    if request.stops_services:
        _check_service(node_plan, facts, request)
    if request.takes_database and kind == "embedded" and not facts.database.exists:
        raise StepFailed(
            "database_missing",
            f"the folder of the embedded MongoDB, {facts.database.folder or '(not set)'}, does not exist",
        )
    _check_folders(node_plan, facts, request)
    if request.exports_configuration:
        node_plan.files = _critical_files.of_node(roles, system.program_data, alteryx.bin_folder)
        if request.secrets == "encrypt" and "controller" in roles:
            node_plan.secrets = ["controller_token"] + (["mongodb_passwords"] if kind == "embedded" else [])
    return node_plan


def _check_settings(settings: _runtime_settings.EffectiveSettings, kind: str, request: Request) -> list[str]:
    problems = _runtime_settings.problems(settings) + (
        [_runtime_settings.CONTRADICTION] if kind == "contradictory" else []
    )
    if problems and request.takes_database:
        raise StepFailed("settings_contradict", "; ".join(problems))
    return problems + _runtime_settings.warnings(settings)


def _check_free(facts: NodeFacts) -> None:
    lock = facts.lock
    if lock and lock.fresh:
        message = (
            f"the run {lock.run_id} of {lock.holder} holds the node since {lock.started}; "
            f"its last sign of life was {lock.age:.0f} s ago"
        )
        if lock.stale_at:
            message += f". Without another one, its lock is stale in {lock.stale_in:.0f} s, at {lock.stale_at}"
        raise StepFailed("run_locked", message, {"lock": asdict(lock)})


def _schedules_left(facts: NodeFacts, request: Request) -> tuple[bool, str]:
    """Will this run enable the schedules that an interrupted run has left paused? The second value is the message about
    that, "" for none."""
    if not facts.schedules_left:
        return False, ""
    try:
        record = _schedules.read_record(facts.schedules_left)
    except StepFailed as failure:
        if request.pauses_schedules and request.stops_services:
            raise
        return False, f"{failure.message}. {failure.reason.hint}"
    return request.knows_api, _schedules.describe_left_paused(record, request.knows_api)


def _check_state_folders(facts: NodeFacts, request: Request) -> list[str]:
    for folder in facts.trust:
        if folder.link or (folder.access and request.folder_trust == "enforce"):
            raise StepFailed("folder_untrusted", folder.link or folder.access)
    found = "; ".join(folder.access for folder in facts.trust if folder.access)
    return (
        [f"alteryx_preflight_folder_trust is warn, so folders that others may change are used: {found}"]
        if found
        else []
    )


def check_stop(service: str, cluster_resource: str, dependants: t.Sequence[str]) -> None:
    """Refuses a stop that has other effects: a cluster would start the service again, and Windows would stop the
    services that need it and not start them.

    Args:
        service: its name, as the message shows it.
        cluster_resource: that the service is, "" if it is not one.
        dependants: the running services that need it.

    Raises:
        StepFailed: cluster_resource, dependants_running.
    """
    if cluster_resource:
        raise StepFailed("cluster_resource", f"the service {service} is the cluster resource {cluster_resource}")
    if dependants:
        raise StepFailed("dependants_running", f"these services need {service} and run: {', '.join(dependants)}")


def _check_service(node_plan: NodePlan, facts: NodeFacts, request: Request) -> None:
    state = facts.service.state
    if facts.hold:
        raise StepFailed("hold_present", "the file HOLD is in the state folder of the node")
    check_stop(request.service_name, facts.cluster_resource, facts.service.dependants)
    if facts.lease and facts.lease.prior_state == "Running" and state != "Running":
        node_plan.warnings.append(f"the run {facts.lease.run_id} has left the service {state}; it is started first")
        return
    if state not in ("Running", "Stopped"):
        raise StepFailed("service_in_transition", f"the service {request.service_name} is {state}")
    if state == "Stopped":
        node_plan.warnings.append(f"the service {request.service_name} is Stopped already and will be left Stopped")


def _check_folders(node_plan: NodePlan, facts: NodeFacts, request: Request) -> None:
    by_path = {folder.path: folder for folder in facts.folders}
    purpose = {request.staging_directory: "staging directory", request.archive_directory: "archive directory"}
    for path, word in purpose.items():
        folder = by_path[path]
        if not folder.absolute:
            raise StepFailed("folder_invalid", f"the {word} {path} is not an absolute path on a local drive")
        if not folder.drive_exists:
            raise StepFailed(
                "drive_missing", f"the {word} {path} is on the drive {path[:2]}, which the node does not have"
            )
        if folder.is_file:
            raise StepFailed("folder_invalid", f"the {word} {path} is a file")
        # Restore, retention and recover.yml refuse such a folder, because a link can lead to somewhere else later.
        if folder.link:
            what = "a link, a junction or a volume that is mounted in a folder"
            raise StepFailed("folder_invalid", f"{folder.link}, in the path of the {word} {path}, is {what}")
    if request.takes_database and node_plan.database_kind == "embedded":
        _check_database_folder(node_plan, facts)
        _check_space(node_plan, by_path, request, purpose)


def _check_database_folder(node_plan: NodePlan, facts: NodeFacts) -> None:
    if facts.database.rename_problem:
        node_plan.warnings.append(
            f"restore.yml cannot restore this database, because the data folder {facts.database.folder} "
            f"{facts.database.rename_problem}; docs/recovering.md describes a restore by hand"
        )
    node_plan.warnings += _not_counted(facts.database)


def _check_space(
    node_plan: NodePlan, by_path: t.Mapping[str, _node_facts.Folder], request: Request, purpose: t.Mapping[str, str]
) -> None:
    volume = {path: folder.volume.casefold() for path, folder in by_path.items()}
    needs: dict[str, int] = {}
    # WiredTiger files are compressed, and a dump is not. In the archive, the dump has about the size of the data files.
    data = node_plan.expected_bytes
    for path, need in (
        (request.staging_directory, int(data * request.space_factor)),
        (request.archive_directory, data),
    ):
        needs[volume[path]] = needs.get(volume[path], 0) + need
    for path, word in purpose.items():
        need, have = needs[volume[path]], by_path[path].free_bytes
        if have < 0:
            unknown = f"Windows does not tell how much space is free in the {word} {path}; needed are {need} bytes"
            node_plan.warnings.append(unknown)
        elif have < need:
            # Backups are deleted in the archive directory only, so its volume alone can get more room.
            if not (request.prunes_for_room and volume[path] == volume[request.archive_directory]):
                raise StepFailed("space_short", free_space(by_path[path].volume, word, have, need))
            node_plan.room = {"volume": by_path[path].volume, "bytes": need}


def _not_counted(database: _node_facts.Database) -> list[str]:
    """A warning if the size of the database is not completely known."""
    if not database.skipped:
        return []
    more = database.skipped_count - len(database.skipped)
    named = "; ".join(database.skipped) + (f"; and {more} more" if more else "")
    counted = f"the database in {database.folder} may be larger than the {database.bytes} bytes that were counted"
    return [f"{counted}, so the dump may need more space than was looked for: {named}"]


@dataclass(frozen=True)
class Fleet:
    """The fleet in the inventory, and the operator's values for it.

    name, members: of the group. addresses: host -> further names of its machine (ansible_host). controller_names: see
    _topology.derive. partial_wanted: a run over a part of the fleet may stop services.
    """

    name: str = ""
    members: tuple[str, ...] = ()
    addresses: t.Mapping[str, str] = field(default_factory=dict)
    controller_names: tuple[str, ...] = ()
    partial_wanted: bool = False


@dataclass(frozen=True)
class FleetPlan:
    """The plan of all nodes. request: with the values that depend on the database. controller: name, "" if there is
    none. stop_tiers, start_tiers: names by tier."""

    nodes: tuple[NodePlan, ...]
    request: Request
    controller: str
    stop_tiers: tuple[tuple[str, ...], ...]
    start_tiers: tuple[tuple[str, ...], ...]
    warnings: tuple[str, ...]


def plan_fleet(
    facts: t.Mapping[str, NodeFacts], request: Request, fleet: Fleet | None = None, database: Database | None = None
) -> FleetPlan:
    """Plans all nodes, first each alone and then together.

    Args:
        facts: by host, in the order of the inventory.

    Raises:
        StepFailed: the fleet cannot be backed up; if the problem is one of a single node, detail names it.
    """
    fleet, database = fleet or Fleet(), database or Database()
    request = replace(request, needs_stop=_needs_stop(facts, database))
    partial = _topology.check_whole(
        fleet.name, fleet.members, facts.keys(), request.stops_services, fleet.partial_wanted
    )
    nodes = [_plan_named(name, facts[name], request, database) for name in facts]
    topology = _topology.derive(
        [_topology.fleet_node(name, facts[name], fleet.addresses.get(name, "")) for name in facts],
        fleet.controller_names,
    )
    warnings = _topology.check(topology, request.takes_database)
    for node, place in zip(nodes, topology.nodes, strict=True):
        node.standby = place.name in topology.standby
        node.warnings += [text for name, text in warnings if name == node.name]
        if topology.controller:
            node.controller_port = _runtime_settings.service_port(facts[topology.controller].settings)
        if topology.controller and request.stops_services:
            _plan_health(node, facts, topology.controller)
        if topology.controller not in ("", node.name):
            node.controller_host = _topology.host_of(place.controller_address)
            node.controller_port = _topology.port_of(place.controller_address) or node.controller_port
        if request.takes_database and node.name == topology.controller:
            _plan_dump_named(node, facts, request, database)
        node.warnings += _check_recording(node, facts[node.name], request, database)
    return FleetPlan(
        tuple(nodes),
        request,
        topology.controller,
        topology.stop_tiers if request.stops_services else (),
        topology.start_tiers if request.stops_services else (),
        (partial,) if partial else (),
    )


def _check_recording(node: NodePlan, facts: NodeFacts, request: Request, database: Database) -> list[str]:
    """A warning if Windows records the commands of PowerShell on a node and this run uses passwords there."""
    given = node.dump["method"] == "mongodump" and any(
        each.password or each.key_password for each in database.connections.values()
    )
    # These reach the node as arguments of a module.
    given_for = [name for name, does in (("MongoDB", given), ("a share", request.copies_with_password)) if does]
    if not facts.recorded_by or not (given_for or node.secrets):
        return []
    policies = " and ".join(facts.recorded_by)
    what = f"Windows records what PowerShell does on this node, by the group policy {policies}"
    if given_for and "ModuleLogging" in facts.recorded_by:
        names = " and of ".join(given_for)
        return [f"{what}; event 4103 of Ansible's own wrapper then holds the password of {names}, see docs/security.md"]
    return [f"{what}; the collection keeps its passwords out of that, see docs/security.md"]


def _plan_health(node: NodePlan, facts: t.Mapping[str, NodeFacts], controller: str) -> None:
    """The address by which the node recognizes that the controller answers; "" for the port."""
    own = None if node.name == controller else facts[node.name].health
    node.controller_url, problem = _health.usable_url(facts[controller].health, own)
    if problem:
        node.warnings.append(f"{problem}, so the port of the controller tells whether it answers")


def _plan_dump_named(node: NodePlan, facts: t.Mapping[str, NodeFacts], request: Request, database: Database) -> None:
    try:
        _plan_dump(node, facts, request, database)
    except StepFailed as failure:
        failure.detail.setdefault("node", node.name)
        raise


def _plan_named(name: str, facts: NodeFacts, request: Request, database: Database) -> NodePlan:
    try:
        return plan_node(name, facts, request, database)
    except StepFailed as failure:
        failure.detail["node"] = name
        raise


def _needs_stop(facts: t.Mapping[str, NodeFacts], database: Database) -> bool:
    """Must services be stopped for the dump?

    If the kind of the database is not clear, the answer is yes, so that more is checked.
    """
    kinds = set()
    for node in facts.values():
        if "controller" in node.roles:
            with contextlib.suppress(StepFailed):
                kinds.add(_persistence.resolve_kind(node.settings, database.kind)[0])
    if kinds == {"mongodb"}:
        return database.options.stop
    return not (kinds == {"sqlserver"} and database.options.sqlserver == "hook")


def _plan_dump(node: NodePlan, facts: t.Mapping[str, NodeFacts], request: Request, database: Database) -> None:
    """Decides what is dumped on the controller, and how."""
    others = [other.settings for name, other in facts.items() if name != node.name and "ui" in other.roles]
    own = facts[node.name].settings
    where: tuple[_persistence.Target, ...] = ()
    names = {}
    if node.database_kind == "mongodb":
        placed = _persistence.stores(own, others)
        where, warnings = _persistence.targets(placed, database.connections)
        node.warnings += warnings
        by_part = {store.part: store.database for store in placed}
        names = {"service_database": by_part["service"], "gallery_database": by_part["web"]}
    decision = _persistence.decide(
        request.mode, node.database_kind, database.options, where, apart=_persistence.elsewhere([own, *others])
    )
    node.warnings += decision.warnings
    node.dump = {
        **NO_DUMP,
        **names,
        "method": decision.method,
        "point_in_time": decision.point_in_time,
        "why": decision.why,
    }
    if decision.method != "mongodump":
        return
    node.dump["dumps"] = _dump.plan_dumps(decision, database.connections)
    tool = facts[node.name].mongodump
    if not tool.path:
        raise StepFailed(
            "mongodump_unusable", tool.problem or "there is no mongodump.exe on the node", {"node": node.name}
        )
    node.dump |= {"tool": tool.path, "tool_version": _mongodb.usable_tool(tool.version)}
    # The size of the dump is not known, because the data files are on another machine.
    node.expected_bytes = 0


HOOKS = ("before", "after", "database")
"""Files of tasks that the operator can set, each in a variable alteryx_window_NAME."""


def list_unused(planned: FleetPlan, hooks: t.Collection[str], pauses: bool, adopts: bool = False) -> list[str]:
    """The parts that no node of a run needs, so that their tasks can be left out.

    Args:
        planned: the plan of the fleet.
        hooks: those of HOOKS that are set on some node.
        pauses: whether schedules are paused on some node.
        adopts: whether the run may continue with the dump of an interrupted run. Whether it does is known only when the
            nodes are locked, so the tasks of the window check that themselves.
    """
    nodes, stops = planned.nodes, planned.request.stops_services
    methods = {node.dump["method"] for node in nodes}
    is_single = len(nodes) == 1 and (not stops or (nodes[0].name == planned.controller and not nodes[0].standby))
    pauses = pauses and stops
    unused = {
        "others": is_single and not adopts,
        "stop": not stops,
        "dump": not any(node.dumps for node in nodes),
        "mongodb": "mongodump" not in methods,
        "schedules": not pauses,
        "resume": not pauses and not any(node.resumes_schedules for node in nodes),
        "before": "before" not in hooks,
        "after": "after" not in hooks,
        "database_hook": "hook" not in methods or "database" not in hooks,
        "distribution": not planned.request.copies,
        "retention": not planned.request.prunes,
        "room": not any(node.room for node in nodes),
    }
    return [name for name, is_unused in unused.items() if is_unused]

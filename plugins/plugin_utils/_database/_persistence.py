# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decides what a mode does with each kind of persistence: which kind applies, which databases are dumped from where and
how, and whether the dump is of one point in time."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._core.reasons import StepFailed
from .._fleet import _runtime_settings
from .._fleet._runtime_settings import EffectiveSettings
from . import _mongodb
from ._mongodb import Connection

KINDS = ("embedded", "mongodb", "sqlserver")
VARIABLE = "alteryx_preflight_database_kind"


@dataclass(frozen=True)
class Options:
    """The choices of the operator.

    stop: whether services are stopped for the dump of a self-managed MongoDB. oplog: auto (if it is useful and
    possible), always (refused if it is impossible) or never. sqlserver: refuse full mode, or hook: back up the
    configuration and run the operator's own tasks for the database.
    """

    stop: bool = True
    oplog: t.Literal["auto", "always", "never"] = "auto"
    gzip: bool = False
    sqlserver: t.Literal["refuse", "hook"] = "refuse"


@dataclass(frozen=True)
class Dump:
    """One run of mongodump: where it connects, and one database, or "" for the whole instance."""

    connection: Connection
    database: str
    gzip: bool
    oplog: bool


@dataclass(frozen=True)
class Decision:
    """What a mode does with the database.

    method: "" (nothing), emongodump, mongodump or hook. point_in_time: True or False; None if this collection does not
    dump. why: for the manifest, how consistent the dump is.
    """

    kind: str
    method: str
    point_in_time: bool | None
    why: str
    dumps: tuple[Dump, ...] = ()
    warnings: tuple[str, ...] = ()


def resolve_kind(settings: EffectiveSettings, declared: str = "") -> tuple[str, str]:
    """The kind that applies: the declared one, unless the settings show another kind; without a declaration, that of
    the settings.

    Returns:
        The kind, which may be unknown or contradictory when nothing is declared, and a warning ("" for none).

    Raises:
        StepFailed: invalid_variable, database_kind_contradicts.
    """
    found = _runtime_settings.database_kind(settings)
    if not declared:
        return found, ""
    if declared not in KINDS:
        raise StepFailed("invalid_variable", f"{VARIABLE} is {declared!r}; it is one of {', '.join(KINDS)}, or empty")
    if found == declared:
        return found, ""
    if found == "contradictory" and declared != "sqlserver":
        return declared, f"{_runtime_settings.CONTRADICTION}; {declared} counts because {VARIABLE} says so"
    if found == "unknown" and declared != "embedded":
        return declared, f"the settings do not show where the data is; {declared} counts because {VARIABLE} says so"
    element = {
        "embedded": "Controller/EmbeddedMongoDBEnabled is True",
        "mongodb": "Controller/MongoDBEnabled is True",
        "sqlserver": f"Controller/{(_runtime_settings.sql_elements(settings) or ['?'])[0]} is set",
        "contradictory": "both switches of MongoDB are True",
        "unknown": "Controller/EmbeddedMongoDBEnabled is not True",
    }[found]
    raise StepFailed("database_kind_contradicts", f"{VARIABLE} is {declared}, but {element}")


@dataclass(frozen=True)
class Store:
    """One of the databases of a Server, as its settings place it: part (service, web, search), database, connection
    without password, element it is from."""

    part: str
    database: str
    connection: Connection | None
    element: str


_PARTS = {"web": "MongoDBWeb", "search": "MongoDBSearch"}


def stores(controller: EffectiveSettings, others: t.Sequence[EffectiveSettings] = ()) -> tuple[Store, ...]:
    """Where a Server with self-managed MongoDB keeps its three databases.

    connection is None if the settings do not contain it: the names of the elements of the controller's own connection
    string (2020.1 and later) are not public.

    Args:
        others: the settings of the UI nodes, which contain the databases of the UI.

    Raises:
        StepFailed: connection_invalid, settings_contradict if two nodes have different places for the same part.
    """
    service = _service_store(controller)
    return (service, *(_part_store(part, service, (controller, *others)) for part in _PARTS))


def _part_store(part: str, service: Store, settings: t.Sequence[EffectiveSettings]) -> Store:
    own = [_own_store(part, node) for node in settings if node.enabled("Gallery", f"{_PARTS[part]}Override")]
    if not own:
        return Store(
            part, settings[0].get("Gallery", f"{_PARTS[part]}DatabaseName"), service.connection, service.element
        )
    if any(store.database != own[0].database or store.connection != own[0].connection for store in own):
        raise StepFailed(
            "settings_contradict", f"the nodes name different places for {own[0].database} ({own[0].element})"
        )
    return own[0]


def _own_store(part: str, settings: EffectiveSettings) -> Store:
    prefix = _PARTS[part]
    database = settings.get("Gallery", f"{prefix}DatabaseName")
    if text := settings.get("Gallery", f"{prefix}Connection"):
        connection = _mongodb.parse(text, f"Gallery/{prefix}Connection")
        return Store(part, connection.database or database, connection, f"Gallery/{prefix}Connection")
    if settings.get("Gallery", f"{prefix}ServerName"):
        return Store(part, database, _plain(settings, "Gallery", prefix), f"Gallery/{prefix}ServerName")
    raise StepFailed(
        "connection_invalid",
        f"Gallery/{prefix}Override is True, but Gallery/{prefix}Connection and Gallery/{prefix}ServerName are empty",
    )


def elsewhere(settings: t.Iterable[EffectiveSettings]) -> list[str]:
    """Switches for a separate database of the UI, which a dump of the embedded MongoDB would not contain."""
    return sorted(
        {
            f"Gallery/{prefix}Override"
            for node in settings
            for prefix in _PARTS.values()
            if node.enabled("Gallery", f"{prefix}Override")
        }
    )


def _service_store(settings: EffectiveSettings) -> Store:
    database = settings.get("Controller", "MongoDBDatabaseName")
    # The element is recognized by its form, because its name is not known. Only elements that are set on this node
    # count.
    strings = [
        name
        for name in settings.overrides.get("Controller", {})
        if _mongodb.is_string(settings.get("Controller", name))
    ]
    if strings:
        element = f"Controller/{strings[0]}"
        connection = _mongodb.parse(settings.get("Controller", strings[0]), element)
        return Store("service", connection.database or database, connection, element)
    if settings.get("Controller", "MongoDBServerName"):
        return Store("service", database, _plain(settings, "Controller", "MongoDB"), "Controller/MongoDBServerName")
    return Store("service", database, None, "Controller/MongoDBServerName")


def _plain(settings: EffectiveSettings, section: str, prefix: str) -> Connection:
    where = f"{section}/{prefix}ServerName"
    return _mongodb.with_login(
        _mongodb.of_server(settings.get(section, f"{prefix}ServerName"), where),
        settings.get(section, f"{prefix}UserName"),
        "",
        where,
    )


@dataclass(frozen=True)
class Target:
    """One MongoDB and the databases of the Server in it."""

    connection: Connection
    databases: tuple[str, ...]


def targets(placed: t.Sequence[Store], given: t.Mapping[str, Connection]) -> tuple[tuple[Target, ...], tuple[str, ...]]:
    """The MongoDB servers to dump, and the databases of each.

    Args:
        placed: see stores.
        given: part -> the connection that the operator gives for the backup. "service" serves every part on the same
            server.

    Returns:
        The targets, and warnings.

    Raises:
        StepFailed: mongodb_login_missing.
    """
    found: list[tuple[Connection, list[str]]] = []
    warnings = []
    for store in placed:
        connection = given.get(store.part) or _of_same_server(store, placed[0], given) or store.connection
        if connection is None or (connection.needs_password and not connection.password):
            what = "a connection" if connection is None else f"the password of the user {connection.user}"
            raise StepFailed(
                "mongodb_login_missing",
                f"the database {store.database} ({store.element}) needs {what}, which the settings do not give away",
            )
        if (
            store.connection
            and not (connection.server & store.connection.server)
            and connection.srv == store.connection.srv
        ):
            warnings.append(
                f"{store.database} is dumped from {connection.shown}, "
                f"while {store.element} names {store.connection.shown}"
            )
        for known, names in found:
            # Different users may see different databases, so only parts with the same login are one target.
            if (
                known.server & connection.server
                and known.user == connection.user
                and known.auth_source == connection.auth_source
            ):
                if store.database not in names:
                    names.append(store.database)
                break
        else:
            found.append((connection, [store.database]))
    return tuple(Target(connection, tuple(databases)) for connection, databases in found), tuple(warnings)


def _of_same_server(store: Store, service: Store, given: t.Mapping[str, Connection]) -> Connection | None:
    main = given.get("service")
    if main is None:
        return None
    if store.connection is None or store.connection == service.connection:
        return main
    return (
        main
        if store.connection.server & (main.server | (service.connection.server if service.connection else frozenset()))
        else None
    )


def decide(
    mode: str,
    kind: str,
    options: Options,
    where: t.Sequence[Target] = (),
    apart: t.Sequence[str] = (),
) -> Decision:
    """What a mode does about a kind of persistence.

    Args:
        kind: see resolve_kind.
        where: see targets; only for a self-managed MongoDB in modes that dump.
        apart: see elsewhere.

    Raises:
        StepFailed: settings_contradict, database_unknown, database_split, sqlserver_not_dumped, oplog_impossible.
    """
    if mode == "config":
        return Decision(
            kind,
            "",
            point_in_time=None,
            why="configuration mode takes no database",
        )
    if kind == "embedded":
        if apart:
            what = " and ".join(apart)
            raise StepFailed(
                "database_split",
                f"the controller has the embedded MongoDB, but {what} is True: emongodump would miss that database",
            )
        why = "the service was stopped during the dump"
        return Decision(kind, "emongodump", point_in_time=True, why=why)
    if kind == "mongodb":
        return _decide_mongodb(options, where)
    if kind == "sqlserver":
        if mode == "full" and options.sqlserver == "hook":
            why = (
                "SQL Server: the database is the business of the operator's own tasks; "
                "this backup holds the configuration alone"
            )
            return Decision(
                kind,
                "hook",
                point_in_time=None,
                why=why,
                warnings=(why,),
            )
        raise StepFailed(
            "sqlserver_not_dumped", f"the controller keeps its data in SQL Server, which {mode} mode cannot dump"
        )
    if kind == "contradictory":
        raise StepFailed("settings_contradict", _runtime_settings.CONTRADICTION)
    raise StepFailed("database_unknown", "nothing in the settings of the controller shows where it keeps its data")


def _decide_mongodb(options: Options, where: t.Sequence[Target]) -> Decision:
    obstacle = _oplog_obstacle(where)
    if options.oplog == "always" and obstacle:
        raise StepFailed("oplog_impossible", obstacle)
    # While the services are stopped, nothing is written. So the oplog is not needed, and only the databases of the
    # Server are read.
    oplog = options.oplog == "always" or (options.oplog == "auto" and not options.stop and not obstacle)
    dumps = [
        Dump(target.connection, database, options.gzip, oplog)
        for target in where
        for database in (("",) if oplog else target.databases)
    ]
    warnings = []
    if oplog:
        why = (
            "the dump holds what was written meanwhile (oplog.bson): "
            "restored with --oplogReplay it is one point in time"
        )
        warnings.append("with the oplog mongodump takes the whole instance, databases of others included")
        if options.stop:
            why = f"the services were stopped during the dump; {why}"
    elif options.stop:
        why = "the services were stopped during the dump"
    else:
        why = (
            f"the services ran and there is no oplog ({obstacle or 'not wanted'}): "
            "the databases may not be of one point in time"
        )
        warnings.append(why)
    return Decision(
        "mongodb",
        "mongodump",
        point_in_time=options.stop or oplog,
        why=why,
        dumps=tuple(dumps),
        warnings=tuple(warnings),
    )


def _oplog_obstacle(where: t.Sequence[Target]) -> str:
    if len(where) != 1:
        return f"the databases are on {len(where)} servers or logins, and an oplog is of one server"
    connection = where[0].connection
    if not connection.replica_set:
        return f"{connection.shown} names no replica set"
    return ""

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dump of a self-managed MongoDB: what the operator gives, what the plan may show of it, and what the job on the node is told."""

from __future__ import annotations

import typing as t

from . import _dump_evidence, _mongodb, _persistence
from ._mongodb import Connection
from ._outcome import StepFailed

VARIABLE = "alteryx_preflight_mongodb_connections"

_TLS = {
    "tls": "tls",
    "tls_ca_file": "tlsCAFile",
    "tls_certificate_key_file": "tlsCertificateKeyFile",
    "tls_certificate_key_password": "tlsCertificateKeyFilePassword",
}

Entries = t.Mapping[str, t.Mapping[str, t.Any] | None]
"""Part (service, web, search) -> what the operator says of its MongoDB: connection, user, password, auth_source, tls and its files."""


def given(entries: Entries) -> dict[str, Connection]:
    """Part -> connection with its secrets.

    Raises:
        StepFailed: connection_invalid, mongodb_login_missing.
    """
    return {part: _connection(entry, f"{VARIABLE}.{part}") for part, entry in entries.items() if entry}


def _connection(entry: t.Mapping[str, t.Any], where: str) -> Connection:
    connection = _mongodb.of_server(entry["connection"], f"{where}.connection")
    connection = _mongodb.with_login(connection, entry["user"], entry["password"], f"{where}.user", entry["auth_source"])
    options = {name: str(entry[key]).lower() if key == "tls" else entry[key] for key, name in _TLS.items() if entry[key]}
    connection = _mongodb.with_options(connection, options, where)
    if connection.needs_password and not connection.password:
        raise StepFailed("mongodb_login_missing", f"{where} names the user {connection.user} and no password")
    return connection


def planned(decision: _persistence.Decision, connections: t.Mapping[str, Connection]) -> list[dict[str, t.Any]]:
    """The runs of mongodump as the plan shows them, without secrets: uri, shown, part (whose connection is given, "" for the settings'), database, ..."""
    found = []
    for dump in decision.dumps:
        part = next((part for part, connection in connections.items() if connection == dump.connection), "")
        found.append({
            "uri": dump.connection.uri(), "shown": dump.connection.shown, "part": part, "database": dump.database, "gzip": dump.gzip, "oplog": dump.oplog,
        })  # fmt: skip
    return found


def connected(plan: t.Mapping[str, t.Any], entries: Entries) -> list[tuple[t.Mapping[str, t.Any], Connection]]:
    """The dumps that the plan shows, each with its connection and the secrets of that.

    Args:
        plan: the field dump of a node of the plan.
        entries: see given.
    """
    connections = given(entries)
    return [(each, connections[each["part"]] if each["part"] else _mongodb.parse(each["uri"], "the plan")) for each in plan["dumps"]]


def told(plan: t.Mapping[str, t.Any], entries: Entries, staging: str) -> dict[str, t.Any]:
    """What the job on the node is told of a dump by mongodump; holds the passwords.

    Args:
        plan: the field dump of a node of the plan.
        entries: see given.
        staging: folder of the run on the node.
    """
    config = f"{staging}\\mongodump.config"
    dumps = []
    for each, connection in connected(plan, entries):
        arguments = _mongodb.arguments(config, f"{staging}\\files\\database", each["database"], each["gzip"], each["oplog"])
        dumps.append({"config": _mongodb.config_text(connection), "arguments": arguments})
    return {"method": "mongodump", "tool": plan["tool"], "config_path": config, "dumps": dumps}


def method(arguments: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """What a job is told of the way to dump, from the arguments of database_window or database_dump."""
    if arguments["dump"].get("method") != "mongodump":
        return {"method": "emongodump"}
    return told(arguments["dump"], arguments["mongodb_connections"], f"{arguments['staging_directory']}\\{arguments['run_id']}")


def names(arguments: t.Mapping[str, t.Any]) -> dict[str, str]:
    """The names of the databases that a dump must hold, for _dump_evidence.judge."""
    return {part: arguments["dump"][f"{part}_database"] for part in ("service", "gallery") if f"{part}_database" in arguments["dump"]}


def judged(report: t.Mapping[str, t.Any], required: t.Mapping[str, str], result: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The result of a step that dumped, if the dump counts.

    Args:
        report: of the job: files, output, exit_code.
        required: see names.
        result: what else the step says.

    Raises:
        StepFailed: dump_failed, dump_incomplete.
    """
    files = {entry["path"]: int(entry["bytes"]) for entry in report["files"]}
    evidence = _dump_evidence.judge(files, report["output"], report["exit_code"], **required)
    found = {**result, "dump_bytes": evidence.bytes, "databases": list(evidence.databases), "documents": dict(evidence.reported)}
    if evidence.problems:
        said = evidence.problems[0].startswith("the tool ")
        raise StepFailed("dump_failed" if said else "dump_incomplete", "; ".join(evidence.problems), {**found, "output": report["output"][-2000:]})
    return found

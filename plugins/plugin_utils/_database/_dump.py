# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dump of a self-managed MongoDB: the variables of the operator, their part in the plan, and the spec of the job on
the node."""

from __future__ import annotations

import typing as t

from .._core import paths
from .._core.reasons import Reason, StepFailed
from . import _dump_evidence, _mongodb, _persistence
from ._mongodb import Connection

VARIABLE = "alteryx_preflight_mongodb_connections"

_TLS = {
    "tls": "tls",
    "tls_ca_file": "tlsCAFile",
    "tls_certificate_key_file": "tlsCertificateKeyFile",
    "tls_certificate_key_password": "tlsCertificateKeyFilePassword",
}

_NOT_FOR_THE_JOB = ("dump", "mongodb_connections", "plan", "mongodb", "last_run", "armed")

Entries = t.Mapping[str, t.Mapping[str, t.Any] | None]
"""Part (service, web, search) -> the operator's values for its MongoDB: connection, user, password, auth_source, tls
and its files."""


def read_connections(entries: Entries) -> dict[str, Connection]:
    """Part -> connection with its secrets.

    Raises:
        StepFailed: connection_invalid, mongodb_login_missing.
    """
    return {part: _connection(entry, f"{VARIABLE}.{part}") for part, entry in entries.items() if entry}


def _connection(entry: t.Mapping[str, t.Any], where: str) -> Connection:
    connection = _mongodb.of_server(entry["connection"], f"{where}.connection")
    connection = _mongodb.with_login(
        connection, entry["user"], entry["password"], f"{where}.user", entry["auth_source"]
    )
    options = {
        name: str(entry[key]).lower() if key == "tls" else entry[key] for key, name in _TLS.items() if entry[key]
    }
    connection = _mongodb.with_options(connection, options, where)
    if connection.needs_password and not connection.password:
        raise StepFailed("mongodb_login_missing", f"{where} names the user {connection.user} and no password")
    return connection


def plan_dumps(decision: _persistence.Decision, connections: t.Mapping[str, Connection]) -> list[dict[str, t.Any]]:
    """The runs of mongodump as the plan shows them, without secrets: uri, shown, part, database, ...

    part: the part whose connection the operator has set, "" if it is from the settings.
    """
    found = []
    for dump in decision.dumps:
        part = next((part for part, connection in connections.items() if connection == dump.connection), "")
        found.append({
            "uri": dump.connection.uri(), "shown": dump.connection.shown, "part": part, "database": dump.database,
            "gzip": dump.gzip, "oplog": dump.oplog,
        })  # fmt: skip
    return found


def pair_connections(plan: t.Mapping[str, t.Any], entries: Entries) -> list[tuple[t.Mapping[str, t.Any], Connection]]:
    """The dumps of the plan, each with its connection, including secrets.

    Args:
        plan: the field dump of a node of the plan.
        entries: see read_connections.
    """
    connections = read_connections(entries)
    return [
        (each, connections[each["part"]] if each["part"] else _mongodb.parse(each["uri"], "the plan"))
        for each in plan["dumps"]
    ]


def build_mongodump_spec(plan: t.Mapping[str, t.Any], entries: Entries, staging: paths.Staging) -> dict[str, t.Any]:
    """The part of a job's spec about a dump by mongodump. Contains the passwords.

    Args:
        plan: the field dump of a node of the plan.
        entries: see read_connections.
        staging: folder of the run on the node.
    """
    config = staging.mongodump_config
    dumps = []
    for each, connection in pair_connections(plan, entries):
        arguments = _mongodb.arguments(config, staging.dump, each["database"], each["gzip"], each["oplog"])
        dumps.append({"config": _mongodb.config_text(connection), "arguments": arguments})
    return {"method": "mongodump", "tool": plan["tool"], "config_path": config, "dumps": dumps}


def build_job_spec(arguments: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The spec of a job, from the arguments of database_window or database_dump.

    Contains the passwords. Each argument has its own name in the spec; see build_mongodump_spec for those of the dump.
    The record beside the dump (memo, see _dump_record) is not an argument.
    """
    staging = paths.Staging(arguments["staging_directory"], arguments["run_id"])
    spec = {name: value for name, value in arguments.items() if name not in _NOT_FOR_THE_JOB}
    spec |= {"dump_folder": staging.dump, "memo": ""}
    if arguments["dump"].get("method") != "mongodump":
        return {**spec, "method": "emongodump"}
    return spec | build_mongodump_spec(arguments["dump"], arguments["mongodb_connections"], staging)


def list_databases(arguments: t.Mapping[str, t.Any]) -> dict[str, str]:
    """The names of the databases that a dump must hold, for _dump_evidence.judge."""
    return {
        part: arguments["dump"][f"{part}_database"]
        for part in ("service", "gallery")
        if f"{part}_database" in arguments["dump"]
    }


def judge_dump(
    report: t.Mapping[str, t.Any],
    required: t.Mapping[str, str],
    result: t.Mapping[str, t.Any],
    accepted_exit_codes: t.Collection[int] = (),
    removed: t.Collection[str] = (),
) -> dict[str, t.Any]:
    """The result of a step that dumped, if the dump is usable.

    Args:
        report: of the job: files, output, exit_code and, of emongodump, last (name and collections of the last backup
            with a dump; name is empty if there is no such backup).
        required: see list_databases.
        result: the other fields of the result.
        accepted_exit_codes, removed: see _dump_evidence.judge.

    Raises:
        StepFailed: dump_failed, dump_incomplete.
    """
    files = {entry["path"]: int(entry["bytes"]) for entry in report["files"]}
    last = report.get("last")
    evidence = _dump_evidence.judge(
        files,
        report["output"],
        report["exit_code"],
        **required,
        vendor=last is not None,
        accepted_exit_codes=accepted_exit_codes,
        last=_last_dump(last) if last and last["name"] else None,
        removed=removed,
    )
    found = {
        **result,
        "dump_bytes": evidence.bytes,
        "databases": list(evidence.databases),
        "documents": dict(evidence.reported),
        "proof": evidence.proof,
        "proof_text": evidence.proof_text,
        "remarks": list(evidence.remarks),
    }
    if evidence.problems:
        said = evidence.problems[0].startswith("the tool ")
        problems = "; ".join(evidence.problems)
        raise StepFailed(
            "dump_failed" if said else "dump_incomplete",
            problems,
            {**found, "unusable": problems, "output": report["output"][-2000:]},
        )
    return {**found, "is_usable": True}


def judge_ended(
    reason: Reason | None,
    detail: t.Mapping[str, t.Any],
    required: t.Mapping[str, str],
    accepted_exit_codes: t.Collection[int] = (),
    removed: t.Collection[str] = (),
) -> tuple[dict[str, t.Any] | None, str]:
    """The data of a dump that its archive needs, after its window has ended; or None, and the reason why the dump
    cannot be used.

    Args:
        reason: why the window failed, None if it did not.
        detail: the report of its job, see judge_dump.
        required, accepted_exit_codes, removed: see judge_dump.
    """
    if reason is not None and reason.bad_dump:
        return None, reason.meaning
    if "exit_code" not in detail:
        return None, "the dump did not end"
    try:
        found = judge_dump(detail, required, {}, accepted_exit_codes, removed)
    except StepFailed as failure:
        return None, failure.message
    # Only a window that stops the service has marks, and therefore a downtime.
    return found | ({"downtime": measure_downtime(detail["marks"])} if "marks" in detail else {}), ""


def measure_downtime(marks: t.Mapping[str, float]) -> dict[str, float]:
    """Seconds of a window from its marks: total, stop, dump, start and the rest.

    All are 0 when the service was not stopped by this run.
    """
    if "stop_requested" not in marks:
        return dict.fromkeys(("total", "stop", "dump", "start", "rest"), 0.0)
    # The downtime of a service that was not started again is counted to the last mark.
    end = marks.get("running", max(marks.values()))
    parts = {
        "total": end - marks["stop_requested"],
        "stop": marks.get("stopped", marks.get("start_requested", end)) - marks["stop_requested"],
        "dump": marks.get("dump_ended", 0.0) - marks["dump_started"] if "dump_ended" in marks else 0.0,
        "start": end - marks["start_requested"] if "start_requested" in marks else 0.0,
    }
    parts["rest"] = parts["total"] - parts["stop"] - parts["dump"] - parts["start"]
    return {name: round(seconds, 3) for name, seconds in parts.items()}


def _last_dump(last: t.Mapping[str, t.Any]) -> _dump_evidence.LastDump:
    collections = {entry["namespace"]: int(entry["documents"]) for entry in last["collections"]}
    return _dump_evidence.LastDump(str(last["name"]), collections)

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does a self-managed MongoDB answer the log-in of the backup, which version is it, and does it have the databases to
dump?

This is checked before anything is changed, with mongodump itself, so that the node needs no other tool: with --archive
it writes the version of the server and the name of every collection before the first document (mongo-tools,
common/archive/prelude.go; seen with 100.3.1 and MongoDB 7.0), and is ended as soon as that has been read. The check for
an oplog is similar: only a member of a replica set has the collection local.oplog.rs.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from .._core.reasons import StepFailed
from . import _dump, _mongodb

_DENIED = re.compile(r"AuthenticationFailed|Unauthorized|not authorized|auth error", re.IGNORECASE)


@dataclass(frozen=True)
class Question:
    """One start of mongodump. shown: the server, without secrets. database: "" for all. oplog: asks for the oplog
    instead. config: with the secrets."""

    shown: str
    database: str
    oplog: bool
    config: str
    arguments: tuple[str, ...]


def questions(plan: t.Mapping[str, t.Any], entries: _dump.Entries) -> list[Question]:
    """The checks before the dumps of a node.

    Args:
        plan: the field dump of a node of the plan.
        entries: see _dump.read_connections.

    Raises:
        StepFailed: connection_invalid, mongodb_login_missing.
    """
    found = []
    for dump, connection in _dump.pair_connections(plan, entries):
        config = _mongodb.config_text(connection)
        only = (f"--db={dump['database']}",) if dump["database"] else ()
        found.append(Question(connection.shown, dump["database"], False, config, ("--archive", *only)))
        if dump["oplog"]:
            found.append(
                Question(connection.shown, "local", True, config, ("--archive", "--db=local", "--collection=oplog.rs"))
            )
    return found


def judge_answers(
    plan: t.Mapping[str, t.Any], asked: t.Sequence[Question], answers: t.Sequence[t.Mapping[str, t.Any]]
) -> dict[str, t.Any]:
    """The result of the checks: servers (shown, version, databases: name and number of collections) and remarks for the
    operator.

    Args:
        plan: see questions.
        answers: one for each question: complete, timed_out, output, server_version, databases (name, collections).

    Raises:
        StepFailed: mongodb_unreachable, mongodb_denied, mongodb_lacks_database, oplog_impossible.
    """
    servers: dict[str, dict[str, t.Any]] = {}
    for question, answer in zip(asked, answers, strict=True):
        if not answer["complete"]:
            raise _refusal(question, answer)
        server = servers.setdefault(
            question.shown, {"shown": question.shown, "version": answer["server_version"], "databases": {}}
        )
        if not question.oplog:
            server["databases"].update({found["name"]: int(found["collections"]) for found in answer["databases"]})
    remarks = [_mongodb.describe_outdated(plan["tool_version"], server["version"]) for server in servers.values()]
    present = {name for server in servers.values() for name in server["databases"]}
    for name in (plan["service_database"], plan["gallery_database"]):
        if name not in present:
            where = ", ".join(servers)
            raise StepFailed(
                "mongodb_lacks_database",
                f"the backup user sees no collection of the database {name} on {where}",
            )
    remarks += [
        f"the database {question.database} is empty or absent on {question.shown}"
        for question in asked
        if question.database and not question.oplog and question.database not in present
    ]
    listed = [
        {**server, "databases": [{"name": name, "collections": count} for name, count in server["databases"].items()]}
        for server in servers.values()
    ]
    return {"servers": listed, "remarks": [text for text in dict.fromkeys(remarks) if text]}


def _refusal(question: Question, answer: t.Mapping[str, t.Any]) -> StepFailed:
    said = " ".join(str(answer["output"]).split())[-600:]
    if _DENIED.search(said):
        return StepFailed(
            "mongodb_denied",
            f"{question.shown} does not let the user of the backup in, or not to all it has to read: {said}",
        )
    if question.oplog and "does not exist" in said:
        return StepFailed(
            "oplog_impossible", f"{question.shown} has no oplog, because it is not a member of a replica set"
        )
    if answer["timed_out"]:
        return StepFailed(
            "mongodb_unreachable", f"{question.shown} has not answered in time{': ' if said else ''}{said}"
        )
    return StepFailed("mongodb_unreachable", f"{question.shown} does not answer: {said or 'mongodump printed nothing'}")

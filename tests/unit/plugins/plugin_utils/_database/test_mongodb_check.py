# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a MongoDB says before it is dumped, and what that means. The texts are those of mongodump
100.3.1 with MongoDB 7.0.15."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import StepFailed
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._database import _mongodb_check

PASSWORD = "p%4/s"
ENTRY = {"connection": "db1:27017", "user": "backup", "password": PASSWORD, "auth_source": "", "tls": False,
         "tls_ca_file": "", "tls_certificate_key_file": "", "tls_certificate_key_password": ""}  # fmt: skip
ALL = (
    {"name": "AlteryxGallery", "collections": 2},
    {"name": "AlteryxGallery_Lucene", "collections": 1},
    {"name": "AlteryxService", "collections": 3},
)


def plan(*databases: str, oplog: bool = False, version: str = "100.9.4") -> dict[str, t.Any]:
    dumps = [
        {"uri": "mongodb://backup@db1:27017/", "shown": "mongodb://db1:27017", "part": "service", "database": name,
         "gzip": False, "oplog": oplog}
        for name in databases
    ]  # fmt: skip
    return {
        "tool": "mongodump.exe",
        "tool_version": version,
        "dumps": dumps,
        "service_database": "AlteryxService",
        "gallery_database": "AlteryxGallery",
    }


def answer(
    output: str = "", *, complete: bool = True, timed_out: bool = False, databases: t.Any = ALL, version: str = "7.0.15"
) -> dict[str, t.Any]:
    return {
        "complete": complete,
        "timed_out": timed_out,
        "output": output,
        "server_version": version,
        "databases": databases,
    }


def judged(dump: dict[str, t.Any], *answers: dict[str, t.Any]) -> dict[str, t.Any]:
    return _mongodb_check.judge_answers(dump, _mongodb_check.questions(dump, {"service": ENTRY}), answers)


def refused(dump: dict[str, t.Any], *answers: dict[str, t.Any]) -> StepFailed:
    with pytest.raises(StepFailed) as caught:
        judged(dump, *answers)
    assert PASSWORD not in caught.value.message
    return caught.value


def test_every_dump_is_asked_about_and_the_password_is_in_the_file_alone() -> None:
    asked = _mongodb_check.questions(plan("AlteryxService", "AlteryxGallery"), {"service": ENTRY})
    assert [question.arguments for question in asked] == [
        ("--archive", "--db=AlteryxService"),
        ("--archive", "--db=AlteryxGallery"),
    ]
    assert all(PASSWORD in question.config and PASSWORD not in question.shown for question in asked)


def test_a_dump_with_the_oplog_asks_for_the_whole_instance_and_for_the_oplog() -> None:
    asked = _mongodb_check.questions(plan("", oplog=True), {"service": ENTRY})
    assert [question.arguments for question in asked] == [
        ("--archive",),
        ("--archive", "--db=local", "--collection=oplog.rs"),
    ]


def test_version_and_databases_of_a_server_are_told_once() -> None:
    found = judged(plan("AlteryxService", "AlteryxGallery"), answer(databases=ALL[2:]), answer(databases=ALL[:1]))
    assert found == {
        "servers": [{"shown": "mongodb://db1:27017 (user backup)", "version": "7.0.15", "databases": [ALL[2], ALL[0]]}],
        "remarks": [],
    }


def test_a_search_index_that_is_not_there_is_a_warning() -> None:
    asked = plan("AlteryxService", "AlteryxGallery", "AlteryxGallery_Lucene")
    found = judged(asked, answer(databases=ALL[2:]), answer(databases=ALL[:1]), answer(databases=[]))
    assert found["remarks"] == [
        "the database AlteryxGallery_Lucene is empty or absent on mongodb://db1:27017 (user backup)"
    ]


def test_a_tool_made_for_older_servers_is_a_warning() -> None:
    (warning,) = judged(plan(""), answer(version="8.0.1"))["remarks"]
    assert "100.9.4" in warning
    assert "8.0.1" in warning


@pytest.mark.reaches("mongodb_lacks_database")
def test_a_server_without_the_data_of_an_alteryx_server_is_refused() -> None:
    failure = refused(plan(""), answer(databases=[{"name": "shop", "collections": 4}, ALL[0]]))
    assert failure.reason.name == "mongodb_lacks_database"
    assert "AlteryxService" in failure.message


SAID = {
    "mongodb_denied": (
        (
            "Failed: can't create session: could not connect to server: connection() : auth error: "
            "(AuthenticationFailed) Authentication failed."
        ),
        (
            "Failed: error creating intents to dump: error getting collections for database `AlteryxService`: "
            "(Unauthorized) not authorized on AlteryxService"
        ),
    ),
    "mongodb_unreachable": (
        (
            "Failed: can't create session: could not connect to server: server selection error: "
            "server selection timeout, current topology: { Type: Single }"
        ),
        "",
    ),
}


@pytest.mark.parametrize(
    ("reason", "output"), [(reason, output) for reason, outputs in SAID.items() for output in outputs]
)
def test_what_mongodump_says_instead_of_an_answer_has_a_reason(reason: str, output: str) -> None:
    failure = refused(plan("AlteryxService"), answer(output, complete=False))
    assert failure.reason.name == reason
    assert failure.reason.exit_code == 3
    assert output in failure.message


@pytest.mark.reaches("mongodb_unreachable")
def test_a_server_that_says_nothing_in_time_is_unreachable() -> None:
    assert refused(plan("AlteryxService"), answer(complete=False, timed_out=True)).reason.name == "mongodb_unreachable"


def test_the_oplog_of_a_server_that_is_no_member_of_a_replica_set_is_impossible() -> None:
    said = "namespace with DB local and collection oplog.rs does not exist"
    assert refused(plan("", oplog=True), answer(), answer(said, complete=False)).reason.name == "oplog_impossible"

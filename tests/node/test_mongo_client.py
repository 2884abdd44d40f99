# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client of MongoDB on a node, with a real mongod.exe and with doubles that break the protocol."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import bson
import pytest

from tests import nightly
from tests.lab import alteryx_install, certificates, mongo_servers, seed
from tests.node import mongo_double
from tests.node.engine import Engine
from tests.node.mongo_double import Request

pytestmark = pytest.mark.wine

# Characters that SCRAM quotes in a name, and that SASLprep changes in a password.
ODD_USER = "o'd=d,user"
ODD_PASSWORD = "p\u00e4ss\u00a0w\u00adord"


@pytest.fixture(scope="module")
def machine(engine: Engine) -> Engine:
    """The engine with the database programs beside it."""
    alteryx_install.put_database_programs(engine.folder)
    return engine


@pytest.fixture(scope="module")
def mongo(machine: Engine) -> Iterator[mongo_servers.Mongo]:
    """A server with the seed's documents and users of each mechanism."""
    with mongo_servers.running(machine.folder) as running:
        with running.client() as client:
            chance = random.Random(seed.SEED)
            for database, name, count, make in seed._collections():
                client[database][name].insert_many([make(chance, index) for index in range(count)])
            for number in ("1", "256"):
                client.admin.command(
                    "createUser", f"sha{number}", pwd=running.password, roles=[], mechanisms=[f"SCRAM-SHA-{number}"]
                )
            client.admin.command("createUser", ODD_USER, pwd=ODD_PASSWORD, roles=["clusterMonitor"])
        yield running


def asked(machine: Engine, port: int, script: str, *, options: str = "", values: dict[str, str] | None = None) -> Any:
    """What a script answers that has a client of a server on this port. What it throws is kind and message."""
    variables = "".join(f"${name} = '{value}'\n" for name, value in (values or {}).items())
    text = f"""{variables}
    $client = $null
    try {{
        $client = Open-MongoClient -HostName $(if ($name) {{ $name }} else {{ '127.0.0.1' }}) -Port {port} {options}
        $answer = & {{ {script} }}
    }}
    catch {{
        $problem = Get-MongoProblem -ErrorRecord $_
        $answer = if ($problem) {{ @{{ kind = [string]$problem.Kind; message = $problem.Message; all = [string]$_ }} }}
        else {{ @{{ kind = ''; message = $_.Exception.GetBaseException().Message }} }}
    }}
    finally {{ if ($client) {{ $client.Dispose() }} }}
    ConvertTo-NodeJson -InputObject $answer
    """
    return json.loads(machine.run("$name = ''\n$ticks = @{ count = 0; wanted = $false }\n" + text))


def as_root(machine: Engine, mongo: mongo_servers.Mongo, script: str) -> Any:
    login = "$client.Authenticate('root', $password, 'admin', '');"
    return asked(machine, mongo.ports[0], login + script, values={"password": mongo.password})


@pytest.mark.long
def test_it_answers_what_pymongo_answers(machine: Engine, mongo: mongo_servers.Mongo) -> None:
    with mongo.client() as client:
        client["Odd"].command("create", "view", viewOn="plain", pipeline=[])
        odd_ids: list[Any] = [None, bson.MinKey(), bson.MaxKey(), 1, "text", {"a": 1}, bson.ObjectId(), b"bytes"]
        client["Odd"]["plain"].insert_many([{"_id": each} for each in odd_ids])
        client["Odd"].command("create", "empty")
        found = as_root(
            machine,
            mongo,
            """@{
                databases = @($client.ListDatabases() | ForEach-Object { $_.Name })
                kinds = @($client.ListCollections('Odd') | ForEach-Object { "$($_.Name) $($_.Type)" })
                counts = (Get-DocumentCount -Client $client -Database 'AlteryxService', 'AlteryxGallery', 'Odd')
                users = $client.ConnectionStatus().Users
                roles = $client.ConnectionStatus().Roles
                actions = @($client.ConnectionStatus().Privileges | Where-Object { $_.IsAnyResource }).Count
                valid = $client.Validate('AlteryxService', 'AS_Queue', $true)
                hello = $client.Hello()
                text = [string]$client
            }""",
        )
        assert set(found["databases"]) == set(client.list_database_names())
        assert sorted(found["kinds"]) == [
            "empty collection",
            "plain collection",
            "system.views collection",
            "view view",
        ]
        assert found["counts"] == {
            f"{database}.{name}": client[database][name].count_documents({})
            for database in ("AlteryxService", "AlteryxGallery", "Odd")
            for name in client[database].list_collection_names()
            if name not in ("view", "system.views")
        }
        status = client["admin"].command("connectionStatus", showPrivileges=True)["authInfo"]
    assert found["counts"]["Odd.plain"] == len(odd_ids)
    everywhere = [each for each in status["authenticatedUserPrivileges"] if each["resource"].get("anyResource")]
    assert (found["users"], found["roles"], found["actions"]) == (["admin.root"], ["admin.root"], len(everywhere))
    # A server that has just written warns that it could not look at all of a collection in use.
    assert all("in use" in text for text in found["valid"].pop("Warnings"))
    assert found["valid"] == {"IsValid": True, "Records": 1500, "Errors": []}
    assert found["hello"] == {"MaxWireVersion": 21, "IsWritable": True, "SetName": "", "Primary": ""}
    assert found["text"] == f"127.0.0.1:{mongo.ports[0]}"


@pytest.mark.long
def test_it_drops_a_database_and_never_one_of_the_server_itself(machine: Engine, mongo: mongo_servers.Mongo) -> None:
    with mongo.client() as client:
        client["Doomed"]["a"].insert_one({})
        as_root(machine, mongo, "$client.DropDatabase('Doomed'); 'done'")
        assert "Doomed" not in client.list_database_names()
        for name in ("admin", "config", "local"):
            assert as_root(machine, mongo, f"$client.DropDatabase('{name}')")["kind"] == "Refused"
        assert client["admin"]["system.users"].count_documents({}) > 0


@pytest.mark.long
def test_a_list_of_collections_that_takes_several_answers_is_whole(machine: Engine, mongo: mongo_servers.Mongo) -> None:
    with mongo.client() as client:
        for number in range(20):
            client["Wide"].command("create", f"c{number}", validator={"x": {"$ne": "w" * 1_000_000}})
        found = as_root(machine, mongo, "$client.ListCollections('Wide').Name")
        client.drop_database("Wide")
    assert sorted(found) == sorted(f"c{number}" for number in range(20))


@pytest.mark.parametrize("mechanism", ["", "SCRAM-SHA-1", "SCRAM-SHA-256"])
@pytest.mark.parametrize("user", ["sha1", "sha256", "root"])
@pytest.mark.long
def test_a_log_in_by_scram(machine: Engine, mongo: mongo_servers.Mongo, user: str, mechanism: str) -> None:
    script = f"$client.Authenticate('{user}', $password, 'admin', '{mechanism}'); $client.ConnectionStatus().Users"
    right = asked(machine, mongo.ports[0], script, values={"password": mongo.password})
    if mechanism and user != "root" and mechanism.replace("SCRAM-SHA-", "sha") != user:
        assert right["kind"] == "Authentication"
    else:
        assert right == f"admin.{user}"
    wrong = asked(machine, mongo.ports[0], script, values={"password": "wrong-canary"})
    assert wrong["kind"] == "Authentication"
    assert "the log-in failed" in wrong["message"]
    assert "canary" not in json.dumps(wrong)
    assert mongo.password not in json.dumps(right)


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1", "SCRAM-SHA-256"])
@pytest.mark.long
def test_odd_characters_in_user_and_password(machine: Engine, mongo: mongo_servers.Mongo, mechanism: str) -> None:
    script = f"$client.Authenticate($user, $password, 'admin', '{mechanism}'); $client.ConnectionStatus().Users"
    values = {"user": ODD_USER.replace("'", "''"), "password": ODD_PASSWORD}
    assert asked(machine, mongo.ports[0], script, values=values) == f"admin.{ODD_USER}"


@pytest.mark.long
def test_a_user_without_rights_is_told_so(machine: Engine, mongo: mongo_servers.Mongo) -> None:
    found = asked(
        machine,
        mongo.ports[0],
        "$client.Authenticate('sha256', $password, 'admin', ''); $client.Count('AlteryxService', 'AS_Queue')",
        values={"password": mongo.password},
    )
    assert found["kind"] == "Refused"
    assert "not authorized" in found["message"]
    assert "code 13" in found["message"]


def test_a_server_before_3_6_is_asked_in_its_own_way(machine: Engine) -> None:
    asked_for: list[tuple[int, str, str]] = []

    def answer(request: Request) -> bytes:
        command = next(iter(request.command))
        asked_for.append((request.kind, request.database, command))
        documents: dict[str, dict[str, Any]] = {
            "isMaster": mongo_double.greeting(5),
            "listCollections": {
                "cursor": {"id": bson.Int64(9), "ns": "A.$cmd.listCollections",
                           "firstBatch": [{"name": "a", "options": {}}]},
            },
            "getMore": {
                "cursor": {"id": bson.Int64(0), "ns": "A.$cmd.listCollections",
                           "nextBatch": [{"name": "b", "type": "view", "options": {}}]},
            },
            "count": {"n": 7},
        }  # fmt: skip
        return mongo_double.reply(request, {**documents[command], "ok": 1.0})

    with mongo_double.serving(answer) as port:
        found = asked(machine, port, "Get-DocumentCount -Client $client -Database 'A'")
    assert found == {"A.a": 7}
    assert {kind for kind, _unused, _unused in asked_for} == {mongo_double.OP_QUERY}
    assert [words for _unused, *words in asked_for] == [
        ["admin", "isMaster"], ["A", "listCollections"], ["A", "getMore"], ["A", "count"],
    ]  # fmt: skip


def _wrong_length(document: dict[str, Any], change: int) -> bytes:
    content = bytearray(bson.encode(document))
    content[0:4] = (len(content) + change).to_bytes(4, "little", signed=True)
    return bytes(content)


OK = bson.encode({"ok": 1.0, "n": 3})
# name -> the answer to a command, the kind of the failure and words of its message.
BROKEN: dict[str, tuple[mongo_double.Answer, str, str]] = {
    "another protocol": (lambda _r: b"HTTP/1.1 400 Bad Request\r\n\r\n", "Malformed", "bytes"),
    "closed": (lambda _r: b"", "Network", "closed the connection"),
    "closed in the head": (lambda r: mongo_double.reply_bytes(r, OK)[:10], "Timeout", "does not answer"),
    "closed in the body": (lambda r: mongo_double.reply_bytes(r, OK)[:-3], "Timeout", "does not answer"),
    "silent": (lambda _r: mongo_double.SILENCE, "Timeout", "does not answer"),
    "no length": (lambda r: mongo_double.frame(r, mongo_double.OP_MSG, OK, length=4), "Malformed", "4 bytes"),
    "negative length": (lambda r: mongo_double.frame(r, mongo_double.OP_MSG, OK, length=-1), "Malformed", "-1 bytes"),
    "huge length": (
        lambda r: mongo_double.frame(r, mongo_double.OP_MSG, OK, length=2**31 - 1), "Malformed", "2147483647 bytes"
    ),
    "other number": (
        lambda r: mongo_double.frame(r, mongo_double.OP_MSG, bytes(5) + OK, number=9999), "Malformed", "another command"
    ),
    "other kind": (lambda r: mongo_double.frame(r, 2012, bytes(5) + OK), "Malformed", "the kind 2012"),
    "more to come": (lambda r: mongo_double.reply_bytes(r, OK, flags=2), "Malformed", "the flags 2"),
    "other section": (lambda r: mongo_double.reply_bytes(r, OK, section=1), "Malformed", "begin with its document"),
    "document too long": (
        lambda r: mongo_double.reply_bytes(r, _wrong_length({"ok": 1.0}, 1)), "Malformed", "a document of 18 bytes"
    ),
    "document too short": (
        lambda r: mongo_double.reply_bytes(r, _wrong_length({"ok": 1.0}, -1)), "Malformed", "(at byte"
    ),
    "negative document": (
        lambda r: mongo_double.reply_bytes(r, _wrong_length({"ok": 1.0}, -40)), "Malformed", "a document of -23 bytes"
    ),
    "inner document too long": (
        lambda r: mongo_double.reply_bytes(r, bson.encode({"ok": 1.0, "a": {"b": 1}}).replace(
            (12).to_bytes(4, "little"), (2**30).to_bytes(4, "little"))),
        "Malformed", "a document of 1073741824 bytes",
    ),
    "text too long": (
        lambda r: mongo_double.reply_bytes(r, bson.encode({"ok": 1.0, "a": "bcd"}).replace(
            (4).to_bytes(4, "little") + b"bcd", (2**30).to_bytes(4, "little") + b"bcd")),
        "Malformed", "a text of 1073741824 bytes",
    ),
    "after the document": (lambda r: mongo_double.reply_bytes(r, OK + b"\0"), "Malformed", "1 bytes after a document"),
    "no verdict": (lambda r: mongo_double.reply(r, {"n": 3}), "Malformed", "without the field ok"),
    "no number": (lambda r: mongo_double.reply(r, {"ok": 1.0, "n": "3"}), "Malformed", "no number"),
    "an error": (
        lambda r: mongo_double.reply(r, {"ok": 0.0, "errmsg": "no\nway", "code": 9}), "Refused", "no way (code 9)"
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def broken(machine: Engine) -> dict[str, Any]:
    """What the client says of each of BROKEN, from one engine; and how long that took."""
    with ExitStack() as stack:
        ports = {
            name: stack.enter_context(mongo_double.serving(_greets_then(answer)))
            for name, (answer, _kind, _words) in BROKEN.items()
        }
        lines = "\n".join(f"'{name}' = {port}" for name, port in ports.items())
        script = f"""
        $answers = @{{}}
        $ports = @{{
            {lines}
        }}
        foreach ($name in $ports.Keys) {{
            $watch = [Diagnostics.Stopwatch]::StartNew()
            $client = Open-MongoClient -HostName '127.0.0.1' -Port $ports[$name] -ReadSeconds 1
            try {{ $answers[$name] = @{{ count = $client.Count('A', 'a') }} }}
            catch {{
                $problem = Get-MongoProblem -ErrorRecord $_
                $again = ''
                try {{ $null = $client.Count('A', 'a') }}
                catch {{ $again = [string](Get-MongoProblem -ErrorRecord $_).Message }}
                $answers[$name] = @{{ kind = [string]$problem.Kind; message = $problem.Message; again = $again }}
            }}
            finally {{ $client.Dispose() }}
            $answers[$name].seconds = $watch.Elapsed.TotalSeconds
        }}
        ConvertTo-NodeJson -InputObject $answers
        """
        answers: dict[str, Any] = json.loads(machine.run(script, timeout=120))
    return answers


def _greets_then(answer: mongo_double.Answer) -> mongo_double.Answer:
    def said(request: Request) -> bytes:
        if "isMaster" in request.command:
            return mongo_double.reply(request, mongo_double.greeting())
        return answer(request)

    return said


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.long
def test_an_invalid_answer_is_reported_without_waiting_for_more(broken: dict[str, Any], name: str) -> None:
    _unused, kind, words = BROKEN[name]
    found = broken[name]
    assert (found["kind"], words in found["message"]) == (kind, True), found
    assert found["seconds"] < 10
    # After a whole message the next one can be read.
    whole = ("an error", "no verdict", "no number")
    assert ("closed" in found["again"]) == (name not in whole)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"\0" * 40, "sent something that is no answer"),
        (b"220 mail.example.test ESMTP\r\n", "sent something that is no answer"),
    ],
    ids=["zeros", "mail"],
)
@pytest.mark.long
def test_a_server_that_is_no_mongodb_is_named(machine: Engine, said: bytes, words: str) -> None:
    with mongo_double.serving(lambda _request: said) as port:
        found = asked(machine, port, "$client.Hello()", options="-ReadSeconds 2")
    assert found["kind"] == "Malformed"
    assert words in found["message"]


@pytest.mark.long
def test_a_port_where_nobody_listens(machine: Engine) -> None:
    found = asked(machine, alteryx_install.free_port(), "$client.Hello()", options="-ConnectSeconds 8")
    assert found["kind"] in ("Network", "Timeout"), found


@pytest.mark.long
def test_a_host_that_is_not_there(machine: Engine) -> None:
    found = asked(machine, 1, "$client.Hello()", values={"name": "no-such-host.invalid"})
    assert found["kind"] in ("Network", "Timeout"), found


@pytest.mark.parametrize(
    ("message", "words"),
    nightly.after_first(
        [
            ("r=other,s=c2FsdA==,i=15000", "nonce does not continue ours"),
            ("r=@,s=c2FsdA==,i=15000", "nonce does not continue ours"),
            ("r=@x,s=c2FsdA==,i=1", "it asks for 1 rounds"),
            ("r=@x,s=c2FsdA==,i=2000000000", "it asks for 2000000000 rounds"),
            ("r=@x,s=c2FsdA==,i=99999999999", "lacks nonce, salt or rounds"),
            ("r=@x,s=!,i=15000", "not base64"),
            ("r=@x", "lacks nonce, salt or rounds"),
            ("", "not made of names and values"),
            ("e=other-error", "refuses the proof"),
            ("r=@x,s=c2FsdA==,i=15000|v=c2FsdA==", "does not know the password itself"),
            ("r=@x,s=c2FsdA==,i=15000|e=invalid-proof", "refuses the proof"),
        ]
    ),
)
def test_a_server_that_does_not_know_the_password_is_found_out(machine: Engine, message: str, words: str) -> None:
    first, _bar, last = message.partition("|")

    def answer(request: Request) -> bytes:
        if "saslStart" in request.command:
            nonce = request.command["payload"].decode().partition("r=")[2]
            payload, done = first.replace("@", nonce).encode(), False
        elif "saslContinue" in request.command:
            assert base64.b64decode(request.command["payload"].decode().partition("p=")[2])
            payload, done = last.encode(), True
        else:
            return mongo_double.reply(request, mongo_double.greeting())
        return mongo_double.reply(request, {"ok": 1.0, "conversationId": 1, "done": done, "payload": payload})

    with mongo_double.serving(answer) as port:
        found = asked(machine, port, "$client.Authenticate('u', 'canary', 'admin', 'SCRAM-SHA-256'); 'let in'")
    assert found["kind"] in ("Malformed", "Authentication"), found
    assert words in found["message"]
    assert "canary" not in json.dumps(found)


@pytest.mark.long
def test_a_server_that_ends_the_log_in_too_early_is_found_out(machine: Engine) -> None:
    def answer(request: Request) -> bytes:
        if "saslStart" not in request.command:
            return mongo_double.reply(request, mongo_double.greeting())
        nonce = request.command["payload"].decode().partition("r=")[2]
        payload = f"r={nonce}x,s=c2FsdA==,i=15000".encode()
        return mongo_double.reply(request, {"ok": 1.0, "conversationId": 1, "done": True, "payload": payload})

    with mongo_double.serving(answer) as port:
        found = asked(machine, port, "$client.Authenticate('u', 'p', 'admin', 'SCRAM-SHA-256'); 'let in'")
    assert "without its proof" in found["message"]


@pytest.mark.long
def test_what_a_tick_throws_ends_the_wait_and_passes(machine: Engine) -> None:
    script = """
    $watch = [Diagnostics.Stopwatch]::StartNew()
    $ticks.wanted = $true
    try { $null = $client.Count('A', 'a') }
    catch {
        $failure = Get-NodeFailure -ErrorRecord $_
        @{ reason = $failure.reason; seconds = $watch.Elapsed.TotalSeconds; ticks = $ticks.count }
    }
    """
    tick = """-ReadSeconds 30 -OnTick {
        if ($ticks.wanted) { $ticks.count++ }
        if ($ticks.count -eq 8) { throw (New-NodeFailure -Reason 'job_died' -Message 'x') }
    }"""
    with mongo_double.serving(_greets_then(lambda _request: mongo_double.SILENCE)) as port:
        found = asked(machine, port, script, options=tick)
    assert found["reason"] == "job_died"
    # Four a second are promised.
    assert (found["ticks"], found["seconds"] < 2) == (8, True)


@pytest.mark.parametrize(
    ("host", "authority", "words"),
    [
        ("localhost", "its own", ""),
        ("127.0.0.1", "its own", ""),
        ("localhost", "another", "has issued that of the server"),
        ("localhost", "no certificate", "cannot be read as certificates"),
    ],
)
@pytest.mark.long
def test_tls(
    machine: Engine, mongo: mongo_servers.Mongo, tmp_path: Path, host: str, authority: str, words: str
) -> None:
    made, other = certificates.ensure(tmp_path / "one"), certificates.ensure(tmp_path / "two")
    file = machine.path(r"D:\authority.pem")
    file.write_bytes(
        {"its own": made.authority.read_bytes(), "another": other.authority.read_bytes()}.get(authority, b"nothing")
    )
    # Without a file Windows decides, and Wine trusts everybody.
    options = r"-Tls -CaFile 'D:\authority.pem'"
    with mongo_servers.tls_front(mongo.ports[0], made.endpoint) as port:
        script = "$client.Authenticate('root', $password, 'admin', ''); $client.Count('AlteryxService', 'AS_Queue')"
        values = {"password": mongo.password, "name": host}
        found = asked(machine, port, script, options=options, values=values)
    if words:
        assert isinstance(found, dict), found
        assert (found["kind"], words in found["message"]) == ("Trust", True), found
    else:
        assert found == 1500

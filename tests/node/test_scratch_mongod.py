# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A scratch mongod on a data folder: a real mongod.exe that accepts no other client, and that leaves no files."""

from __future__ import annotations

import json
import random
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from tests import reasons
from tests.lab import alteryx_install, mongo_servers, seed
from tests.node import mongo_double
from tests.node.engine import Engine, EngineError

pytestmark = pytest.mark.wine

STAGING = r"D:\scratch-staging"
PROGRAM = rf"{alteryx_install.BIN}\mongod.exe"
KEY = rf"{STAGING}\scratch_mongod\key"


@dataclass(frozen=True)
class Data:
    """A data folder that a mongod has closed, and the documents in it by namespace."""

    folder: Path
    counts: dict[str, int]


@pytest.fixture(scope="module")
def machine(engine: Engine) -> Engine:
    """The engine with the database programs beside it."""
    alteryx_install.put_database_programs(engine.folder)
    return engine


@pytest.fixture(scope="module")
def closed(machine: Engine) -> Data:
    """Of a server with users and the seed's documents."""
    counts = {}
    with mongo_servers.running(machine.folder) as mongo, mongo.client() as client:
        chance = random.Random(seed.SEED)
        for database, name, count, make in seed._collections():
            client[database][name].insert_many([make(chance, index) for index in range(count)])
            counts[f"{database}.{name}"] = count
        client["AlteryxGallery"].command("create", "recent", viewOn="appInfos", pipeline=[])
        client["AlteryxGallery"]["Users"].insert_one({"differs": "by case"})
        counts["AlteryxGallery.Users"] = 1
        port = mongo.ports[0]
    return Data(next(machine.path("D:\\").glob(f"mongo-*/{port}")), counts)


@pytest.fixture
def data(machine: Engine, closed: Data) -> Iterator[Data]:
    """A copy of it in D:\\scratch-data, and an empty staging folder."""
    folder, staging = machine.path(r"D:\scratch-data"), machine.path(STAGING)
    shutil.copytree(closed.folder, folder)
    staging.mkdir()
    yield Data(folder, closed.counts)
    shutil.rmtree(folder)
    shutil.rmtree(staging)


def scratch(
    machine: Engine, action: str, *, tick: str = "", options: str = "", before: str = "", program: str = PROGRAM
) -> dict[str, Any]:
    """What Invoke-ScratchMongod returns, as answer, or the failure: reason and message."""
    text = f"""Import-NodeType -Name 'ProcessTable', 'NodeDisk'
    $problem = 0
    $null = [AlteryxOps.ProcessTable]::HoldChildren([ref]$problem)
    {before}
    $count = @{{ ticks = 0; in = 0 }}
    try {{
        $answer = Invoke-ScratchMongod -Program '{program}' -Folder 'D:\\scratch-data' -Staging '{STAGING}' {options} `
            -OnTick {{ $count.ticks++; {tick} }} -Action {{ param($Client); {action} }}
        $result = @{{ answer = $answer; ticks = $count.ticks }}
    }}
    catch {{ $result = Get-NodeFailure -ErrorRecord $_ }}
    ConvertTo-NodeJson -InputObject $result
    """
    result: dict[str, Any] = json.loads(machine.run(text, timeout=300))
    if "reason" in result:
        reasons.saw(result["reason"])
    return result


def servers() -> list[list[str]]:
    """The command lines of the scratch servers that run."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
        except OSError:
            continue
        if any(word.endswith("mongod.exe") for word in words) and r"D:\scratch-data" in words:
            found.append(words)
    return found


def assert_nothing_left(machine: Engine) -> None:
    assert servers() == []
    assert list(machine.path(STAGING).iterdir()) == []


LOG = r"""
    $stream = Open-SharedFile -Path 'D:\scratch-staging\scratch_mongod\mongod.log'
    $text = (New-Object System.IO.StreamReader $stream).ReadToEnd()
    $stream.Dispose()
    $text
"""
COUNT = "Get-DocumentCount -Client $Client -Database 'AlteryxService', 'AlteryxGallery', 'AlteryxGallery_Lucene'"


@pytest.mark.long
def test_a_scratch_mongod_counts_what_is_in_the_folder_and_closes_it(machine: Engine, data: Data) -> None:
    first = scratch(machine, COUNT)
    assert first["answer"] == data.counts
    assert_nothing_left(machine)
    assert recovered(scratch(machine, LOG)) == []
    assert_nothing_left(machine)


def recovered(second: dict[str, Any]) -> list[str]:
    """The lines about a crash in the log of the start after it."""
    assert "Waiting for connections" in second["answer"]
    return [line for line in second["answer"].splitlines() if "unclean" in line.lower()]


@pytest.mark.long
def test_a_start_after_a_crash_says_so(machine: Engine, data: Data) -> None:
    (data.folder / "mongod.lock").write_text("4711\n", encoding="ascii")
    assert recovered(scratch(machine, LOG)) != []


@pytest.mark.reaches("scratch_mongod_failed")
@pytest.mark.long
def test_the_failure_on_a_damaged_folder_has_the_words_of_mongod(machine: Engine, data: Data) -> None:
    (data.folder / "WiredTiger.turtle").write_bytes(b"damaged " * 100)
    end = scratch(machine, COUNT)
    assert end["reason"] == "scratch_mongod_failed"
    assert r"The scratch mongod on D:\scratch-data ended with code" in end["message"]
    assert "WiredTiger" in end["message"]
    assert_nothing_left(machine)


@pytest.mark.long
def test_a_folder_that_is_not_there_is_named(machine: Engine, data: Data) -> None:
    (data.folder / "WiredTiger").parent.rename(machine.path(r"D:\elsewhere"))
    try:
        end = scratch(machine, COUNT)
    finally:
        machine.path(r"D:\elsewhere").rename(data.folder)
    assert end["reason"] == "scratch_mongod_failed"
    assert "not found" in end["message"]
    assert_nothing_left(machine)


@pytest.mark.parametrize("taken", [1, 3], ids=["once", "always"])
@pytest.mark.long
def test_another_port_is_tried_when_a_program_has_taken_it(machine: Engine, data: Data, taken: int) -> None:
    with mongo_double.serving(lambda _request: b"") as port:
        end = scratch(
            machine,
            COUNT,
            before=f"""& (Get-Module -Name 'NodeMongod') {{
                $script:asked = 0
                function script:Get-FreePort {{
                    $script:asked++
                    if ($script:asked -le {taken}) {{ {port} }} else {{ {alteryx_install.free_port()} }}
                }}
            }}""",
        )
    if taken == 1:
        assert end["answer"] == data.counts
    else:
        assert "ended with code 48" in end["message"]
    assert_nothing_left(machine)


@pytest.mark.long
def test_a_program_that_is_not_there_is_named(machine: Engine, data: Data) -> None:
    end = scratch(machine, COUNT, program=r"C:\none\mongod.exe")
    assert end["reason"] == "scratch_mongod_failed"
    assert r"C:\none\mongod.exe cannot be started" in end["message"]
    assert_nothing_left(machine)


@pytest.mark.long
def test_what_the_action_throws_passes_and_the_folder_is_closed(machine: Engine, data: Data) -> None:
    end = scratch(machine, "throw (New-NodeFailure -Reason 'database_differs' -Message 'it differs')")
    assert (end["reason"], end["message"]) == ("database_differs", "it differs")
    assert_nothing_left(machine)
    assert (data.folder / "mongod.lock").read_bytes() == b""


CANCEL = "throw (New-NodeFailure -Reason 'job_died' -Message 'cancelled')"


@pytest.mark.parametrize(
    ("when", "action"),
    [
        ("$count.ticks -eq 2", COUNT),
        # While the client waits for an answer: nothing else ticks in the action.
        ("$count.in -and $count.ticks -gt $count.in", f"$count.in = $count.ticks; while (1) {{ {COUNT} }}"),
    ],
    ids=["start", "action"],
)  # fmt: skip
@pytest.mark.long
def test_what_a_tick_throws_passes_and_ends_the_mongod(machine: Engine, data: Data, when: str, action: str) -> None:
    end = scratch(machine, action, tick=f"if ({when}) {{ {CANCEL} }}")
    assert (end["reason"], end["message"]) == ("job_died", "cancelled")
    assert_nothing_left(machine)


KILL = """
foreach ($entry in [AlteryxOps.ProcessTable]::ReadHeld()) {
    $null = [AlteryxOps.ProcessTable]::Finish($entry.Id, $entry.Birth, 5000)
}
"""


@pytest.mark.long
def test_a_mongod_that_ends_during_use_is_reported_as_its_failure(machine: Engine, data: Data) -> None:
    end = scratch(machine, KILL + COUNT)
    assert end["reason"] == "scratch_mongod_failed"
    assert "ended with code 1 while it was in use" in end["message"]
    assert_nothing_left(machine)


# A mongod that does not hear that it is to end.
DEAF = "& (Get-Module -Name 'NodeMongod') { function script:Request-MongodEnd { param([hashtable] $Scratch) } }"


@pytest.mark.parametrize(
    ("options", "before", "words"),
    [("-StartSeconds -1", "", "was not ready within -1 s"), ("-StopSeconds 1", DEAF, "did not end within 1 s")],
    ids=["start", "stop"],
)
@pytest.mark.long
def test_a_mongod_that_is_too_slow_is_ended(machine: Engine, data: Data, options: str, before: str, words: str) -> None:
    end = scratch(machine, COUNT, options=options, before=before)
    assert end["reason"] == "scratch_mongod_failed"
    assert words in end["message"]
    assert_nothing_left(machine)


@pytest.mark.long
def test_a_mongod_dies_with_its_job_and_the_next_one_removes_what_it_left(machine: Engine, data: Data) -> None:
    with pytest.raises(EngineError):
        scratch(machine, "[Diagnostics.Process]::GetCurrentProcess().Kill()")
    deadline = time.monotonic() + 20
    while servers() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert servers() == []
    assert machine.path(KEY).exists()
    old = machine.path(KEY).read_text(encoding="ascii")
    assert scratch(machine, f"[IO.File]::ReadAllText('{KEY}') -ceq '{old}'")["answer"] is False
    assert_nothing_left(machine)


def compared(machine: Engine, expected: dict[str, int], found: dict[str, int]) -> list[str]:
    """What Compare-DocumentCount says of two tables."""
    script = f"""$tables = @(foreach ($text in '{json.dumps(expected)}', '{json.dumps(found)}') {{
        $table = New-Object System.Collections.Hashtable ([StringComparer]::Ordinal)
        foreach ($match in [regex]::Matches($text, '"([^"]+)": (\\d+)')) {{
            $table[$match.Groups[1].Value] = [long]$match.Groups[2].Value
        }}
        $table
    }})
    ConvertTo-NodeJson -InputObject @(Compare-DocumentCount -Expected $tables[0] -Found $tables[1])
    """
    texts: list[str] = json.loads(machine.run(script))
    return texts


def test_what_differs_between_two_counts_is_said(machine: Engine) -> None:
    assert compared(machine, {"a.b": 1, "a.B": 2}, {"a.b": 1, "a.B": 2}) == []
    assert compared(machine, {}, {}) == []
    assert compared(machine, {"a.b": 1, "a.B": 2, "a.c": 0}, {"a.b": 1, "a.B": 3, "a.d": 4}) == [
        "a.B has 3 documents; 2 were expected",
        "a.c is missing; 0 documents were expected",
        "a.d was not expected; it has 4 documents",
    ]
    many = compared(machine, {f"a.{number:02}": 1 for number in range(25)}, {})
    assert many[0] == "a.00 is missing; 1 documents were expected"
    assert many[-1] == "and 5 more differences"
    assert len(many) == 21


@pytest.mark.long
def test_nobody_without_the_key_gets_in_from_the_first_moment_on(machine: Engine, data: Data) -> None:
    seen: list[str] = []
    with strangers(seen):
        # The strangers have ten seconds beside the action, and all of the start and the end.
        end = scratch(machine, f"Start-Sleep -Seconds 10; {COUNT}")
    assert end["answer"] == data.counts
    assert set(seen) == {"refused", "allowed to greet"}
    assert seen.count("refused") > 5


@contextmanager
def strangers(seen: list[str]) -> Iterator[None]:
    """A client that tries to connect to a scratch server all the time, from before its port is open."""
    over = threading.Event()

    def knock() -> None:
        while not over.is_set():
            for words in servers():
                seen.extend(break_in(int(words[words.index("--port") + 1])))
            over.wait(0.01)

    thread = threading.Thread(target=knock)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def break_in(port: int) -> list[str]:
    """What a stranger achieves; nothing while the port is closed."""
    achieved = []
    logins: tuple[dict[str, Any], ...] = (
        {},
        {"username": "__system", "password": "x" * 128, "authSource": "local"},
        {"username": "root", "password": "root"},
    )
    for login in logins:
        client: MongoClient[dict[str, Any]]
        with MongoClient(
            "127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=300, retryReads=False, **login
        ) as client:
            for database, command in (
                ("admin", {"listDatabases": 1}),
                ("AlteryxGallery", {"find": "users"}),
                ("admin", {"createUser": "me", "pwd": "me", "roles": ["root"]}),
                ("admin", {"shutdown": 1}),
            ):
                try:
                    client[database].command(command)
                    achieved.append(f"{command}")
                except OperationFailure:
                    achieved.append("refused")
                except PyMongoError:
                    break
            if not login:
                with suppress(PyMongoError):
                    client["admin"].command("hello")
                    achieved.append("allowed to greet")
    return achieved

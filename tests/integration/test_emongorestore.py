# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The double of emongorestore: a whole restore by real tools, and each way in which it can be told to go wrong.

A misbehaviour that does not do what its name says would let the tests of the restore pass for nothing.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults import watch
from tests.lab import alteryx_install, layout, wine_node
from tests.lab.node import Node

from . import restore_scene as scene
from .kinds import wine_only
from .lab_of_tests import Lab

pytestmark = [wine_only, pytest.mark.timeout(900)]

SERVICE_EXE = rf"{alteryx_install.BIN}\AlteryxService.exe"
HOME = r"D:\emongorestore"
WORDS = re.compile(r"(\d+) document\(s\) restored successfully\. 0 document\(s\) failed to restore\.")


@dataclass(frozen=True)
class Verb:
    """A call of AlteryxService.exe that has ended."""

    code: int
    output: str


@dataclass(frozen=True)
class Dump:
    """A node whose service is stopped, and a dump of its database."""

    node: Node
    golden: scene.GoldenState

    @property
    def log(self) -> Path:
        """mongoRestore.log."""
        return self.node.path(rf"{HOME}\mongoRestore.log")

    def target(self, name: str) -> str:
        """An empty folder to restore into."""
        path = rf"{HOME}\{name}"
        self.node.path(path).mkdir()
        return path

    def restore(self, target: str, source: str = rf"{HOME}\dump", more: str = "") -> Verb:
        """Run emongorestore to its end."""
        process, printed = self.begin(target, source, more)
        return Verb(process.wait(180), printed.read_text(encoding="utf-8"))

    def begin(self, target: str, source: str = rf"{HOME}\dump", more: str = "") -> tuple[subprocess.Popen[bytes], Path]:
        """Start emongorestore; what it prints goes to a file, which a mongod.exe that continues to run may keep
        open."""
        return start(self.node, f"emongorestore={source},{target}{more}")

    def documents(self, target: str) -> int:
        """How many documents a restored folder holds."""
        collections, _users = scene.read_data_folder(self.node, target)
        return sum(one.documents for one in collections.values())

    def lost(self, target: str) -> set[str]:
        """Collections that are not as in the database that was dumped."""
        collections, users = scene.read_data_folder(self.node, target)
        assert users == self.golden.users
        golden = self.golden.collections
        return {name for name in golden.keys() | collections.keys() if golden.get(name) != collections.get(name)}


def start(node: Node, verb: str) -> tuple[subprocess.Popen[bytes], Path]:
    """Start AlteryxService.exe with a verb."""
    printed = Path(tempfile.mkstemp(dir=node.path(HOME), suffix=".txt")[1])
    with printed.open("wb") as stream:
        process = subprocess.Popen(
            wine_node.wine_command(node.folder, SERVICE_EXE, verb),
            env=wine_node.environment(node.folder),
            cwd=layout.drive(node.folder, "c"),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.DEVNULL,
        )
    return process, printed


@pytest.fixture(scope="module")
def dump(lab: Lab) -> Iterator[Dump]:
    """A dump of the lab's database; the service is stopped as long as there are tests here."""
    golden = scene.take_golden_state(lab.node)
    lab.node.path(HOME).mkdir()
    lab.node.path(rf"{HOME}\dump").mkdir()
    scene.stop_service(lab.node)
    process, printed = start(lab.node, rf"emongodump={HOME}\dump")
    assert process.wait(180) == 0, printed.read_text(encoding="utf-8")
    yield Dump(lab.node, golden)
    lab.recover()
    shutil.rmtree(lab.node.path(HOME))


@pytest.fixture(autouse=True)
def no_mongod(dump: Dump) -> Iterator[None]:
    """The node behaves afterwards, and no mongod.exe is left."""
    dump.log.unlink(missing_ok=True)
    yield
    dump.node.behave()
    watch.signal_processes(dump.node, scene.RESTORE, signal.SIGKILL)
    watch.signal_processes(dump.node, "mongod.exe", signal.SIGKILL)
    watch.until(lambda: not watch.host_processes(dump.node, "mongod.exe"), 30, "the end of mongod.exe")


def expected(dump: Dump) -> int:
    """The documents of the database that was dumped."""
    return sum(one.documents for one in dump.golden.collections.values())


@pytest.mark.long
def test_a_whole_restore_has_every_document_index_and_user_and_says_so(dump: Dump) -> None:
    target = dump.target("whole")
    verb = dump.restore(target, more=",100")
    assert verb.code == 0
    assert [int(count) for count in WORDS.findall(verb.output)] == [expected(dump)]
    assert dump.log.read_bytes().decode().replace("\r", "") == verb.output.replace("\r", "")
    assert dump.lost(target) == set()


@pytest.mark.long
def test_what_it_cannot_do_it_refuses_with_exit_code_0(dump: Dump) -> None:
    empty, full = dump.target("empty"), rf"{HOME}\dump"
    for arguments, why in (
        ((empty, empty, ""), "the source must be a folder of mongodump"),
        ((empty, rf"{HOME}\absent", ""), "the source must be a folder of mongodump"),
        ((full, full, ""), "the target must be an empty folder"),
        ((rf"{HOME}\absent", full, ""), "the target must be an empty folder"),
        # A comma ends a path: the rest is taken for a batch size, and a blank one for no path.
        ((rf"{HOME}\a,b", full, ""), "expected <source>,<target>[,<batch size>]"),
        ((empty, full, ",0"), "expected <source>,<target>[,<batch size>]"),
        (("", full, ""), "expected <source>,<target>[,<batch size>]"),
    ):
        assert dump.restore(*arguments) == Verb(0, f"EMongoRestore failed: {why}\n")
    assert not list(dump.node.path(empty).iterdir())
    assert not dump.node.path(rf"{HOME}\absent").exists()


@pytest.mark.long
@pytest.mark.parametrize(
    ("behaviour", "lost"),
    [
        ("partial", {"apiNonces", "appInfos", "collections", "dataConnections", "locks", "users"}),
        ("fewer", {"AS_Queue"}),
    ],
)
def test_what_is_lost_is_counted_as_restored(dump: Dump, behaviour: str, lost: set[str]) -> None:
    target = dump.target(behaviour)
    dump.node.behave(emongorestore=behaviour)
    verb = dump.restore(target)
    assert verb.code == 0
    assert [int(count) for count in WORDS.findall(verb.output)] == [expected(dump)]
    assert {name.partition(".")[2] for name in dump.lost(target)} == lost


@pytest.mark.long
@pytest.mark.parametrize("behaviour", ["words_fail", "exit2", "silent", "log_only"])
def test_a_whole_restore_can_look_like_a_failure(dump: Dump, behaviour: str) -> None:
    target = dump.target(behaviour)
    dump.node.behave(emongorestore=behaviour, emongorestore_delay_ms="100")
    verb = dump.restore(target)
    assert verb.code == (2 if behaviour == "exit2" else 0)
    assert ("\nFailed: " in verb.output) == (behaviour == "words_fail")
    assert (verb.output == "") == (behaviour in ("silent", "log_only"))
    assert dump.log.exists() == (behaviour != "silent")
    assert behaviour == "silent" or len(WORDS.findall(dump.log.read_text(encoding="utf-8"))) == 1
    assert dump.lost(target) == set()


@pytest.mark.long
@pytest.mark.parametrize("behaviour", ["fail", "leak"])
def test_a_failure_leaves_one_database_and_exit_code_0(dump: Dump, behaviour: str) -> None:
    target = dump.target(behaviour)
    dump.node.behave(emongorestore=behaviour)
    verb = dump.restore(target)
    assert verb.code == 0
    assert "EMongoRestore failed" in verb.output
    assert ("Failed: can't create session: mongodb://user:" in verb.output) == (behaviour == "leak")
    assert {name.partition(".")[0] for name in dump.lost(target)} == {"AlteryxGallery", "AlteryxGallery_Lucene"}


@pytest.mark.long
def test_nothing_is_done_with_exit_code_1(dump: Dump) -> None:
    target = dump.target("exit1")
    dump.node.behave(emongorestore="exit1")
    assert dump.restore(target) == Verb(1, "")
    assert not list(dump.node.path(target).iterdir())


@pytest.mark.long
def test_a_whole_restore_can_go_into_another_folder(dump: Dump) -> None:
    target = dump.target("wrong")
    dump.node.behave(emongorestore="wrong_target")
    verb = dump.restore(target)
    assert len(WORDS.findall(verb.output)) == 1
    assert not list(dump.node.path(target).iterdir())
    (elsewhere,) = dump.node.path(HOME).glob("elsewhere_*")
    assert dump.documents(rf"{HOME}\{elsewhere.name}") == expected(dump)


@pytest.mark.long
@pytest.mark.parametrize(("behaviour", "databases"), [("hang", 0), ("hang_half", 1)])
def test_it_hangs_until_it_is_ended_or_told_to_go_on(dump: Dump, behaviour: str, databases: int) -> None:
    target = dump.target(behaviour)
    dump.node.behave(emongorestore=behaviour)
    process, printed = dump.begin(target)
    watch.until(dump.log.exists, 120, "the log")
    watch.until(lambda: len(WORDS.findall(printed.read_text(encoding="utf-8"))) == databases, 120, "a database")
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(3)
    dump.node.behave()
    assert process.wait(180) == 0
    assert dump.lost(target) == set()


@pytest.mark.long
@pytest.mark.parametrize(("behaviour", "code"), [("die_half", 3), ("leave_mongod", 0)])
def test_its_mongod_lives_on(dump: Dump, behaviour: str, code: int) -> None:
    target = dump.target(behaviour)
    dump.node.behave(emongorestore=behaviour)
    verb = dump.restore(target)
    assert (verb.code, len(WORDS.findall(verb.output))) == (code, 1)
    assert rf'"{target}"' in "".join(
        process.command_line for process in dump.node.processes() if process.name == "mongod.exe"
    )
    watch.signal_processes(dump.node, "mongod.exe", signal.SIGKILL)
    watch.until(lambda: not watch.host_processes(dump.node, "mongod.exe"), 30, "the end of mongod.exe")
    if behaviour == "leave_mongod":
        assert dump.lost(target) == set()
    else:
        assert 0 < dump.documents(target) < expected(dump)

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The archive job: what it writes opens everywhere, and what it cannot vouch for is not published."""

from __future__ import annotations

import contextlib
import datetime
import gzip
import hashlib
import os
import random
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import bson
import pytest

from tests import nightly
from tests.node import archives
from tests.node.archives import Staged
from tests.node.engine import Engine, JobEnd, watching

pytestmark = pytest.mark.wine
FINAL = ["Backup.manifest.json", "Backup.secrets.pem", "Backup.sha256", "Backup.zip"]
LONG = "/".join(("d" * 100, "e" * 100, "f" * 100, "long.txt"))
ODD = [
    "größe €.txt",
    "日本語.txt",
    "\U0001f600.txt",
    "a space (and) & more's.txt",
    "[brackets].txt",
    "100%.txt",
    "%2F.txt",
    ".hidden",
    "no ending",
    LONG,
]


def documents(count: int) -> bytes:
    return b"".join(bson.encode({"_id": number, "text": "x" * (number % 50)}) for number in range(count))


@pytest.fixture
def staged(engine: Engine) -> Staged:
    return Staged(engine)


@pytest.fixture(scope="module")
def mixed(engine: Engine) -> tuple[Staged, JobEnd]:
    """An archive of a bit of everything."""
    chance = random.Random(5)
    case = Staged(engine)
    for number in range(300):
        case.put(f"many/{number % 7}/{number}.txt", b"line %d\n" % number * (number * 13 % 400))
    for name in ODD:
        case.put(f"odd/{name}", name.encode())
    case.put("empty/compressed.txt", b"")
    case.put("empty/stored.gz", b"")
    case.put("sizes/random.gz", chance.randbytes(200_000))
    for size in (1, 65_535, 65_536, 524_287, 524_288, 524_289, 3_000_000):
        case.put(f"sizes/{size}.bin", chance.randbytes(1000) * (size // 1000) + b"e" * (size % 1000))
        case.put(f"sizes/{size}.zip", b"s" * size)
    os.utime(case.put("times/old.txt", b"old"), (86_400, 86_400))
    os.utime(case.put("times/known.txt", b"known"), (1_700_000_001, 1_700_000_001))
    case.put("database/A/users.bson", documents(50))
    case.put("database/A/users.metadata.json", b"{}")
    case.put("database/A/packed.bson.gz", gzip.compress(documents(30_000)))
    case.put("database/A/none.bson", b"")
    case.put("database/A/odd%2Fname.bson", documents(3))
    case.put("database/prelude.json", b"{}")
    case.engine.path(rf"D:\{case.name}\secrets.pem").write_text("-----BEGIN CMS-----\n", encoding="ascii")
    said = {"A.users": 50, "A.packed": 30_000, "A.none": 0, "A.gone": 0}
    end = case.write(reported=said, secrets_file=rf"D:\{case.name}\secrets.pem")
    assert end.result["state"] == "succeeded", end.result
    return case, end


def test_every_reader_takes_it(mixed: tuple[Staged, JobEnd]) -> None:
    assert archives.readers_complaints(mixed[0].archive) == {}


def test_it_holds_every_file_once_as_manifest_and_disk_say(mixed: tuple[Staged, JobEnd]) -> None:
    case, end = mixed
    on_disk = {str(file.relative_to(case.files)): file.read_bytes() for file in case.files.rglob("*") if file.is_file()}
    expected = {name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in on_disk.items()}
    assert archives.python_contents(case.archive) == expected
    manifest = case.manifest()
    assert {entry["path"]: (entry["bytes"], entry["sha256"]) for entry in manifest["files"]} == expected
    total = sum(map(len, on_disk.values()))
    assert (
        (manifest["file_count"], manifest["file_bytes"])
        == (len(on_disk), total)
        == (end.result["file_count"], end.result["file_bytes"])
    )


def test_the_files_beside_it_belong_to_it_and_nothing_else_is_there(mixed: tuple[Staged, JobEnd]) -> None:
    case, end = mixed
    assert case.published() == FINAL
    with zipfile.ZipFile(case.archive) as opened:
        assert opened.read(archives.MANIFEST) == (case.folder / "Backup.manifest.json").read_bytes()
    sums = {
        name: hashlib.sha256((case.folder / name).read_bytes()).hexdigest()
        for name in FINAL
        if not name.endswith(".sha256")
    }
    lines = (case.folder / "Backup.sha256").read_text(encoding="ascii").splitlines()
    assert {name: digest for digest, name in (line.split(" *") for line in lines)} == sums
    assert (end.result["archive_sha256"], end.result["archive_bytes"]) == (
        sums["Backup.zip"],
        case.archive.stat().st_size,
    )
    assert [entry.name for entry in case.files.parent.iterdir()] == ["files"]


def test_times_are_kept_and_those_before_1980_become_1980(mixed: tuple[Staged, JobEnd]) -> None:
    case, _unused = mixed
    with zipfile.ZipFile(case.archive) as opened:
        assert opened.getinfo("times/old.txt").date_time == (1980, 1, 1, 0, 0, 0)
        local = time.localtime(1_700_000_001)
        assert opened.getinfo("times/known.txt").date_time == (*local[:5], local.tm_sec // 2 * 2)
    modified = {entry["path"]: entry["modified"] for entry in case.manifest()["files"]}
    assert modified["times/old.txt"] == "1970-01-02T00:00:00.000Z"
    assert modified["times/known.txt"] == "2023-11-14T22:13:21.000Z"


def test_what_is_packed_already_is_stored_and_the_rest_is_not(mixed: tuple[Staged, JobEnd]) -> None:
    with zipfile.ZipFile(mixed[0].archive) as opened:
        assert opened.getinfo("sizes/3000000.zip").compress_size > 3_000_000
        assert opened.getinfo("sizes/3000000.bin").compress_size < 100_000


def test_collections_are_counted_document_by_document(mixed: tuple[Staged, JobEnd]) -> None:
    case, end = mixed
    expected = {("A.none", 0, 0), ("A.odd/name", 3, None), ("A.packed", 30_000, 30_000), ("A.users", 50, 50)}
    for collections in (end.result["collections"], case.manifest()["database"]["collections"]):
        assert {(found["namespace"], found["documents"], found["reported"]) for found in collections} == expected
    size = {found["namespace"]: found["bytes"] for found in end.result["collections"]}
    assert size["A.packed"] == (case.files / "database/A/packed.bson.gz").stat().st_size


@pytest.mark.parametrize(
    ("name", "content", "said", "message"),
    nightly.after_first(
        [
            (
                "users.bson",
                documents(50),
                {"A.users": 51},
                "A.users: the dump tool reported 51 documents, but database/A/users.bson holds 50",
            ),
            ("users.bson", documents(50)[:-1], {"A.users": 50}, "A.users: database/A/users.bson is damaged: byte"),
            ("users.bson.gz", gzip.compress(documents(50))[:-20], {"A.users": 50}, "A.users: "),
            (
                "users.bson.gz",
                b"no gzip at all",
                {"A.users": 50},
                "A.users: database/A/users.bson.gz is not a valid gzip file",
            ),
            (
                "users.bson",
                documents(50),
                {"A.users": 50, "A.Users": 1},
                "A.Users: the dump tool reported 1 documents, but the dump has no file for it",
            ),
        ]
    ),
    ids=["count", "document", "gzip cut", "no gzip", "no file"],
)
def test_a_dump_that_is_not_whole_is_not_archived(
    staged: Staged, name: str, content: bytes, said: dict[str, int], message: str
) -> None:
    staged.put(f"database/A/{name}", content)
    end = staged.write(reported=said)
    assert (end.result["state"], end.result["reason"]) == ("failed", "dump_incomplete"), end.result
    assert end.result["msg"].startswith(message)
    assert staged.published() == []


@pytest.mark.parametrize("ending", nightly.after_first(["zip", "sha256", "zip.partial"]))
def test_no_existing_file_is_touched(staged: Staged, ending: str) -> None:
    staged.put("a.txt", b"a")
    staged.folder.mkdir(parents=True)
    (staged.folder / f"Backup.{ending}").write_bytes(b"mine")
    end = staged.write()
    assert end.result["reason"] == ("archive_failed" if ending == "zip.partial" else "archive_exists")
    assert staged.published() == [f"Backup.{ending}"]
    assert (staged.folder / f"Backup.{ending}").read_bytes() == b"mine"


@pytest.mark.parametrize(
    "make", [lambda files: files.write_bytes(b"a file"), lambda files: None], ids=["file", "absent"]
)
@pytest.mark.long
def test_a_source_that_is_no_folder_is_refused(staged: Staged, make: Callable[[Path], object]) -> None:
    staged.files.parent.mkdir(parents=True)
    make(staged.files)
    end = staged.write()
    assert (end.result["reason"], staged.published()) == ("folder_invalid", [])
    assert "is no folder" in end.result["msg"]


@pytest.mark.long
def test_an_archive_folder_that_is_a_file_is_a_failure_of_storage(staged: Staged) -> None:
    staged.put("a.txt", b"a")
    staged.folder.write_bytes(b"a file")
    assert staged.write().result["reason"] == "archive_failed"
    assert staged.folder.read_bytes() == b"a file"


def test_a_full_disk_is_a_storage_failure_and_leaves_no_files(staged: Staged) -> None:
    staged.put("a.zip", random.Random(1).randbytes(6_000_000))
    end = staged.write(under=("env", "--ignore-signal=XFSZ", "prlimit", "--fsize=4000000"))
    assert (end.result["state"], end.result["reason"]) == ("failed", "archive_failed"), end.result
    assert staged.published() == []


def readme(version: int) -> str:
    return archives.README.replace("version 7", f"version {version}")


@pytest.mark.parametrize(
    ("there", "after"),
    [
        (None, readme(7)),
        (readme(6), readme(7)),
        (readme(7) + "a note of the operator", readme(7) + "a note of the operator"),
        (readme(8), readme(8)),
        ("a text of the operator", "a text of the operator"),
    ],
    ids=["none", "older", "same", "newer", "foreign"],
)
@pytest.mark.long
def test_the_folder_says_what_is_in_it_and_only_an_older_text_of_ours_is_replaced(
    staged: Staged, there: str | None, after: str
) -> None:
    staged.put("a.txt", b"a")
    if there is not None:
        staged.folder.mkdir(parents=True)
        staged.readme.write_bytes(there.encode())
    assert staged.write().result["state"] == "succeeded"
    assert staged.readme.read_bytes() == after.encode()
    assert staged.published() == ["Backup.manifest.json", "Backup.sha256", "Backup.zip"]


@pytest.mark.long
def test_a_text_that_cannot_be_written_is_a_warning(staged: Staged) -> None:
    staged.put("a.txt", b"a")
    staged.readme.mkdir(parents=True)
    end = staged.write()
    assert end.result["state"] == "succeeded", end.result
    (warning,) = [event["text"] for event in end.result["events"] if event["level"] == "WARNING"]
    assert rf"D:\{staged.name}\archives\README.txt was not written: " in warning


@pytest.mark.long
def test_the_manifest_names_the_versions_that_the_dump_itself_tells(staged: Staged) -> None:
    template = archives.TEMPLATE.replace(
        '"file_count"',
        '"ended": "@@ended@@", "versions": ["@@mongodb_version@@", "@@tool_version@@"], "file_count"',
    )
    staged.put("database/prelude.json", b'{"ServerVersion": "4.2.8", "ToolVersion": "100.12.1"}')
    begun = time.time()
    assert staged.write(manifest=template, mongodb_folder=r"C:\nowhere").result["state"] == "succeeded"
    manifest = staged.manifest()
    assert manifest["versions"] == ["4.2.8", "100.12.1"]
    ended = datetime.datetime.fromisoformat(manifest["ended"])
    assert begun - 2 <= ended.timestamp() <= time.time() + 2


@pytest.mark.parametrize("prelude", [b"not JSON", b"{}", None])
@pytest.mark.long
def test_versions_that_are_not_to_be_had_are_empty(staged: Staged, prelude: bytes | None) -> None:
    template = archives.TEMPLATE.replace(
        '"file_count"', '"versions": ["@@mongodb_version@@", "@@tool_version@@"], "file_count"'
    )
    staged.put("a.txt", b"a")
    if prelude is not None:
        staged.put("database/prelude.json", prelude)
    assert staged.write(manifest=template, mongodb_folder=r"C:\nowhere").result["state"] == "succeeded"
    assert staged.manifest()["versions"] == ["", ""]


@contextlib.contextmanager
def while_archiving(staged: Staged, act: Callable[[], object], told: int = 0) -> Iterator[set[int]]:
    """Act once the job reads, and has told progress so many times; it has a big file to read
    first. Gives what it told."""
    seen = set[int]()

    def act_when_told() -> bool:
        status = staged.status()
        if status.get("phase") != "archive":
            return False
        seen.update({status["done_bytes"]} - {0})
        if len(seen) < told:
            return False
        act()
        return True

    with watching(act_when_told):
        yield seen


def put_big_file_first(staged: Staged, size: int = 150_000_000) -> Path:
    return staged.put_sparse("a-big.zip", size)


@pytest.mark.reaches("file_vanished")
@pytest.mark.long
def test_a_file_that_vanishes_is_named(staged: Staged) -> None:
    put_big_file_first(staged)
    victim = staged.put("victim.txt", b"x" * 1000)
    with while_archiving(staged, victim.unlink):
        end = staged.write(on_change="reread")
    assert (end.result["reason"], staged.published()) == ("file_vanished", [])
    assert rf"D:\{staged.name}\staging\files\victim.txt was there and is gone" in end.result["msg"]


@pytest.mark.reaches("file_unreadable")
@pytest.mark.long
def test_a_file_that_cannot_be_opened_is_named(staged: Staged) -> None:
    put_big_file_first(staged)
    victim = staged.put("victim.txt", b"x" * 1000)

    def turn_into_folder() -> None:  # which Windows answers with "access denied", as it does to who lacks the rights
        victim.unlink()
        victim.mkdir()

    with while_archiving(staged, turn_into_folder):
        end = staged.write()
    assert (end.result["reason"], staged.published()) == ("file_unreadable", [])
    assert rf"D:\{staged.name}\staging\files\victim.txt cannot be opened" in end.result["msg"]


@pytest.mark.parametrize(
    ("path", "on_change", "published"),
    [("victim.txt", "fail", False), ("victim.txt", "reread", True), ("database/A/victim.bson", "reread", False)],
)
@pytest.mark.long
def test_a_file_that_changes_fails_unless_it_may_be_read_again(
    staged: Staged, path: str, on_change: str, published: bool
) -> None:
    size = put_big_file_first(staged).stat().st_size
    victim = staged.put(path, documents(10))
    with while_archiving(staged, lambda: victim.write_bytes(documents(11))):
        end = staged.write(on_change=on_change)
    if published:
        assert end.result["state"] == "succeeded", end.result
        assert archives.python_contents(staged.archive)[path] == (
            len(documents(11)),
            hashlib.sha256(documents(11)).hexdigest(),
        )
        assert staged.manifest()["file_bytes"] == size + len(documents(11))
    else:
        assert end.result["reason"] == "file_changed"
        assert f"victim{victim.suffix} changed before it was read" in end.result["msg"]
        assert staged.published() == []


@pytest.mark.reaches("file_changed")
@pytest.mark.long
def test_progress_is_told_within_a_file_and_one_that_grows_meanwhile_is_named(staged: Staged) -> None:
    big = put_big_file_first(staged, 500_000_000)

    def grow() -> None:
        with big.open("ab") as stream:
            stream.write(b"more")

    with while_archiving(staged, grow, told=2) as seen:
        end = staged.write()
    assert (end.result["reason"], staged.published()) == ("file_changed", [])
    assert "a-big.zip changed while it was read: 500000000 bytes before" in end.result["msg"]
    assert len(seen) == 2
    assert max(seen) < 500_000_000

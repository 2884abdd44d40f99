# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verification: what the archive job writes is good; whatever was done to it afterwards is found and named."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import shutil
import zipfile
from collections.abc import Callable

import bson
import pytest

from tests import nightly
from tests.node.archives import MANIFEST, Staged
from tests.node.engine import Engine, JobEnd

pytestmark = pytest.mark.wine


def documents(count: int) -> bytes:
    return b"".join(bson.encode({"_id": number, "text": "x" * (number % 50)}) for number in range(count))


@pytest.fixture(scope="module")
def good(engine: Engine) -> Staged:
    """An archive that is never changed; tests take copies of it."""
    case = Staged(engine)
    case.put("database/A/users.bson", documents(50))
    case.put("database/A/packed.bson.gz", gzip.compress(documents(3000)))
    case.put("configuration/größe €.txt", b"some text\n" * 100)
    case.put("configuration/stored.zip", random.Random(1).randbytes(5000))
    case.put("configuration/empty.txt", b"")
    end = case.write(reported={"A.users": 50, "A.packed": 3000})
    assert end.result["state"] == "succeeded", end.result
    return case


@pytest.fixture
def copy(engine: Engine, good: Staged) -> Staged:
    case = Staged(engine)
    shutil.copytree(good.folder, case.folder)
    return case


def resum(case: Staged) -> None:
    """Write the .sha256 file anew, as who changes an archive on purpose would."""
    lines = [
        f"{hashlib.sha256((case.folder / name).read_bytes()).hexdigest()} *{name}\n"
        for name in ("Backup.zip", "Backup.manifest.json")
    ]
    (case.folder / "Backup.sha256").write_text("".join(lines), encoding="ascii")


def verdict(case: Staged) -> dict[str, object]:
    content: dict[str, object] = json.loads((case.folder / "Backup.verify_1.json").read_text(encoding="utf-8"))
    return content


def assert_bad(case: Staged, end: JobEnd, *said: str) -> None:
    assert (end.result["state"], end.result["reason"]) == ("failed", "archive_bad"), end.result
    assert verdict(case)["verdict"] == "bad"
    for words in said:
        assert words in end.result["msg"]


def rebuild(case: Staged, change: Callable[[dict[str, bytes]], list[tuple[str, bytes]]]) -> None:
    """The archive with other entries, made by another tool. The manifest beside it and the .sha256 file match it."""
    with zipfile.ZipFile(case.archive) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    changed = change(entries)
    with zipfile.ZipFile(case.archive, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in changed:
            entry = zipfile.ZipInfo(name)
            entry.compress_type, entry.create_system, entry.create_version, entry.external_attr = (
                zipfile.ZIP_DEFLATED,
                3,
                45,
                0o100644 << 16,
            )
            archive.writestr(entry, content)
    (case.folder / "Backup.manifest.json").write_bytes(dict(changed).get(MANIFEST, b""))
    resum(case)


def test_what_the_archive_job_writes_is_good(copy: Staged) -> None:
    end = copy.verify()
    assert end.result["state"] == "succeeded", end.result
    found = verdict(copy)
    assert (found["verdict"], found["entries"], found["collections"], found["documents"], found["problems"]) == (
        "good",
        5,
        2,
        3050,
        [],
    )
    assert found["bytes"] == copy.manifest()["file_bytes"]


@pytest.mark.long
def test_a_verdict_says_of_which_archive_it_is_and_when_it_was_begun(copy: Staged) -> None:
    run = "Full_20260901_020000_7f3a"

    def name_the_run(entries: dict[str, bytes]) -> list[tuple[str, bytes]]:
        manifest = {"run_id": run, **json.loads(entries.pop(MANIFEST))}
        return [*entries.items(), (MANIFEST, json.dumps(manifest).encode())]

    rebuild(copy, name_the_run)
    end = copy.verify(stamp="20260902_030405")
    assert end.result["state"] == "succeeded", end.result
    text = (copy.folder / "Backup.verify_20260902_030405.json").read_text(encoding="utf-8")
    assert text == json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"
    found = json.loads(text)
    assert (found["run_id"], found["started"]) == (run, "2026-09-02T03:04:05.000Z")
    assert found["archive_sha256"] == hashlib.sha256(copy.archive.read_bytes()).hexdigest()
    assert list(found)[:7] == ["schema", "archive", "archive_sha256", "run_id", "started", "verified", "method"]


@pytest.mark.parametrize("told", ["../../somewhere", "x" * 5000, "Full_20260901_020000_7f3a\n"])
@pytest.mark.long
def test_a_verdict_does_not_repeat_what_somebody_has_written_for_the_id_of_a_run(copy: Staged, told: str) -> None:
    def name_the_run(entries: dict[str, bytes]) -> list[tuple[str, bytes]]:
        manifest = {"run_id": told, **json.loads(entries.pop(MANIFEST))}
        return [*entries.items(), (MANIFEST, json.dumps(manifest).encode())]

    rebuild(copy, name_the_run)
    copy.verify()
    assert verdict(copy)["run_id"] == ""


@pytest.mark.reaches("archive_incomplete")
@pytest.mark.long
def test_without_its_completion_marker_it_is_no_archive(copy: Staged) -> None:
    (copy.folder / "Backup.sha256").unlink()
    assert copy.verify().result["reason"] == "archive_incomplete"


def flip(case: Staged) -> None:
    content = bytearray(case.archive.read_bytes())
    content[len(content) // 2] ^= 1
    case.archive.write_bytes(content)


def truncate(case: Staged) -> None:
    case.archive.write_bytes(case.archive.read_bytes()[:-1000])


def splice(case: Staged) -> None:
    content = case.archive.read_bytes()
    case.archive.write_bytes(content[:200] + content[300:])


def prepend(case: Staged) -> None:
    case.archive.write_bytes(b"MZ" + case.archive.read_bytes())


def edit_manifest_beside(case: Staged) -> None:
    beside = case.folder / "Backup.manifest.json"
    beside.write_bytes(beside.read_bytes().replace(b"users", b"userz"))


def lose_manifest_beside(case: Staged) -> None:
    (case.folder / "Backup.manifest.json").unlink()


def lose_archive(case: Staged) -> None:
    case.archive.unlink()


def point_elsewhere(case: Staged) -> None:
    marker = case.folder / "Backup.sha256"
    marker.write_text(marker.read_text(encoding="ascii") + f"{'0' * 64} *..\\other.zip\n", encoding="ascii")


@pytest.mark.parametrize(
    ("damage", "said"),
    nightly.after_first(
        [
            (flip, "SHA-256 in the .sha256 file"),
            (truncate, "SHA-256 in the .sha256 file"),
            (splice, "SHA-256 in the .sha256 file"),
            (prepend, "SHA-256 in the .sha256 file"),
            (edit_manifest_beside, "Backup.manifest.json does not match its SHA-256"),
            (lose_manifest_beside, "Backup.manifest.json is missing"),
            (lose_archive, "it cannot be read"),
            (point_elsewhere, "a line that is not the SHA-256 of a file"),
        ]
    ),
)
def test_damage_is_found(copy: Staged, damage: Callable[[Staged], None], said: str) -> None:
    damage(copy)
    assert_bad(copy, copy.verify(), said)


@pytest.mark.parametrize("damage", [flip, truncate, splice, prepend])
@pytest.mark.long
def test_damage_is_found_by_the_archive_alone(copy: Staged, damage: Callable[[Staged], None]) -> None:
    damage(copy)
    resum(copy)
    assert_bad(copy, copy.verify())


BAD_NAMES = [
    "../up.txt",
    "/absolute.txt",
    "C:/drive.txt",
    "a/..",
    "a\\b.txt",
    "file.txt:stream",
    "NUL",
    "configuration/com1.txt",
    "trailing.",
    "trailing ",
]


@pytest.mark.parametrize("name", nightly.after_first(BAD_NAMES))
def test_an_entry_that_would_leave_the_folder_or_be_another_file_is_bad(copy: Staged, name: str) -> None:
    # Its manifest knows it, so that nothing but the name is wrong.
    def add(entries: dict[str, bytes]) -> list[tuple[str, bytes]]:
        manifest = json.loads(entries.pop(MANIFEST))
        manifest["files"].append({"path": name, "bytes": 1, "sha256": hashlib.sha256(b"x").hexdigest()})
        manifest["file_count"] += 1
        manifest["file_bytes"] += 1
        return [*entries.items(), (name, b"x"), (MANIFEST, json.dumps(manifest).encode())]

    rebuild(copy, add)
    assert_bad(copy, copy.verify(), "name")


@pytest.mark.long
def test_a_name_that_is_there_twice_is_bad(copy: Staged) -> None:
    rebuild(copy, lambda entries: [("configuration/empty.txt", b""), *entries.items()])
    assert_bad(copy, copy.verify(), "configuration/empty.txt")


@pytest.mark.parametrize(
    ("old", "new"),
    nightly.after_first(
        [
            (b'"documents": 50', b'"documents": 51'),
            (b'"bytes": 5000', b'"bytes": 5001'),
            (b"empty.txt", b"other.txt"),
            (b'"schema": 1', b'"schema": 2'),
        ]
    ),
)
def test_an_edited_manifest_is_bad_even_where_all_sums_fit(copy: Staged, old: bytes, new: bytes) -> None:
    def edit(entries: dict[str, bytes]) -> list[tuple[str, bytes]]:
        manifest = entries.pop(MANIFEST)
        compact = json.dumps(json.loads(manifest), ensure_ascii=False).encode()
        assert old in compact
        return [*entries.items(), (MANIFEST, compact.replace(old, new, 1))]

    rebuild(copy, edit)
    assert_bad(copy, copy.verify())


@pytest.mark.long
def test_a_dump_that_breaks_off_is_bad_even_where_manifest_and_sums_fit(copy: Staged) -> None:
    def cut(entries: dict[str, bytes]) -> list[tuple[str, bytes]]:
        manifest = json.loads(entries.pop(MANIFEST))
        content = entries["database/A/users.bson"] = entries["database/A/users.bson"][:-7]
        for file in manifest["files"]:
            if file["path"] == "database/A/users.bson":
                file.update(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        manifest["file_bytes"] -= 7
        return [*entries.items(), (MANIFEST, json.dumps(manifest).encode())]

    rebuild(copy, cut)
    assert_bad(copy, copy.verify(), "users.bson is no sound dump")

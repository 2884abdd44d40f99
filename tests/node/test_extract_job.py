# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Extraction: what an archive holds comes out as it went in; of one that is not good, nothing stays."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests import nightly
from tests.node import test_verify_job as damages
from tests.node.archives import MANIFEST, Staged
from tests.node.engine import JOBS, Engine, JobEnd, denying, watching
from tests.node.process_use import ProcessUse
from tests.node.test_big_archives import MOST_GROWTH
from tests.node.test_cancelled_jobs import assert_cancelled, cancelling

pytestmark = pytest.mark.wine

GIGABYTE = 10**9
NAS, COPIES = r"\\nas1\ayx", r"\\nas1\ayx\prod\node1"
PASSWORD = "Pa55-of+the/share"
MODIFIED = datetime(2021, 3, 4, 5, 6, 7, tzinfo=UTC).timestamp()


@pytest.fixture(scope="module")
def good(engine: Engine) -> Staged:
    """An archive that is never changed; tests take copies of it."""
    case = Staged(engine)
    case.put("database/A/users.bson", damages.documents(50))
    case.put("database/A/packed.bson.gz", gzip.compress(damages.documents(3000)))
    case.put("database/A/users.metadata.json", b"{}")
    os.utime(case.put("configuration/größe €.txt", b"some text\n" * 100), (MODIFIED, MODIFIED))
    # Longer than what .NET Framework takes.
    case.put(f"configuration/{'/'.join(['long' * 15] * 6)}/deep.txt", b"deep")
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


def hashes(folder: Path) -> dict[str, str]:
    """Relative path -> SHA-256 of every file below a folder."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file()
    }


def assert_nothing_left(case: Staged, end: JobEnd, reason: str) -> None:
    assert (end.result["state"], end.result.get("reason")) == ("failed", reason), end.result
    assert not case.extracted.exists()
    assert not list(case.folder.glob("*.verify_*"))


def change_manifest(case: Staged, change: Callable[[dict[str, Any]], None], **more: bytes) -> None:
    """The archive with another manifest and further entries, and a .sha256 file that fits it."""

    def changed(entries: dict[str, bytes]) -> list[tuple[str, bytes]]:
        manifest = json.loads(entries.pop(MANIFEST))
        change(manifest)
        return [*entries.items(), *more.items(), (MANIFEST, json.dumps(manifest).encode())]

    damages.rebuild(case, changed)


def test_a_good_archive_comes_out_as_it_went_in(copy: Staged, good: Staged) -> None:
    end = copy.extract()
    assert end.result["state"] == "succeeded", end.result
    assert hashes(copy.extracted / "files") == hashes(good.files)
    dated = copy.extracted / "files" / "configuration" / "größe €.txt"
    assert dated.stat().st_mtime == pytest.approx(MODIFIED, abs=0.001)
    assert sorted(file.name for file in copy.extracted.iterdir()) == [
        MANIFEST,
        "collections.json",
        "extraction.json",
        "files",
    ]
    assert (copy.extracted / MANIFEST).read_bytes() == (copy.folder / "Backup.manifest.json").read_bytes()
    assert json.loads((copy.extracted / "collections.json").read_bytes()) == {
        "schema": 1,
        "collections": [{"namespace": "A.packed", "documents": 3000}, {"namespace": "A.users", "documents": 50}],
    }
    target = rf"C:\{copy.name}.r\run"
    told = {key: end.result[key] for key in ("target", "database_folder", "configuration_folder", "manifest_file")}
    assert told == {
        "target": target,
        "database_folder": rf"{target}\files\database",
        "configuration_folder": rf"{target}\files\configuration",
        "manifest_file": rf"{target}\{MANIFEST}",
    }
    assert (end.result["entries"], end.result["collections"], end.result["documents"]) == (7, 2, 3050)
    assert end.result["bytes"] == copy.manifest()["file_bytes"]
    assert not list(copy.folder.glob("*.verify_*"))


@pytest.mark.long
def test_what_the_manifest_says_comes_with_the_files(copy: Staged) -> None:
    said = {"run_id": "Full_20260901_020000_7f3a", "fleet": "prod", "mode": "full", "computer": "ALTERYX01"}

    def fill(manifest: dict[str, Any]) -> None:
        manifest.update(said, node="node1", started="2026-09-01T02:00:00.000Z", alteryx_version="2024.1.1.136")
        manifest["database"].update(kind="embedded", mongodb_version="4.2.24", data_folder=r"D:\M,1")
        manifest["configuration"] = [{"id": "a", "source": r"C:\a.xml", "present": True, "files": 1, "bytes": 2}]

    change_manifest(copy, fill)
    end = copy.extract()
    assert end.result["state"] == "succeeded", end.result
    assert {key: end.result[key] for key in said} == said
    assert (end.result["backup_node"], end.result["backup_started"]) == ("node1", "2026-09-01T02:00:00.000Z")
    assert end.result["database"] == {
        "kind": "embedded",
        "mongodb_version": "4.2.24",
        "tool_version": "",
        "method": "",
        "data_folder": r"D:\M,1",
        "bin_folder": "",
    }
    assert end.result["configuration"] == [{"id": "a", "source": r"C:\a.xml", "present": True}]


@pytest.mark.long
def test_an_archive_without_a_dump_has_no_folder_of_one(engine: Engine) -> None:
    case = Staged(engine)
    case.put("configuration/a.txt", b"a")
    assert case.write().result["state"] == "succeeded"
    # As the manifest of a real archive of this mode.
    change_manifest(case, lambda manifest: manifest.update(database=None))
    end = case.extract()
    assert (end.result["state"], end.result["database_folder"], end.result["database"]) == ("succeeded", "", None)


@pytest.mark.parametrize(
    "damage",
    nightly.after_first(
        [
            damages.flip,
            damages.truncate,
            damages.splice,
            damages.prepend,
            damages.edit_manifest_beside,
            damages.lose_manifest_beside,
            damages.lose_archive,
            damages.point_elsewhere,
        ]
    ),
)
@pytest.mark.reaches("archive_bad")
def test_of_a_damaged_archive_nothing_stays(copy: Staged, damage: Callable[[Staged], None]) -> None:
    damage(copy)
    assert_nothing_left(copy, copy.extract(), "archive_bad")


@pytest.mark.parametrize("damage", [damages.flip, damages.splice])
@pytest.mark.long
def test_damage_is_found_by_the_archive_alone(copy: Staged, damage: Callable[[Staged], None]) -> None:
    damage(copy)
    damages.resum(copy)
    assert_nothing_left(copy, copy.extract(), "archive_bad")


@pytest.mark.parametrize("name", nightly.after_first(damages.BAD_NAMES))
def test_an_entry_that_would_leave_the_folder_is_not_written(copy: Staged, name: str) -> None:
    def add(manifest: dict[str, Any]) -> None:
        line = {"path": name, "bytes": 1, "sha256": hashlib.sha256(b"x").hexdigest()}
        manifest["files"].append(line)
        manifest["file_count"] += 1
        manifest["file_bytes"] += 1

    change_manifest(copy, add, **{name: b"x"})
    assert_nothing_left(copy, copy.extract(), "archive_bad")
    escaped = [*copy.extracted.parents[1].rglob("up.txt"), *copy.extracted.parents[1].rglob("absolute.txt")]
    assert escaped == []


@pytest.mark.long
def test_a_dump_that_breaks_off_is_not_extracted(copy: Staged) -> None:
    def cut(entries: dict[str, bytes]) -> list[tuple[str, bytes]]:
        manifest = json.loads(entries.pop(MANIFEST))
        content = entries["database/A/users.bson"] = entries["database/A/users.bson"][:-7]
        for file in manifest["files"]:
            if file["path"] == "database/A/users.bson":
                file.update(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        manifest["file_bytes"] -= 7
        return [*entries.items(), (MANIFEST, json.dumps(manifest).encode())]

    damages.rebuild(copy, cut)
    assert_nothing_left(copy, copy.extract(), "archive_bad")


@pytest.mark.long
def test_without_its_completion_marker_nothing_is_extracted(copy: Staged) -> None:
    (copy.folder / "Backup.sha256").unlink()
    assert_nothing_left(copy, copy.extract(), "archive_incomplete")
    copy.archive.unlink()
    assert_nothing_left(copy, copy.extract(), "backup_unknown")


@pytest.mark.reaches("space_short")
def test_nothing_is_written_where_there_is_no_room(copy: Staged) -> None:
    free = shutil.disk_usage(copy.engine.folder).free
    end = copy.extract(free_reserve=free * 2)
    assert_nothing_left(copy, end, "space_short")
    assert f"{free * 2} are to stay free" in end.result["msg"]


@pytest.mark.reaches("folder_invalid")
@pytest.mark.long
def test_only_a_path_that_the_restore_tool_takes_is_taken(copy: Staged) -> None:
    for target in (r"C:\a b\run", r"C:\a,b\run", r"run", r"\\nas\share\run", r"C:\a\..\run", "C:\\run\\"):
        end = copy.extract(target=target)
        assert (end.result["state"], end.result["reason"]) == ("failed", "folder_invalid"), end.result


@pytest.mark.long
def test_what_an_earlier_extraction_has_left_is_emptied_and_nothing_else(copy: Staged) -> None:
    copy.extracted.mkdir(parents=True)
    assert copy.extract().result["state"] == "succeeded"
    (copy.extracted / "files" / "left.txt").write_bytes(b"left")
    assert copy.extract().result["state"] == "succeeded"
    assert not (copy.extracted / "files" / "left.txt").exists()
    # Without its mark it may be anybody's.
    (copy.extracted / "extraction.json").write_bytes(b'{"tool": "another"}')
    before = hashes(copy.extracted)
    end = copy.extract()
    assert (end.result["state"], end.result["reason"]) == ("failed", "folder_invalid"), end.result
    assert hashes(copy.extracted) == before


@pytest.mark.reaches("folder_untrusted")
@pytest.mark.long
def test_a_link_in_the_path_is_refused(copy: Staged) -> None:
    elsewhere = copy.engine.path(rf"C:\{copy.name}.elsewhere")
    elsewhere.mkdir()
    copy.extracted.parent.symlink_to(elsewhere, target_is_directory=True)
    end = copy.extract()
    assert (end.result["state"], end.result["reason"]) == ("failed", "folder_untrusted"), end.result
    assert list(elsewhere.iterdir()) == []


@pytest.mark.long
def test_a_folder_that_others_may_write_to_is_refused_unless_the_operator_accepts_that(copy: Staged) -> None:
    copy.extracted.parent.mkdir(mode=0o777)
    end = copy.extract(accept_access=False)
    assert (end.result["state"], end.result["reason"]) == ("failed", "folder_untrusted"), end.result
    assert list(copy.extracted.parent.iterdir()) == []


@pytest.mark.reaches("folder_unwritable")
@pytest.mark.long
def test_where_the_drive_takes_no_more_nothing_stays(engine: Engine) -> None:
    case = Staged(engine)
    case.put("a.txt", b"a")
    case.put("b-big.zip", random.Random(3).randbytes(6_000_000))
    assert case.write().result["state"] == "succeeded"
    end = case.extract(under=("env", "--ignore-signal=XFSZ", "prlimit", "--fsize=4000000"))
    # A limit of the host, which Wine does not tell as a full drive.
    assert_nothing_left(case, end, "folder_unwritable")


@pytest.mark.long
def test_free_space_is_looked_at_before_and_while_it_is_written(engine: Engine) -> None:
    script = r"""
Import-NodeType -Name 'ZipReader', 'ManifestReader', 'BsonWalker', 'ArchiveVerifier', 'ArchiveExtractor'
$null = [IO.Directory]::CreateDirectory('C:\filling')
$free = @{ bytes = 1000 }
$extractor = New-Object AlteryxOps.ArchiveExtractor 'C:\filling', 100, ([Func[long]] { $free.bytes })
$entry = New-Object AlteryxOps.ZipRecord
$entry.NameIsGood = $true
$entry.Name = 'big.bin'
$block = New-Object byte[] (32MB)
foreach ($try in { $extractor.Open(900) }, { $extractor.Open(901) }, { $extractor.Begin($entry) },
    { $extractor.Write($block, 0, 32MB) }, { $free.bytes = 99 }, { $extractor.Write($block, 0, 31MB) },
    { $extractor.Write($block, 0, 1MB) }) {
    try { $null = & $try; 'good' }
    catch { (Get-NodeFailure -ErrorRecord $_).reason }
}
$extractor.Dispose()
"""
    assert engine.run(script).split() == ["good", "space_short", "good", "good", "good", "good", "space_short"]


@pytest.mark.long
def test_a_file_that_is_there_already_is_not_overwritten(engine: Engine) -> None:
    script = r"""
Import-NodeType -Name 'ZipReader', 'ManifestReader', 'BsonWalker', 'ArchiveVerifier', 'ArchiveExtractor'
$null = [IO.Directory]::CreateDirectory('C:\exists\files')
[IO.File]::WriteAllText('C:\exists\files\a.txt', 'mine')
$extractor = New-Object AlteryxOps.ArchiveExtractor 'C:\exists', 0, ([Func[long]] { -1 })
$entry = New-Object AlteryxOps.ZipRecord
$entry.NameIsGood = $true
foreach ($name in 'a.txt', 'a.txt/b.txt', '../up.txt', 'NUL') {
    $entry.Name = $name
    try { $extractor.Begin($entry); 'written' }
    catch { (Get-NodeFailure -ErrorRecord $_).reason }
}
[IO.File]::ReadAllText('C:\exists\files\a.txt')
"""
    assert engine.run(script).split() == ["folder_untrusted", "folder_untrusted", "archive_bad", "archive_bad", "mine"]
    assert not engine.path(r"C:\exists\up.txt").exists()


@pytest.mark.long
def test_an_extraction_that_is_cancelled_leaves_nothing(engine: Engine) -> None:
    case = Staged(engine)
    case.put_sparse("a-big.zip", 2 * GIGABYTE)
    assert case.write().result["state"] == "succeeded"
    with cancelling(engine, f"{case.name}-extract", "extract") as seen:
        end = case.extract(job=f"{case.name}-extract")
    assert seen == ["extract"]
    assert_cancelled(end, "extract")
    assert not case.extracted.exists()


def at_destination(path: str = NAS, **account: str) -> dict[str, Any]:
    """What the job is told of the copy of an archive at a destination."""
    place = {"name": "nas", "path": path, "user": "", "domain": "", "password": "", **account}
    return {"folder": COPIES, "place": place}


@pytest.fixture
def share(copy: Staged) -> Iterator[Path]:
    """A share that has the archive, which is nowhere else; afterwards the share is gone."""
    share = copy.engine.path(NAS)
    shutil.rmtree(share, ignore_errors=True)
    shutil.copytree(copy.folder, copy.engine.path(COPIES))
    shutil.rmtree(copy.folder)
    copy.folder.mkdir()
    yield share
    shutil.rmtree(share, ignore_errors=True)


@pytest.mark.long
def test_a_copy_is_extracted_where_it_is_with_the_account_of_the_share(copy: Staged, good: Staged, share: Path) -> None:
    notes = copy.engine.path(r"C:\AlteryxLab\log-ons.txt")
    notes.unlink(missing_ok=True)
    before = hashes(share)
    account = {"user": "svc", "domain": "EXAMPLE", "password": PASSWORD}
    end = copy.extract(**at_destination(**account), job=f"{copy.name}-share")
    assert end.result["state"] == "succeeded", end.result
    assert hashes(copy.extracted / "files") == hashes(good.files)
    assert hashes(share) == before
    assert notes.read_text(encoding="ascii") == f"9 3 EXAMPLE\\svc {len(PASSWORD)}\n"
    left = [file for file in copy.engine.path(rf"{JOBS}\{copy.name}-share").iterdir() if file.is_file()]
    assert [file for file in left if PASSWORD in file.read_text(encoding="utf-8")] == []


@pytest.mark.usefixtures("share")
@pytest.mark.reaches("archive_bad")
@pytest.mark.long
def test_of_a_damaged_copy_nothing_stays(copy: Staged) -> None:
    archive = copy.engine.path(COPIES) / copy.archive.name
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(content)
    assert_nothing_left(copy, copy.extract(**at_destination()), "archive_bad")


@pytest.mark.usefixtures("share")
@pytest.mark.reaches("destination_unreachable")
@pytest.mark.long
def test_a_destination_that_is_away_is_told_before_anything_is_written(copy: Staged) -> None:
    end = copy.extract(**at_destination(r"\\nas9\ayx"))
    assert_nothing_left(copy, end, "destination_unreachable")
    assert r"\\nas9\ayx cannot be reached" in end.result["msg"]


@pytest.mark.reaches("destination_denied")
@pytest.mark.long
def test_a_destination_that_denies_is_told_before_anything_is_written(copy: Staged, share: Path) -> None:
    share.chmod(0)
    try:
        with denying(copy.engine):
            end = copy.extract(**at_destination(rf"{NAS}\prod"))
    finally:
        share.chmod(0o755)
    assert_nothing_left(copy, end, "destination_denied")


@pytest.mark.reaches("destination_unreachable")
@pytest.mark.long
def test_a_share_that_vanishes_half_way_is_no_damaged_copy_and_nothing_stays(engine: Engine) -> None:
    case = Staged(engine)
    case.put_sparse("a-big.zip", 300_000_000)
    assert case.write().result["state"] == "succeeded"
    share, gone = engine.path(NAS), engine.path(NAS).with_name("gone")
    shutil.rmtree(share, ignore_errors=True)
    engine.path(COPIES).parent.mkdir(parents=True)
    case.folder.rename(engine.path(COPIES))
    mark = case.extracted / "files" / "a-big.zip"

    def vanish() -> bool:
        if not mark.stat().st_size:
            return False
        share.rename(gone)
        return True

    try:
        with watching(vanish):
            end = case.extract(**at_destination())
        assert gone.exists()
        assert (end.result["state"], end.result.get("reason")) == ("failed", "destination_unreachable"), end.result
        assert not case.extracted.exists()
    finally:
        shutil.rmtree(gone, ignore_errors=True)


@pytest.mark.long
def test_an_error_of_the_share_is_told_from_one_of_the_copy(engine: Engine) -> None:
    script = r"""
$null = [IO.Directory]::CreateDirectory('C:\answers')
foreach ($code in 64, 1326, 2, 3, 23, 0) {
    try { throw (New-Object System.IO.IOException 'x', $(if ($code) { 0x80070000 -bor $code } else { 1 })) }
    catch {
        $seen = $_
        foreach ($path in 'C:\answers', 'C:\answers\gone') {
            try { Assert-ShareRead -ErrorRecord $seen -Path $path; 'copy' }
            catch { (Get-NodeFailure -ErrorRecord $_).reason }
        }
    }
}
"""
    away, denied = "destination_unreachable", "destination_denied"
    assert engine.run(script).split() == [away, away, denied, denied, *(["copy", away] * 4)]


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_gigabyte_is_read_once_in_little_memory(engine: Engine) -> None:
    def extracted(case: Staged) -> ProcessUse:
        assert case.write(timeout=1200).result["state"] == "succeeded"
        file = case.engine.path(rf"D:\{case.name}\use.json")
        end = case.extract(under=ProcessUse.under(file), timeout=1200)
        assert end.result["state"] == "succeeded", end.result
        return ProcessUse.load(file)

    small, big = Staged(engine), Staged(engine)
    small.put("a.txt", b"a")
    least = extracted(small)
    randomness = random.Random(2)
    with big.put("a-stored.zip", b"").open("wb") as file:
        for _unused in range(1000):
            file.write(randomness.randbytes(GIGABYTE // 1000))
    used = extracted(big)
    assert used.peak_bytes - least.peak_bytes < MOST_GROWTH
    read = (used.read_bytes - least.read_bytes) / big.archive.stat().st_size
    assert read == pytest.approx(1.0, abs=0.01)

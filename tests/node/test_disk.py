# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders that are read-only, denied, linked, deep or mounted: what is removed and counted, and
what is said of the rest."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import nightly
from tests.node.engine import Engine, denying

pytestmark = pytest.mark.wine

ROOT = r"C:\disk"
DEEP = "a" * 120


@pytest.fixture
def folder(engine: Engine) -> Iterator[Path]:
    """An empty folder: ROOT."""
    folder = engine.path(ROOT)
    folder.mkdir()
    yield folder
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o700)
    shutil.rmtree(folder)


def ask(engine: Engine, call: str) -> Any:
    script = f"""Import-NodeType -Name 'NodeDisk'
    try {{ ConvertTo-NodeJson -InputObject ({call}) }}
    catch {{ ConvertTo-NodeJson -InputObject @{{ error = $_.Exception.GetBaseException().Message }} }}"""
    return json.loads(engine.run(script))


def remove(engine: Engine, path: str) -> str:
    """Remove a folder; the error, empty when there is none."""
    answer: dict[str, str | None] = ask(engine, f"@{{ error = (Remove-NodeFolder -Path '{path}') }}")
    return answer["error"] or ""


@pytest.mark.long
def test_read_only_files_and_folders_are_removed(engine: Engine, folder: Path) -> None:
    run = folder / "run"
    (run / "Keys" / DEEP / DEEP / DEEP).mkdir(parents=True)
    for file in (run / "RuntimeSettings.xml", run / "Keys" / "key", run / "Keys" / DEEP / DEEP / DEEP / "deep"):
        file.write_text("x", encoding="ascii")
        file.chmod(0o444)
    (run / "Keys").chmod(0o555)
    assert remove(engine, rf"{ROOT}\run") == ""
    assert list(folder.iterdir()) == []
    assert remove(engine, rf"{ROOT}\run") == ""


def test_what_a_link_leads_to_is_neither_removed_nor_changed(engine: Engine, folder: Path) -> None:
    target = folder / "target"
    target.mkdir()
    (target / "kept").write_text("x", encoding="ascii")
    (target / "kept").chmod(0o444)
    run = folder / "run"
    run.mkdir()
    (run / "file").write_text("x", encoding="ascii")
    (run / "link").symlink_to(target)
    assert remove(engine, rf"{ROOT}\run") == ""
    assert not run.exists()
    assert (target / "kept").stat().st_mode & 0o777 == 0o444
    (folder / "whole").symlink_to(target)
    assert "is a link to somewhere else" in remove(engine, rf"{ROOT}\whole")
    assert (target / "kept").exists()


@pytest.mark.long
def test_a_locked_file_is_named_and_the_others_are_removed(engine: Engine, folder: Path) -> None:
    run = folder / "run"
    run.mkdir()
    for name in ("a", "held", "z"):
        (run / name).write_text("x", encoding="ascii")
    script = rf"""Import-NodeType -Name 'NodeDisk'
    $held = [IO.File]::Open('{ROOT}\run\held', 'Open', 'Read', 'None')
    try {{ Remove-NodeFolder -Path '{ROOT}\run' }}
    catch {{ $_.Exception.GetBaseException().Message }}
    $held.Dispose()"""
    assert rf"{ROOT}\run\held cannot be removed" in engine.run(script)
    assert [path.name for path in run.iterdir()] == ["held"]
    assert remove(engine, rf"{ROOT}\run") == ""


@pytest.mark.long
def test_a_database_is_counted_around_what_is_denied_or_leads_elsewhere(engine: Engine, folder: Path) -> None:
    database = folder / "MongoDB"
    (database / DEEP / DEEP / DEEP).mkdir(parents=True)
    (database / "collection.wt").write_bytes(bytes(1000))
    (database / DEEP / DEEP / DEEP / "deep.wt").write_bytes(bytes(20))
    (database / "journal").symlink_to(database)  # round in a circle
    for number in range(7):
        denied = database / f"denied{number}"
        denied.mkdir()
        (denied / "hidden.wt").write_bytes(bytes(300))
        denied.chmod(0o000)
    with denying(engine):
        size = ask(engine, rf"Get-FolderSize -Path '{ROOT}\MongoDB'")
    assert (size["bytes"], size["skipped_count"], len(size["skipped"])) == (1020, 8, 5)
    said = "\n".join(size["skipped"])
    assert rf"{ROOT}\MongoDB\journal is a link to another folder" in said
    assert rf"{ROOT}\MongoDB\denied" in said
    assert "cannot be listed: Access denied" in said


@pytest.mark.long
def test_a_folder_that_is_not_there_has_no_size(engine: Engine) -> None:
    assert ask(engine, r"Get-FolderSize -Path 'C:\Never\There'") == {"bytes": 0, "skipped": [], "skipped_count": 0}
    assert ask(engine, r"Get-DumpSize -Path 'C:\Never\There'") == {"bytes": 0, "collections": 0}


@pytest.mark.long
def test_a_dump_is_counted_by_its_bytes_and_collections(engine: Engine, folder: Path) -> None:
    database = folder / "AlteryxService"
    database.mkdir(parents=True)
    for name, size in (("users.bson", 100), ("jobs.bson.gz", 20), ("users.metadata.json", 3)):
        (database / name).write_bytes(bytes(size))
    assert ask(engine, rf"Get-DumpSize -Path '{ROOT}'") == {"bytes": 123, "collections": 2}


@pytest.mark.long
def test_free_space_is_that_of_the_volume_a_folder_is_on(engine: Engine, folder: Path) -> None:
    # Another file system of the host stands for a volume that is mounted in a folder.
    other = Path(tempfile.mkdtemp(dir="/dev/shm"))
    try:
        if os.statvfs(other).f_bavail * os.statvfs(other).f_frsize == free(folder):
            pytest.skip("the machine has one file system")
        (folder / "mounted").symlink_to(other)
        for path in (rf"{ROOT}\mounted", rf"{ROOT}\mounted\not\yet\there"):
            assert ask(engine, f"Get-FreeByte -Path '{path}'") == pytest.approx(free(other), rel=0.2)
        assert ask(engine, rf"Get-FreeByte -Path '{ROOT}\not\there'") == pytest.approx(free(folder), rel=0.2)
        assert ask(engine, r"Get-FreeByte -Path 'Q:\none'") == -1
        assert ask(engine, rf"Get-FolderVolume -Path '{ROOT}\not\there'") == "C:\\"
    finally:
        shutil.rmtree(other)


@pytest.mark.long
def test_a_file_that_others_write_to_can_be_read_and_one_they_hold_is_named(engine: Engine, folder: Path) -> None:
    (folder / "file").write_text("text", encoding="ascii")
    script = rf"""Import-NodeType -Name 'NodeDisk'
    foreach ($share in 'ReadWrite', 'None') {{
        $other = [IO.File]::Open('{ROOT}\file', 'Open', 'ReadWrite', $share)
        try {{
            $stream = Open-SharedFile -Path '{ROOT}\file' -Seconds 1
            (New-Object System.IO.StreamReader $stream).ReadToEnd()
            $stream.Dispose()
        }}
        catch {{ (Get-NodeFailure -ErrorRecord $_).reason }}
        $other.Dispose()
    }}"""
    assert engine.run(script).split() == ["text", "file_locked"]


def free(folder: Path) -> int:
    told = os.statvfs(folder)
    return told.f_bavail * told.f_frsize


@pytest.mark.parametrize(
    ("path", "problem"),
    nightly.after_first(
        [
            ("E:\\", "is the root of a drive"),
            ("e:", "is the root of a drive"),
            (rf"{ROOT}\link", "is a link, a junction or a volume that is mounted in a folder"),
            (rf"{ROOT}\link\\", "is a link, a junction or a volume that is mounted in a folder"),
            # A link above the folder is no obstacle, because the new folder is beside the old one.
            (rf"{ROOT}\link\below", ""),
            (rf"{ROOT}\data", ""),
            (rf"{ROOT}\absent", ""),
            ("", ""),
        ]
    ),
)
def test_what_a_restore_cannot_rename(engine: Engine, folder: Path, path: str, problem: str) -> None:
    (folder / "data" / "below").mkdir(parents=True)
    (folder / "link").symlink_to(folder / "data")
    assert ask(engine, f"@{{ said = (Get-RenameProblem -Path '{path}') }}") == {"said": problem}

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies to folders on shares, as far as Wine has shares: whatever happens to a destination, nothing incomplete has a
final name there, and no other destination pays for it."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests import reasons, schemas
from tests.lab import native_build, wine_node
from tests.node.engine import JOBS, Engine, JobEnd, denying, watching
from tests.node.process_use import ProcessUse

pytestmark = pytest.mark.wine

NAS1, NAS2 = r"\\nas1\ayx", r"\\nas2\ayx"
BYTES = 12_000_000
PASSWORD = "Pa55-of+the/share"
ENDINGS = ("manifest.json", "secrets.pem", "zip", "sha256")


def destination(name: str, path: str, **changes: Any) -> dict[str, Any]:
    """A destination as the action plugin gives it to the job."""
    return {
        "name": name, "path": path, "user": "", "domain": "", "password": "", "bytes_per_second": 0,
        "readback": "download", **changes,
    }  # fmt: skip


def spec(*destinations: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """What the job is told."""
    return {
        "run_id": "r", "only_try": False, "folder": r"D:\copied\n1", "archive_directory": r"D:\copied",
        "base_name": "B", "below": r"prod\n1", "stamp": "20260902_010000", "retries": 0, "retry_seconds": 0.1,
        "stall_seconds": 60, "destinations": list(destinations), **changes,
    }  # fmt: skip


@dataclass
class Place:
    """An archive on a node, and the shares that may get a copy."""

    engine: Engine
    names: list[str] = field(default_factory=lambda: [f"B.{ending}" for ending in ENDINGS])

    @property
    def source(self) -> Path:
        """Folder of the archive."""
        return self.engine.path(r"D:\copied\n1")

    def share(self, path: str = NAS1) -> Path:
        """Host folder of a share."""
        return self.engine.path(path)

    def target(self, path: str = NAS1) -> Path:
        """Where copies are on a share."""
        return self.share(path) / "prod" / "n1"

    def run(self, *destinations: dict[str, Any], timeout: float = 240, name: str = "", **changes: Any) -> JobEnd:
        """Run the job; where it works nothing is left half done under a final name."""
        end = self.engine.run_job("copy_job", spec(*destinations, **changes), timeout=timeout, name=name)
        assert end.output == ""
        for copy in end.result.get("copies", ()):
            if copy["reason"]:
                reasons.saw(copy["reason"])
        for one in destinations:
            self.assert_whole(one["path"])
        return end

    def assert_whole(self, path: str = NAS1) -> None:
        """Every file with a final name is whole, seen from outside."""
        for name in self.names:
            file = self.target(path) / name
            if file.exists() and not file.read_bytes().startswith(b"not ours"):
                assert digest(file) == digest(self.source / name), name

    def assert_copied(self, path: str = NAS1) -> None:
        """All of it is there."""
        self.assert_whole(path)
        found = {file.name for file in self.target(path).iterdir() if ".verify_" not in file.name}
        assert found == set(self.names)

    def assert_absent(self, path: str = NAS1) -> None:
        """Nothing has a final name there."""
        assert [name for name in self.names if (self.target(path) / name).exists()] == []


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture
def place(engine: Engine) -> Iterator[Place]:
    place = Place(engine)
    library = engine.folder / native_build.FULL_DRIVE
    if not library.exists():
        shutil.copy2(native_build.programs() / native_build.FULL_DRIVE, library)
    for path in (NAS1, NAS2):
        shutil.rmtree(place.share(path), ignore_errors=True)
        place.share(path).mkdir(parents=True)
    shutil.rmtree(place.source, ignore_errors=True)
    place.source.mkdir(parents=True)
    contents = {"manifest.json": b"{}", "secrets.pem": b"pem", "zip": random.Random(7).randbytes(BYTES)}
    for ending, content in contents.items():
        (place.source / f"B.{ending}").write_bytes(content)
    sidecar = "".join(f"{digest(place.source / f'B.{ending}')} *B.{ending}\n" for ending in contents)
    (place.source / "B.sha256").write_text(sidecar, encoding="ascii")
    verdict = {
        "schema": 1, "verdict": "good", "archive_sha256": digest(place.source / "B.zip"), "entries": 5,
        "collections": 2, "documents": 50, "run_id": "Full_20260901_020000_7f3a",
    }  # fmt: skip
    (place.source / "B.verify_20260901_020100.json").write_text(json.dumps(verdict), encoding="utf-8")
    yield place
    for name in (wine_node.FULL_FOLDERS, wine_node.STUCK_FOLDERS):
        wine_node.list_folders(engine.folder, name)


def only(end: JobEnd) -> dict[str, Any]:
    (copy,) = end.result["copies"]
    assert isinstance(copy, dict)
    return copy


def assert_failed(end: JobEnd, reason: str, *words: str) -> dict[str, Any]:
    assert (end.result["state"], end.result["reason"]) == ("failed", reason), end.result
    copy = next(one for one in end.result["copies"] if one["state"] == "failed")
    assert copy["reason"] == reason
    for word in words:
        assert word in end.result["msg"]
    return dict(copy)


def test_a_copy_is_the_archive_and_says_how_it_was_read_back(place: Place) -> None:
    end = place.run(destination("nas1", NAS1), destination("nas2", NAS2))
    assert end.result["state"] == "succeeded", end.result
    for path, copy in zip((NAS1, NAS2), end.result["copies"], strict=True):
        place.assert_copied(path)
        total = sum((place.source / name).stat().st_size for name in place.names)
        assert (copy["state"], copy["bytes"], copy["sent_bytes"], copy["read_bytes"]) == ("copied", total, total, total)
        assert (copy["attempts"], copy["resumed_bytes"], copy["again_bytes"]) == (1, 0, 0)
        # Wine takes the flag and does nothing with it: what it is for shows only on Windows.
        assert copy["readback"] == "uncached"
        assert copy["rate"] > 0
        file = place.target(path) / "B.verify_20260902_010000.json"
        verdict = json.loads(file.read_text(encoding="utf-8"))
        schemas.assert_valid("verdict", verdict)
        assert "past the cache of the node" in verdict["method"]
        assert (verdict["verdict"], verdict["documents"], verdict["bytes"]) == ("good", 50, total)


@pytest.mark.long
def test_what_is_there_already_is_read_and_not_sent_again(place: Place) -> None:
    place.run(destination("nas1", NAS1))
    before = {file.name: file.stat().st_mtime_ns for file in place.target().iterdir()}
    copy = only(place.run(destination("nas1", NAS1), stamp="20260903_010000"))
    assert (copy["state"], copy["sent_bytes"]) == ("present", 0)
    assert copy["read_bytes"] == copy["bytes"]
    now = {file.name: file.stat().st_mtime_ns for file in place.target().iterdir() if file.name in before}
    assert now == before


@pytest.mark.long
def test_a_trial_leaves_nothing(place: Place) -> None:
    end = place.run(destination("nas1", NAS1), only_try=True, base_name="")
    assert (only(end)["state"], only(end)["free_bytes"] > 0) == ("usable", True)
    assert list(place.share().iterdir()) == []


@pytest.mark.reaches("destination_invalid")
@pytest.mark.long
def test_the_archive_directory_is_no_destination_under_another_name_either(place: Place) -> None:
    shutil.rmtree(place.share())
    place.share().symlink_to(place.source.parent, target_is_directory=True)
    try:
        end = place.run(destination("nas1", NAS1), only_try=True, base_name="")
    finally:
        place.share().unlink()
    assert (only(end)["state"], only(end)["reason"]) == ("failed", "destination_invalid")
    assert sorted(file.name for file in place.source.parent.iterdir()) == ["n1"]


@pytest.mark.reaches("destination_unreachable")
@pytest.mark.long
def test_a_destination_that_is_away_costs_the_others_nothing(place: Place) -> None:
    end = place.run(destination("away", r"\\nas9\ayx"), destination("nas2", NAS2), retries=1)
    copy = assert_failed(end, "destination_unreachable", "1 of 2 destinations have no copy of B", "away: ", r"\\nas9")
    assert copy["attempts"] == 2
    assert [one["state"] for one in end.result["copies"]] == ["failed", "copied"]
    place.assert_copied(NAS2)


@pytest.mark.long
def test_a_folder_that_does_not_exist_is_not_made(place: Place) -> None:
    end = place.run(destination("typo", rf"{NAS1}\typo"))
    assert_failed(end, "destination_unreachable", r"ayx\typo cannot be reached")
    assert list(place.share().iterdir()) == []


@pytest.mark.reaches("destination_full")
def test_a_full_destination_is_told_and_left_as_it_was(place: Place) -> None:
    wine_node.list_folders(place.engine.folder, wine_node.FULL_FOLDERS, place.share())
    end = place.run(destination("nas1", NAS1), destination("nas2", NAS2), retries=3)
    # Waiting makes no room.
    assert assert_failed(end, "destination_full", "nas1: ")["attempts"] == 1
    assert list(place.target().iterdir()) == []
    place.assert_copied(NAS2)


@pytest.mark.long
def test_too_little_room_is_told_before_anything_is_sent(place: Place) -> None:
    source = place.source / "B.zip"
    with source.open("r+b") as file:
        file.truncate(10**12)
    copy = assert_failed(place.run(destination("nas1", NAS1)), "destination_full", "needed are 1000000000")
    assert copy["sent_bytes"] == 0
    place.assert_absent()


@pytest.mark.reaches("destination_denied")
@pytest.mark.long
def test_a_destination_that_denies_is_not_tried_again(place: Place) -> None:
    place.share().chmod(0)
    try:
        with denying(place.engine):
            end = place.run(destination("nas1", NAS1), destination("nas2", NAS2), retries=3)
    finally:
        place.share().chmod(0o755)
    assert assert_failed(end, "destination_denied", "nas1: ")["attempts"] == 1
    place.assert_copied(NAS2)


@pytest.mark.reaches("copy_exists")
@pytest.mark.parametrize("size", [9, BYTES], ids=["other size", "same size"])
@pytest.mark.long
def test_a_name_that_is_taken_is_left_alone(place: Place, size: int) -> None:
    place.target().mkdir(parents=True)
    taken = place.target() / "B.zip"
    taken.write_bytes(b"not ours".ljust(size, b"x"))
    end = place.run(destination("nas1", NAS1), retries=3)
    assert assert_failed(end, "copy_exists", "B.zip exists already, is another file")["attempts"] == 1
    assert taken.stat().st_size == size
    assert {file.name for file in place.target().iterdir()} == {"B.zip"}


@pytest.mark.reaches("copy_differs")
def test_a_byte_that_changes_silently_is_found_and_the_copy_is_deleted(place: Place) -> None:
    partial = place.target() / "B.zip.partial"

    def flip() -> bool:
        if partial.stat().st_size < BYTES // 2:
            return False
        with partial.open("r+b") as file:
            file.seek(1000)
            byte = file.read(1)[0]
            file.seek(1000)
            file.write(bytes([byte ^ 1]))
        return True

    with watching(flip):
        end = place.run(destination("nas1", NAS1, bytes_per_second=6_000_000), destination("nas2", NAS2), retries=3)
    assert assert_failed(end, "copy_differs", "nas1: ", "has another SHA-256")["attempts"] == 1
    assert list(place.target().iterdir()) == []
    place.assert_copied(NAS2)


def kill_half_way(place: Place) -> int:
    """The process of the job is killed in the middle of the archive. Returns what is there of it."""
    partial = place.target() / "B.zip.partial"
    name = f"cut{time.monotonic_ns()}"

    def kill() -> bool:
        if partial.stat().st_size < 8_000_000:
            return False
        for command in Path("/proc").glob("[0-9]*/cmdline"):
            if name.encode() in command.read_bytes():
                os.kill(int(command.parent.name), signal.SIGKILL)
        return True

    with watching(kill), pytest.raises((RuntimeError, ValueError, FileNotFoundError)):
        place.run(destination("nas1", NAS1, bytes_per_second=1_500_000), name=name)
    place.assert_absent()
    return sum(file.stat().st_size for file in place.target().iterdir())


@pytest.mark.long
def test_a_copy_that_was_cut_is_continued(place: Place) -> None:
    there = kill_half_way(place)
    end = place.run(destination("nas1", NAS1))
    copy = only(end)
    place.assert_copied()
    # What was written last before the cut is sent again.
    assert copy["resumed_bytes"] + copy["again_bytes"] == there
    assert copy["again_bytes"] <= 5_300_000
    assert copy["resumed_bytes"] >= 3_000_000
    assert copy["sent_bytes"] == copy["bytes"] - copy["resumed_bytes"]
    assert f"was continued at byte {copy['resumed_bytes']}" in end.log


@pytest.mark.long
def test_what_was_there_and_is_not_a_part_of_it_is_sent_again(place: Place) -> None:
    place.target().mkdir(parents=True)
    (place.target() / "B.zip.partial").write_bytes(bytes(9_000_000))
    end = place.run(destination("nas1", NAS1))
    copy = only(end)
    place.assert_copied()
    assert (copy["attempts"], copy["resumed_bytes"], copy["again_bytes"]) == (1, 0, 9_000_000)
    assert "is not a part of it, so all of it is sent again" in end.log


@pytest.mark.long
def test_a_temporary_file_that_is_longer_is_begun_anew(place: Place) -> None:
    place.target().mkdir(parents=True)
    (place.target() / "B.zip.partial").write_bytes(bytes(BYTES + 1))
    copy = only(place.run(destination("nas1", NAS1)))
    place.assert_copied()
    assert (copy["resumed_bytes"], copy["again_bytes"]) == (0, BYTES + 1)


@pytest.mark.long
def test_a_share_that_vanishes_and_comes_again_gets_the_rest(place: Place) -> None:
    partial, gone = place.target() / "B.zip.partial", place.share().with_name("gone")
    later: list[threading.Timer] = []

    def vanish() -> bool:
        if partial.stat().st_size < BYTES // 2:
            return False
        place.share().rename(gone)
        later.append(threading.Timer(8, lambda: gone.rename(place.share())))
        later[0].start()
        return True

    with watching(vanish):
        end = place.run(destination("nas1", NAS1, bytes_per_second=6_000_000), retries=3, retry_seconds=4, timeout=300)
    later[0].join()
    copy = only(end)
    assert end.result["state"] == "succeeded", end.result
    place.assert_copied()
    assert copy["attempts"] > 1
    assert copy["resumed_bytes"] > 0
    (warning, *_more) = [event for event in end.result["events"] if event["level"] == "WARNING"]
    assert "next attempt in" in warning["text"]


@pytest.mark.long
def test_a_share_that_does_not_answer_is_given_up_and_tried_again(place: Place) -> None:
    partial = place.target() / "B.zip.partial"
    later: list[threading.Timer] = []

    def stick() -> bool:
        if partial.stat().st_size < 2_000_000:
            return False
        wine_node.list_folders(place.engine.folder, wine_node.STUCK_FOLDERS, place.share())
        later.append(threading.Timer(9, wine_node.list_folders, (place.engine.folder, wine_node.STUCK_FOLDERS)))
        later[0].start()
        return True

    with watching(stick):
        end = place.run(
            destination("nas1", NAS1, bytes_per_second=4_000_000), retries=3, retry_seconds=4, stall_seconds=4,
            timeout=300,
        )  # fmt: skip
    later[0].join()
    assert end.result["state"] == "succeeded", end.result
    place.assert_copied()
    assert only(end)["attempts"] > 1
    assert "there was no answer for 4 s" in end.log


@pytest.mark.parametrize("retries", [pytest.param(0, marks=pytest.mark.reaches("copy_failed")), 4])
@pytest.mark.long
def test_a_temporary_file_that_another_program_holds_is_tried_again(place: Place, retries: int) -> None:
    place.target().mkdir(parents=True)
    partial = place.target() / "B.zip.partial"
    partial.write_bytes(b"")
    held, release = place.share() / "held", place.share() / "release"
    script = rf"""
    $held = New-Object System.IO.FileStream '{NAS1}\prod\n1\B.zip.partial', 'Open', 'Read', 'None'
    [IO.File]::WriteAllText('{NAS1}\held', '')
    while (-not [IO.File]::Exists('{NAS1}\release')) {{ Start-Sleep -Milliseconds 100 }}
    $held.Dispose()
    """
    holder = threading.Thread(target=place.engine.run, args=(script,), kwargs={"timeout": 300})
    holder.start()
    name = f"held{time.monotonic_ns()}"
    log = place.engine.path(rf"{JOBS}\{name}\job.log")

    def let_go() -> bool:
        if retries and "next attempt in" not in log.read_text(encoding="utf-8"):
            return False
        if retries:
            release.touch()
        return True

    try:
        wait_for(held.exists)
        with watching(let_go):
            end = place.run(destination("nas1", NAS1), retries=retries, retry_seconds=2, name=name)
    finally:
        release.touch()
        holder.join()
    if retries:
        assert only(end)["attempts"] > 1
        place.assert_copied()
    else:
        assert_failed(end, "copy_failed", "B.zip.partial cannot be written")
        place.assert_absent()


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.05)


@pytest.mark.reaches("archive_bad")
def test_a_damaged_archive_is_copied_nowhere(place: Place) -> None:
    with (place.source / "B.zip").open("r+b") as file:
        file.seek(5_000_000)
        file.write(b"\0" * 8)
    end = place.run(destination("nas1", NAS1), destination("nas2", NAS2), retries=3)
    assert end.result["reason"] == "archive_bad"
    assert "does not have the SHA-256 of the .sha256 file any more" in end.result["msg"]
    assert [one["reason"] for one in end.result["copies"]] == ["archive_bad", "archive_bad"]
    for path in (NAS1, NAS2):
        assert not place.target(path).exists() or list(place.target(path).iterdir()) == []


@pytest.mark.long
def test_an_archive_that_was_found_bad_is_not_even_read(place: Place) -> None:
    (place.source / "B.verify_20260901_030000.json").write_text('{"verdict": "bad"}', encoding="utf-8")
    end = place.run(destination("nas1", NAS1))
    assert (end.result["reason"], "last verification" in end.result["msg"]) == ("archive_bad", True)
    assert list(place.share().iterdir()) == []


@pytest.mark.reaches("archive_incomplete")
@pytest.mark.long
def test_an_archive_without_its_completion_marker_is_not_copied(place: Place) -> None:
    (place.source / "B.sha256").unlink()
    assert place.run(destination("nas1", NAS1)).result["reason"] == "archive_incomplete"


@pytest.mark.parametrize("line", ["x", f"{'0' * 64} *..\\..\\other.zip"])
@pytest.mark.long
def test_a_marker_that_names_something_else_is_refused(place: Place, line: str) -> None:
    (place.source / "B.sha256").write_text(f"{line}\n", encoding="ascii")
    assert place.run(destination("nas1", NAS1)).result["reason"] == "archive_bad"
    assert list(place.share().iterdir()) == []


@pytest.mark.long
def test_an_archive_without_secrets_and_verdict_is_copied_without_a_verdict(place: Place) -> None:
    (place.source / "B.secrets.pem").unlink()
    (place.source / "B.verify_20260901_020100.json").unlink()
    sidecar = (place.source / "B.sha256").read_text(encoding="ascii").splitlines(keepends=True)
    (place.source / "B.sha256").write_text("".join(line for line in sidecar if "pem" not in line), encoding="ascii")
    place.names.remove("B.secrets.pem")
    assert place.run(destination("nas1", NAS1)).result["state"] == "succeeded"
    place.assert_copied()
    assert not list(place.target().glob("*.verify_*"))


@pytest.mark.long
def test_without_a_read_back_the_copy_says_so(place: Place) -> None:
    copy = only(place.run(destination("nas1", NAS1, readback="none")))
    assert (copy["state"], copy["readback"], copy["read_bytes"]) == ("copied", "none", 0)
    assert not list(place.target().glob("*.verify_*"))


@pytest.mark.long
def test_a_limit_of_bandwidth_is_kept(place: Place) -> None:
    copy = only(place.run(destination("nas1", NAS1, bytes_per_second=4_000_000)))
    assert 2.6 < copy["send_seconds"] < 8
    assert copy["rate"] <= 4_600_000


@pytest.mark.long
def test_a_cancelled_job_ends_and_can_be_continued(place: Place) -> None:
    name = f"cancel{time.monotonic_ns()}"
    partial, flag = place.target() / "B.zip.partial", place.engine.path(rf"{JOBS}\{name}\cancel")

    def cancel() -> bool:
        if partial.stat().st_size < 6_000_000:
            return False
        flag.touch()
        return True

    began = time.monotonic()
    with watching(cancel):
        end = place.run(destination("nas1", NAS1, bytes_per_second=1_500_000), retries=3, name=name)
    assert time.monotonic() - began < 60
    assert (end.result["state"], end.result["reason"]) == ("failed", "job_died")
    place.assert_absent()
    copy = only(place.run(destination("nas1", NAS1)))
    assert copy["resumed_bytes"] > 0
    place.assert_copied()


@pytest.mark.long
def test_an_account_is_used_for_shares_only_and_its_password_is_nowhere(place: Place) -> None:
    notes = place.engine.path(r"C:\AlteryxLab\log-ons.txt")
    notes.unlink(missing_ok=True)
    name = "account"
    account = {"user": "svc", "domain": "EXAMPLE", "password": PASSWORD}
    end = place.run(destination("nas1", NAS1, **account), destination("nas2", NAS2), name=name)
    assert end.result["state"] == "succeeded", end.result
    place.assert_copied()
    # New credentials, by the provider that knows them; the second destination has no account.
    assert notes.read_text(encoding="ascii") == f"9 3 EXAMPLE\\svc {len(PASSWORD)}\n"
    folder = place.engine.path(rf"{JOBS}\{name}")
    assert sorted(file.name for file in folder.iterdir()) == ["job.log", "result.json", "status.json"]
    assert [file for file in folder.iterdir() if PASSWORD in file.read_text(encoding="utf-8")] == []


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_large_archive_takes_little_memory_and_is_read_once(place: Place, tmp_path: Path) -> None:
    size = 2_000_000_000
    with (place.source / "B.zip").open("r+b") as file:
        file.truncate(size)
    with (place.source / "B.zip").open("rb") as file:
        total = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    lines = (place.source / "B.sha256").read_text(encoding="ascii").splitlines()
    lines = [f"{total} *B.zip" if line.endswith(".zip") else line for line in lines]
    (place.source / "B.sha256").write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
    uses = {}
    for name, readback in (("idle", "none"), ("large", "none"), ("back", "download")):
        destinations = (
            [] if name == "idle" else [destination(name, NAS1 if name == "large" else NAS2, readback=readback)]
        )
        place.engine.run_job("copy_job", spec(*destinations), timeout=600, under=ProcessUse.under(tmp_path / name))
        uses[name] = ProcessUse.load(tmp_path / name)
    assert uses["large"].peak_bytes - uses["idle"].peak_bytes < 200_000_000
    assert uses["large"].read_bytes - uses["idle"].read_bytes < 1.02 * size
    assert uses["back"].read_bytes - uses["idle"].read_bytes < 2.02 * size

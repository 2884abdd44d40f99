# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups that are copied to shares by the playbooks that an operator runs, and destinations that fail in every way
that a folder of the host can be made to fail."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import nightly
from tests.lab.node import ServiceState
from tests.node.engine import watching

from .backup_files import flip_bit
from .kinds import on_standin_too, wine_only
from .lab_of_tests import Lab
from .playbook_run import PlaybookRunner, Run

FOLDER = r"D:\Copied"
NAS1, NAS2, AWAY = r"\\nas1\ayx", r"\\nas2\ayx", r"\\nas9\ayx"
FLEET = "alteryx_lab"
PASSWORD = "Pa55-of+the/share"


def destination(name: str, path: str, **more: object) -> dict[str, object]:
    return {"name": name, "path": path, **more}


def variables(*destinations: dict[str, object], **more: object) -> dict[str, object]:
    """Variables of a run with these destinations, without a long wait between attempts."""
    return {
        "alteryx_archive_directory": FOLDER,
        "alteryx_distribution_destinations": list(destinations),
        "alteryx_distribution_retry_seconds": 1,
        "alteryx_distribution_retries": 1,
        **more,
    }


BOTH = (destination("nas1", NAS1), destination("nas2", NAS2))


@dataclass(frozen=True)
class Shares:
    """What an observer on the host sees of the archive directory and of two shares."""

    lab: Lab

    @property
    def archives(self) -> Path:
        """The folder of the node in the archive directory."""
        return self.lab.node.path(FOLDER) / self.lab.node.name

    def share(self, path: str) -> Path:
        """A share, or a folder that is a destination."""
        return self.lab.node.path(path)

    def target(self, path: str) -> Path:
        """Where the copies of the node are on a share."""
        return self.share(path) / FLEET / self.lab.node.name

    def hashes(self, folder: Path) -> dict[str, str]:
        """Name -> SHA-256 of the files of backups in a folder."""
        kinds = (".zip", ".manifest.json", ".secrets.pem", ".sha256", ".partial")
        found = sorted(folder.iterdir()) if folder.is_dir() else []
        return {file.name: sha256(file) for file in found if file.name.endswith(kinds)}

    def assert_copied(self, *paths: str) -> None:
        """These have the same files as the archive directory, and the sidecars there fit them."""
        own = self.hashes(self.archives)
        assert own
        for path in paths:
            target = self.target(path)
            assert self.hashes(target) == own
            for sidecar in target.glob("*.sha256"):
                for line in sidecar.read_text(encoding="ascii").splitlines():
                    digest, _space, name = line.partition(" *")
                    assert sha256(target / name) == digest

    def assert_nothing_incomplete(self, *paths: str) -> None:
        """What has a final name there is the file of the archive directory."""
        own = self.hashes(self.archives)
        for path in paths:
            found = self.hashes(self.target(path))
            assert {name: found[name] for name in found if not name.endswith(".partial")}.items() <= own.items()


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture
def shares(lab: Lab) -> Iterator[Shares]:
    """Two shares; afterwards neither they nor backups are there."""
    there = (NAS1, NAS2) if lab.kind == "wine" else (r"D:\Nas1", r"D:\Nas2")
    for path in there:
        lab.node.path(path).mkdir(parents=True)
    yield Shares(lab)
    if lab.kind == "wine":
        lab.node.empty_again()
    for path in (*there, FOLDER):
        folder = lab.node.path(path)
        shutil.rmtree(folder.parent if path.startswith("\\") else folder, ignore_errors=True)


@pytest.fixture
def running(lab: Lab) -> Iterator[None]:
    """The service runs before and after."""
    before = lab.node.service()
    assert before.state == "Running"
    yield
    assert lab.node.service().state == "Running"


def copies(run: Run) -> dict[str, dict[str, Any]]:
    return {copy["destination"]: copy for copy in run.outcome["copies"]}


def assert_one_failed(run: Run, shares: Shares, reason: str, *words: str) -> dict[str, Any]:
    """The run ends with 4 and names the destination nas1; the other one and the archive are good."""
    run.assert_failed(4, reason, message="nas1: ")
    for word in words:
        assert word in run.outcome["message"]
    found = copies(run)
    assert (found["nas1"]["state"], found["nas1"]["reason"]) == ("failed", reason)
    assert found["nas2"]["state"] == "copied"
    # The line for the operator, and the one about the archive itself.
    assert f"copy {shares.lab.node.name} -> nas1: FAILED" in run.text
    assert run.node()["verdict"] == "good"
    shares.assert_copied(NAS2)
    shares.assert_nothing_incomplete(NAS1)
    return found["nas1"]


@pytest.mark.long
@wine_only
@pytest.mark.usefixtures("running")
def test_a_full_backup_is_at_two_destinations(shares: Shares, run_playbook: PlaybookRunner) -> None:
    run = run_playbook("full_backup.yml", extra_vars=variables(*BOTH))
    run.assert_ok()
    shares.assert_copied(NAS1, NAS2)
    name = shares.lab.node.name
    for copy in run.outcome["copies"]:
        assert (copy["state"], copy["readback"], copy["node"]) == ("copied", "uncached", name)
        assert copy["sent_bytes"] == copy["bytes"] == copy["read_bytes"]
        assert copy["rate"] > 0
    assert f"copy {name} -> nas1: " in run.text
    assert "read back past the cache" in run.log
    assert r"\\nas1\ayx\alteryx_lab" in run.log
    # They were asked before anything was stopped.
    steps = run.node()["steps"]
    assert steps["probe"]["finished"] <= steps["window"]["started"]
    (verdict,) = [json.loads(file.read_text(encoding="utf-8")) for file in shares.target(NAS1).glob("*.verify_*.json")]
    assert (verdict["verdict"], verdict["documents"] > 0) == ("good", True)


@pytest.mark.long
@wine_only
def test_without_destinations_no_step_of_a_copy_is_on_the_node(run_playbook: PlaybookRunner, shares: Shares) -> None:
    run = run_playbook("config_backup.yml", extra_vars=variables())
    run.assert_ok()
    assert run.outcome["copies"] == []
    assert not {"probe", "copy"} & run.node()["steps"].keys()
    assert "every destination" not in run.text


@pytest.mark.long
@wine_only
@pytest.mark.usefixtures("running")
@pytest.mark.reaches("destination_unreachable", exit_code=4)
def test_a_destination_that_is_away(shares: Shares, run_playbook: PlaybookRunner) -> None:
    policy = {"full": {"days": 1, "verified": 1}}
    run = run_playbook(
        "full_backup.yml",
        extra_vars=variables(destination("nas1", AWAY), BOTH[1], alteryx_retention_policy=policy),
    )
    run.assert_failed(4, "destination_unreachable", message="nas1: ")
    assert copies(run)["nas1"]["attempts"] == 2
    assert copies(run)["nas2"]["state"] == "copied"
    shares.assert_copied(NAS2)
    # Known before the stop, and no reason to go without a backup.
    assert "the destination nas1 cannot be used" in " ".join(run.outcome["warnings"])
    assert (run.node()["verdict"], run.node()["service_after"]) == ("good", "Running")
    # A run whose copy failed deletes nothing.
    assert "prune_plan" not in run.node()["steps"]
    # Its backup set is good all the same.
    (told,) = shares.archives.parent.glob("*.set.json")
    assert json.loads(told.read_text(encoding="utf-8"))["verdict"] == "OK"


@pytest.mark.long
@wine_only
@pytest.mark.reaches("destination_unreachable", exit_code=4)
def test_who_wants_it_is_refused_before_anything_is_stopped(
    lab: Lab, shares: Shares, run_playbook: PlaybookRunner
) -> None:
    service: ServiceState = lab.node.service()
    run = run_playbook(
        "full_backup.yml",
        extra_vars=variables(destination("nas1", AWAY), alteryx_distribution_on_failed_probe="fail"),
    )
    run.assert_failed(4, "destination_unreachable", message="the destination nas1 cannot be used")
    assert run.outcome["step"] == "probe"
    assert lab.node.service() == service
    assert not list(shares.archives.glob("*.zip"))


@pytest.mark.long
@wine_only
@pytest.mark.reaches("destination_full")
def test_a_full_destination(lab: Lab, shares: Shares, run_playbook: PlaybookRunner) -> None:
    lab.node.fill(NAS1)
    run = run_playbook("config_backup.yml", extra_vars=variables(*BOTH))
    assert_one_failed(run, shares, "destination_full")
    assert shares.hashes(shares.target(NAS1)) == {}


@pytest.mark.long
@wine_only
@pytest.mark.reaches("destination_denied")
def test_a_destination_that_denies(shares: Shares, run_playbook: PlaybookRunner) -> None:
    # No account can create a folder there, not even root.
    shares.share(NAS1).rmdir()
    shares.share(NAS1).symlink_to("/sys/kernel", target_is_directory=True)
    run = run_playbook("config_backup.yml", extra_vars=variables(*BOTH))
    assert assert_one_failed(run, shares, "destination_denied")["attempts"] == 1
    assert "The cryptographic signature is invalid" in run.text


@pytest.mark.long
@wine_only
@pytest.mark.reaches("copy_differs")
def test_a_byte_that_changes_silently(shares: Shares, run_playbook: PlaybookRunner) -> None:
    def flip() -> bool:
        (partial,) = shares.target(NAS1).glob("*.zip.partial")
        with partial.open("r+b") as file:
            content = file.read()
            if len(content) < 2000:
                return False
            file.seek(1000)
            file.write(bytes([content[1000] ^ 1]))
        return True

    def look() -> bool:
        try:
            return flip()
        except ValueError:
            return False

    slow = destination("nas1", NAS1, bandwidth_mb=0.02)
    with watching(look):
        run = run_playbook("config_backup.yml", extra_vars=variables(slow, BOTH[1]))
    assert_one_failed(run, shares, "copy_differs", "has another SHA-256")
    assert shares.hashes(shares.target(NAS1)) == {}


def make(run_playbook: PlaybookRunner) -> None:
    """A backup that is copied nowhere yet."""
    run_playbook("config_backup.yml", extra_vars=variables()).assert_ok()


@pytest.mark.long
@on_standin_too
def test_a_backup_that_exists_is_copied_later_and_only_once(shares: Shares, run_playbook: PlaybookRunner) -> None:
    make(run_playbook)
    paths = (NAS1, NAS2) if shares.lab.kind == "wine" else (r"D:\Nas1", r"D:\Nas2")
    wanted = variables(*(destination(f"nas{number}", path) for number, path in enumerate(paths, start=1)))
    predicted = run_playbook("copy_backup.yml", "--check", extra_vars=wanted)
    predicted.assert_ended_well()
    assert [shares.hashes(shares.target(path)) for path in paths] == [{}, {}]
    run = run_playbook("copy_backup.yml", extra_vars=wanted)
    run.assert_ended_well()
    shares.assert_copied(*paths)
    again = run_playbook("copy_backup.yml", extra_vars=wanted)
    again.assert_ended_well()
    assert "were there already, read back past the cache" in again.text
    assert "changed=0" in again.text


@pytest.mark.long
@wine_only
@pytest.mark.reaches("copy_exists", exit_code=4)
def test_a_name_that_is_taken(shares: Shares, run_playbook: PlaybookRunner) -> None:
    make(run_playbook)
    (archive,) = shares.archives.glob("*.zip")
    shares.target(NAS1).mkdir(parents=True)
    taken = shares.target(NAS1) / archive.name
    taken.write_bytes(b"somebody else's")
    run = run_playbook("copy_backup.yml", extra_vars=variables(*BOTH))
    assert run.rc == 4, run.output[-3000:]
    assert f"{archive.name} exists already, is another file and is not overwritten" in run.text
    assert taken.read_bytes() == b"somebody else's"
    shares.assert_copied(NAS2)


@pytest.mark.long
@wine_only
@pytest.mark.reaches("copy_failed", exit_code=4)
def test_a_temporary_name_that_another_program_holds(lab: Lab, shares: Shares, run_playbook: PlaybookRunner) -> None:
    make(run_playbook)
    (archive,) = shares.archives.glob("*.zip")
    shares.target(NAS1).mkdir(parents=True)
    (shares.target(NAS1) / f"{archive.name}.partial").write_bytes(b"")
    holder = lab.node.hold(rf"{NAS1}\{FLEET}\{lab.node.name}\{archive.name}.partial", 240)
    try:
        assert holder.stdout
        assert holder.stdout.readline().strip() == b"held"
        run = run_playbook("copy_backup.yml", extra_vars=variables(*BOTH))
    finally:
        holder.kill()
        holder.wait(30)
    assert run.rc == 4, run.output[-3000:]
    assert "FAILED after 2 attempts" in run.text
    shares.assert_copied(NAS2)
    shares.assert_nothing_incomplete(NAS1)
    run_playbook("copy_backup.yml", extra_vars=variables(*BOTH)).assert_ended_well()
    shares.assert_copied(NAS1, NAS2)


@pytest.mark.long
@wine_only
@pytest.mark.reaches("archive_bad")
def test_an_archive_that_is_damaged_already(shares: Shares, run_playbook: PlaybookRunner) -> None:
    make(run_playbook)
    (archive,) = shares.archives.glob("*.zip")
    flip_bit(archive)
    run = run_playbook("copy_backup.yml", extra_vars=variables(*BOTH))
    assert run.rc == 3, run.output[-3000:]
    assert "so it is not copied" in run.text
    assert [shares.hashes(shares.target(path)) for path in (NAS1, NAS2)] == [{}, {}]


@pytest.mark.long
@wine_only
def test_a_mapped_letter_is_copied_to_by_its_share(lab: Lab, shares: Shares, run_playbook: PlaybookRunner) -> None:
    make(run_playbook)
    lab.run_program("reg.exe", "add", r"HKCU\Network\Y", "/v", "RemotePath", "/d", NAS1, "/f")
    try:
        run = run_playbook("copy_backup.yml", extra_vars=variables(destination("letter", "Y:\\")))
    finally:
        lab.run_program("reg.exe", "delete", r"HKCU\Network\Y", "/f")
    run.assert_ended_well()
    shares.assert_copied(NAS1)


@pytest.mark.long
@on_standin_too
@pytest.mark.reaches("destination_invalid", exit_code=3)
def test_a_letter_without_a_share_is_refused_before_the_backup(shares: Shares, run_playbook: PlaybookRunner) -> None:
    run = run_playbook("config_backup.yml", extra_vars=variables(destination("letter", "Q:\\Copies")))
    run.assert_failed(3, "destination_invalid", message="Q: is a letter without a share")
    assert not list(shares.archives.glob("*.zip"))


@pytest.mark.long
@wine_only
@pytest.mark.reaches("destination_invalid")
def test_the_archive_directory_by_another_name_is_refused(
    lab: Lab, shares: Shares, run_playbook: PlaybookRunner
) -> None:
    lab.node.path(FOLDER).mkdir()
    lab.node.junction(r"D:\Elsewhere", FOLDER)
    try:
        run = run_playbook("config_backup.yml", extra_vars=variables(destination("self", r"D:\Elsewhere")))
    finally:
        lab.node.path(r"D:\Elsewhere").unlink()
    run.assert_failed(3, "destination_invalid", message="is the archive directory")
    assert not list(shares.archives.glob("*.zip"))


@on_standin_too
@pytest.mark.usefixtures("untouched")
@pytest.mark.reaches("invalid_variable", exit_code=3)
@pytest.mark.parametrize(
    ("wrong", "words"),
    nightly.after_first(
        [
            ({"path": NAS1}, "has no name"),
            ({"name": "nas1", "path": NAS1, "pth": 1}, "did you mean path?"),
            ({"name": "nas1", "path": f"{FOLDER.swapcase()}\\x"}, "is in the archive directory"),
            ({"name": "nas1", "path": NAS1, "credential": "nsa"}, "did you mean nas?"),
        ]
    ),
    ids=["no name", "unknown key", "archive directory", "unknown credential"],
)
def test_what_cannot_be_meant_is_refused_before_a_node_is_asked(
    run_playbook: PlaybookRunner, wrong: dict[str, object], words: str
) -> None:
    accounts = {"nas": {"user": "svc", "password": PASSWORD}}
    run = run_playbook("config_backup.yml", extra_vars=variables(wrong, alteryx_distribution_credentials=accounts))
    run.assert_failed(3, "invalid_variable", message=words)
    assert PASSWORD not in run.output


@pytest.mark.long
@pytest.mark.timeout(1800)
@wine_only
def test_the_password_of_a_share_is_nowhere_after_the_first_act_of_the_job(
    lab: Lab, shares: Shares, tmp_path: Path
) -> None:
    # Imported here: they are of use for this long test only.
    from tests.faults.background_run import BackgroundRun

    from . import canary_search, observer, recording
    from .lab_of_tests import STAGING, STATE_FOLDER
    from .onlooker import Onlooker

    wanted = {"share": PASSWORD}
    given = tmp_path / "given.json"
    given.write_text(json.dumps({"nas": {"user": r"EXAMPLE\svc", "password": PASSWORD}}), encoding="utf-8")
    extra = variables(
        destination("nas1", NAS1, credential="nas"),
        destination("nas2", AWAY, credential="nas"),
        # Not as -e: with -vvvvv, ansible-playbook prints its own options.
        alteryx_distribution_credentials=f"{{{{ lookup('ansible.builtin.file', '{given}') | from_json }}}}",
    )
    environment = {"ANSIBLE_VERBOSITY": "5", "ANSIBLE_LOG_PATH": str(tmp_path / "seen" / "ansible.log")}
    (tmp_path / "seen").mkdir()
    lab.node.behave(**recording.BEHAVIOUR)
    began = time.time()
    try:
        with (
            recording.everything_recorded(lab),
            Onlooker([lab.node.path(path) for path in (STAGING, STATE_FOLDER)]) as seen,
        ):
            background = BackgroundRun(
                lab, "config_backup.yml", tmp_path / "seen" / "run", environment=environment, extra_vars=extra
            )
            try:
                run = background.finish(900)
            finally:
                background.kill_everything()
            told = recording.recorded(lab)
    finally:
        lab.recover()
    assert (run.rc, run.outcome["reason"]) == (4, "destination_unreachable")
    shares.assert_copied(NAS1)
    # Both jobs had it: the log-on of each is noted, with the length of the password.
    notes = lab.node.path(r"C:\AlteryxLab\log-ons.txt").read_text(encoding="ascii").splitlines()
    assert set(notes) == {f"9 3 EXAMPLE\\svc {len(PASSWORD)}"}
    assert len(notes) >= 2
    # For a moment it is in the file that the job deletes as its first act, and in no other.
    moments = {
        name for name, contents in seen.files.items() for content in contents if canary_search.find(content, wanted)
    }
    assert moments <= {"spec.json", "claimed.json"}
    files = [file for file in (tmp_path / "seen").rglob("*") if file.is_file()]
    assert dict(canary_search.find_in_files(files, wanted)) == {}
    assert dict(canary_search.find_in_files(observer.files(lab.node, began), wanted)) == {}
    assert [line for line in seen.command_lines if canary_search.find(line, wanted)] == []
    ours = {place: hits for place, content in told.items() if (hits := canary_search.find(content, wanted))}
    # Ansible's own wrapper is recorded with what it passes (docs/security.md); nothing of ours is.
    assert [
        place for place in ours if not place.startswith(("event 4103", "event 4104", "PowerShell_transcript"))
    ] == []


@pytest.mark.windows
@pytest.mark.skip(reason="real SMB: written for a Windows runner with a share and a second account; has not run yet")
def test_a_real_share_takes_the_credential_and_refuses_another(shares: Shares, run_playbook: PlaybookRunner) -> None:
    """On a Windows runner: New-SmbShare -Name ayx -Path C:\\ayx -FullAccess ayxcopy, with a local user ayxcopy, and
    ALTERYX_LAB_SHARE_PASSWORD. Has not run: no Windows was in reach."""
    import os

    make(run_playbook)
    wanted = destination("smb", r"\\localhost\ayx", credential="smb")
    good = {"smb": {"user": r"localhost\ayxcopy", "password": os.environ["ALTERYX_LAB_SHARE_PASSWORD"]}}
    run = run_playbook("copy_backup.yml", extra_vars=variables(wanted, alteryx_distribution_credentials=good))
    run.assert_ended_well()
    assert "read back past the cache" in run.text
    bad = {"smb": {**good["smb"], "password": "wrong"}}
    run = run_playbook("copy_backup.yml", extra_vars=variables(wanted, alteryx_distribution_credentials=bad))
    assert run.rc == 4
    assert "destination_denied" in run.text

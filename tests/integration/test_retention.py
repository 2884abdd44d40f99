# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups that are made, pinned, listed and pruned, by the playbooks that an operator runs."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import nightly
from tests.lab import layout

from .kinds import STANDIN, WINE, on_standin_too, wine_only
from .lab_of_tests import Lab
from .older_backups import copy_to_days, read_audit
from .playbook_run import PlaybookRunner

FOLDER = r"D:\Retention"
WHERE: dict[str, object] = {"alteryx_archive_directory": FOLDER}
POLICY = {mode: {"days": 14, "verified": 1} for mode in ("full", "config")}
RULES: dict[str, object] = {**WHERE, "alteryx_retention_policy": POLICY}


@pytest.fixture
def root(lab: Lab) -> Iterator[Path]:
    """The archive directory on the node, gone afterwards."""
    yield lab.node.path(FOLDER)
    shutil.rmtree(lab.node.path(FOLDER), ignore_errors=True)


def sets(root: Path) -> list[str]:
    """Names of the backup sets of which anything is there, newest first."""
    names = {file.name.partition(".")[0] for file in root.rglob("ServerBackup_*")}
    return sorted(names, reverse=True)


def make(
    run_playbook: PlaybookRunner,
    root: Path,
    mode: str = "config",
    days: tuple[int, ...] = (10, 20, 40),
    where: str = FOLDER,
) -> str:
    """A backup of now and its copies of earlier days. Returns the name of the first. root: of where, on the host."""
    run_playbook(f"{mode}_backup.yml", extra_vars={"alteryx_archive_directory": where}).assert_ok()
    copy_to_days([root], sets(root)[0], days)
    return sets(root)[0]


@pytest.mark.long
@on_standin_too
def test_backups_are_pinned_listed_and_pruned(
    lab: Lab, root: Path, run_playbook: PlaybookRunner, tmp_path: Path
) -> None:
    make(run_playbook, root, days=(10, 20, 40, 60, 80))
    _now, _ten, twenty, forty, sixty, eighty = sets(root)
    run_playbook("prune.yml", extra_vars=WHERE).assert_ended_well()
    assert len(sets(root)) == 6, "nothing is deleted without a policy"
    pin = {**WHERE, "alteryx_retention_pin_id": eighty, "alteryx_retention_pin_why": "before the upgrade"}
    run_playbook("pin_backup.yml", extra_vars=pin).assert_ended_well()
    file = tmp_path / "list.json"
    run_playbook("list_backups.yml", extra_vars={**WHERE, "alteryx_catalogue_list_file": str(file)}).assert_ended_well()
    (listed,) = json.loads(file.read_text(encoding="utf-8"))["nodes"].values()
    assert [entry["id"] for entry in listed["backups"] if entry["pin"]] == [eighty]
    predicted = run_playbook("prune.yml", "--check", extra_vars=RULES)
    predicted.assert_ended_well()
    assert f"would delete {forty}" in predicted.text
    assert len(sets(root)) == 6
    pruned = run_playbook("prune.yml", extra_vars=RULES)
    pruned.assert_ended_well()
    for line in (
        f"keep {twenty} config",
        "the newest one older than 14 days",
        f"delete {forty} config",
        f"delete {sixty} config",
        f"keep {eighty} config",
        "before the upgrade",
    ):
        assert line in pruned.text
    assert sets(root) == [_now, _ten, twenty, eighty]
    # The logs of a set go with it.
    assert not list(root.rglob(f"*{forty[-15:]}*"))
    assert [(line["verb"], line["who"] != "") for line in read_audit(root)] == [("pin", True), ("prune", True)]
    assert [one["name"] for one in read_audit(root)[1]["backups"]] == [forty, sixty]
    unpin = {**pin, "alteryx_retention_pin_state": "unpinned"}
    run_playbook("pin_backup.yml", extra_vars=unpin).assert_ended_well()
    run_playbook("prune.yml", extra_vars=RULES).assert_ended_well()
    assert sets(root) == [_now, _ten, twenty]


@pytest.mark.long
@wine_only
def test_a_full_backup_prunes_when_it_is_good(lab: Lab, root: Path, run_playbook: PlaybookRunner) -> None:
    first = make(run_playbook, root, "full")
    run = run_playbook("full_backup.yml", extra_vars=RULES)
    run.assert_ok()
    now, before, ten, twenty = sets(root)
    assert before == first
    assert len(run.outcome["retention"]["deleted"]) == 1
    assert (run.outcome["retention"]["kept"], run.outcome["exit_code"]) == (4, 0)
    assert "retention deleted 1 backup set, 4 are kept" in run.text
    assert f"{twenty} (full) is kept: the newest one older than 14 days" in run.log
    file = root / lab.node.name / f"{now}.sha256"
    assert file.exists()
    assert ten


@pytest.mark.long
@on_standin_too
def test_a_run_that_is_not_good_deletes_nothing(lab: Lab, root: Path, run_playbook: PlaybookRunner) -> None:
    make(run_playbook, root)
    before = sets(root)
    bad: dict[str, Any] = {**RULES, "alteryx_configuration_recipients": ["/nowhere.pem"]}
    assert run_playbook("config_backup.yml", extra_vars=bad).rc == 3
    assert sets(root) == before


@on_standin_too
@pytest.mark.reaches("invalid_variable", exit_code=3)
@pytest.mark.parametrize(
    "policy", nightly.after_first([{"config": {"days": 0}}, {"config": {"day": 3}}, {"all": {"days": 3}}])
)
def test_a_policy_that_cannot_be_meant_is_refused_before_anything_is_touched(
    lab: Lab, root: Path, run_playbook: PlaybookRunner, policy: dict[str, Any]
) -> None:
    run = run_playbook("config_backup.yml", extra_vars={**WHERE, "alteryx_retention_policy": policy})
    run.assert_failed(3, "invalid_variable", message="alteryx_retention_policy")
    assert not root.exists()


@contextlib.contextmanager
def held(lab: Lab, path: str) -> Iterator[None]:
    """Another program on the node has a file open meanwhile."""
    holder = lab.node.hold(path, 240)
    try:
        assert holder.stdout
        assert holder.stdout.readline().strip() == b"held"
        yield
    finally:
        holder.kill()
        holder.wait(30)


@pytest.mark.long
@wine_only
@pytest.mark.reaches("prune_incomplete", exit_code=4)
def test_what_is_in_use_stays_whole_and_what_is_stuck_is_finished_later(
    lab: Lab, root: Path, run_playbook: PlaybookRunner
) -> None:
    make(run_playbook, root, days=(10, 20, 40, 60))
    _now, _ten, _twenty, forty, sixty = sets(root)
    folder = rf"{FOLDER}\{lab.node.name}"
    before = {file.name for file in root.rglob(f"*{sixty}*")}
    log = rf"{folder}\BackupLog_Config_{forty[-15:]}.log"
    with held(lab, rf"{folder}\{sixty}.zip"), held(lab, log):
        run = run_playbook("prune.yml", extra_vars=RULES)
    # An open archive is found before anything is touched; another file when it is its turn.
    assert run.rc == 4, run.output[-3000:]
    assert f"{sixty} is in use and stays on every node" in run.text
    assert {file.name for file in root.rglob(f"*{sixty}*")} == before
    assert f"1 of 1 backups could not be deleted: {forty}: " in run.text
    # From its first deletion on, the backup counts as incomplete, and the next run knows what to finish.
    left = {file.name.partition(".")[2] for file in root.rglob(f"{forty}*")}
    assert {"manifest.json", "prune.json"} <= left
    assert "sha256" not in left
    run_playbook("list_backups.yml", extra_vars=WHERE).assert_ended_well()
    # The policy does not matter for what has begun.
    run_playbook("prune.yml", extra_vars=WHERE).assert_ended_well()
    assert sets(root) == [_now, _ten, _twenty, sixty]


@dataclass(frozen=True)
class SmallDrive:
    """A file system of the host for the archive directory alone, with as much free space as a test wants."""

    mounted: Path
    root: Path

    def leave(self, free: int) -> None:
        """Let so many bytes be free."""
        usage = shutil.disk_usage(self.mounted)
        subprocess.run(["mount", "-o", f"remount,size={usage.used + free}", self.mounted], check=True)


@pytest.fixture
def drive(lab: Lab, tmp_path: Path) -> Iterator[SmallDrive]:
    """The drive E: of the node, which is small, with the archive directory."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=2g", "tmpfs", tmp_path]
    done = subprocess.run(mount, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted: {done.stderr.decode().strip()}")
    # A folder of that file system, because Wine shows the root of a mounted one as a link.
    (tmp_path / "drive").mkdir()
    letter = layout.drive(lab.node.folder, "e")
    letter.symlink_to(tmp_path / "drive")
    device = layout.prefix(lab.node.folder) / "dosdevices" / "e:"
    if lab.kind == "wine":
        device.symlink_to("../../e")
    yield SmallDrive(tmp_path, lab.node.path(SMALL))
    device.unlink(missing_ok=True)
    letter.unlink()
    subprocess.run(["umount", "--lazy", tmp_path], check=True)


SMALL = r"E:\Retention"
# A dump of twenty times the data, so that it needs more room than all backups together have.
FOR_ROOM: dict[str, object] = {
    **RULES,
    "alteryx_archive_directory": SMALL,
    "alteryx_preflight_staging_directory": r"E:\Staging",
    "alteryx_retention_room": True,
    "alteryx_preflight_space_factor": 20,
}
room_kinds = pytest.mark.parametrize("lab", [WINE, STANDIN], indirect=True)


def lack(drive: SmallDrive, run_playbook: PlaybookRunner, parts: float) -> None:
    """Let a run lack so many times the room that the policy frees: that of the two oldest of five sets.

    What it needs is in the refusal of a run that must not delete for room, which deletes nothing.
    """
    before = sets(drive.root)
    drive.leave(4096)
    refused = run_playbook("full_backup.yml", extra_vars={**FOR_ROOM, "alteryx_retention_room": False})
    refused.assert_failed(3, "space_short", message="directory has 4096 bytes free")
    assert refused.outcome["step"] == "plan"
    assert sets(drive.root) == before
    found = re.search(r"needed are (\d+) bytes", refused.outcome["message"])
    assert found
    needed = int(found[1])
    drive.leave(needed)
    for name in before[-2:]:
        # Large logs, because the data and with it what is needed may grow a little until the next run.
        (log,) = drive.root.glob(f"*/BackupLog_*{name[-15:]}.log")
        with log.open("ab") as file:
            file.write(bytes(needed // 8))
    old = [file for name in before[-2:] for file in drive.root.rglob(f"*{name[-15:]}*") if file.is_file()]
    drive.leave(needed - int(parts * sum(file.stat().st_size for file in old)))


@pytest.mark.long
@room_kinds
@pytest.mark.reaches("space_short", exit_code=3)
def test_a_run_that_lacks_room_deletes_by_the_policy_and_goes_on(
    lab: Lab, drive: SmallDrive, run_playbook: PlaybookRunner
) -> None:
    make(run_playbook, drive.root, "full", days=(10, 20, 40, 60), where=SMALL)
    lack(drive, run_playbook, 0.5)
    before, ten, twenty, forty, sixty = sets(drive.root)
    predicted = run_playbook("full_backup.yml", "--check", extra_vars=FOR_ROOM)
    predicted.assert_ended_well()
    assert f"would delete {forty}" in predicted.text
    assert predicted.outcome["retention"]["deleted"] == []
    assert sets(drive.root) == [before, ten, twenty, forty, sixty]
    run = run_playbook("full_backup.yml", extra_vars=FOR_ROOM)
    run.assert_ok()
    now, *others = sets(drive.root)
    assert others == [before, ten, twenty]
    assert (run.outcome["retention"]["deleted"], run.outcome["retention"]["kept"]) == ([forty, sixty], 4)
    assert run.node()["archive"].endswith(f"{now}.zip")
    # Before the service is stopped.
    assert 0 < run.log.index(f"prune: deleted {forty}, {sixty}") < run.log.index("lease: begun")
    (line,) = read_audit(drive.root)
    assert (line["verb"], [one["name"] for one in line["backups"]]) == ("prune", [forty, sixty])
    assert line["run_id"] == run.outcome["run_id"]


@pytest.mark.long
@room_kinds
@pytest.mark.reaches("space_short", exit_code=3)
def test_a_run_that_would_lack_room_all_the_same_deletes_nothing(
    lab: Lab, drive: SmallDrive, run_playbook: PlaybookRunner
) -> None:
    make(run_playbook, drive.root, "full", days=(10, 20, 40, 60), where=SMALL)
    lack(drive, run_playbook, 1.5)
    before, service = sets(drive.root), lab.node.service()
    for options in (["--check"], []):
        run = run_playbook("full_backup.yml", *options, extra_vars=FOR_ROOM)
        run.assert_failed(3, "space_short", message="and retention would free ")
        assert run.outcome["step"] == "prune_plan"
    assert sets(drive.root) == before
    assert not list(drive.root.rglob("BackupAudit.log"))
    assert lab.node.service() == service

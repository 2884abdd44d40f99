# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""restore.yml, roll_back_restore.yml and accept_restore.yml on a Wine node, judged by documents and files.

One full backup serves every test; after each the server is put back to the moment of that backup.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.faults import watch
from tests.faults.background_run import BackgroundRun
from tests.lab import alteryx_install

from . import restore_scene as scene
from .backup_files import Backup
from .kinds import wine_only
from .lab_of_tests import SETTINGS, STATE_FOLDER, Lab, run_id_pattern
from .playbook_run import PlaybookRunner, Run
from .restored_server import FLEET, Server, assert_refused, nothing_touched

pytestmark = [wine_only, pytest.mark.long, pytest.mark.timeout(1800)]

VERSION_KEY = r"HKLM\SOFTWARE\WOW6432Node\SRC\Alteryx"


@pytest.fixture(scope="module")
def backed_up(lab: Lab, run_playbook: PlaybookRunner, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server, just after its full backup."""
    lab.recover()
    run = run_playbook("full_backup.yml")
    run.assert_ok()
    match = run_id_pattern("Full").fullmatch(run.outcome["run_id"])
    assert match
    return Server.of(lab, run_playbook, run, Backup.of(lab, match.group(1), "Full"), tmp_path_factory.mktemp("cold"))


def assert_secrets_unsaid(server: Server, run: Run) -> None:
    """No secret of the server is in anything the run has printed or left on the control node."""
    texts = [run.output, *(file.read_text(encoding="utf-8") for file in _files(run.folder))]
    for name, value in server.lab.secrets().items():
        assert not any(value in text for text in texts), f"{name} was said"


def _files(folder: Path | None) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file()] if folder else []


def with_documents(state: scene.GoldenState, of: scene.GoldenState) -> scene.GoldenState:
    """A state with the documents of another one."""
    return dataclasses.replace(state, collections=of.collections, users=of.users)


def test_a_restored_server_is_that_of_the_backup_and_the_old_one_is_kept_until_it_is_accepted(server: Server) -> None:
    damaged = server.damage()
    with scene.ServedStates(server.lab, damaged, server.golden) as served:
        run = server.restore()
    run.assert_ended_well()
    assert scene.compare(server.golden, server.now()) == []
    served.assert_never_half()
    assert served.verdicts[-1] == "new"
    assert server.leftovers() == []
    assert_secrets_unsaid(server, run)
    kept = scene.kept(server.lab.node)
    assert any(run.outcome["run_id"] in path and "MongoDB.before_" in path for path in kept)

    with nothing_touched(server):
        assert_refused(server.restore(), 3, run.outcome["run_id"])
        assert_refused(server.accept("Restore_20200101_000000_0000"), 3)
        assert_refused(server.accept(run.outcome["run_id"], confirm=""), 3)
        assert_refused(server.roll_back(run.outcome["run_id"], confirm="another_fleet"), 3)
    assert scene.kept(server.lab.node) == kept

    server.accept(run.outcome["run_id"]).assert_ended_well()
    assert scene.kept(server.lab.node) == []
    assert scene.compare(server.golden, server.now()) == []
    assert server.leftovers() == []
    restored, accepted = scene.read_audit(server.lab.node)[-2:]
    assert (restored["verb"], accepted["verb"]) == ("restore", "accept")
    assert restored["who"] == accepted["who"] != ""
    assert restored["archive"].endswith(rf"\{server.backup.base}.zip")
    assert scene.DATA in restored["paths"]


@pytest.mark.parametrize("scope", ["database", "configuration"])
def test_a_part_is_restored_and_the_rest_stays(server: Server, scope: str) -> None:
    damaged = server.damage()
    wanted = with_documents(damaged, server.golden) if scope == "database" else with_documents(server.golden, damaged)
    with scene.ServedStates(server.lab, damaged, wanted) as served:
        server.restore(scope=scope, backup=server.backup.base).assert_ended_well()
    assert scene.compare(wanted, server.now()) == []
    served.assert_never_half()
    assert served.verdicts[-1] == "new"
    assert server.leftovers() == []


def test_a_broken_server_is_restored_and_started(server: Server) -> None:
    scene.break_server(server.lab.node, disabled=False)
    run = server.restore()
    run.assert_ended_well()
    assert scene.compare(server.golden, server.now()) == []
    assert server.leftovers() == []


def restore_in_background(server: Server, folder: Path, **variables: object) -> BackgroundRun:
    """Begin restore.yml, confirmed."""
    return BackgroundRun(server.lab, "restore.yml", folder, extra_vars={"alteryx_restore_confirm": FLEET, **variables})


@pytest.mark.parametrize("action", ["start", "stop"])
def test_a_server_that_hangs_is_restored_after_a_person_has_ended_its_process(
    server: Server, tmp_path: Path, action: str
) -> None:
    node = server.lab.node
    scene.damage_server(node, 19)
    hanging = scene.let_service_hang(node, action)
    run = restore_in_background(server, tmp_path / "run")
    watch.until(lambda: "The restore then continues" in run.output or run.ended, 300, "the advice")
    assert f"AlteryxService is {hanging}. If it hangs, end its process" in " ".join(run.output.split())
    node.behave()
    watch.signal_processes(node, "AlteryxService.exe", signal.SIGKILL)
    run.finish().assert_ended_well()
    assert scene.compare(server.golden, server.now()) == []
    assert server.leftovers() == []


@pytest.mark.reaches("stop_timeout")
def test_a_server_that_hangs_until_the_limit_is_left_as_it_was(server: Server, tmp_path: Path) -> None:
    node = server.lab.node
    damaged = server.damage()
    scene.let_service_hang(node, "start")
    run = restore_in_background(server, tmp_path / "run", alteryx_window_stop_timeout=20).finish()
    assert_refused(run, 2, "end its process")
    node.behave()
    watch.signal_processes(node, "AlteryxService.exe", signal.SIGKILL)
    # Nobody has started the service since.
    assert [text for text in scene.compare(damaged, server.now()) if not text.startswith("service:")] == []
    assert server.leftovers() == []


def test_a_service_that_is_disabled_is_refused_before_anything_is_touched(server: Server) -> None:
    scene.break_server(server.lab.node)
    with nothing_touched(server):
        assert_refused(server.restore(), 3, "Automatic")


def test_the_plan_is_printed_and_nothing_is_touched_without_a_confirmation_and_in_check_mode(server: Server) -> None:
    server.damage()
    with nothing_touched(server):
        checked = server.restore("--check")
        checked.assert_ended_well()
        for run in (server.restore(confirm=""), server.restore(confirm="another_fleet")):
            assert_refused(run, 3, "alteryx_restore_confirm", FLEET)
            assert server.backup.base in run.text
    assert server.backup.base in checked.text


# What the double has done and what must come of it: see tests/lab/README.md.
UNDONE = ["partial", "fewer", "words_fail", "fail", "leak", "exit1", "wrong_target", "die_half"]


@pytest.mark.reaches("restore_failed")
@pytest.mark.parametrize("behaviour", UNDONE)
def test_a_bad_restore_of_the_database_is_found_before_the_start_and_undone(server: Server, behaviour: str) -> None:
    damaged = server.damage()
    server.lab.node.behave(emongorestore=behaviour)
    assert_undone(server, damaged, {})


@pytest.mark.parametrize("behaviour", ["hang", "hang_half"])
def test_a_restore_that_hangs_is_ended_and_undone(server: Server, behaviour: str) -> None:
    damaged = server.damage()
    server.lab.node.behave(emongorestore=behaviour)
    assert_undone(server, damaged, {"timeout": 40})


def assert_undone(server: Server, damaged: scene.GoldenState, variables: Mapping[str, Any]) -> None:
    """A restore ends with 5; the old server runs, and no client was served by another one."""
    with scene.ServedStates(server.lab, damaged, server.golden) as served:
        run = server.restore(**variables)
    assert run.rc == 5, run.output[-4000:]
    assert scene.compare(damaged, server.now()) == []
    assert set(served.verdicts) == {"old"}, served.watching.history()
    assert not watch.host_processes(server.lab.node, scene.RESTORE)
    assert server.leftovers() == []
    assert_secrets_unsaid(server, run)


@pytest.mark.parametrize("behaviour", ["exit2", "silent", "log_only", "leave_mongod"])
def test_a_whole_restore_that_looks_like_a_failure_is_taken_or_undone_as_a_whole(
    server: Server, behaviour: str
) -> None:
    damaged = server.damage()
    server.lab.node.behave(emongorestore=behaviour)
    with scene.ServedStates(server.lab, damaged, server.golden) as served:
        run = server.restore()
    verdict = scene.judge_server(server.lab.node, damaged, server.golden)
    assert (run.rc, verdict) in {(0, "new"), (5, "old")}, run.output[-4000:]
    # The exit code does not count: with good output and counts the restore is good.
    assert run.rc == 0 or behaviour != "exit2", run.output[-4000:]
    served.assert_never_half()
    assert server.lab.node.service().state == "Running"
    assert len(watch.host_processes(server.lab.node, "mongod.exe")) == 1
    assert server.leftovers() == []


@pytest.mark.reaches("restored_not_started")
def test_a_restored_server_that_does_not_start_is_told_with_the_way_back(server: Server) -> None:
    damaged = server.damage()
    server.lab.node.behave(start="fail")
    run = server.restore()
    assert_refused(run, 7, "roll_back_restore.yml", run.outcome["run_id"])
    assert scene.judge_server(server.lab.node, damaged, server.golden) == "new"
    assert any("MongoDB.before_" in path for path in scene.kept(server.lab.node))
    # It still does not start: the way back needs no service that runs.
    back = server.roll_back(run.outcome["run_id"])
    assert back.rc == 7, back.output[-4000:]
    assert "ROLLBACK" in back.text
    server.lab.node.behave()
    recovered = server.run_playbook("recover.yml")
    assert recovered.rc == 0, recovered.output[-4000:]
    assert scene.judge_server(server.lab.node, damaged, server.golden) == "old"
    assert server.lab.node.service().state == "Running"


def test_a_rollback_that_was_undone_decides_nothing_and_can_be_repeated(server: Server) -> None:
    damaged = server.damage()
    run = server.restore()
    run.assert_ended_well()
    restore_id, kept = run.outcome["run_id"], scene.kept(server.lab.node)
    holder = server.lab.node.hold(rf"{SETTINGS}.before_{restore_id}", 600)
    try:
        assert holder.stdout
        assert holder.stdout.readline().strip() == b"held"
        failed = server.roll_back(restore_id)
    finally:
        holder.kill()
        holder.wait(30)
    assert failed.rc not in (0, 7), failed.output[-4000:]
    assert scene.compare(server.golden, server.now()) == []
    assert server.lab.node.service().state == "Running"

    topology = server.run_playbook("topology.yml").text
    assert f"the restore {restore_id} keeps the previous database" in topology
    assert f"the rollback {failed.outcome['run_id']} was undone" in topology
    assert_refused(server.restore(), 3, restore_id)
    server.accept(failed.outcome["run_id"]).assert_ended_well()
    assert scene.kept(server.lab.node) == kept

    back = server.roll_back(restore_id)
    back.assert_ended_well()
    assert scene.compare(damaged, server.now()) == []
    assert_refused(server.restore(confirm=""), 3, "this was only the plan")
    server.accept(back.outcome["run_id"]).assert_ended_well()
    assert scene.kept(server.lab.node) == []
    assert scene.compare(damaged, server.now()) == []


@pytest.mark.reaches("restore_unproven", exit_code=7)
def test_a_restore_that_cannot_be_undone_leaves_the_service_down_and_says_so(server: Server) -> None:
    server.damage()
    node = server.lab.node
    node.behave(emongorestore="hang")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        running = pool.submit(server.restore, timeout=40)
        kept: list[Path] = []

        def is_away() -> bool:
            kept[:] = [path for path in node.path(scene.PERSISTENCE).glob("MongoDB.before_*") if path.is_dir()]
            return bool(kept) and bool(watch.host_processes(node, scene.RESTORE))

        watch.until(is_away, 240, "the old data folder to be moved away")
        # The folder was moved to another place, so only a person can know that it is the old one.
        kept[0].rename(kept[0].with_name("somewhere_else"))
        run = running.result()
    assert_refused(run, 7, "restore_unproven", "recover.yml")
    assert node.service().state == "Stopped"
    assert "not certain" in (node.path(STATE_FOLDER) / "STATUS.txt").read_text(encoding="utf-8") or run.text
    # A person puts it back; then recover.yml can undo.
    node.behave()
    (kept[0].with_name("somewhere_else")).rename(kept[0])
    recovered = server.run_playbook("recover.yml")
    assert recovered.rc == 0, recovered.output[-4000:]
    assert node.service().state == "Running"


def test_a_backup_that_was_never_made_is_refused(server: Server) -> None:
    with nothing_touched(server):
        for unknown in ("Full_20200101_000000_abcd", "ServerBackup_Full_20200101_000000"):
            assert_refused(server.restore(backup=unknown), 3, unknown)
        assert_refused(server.restore(backup=r"..\other"), 3)


@pytest.fixture
def other_version(lab: Lab) -> Iterator[str]:
    """Another version of Alteryx Server is installed now."""
    for version in ("2024.2.1.14", alteryx_install.VERSION):
        lab.run_program("reg.exe", "add", VERSION_KEY, "/v", "LastVersion", "/t", "REG_SZ", "/d", version, "/f")
        if version != alteryx_install.VERSION:
            yield version


def test_a_backup_of_another_version_is_refused(server: Server, other_version: str) -> None:
    with nothing_touched(server):
        assert_refused(server.restore(), 3, other_version, alteryx_install.VERSION)


def test_no_restore_begins_while_a_backup_runs(server: Server, tmp_path: Path) -> None:
    server.lab.node.behave(emongodump_delay_ms="600000")
    backup = BackgroundRun(server.lab, "database_backup.yml", tmp_path / "run")
    try:
        watch.until(lambda: watch.host_processes(server.lab.node, watch.DUMP) or backup.ended, 180, "the dump")
        run = server.restore()
        assert run.rc == 8, run.output[-4000:]
        assert not backup.ended, backup.output[-4000:]
        assert not watch.host_processes(server.lab.node, scene.RESTORE)
        assert scene.kept(server.lab.node) == []
    finally:
        server.lab.node.behave()
        # The delay was read at its beginning.
        watch.signal_processes(server.lab.node, watch.DUMP, signal.SIGKILL)
        backup.finish()
    assert scene.compare(server.golden, server.now()) == []

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What judges a restore sees what it must, a damaged server of the lab is one, and a restore by hand is a restore."""

from __future__ import annotations

import contextlib
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab import alteryx_install, wine_node
from tests.lab.node import Node

from . import restore_scene as scene
from .backup_files import Backup
from .kinds import wine_only
from .lab_of_tests import SETTINGS, Lab, run_id_pattern
from .playbook_run import PlaybookRunner

pytestmark = [wine_only, pytest.mark.timeout(900)]

SERVICE_EXE = rf"{alteryx_install.BIN}\AlteryxService.exe"


@pytest.fixture(scope="module")
def cold_copy(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> scene.ColdCopy:
    """The server before anything was done to it."""
    return scene.ColdCopy.of(lab.node, tmp_path_factory.mktemp("cold"))


@pytest.fixture
def node(lab: Lab, cold_copy: scene.ColdCopy) -> Iterator[Node]:
    """The node of the lab; its server is put back afterwards."""
    yield lab.node
    lab.node.behave()
    cold_copy.put_back(lab.node)
    lab.recover()


def subjects(differences: list[str]) -> set[str]:
    """What they are about."""
    return {difference.partition(": ")[0] for difference in differences}


@pytest.mark.long
def test_a_server_is_the_same_while_it_is_stopped_and_when_it_runs_again(node: Node) -> None:
    golden = scene.take_golden_state(node)
    assert sum(one.documents for one in golden.collections.values()) > 3000
    assert golden.users.keys() == {"AlteryxService.user", "admin.admin"}
    assert r"Keys\dcm\vault.key" in golden.files
    assert scene.DATA in golden.permissions
    scene.stop_service(node)
    stopped = scene.take_golden_state(node)
    assert scene.compare(golden, stopped) == ["service: was Running, is Stopped"]
    assert scene.start_service(node) == "Running"
    assert scene.compare(golden, scene.take_golden_state(node)) == []


@pytest.mark.long
def test_each_damage_is_seen_and_a_mixture_is_half(lab: Lab, node: Node) -> None:
    golden = scene.take_golden_state(node)
    settings = node.path(SETTINGS).read_bytes()
    names = scene.damage_server(node, 7)
    damaged = scene.take_golden_state(node)
    assert subjects(scene.compare(golden, damaged)) == set(names)
    node.path(SETTINGS).chmod(0o600)
    assert f"permissions of {SETTINGS}" in subjects(scene.compare(golden, scene.take_golden_state(node)))
    with scene.ServedStates(lab, golden, damaged) as served:
        scene.stop_service(node)
        assert scene.judge_server(node, golden, damaged) == "new"
        assert scene.start_service(node) == "Running"
        node.path(SETTINGS).write_bytes(settings)
    assert set(served.verdicts) <= {"new", scene.judge_server(node, golden, damaged)}
    assert scene.judge_server(node, golden, damaged).startswith("half: not the old one (AlteryxGallery.apiNonces: gone")


@pytest.mark.long
def test_a_broken_server_is_seen_as_such(node: Node) -> None:
    golden = scene.take_golden_state(node)
    scene.break_server(node)
    broken = scene.take_golden_state(node)
    keys = {name for name in golden.files if name.startswith("Keys\\")}
    assert subjects(scene.compare(golden, broken)) == {
        "database",
        "RuntimeSettings.xml",
        *keys,
        "service",
        "start type",
    }
    assert scene.start_service(node) == "Stopped"
    scene.set_start_type(node, scene.AUTOMATIC)
    assert scene.start_service(node) == "Stopped"
    assert not node.path(scene.DATA).exists()


@contextlib.contextmanager
def renamed(path: Path) -> Iterator[None]:
    """A file or folder is not where it was."""
    aside = path.with_name(f"{path.name}.aside")
    path.rename(aside)
    yield
    aside.rename(path)


@contextlib.contextmanager
def emptied(path: Path) -> Iterator[None]:
    """An empty folder is in the place of a full one."""
    with renamed(path):
        path.mkdir()
        yield
        assert not list(path.iterdir()), "the service has healed it"
        path.rmdir()


@contextlib.contextmanager
def changed(path: Path, change: Callable[[bytes], bytes]) -> Iterator[None]:
    """A file has other content."""
    before = path.read_bytes()
    after = change(before)
    assert after != before
    path.write_bytes(after)
    yield
    path.write_bytes(before)


def other_password(settings: bytes) -> bytes:
    """Settings with a password that the database does not know."""
    tag = b"<EmbeddedMongoDBPasswordEncrypted>"
    head, _unused, rest = settings.partition(tag)
    return head + tag + alteryx_install.encrypt("another one").encode() + rest[rest.index(b"</") :]


@pytest.mark.long
def test_a_damaged_server_does_not_start_and_is_not_healed(node: Node) -> None:
    settings, data = node.path(SETTINGS), node.path(scene.DATA)
    scene.stop_service(node)
    damages = {
        "settings are empty": changed(settings, lambda _content: b""),
        "settings end in the middle": changed(settings, lambda content: content[: len(content) // 2]),
        "settings are gone": renamed(settings),
        "settings have another password": changed(settings, other_password),
        "keys are gone": renamed(node.path(scene.KEYS)),
        "data folder is gone": renamed(data),
        "data folder is empty": emptied(data),
        "data folder lacks a file": renamed(data / "WiredTiger.wt"),
    }
    states = {}
    for name, damage in damages.items():
        with damage:
            states[name] = scene.start_service(node)
            scene.stop_service(node)
    assert states == dict.fromkeys(damages, "Stopped")
    assert scene.start_service(node) == "Running"


def put_in_place(configuration: Path, target: Path) -> None:
    """Copy the file or folder of that name from an unzipped backup to its place, and keep what is there beside it."""
    (source,) = configuration.rglob(target.name)
    old = beside(target)
    if target.exists():
        target.rename(old)
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy(source, target)
    # Wine makes permissions of the mode of the host's file.
    for path in [target, *target.rglob("*")]:
        before = old / path.relative_to(target)
        if before.exists():
            shutil.copymode(before, path)


def beside(path: Path) -> Path:
    """Where section 5 of the README keeps what is replaced."""
    return path.with_name(f"{path.name}.before_hand")


@pytest.mark.long
def test_the_restore_by_hand_of_the_readme_reaches_the_golden_state(
    lab: Lab, node: Node, run_playbook: PlaybookRunner
) -> None:
    golden = scene.take_golden_state(node)
    run = run_playbook("full_backup.yml")
    run.assert_ok()
    match = run_id_pattern("Full").fullmatch(run.outcome["run_id"])
    assert match
    backup = Backup.of(lab, match.group(1), "Full")
    scene.damage_server(node, 3)
    damaged = scene.take_golden_state(node)

    # The numbers are those of section 5 of the README.
    home, data = node.path(r"C:\restore"), node.path(scene.DATA)  # 1
    with zipfile.ZipFile(backup.archive) as opened:
        opened.extractall(home)
    places = [node.path(entry["source"]) for entry in backup.manifest()["configuration"] if entry["present"]]
    try:
        scene.stop_service(node)  # 3
        data.rename(beside(data))  # 4
        for place in places:  # 5
            put_in_place(home / "configuration", place)
        data.mkdir()  # 7
        shutil.copystat(beside(data), data)
        output = wine_node.run(
            node.folder, SERVICE_EXE, rf"emongorestore=C:\restore\database,{scene.DATA}", timeout=180
        )
        assert "0 document(s) failed to restore." in output
        assert "0 document(s) failed to restore." in (home / "mongoRestore.log").read_text(encoding="utf-8")
        assert (data / "WiredTiger").exists()
        assert scene.start_service(node) == "Running"  # 8
        assert scene.compare(golden, scene.take_golden_state(node)) == []
        assert scene.judge_server(node, damaged, golden) == "new"
    finally:
        shutil.rmtree(home)
        for path in (data, *places):  # 10
            if beside(path).is_dir():
                shutil.rmtree(beside(path))
            else:
                beside(path).unlink(missing_ok=True)

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What undo_restore.ps1 makes of a restore that was interrupted anywhere, judged by the files on the disk."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests import nightly
from tests.node.engine import Engine

pytestmark = pytest.mark.wine

STATE = r"C:\ProgramData\AlteryxOps"
ROOT = r"C:\server"
RUN = "Restore_20260901_020000_7f3a"
SERVICE = "NoSuchService"
# Name, whether it is a folder, whether it existed before, whether the restore has a copy beside it.
THINGS = (
    ("RuntimeSettings.xml", False, True, True),
    ("SystemAlias.xml", False, False, True),
    ("Keys", True, True, True),
    ("Engine", True, False, True),
    ("MongoDB", True, True, False),
    ("Müller data", True, True, True),
)

Step = Callable[[], object]


def put(path: Path, is_folder: bool, text: str) -> None:
    """A file, or a folder with some in it."""
    if is_folder:
        (path / "inner").mkdir(parents=True)
        (path / "WiredTiger").write_text(text, encoding="utf-8")
        (path / "inner" / "Zoë.key").write_text(text * 2, encoding="utf-8")
    else:
        path.write_text(text, encoding="utf-8")


def read(root: Path) -> dict[str, str]:
    """Relative name -> text of every file below a folder."""
    return {str(file.relative_to(root)): file.read_text(encoding="utf-8") for file in root.rglob("*") if file.is_file()}


class Restore:
    """A restore of THINGS that can be stopped after every rename."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.root = engine.path(ROOT)
        self.state = engine.path(STATE)
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.rmtree(self.state, ignore_errors=True)
        self.root.mkdir()
        self.state.mkdir(parents=True)
        for name, is_folder, existed, has_copy in THINGS:
            if existed:
                put(self.root / name, is_folder, f"old {name}")
            if has_copy:
                put(self.root / f"{name}.new_{RUN}", is_folder, f"new and longer {name}")
        self.old = {name: text for name, text in read(self.root).items() if ".new_" not in name}
        self.new = {name.replace(f".new_{RUN}", ""): text for name, text in read(self.root).items() if ".new_" in name}
        self.entries = json.loads(
            engine.run(
                "ConvertTo-NodeJson -InputObject @("
                + ", ".join(
                    rf"(New-RestoreEntry -Path '{ROOT}\{name}' -Away '{ROOT}\{name}.before_{RUN}' "
                    rf"-New '{ROOT + chr(92) + name + '.new_' + RUN if has_copy else ''}')"
                    for name, _is_folder, _existed, has_copy in THINGS
                )
                + ")"
            )
        )
        self.write(state="begun")

    def write(self, **changes: Any) -> None:
        """The journal."""
        journal = {"run_id": RUN, "verb": "restore", "of": "", "service": SERVICE, "entries": self.entries}
        (self.state / "restore.json").write_text(json.dumps(journal | changes), encoding="utf-8")

    def steps(self) -> list[Step]:
        """Every rename of the restore, in its order."""
        found: list[Step] = []
        for name, _is_folder, existed, has_copy in THINGS:
            path = self.root / name
            away, new = path.with_name(f"{name}.before_{RUN}"), path.with_name(f"{name}.new_{RUN}")
            if existed:
                found.append(lambda path=path, away=away: path.rename(away))
            if has_copy:
                found.append(lambda path=path, new=new: new.rename(path))
            else:
                found.append(lambda path=path: put(path, True, "half a database"))
        return found

    def undo(self) -> dict[str, Any]:
        """The verdict of undo_restore.ps1."""
        script = rf"""
        $undo = [scriptblock]::Create([IO.File]::ReadAllText('C:\code\undo_restore.ps1'))
        ConvertTo-NodeJson -InputObject (& $undo '{RUN}' '{SERVICE}')
        """
        verdict: dict[str, Any] = json.loads(self.engine.run(script, timeout=120))
        return verdict

    def server(self) -> Mapping[str, str]:
        """The files of the server, without what is beside them."""
        return {name: text for name, text in read(self.root).items() if f"_{RUN}" not in name}


@pytest.fixture
def restore(engine: Engine) -> Iterator[Restore]:
    made = Restore(engine)
    yield made
    shutil.rmtree(made.root)
    shutil.rmtree(made.state)


@pytest.mark.long
def test_a_restore_is_undone_wherever_it_was_interrupted(engine: Engine) -> None:
    count = len(Restore(engine).steps())
    for stopped_after in range(count + 1):
        restore = Restore(engine)
        everything = sorted(read(restore.root).values())
        for step in restore.steps()[:stopped_after]:
            step()
        verdict = restore.undo()
        assert verdict["state"] == "undone", (stopped_after, verdict)
        assert restore.server() == restore.old, stopped_after
        left = sorted(read(restore.root).values())
        assert [text for text in left if "half" not in text] == everything, "nothing may be deleted"
        assert not (restore.state / "restore.json").exists()
        assert restore.undo()["state"] == "undone", "and asked again it says the same"


def test_an_interrupted_undo_is_finished_by_the_next(restore: Restore) -> None:
    for step in restore.steps():
        step()
    # The last entry is undone first. Its new folder was moved aside, and then the power went.
    name = THINGS[-1][0]
    (restore.root / name).rename(restore.root / f"{name}.new_{RUN}")
    assert restore.undo()["state"] == "undone"
    assert restore.server() == restore.old


@pytest.mark.long
def test_a_journal_that_has_moved_nothing_is_undone_at_once(restore: Restore) -> None:
    restore.write(state="prepared", entries=[])
    assert restore.undo()["state"] == "undone"


def test_a_complete_restore_is_never_undone(restore: Restore) -> None:
    for step in restore.steps():
        step()
    records = restore.state / "restores"
    records.mkdir()
    (restore.state / "restore.json").rename(records / f"{RUN}.committed.json")
    assert restore.undo()["state"] == "committed"
    assert restore.server().items() >= restore.new.items()


@pytest.mark.long
def test_two_who_undo_at_once_do_so_one_after_the_other(restore: Restore) -> None:
    for step in restore.steps():
        step()
    # The first of them has the gate; the second one must not have looked at anything yet.
    script = rf"""
    $gate = New-Object System.IO.FileStream '{STATE}\restore.json.gate', 'OpenOrCreate', 'ReadWrite', 'None'
    $second = [powershell]::Create().AddScript(
        "& ([scriptblock]::Create([IO.File]::ReadAllText('C:\code\undo_restore.ps1'))) '{RUN}' '{SERVICE}'")
    $asked = $second.BeginInvoke()
    Start-Sleep -Seconds 3
    $isTouched = -not [IO.File]::Exists('{STATE}\restore.json') -or $asked.IsCompleted
    $gate.Dispose()
    ConvertTo-NodeJson -InputObject @{{ touched = $isTouched; verdict = @($second.EndInvoke($asked))[0] }}
    """
    answer = json.loads(restore.engine.run(script, timeout=120))
    assert not answer["touched"]
    assert answer["verdict"]["state"] == "undone", answer
    assert restore.server() == restore.old


@pytest.mark.parametrize(
    ("word", "was", "found", "after"),
    [
        ("undone", 2, 3, 2),
        ("committed", 2, 3, 2),
        # Manual before the restore, or set by a person since.
        ("undone", 3, 3, 3),
        ("committed", 2, 4, 4),
    ],
)
@pytest.mark.long
def test_a_whole_server_starts_at_boot_again_if_it_did_before(
    restore: Restore, word: str, was: int, found: int, after: int
) -> None:
    restore.write(state="begun", boot_start=was)
    if word == "committed":
        (restore.state / "restores").mkdir()
        (restore.state / "restore.json").rename(restore.state / "restores" / f"{RUN}.committed.json")
    key = rf"SYSTEM\CurrentControlSet\Services\{SERVICE}"
    machine = "[Microsoft.Win32.Registry]::LocalMachine"
    restore.engine.run(f"$key = {machine}.CreateSubKey('{key}'); $key.SetValue('Start', {found}); $key.Dispose()")
    try:
        assert restore.undo()["state"] == word
        assert restore.engine.run(f"{machine}.OpenSubKey('{key}').GetValue('Start')").strip() == str(after)
    finally:
        restore.engine.run(f"{machine}.DeleteSubKeyTree('{key}')")


def lose_old_database(restore: Restore) -> None:
    """The old data folder was deleted."""
    shutil.rmtree(restore.root / f"MongoDB.before_{RUN}")


def replace_old_database(restore: Restore) -> None:
    """What stands in the place of the old data folder is another one."""
    (restore.root / f"MongoDB.before_{RUN}" / "WiredTiger").write_text("another", encoding="utf-8")


def lose_journal(restore: Restore) -> None:
    """The journal is gone."""
    (restore.state / "restore.json").unlink()


def damage_journal(restore: Restore) -> None:
    """The journal cannot be read."""
    (restore.state / "restore.json").write_text('{"run_id":', encoding="utf-8")


def exchange_journal(restore: Restore) -> None:
    """The journal is that of another restore."""
    restore.write(state="begun", run_id="Restore_20270901_020000_7f3a")


@pytest.mark.parametrize(
    "damage",
    nightly.after_first([lose_old_database, replace_old_database, lose_journal, damage_journal, exchange_journal]),
)
def test_what_cannot_be_proved_is_said(restore: Restore, damage: Callable[[Restore], None]) -> None:
    for step in restore.steps():
        step()
    damage(restore)
    verdict = restore.undo()
    assert verdict["state"] == "unproven", verdict
    assert verdict["why"]

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server of which there is a full backup: restore.yml and what follows it, run against it."""

from __future__ import annotations

import contextlib
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.faults import watch

from . import observer
from . import restore_scene as scene
from .backup_files import Backup
from .lab_of_tests import STAGING, Lab
from .playbook_run import PlaybookRunner, Run

FLEET = "alteryx_lab"
WORK = r"C:\AlteryxOps.r"


@dataclass(frozen=True)
class Server:
    """A server of which there is one full backup."""

    lab: Lab
    run_playbook: PlaybookRunner
    run_id: str
    backup: Backup
    golden: scene.GoldenState  # at the time of the backup
    copy: scene.ColdCopy  # of the same time

    @classmethod
    def of(cls, lab: Lab, run_playbook: PlaybookRunner, run: Run, backup: Backup, folder: Path) -> Server:
        """The server as it is now, just after this run has made this backup. Its copy goes into a folder."""
        copy = scene.ColdCopy.of(lab.node, folder)
        return cls(lab, run_playbook, run.outcome["run_id"], backup, scene.take_golden_state(lab.node), copy)

    def restore(self, *options: str, confirm: str = FLEET, backup: str = "latest", **variables: object) -> Run:
        """Run restore.yml."""
        named = {f"alteryx_restore_{name}": value for name, value in variables.items()}
        asked = {"alteryx_restore_backup": backup, "alteryx_restore_confirm": confirm, **named}
        return self.run_playbook("restore.yml", *options, extra_vars=asked, timeout=900)

    def roll_back(self, run_id: str, *, confirm: str = FLEET) -> Run:
        """Run roll_back_restore.yml."""
        asked = {"alteryx_restore_run": run_id, "alteryx_restore_confirm": confirm}
        return self.run_playbook("roll_back_restore.yml", extra_vars=asked, timeout=900)

    def accept(self, run_id: str, *, confirm: str = FLEET) -> Run:
        """Run accept_restore.yml."""
        asked = {"alteryx_restore_run": run_id, "alteryx_restore_confirm": confirm}
        return self.run_playbook("accept_restore.yml", extra_vars=asked)

    def damage(self) -> scene.GoldenState:
        """Damage it; returns what it is then."""
        scene.damage_server(self.lab.node, 11)
        return self.now()

    def now(self) -> scene.GoldenState:
        """What it is now."""
        return scene.take_golden_state(self.lab.node)

    def leftovers(self) -> list[str]:
        """What a run may not leave, the extracted backup included."""
        work = self.lab.node.path(WORK)
        return self.lab.leftovers() + ([str(path) for path in work.iterdir()] if work.is_dir() else [])

    def put_back(self) -> None:
        """It is again what it was at the time of the backup."""
        node = self.lab.node
        node.behave()
        # Before the server is put back: a job or guard would act on what it finds then.
        watch.signal_processes(node, "job_host.ps1", signal.SIGKILL)
        for name in self.lab.tasks():
            with contextlib.suppress(RuntimeError):
                self.lab.run_program("schtasks.exe", "/Delete", "/TN", name, "/F")
        if scene.kept(node) or scene.compare(self.golden, self.now()):
            self.copy.put_back(node)
        for folder in (STAGING, WORK):
            shutil.rmtree(node.path(folder), ignore_errors=True)
        self.lab.recover()


@contextlib.contextmanager
def nothing_touched(server: Server, *more: str) -> Iterator[None]:
    """Neither files nor service are other ones afterwards. more: beginnings of paths that a run writes by right."""
    before, service = observer.tree(server.lab.node), server.lab.node.service()
    yield
    changed = observer.difference(before, observer.tree(server.lab.node))
    assert [path for path in changed if not path.startswith(more)] == []
    assert server.lab.node.service() == service
    assert server.leftovers() == []


def assert_refused(run: Run, code: int, *said: str) -> None:
    """Ended with this code, and said why."""
    assert run.rc == code, run.output[-4000:]
    assert [words for words in said if words not in run.text] == [], run.output[-4000:]

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ansible-playbook as a process that can be killed: the control side of a fault."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests import proofs, reasons, schemas
from tests.integration.lab_of_tests import Lab
from tests.integration.playbook_run import PLAYBOOKS, Run

# Times of the product, shortened. The window job writes its heartbeat every 10 s.
HEARTBEAT_STALE = 20
LOCK_STALE = 20
TIMES: dict[str, object] = {
    "alteryx_window_heartbeat_stale": HEARTBEAT_STALE,
    "alteryx_preflight_lock_stale": LOCK_STALE,
    "alteryx_window_stop_timeout": 60,
    "alteryx_window_dump_timeout": 240,
    "alteryx_window_start_timeout": 180,
}


# For a proof that a test sees what it says: a folder with ansible_collections in it, whose collection
# runs instead of this one.
OTHER_COLLECTION = os.environ.get("ALTERYX_TEST_COLLECTION", "")


class BackgroundRun:
    """One run of ansible-playbook that continues while the test observes the node."""

    def __init__(
        self,
        lab: Lab,
        playbook: str | Path,
        folder: Path,
        *,
        extra_vars: Mapping[str, object] | None = None,
        environment: Mapping[str, str] | None = None,
        playbooks: Path = PLAYBOOKS,
    ) -> None:
        folder.mkdir(parents=True)
        self._kind = lab.kind
        self._name = Path(playbook).name
        self._reports = folder / "reports"
        self._output = folder / "output.txt"
        self._orphans: list[int] = []
        if OTHER_COLLECTION and playbooks == PLAYBOOKS:
            environment = {"ANSIBLE_COLLECTIONS_PATH": OTHER_COLLECTION, **(environment or {})}
            playbooks = Path(OTHER_COLLECTION) / "ansible_collections" / "alteryx_ops" / "server_backup" / "playbooks"
        variables = TIMES | {"alteryx_report_directory": str(self._reports)} | dict(extra_vars or {})
        command = [
            str(Path(sys.executable).with_name("ansible-playbook")),
            str(playbook),
            "-i",
            str(lab.inventory),
            "-l",
            "alteryx_lab",
            "-e",
            json.dumps(variables),
        ]
        clean = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
        self.begun = time.monotonic()
        with self._output.open("wb") as stream:
            self._process = subprocess.Popen(
                command,
                cwd=playbooks,
                env=clean | {"ANSIBLE_FORCE_COLOR": "false"} | dict(environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self._output.read_text(encoding="utf-8", errors="replace")

    @property
    def ended(self) -> bool:
        """Whether ansible-playbook itself has ended."""
        return self._process.poll() is not None

    def finish(self, seconds: float = 480) -> Run:
        """Wait for its end; the test fails when it takes longer."""
        try:
            rc = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill_everything()
            raise AssertionError(f"not done within {seconds:.0f} s:\n{self.output[-4000:]}") from None
        print(f"{self._name}: {time.monotonic() - self.begun:.0f} s, exit code {rc}")  # noqa: T201
        # recover.yml leaves logs of a dead run there, in a folder without an outcome.
        folders = [file.parent for file in self._reports.glob("*/outcome.json")]
        assert len(folders) <= 1, f"one run, several reports: {folders}"
        folder = folders[0] if folders else None
        outcome: dict[str, Any] = json.loads((folder / "outcome.json").read_text(encoding="utf-8")) if folder else {}
        # The schema is that of this collection. The other one may be older.
        if outcome and not OTHER_COLLECTION:
            schemas.assert_valid("restore" if "verb" in outcome else "outcome", outcome)
        run = Run(rc, self.output, "", folder, outcome)
        reasons.saw_run(run.text, rc)
        proofs.saw_run(self._kind, self._name, run.output, rc)
        return run

    def interrupt(self, times: int = 1) -> None:
        """Ctrl-C: SIGINT to ansible-playbook, whose workers have sessions of their own."""
        for _unused in range(times):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGINT)

    def kill_parent(self) -> None:
        """SIGKILL ansible-playbook alone; its workers have their own sessions and run until their task ends."""
        self._orphans = _descendants(self._process.pid)
        self._process.kill()
        self._process.wait()

    @property
    def orphans(self) -> list[int]:
        """Workers that have outlived ansible-playbook: what they ask of the node still counts as life of the run."""
        return [pid for pid in self._orphans if Path(f"/proc/{pid}").exists()]

    def kill_everything(self) -> None:
        """SIGKILL ansible-playbook and everything it has started, as the end of a container or a cgroup does."""
        if not self.ended:
            # Held first, so that it starts nothing while its children are counted.
            os.kill(self._process.pid, signal.SIGSTOP)
            for pid in [*_descendants(self._process.pid), self._process.pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._process.wait()


def _descendants(pid: int) -> list[int]:
    """All processes below one: Ansible's workers leave its process group."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int(
                    (entry / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[1]
                )
                children.setdefault(parent, []).append(int(entry.name))
    found, open_ones = [], [pid]
    while open_ones:
        below = children.get(open_ones.pop(), [])
        found += below
        open_ones += below
    return found

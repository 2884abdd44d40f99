# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab the tests run against: its own folder, so that a lab of ``make lab-up`` is not disturbed; and what tests do
to its node from outside."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from defusedxml import ElementTree

from tests.lab import alteryx_install, control, lab_state, layout, standin_service, wine_node
from tests.lab.certificates import KeyPair
from tests.lab.node import SERVICE, STANDIN_ENGINES, Node, ServiceState

from .windows_node import WindowsNode

SETTINGS = r"C:\ProgramData\Alteryx\RuntimeSettings.xml"
STATE_FOLDER = r"C:\ProgramData\AlteryxOps"
LEASE = rf"{STATE_FOLDER}\lease.json"
STAGING = r"D:\AlteryxStaging"
ARCHIVES = r"D:\AlteryxBackups"
# What the state folder holds only while a run is on; beside it run.json.gate (empty), guard.log and the
# folders jobs and logs may stay.
PASSING = ("run.json", "lease.json", "heartbeat.json", "STATUS.txt", "restore-service.cmd", "HOLD", "schedules.json")
_LABCTL = wine_node.LABCTL


@dataclass(frozen=True)
class Lab:
    """A running lab, as the tests see it. nodes: all of it; node: the one, or the controller of a fleet,
    which the methods look at."""

    kind: str
    folder: Path
    node: Node
    control_port: int  # 0: there is none
    nodes: tuple[Node, ...] = ()

    def each(self) -> list[Lab]:
        """The same lab, looked at from each of its nodes."""
        return [dataclasses.replace(self, node=node) for node in self.nodes]

    @property
    def inventory(self) -> Path:
        """The inventory ``lab up`` has written."""
        return self.folder / "inventory" / "lab.yml"

    @property
    def runs(self) -> Path:
        """Where the runs leave outcome and log on the control node."""
        return self.folder / "runs"

    def recipient(self, name: str) -> KeyPair:
        """Certificate and private key of a recipient of the secrets: operator or deputy."""
        return KeyPair(*(self.folder / "certificates" / f"{name}.{ending}" for ending in ("pem", "key")))

    def inventory_content(self) -> dict[str, Any]:
        """The inventory as data, to be changed and written elsewhere."""
        lines = self.inventory.read_text(encoding="utf-8").splitlines()
        content: dict[str, Any] = json.loads("\n".join(line for line in lines if not line.startswith("#")))
        return content

    def settings(self) -> Element:
        """RuntimeSettings.xml of the node."""
        root: Element = ElementTree.fromstring(self.node.path(SETTINGS).read_bytes())
        return root

    def secrets(self) -> dict[str, str]:
        """What must be in the secrets file and nowhere in clear text: controller_token, admin, non_admin."""
        elements = {
            "controller_token": "ServerSecretEncrypted",
            "admin": "EmbeddedMongoDBAdminPasswordEncrypted",
            "non_admin": "EmbeddedMongoDBPasswordEncrypted",
        }
        settings = self.settings()
        return {
            name: alteryx_install.decrypt(settings.findtext(f"Controller/{element}") or "")
            for name, element in elements.items()
        }

    def minute(self, seconds: float) -> None:
        """Let the minute of task triggers last that long."""
        if self.control_port:
            control.ask(self.control_port, "minute_seconds", seconds=seconds)

    def run_program(self, program: str, *arguments: str, timeout: float = 60) -> str:
        """Run a Windows program on the node; returns what it printed."""
        if isinstance(self.node, WindowsNode):
            return self.node.run(program, *arguments, timeout=timeout)
        return wine_node.run(self.node.folder, program, *arguments, timeout=timeout)

    def wait_for(self, state: str, seconds: float) -> ServiceState:
        """The service once it is in this state; as it is when the time is over."""
        limit = time.monotonic() + seconds
        while (service := self.node.service()).state != state and time.monotonic() < limit:
            time.sleep(0.2)
        return service

    def stop_service(self) -> None:
        """Stop the service as a person at the node would."""
        self.run_program(_LABCTL, "stop", SERVICE, "30", timeout=60)

    def start_service(self) -> None:
        """Start it again."""
        if self.kind == "standin":
            standin_service.put(self.node, "Running")
        else:
            self.run_program(_LABCTL, "start", SERVICE, "60", timeout=90)

    def end_engines(self) -> None:
        """End every AlteryxEngineCmd.exe."""
        if self.kind == "standin":
            (layout.drive(self.node.folder, "c") / "AlteryxLab" / STANDIN_ENGINES).unlink(missing_ok=True)
            return
        for process in self.node.processes():
            if process.name.lower() == "alteryxenginecmd.exe":
                self.run_program("taskkill.exe", "/F", "/PID", str(process.pid))

    def leftovers(self) -> list[str]:
        """What a run may not leave on the node: scheduled tasks, lock and lease, folders of jobs, folders in
        staging, unfinished files."""
        found = self.tasks()
        found += [str(file) for file in self._passing() if file.exists()]
        for folder in (rf"{STATE_FOLDER}\jobs", STAGING):
            host_folder = self.node.path(folder)
            found += [str(entry) for entry in host_folder.iterdir()] if host_folder.is_dir() else []
        for folder in (STATE_FOLDER, ARCHIVES):
            found += [
                str(file)
                for ending in ("*.partial", "*.new", "task-*.xml", "drill-*")
                for file in self.node.path(folder).rglob(ending)
            ]
        return sorted(found)

    def tasks(self) -> list[str]:
        """Names of the scheduled tasks of the node."""
        if self.kind == "windows":
            lines = self.run_program("schtasks.exe", "/Query", "/FO", "CSV", "/NH").splitlines()
            return sorted({line.split('"')[1] for line in lines if line.startswith('"\\AlteryxOps\\')})
        file = self.node.folder / "scheduler.json"
        return sorted(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else []

    def _passing(self) -> list[Path]:
        return [self.node.path(STATE_FOLDER) / name for name in PASSING]

    def recover(self) -> None:
        """Reset the node to the state that a test expects, so that one failure does not cause others."""
        self.node.behave()
        self.minute(60)
        for name in self.tasks():
            with contextlib.suppress(RuntimeError):  # a guard may remove itself just now
                self.run_program("schtasks.exe", "/Delete", "/TN", name, "/F")
        for file in self._passing():
            file.unlink(missing_ok=True)
        # The behaviour is read twice a second: what hung is on its way now.
        limit = time.monotonic() + 20
        while self.node.service().state.endswith("Pending") and time.monotonic() < limit:
            time.sleep(0.2)
        if self.node.service().state == "Stopped":
            with contextlib.suppress(RuntimeError):
                self.start_service()
        time.sleep(0.5)  # a start that failed becomes visible soon
        if self.node.service().state != "Running" and self.kind != "windows":
            self.node.reboot()


@contextlib.contextmanager
def running_lab(kind: str, purpose: str = "test", count: int = 1) -> Iterator[Lab]:
    """A lab, brought down whatever happens, even to this process."""
    worker = os.environ.get(
        "PYTEST_XDIST_WORKER"
    )  # each has labs of its own: it would wait for those of another to the end
    folder = layout.LAB / "-".join(filter(None, (purpose, kind, worker)))
    environment = {**os.environ, "ALTERYX_LAB_DIR": str(folder)}
    folder.mkdir(parents=True, exist_ok=True)
    _share_cache(folder)
    with _alone(folder):
        yield from _running(kind, folder, environment, count)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait for another test run that uses this folder: it would take the lab down in the middle of this one."""
    with (folder / "tests.lock").open("w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _running(kind: str, folder: Path, environment: dict[str, str], count: int) -> Iterator[Lab]:
    keeper = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.lab_keeper"],
        cwd=layout.ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    assert keeper.stdin
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tests.lab", "up", "--node", kind, "--count", str(count)],
            cwd=layout.ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=580,
            check=False,
        )
        assert done.returncode == 0, f"the lab did not come up:\n{done.stdout}{done.stderr}"
        state = lab_state.read(folder / "lab.json")
        assert state
        yield Lab(kind, folder, state.nodes[0], state.control_port, tuple(state.nodes))
    finally:
        keeper.stdin.close()
        keeper.wait(120)


def _share_cache(folder: Path) -> None:
    layout.CACHE.mkdir(parents=True, exist_ok=True)
    if not (folder / "cache").exists():
        (folder / "cache").symlink_to(os.path.relpath(layout.CACHE, folder), target_is_directory=True)


def run_id_pattern(word: str) -> re.Pattern[str]:
    """Identity of a run, its stamp as a group."""
    return re.compile(rf"{word}_(\d{{8}}_\d{{6}})_[0-9a-f]{{4}}")

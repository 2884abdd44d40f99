# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests may ask of a node, whatever kind it is. An outside observer: nothing here goes through the collection."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from . import layout, wine_node
from .fleet_roles import Role

Kind = Literal["wine", "standin"]
SERVICE = "AlteryxService"
ENGINE = r"C:\Program Files\Alteryx\bin\AlteryxEngineCmd.exe"
STANDIN_SERVICE = "standin-service.json"  # {"state": "Running", "pid": 1234, "started": 1700000000.0}
STANDIN_ENGINES = "standin-engines.json"  # [{"pid": 4711, "started": 1700000000.0, "until": 1700000060.0}, ...]


@dataclass(frozen=True)
class ServiceState:
    """The Alteryx service as the node's service manager sees it."""

    state: str  # Running, Stopped, StartPending, StopPending, Absent
    pid: int | None = None
    started: float | None = None


@dataclass(frozen=True)
class Process:
    """One process of the node, with its Windows process id."""

    pid: int
    name: str
    command_line: str
    parent: int = 0
    started: float | None = None


@dataclass(frozen=True)
class Node:
    """A node of the lab: how to reach it, and how to look at it from outside."""

    name: str
    kind: Kind
    host: str
    port: int
    user: str
    password: str
    folder: Path
    control_port: int | None = None  # the daemon's; None while no daemon runs
    role: Role = "single"

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Node:
        """A node from its entry in lab.json."""
        return cls(**{**state, "folder": Path(state["folder"])})

    def to_state(self) -> dict[str, Any]:
        """The node's entry in lab.json."""
        return {**asdict(self), "folder": str(self.folder)}

    def path(self, windows_path: str) -> Path:
        r"""Host path of a Windows path such as ``C:\ProgramData\Alteryx``; the case of names does not matter but on
        shares."""
        if windows_path.startswith("\\\\"):
            return layout.share(self.folder, windows_path)
        letter, colon, rest = windows_path.partition(":")
        if len(letter) != 1 or not colon:
            raise ValueError(f"not an absolute Windows path: {windows_path}")
        found = layout.drive(self.folder, letter)
        for part in rest.replace("/", "\\").split("\\"):
            if part:
                found = _entry(found, part)
        return found

    def service(self) -> ServiceState:
        """The service's state, asked of the service manager and not of the collection."""
        if self.kind == "standin":
            return ServiceState(**_read_json(self._lab_file(STANDIN_SERVICE), {"state": "Absent"}))
        answer = json.loads(self._labctl("service", SERVICE))
        return ServiceState(answer["state"], answer["pid"] or None, answer["started"] or None)

    def processes(self) -> list[Process]:
        """Every process of the node."""
        if self.kind == "standin":
            return self._standin_processes()
        return [Process(**entry) for entry in json.loads(self._labctl("processes"))]

    def behave(self, **settings: str) -> None:
        """Tell the node's doubles what to do wrong; without settings: nothing any more."""
        file = layout.behaviour_file(self.folder)
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_suffix(f".{os.getpid()}")
        draft.write_text("".join(f"{key}={value}\r\n" for key, value in settings.items()), encoding="ascii", newline="")
        draft.replace(file)

    def junction(self, path: str, target: str) -> None:
        """Make a junction (Windows paths): scripts of the node see a folder with a reparse point."""
        link, folder = self.path(path), self.path(target)
        if not folder.is_dir():
            raise NotADirectoryError(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(folder, target_is_directory=True)

    def fill(self, *folders: str) -> None:
        """Let the drive be full for these folders of a Wine node and all below them (Windows paths).

        No file there can grow. What is there can be written over, and empty files and folders can be made. Free space
        is reported as ever.
        """
        wine_node.list_folders(self.folder, wine_node.FULL_FOLDERS, *(self.path(folder) for folder in folders))

    def empty_again(self) -> None:
        """There is room again."""
        wine_node.list_folders(self.folder, wine_node.FULL_FOLDERS)

    def hang(self, *folders: str) -> None:
        """Make every process of a Wine node hang that lists one of these folders or one below it (Windows paths)."""
        wine_node.list_folders(self.folder, wine_node.HUNG_FOLDERS, *(self.path(folder) for folder in folders))

    def answer_again(self) -> None:
        """Folders can be listed again."""
        wine_node.list_folders(self.folder, wine_node.HUNG_FOLDERS)

    def hold(self, path: str, seconds: float) -> subprocess.Popen[bytes]:
        """Keep a file of a Wine node open (Windows path), so that no other process of the node can open it; in the
        background.

        For that many seconds, this waits until no other process has the file open; then the process says ``held`` on
        its standard output and keeps the file for as long again. Kill the process to release the file.
        """
        return subprocess.Popen(
            wine_node.wine_command(self.folder, wine_node.LABCTL, "hold", path, str(seconds)),
            env=wine_node.environment(self.folder),
            cwd=layout.drive(self.folder, "c"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def start_attempts(self) -> list[str]:
        """Every start of AlteryxService that a script has asked for: time (UTC) and process id, in order."""
        file = self._lab_file("start-attempts.txt")
        return file.read_text(encoding="ascii").splitlines() if file.exists() else []

    def start_engine(self, seconds: float) -> None:
        """Start a job's AlteryxEngineCmd.exe that ends by itself after that many seconds;
        returns once it can be seen."""
        if self.kind == "standin":
            self._start_standin_engine(seconds)
            return
        before = {process.pid for process in self.processes()}
        subprocess.Popen(
            wine_node.wine_command(self.folder, ENGINE, str(seconds)),
            env=wine_node.environment(self.folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=layout.drive(self.folder, "c"),
            start_new_session=True,
        )
        limit = time.monotonic() + 30
        while not any(p.name.lower() == "alteryxenginecmd.exe" and p.pid not in before for p in self.processes()):
            if time.monotonic() > limit:
                raise TimeoutError(f"{self.name}: AlteryxEngineCmd.exe did not start")
            time.sleep(0.1)

    def winrm_log(self) -> Path:
        """JSON lines, one per WS-Man request."""
        return layout.winrm_log(self.folder)

    def reboot(self) -> None:
        """Power the node off and on again; returns once its service manager answers."""
        if self.control_port is None:
            if self.kind == "wine":
                wine_node.power_off(self.folder)
                wine_node.boot(self.folder)
            return
        # One JSON line there, one back: the daemon owns boot triggers and must know of the reboot.
        with socket.create_connection((self.host, self.control_port), timeout=180) as connection:
            connection.sendall(json.dumps({"verb": "reboot", "node": self.name}).encode() + b"\n")
            answer = json.loads(connection.makefile("rb").readline() or b"{}")
        if not answer.get("ok"):
            raise RuntimeError(f"{self.name}: reboot failed: {answer.get('error', 'no answer')}")

    def _labctl(self, *arguments: str) -> str:
        return wine_node.run(self.folder, wine_node.LABCTL, *arguments, timeout=60)

    def _lab_file(self, name: str) -> Path:
        return layout.drive(self.folder, "c") / "AlteryxLab" / name

    def _standin_processes(self) -> list[Process]:
        service = self.service()
        found = [
            Process(entry["pid"], "AlteryxEngineCmd.exe", ENGINE, started=entry["started"])
            for entry in _read_json(self._lab_file(STANDIN_ENGINES), [])
            if entry["until"] > time.time()
        ]
        if service.pid:
            found.append(
                Process(
                    service.pid,
                    "AlteryxService.exe",
                    r"C:\Program Files\Alteryx\bin\AlteryxService.exe",
                    started=service.started,
                )
            )
        return found

    def _start_standin_engine(self, seconds: float) -> None:
        file = self._lab_file(STANDIN_ENGINES)
        engines = [entry for entry in _read_json(file, []) if entry["until"] > time.time()]
        engines.append({"pid": 9000 + len(engines), "started": time.time(), "until": time.time() + seconds})
        draft = file.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps(engines), encoding="utf-8")
        draft.replace(file)


def _entry(folder: Path, name: str) -> Path:
    """The entry of a folder whatever its case; the name as given where there is none yet."""
    exact = folder / name
    if exact.exists() or not folder.is_dir():
        return exact
    wanted = name.casefold()
    return next((entry for entry in folder.iterdir() if entry.name.casefold() == wanted), exact)


def _read_json(file: Path, absent: Any) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return absent

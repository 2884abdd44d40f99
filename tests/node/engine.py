# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Windows PowerShell and nothing else: runs the collection's scripts and jobs in a Wine prefix of their own, without
service, database or WinRM."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests import reasons
from tests.lab import layout, wine_node

CODE = r"C:\code"
JOBS = r"C:\jobs"
_IDLE_SECONDS = 60  # how long Windows stays up without a process: a start then takes 0.3 s instead of 3
_NOISE = re.compile(r"[^\n]*Read access denied for device [^\n]*\n?")
_LOAD = """Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
foreach ($file in [IO.Directory]::GetFiles('C:\\code', '*.psm1')) {
    $module = [scriptblock]::Create([IO.File]::ReadAllText($file))
    $name = [IO.Path]::GetFileNameWithoutExtension($file)
    New-Module -Name $name -ScriptBlock $module -ArgumentList 'C:\\code' | Import-Module -Global
}
"""


class EngineError(RuntimeError):
    """A script ended with an error; its text is what the engine wrote."""


@dataclass(frozen=True)
class JobEnd:
    """How a node job ended: its result (state, reason and msg of a failure ...), last status and log, and what it
    printed (nothing, if all is well)."""

    result: dict[str, Any]
    status: dict[str, Any]
    log: str
    output: str


@dataclass(frozen=True)
class Engine:
    """A prefix with the lab PowerShell and the collection's node code in it."""

    folder: Path
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def path(self, windows_path: str) -> Path:
        r"""Host path of a path of drive C: or D:, or on a share."""
        if windows_path.startswith("\\\\"):
            return layout.share(self.folder, windows_path)
        drive, _unused, rest = windows_path.partition(":\\")
        return layout.drive(self.folder, drive).joinpath(*rest.split("\\"))

    def run(
        self,
        script: str,
        *,
        timeout: float = 60,
        environment: Mapping[str, str] | None = None,
        under: Sequence[str] = (),
    ) -> str:
        """Run a script with all modules of the node code loaded; returns what it printed.

        Raises:
            EngineError: it ended with an error.
        """
        file = self.path(rf"C:\scripts\{next(self._numbers)}.ps1")
        file.parent.mkdir(exist_ok=True)
        file.write_text(_LOAD + script, encoding="utf-8")
        return self.command(
            rf"& ([scriptblock]::Create([IO.File]::ReadAllText('C:\scripts\{file.name}')))", timeout, environment, under
        )

    def run_job(
        self,
        job: str,
        spec: Mapping[str, Any],
        *,
        timeout: float = 120,
        environment: Mapping[str, str] | None = None,
        name: str = "",
        under: Sequence[str] = (),
        code: str = CODE,
        cancelled: bool = False,
    ) -> JobEnd:
        """Run a job to its end under job_host.ps1, as the Task Scheduler would.

        Args:
            job: name of its script.
            spec: what it is told.
            timeout: seconds.
            environment: variables for the engine.
            name: of its folder under JOBS, for who looks into it meanwhile.
            under: a command of the host that runs the engine, e.g. prlimit.
            code: the folder with its scripts.
            cancelled: before it begins.
        """
        name = name or str(next(self._numbers))
        folder = self.path(rf"{JOBS}\{name}")
        folder.mkdir(parents=True)
        (folder / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
        if cancelled:
            (folder / "cancel").touch()
        host = rf"[IO.File]::ReadAllText('{code}\job_host.ps1')"
        log = folder / "job.log"
        try:
            output = self.command(
                rf"& ([scriptblock]::Create({host})) '{JOBS}\{name}' '{code}' '{job}'", timeout, environment, under
            )
        except EngineError as error:
            # How far the job came tells a fault of the lab's engine from one of the job.
            files = [path for path in sorted(folder.iterdir()) if path.is_file()]
            left = {file.name: file.read_text(encoding="utf-8", errors="replace").strip()[-1000:] for file in files}
            raise EngineError(f"{error}\nThe job has left: {left}") from error
        result = _json(folder / "result.json")
        if result.get("reason"):
            reasons.saw(result["reason"])
        return JobEnd(
            result, _json(folder / "status.json"), log.read_text(encoding="utf-8") if log.exists() else "", output
        )

    def command(
        self, command: str, timeout: float = 60, environment: Mapping[str, str] | None = None, under: Sequence[str] = ()
    ) -> str:
        """Run a command line of PowerShell as it is; see run and run_job."""
        argv = [
            *under,
            *wine_node.wine_command(
                self.folder, r"C:\pwsh-win-x64\pwsh.exe", "-NoProfile", "-NonInteractive", "-Command", command
            ),
        ]
        done = subprocess.run(
            argv,
            env={**wine_node.environment(self.folder), **(environment or {})},
            cwd=layout.drive(self.folder, "c"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        errors = _NOISE.sub("", done.stderr.decode("utf-8", "replace").replace("\r\n", "\n"))
        if done.returncode or errors:
            raise EngineError(f"exit code {done.returncode}: {errors}{done.stdout.decode('utf-8', 'replace')[-2000:]}")
        return done.stdout.decode("utf-8", "replace").replace("\r\n", "\n")


@contextlib.contextmanager
def running_engine() -> Iterator[Engine]:
    """An engine in a prefix of its own, which is gone afterwards."""
    # Here: conftest.py imports this file before the collection's name resolves.
    from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._node import _node_code

    layout.LAB.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="engine-", dir=layout.LAB))
    try:
        wine_node.new_prefix(folder)
        wine_node.put_powershell(folder)
        engine = Engine(folder)
        engine.path(CODE).mkdir()
        for name, text in json.loads(_node_code.scripts()).items():
            (engine.path(CODE) / name).write_text(text, encoding="utf-8")
        _stay_up(folder)
        yield engine
    finally:
        wine_node.power_off(folder)
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def watching(look: Callable[[], bool]) -> Iterator[None]:
    """Look again and again meanwhile, from another thread, until that gives True. A file that is just being written is
    looked at later."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            with contextlib.suppress(OSError, ValueError):
                if look():
                    return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextlib.contextmanager
def denying(engine: Engine) -> Iterator[None]:
    """Windows obeys the permissions of the host meanwhile, also for root: a folder of mode 0 is denied."""
    obey = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
    wine_node.power_off(engine.folder)
    try:
        _stay_up(engine.folder, obey)
        yield
    finally:
        wine_node.power_off(engine.folder)
        _stay_up(engine.folder)


def _stay_up(folder: Path, under: Sequence[str] = ()) -> None:
    # Programs that Windows starts once and keeps would inherit the pipes of the first start and hold them open.
    for argv in (["wineserver", f"-p{_IDLE_SECONDS}"], wine_node.wine_command(folder, "cmd.exe", "/c", "rem")):
        subprocess.run(
            [*under, *argv],
            env=wine_node.environment(folder),
            check=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def _json(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The third kind of node: the real Windows around WSL 1, with the lab's doubles of Alteryx' programs on it. UNPROVED:
no Windows was in reach.

Ansible and pytest run in WSL, where drive C is /mnt/c, Windows programs start like any other and the
loopback address is the same.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tests.lab import alteryx_install, certificates, inventory, layout, native_build
from tests.lab.node import ENGINE, SERVICE, Node

_NAME = "windows-lab-1"
_LAB = r"C:\AlteryxLab"


class WindowsNode(Node):
    """This machine's Windows."""

    def run(self, program: str, *arguments: str, timeout: float = 60) -> str:
        """Run a Windows program to its end; a name without a folder is one of system32."""
        path = program if ":" in program else rf"C:\Windows\System32\{program}"
        done = subprocess.run(
            [str(self.path(path)), *arguments], cwd="/mnt/c", capture_output=True, timeout=timeout, check=False
        )
        if done.returncode:
            raise RuntimeError(
                f"{program} ended with {done.returncode}: {(done.stdout + done.stderr).decode(errors='replace')}"
            )
        return done.stdout.decode("utf-8", "replace")

    def start_engine(self, seconds: float) -> None:
        """As on the other kinds."""
        self._start(ENGINE, str(seconds))
        limit = time.monotonic() + 30
        while (
            not any(process.name.lower() == "alteryxenginecmd.exe" for process in self.processes())
            and time.monotonic() < limit
        ):
            time.sleep(0.2)

    def install(self) -> None:
        """Put an Alteryx Server of doubles on it, with a seeded database, and start it."""
        self.path(rf"{_LAB}\bin").mkdir(parents=True, exist_ok=True)
        alteryx_install.put_database_programs(self.folder)
        for name, folder in (
            ("AlteryxService.exe", alteryx_install.BIN),
            ("AlteryxEngineCmd.exe", alteryx_install.BIN),
            ("labctl.exe", rf"{_LAB}\bin"),
        ):
            shutil.copyfile(native_build.programs() / name, self.path(folder) / name)
        for folder in alteryx_install.FOLDERS:
            self.path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as temporary:
            seeded = Path(temporary)
            alteryx_install.make_seed(self.folder, self._start, seeded)
            for path, content in alteryx_install.files(
                json.loads((seeded / "passwords.json").read_text(encoding="utf-8"))
            ).items():
                self.path(path).parent.mkdir(parents=True, exist_ok=True)
                self.path(path).write_bytes(content)
            shutil.move(seeded / "data", self.path(alteryx_install.DATA))
        alteryx_install.set_ports(self.folder, "single", mongo=alteryx_install.free_port(), service=0)
        for key, values in alteryx_install.REGISTRY.items():
            for name, value in values.items():
                form = ("REG_BINARY", value.hex()) if isinstance(value, bytes) else ("REG_SZ", str(value))
                self.run("reg.exe", "add", rf"HKLM\{key}", "/v", name, "/t", form[0], "/d", form[1], "/f")
        self.run(
            "sc.exe", "create", SERVICE, "start=", "auto", "binPath=", rf'"{alteryx_install.BIN}\AlteryxService.exe"'
        )
        self.run(rf"{_LAB}\bin\labctl.exe", "start", SERVICE, "60", timeout=90)

    def uninstall(self) -> None:
        """Take the service away; the files stay."""
        with contextlib.suppress(RuntimeError):
            self.run(rf"{_LAB}\bin\labctl.exe", "stop", SERVICE, "60", timeout=90)
        self.run("sc.exe", "delete", SERVICE)

    def _labctl(self, *arguments: str) -> str:
        return self.run(rf"{_LAB}\bin\labctl.exe", *arguments)

    def _start(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [str(self.path(program)), *arguments],
            cwd="/mnt/c",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


@contextlib.contextmanager
def running_windows(folder: Path) -> Iterator[WindowsNode]:
    """The node, installed, and an inventory of it at the place where ``lab up`` writes one."""
    home = folder / "nodes" / _NAME
    home.mkdir(parents=True, exist_ok=True)
    for drive in "cd":
        if not (home / drive).is_symlink():
            (home / drive).symlink_to(f"/mnt/{drive}", target_is_directory=True)
    node = WindowsNode(
        name=_NAME,
        kind="wine",
        host=os.environ["ALTERYX_LAB_HOST"],
        port=5986,
        user=os.environ["ALTERYX_LAB_USER"],
        password=os.environ["ALTERYX_LAB_PASSWORD"],
        folder=home,
    )
    made = replace(certificates.ensure(folder / "certificates"), authority=Path(os.environ["ALTERYX_LAB_CERTIFICATE"]))
    content = inventory.write([node], made, folder / "inventory" / "lab.yml")
    text = content.read_text(encoding="utf-8").replace(str(layout.RUNS), str(folder / "runs"))
    content.write_text(text, encoding="utf-8")
    try:
        node.install()
        yield node
    finally:
        node.uninstall()
        content.unlink()

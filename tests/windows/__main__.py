# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the scripts of this folder on a Wine node of a running lab and keeps what they write as the example.

``python -m tests.windows [SCRIPT ...]`` after ``make lab-up``; without names: all of them.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from tests.lab import cache, layout, native_build, wine_node
from tests.lab.node import Node

HERE = Path(__file__).resolve().parent
EXAMPLE = HERE / "transcripts" / "example-wine"
CHECKOUT = r"C:\checkout"
# What a script is told beside its output folder.
ARGUMENTS = {
    "record_windows": [],
    "record_alteryx": ["-StopService"],
    "try_window": ["-ServiceProgram", rf"{CHECKOUT}\plain_service.exe"],
}
SECONDS = 900


def first_node() -> Node:
    """A Wine node of the running lab."""
    nodes = json.loads(layout.STATE_FILE.read_text(encoding="utf-8"))["nodes"]
    return next(node for node in map(Node.from_state, nodes) if node.kind == "wine")


def plain_service() -> Path:
    """The service of try_window.ps1, compiled for Wine."""
    source = HERE / "plain_service.c"

    def build(draft: Path) -> None:
        command = [
            native_build.COMPILER,
            *native_build.FLAGS,
            "-o",
            str(draft / "plain_service.exe"),
            str(source),
            "-ladvapi32",
        ]
        subprocess.run(command, check=True, timeout=120)

    return cache.folder(f"plain-service-{cache.digest(source)}", build) / "plain_service.exe"


def record(node: Node, script: str) -> None:
    """Run one script on the node, as README.md tells a person to, and fetch what it has written."""
    checkout, output = node.path(CHECKOUT), node.path(rf"C:\transcript-{script}")
    for folder in (checkout, output):
        shutil.rmtree(folder, ignore_errors=True)
    for source in (HERE, layout.ROOT / "plugins" / "module_utils"):
        shutil.copytree(
            source,
            checkout / source.relative_to(layout.ROOT),
            ignore=shutil.ignore_patterns("transcripts", "__pycache__"),
        )
    shutil.copy(plain_service(), checkout)
    shell = r"C:\windows\system32\WindowsPowerShell\v1.0\powershell.exe"
    command = [
        shell,
        "-NoProfile",
        "-NonInteractive",
        "-ExecutionPolicy",
        "Bypass",
        "-File",
        rf"{CHECKOUT}\tests\windows\{script}.ps1",
        "-OutputFolder",
        rf"C:\transcript-{script}",
        *ARGUMENTS[script],
    ]
    # Wine keeps only a part of an access list.
    environment = {**wine_node.environment(node.folder), "ALTERYX_OPS_FOLDER_TRUST": "warn"}
    done = subprocess.run(
        wine_node.wine_command(node.folder, *command),
        env=environment,
        cwd=layout.drive(node.folder, "c"),
        stdin=subprocess.DEVNULL,
        timeout=SECONDS,
        check=False,
    )
    target = EXAMPLE / script
    shutil.rmtree(target, ignore_errors=True)
    if output.is_dir():
        shutil.copytree(output, target)
    print(
        f"{script}: exit code {done.returncode}, "
        f"{len(list(target.glob('*.json')))} files in {target.relative_to(layout.ROOT)}"
    )


if __name__ == "__main__":
    lab_node = first_node()
    for name in sys.argv[1:] or ARGUMENTS:
        record(lab_node, name)

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compiles the lab's Windows programs, once per state of their sources."""

from __future__ import annotations

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import cache, layout

COMPILER = "x86_64-w64-mingw32-gcc"
FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-municode", "-static", "-s", "-DWIN32_LEAN_AND_MEAN")
LIBRARIES = ("-lws2_32", "-ladvapi32", "-lntdll")
PROGRAMS = {
    "AlteryxService.exe": ("alteryx_service.c", "service_loop.c", "service_port.c",
                           "verbs.c", "mongod.c", "mongod_users.c", "settings.c", "behaviour.c", "job.c", "text.c"),
    "AlteryxEngineCmd.exe": ("engine_cmd.c",),
    "labhost.exe": ("labhost.c", "job.c"),
    "labctl.exe": ("labctl.c", "text.c"),
    "schtasks.exe": ("schtasks.c", "text.c"),
    "whoami.exe": ("whoami.c",),
}


def programs() -> Path:
    """Folder that holds every program of PROGRAMS."""
    compiler = shutil.which(COMPILER)
    if compiler is None:
        raise RuntimeError(f"{COMPILER} is missing: apt-get install gcc-mingw-w64-x86-64")
    version = subprocess.run([compiler, "-dumpfullversion"], check=True, capture_output=True, text=True, timeout=60).stdout
    sources = sorted(layout.NATIVE_SOURCES.glob("*.[ch]"))
    return cache.folder(f"native-{cache.digest(version, repr((FLAGS, LIBRARIES, PROGRAMS)), *sources)}", lambda draft: _compile(compiler, draft))


def _compile(compiler: str, draft: Path) -> None:
    def compile_one(program: str) -> None:
        done = subprocess.run(
            [compiler, *FLAGS, "-o", str(draft / program), *(str(layout.NATIVE_SOURCES / source) for source in PROGRAMS[program]), *LIBRARIES],
            capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            raise RuntimeError(f"{program} does not compile:\n{done.stderr}")

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(compile_one, PROGRAMS))  # list: so that an error is raised here

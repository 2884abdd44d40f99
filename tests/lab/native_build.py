# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compiles the lab's own programs, once per state of their sources."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import cache, layout

COMPILER = "x86_64-w64-mingw32-gcc"
FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-municode", "-static", "-s", "-DWIN32_LEAN_AND_MEAN")
LIBRARIES = ("-lws2_32", "-ladvapi32", "-lntdll", "-lbcrypt")
POWERSHELL = "powershell.exe"
PROGRAMS = {
    "AlteryxService.exe": (
        "alteryx_service.c",
        "service_loop.c",
        "service_port.c",
        "verbs.c",
        "emongorestore.c",
        "database_tool.c",
        "controlled_mongod.c",
        "mongod.c",
        "mongod_users.c",
        "mongod_login.c",
        "mongod_loss.c",
        "mongo_message.c",
        "settings.c",
        "behaviour.c",
        "job.c",
        "text.c",
    ),
    "AlteryxService_MongoController.exe": ("mongo_controller.c", "mongod.c", "settings.c", "job.c", "text.c"),
    "AlteryxEngineCmd.exe": ("engine_cmd.c",),
    "conhost.exe": ("console_host.c",),
    "labhost.exe": ("labhost.c", "job.c"),
    "labctl.exe": ("labctl.c", "text.c"),
    "schtasks.exe": ("schtasks.c", "text.c"),
    "whoami.exe": ("whoami.c",),
    POWERSHELL: (
        "powershell.c",
        "wine_mends.c",
        "service_faults.c",
        "process_faults.c",
        "directory_links.c",
        "event_log.c",
        "export_hook.c",
        "behaviour.c",
        "text.c",
    ),
}
SYMBOLS = "dbghelp.dll"
SYMBOLS_SOURCE = "dbghelp.c"
CSHARP_COMPILER = "mcs"
ENGINE_HOOK = "EngineHook.dll"
ENGINE_HOOK_SOURCES = ("startup_hook.cs", "behaviour.cs", "compile_cache.cs")
ENGINE_FUNCTIONS = ("get_cim_instance.ps1", "add_type.ps1", "new_module.ps1")
LINUX_COMPILER = "gcc"
LINUX_FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-s")
FULL_DRIVE = "full_drive.so"
FULL_DRIVE_SOURCE = "full_drive.c"
CSHARP_FLAGS = ("-langversion:5", "-target:library", "-optimize", "-warnaserror")

_DRAFT = "{draft}"  # the folder to which a command writes; its place is not part of the digest


def programs() -> Path:
    """Folder that holds every program of PROGRAMS, SYMBOLS, ENGINE_HOOK and FULL_DRIVE."""
    compiler = _found(COMPILER, "gcc-mingw-w64-x86-64")
    csharp = _found(CSHARP_COMPILER, "mono-mcs")
    linux = _found(LINUX_COMPILER, "gcc libc6-dev")
    commands = {
        program: [compiler, *FLAGS, "-o", f"{_DRAFT}/{program}", *parts, *LIBRARIES]
        for program, parts in PROGRAMS.items()
    }
    commands[SYMBOLS] = [compiler, *FLAGS, "-shared", "-o", f"{_DRAFT}/{SYMBOLS}", SYMBOLS_SOURCE]
    commands[ENGINE_HOOK] = [
        csharp,
        *CSHARP_FLAGS,
        f"-out:{_DRAFT}/{ENGINE_HOOK}",
        *(f"-resource:{name},{name}" for name in ENGINE_FUNCTIONS),
        *ENGINE_HOOK_SOURCES,
    ]
    commands[FULL_DRIVE] = [linux, *LINUX_FLAGS, "-o", f"{_DRAFT}/{FULL_DRIVE}", FULL_DRIVE_SOURCE]
    sources = sorted(file for file in layout.NATIVE_SOURCES.iterdir() if file.suffix in (".c", ".h", ".cs", ".ps1"))
    digest = cache.digest(_version(compiler), _version(linux), repr(commands), *sources)
    return cache.folder(f"native-{digest}", lambda draft: _build(commands, draft))


def _version(compiler: str) -> str:
    return subprocess.run([compiler, "-dumpfullversion"], check=True, capture_output=True, text=True, timeout=60).stdout


def _found(compiler: str, package: str) -> str:
    program = shutil.which(compiler)
    if program is None:
        raise RuntimeError(f"{compiler} is missing: apt-get install {package}")
    return program


def _build(commands: Mapping[str, Sequence[str]], draft: Path) -> None:
    def build_one(program: str) -> None:
        command = [part.replace(_DRAFT, str(draft)) for part in commands[program]]
        done = subprocess.run(
            command, cwd=layout.NATIVE_SOURCES, capture_output=True, text=True, timeout=300, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{program} does not compile:\n{done.stdout}{done.stderr}")

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(build_one, commands))  # list: so that an error is raised here

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What this machine can run: is everything here that a Wine node is made of?"""

from __future__ import annotations

import platform
import shutil

from . import engine

_PROGRAMS = {"wine": "wine", "x86_64-w64-mingw32-gcc": "gcc-mingw-w64-x86-64"}


def missing_for_wine() -> list[str]:
    """What a Wine node would lack here, in words; empty where one can run."""
    missing = []
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        missing.append(f"Linux on x86_64 (this is {platform.system()} on {platform.machine()})")
    missing += [
        f"{program} (Debian package {package})" for program, package in _PROGRAMS.items() if not shutil.which(program)
    ]
    try:
        engine.windows_source()
    except engine.EngineError as error:
        missing.append(f"a PowerShell for Windows ({error})")
    return missing

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The PowerShell that runs the static checks: natively on Linux, one process for many files."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.lab import downloads, engine


@cache
def pwsh() -> Path:
    """A pwsh for this machine: the lab's, else one that is installed; skips the test where there is none."""
    try:
        return engine.linux_pwsh()
    except engine.EngineError as error:
        installed = shutil.which("pwsh")
        if not installed:
            pytest.skip(f"no PowerShell for the static checks: {error}")
        return Path(installed)


@cache
def script_analyzer() -> Path:
    """The module file of PSScriptAnalyzer; skips the test where it cannot be had."""
    pwsh()  # without it there is no use for the module: nothing is fetched then
    try:
        return downloads.script_analyzer()
    except downloads.DownloadError as error:
        pytest.skip(f"no PSScriptAnalyzer for the static checks: {error}")


def run(script: Path, *arguments: Path | str, timeout: int = 240) -> str:
    """Run a script file and return what it printed; its error output is the failure's text."""
    command = [pwsh(), "-NoProfile", "-NonInteractive", "-File", script, *arguments]
    done = subprocess.run(
        command, capture_output=True, check=False, text=True, timeout=timeout, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, f"{script.name} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout

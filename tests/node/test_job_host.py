# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What job_host.ps1 prepares before a job begins."""

from __future__ import annotations

import pytest

from tests.node.engine import CODE, Engine

pytestmark = pytest.mark.wine

SWITCHES = ("Switch.System.IO.Compression.DoNotUseNativeZipLibraryForDecompression",
            "Switch.System.IO.UseLegacyPathHandling", "Switch.System.IO.BlockLongPaths")  # fmt: skip


def test_a_job_has_the_native_inflater_and_long_paths_whatever_the_default_of_the_host_is(engine: Engine) -> None:
    asked = "; ".join(
        f"$is = $null; [Console]::Out.WriteLine([AppContext]::TryGetSwitch('{name}', [ref]$is)); "
        "[Console]::Out.WriteLine($is)"
        for name in SWITCHES
    )
    # There is no such job: the host ends as soon as it sees that.
    host = (
        rf"& ([scriptblock]::Create([IO.File]::ReadAllText('{CODE}\job_host.ps1'))) "
        rf"'C:\jobs\absent' '{CODE}' 'dump_job'"
    )
    defaults = "; ".join(f"[AppContext]::SetSwitch('{name}', $true)" for name in SWITCHES)
    assert engine.command(f"{defaults}; {host}; {asked}").split() == ["True", "False"] * 3

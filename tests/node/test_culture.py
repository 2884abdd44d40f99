# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Regional settings of a node change no verdict: to ignore case, Turkish makes other letters of I and i."""

from __future__ import annotations

import pytest

from tests.node.engine import Engine

pytestmark = pytest.mark.wine


def test_a_verb_that_fails_in_capitals_has_failed_in_turkey_too(engine: Engine) -> None:
    engine.path(r"C:\scripts").mkdir(exist_ok=True)
    engine.path(r"C:\scripts\says.ps1").write_text('[Console]::Out.Write("INVALID ARGUMENT")', encoding="ascii")
    script = r"""
    Import-NodeType -Name 'ProcessTable'
    [Threading.Thread]::CurrentThread.CurrentCulture = New-Object System.Globalization.CultureInfo 'tr-TR'
    (Get-VerbAnswer -Executable 'C:\pwsh-win-x64\pwsh.exe' -Verb 'C:\scripts\says.ps1' -TimeoutSeconds 100).problem
    """
    assert engine.run(script, timeout=180).startswith("gave no usable answer")

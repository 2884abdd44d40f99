# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Engines that the lab starts ahead of time answer as those that it starts when they are asked
for, over every module."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.lab import control

from .kinds import wine_only
from .lab_of_tests import Lab
from .playbook_run import PlaybookRunner
from .test_contract import ask_every_module

pytestmark = [wine_only, pytest.mark.long, pytest.mark.timeout(4800)]

# What is another each time: identities of runs, hashes, process ids, times, sizes of what is compressed, seconds.
_CHANGING = [
    re.compile(pattern)
    for pattern in (
        r"(?<=_)\d{8}_\d{6}_[0-9a-f]{4}\b",
        r"\b[0-9a-f]{32,64}\b",
        r"-----BEGIN CMS-----.*?-----END CMS-----",
        r"\d+(\.\d+)?",
    )
]


def without_what_changes(value: Any) -> Any:
    """An answer of a module, numbers and identities masked; texts, keys, order and types stay."""
    if isinstance(value, dict):
        return {without_what_changes(key): without_what_changes(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_what_changes(inner) for inner in value]
    if isinstance(value, str):
        for pattern in _CHANGING:
            value = pattern.sub("#", value)
        return value
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else value


def test_every_module_answers_the_same_from_an_engine_that_waited(
    lab: Lab, run_playbook: PlaybookRunner, tmp_path: Path
) -> None:
    answers = {}
    try:
        for wanted in (False, True):
            control.ask(lab.control_port, "ready_engines", wanted=wanted)
            folder = tmp_path / str(wanted)
            folder.mkdir()
            answers[wanted] = without_what_changes(ask_every_module(lab, run_playbook, folder))
    finally:
        control.ask(lab.control_port, "ready_engines", wanted=True)
    cold, warm = answers[False], answers[True]
    assert len(cold) > 30
    different = {name for name in cold.keys() | warm.keys() if cold.get(name) != warm.get(name)}
    shown = {name: {"cold": cold.get(name), "warm": warm.get(name)} for name in different}
    assert different == set(), json.dumps(shown, indent=1)[:6000]

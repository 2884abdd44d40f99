# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every reason is given by our code and reached by a test, every exit code too; the tests prove it when they
run (tests/reasons.py)."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from typing import Any

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import EXIT_CODES, REASONS
from tests.checks import sources

PLUGINS = sources.ROOT / "plugins"
# Where node code runs, and not a double of it.
NODE_TESTS = ("tests/integration/", "tests/faults/", "tests/node/")


@cache
def code(suffixes: tuple[str, ...]) -> str:
    """The collection's sources with these suffixes."""
    files = [file for file in sources.project_files() if file.is_relative_to(PLUGINS) and file.suffix in suffixes]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def named_in(name: str, *suffixes: str) -> bool:
    """Does the code use this reason? Its name is a string in the code."""
    return f"'{name}'" in code(suffixes) or f'"{name}"' in code(suffixes)


@pytest.fixture(scope="module")
def claims() -> list[dict[str, Any]]:
    """What each test with the marker `reaches` claims: test, reasons, exit_codes."""
    folders = [f"tests/{folder}" for folder in ("unit", "integration", "faults", "node")]
    command = [sys.executable, "-m", "pytest", "-p", "tests.reasons", "--collect-only", "-q", "-m", "", *folders]
    done = subprocess.run(
        command, cwd=sources.ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def test_every_reason_and_every_code_has_a_test(claims: list[dict[str, Any]]) -> None:
    assert {reason for claim in claims for reason in claim["reasons"]} == set(REASONS)
    assert {code for claim in claims for code in claim["exit_codes"]} == set(EXIT_CODES)


def test_every_reason_is_given_by_our_code() -> None:
    assert [name for name in REASONS if not named_in(name, ".py", ".ps1", ".psm1", ".cs")] == []


def test_what_only_a_node_can_say_is_reached_where_node_code_runs(claims: list[dict[str, Any]]) -> None:
    reached = {reason for claim in claims if _runs_node_code(claim["test"]) for reason in claim["reasons"]}
    assert {name for name in REASONS if not named_in(name, ".py")} - reached == set()


def _runs_node_code(test: str) -> bool:
    """tests/node and tests/faults run under Wine only; integration tests on the kind that
    stands in their parameters."""
    kinds = {"wine", "windows"} & set(test.partition("[")[2].removesuffix("]").split("-"))
    return test.startswith(NODE_TESTS) and (not test.startswith("tests/integration/") or bool(kinds))


def test_exit_codes_are_those_of_runs_of_ansible_playbook(claims: list[dict[str, Any]]) -> None:
    runs = ("tests/integration/", "tests/faults/")
    assert [claim for claim in claims if claim["exit_codes"] and not claim["test"].startswith(runs)] == []


def test_every_exit_code_is_told_by_the_reasons() -> None:
    assert {reason.exit_code for reason in REASONS.values()} | {0} == set(EXIT_CODES)

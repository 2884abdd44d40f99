# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every reason is given by our code and reached by a test, every exit code too; the tests themselves prove it when they run (tests/reasons.py)."""

from __future__ import annotations

import subprocess
import sys
from functools import cache

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._outcome import EXIT_CODES, REASONS
from tests import reasons
from tests.checks import sources

PLUGINS = sources.ROOT / "plugins"
TABLE = PLUGINS / "plugin_utils" / "_outcome.py"
# Where node code runs, and not a double of it.
NODE_TESTS = ("integration/", "faults/", "node/")


@cache
def code(suffixes: tuple[str, ...]) -> str:
    """The collection's sources with these suffixes, but for the table itself."""
    files = [file for file in sources.project_files() if file.is_relative_to(PLUGINS) and file.suffix in suffixes and file != TABLE]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def named_in(name: str, *suffixes: str) -> bool:
    """Does the code give this reason? It stands there as a text."""
    return f"'{name}'" in code(suffixes) or f'"{name}"' in code(suffixes)


@pytest.fixture(scope="module")
def collected() -> dict[str, list[str]]:
    """Every test by its id below tests/ without parameters -> the ids of its parameters."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "", *(f"tests/{folder}" for folder in ("unit", "integration", "faults", "node"))]
    done = subprocess.run(command, cwd=sources.ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        if line.startswith("tests/") and "::" in line:
            name, _, words = line.removeprefix("tests/").partition("[")
            found.setdefault(name, []).append(words.removesuffix("]"))
    return found


def matching(test: str, collected: dict[str, list[str]]) -> list[str]:
    """The parameters with which a test of tests/reasons.py runs; empty when there is no such test."""
    name = test.partition("[")[0]
    return [words for words in collected.get(name, []) if reasons.fits(test, name, words)]


def test_every_reason_and_every_code_has_a_test() -> None:
    assert set(reasons.REACHED) == set(REASONS)
    assert set(reasons.EXIT_CODES) == set(EXIT_CODES)


def test_the_tests_are_there(collected: dict[str, list[str]]) -> None:
    named = {**reasons.REACHED, **{str(code): test for code, test in reasons.EXIT_CODES.items()}}
    assert {what: test for what, test in named.items() if not matching(test, collected)} == {}


def test_every_reason_is_given_by_our_code() -> None:
    assert [name for name in REASONS if not named_in(name, ".py", ".ps1", ".psm1", ".cs")] == []


def test_what_only_a_node_can_say_is_reached_where_node_code_runs(collected: dict[str, list[str]]) -> None:
    problems = []
    for name in REASONS:
        if named_in(name, ".py"):
            continue
        test = reasons.REACHED[name]
        # tests/node and tests/faults run under Wine only; integration tests run on a kind that stands in their parameters.
        real = not test.startswith("integration/") or any({"wine", "windows"} & set(words.split("-")) for words in matching(test, collected))
        if not test.startswith(NODE_TESTS) or not real:
            problems.append(f"{name}: {test}")
    assert problems == []


def test_exit_codes_are_those_of_runs_of_ansible_playbook() -> None:
    assert [test for test in reasons.EXIT_CODES.values() if not test.startswith(("integration/", "faults/"))] == []


def test_every_exit_code_is_told_by_the_reasons() -> None:
    assert {reason.exit_code for reason in REASONS.values()} | {0} == set(EXIT_CODES)

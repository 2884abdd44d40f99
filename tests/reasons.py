# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The marker ``reaches``: every reason and every exit code is reached by a test, which proves it whenever it runs.

``@pytest.mark.reaches("stop_timeout", exit_code=2, when="slow")`` claims one or more reasons and at most one exit code
of ansible-playbook, of all parameters of a test or of those that have the word ``when`` in their id (ids are words with
- between). The hook in conftest.py fails a test that has not seen what it claims; tests/checks/test_reasons.py fails
when no test claims a reason or a code.

A reason counts as seen when our own code produced it while the test ran: raised by name in a file of the collection (a
reason that merely passes through, because a test's double said it, does not count), or given by node code to a run of
ansible-playbook or of the engine.
"""

from __future__ import annotations

import json
import re
import sys
from functools import cache, wraps
from types import CodeType
from typing import Any

import pytest

_seen: set[str] = set()
_codes: set[int] = set()


def saw(*names: str) -> None:
    """The running test has seen our code give these reasons."""
    _seen.update(names)


def saw_run(text: str, code: int) -> None:
    """The running test has seen a run of ansible-playbook: what it printed (on one line) and its exit code. Every
    failure prints its hint."""
    _codes.add(code)
    saw(*(name for name, hint in _hints().items() if hint in text))


@cache
def _hints() -> dict[str, str]:
    # Inside: conftest.py imports this file before the collection's name resolves.
    from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import REASONS

    return {name: " ".join(reason.hint.split()) for name, reason in REASONS.items()}


@cache
def listen() -> None:
    """Let the exceptions of the collection tell of their reasons from now on."""
    from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import StepFailed
    from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._node._node_job import JobFailed

    for failure in (StepFailed, JobFailed):
        _listen_to(failure)


def _listen_to(failure: type[Any]) -> None:
    original = failure.__init__

    @wraps(original)
    def told(self: Any, reason: str, *more: Any, **named: Any) -> None:
        original(self, reason, *more, **named)
        if _raised_by_name(sys._getframe(1).f_code, reason):
            saw(reason)

    failure.__init__ = told


def _raised_by_name(code: CodeType, reason: str) -> bool:
    """Does the function that raises name the reason itself? What only passes through is a variable there."""
    return (
        re.search(r"/plugins/(plugin_utils|action)/(\w+/)?\w+\.py$", code.co_filename) is not None
        and reason in code.co_consts
    )


def claims(item: pytest.Item) -> tuple[set[str], set[int]]:
    """The reasons and exit codes that a test claims to reach."""
    words = set(item.name.partition("[")[2].removesuffix("]").split("-"))
    reasons: set[str] = set()
    codes: set[int] = set()
    for mark in item.iter_markers("reaches"):
        if mark.kwargs.get("when", "") in words | {""}:
            reasons.update(mark.args)
            codes.update({mark.kwargs["exit_code"]} if "exit_code" in mark.kwargs else ())
    return reasons, codes


def pytest_collection_finish(session: pytest.Session) -> None:
    """As a plugin (`pytest -p tests.reasons --collect-only`): print a line of JSON for each test
    that claims something."""
    for item in session.items:
        reasons, codes = claims(item)
        if reasons or codes:
            sys.stdout.write(
                json.dumps({"test": item.nodeid, "reasons": sorted(reasons), "exit_codes": sorted(codes)}) + "\n"
            )


def begin() -> None:
    """A test begins."""
    _seen.clear()
    _codes.clear()


def missing(item: pytest.Item) -> list[str]:
    """What the test that has just run claims and has not seen."""
    named, codes = claims(item)
    return sorted(named - _seen) + [f"exit code {code}" for code in sorted(codes - _codes)]

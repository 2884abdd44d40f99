# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which playbooks and roles the tests have run on a Wine node, and how they ended.

`make test` must show each of them with a good run and with a failure. What counts is what ansible-playbook printed, so
no list is kept by hand. `.ci/run` fails where something is lacking.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path

from tests.lab import layout

GOOD, FAILED = "good run", "failure"
_ROLE = re.compile(r"TASK \[(?:alteryx_ops\.server_backup\.)?(?P<role>alteryx_\w+) : ")
_seen: set[str] = set()


def saw_run(kind: str, playbook: str | Path, output: str, code: int) -> None:
    """The running test has seen a run of ansible-playbook on a node of this kind; only Wine counts."""
    if kind == "wine":
        _seen.update(_read(Path(playbook).name, output, code))


def take() -> list[str]:
    """What was seen since the last call, such as ``full_backup.yml: good run``."""
    seen = sorted(_seen)
    _seen.clear()
    return seen


def lacking(seen: Collection[str]) -> list[str]:
    """What no run has shown of the collection's playbooks and roles."""
    wanted = [f"{name}: {end}" for name in names() for end in (GOOD, FAILED)]
    return [each for each in wanted if each not in seen]


def names() -> list[str]:
    """The playbooks and roles of the collection."""
    playbooks = sorted(file.name for file in (layout.ROOT / "playbooks").glob("*.yml"))
    return playbooks + sorted(folder.name for folder in (layout.ROOT / "roles").iterdir())


def _read(playbook: str, output: str, code: int) -> Iterator[str]:
    """A role has a good run where a task of it did something in a run that ended with 0, and a failure where a task of
    it failed."""
    yield f"{playbook}: {FAILED if code else GOOD}"
    role = ""
    for line in output.splitlines():
        if line.startswith("TASK ["):
            found = _ROLE.match(line)
            role = found["role"] if found else ""
        elif role and not code and line.startswith(("ok: [", "changed: [")):
            yield f"{role}: {GOOD}"
        elif role and line.startswith("fatal: ["):
            yield f"{role}: {FAILED}"

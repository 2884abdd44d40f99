# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make chaos-restore`: kills restores of one Wine node. Each run is a line of a ledger; a campaign continues where the
ledger ends. Exit code 1 if a server was partly restored, stayed stopped or left files."""

from __future__ import annotations

import argparse
import collections
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.collection_link import link_collection
from tests.lab import layout

parser = argparse.ArgumentParser(prog="python -m tests.chaos.restore", description=__doc__)
parser.add_argument("--runs", type=int, default=40, help="of the whole campaign")
parser.add_argument("--seconds", type=float, default=float("inf"), help="after which no run begins any more")
parser.add_argument("--ledger", type=Path, default=layout.LAB / "chaos-restore.jsonl")
options = parser.parse_args()
sys.path.insert(0, str(link_collection()))

from tests.faults import restore_kills as kills  # noqa: E402 - the collection's name resolves only now
from tests.integration.lab_of_tests import running_lab  # noqa: E402

Line = dict[str, Any]


def read_ledger() -> list[Line]:
    """What was done before."""
    if not options.ledger.exists():
        return []
    return [json.loads(line) for line in options.ledger.read_text(encoding="utf-8").splitlines()]


def note(line: Line) -> None:
    """Add a line, on the disk when this returns."""
    options.ledger.parent.mkdir(parents=True, exist_ok=True)
    with options.ledger.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())


def commit() -> str:
    """What is checked out now."""
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, cwd=layout.ROOT, capture_output=True, text=True, check=True).stdout.strip()


def go_on(done: int) -> None:
    """The runs that are missing."""
    with tempfile.TemporaryDirectory(dir=layout.LAB) as folder, running_lab("wine", "chaos-restore") as lab:
        bench = kills.Bench.of(lab, Path(folder))
        begun = time.monotonic()
        for kill in itertools.islice(kills.campaign_kills(), done, options.runs):
            if time.monotonic() - begun > options.seconds:
                return
            started = time.monotonic()
            try:
                ending = bench.carry_out(kill)
            except Exception as error:  # one run that failed is a line, not the end
                ending = kills.Ending("", "", time.monotonic() - started, [f"{type(error).__name__}: {error}"])
            line = kills.as_line(kill, ending, commit())
            note(line)
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()


layout.LAB.mkdir(parents=True, exist_ok=True)
if len(read_ledger()) < options.runs:
    go_on(len(read_ledger()))
ledger = read_ledger()
for verdict, count in sorted(collections.Counter(str(line["verdict"]) for line in ledger).items()):
    sys.stdout.write(f"{count:3} {verdict}\n")
sys.exit(1 if any(line["verdict"] == "bad" for line in ledger) else 0)

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the real ansible-playbook as an operator does: in playbooks/, with the ansible.cfg there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import proofs, reasons, schemas
from tests.lab import layout

from .lab_of_tests import ARCHIVES, Lab

PLAYBOOKS = layout.ROOT / "playbooks"


@dataclass(frozen=True)
class Run:
    """One run of ansible-playbook."""

    rc: int
    stdout: str
    stderr: str
    folder: Path | None  # what it left on the control node
    outcome: dict[str, Any]  # outcome.json, empty when there is none

    @property
    def output(self) -> str:
        """Everything it printed."""
        return self.stdout + self.stderr

    @property
    def text(self) -> str:
        """Everything it printed on one line, as messages are wrapped."""
        return " ".join(self.output.split())

    @property
    def log(self) -> str:
        """The log on the control node."""
        assert self.folder, f"the run has left nothing:\n{self.output[-3000:]}"
        return (self.folder / str(self.outcome["log_name"])).read_text(encoding="utf-8")

    def node(self) -> dict[str, Any]:
        """What the outcome says of the one node."""
        (node,) = self.outcome["nodes"].values()
        assert isinstance(node, dict)
        return node

    def assert_failed(self, code: int, reason: str, *, message: str = "") -> None:
        """Exit code, and reason and hint where the operator and programs read them."""
        shown = self.output[-4000:]
        assert self.rc == code, f"exit code {self.rc} instead of {code}:\n{shown}"
        assert self.outcome, f"no outcome.json:\n{shown}"
        assert (self.outcome["verdict"], self.outcome["exit_code"], self.outcome["reason"]) == (
            "FAILED",
            code,
            reason,
        ), shown
        assert self.outcome["hint"]
        assert self.outcome["hint"] in self.text
        assert message in self.outcome["message"]
        assert self.outcome["message"] in self.text

    def assert_ended_well(self) -> None:
        """Exit code 0."""
        assert self.rc == 0, f"exit code {self.rc}:\n{self.output[-4000:]}"

    def assert_ok(self) -> None:
        """A backup ended well and says so."""
        self.assert_ended_well()
        assert self.outcome["exit_code"] == 0


class PlaybookRunner:
    """Runs playbooks against the node of a lab."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._judged: set[Path] = set()

    def __call__(
        self,
        name: str | Path,
        *options: str,
        extra_vars: Mapping[str, object] | None = None,
        limit: str | None = "alteryx_lab",
        inventory: Sequence[Path] | None = None,
        timeout: float = 500,
    ) -> Run:
        """Run a playbook of playbooks/ by name, or any other by path.

        Args:
            name: of the playbook.
            options: for ansible-playbook.
            extra_vars: for ``-e``.
            limit: for ``-l``; None leaves it out.
            inventory: instead of the lab's.
            timeout: seconds after which the run is ended and the test fails.
        """
        before = set(self._folders())
        command = [str(Path(sys.executable).with_name("ansible-playbook")), str(name)]
        for file in inventory or [self.lab.inventory]:
            command += ["-i", str(file)]
        command += ["-l", limit] if limit is not None else []
        command += ["-e", json.dumps(extra_vars)] if extra_vars else []
        rc, stdout, stderr = _run([*command, *options], timeout)
        # recover.yml leaves logs of a dead run there, in a folder without an outcome.
        new = sorted(one for one in set(self._folders()) - before if (one / "outcome.json").exists())
        assert len(new) <= 1, f"one run, several reports: {new}"
        folder = new[0] if new else None
        outcome = json.loads((folder / "outcome.json").read_text(encoding="utf-8")) if folder else {}
        if outcome:
            schemas.assert_valid("restore" if "verb" in outcome else "outcome", outcome)
        for node in self.lab.nodes or [self.lab.node]:
            schemas.assert_all_valid(node.path(ARCHIVES), self._judged)
        run = Run(rc, stdout, stderr, folder, outcome)
        reasons.saw_run(run.text, rc)
        proofs.saw_run(self.lab.kind, name, stdout, rc)
        return run

    def _folders(self) -> list[Path]:
        return list(self.lab.runs.iterdir()) if self.lab.runs.is_dir() else []


def _run(command: list[str], timeout: float) -> tuple[int, str, str]:
    # Its own settings apply, not those of pytest-ansible or of the user who runs the tests.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    # If pytest is killed, its run ends too: the kernel signals ansible-playbook, which ends its workers.
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "TERM", "--", *command],
        cwd=PLAYBOOKS,
        env=environment | {"ANSIBLE_FORCE_COLOR": "false"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # its workers too
        stdout, stderr = process.communicate()
        raise AssertionError(f"not done within {timeout:.0f} s:\n{stdout[-4000:]}{stderr[-2000:]}") from None
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    return process.returncode, stdout, stderr

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gives the caller of ansible-playbook the exit code of the run (0 to 8) instead of Ansible's own."""

from __future__ import annotations

DOCUMENTATION = r"""
name: exit_code
type: aggregate
short_description: Ends ansible-playbook with the exit code of the backup
version_added: 0.1.0
author:
  - alteryx_ops.server_backup contributors (@alteryx-ops)
description:
  - Watches the modules of alteryx_ops.server_backup and ends C(ansible-playbook) with the exit code of the run, as the table of exit codes says.
  - A play that matched no host ends with 3 instead of 0.
  - Runs without a failure of this collection keep Ansible's own exit code.
requirements:
  - Enabled by name in C(callbacks_enabled); the C(playbooks/ansible.cfg) of this collection does it.
"""

import re
import sys
import typing as t
from pathlib import Path

from ansible.plugins.callback import CallbackBase

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils import _variables
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._outcome import EXIT_CODES, REASONS, overall_exit_code


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """See DOCUMENTATION."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "alteryx_ops.server_backup.exit_code"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._codes: list[tuple[str, int]] = []  # node, code; in the order they happened
        self._reported: int | None = None

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        """A failed task; ours carry their exit code. Ansible's own check of a role's arguments is validation, too."""
        if ignore_errors:
            return
        fields = self._fields(result)
        if "argument_errors" in fields:
            self._codes.append(("", REASONS["invalid_variable"].exit_code))
            self._name_the_nearest(" ".join(map(str, fields["argument_errors"])))
        else:
            self._codes.append((str(fields.get("node", "")), int(fields.get("exit_code", 1))))

    def v2_runner_on_unreachable(self, result: t.Any) -> None:
        """A node that cannot be reached; the report says whether it was touched before."""
        self._codes.append(("", REASONS["unreachable"].exit_code))

    def v2_runner_on_ok(self, result: t.Any) -> None:
        """The report knows the whole run and is therefore right."""
        outcome = self._fields(result).get("outcome")
        if isinstance(outcome, t.Mapping) and "exit_code" in outcome:
            self._reported = int(outcome["exit_code"])
            late = REASONS["service_restored_late"]
            back = {failure["node"] for failure in outcome.get("failures", []) if failure["reason"] == late.name}
            # What the window said before the service came back after all; a service that was lost again stands in the report itself.
            self._codes = [(node, late.exit_code if code == 7 and node in back else code) for node, code in self._codes]

    def v2_playbook_on_no_hosts_matched(self) -> None:
        """A limit that leaves a play without hosts must not end green. A localhost play is left without hosts too, so only a callback can see it."""
        self._codes.append(("", REASONS["no_hosts"].exit_code))
        self._display.error(f"no host of the inventory matches this play and --limit. {REASONS['no_hosts'].hint}")

    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        """Ends the run. SystemExit is the one way out that ansible-playbook passes on."""
        # A failure that came after the report, or that the report could not see, still counts.
        code = overall_exit_code(([self._reported] if self._reported else []) + [code for _, code in self._codes])
        if code:
            sys.stdout.flush()
            self._display.display(f"exit code {code}: {EXIT_CODES.get(code, 'failure')}", stderr=True)
            raise SystemExit(code)

    def _name_the_nearest(self, text: str) -> None:
        known = _variables.read(Path(__file__).resolve().parent.parent.parent / "roles")
        for name, near in _variables.unknown(re.findall(r"\b\w+\b", text), known):
            self._display.error(f"no such variable: {name} (did you mean {near}?)")

    @staticmethod
    def _fields(result: t.Any) -> t.Mapping[str, t.Any]:
        # ansible-core 2.20 renames _result and deprecates the old name.
        fields = getattr(result, "result", None)
        return fields if isinstance(fields, t.Mapping) else result._result

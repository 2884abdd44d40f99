# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import secrets
import typing as t
from datetime import UTC, datetime

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils import _names
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._action import NodeAction, Result, _display, utc_text
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._outcome import StepFailed


class ActionModule(NodeAction):
    """Reads an archive back and stores the verdict beside it."""

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/backup_verify.yml."""
        if not arguments["base_name"]:
            raise StepFailed("archive_incomplete", f"there is no complete backup in {arguments['folder']}")
        if problem := _names.windows_name_problem(arguments["base_name"]):
            raise StepFailed("invalid_variable", f"{arguments['base_name']!r} is no name of a backup: {problem}")
        if self.check_mode:
            return {"changed": True}
        now = _names.stamp(datetime.now(UTC))
        spec = {"run_id": arguments["run_id"], "folder": arguments["folder"], "base_name": arguments["base_name"], "stamp": now}
        job_id = f"{arguments['base_name']}-verify-{secrets.token_hex(2)}"
        found = self.run_job(job_id, spec, arguments["timeout"], arguments, variables)
        _display.display(f"{utc_text()} {variables['inventory_hostname']}: {arguments['base_name']} is {found['verdict']}")
        return {"changed": True, **found}

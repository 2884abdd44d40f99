# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._action import NodeAction, Result
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._screen import show_progress
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._shares import enter_destination
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._archive import _archive_job
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core import _names
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import StepFailed
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.text import size
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._restore import _space


class ActionModule(NodeAction):
    """Extracts an archive on its node, or removes what was extracted."""

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/backup_extract.yml."""
        reserve = arguments["free_reserve"]
        # An int of a module has 32 bits, so the job receives the reserve in its spec.
        arguments["free_reserve"] = 0
        if arguments["state"] == "absent":
            arguments.update(destination="", destinations=[], credentials={})
            answer = self.call_node({**arguments, "_operation": "remove"}, variables, patience=60)
            return {"changed": bool(answer["changed"]), "target": arguments["target"]}
        base_name = arguments["base_name"]
        if problem := _names.windows_name_problem(base_name):
            raise StepFailed("invalid_variable", f"{base_name!r} is not the name of a backup: {problem}")
        place = enter_destination(self, arguments, variables)
        if self.check_mode:
            return self._predict(reserve, arguments, variables, is_copy=place is not None)
        spec = _archive_job.build_extract_spec(
            arguments["folder"],
            base_name,
            arguments["target"],
            reserve,
            arguments["run_id"],
            accept_access=variables.get("alteryx_preflight_folder_trust") == "warn",
            place=place,
        )
        job_id = _archive_job.extract_job_id(base_name)
        found = self.run_job(job_id, spec, arguments["timeout"], arguments, variables)
        what = f"{base_name} is extracted into {arguments['target']}"
        show_progress(variables["inventory_hostname"], f"{what}: {found['entries']} files, {size(found['bytes'])}")
        return {"changed": True, **found}

    def _predict(self, reserve: int, arguments: Result, variables: dict[str, t.Any], *, is_copy: bool) -> Result:
        """Looks, without a job, whether the extraction would be refused."""
        if is_copy:
            # A share knows SYSTEM and the accounts of the operator, and not the account of this connection.
            return {"changed": True, "target": arguments["target"]}
        answer = self.call_node({**arguments, "_operation": "look"}, variables, patience=60)
        needed, free = int(answer["needed_bytes"]), int(answer["free_bytes"])
        drive = f"the drive of {arguments['target']}"
        need = _space.Need(drive, free, f"the files of {arguments['base_name']}", needed)
        if short := _space.find_shortages([need], reserve):
            raise StepFailed("space_short", short[0])
        return {"changed": True, "target": arguments["target"], "needed_bytes": needed, "free_bytes": free}

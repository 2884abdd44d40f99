# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._action import NodeAction, Result
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._collection import version
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._archive import _archive_job
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core import paths


class ActionModule(NodeAction):
    """Writes the archive of one node from its staging folder, with manifest and sidecars."""

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/backup_archive.yml."""
        run = arguments["plan"]
        node = run["nodes"][variables["inventory_hostname"]]
        archive = paths.archive_file(node["archive_folder"], node["base_name"])
        if self.check_mode:
            return {"changed": True, "archive": archive}
        options = ("compression", "stored_extensions", "on_change", "again", "set_aside")
        spec = _archive_job.build_archive_spec(
            run,
            node,
            paths.Staging(run["staging_directory"], run["run_id"]),
            _archive_job.read_window(arguments.get("window")),
            arguments.get("configuration"),
            version(),
            arguments["mongodb"],
            **{name: arguments[name] for name in options},
        )
        job_id = f"{run['run_id']}-archive"
        # The node needs only the parameters of the job. It does not need the plan again.
        return {
            "changed": True,
            **self.run_job(job_id, spec, arguments["timeout"], {"plan": {}, "_run_id": run["run_id"]}, variables),
        }

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils import _manifest
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._action import NodeAction, Result, version


class ActionModule(NodeAction):
    """Writes the archive of one node from its staging folder, with manifest and sidecars."""

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/backup_archive.yml."""
        run = arguments["plan"]
        node = run["nodes"][variables["inventory_hostname"]]
        window, configuration = arguments.get("window"), arguments.get("configuration")
        archive = f"{node['archive_folder']}\\{node['base_name']}.zip"
        if self.check_mode:
            return {"changed": True, "archive": archive}
        spec = {
            "run_id": run["run_id"],
            "source": f"{node['staging']}\\files",
            "staging": node["staging"],
            "folder": node["archive_folder"],
            "base_name": node["base_name"],
            "manifest": _manifest.of_archive(run, node, window, configuration, version(), arguments["mongodb"]),
            "secrets_file": configuration["secrets_file"] if configuration else "",
            "compression": arguments["compression"],
            "stored_extensions": arguments["stored_extensions"],
            "keep_staging": arguments["keep_staging"],
            "on_change": arguments["on_change"],
            "dump_prefix": "database/",
            # A list: names of collections may differ by case alone, which the keys of an object may not on the node.
            "reported": [{"namespace": name, "documents": count} for name, count in sorted(window["documents"].items())] if window else [],
        }
        job_id = f"{run['run_id']}-archive"
        # The node needs the job's own parameters only, not the plan once more.
        return {"changed": True, **self.run_job(job_id, spec, arguments["timeout"], {"plan": {}, "_run_id": run["run_id"]}, variables)}

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._action import NodeAction, Result
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._process import (
    describe_holder,
    removal_id,
)
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._screen import show_progress
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import StepFailed
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.text import size


class ActionModule(NodeAction):
    """Removes this collection from a node, or reports why it cannot be removed yet."""

    refuses_unknown_variables = True

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/node_removal.yml."""
        host, run_id = variables["inventory_hostname"], removal_id()
        removes = arguments["state"] == "removed"
        try:
            answer = self.call_node({**arguments, "_run_id": run_id, "_holder": describe_holder()}, variables)
        except StepFailed as failure:
            for what in failure.detail.get("removed", []):
                show_progress(host, f"removed {what}")
            raise
        if removes:
            for line in _told(answer, "would remove" if self.check_mode else "removed"):
                show_progress(host, line)
        return {**answer, "run_id": run_id}


def _told(answer: Result, verb: str) -> t.Iterator[str]:
    """The text about a removal for the operator."""
    for what in answer["removed"]:
        yield f"{verb} {what}"
    if not answer["removed"]:
        yield "nothing of this collection is on the node"
    yield from answer["kept"]
    backups = answer["backups"]
    count, folder = backups["archives"], backups["folder"]
    if count:
        yield f"{count} {'archive stays' if count == 1 else 'archives stay'} in {folder} ({size(backups['bytes'])})"
    else:
        yield f"there are no archives in {folder}"

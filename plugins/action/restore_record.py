# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._action import NodeAction, Result
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._process import describe_operator
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._screen import show_progress


class ActionModule(NodeAction):
    """Reads or deletes the old files that restores have kept on a node."""

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/restore_record.yml."""
        who = arguments["who"] or describe_operator()
        answer = self.call_node({**arguments, "who": who}, variables)
        verb = "would delete" if self.check_mode else "deleted"
        for path in answer["did"]:
            show_progress(variables["inventory_hostname"], f"{verb} {path}")
        return answer

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._action import NodeAction, Result


class ActionModule(NodeAction):
    """Writes small text files of a run beside its archives."""

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/backup_set.yml."""
        # Ansible writes the arguments of a module to the event log, which accepts 32 KB, and it can mask only texts.
        return self.call_node(
            {"folder": arguments["folder"], "files": {}, "_texts": json.dumps(arguments["files"])}, variables
        )

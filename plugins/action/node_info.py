# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from datetime import UTC, datetime

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._action import NodeAction, Result
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._clock import clock_off
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import StepFailed
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.text import free_space


class ActionModule(NodeAction):
    """Reads a node; changes nothing."""

    refuses_unknown_variables = True

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/node_info.yml."""
        asked = datetime.now(UTC)
        result = self.call_node(arguments, variables)
        room = arguments["room"]
        for folder in result["folders"] if room else ():
            if folder["free_bytes"] < room["bytes"]:
                told = free_space(room["volume"], "archive directory", folder["free_bytes"], room["bytes"])
                raise StepFailed("space_short", f"{told}, after retention has deleted backup sets for it")
        return {**result, "clock_off": clock_off(result["system"]["utc"], asked, datetime.now(UTC)), "changed": False}

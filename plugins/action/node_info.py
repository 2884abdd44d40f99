# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._action import NodeAction, Result


class ActionModule(NodeAction):
    """Reads a node; changes nothing."""

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/node_info.yml."""
        return {**self.call_node(arguments, variables), "changed": False}

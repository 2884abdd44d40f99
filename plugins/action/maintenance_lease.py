# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils import _node_code
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._action import NodeAction, Result


class ActionModule(NodeAction):
    """Takes or releases the permission to stop the service."""

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/maintenance_lease.yml."""
        code = {"_code": _node_code.scripts()} if arguments["state"] == "held" else {}
        return self.call_node({**arguments, **code}, variables)

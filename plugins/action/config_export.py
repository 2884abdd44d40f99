# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._action import NodeAction, Result
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._fleet import _node_facts
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._plan import _node_metadata


class ActionModule(NodeAction):
    """Copies the critical files of a node into staging, records what else is installed on it, and writes its encrypted
    secrets file."""

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/config_export.yml."""
        facts, kind, licence_value = (arguments.pop(name) for name in ("facts", "database_kind", "licence_value"))
        if facts:
            name, run_id = variables["inventory_hostname"], arguments["run_id"]
            arguments["_metadata"] = _node_metadata.to_collect(
                name, run_id, _node_facts.read(facts), kind, licence_value
            )
        return self.call_node(arguments, variables)

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from datetime import UTC, datetime

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._action import NodeAction, Result
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._clock import clock_off
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._archive import _catalogue


class ActionModule(NodeAction):
    """Reads a destination folder; changes nothing."""

    refuses_unknown_variables = True

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/backup_info.yml."""
        asked = datetime.now(UTC)
        facts = self.call_node(arguments, variables)
        answered = datetime.now(UTC)
        catalogue, foreign = _catalogue.entries(facts, arguments["folder"], arguments["name_pattern"])
        return {
            "changed": False,
            "folder": arguments["folder"],
            "exists": facts["exists"],
            "catalogue": catalogue,
            "table": _catalogue.table(catalogue),
            "foreign_files": foreign,
            "sets": _catalogue.sets(facts),
            "clock_off": clock_off(facts["utc"], asked, answered),
        }

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._action import NodeAction, Result
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._screen import warn
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._database import _mongodb_check


class ActionModule(NodeAction):
    """Tests on the node that will dump a self-managed MongoDB whether it can do so. Changes nothing."""

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/mongodb_info.yml."""
        dump = arguments["dump"]
        asked = _mongodb_check.questions(dump, arguments["mongodb_connections"])
        probes = json.dumps([{"config": question.config, "arguments": question.arguments} for question in asked])
        told = {"dump": {}, "timeout": arguments["timeout"], "_tool": dump["tool"], "_probes": probes}
        found = _mongodb_check.judge_answers(dump, asked, self.call_node(told, variables)["answers"])
        for text in found["remarks"]:
            warn(f"{variables['inventory_hostname']}: {text}")
        return {"changed": False, **found}

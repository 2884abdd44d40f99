# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from datetime import UTC, datetime

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._action import NodeAction, Result
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._inventory import (
    find_fleet,
    raw_variables,
)
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._process import describe_operator
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._screen import show_progress
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import StepFailed
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._retention import _pins


class ActionModule(NodeAction):
    """Pins the backups of one run, so that they are not deleted, or removes the pins."""

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/backup_pin.yml."""
        host = variables["inventory_hostname"]
        fleet, _members = find_fleet(list(variables["ansible_play_hosts_all"]), variables)
        until = _pins.read_end(arguments["until"], datetime.now(UTC)) if arguments["state"] == "pinned" else ""
        catalogues = {
            each: raw_variables(variables, each).get(arguments["catalogues"]) or {}
            for each in variables["ansible_play_hosts_all"]
        }
        found = _pins.find_backups(catalogues, fleet, arguments["backup"])
        if arguments["state"] == "pinned" and any(entry["pruning"] for entry in found.values()):
            raise StepFailed(
                "pin_refused", f"the deletion of {arguments['backup']} has begun; it cannot be kept any more"
            )
        if host not in found:
            return {"changed": False, "backup": "", "pin": {}}
        name = found[host]["id"]
        pin = {"who": arguments["who"] or describe_operator(), "why": arguments["why"], "until": until}
        answer = self.call_node(
            {
                **{key: arguments[key] for key in ("state", "folder", "why")},
                **pin,
                "catalogues": "",
                "backup": name,
                "_node": host,
                "_who": describe_operator(),
            },
            variables,
        )
        if answer["changed"]:
            verb = "would be" if self.check_mode else "is"
            show_progress(host, f"{name} {verb} {arguments['state']}")
        else:
            show_progress(host, f"{name} is {arguments['state']} already")
        return {**answer, "backup": name, "pin": pin if arguments["state"] == "pinned" else {}}

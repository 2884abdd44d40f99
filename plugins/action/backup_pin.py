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
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._shares import find_named_places
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._copy import _copies
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._retention import _pins

_SECONDS = 300
"""For the pin at one destination."""


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
        if arguments["state"] == "pinned":
            found = _pins.leave_out_broken(found, arguments["backup"])
        names = {place: hosts[host]["id"] for place, hosts in found.items() if host in hosts}
        if not names:
            return {"changed": False, "backup": "", "pin": {}, "places": []}
        name = next(iter(names.values()))
        pin = {"who": arguments["who"] or describe_operator(), "why": arguments["why"], "until": until}
        own = {
            **{key: arguments[key] for key in ("state", "folder")},
            **pin,
            "catalogues": "",
            "backup": name,
            "destinations": [],
            "credentials": {},
            "_node": host,
            "_who": describe_operator(),
        }
        answer: Result = {"changed": False}
        if "" in names:
            answer = self.call_node(own, variables)
            self._tell(answer, name, "", arguments["state"], host)
        places = self._pin_places([place for place in names if place], name, pin, own, fleet, arguments, variables)
        return {
            **answer,
            "changed": answer["changed"] or any(place["changed"] for place in places),
            "backup": name,
            "pin": pin if arguments["state"] == "pinned" else {},
            "places": places,
        }

    def _pin_places(
        self,
        wanted: t.Collection[str],
        name: str,
        pin: t.Mapping[str, str],
        own: Result,
        fleet: str,
        arguments: Result,
        variables: dict[str, t.Any],
    ) -> list[Result]:
        """Writes or removes the pin at the destinations with a copy. Returns what became of each."""
        host = variables["inventory_hostname"]
        if not wanted:
            return []
        if self.check_mode:
            show_progress(host, f"{name} would be {arguments['state']} at {', '.join(wanted)}")
            return []
        places = find_named_places(self, wanted, arguments, own, variables)
        told = pin if arguments["state"] == "pinned" else None
        spec = _pins.build_pin_spec(name, host, told, own["_who"], places, fleet)
        job = self.run_job(_copies.name_job("pin"), spec, _SECONDS * len(places), own, variables)
        for place in job["places"]:
            if place["reason"]:
                self.note_warning(host, f"the destination {place['destination']}: {place['message']}")
            else:
                self._tell(place, name, f" at {place['destination']}", arguments["state"], host)
        return t.cast(list[Result], job["places"])

    def _tell(self, answer: t.Mapping[str, t.Any], name: str, where: str, state: str, host: str) -> None:
        if answer["changed"]:
            verb = "would be" if self.check_mode else "is"
            show_progress(host, f"{name} {verb} {state}{where}")
        else:
            show_progress(host, f"{name} is {state} already{where}")

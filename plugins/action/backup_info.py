# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from datetime import UTC, datetime

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._action import NodeAction, Result
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._clock import clock_off
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._inventory import fleet_of
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._shares import find_places
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._archive import _catalogue
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._copy import _copies, _destinations
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import StepFailed
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._restore import _choose

_SECONDS = 600
"""Time limit in seconds for the list of one destination."""


class ActionModule(NodeAction):
    """Reads a destination folder; changes nothing."""

    refuses_unknown_variables = True

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/backup_info.yml."""
        destination = arguments.pop("destination")
        own = {**arguments, "destinations": [], "credentials": {}}
        destinations: tuple[_destinations.Destination, ...] = ()
        if destination:
            destinations = _destinations.read_destinations(arguments["destinations"], arguments["credentials"])
        if destination not in ("", _destinations.EVERYWHERE):
            one = _destinations.choose_destination(destinations, destination)
            (found,) = self._list([one], arguments, own, variables)
            if found["reason"]:
                raise StepFailed(found["reason"], f"the destination {one.name}: {found['message']}")
            return self._answer(self._read_folder(found, found["folder"], arguments))
        asked = datetime.now(UTC)
        facts = self.call_node(own, variables)
        # By a short call, because a job takes a while.
        off = clock_off(facts["utc"], asked, datetime.now(UTC))
        archive = self._read_folder(facts, arguments["folder"], arguments)
        places: list[Result] = []
        elsewhere: list[Result] = []
        if destinations:
            places = self._read_places(destinations, arguments, own, variables)
            elsewhere = _catalogue.add_copies(archive["catalogue"], places)
        elif arguments["wanted"] and not _choose.holds(archive["catalogue"], arguments["wanted"], arguments["scope"]):
            places = self._look_elsewhere(arguments, own, variables)
        return self._answer(archive, places, elsewhere, off)

    @staticmethod
    def _answer(
        folder: Result, places: t.Sequence[Result] = (), elsewhere: t.Sequence[Result] = (), off: float = 0.0
    ) -> Result:
        return {
            "changed": False,
            **folder,
            "table": _catalogue.table(folder["catalogue"], elsewhere),
            "places": list(places),
            "elsewhere": list(elsewhere),
            "clock_off": off,
        }

    @staticmethod
    def _read_folder(facts: t.Mapping[str, t.Any], folder: str, arguments: Result) -> Result:
        """The backups in the archive directory or at a destination."""
        catalogue, foreign = _catalogue.entries(facts, folder, arguments["name_pattern"])
        return {
            "folder": folder,
            "exists": facts["exists"],
            "catalogue": catalogue,
            "foreign_files": foreign,
            "sets": _catalogue.sets(facts),
        }

    def _look_elsewhere(self, arguments: Result, own: Result, variables: dict[str, t.Any]) -> list[Result]:
        """Reads the destinations. Any problem is a warning, because the operator did not ask for the destinations."""
        try:
            destinations = _destinations.read_destinations(arguments["destinations"], arguments["credentials"])
            return self._read_places(destinations, arguments, own, variables) if destinations else []
        except StepFailed as failure:
            text = f"no destination was looked at: {failure.message}"
            self.note_warning(variables["inventory_hostname"], text)
            return []

    def _read_places(
        self,
        destinations: t.Sequence[_destinations.Destination],
        arguments: Result,
        own: Result,
        variables: dict[str, t.Any],
    ) -> list[Result]:
        """What there is at each destination. A destination that cannot be read is a warning."""
        host = variables["inventory_hostname"]
        retentions = {one.name: one.retention for one in destinations}
        places: list[Result] = []
        for found in self._list(destinations, arguments, own, variables):
            name = found["destination"]
            if found["reason"]:
                self.note_warning(host, f"the destination {name}: {found['message']}")
            there = self._read_folder(found, found["folder"], arguments)
            kept = {key: there[key] for key in ("folder", "exists", "catalogue", "sets")}
            told = {key: found[key] for key in ("destination", "reason", "message")}
            places.append({**told, **kept, "retention": retentions[name]})
        return places

    def _list(
        self,
        destinations: t.Sequence[_destinations.Destination],
        arguments: Result,
        own: Result,
        variables: dict[str, t.Any],
    ) -> list[Result]:
        host = variables["inventory_hostname"]
        places = find_places(self, destinations, arguments["credentials"], own, variables)
        nodes = arguments["nodes"] or [host]
        spec = _copies.build_list_spec(places, fleet_of(host, variables), nodes, arguments["run_id"])
        job = self.run_job(_copies.name_job("list"), spec, _SECONDS * len(places), own, variables)
        return t.cast(list[Result], job["places"])

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chooses the backups of a catalogue for a module: by name, by mode, or all of them."""

from __future__ import annotations

import typing as t

from .._archive import _catalogue
from .._core import _names
from .._core.reasons import StepFailed
from ._inventory import raw_variables
from ._screen import show_progress

Backup = t.Mapping[str, t.Any]


def choose_backups(arguments: t.Mapping[str, t.Any], variables: dict[str, t.Any], nothing_to: str) -> list[Backup]:
    """The backups of this node, newest first.

    Args:
        arguments: catalogue, folder, backup, mode and all_backups of the module.
        variables: what the task sees.
        nothing_to: for the message on a node without these backups, if another node has them, e.g. "read back".

    Raises:
        StepFailed: no such backup.
    """
    wanted, mode = arguments["backup"], arguments["mode"]
    if wanted and (problem := _names.windows_name_problem(wanted)):
        raise StepFailed("invalid_variable", f"{wanted!r} is not the name of a backup: {problem}")

    def backups_of(host: str, folder: str) -> list[Backup]:
        answer = raw_variables(variables, host).get(arguments["catalogue"]) or {}
        return [one for one in answer.get("catalogue", []) if _last_part(one["folder"]) == folder.casefold()]

    def chosen(backups: list[Backup]) -> list[Backup]:
        return _catalogue.chosen(backups, wanted, mode, arguments["all_backups"])

    own = backups_of(variables["inventory_hostname"], _last_part(arguments["folder"]))
    if found := chosen(own):
        return found
    # Only the controller of a fleet has backups of the database alone.
    elsewhere = [
        host
        for host in variables["ansible_play_hosts_all"]
        if (wanted or mode) and any(one["mode"] == "database" for one in chosen(backups_of(host, host)))
    ]
    if elsewhere:
        show_progress(variables["inventory_hostname"], f"nothing to {nothing_to}; {elsewhere[0]} has the database")
        return []
    if wanted:
        raise StepFailed("backup_unknown", f"in {arguments['folder']} {_catalogue.unknown_text(own, wanted)}")
    what = f"complete {mode} backup" if mode else "complete backup"
    raise StepFailed("no_good_backup", f"there is no {what} in {arguments['folder']}")


def _last_part(path: str) -> str:
    # Names of files in Windows are not case-sensitive.
    return path.rpartition("\\")[2].casefold()

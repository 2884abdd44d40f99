# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Destinations of copies in the form for jobs: with shares in place of drive letters, and with accounts."""

from __future__ import annotations

import ntpath
import typing as t

from .._copy import _destinations
from ._action import NodeAction, Result
from ._inventory import fleet_of


def enter_destination(action: NodeAction, arguments: Result, variables: dict[str, t.Any]) -> Result | None:
    """The destination that a module is to read at, as its job wants it, with the password; None for none.

    From then on, the folder in the arguments is that of the node at the destination, and they have no accounts: the
    node needs none but that in the spec of the job.

    Args:
        action: of the module, which has a job.
        arguments: folder, destination, destinations and credentials of the module; changed.
        variables: what the task sees.

    Raises:
        StepFailed: invalid_variable, destination_invalid.
    """
    given, accounts = arguments["destinations"], arguments["credentials"]
    arguments.update(destinations=[], credentials={})
    if not arguments["destination"]:
        return None
    host = variables["inventory_hostname"]
    one = _destinations.choose_destination(_destinations.read_destinations(given, accounts), arguments["destination"])
    (place,) = find_places(action, [one], accounts, arguments, variables)
    arguments["folder"] = ntpath.join(place["path"], fleet_of(host, variables), host)
    return place


def find_places(
    action: NodeAction,
    destinations: t.Sequence[_destinations.Destination],
    credentials: t.Any,
    own: Result,
    variables: dict[str, t.Any],
) -> list[dict[str, t.Any]]:
    """The destinations as a job wants them, with passwords; see _destinations.build_job_destinations.

    The node is asked only if a destination begins with a drive letter.

    Args:
        action: of the module, which has a job.
        destinations: all of them.
        credentials: as the operator wrote them.
        own: the arguments that the module itself needs.
        variables: what the task sees.

    Raises:
        StepFailed: destination_invalid; a letter is neither a drive of the node nor a share.
    """
    letters = _destinations.list_letters(destinations)
    drives: Result = {}
    if letters:
        drives = action.call_node({**own, "_operation": "resolve", "_letters": letters}, variables)["drives"]
    _destinations.refuse_letters(destinations, drives)
    return _destinations.build_job_destinations(
        destinations,
        _destinations.read_credentials(credentials),
        {letter: str(drive["share"]) for letter, drive in drives.items()},
    )


def find_named_places(
    action: NodeAction, names: t.Container[str], arguments: Result, own: Result, variables: dict[str, t.Any]
) -> list[dict[str, t.Any]]:
    """Some of the destinations of a module as a job wants them; see find_places.

    Args:
        action: of the module, which has a job.
        names: of the destinations.
        arguments: destinations and credentials of the module.
        own: the arguments that the module itself needs.
        variables: what the task sees.
    """
    destinations = _destinations.read_destinations(arguments["destinations"], arguments["credentials"])
    named = [one for one in destinations if one.name in names]
    return find_places(action, named, arguments["credentials"], own, variables)

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Destinations of copies as the jobs of modules need them: by the shares that letters stand for, with accounts."""

from __future__ import annotations

import typing as t

from .._copy import _destinations
from ._action import NodeAction, Result


def find_places(
    action: NodeAction,
    destinations: t.Sequence[_destinations.Destination],
    credentials: t.Any,
    own: Result,
    variables: dict[str, t.Any],
) -> list[dict[str, t.Any]]:
    """The destinations as a job wants them, with passwords; see _destinations.build_job_destinations.

    Most destinations have no letter, and then the node is not asked.

    Args:
        action: of the module, which has a job.
        destinations: all that are meant.
        credentials: as the operator has written them.
        own: what the module itself needs to be called.
        variables: what the task sees.

    Raises:
        StepFailed: destination_invalid; a letter is no drive of the node and no share.
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

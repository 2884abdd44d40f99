# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Destinations of copies in the form for jobs: with shares in place of drive letters, and with accounts."""

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

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a double of the stand-in node fails: as the PowerShell does, with a reason of plugin_utils/_core/reasons.yml."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class NodeFailure(Exception):
    """What breaks on a node.

    Args:
        reason: a name of the table of reasons.
        message: one line for people.
        detail: further facts.
    """

    def __init__(self, reason: str, message: str, detail: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.detail = dict(detail or {})

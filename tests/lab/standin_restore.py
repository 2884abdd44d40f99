# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in node's double of restore_record: a node on which nothing was ever restored."""

from __future__ import annotations

from typing import Any

from .node import Node


def restore_record(node: Node, arguments: dict[str, Any]) -> dict[str, Any]:
    """The module restore_record."""
    return {"changed": False, "records": [], "did": []}

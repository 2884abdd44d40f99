# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of paused schedules on a stand-in node."""

from __future__ import annotations

from typing import Any

from .node import Node
from .standin_files import STATE_FOLDER, write_text

_RECORD = rf"{STATE_FOLDER}\schedules.json"


def read(node: Node) -> str:
    """Its text; empty when there is none."""
    file = node.path(_RECORD)
    return file.read_bytes().decode() if file.exists() else ""


def schedule_pause(node: Node, arguments: dict[str, Any]) -> dict[str, Any]:
    """The module schedule_pause: the node's part of it."""
    before, text = read(node), arguments.get("_record") or ""
    changed = arguments["_operation"] == "write" and text != before
    if changed and not arguments.get("_ansible_check_mode"):
        if text:
            write_text(node.path(_RECORD), text)
        else:
            node.path(_RECORD).unlink(missing_ok=True)
    return {"changed": changed, "record": before}

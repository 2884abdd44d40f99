# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is what in a fleet of the lab: one node is everything; of several the first is the controller, the last the UI
node, the others are workers."""

from __future__ import annotations

from typing import Literal

Role = Literal["single", "controller", "worker", "ui"]
NAME = "alteryx-lab-{}"


def role(name: str, count: int) -> Role:
    """The role of a node of a fleet with that many."""
    number = int(name.rpartition("-")[2])
    if count == 1:
        return "single"
    if number == 1:
        return "controller"
    # Of three nodes the last is a UI node, of ten the last three.
    return "ui" if count > 2 and number > count - (count + 2) // 4 else "worker"


def settings(role: Role) -> dict[str, dict[str, str]]:
    """What the overrides file of such a node says beside or instead of that of a single node; nothing for a section:
    it is not there at all."""
    if role == "single":
        return {}
    if role == "controller":
        return {"Controller": {"GalleryEnabled": "False"}, "Environment": {"WorkerEnabled": "False"}}
    # A computer name is cut at 15 characters and in capitals; what an administrator types into System Settings is not.
    remote = {"UseLocalServer": "False", "ServerName": NAME.format(1)}
    worker, ui = role == "worker", role == "ui"
    return {
        "Controller": {"ControllerEnabled": "False", "GalleryEnabled": str(ui), "EmbeddedMongoDBEnabled": "False"},
        "Environment": {"WorkerEnabled": str(worker)},
        "Worker": remote,
    }

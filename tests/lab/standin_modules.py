# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which double of the stand-in node stands for which module."""

from __future__ import annotations

import importlib
from typing import Any

from . import layout
from .node import Node
from .standin_node import ModuleDouble

_HERE = layout.ROOT / "tests" / "lab"


def win_ping(node: Node, arguments: dict[str, Any]) -> dict[str, Any]:
    """``ansible.windows.win_ping``: the smallest module there is, for trying the lab and for measuring it."""
    return {"ping": "pong"}


def _doubles() -> dict[str, ModuleDouble]:
    names = {script.stem for script in (layout.ROOT / "plugins" / "modules").glob("*.ps1")}
    found: dict[str, ModuleDouble] = {"win_ping": win_ping}
    for file in sorted(_HERE.glob("standin_*.py")):
        if file.stem != "standin_modules":
            own = vars(importlib.import_module(f"{__package__}.{file.stem}"))
            found |= {name: own[name] for name in names & own.keys()}
    return found


MODULES = _doubles()
"""Name of a module -> its double, the function of that name in a file standin_*.py, from the module's arguments to its
result. It reads only the arguments it needs."""

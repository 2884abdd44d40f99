# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of another playbook of this collection, for an operator to copy."""

from __future__ import annotations

import os
import shlex
import typing as t
from pathlib import PurePosixPath

from ansible import context

from ._collection import NAME


def name_command(playbook: str) -> str:
    """The beginning of the command that runs a playbook as the operator has run this one.

    Args:
        playbook: its name, without an ending.

    Returns:
        ansible-playbook, the playbook by its full name or by the path of its file, and the inventory.
    """
    asked = context.CLIARGS.get("args") or ()
    return build_command(playbook, str(asked[0]) if asked else "", context.CLIARGS.get("inventory") or ())


def build_command(playbook: str, asked: str, inventories: t.Iterable[str]) -> str:
    """See name_command.

    Args:
        playbook: its name, without an ending.
        asked: how the playbook that runs now was named, such as alteryx_ops.server_backup.restore or
            playbooks/restore.yml.
        inventories: absolute paths, or lists of hosts.
    """
    words = ["ansible-playbook"]
    if asked.startswith(f"{NAME}."):
        words.append(f"{NAME}.{playbook}")
    else:
        words.append(str(PurePosixPath(asked).with_name(f"{playbook}.yml")) if asked else f"{playbook}.yml")
    for inventory in inventories:
        is_path = inventory.startswith("/")
        words += ["-i", min(inventory, os.path.relpath(inventory), key=len) if is_path else inventory]
    return shlex.join(words)

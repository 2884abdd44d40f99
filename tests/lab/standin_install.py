# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of an Alteryx Server on a stand-in node: the files of a Wine node, without programs."""

from __future__ import annotations

import secrets
import xml.etree.ElementTree

from . import alteryx_install, layout
from .node import Node

BIN = alteryx_install.BIN
SETTINGS = rf"{alteryx_install.PROGRAM_DATA}\RuntimeSettings.xml"

_FOLDERS = (r"C:\Windows\System32", r"C:\AlteryxLab", *alteryx_install.FOLDERS)
_DATA_BYTES = 400_000


def install(node: Node) -> None:
    """Put drives, folders and files on a node; one that has them is left alone."""
    for drive in "cd":
        layout.drive(node.folder, drive).mkdir(parents=True, exist_ok=True)
    if node.path(SETTINGS).exists():
        return
    for folder in _FOLDERS:
        node.path(folder).mkdir(parents=True, exist_ok=True)
    passwords = {"admin": secrets.token_hex(16), "user": secrets.token_hex(16)}
    content = alteryx_install.files(passwords, node.role)
    if alteryx_install.has_database(node.role):
        content[rf"{alteryx_install.DATA}\collection-0.wt"] = bytes(_DATA_BYTES)
    for path, data in content.items():
        file = node.path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)


def secret(node: Node, element: str) -> str:
    """The clear text of a secret of the controller's settings."""
    tree = xml.etree.ElementTree.parse(node.path(SETTINGS))  # noqa: S314  # written by the lab
    return alteryx_install.decrypt(tree.findtext(f"Controller/{element}") or "")

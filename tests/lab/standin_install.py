# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies on a stand-in node as an Alteryx Server: the same files as on a Wine node, without programs that run and without a database."""

from __future__ import annotations

import secrets
import xml.etree.ElementTree

from . import alteryx_install, layout
from .node import STANDIN_SERVICE, Node
from .standin_files import write_text

BIN = alteryx_install.BIN
DATA = alteryx_install.DATA

_PROGRAMS = ("AlteryxService.exe", "AlteryxEngineCmd.exe", "mongod.exe", "mongodump.exe", "mongorestore.exe")
_DATA_BYTES = 400_000


def install(node: Node) -> None:
    """Put the files on a node that has its drives; a node that has them is left alone."""
    if node.path(rf"{BIN}\AlteryxService.exe").exists():
        return
    for name in _PROGRAMS:
        _write(node, rf"{BIN}\{name}", b"SIMULATED\r\n")
    passwords = {"admin": secrets.token_hex(16), "user": secrets.token_hex(16)}
    for path, content in alteryx_install.files(passwords, node.role).items():
        _write(node, path, content)
    for folder in alteryx_install.FOLDERS:
        node.path(folder).mkdir(parents=True, exist_ok=True)
    if alteryx_install.has_database(node.role):
        _write(node, rf"{DATA}\WiredTiger", b"SIMULATED\n")
        _write(node, rf"{DATA}\collection-0.wt", bytes(_DATA_BYTES))
    write_text(layout.drive(node.folder, "c") / "AlteryxLab" / STANDIN_SERVICE, '{"state": "Stopped", "pid": null, "started": null}')


def secret(node: Node, element: str) -> str:
    """The clear text of a secret of the controller's settings; empty where there is none."""
    tree = xml.etree.ElementTree.parse(node.path(rf"{alteryx_install.PROGRAM_DATA}\RuntimeSettings.xml"))  # noqa: S314  # written by the lab
    value = tree.findtext(f"Controller/{element}")
    return alteryx_install.decrypt(value) if value else ""


def _write(node: Node, path: str, content: bytes) -> None:
    file = node.path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The user and the process of ansible-playbook, with the same values in all of its workers."""

from __future__ import annotations

import getpass
import os
import socket

from .._core import _names


def describe_holder() -> str:
    """The holder of the lock of a node, as text for people."""
    # This is the main process of the run, not this fork.
    return f"{describe_operator()} process {os.getppid()}"


def describe_operator() -> str:
    """The user and the host, for records that remain after the process has ended."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def removal_id() -> str:
    """An identity for a run of ansible-playbook that removes the collection from nodes."""
    return _names.replace_odd_characters(f"Removal_{socket.gethostname()}_{os.getppid()}")

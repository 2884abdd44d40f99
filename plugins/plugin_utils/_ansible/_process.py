# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who runs ansible-playbook, and in which process: the same in all of its workers."""

from __future__ import annotations

import getpass
import os
import socket

from .._core import _names


def describe_holder() -> str:
    """Who holds a node, for people."""
    # The process of the whole run, not of this fork.
    return f"{describe_operator()} process {os.getppid()}"


def describe_operator() -> str:
    """Who asks, for records that outlive the process."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def removal_id() -> str:
    """An identity for a run of ansible-playbook that removes the collection from nodes."""
    return _names.replace_odd_characters(f"Removal_{socket.gethostname()}_{os.getppid()}")

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options by which an action plugin directs its job on the node, the same in every module that has a job."""

from __future__ import annotations


class ModuleDocFragment:
    """Read by ansible-doc."""

    DOCUMENTATION = """
options:
  _operation:
    description: Set by the action plugin, refused in a task. What to do with the job.
    type: str
    choices: [start, poll, cancel, discard]
  _letters:
    description: Set by the action plugin, refused in a task. Letters of drives that may stand for shares.
    type: list
    elements: str
    default: []
  _job_id:
    description: Set by the action plugin, refused in a task. Name of the job.
    type: str
  _spec:
    description: Set by the action plugin, refused in a task. What the job has to do, as JSON text.
    type: str
  _code:
    description: Set by the action plugin, refused in a task. The scripts of the job, as JSON text.
    type: str
  _wait_seconds:
    description: Set by the action plugin, refused in a task. Seconds to wait for the end of the job.
    type: float
    default: 0
  _until:
    description: Set by the action plugin, refused in a task. Phase of the job to wait for, empty for its end.
    type: str
    default: ''
  _log_offset:
    description: Set by the action plugin, refused in a task. Where the log of the job is read from.
    type: int
    default: 0
"""

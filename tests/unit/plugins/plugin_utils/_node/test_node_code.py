# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The set of scripts that goes to a node."""

from __future__ import annotations

import json
import re

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._node import _node_code


def test_every_job_the_guard_and_their_host_are_in_the_set() -> None:
    wanted = {
        "job_host.ps1",
        "guard.ps1",
        "window_job.ps1",
        "archive_job.ps1",
        "verify_job.ps1",
        "NodeLease.psm1",
        "ZipWriter.cs",
    }
    assert wanted <= set(json.loads(_node_code.scripts()))


def test_what_needs_ansible_stays_at_home() -> None:
    for name, text in json.loads(_node_code.scripts()).items():
        assert "[Ansible.Basic" not in text, name


def test_the_set_is_the_same_every_time() -> None:
    # Its hash names the folder on the node.
    assert _node_code.scripts() == _node_code.scripts()
    names = list(json.loads(_node_code.scripts()))
    assert names == sorted(names)


def test_scripts_are_handed_over_as_they_are() -> None:
    for name, text in json.loads(_node_code.scripts()).items():
        assert re.fullmatch(r"\w+\.(cs|psm?1)", name)
        assert text == (_node_code._FOLDER / name).read_text(encoding="utf-8")

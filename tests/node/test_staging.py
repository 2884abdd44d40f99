# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The staging folder of a run has the same parts on the control node and on the node."""

from __future__ import annotations

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core import paths
from tests import nightly
from tests.node.engine import Engine

pytestmark = pytest.mark.wine

RUN = "Full_20260901_020000_7f3a"


@pytest.mark.parametrize("directory", nightly.after_first(["D:\\Staging", "D:\\", r"\\files.example.test\share"]))
def test_both_sides_name_the_same_folders(engine: Engine, directory: str) -> None:
    script = f"""$staging = @{{ Root = '{directory}'; RunId = '{RUN}' }}
    Get-StagingPath @staging
    foreach ($part in 'files', 'dump', 'secrets') {{ Get-StagingPath @staging -Part $part }}"""
    folders = paths.Staging(directory, RUN)
    expected = [folders.folder, folders.files, folders.dump, rf"{folders.folder}\secrets.pem"]
    assert engine.run(script).splitlines() == expected

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives beyond the limits of the old zip format: 65,535 entries, and 4 GB of a file, of its compressed form and of
the offset of what follows."""

from __future__ import annotations

import zipfile

import pytest

from tests.node import archives
from tests.node.archives import Staged
from tests.node.engine import Engine
from tests.node.process_use import ProcessUse

pytestmark = [pytest.mark.wine, pytest.mark.long, pytest.mark.timeout(1800)]
OVER_4_GB = 5 * 10**9
MOST_GROWTH = 64 * 2**20
"""Bytes of memory over a job for one byte: PowerShell 7 under Wine alone takes more than the 200 MB a job may take on
Windows (`make bench` shows both)."""


@pytest.fixture
def staged(engine: Engine) -> Staged:
    return Staged(engine)


@pytest.fixture
def least(engine: Engine) -> ProcessUse:
    """What the job takes for one byte."""
    small = Staged(engine)
    small.put("a.txt", b"a")
    return archived(small)


def archived(case: Staged) -> ProcessUse:
    file = case.engine.path(rf"D:\{case.name}\use.json")
    end = case.write(under=ProcessUse.under(file), timeout=1200)
    assert end.result["state"] == "succeeded", end.result
    return ProcessUse.load(file)


def test_more_files_than_the_old_format_counts(staged: Staged, least: ProcessUse) -> None:
    for number in range(70_000):
        staged.put(f"{number % 100}/{number}.txt", b"%d" % number)
    used = archived(staged)
    assert archives.readers_complaints(staged.archive) == {}
    with zipfile.ZipFile(staged.archive) as opened:
        assert len(opened.infolist()) == 70_001
    manifest = staged.manifest()
    assert (len(manifest["files"]), manifest["file_count"]) == (70_000, 70_000)
    assert used.peak_bytes - least.peak_bytes < MOST_GROWTH


def test_files_and_offsets_over_4_gb_in_little_memory_and_read_once(staged: Staged, least: ProcessUse) -> None:
    for name in ("a-stored.zip", "b-compressed.txt"):
        staged.put_sparse(name, OVER_4_GB)
    staged.put("c-after.txt", b"after")
    used = archived(staged)
    assert archives.readers_complaints(staged.archive) == {}
    with zipfile.ZipFile(staged.archive) as opened:
        sizes = {entry.filename: entry.file_size for entry in opened.infolist() if entry.filename != archives.MANIFEST}
        assert opened.read("c-after.txt") == b"after"
        assert opened.getinfo("a-stored.zip").compress_size > 2**32
        assert max(entry.header_offset for entry in opened.infolist()) > 2**32
    assert sizes == {"a-stored.zip": OVER_4_GB, "b-compressed.txt": OVER_4_GB, "c-after.txt": 5}
    assert used.peak_bytes - least.peak_bytes < MOST_GROWTH
    # Whatever the engine reads for itself, it reads for one byte, too.
    assert (used.read_bytes - least.read_bytes) / sum(sizes.values()) == pytest.approx(1.0, abs=0.01)

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives beyond the limits of the old zip format: 65,535 entries, and 4 GB of a file, of its compressed form and of the offset of what follows."""

from __future__ import annotations

import zipfile

import pytest

from tests.node import archives
from tests.node.archives import Staged
from tests.node.engine import Engine
from tests.node.process_use import ProcessUse

pytestmark = [pytest.mark.wine, pytest.mark.long, pytest.mark.timeout(1800)]
OVER_4_GB = 2**32 + 2**20
MOST_MEMORY = 200 * 2**20


@pytest.fixture
def staged(engine: Engine) -> Staged:
    return Staged(engine)


def test_more_files_than_the_old_format_counts(staged: Staged) -> None:
    for number in range(70_000):
        staged.put(f"{number % 100}/{number}.txt", b"%d" % number)
    use = staged.engine.path(rf"D:\{staged.name}\use.json")
    end = staged.write(under=ProcessUse.under(use), timeout=1200)
    assert end.result["state"] == "succeeded", end.result
    assert archives.readers_complaints(staged.archive) == {}
    with zipfile.ZipFile(staged.archive) as opened:
        assert len(opened.infolist()) == 70_001
    manifest = staged.manifest()
    assert (len(manifest["files"]), manifest["file_count"]) == (70_000, 70_000)
    assert ProcessUse.load(use).peak_bytes < MOST_MEMORY


def test_files_and_offsets_over_4_gb_in_little_memory_and_read_once(staged: Staged) -> None:
    small = Staged(staged.engine)
    small.put("a.txt", b"a")
    used = {}
    for name in ("a-stored.zip", "b-compressed.txt"):
        staged.put_sparse(name, OVER_4_GB)
    staged.put("c-after.txt", b"after")
    for case in (small, staged):
        file = case.engine.path(rf"D:\{case.name}\use.json")
        end = case.write(under=ProcessUse.under(file), timeout=1200)
        assert end.result["state"] == "succeeded", end.result
        used[case] = ProcessUse.load(file)
    assert archives.readers_complaints(staged.archive) == {}
    with zipfile.ZipFile(staged.archive) as opened:
        sizes = {entry.filename: entry.file_size for entry in opened.infolist() if entry.filename != archives.MANIFEST}
        assert opened.read("c-after.txt") == b"after"
        assert opened.getinfo("a-stored.zip").compress_size > 2**32
        assert max(entry.header_offset for entry in opened.infolist()) > 2**32
    assert sizes == {"a-stored.zip": OVER_4_GB, "b-compressed.txt": OVER_4_GB, "c-after.txt": 5}
    assert used[staged].peak_bytes < MOST_MEMORY
    # Whatever the engine reads for itself, it reads for one byte, too.
    assert (used[staged].read_bytes - used[small].read_bytes) / sum(sizes.values()) == pytest.approx(1.0, abs=0.01)

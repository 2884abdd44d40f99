# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make bench`: memory, reads and throughput of archive and verification job on the lab's
engine, as Markdown tables."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import time
from pathlib import Path

from tests.collection_link import link_collection

parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
parser.add_argument("--megabytes", type=int, nargs="+", default=[10, 1000, 5000], help="sizes of the table of memory")
parser.add_argument("--throughput", type=int, default=1000, help="megabytes for the table of throughput")
options = parser.parse_args()
sys.path.insert(0, str(link_collection()))

from tests.node.archives import Staged  # noqa: E402 - the collection's name resolves only now
from tests.node.engine import Engine, running_engine  # noqa: E402
from tests.node.process_use import ProcessUse  # noqa: E402

MEGABYTE = 1_000_000
DOTNET = r"D:\bench\dotnet.zip"


def fill(case: Staged, megabytes: int) -> int:
    """Files of 100 MB at most, half of them of text, half of noise; returns their bytes."""
    chance = random.Random(megabytes)
    total = 0
    for number in range(-(-megabytes // 100)):
        part = min(100, megabytes - 100 * number)
        words = [b"%d " % chance.randrange(10**9) for _unused in range(2000)]
        block = b"".join(chance.choice(words) for _unused in range(50_000)) + chance.randbytes(500_000)
        content = (block * (part * MEGABYTE // len(block) + 1))[: part * MEGABYTE]
        case.put(f"{number}.txt", content)
        total += len(content)
    return total


def job(engine: Engine, case: Staged, kind: str) -> tuple[float, ProcessUse]:
    """Seconds the job took by its own clock, and what its process used."""
    use = engine.path(rf"D:\{case.name}\use-{kind}.json")
    begun = time.monotonic()
    if kind == "archive":
        end = case.write(under=ProcessUse.under(use), timeout=3000)
    else:
        spec = {
            "run_id": "r", "folder": rf"D:\{case.name}\archives", "base_name": "Backup", "stamp": "1",
            "staging": "", "keep_staging": False, "place": None,
        }  # fmt: skip
        end = engine.run_job("verify_job", spec, timeout=3000, under=ProcessUse.under(use))
    if end.result["state"] != "succeeded":
        sys.exit(f"{kind}: {end.result}")
    return float(end.result.get("seconds", time.monotonic() - begun)), ProcessUse.load(use)


def clear(folder: Path) -> None:
    """Give the disk back."""
    shutil.rmtree(folder, ignore_errors=True)


def show(text: str) -> None:
    """A line, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


with running_engine() as engine:
    idle = Staged(engine, "nothing")
    idle.put("a.txt", b"a")
    base = {kind: job(engine, idle, kind)[1] for kind in ("archive", "verify")}
    bare = engine.path(r"D:\bare.json")
    engine.command("1", under=ProcessUse.under(bare))
    show(
        f"The engine alone takes {ProcessUse.load(bare).peak_bytes / 2**20:.0f} MiB; "
        f"an archive job for one byte {base['archive'].peak_bytes / 2**20:.0f}.\n"
    )
    show("| job | source MB | peak memory MiB | bytes read / bytes to read | seconds |\n|---|---|---|---|---|")
    for megabytes in options.megabytes:
        case = Staged(engine)
        source = fill(case, megabytes)
        for kind in ("archive", "verify"):
            to_read = source if kind == "archive" else case.archive.stat().st_size
            seconds, use = job(engine, case, kind)
            ratio = (use.read_bytes - base[kind].read_bytes) / to_read
            show(f"| {kind} | {megabytes} | {use.peak_bytes / 2**20:.0f} | {ratio:.3f} | {seconds:.1f} |")
        clear(engine.path(rf"D:\{case.name}"))

    case = Staged(engine, "bench")
    source = fill(case, options.throughput)
    seconds, _unused = job(engine, case, "archive")
    took = {"archive job (deflate, SHA-256, manifest)": seconds}
    took["verification job"] = job(engine, case, "verify")[0]
    for line in engine.run(Path(__file__).with_name("throughput.ps1").read_text(encoding="utf-8"), timeout=3000).split(
        "\n"
    ):
        if "=" in line:
            name, _unused, value = line.partition("=")
            took[name] = float(value)
    show("\n| on the same data, one after another | seconds | MB/s |\n|---|---|---|")
    for name, value in took.items():
        show(f"| {name} | {value:.1f} | {source / MEGABYTE / value:.0f} |")
    show(
        f"archive {case.archive.stat().st_size / source:.3f} of the source; "
        f"ZipFile {engine.path(DOTNET).stat().st_size / source:.3f}"
    )
    clear(engine.path(r"D:\bench"))

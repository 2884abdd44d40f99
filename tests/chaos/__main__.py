# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make chaos`: the whole campaign, as Markdown tables; exit code 1 when something was missed that must be found."""

from __future__ import annotations

import argparse
import sys

from tests.collection_link import link_collection

parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
parser.add_argument("--seed", type=int, default=20260901)
parser.add_argument("--flips", type=int, default=10_000)
parser.add_argument("--cuts", type=int, default=1_000)
parser.add_argument("--clean", type=int, default=1_000)
options = parser.parse_args()
sys.path.insert(0, str(link_collection()))

from tests.chaos import campaign  # noqa: E402 - the collection's name resolves only now
from tests.node.engine import running_engine  # noqa: E402

with running_engine() as engine:
    archives, archives_good = campaign.archive_table(engine, options.seed, options.flips, options.cuts, options.clean)
    dumps, dumps_good = campaign.dump_table(engine, options.seed, options.flips)
sys.stdout.write(f"seed {options.seed}\n\n{archives}\n\n{dumps}\n")
sys.exit(0 if archives_good and dumps_good else 1)

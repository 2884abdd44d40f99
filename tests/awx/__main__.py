# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""python -m tests.awx fetch: have awx.awx in .lab/awx. python -m tests.awx record: write options.json from it."""

from __future__ import annotations

import sys

from tests.awx import modules

if __name__ == "__main__":
    if sys.argv[1:] not in (["fetch"], ["record"]):
        sys.exit(__doc__)
    modules.fetch()
    if sys.argv[1:] == ["record"]:
        modules.record()

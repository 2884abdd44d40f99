# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard fires every minute of the night in which clocks go back, because its trigger is in UTC."""

from __future__ import annotations

import datetime
import os
import re
from pathlib import Path
from zoneinfo import ZoneInfo

from tests.checks import sources
from tests.lab.task_definition import read
from tests.lab.trigger_times import next_moment
from tests.unit.lab.test_task_definition import task

# Another state of the collection, as in tests/faults: a folder with ansible_collections in it.
OTHER = os.environ.get("ALTERYX_TEST_COLLECTION", "")
ROOT = Path(OTHER) / "ansible_collections" / "alteryx_ops" / "server_backup" if OTHER else sources.ROOT


def test_the_guard_is_not_silent_in_the_hour_that_the_clock_shows_twice() -> None:
    source = (ROOT / "plugins" / "module_utils" / "NodeTask.psm1").read_text(encoding="utf-8")
    (start,) = re.findall(r"<StartBoundary>([^<]*)</StartBoundary>", source)
    repeated = f"<Repetition><Interval>PT1M</Interval></Repetition><StartBoundary>{start}</StartBoundary>"
    (trigger,) = read(task(triggers=f"<TimeTrigger>{repeated}</TimeTrigger>"), "\\AlteryxOps\\Guard").triggers
    # 03:00 in Berlin becomes 02:00 at 01:00 UTC.
    moment = datetime.datetime(2026, 10, 25, 0, 30, tzinfo=datetime.UTC).timestamp()
    longest = 0.0
    for _unused in range(120):
        following = next_moment(trigger, moment, scale=1, zone=ZoneInfo("Europe/Berlin"))
        assert following is not None
        longest = max(longest, following - moment)
        moment = following
    assert longest == 60.0

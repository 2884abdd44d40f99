# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two simulated years under the policy of docs/retention.md: what an operator may rely on holds on every day."""

from __future__ import annotations

from datetime import timedelta
from xml.etree import ElementTree as ET

import pytest

from tests import retention_years as simulated


@pytest.mark.parametrize("seed", [25, 1])
def test_on_every_day_there_is_what_the_policy_promises(seed: int) -> None:
    years = simulated.simulate(seed)
    assert len(years.kept) == simulated.DAYS - (simulated.OUTAGE[1] - simulated.OUTAGE[0])
    for day, kept in years.kept.items():
        for mode, rules in simulated.POLICY.items():
            good, bad = kept[mode]
            old = (day - simulated.BEGIN) > timedelta(days=rules["days"] + 1)
            assert len(good) >= 2 or day == simulated.BEGIN
            # The whole time of the policy is covered: the oldest one is older than that.
            assert not old or min(good) <= day + timedelta(days=1) - timedelta(days=rules["days"])
            # What does not count goes, too.
            assert len(bad) <= 20


def test_a_fortnight_without_runs_costs_nothing_that_was_good() -> None:
    years = simulated.simulate()
    before, after = (years.kept[simulated.BEGIN + timedelta(days=day)] for day in (399, 414))
    for mode in simulated.POLICY:
        assert max(before[mode][0]) in after[mode][0]
    # A year's ends of months are there, before and after.
    months = {(one.year, one.month) for one in after["full"][0]}
    assert len(months) >= 11


def test_the_page_has_the_table_and_the_picture_is_one() -> None:
    page = simulated.PAGE.read_text(encoding="utf-8")
    assert simulated.with_table(page) == page
    assert simulated.table() in page
    assert ET.fromstring(simulated.picture()).tag.endswith("svg")  # noqa: S314 - our own text

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node answers is checked before anything is decided by it."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import StepFailed
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._fleet import _node_facts
from tests.unit.plugins import samples

# What no decision needs; the report shows some of it.
NOT_READ = {
    "changed", "system.utc", "system.state_folder", "alteryx.processes", "service.process_id", "service.started",
    "service.executable", "folders.0.exists", "folders.1.exists",
}  # fmt: skip


def paths(value: t.Any, path: str = "") -> Iterator[str]:
    """Every place in an answer, as keys with dots; texts of settings are data and have none of their own."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        place = f"{path}.{key}".lstrip(".")
        yield place
        if key != "sections":
            yield from paths(each, place)


def at(answer: t.Any, place: str) -> tuple[t.Any, t.Any]:
    """What holds a place, and its key there."""
    *way, last = place.split(".")
    for key in way:
        answer = answer[int(key)] if isinstance(answer, list) else answer[key]
    return answer, int(last) if isinstance(answer, list) else last


EVERYWHERE = sorted(set(paths(samples.facts())) - NOT_READ)


def refused(answer: dict[str, t.Any]) -> str:
    with pytest.raises(StepFailed) as failure:
        _node_facts.read(answer)
    assert failure.value.reason.name == "facts_invalid"
    return failure.value.message


def test_a_healthy_node_is_read_with_everything_that_decisions_need() -> None:
    facts = samples.node_facts()
    assert facts.service.state == "Running"
    assert facts.folders[0].free_bytes == 500_000_000
    assert facts.settings.get("Environment", "WorkingPath") == r"D:\Alteryx"
    assert facts.roles == ("controller", "worker", "ui")
    assert samples.node_facts(lock=samples.lock()).lock == _node_facts.Lock(**samples.lock())


@pytest.mark.parametrize("place", EVERYWHERE)
@pytest.mark.reaches("facts_invalid")
def test_another_type_is_refused_wherever_it_is(place: str) -> None:
    answer = samples.facts()
    holder, key = at(answer, place)
    # No field of the answer is a set, and a number is not a text.
    holder[key] = {1}
    assert place.rpartition(".")[2].strip("0123456789") in refused(answer).replace("settings_files", "settings")


@pytest.mark.parametrize("place", [place for place in EVERYWHERE if not place[-1].isdigit()])
def test_what_is_missing_is_refused_by_name(place: str) -> None:
    answer = samples.facts()
    holder, key = at(answer, place)
    del holder[key]
    assert key in refused(answer).replace("settings_files", "settings")


def test_numbers_are_taken_as_either_kind_and_switches_are_no_numbers() -> None:
    facts = _node_facts.read(samples.facts(database__bytes=5.0, clock_off=2))
    assert (facts.database.bytes, facts.clock_off) == (5, 2.0)
    assert "database.bytes" in refused(samples.facts(database__bytes=True))
    assert "hold" in refused(samples.facts(hold=1))


@pytest.mark.parametrize(("change", "reason"), [("exists", "settings_missing"), ("error", "settings_malformed")])
def test_settings_that_cannot_be_read_say_so_when_they_are_needed(change: str, reason: str) -> None:
    answer = samples.facts()
    answer["settings"]["overrides"][change] = False if change == "exists" else "unexpected end"
    facts = _node_facts.read(answer)
    assert (facts.readable_settings, facts.roles) == (None, ())
    with pytest.raises(StepFailed) as failure:
        str(facts.settings)
    assert failure.value.reason.name == reason


def test_of_several_nodes_the_one_that_is_wrong_is_named() -> None:
    with pytest.raises(StepFailed) as failure:
        _node_facts.read_all({"node1": samples.facts(), "node2": samples.facts(hold="no")})
    assert failure.value.detail == {"node": "node2"}

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which settings are in force on a node, and what follows from them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils import _runtime_settings as rs
from tests.unit.plugins import samples

NAMES = st.sampled_from(["ControllerEnabled", "GalleryEnabled", "WorkerEnabled", "MongoDBEnabled", "Other"])
SECTIONS = st.dictionaries(
    st.sampled_from(["Controller", "Environment", "Worker"]), st.dictionaries(NAMES, st.sampled_from(["True", "False", "true", " FALSE ", "", "x"]))
)
DEFAULTS = samples.sections(samples.DEFAULTS)

EXPECTED = [
    ("a", ("controller", "worker", "ui"), "embedded"),
    ("b", ("controller",), "embedded"),
    ("c", ("worker",), "unknown"),
    ("d", ("ui",), "unknown"),
    ("e", ("controller", "ui"), "mongodb"),
]


@pytest.mark.parametrize(("letter", "roles", "kind"), EXPECTED)
def test_roles_and_database_of_the_sample_settings(letter: str, roles: tuple[str, ...], kind: str) -> None:
    settings = rs.effective(samples.settings_named(letter), DEFAULTS)
    assert rs.roles(settings) == roles
    assert rs.database_kind(settings) == kind
    assert not settings.fallback_used


@pytest.mark.parametrize(("letter", "roles", "kind"), EXPECTED)
@pytest.mark.parametrize("defaults", [None, {}])
def test_without_the_defaults_file_the_answer_is_the_same_and_the_fallback_is_said(
    letter: str, roles: tuple[str, ...], kind: str, defaults: rs.Sections | None
) -> None:
    settings = rs.effective(samples.settings_named(letter), defaults)
    assert (rs.roles(settings), rs.database_kind(settings), settings.fallback_used) == (roles, kind, True)


@given(SECTIONS, SECTIONS)
def test_an_override_wins_then_the_defaults_file_then_what_is_known(overrides: rs.Sections, defaults: rs.Sections) -> None:
    settings = rs.effective(overrides, defaults)
    for section in ("Controller", "Environment", "Worker"):
        for element in ("ControllerEnabled", "GalleryEnabled", "WorkerEnabled", "MongoDBEnabled", "Other"):
            layers = [layer[section][element] for layer in (overrides, defaults, rs.FALLBACK) if element in layer.get(section, {})]
            assert settings.get(section, element) == (layers[0].strip() if layers else "")


@given(SECTIONS, SECTIONS)
def test_roles_are_always_in_the_order_of_the_sequence(overrides: rs.Sections, defaults: rs.Sections) -> None:
    roles = rs.roles(rs.effective(overrides, defaults))
    assert list(roles) == [role for role in ("controller", "worker", "ui") if role in roles]


@pytest.mark.parametrize(("text", "on"), [("True", True), ("true", True), (" TRUE\n", True), ("False", False), ("", False), ("1", False), ("yes", False)])
def test_booleans_are_compared_without_case(text: str, on: bool) -> None:
    assert rs.effective({"Controller": {"GalleryEnabled": text}}, DEFAULTS).enabled("Controller", "GalleryEnabled") is on


@pytest.mark.parametrize(("queue", "render", "works"), [("True", "False", True), ("False", "True", True), ("False", "False", False)])
def test_a_worker_that_takes_no_jobs_is_none(queue: str, render: str, works: bool) -> None:
    settings = rs.effective({"Worker": {"QueueWorkerEnabled": queue, "RenderWorkerEnabled": render}}, DEFAULTS)
    assert ("worker" in rs.roles(settings)) is works


def test_a_node_with_nothing_enabled_has_no_role() -> None:
    off = {"Controller": {"ControllerEnabled": "False"}, "Environment": {"WorkerEnabled": "False"}}
    assert rs.roles(rs.effective(off, DEFAULTS)) == ()


def test_the_sqlite_path_of_every_defaults_file_is_no_sql_server() -> None:
    assert rs.database_kind(rs.effective({}, DEFAULTS)) == "unknown"


def test_a_filled_sql_element_of_the_controller_is_sql_server() -> None:
    assert rs.database_kind(rs.effective({"Controller": {"InventedSqlConnection": "Server=db"}}, DEFAULTS)) == "sqlserver"


@pytest.mark.parametrize("emptied", ["", "  "])
def test_an_emptied_sql_element_is_no_sql_server_whatever_the_defaults_say(emptied: str) -> None:
    defaults = {"Controller": {"InventedSqlConnection": "Server=localhost"}}
    assert rs.database_kind(rs.effective({"Controller": {"InventedSqlConnection": emptied}}, defaults)) == "unknown"


def test_the_embedded_database_outranks_leftovers_of_others() -> None:
    left = {"Controller": {"EmbeddedMongoDBEnabled": "True", "MongoDBEnabled": "True", "InventedSqlConnection": "Server=db"}}
    assert rs.database_kind(rs.effective(left, DEFAULTS)) == "embedded"

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""By what a node knows that the controller answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._fleet import _health
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._fleet._node_facts import Health

URL = "https://alteryx.example.test/webapi"


def health(answer: str, url: str = URL) -> Health:
    return Health(url, answer)


@pytest.mark.parametrize(
    ("said", "is_answer"),
    [("200", True), ("302", True), ("404", True), ("499", True), ("500", False), ("503", False), ("", False)],
)
def test_an_error_of_the_server_is_no_answer(said: str, is_answer: bool) -> None:
    assert _health.answers(said) is is_answer


@given(st.text())
def test_a_text_that_is_no_status_is_no_answer(said: str) -> None:
    assert not _health.answers(f"x{said}")


def test_without_an_address_the_port_is_asked_and_nothing_is_said() -> None:
    assert _health.usable_url(health("", "")) == ("", "")
    assert _health.usable_url(health("", ""), health("", "")) == ("", "")


def test_an_address_that_answers_on_the_controller_and_on_the_node_is_used() -> None:
    assert _health.usable_url(health("200")) == (URL, "")
    assert _health.usable_url(health("200"), health("401")) == (URL, "")


def test_an_address_that_does_not_answer_is_not_used_and_it_is_said_where() -> None:
    assert _health.usable_url(health("503")) == ("", f"{URL} does not answer on the controller (503)")
    url, problem = _health.usable_url(health("200"), health("The operation has timed out"))
    assert (url, "on the node (The operation has timed out)" in problem) == ("", True)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "127.0.0.1", "127.4.4.4", "[::1]", "ui.localhost"])
def test_an_address_that_names_the_node_itself_says_nothing_of_the_controller(host: str) -> None:
    url = f"http://{host}:8080/webapi"
    assert _health.usable_url(health("200", url)) == (url, "")
    assert _health.usable_url(health("200", url), health("200", url)) == ("", "")

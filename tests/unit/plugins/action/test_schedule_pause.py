# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API is asked from the control node, over HTTPS that is verified; the node gets the record and no secret."""

from __future__ import annotations

import dataclasses
import json
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible.errors import AnsibleConnectionFailure

from ansible_collections.alteryx_ops.server_backup.plugins.action import schedule_pause
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible import _action
from tests.lab import certificates, daemon
from tests.lab.v3_api import SCHEDULES, V3Api
from tests.lab.winrm_endpoint import server_context
from tests.unit.plugins import samples
from tests.unit.plugins.action import harness

BEFORE = {identity: enabled for identity, (_unused, enabled) in SCHEDULES.items()}
ENABLED = [identity for identity, enabled in BEFORE.items() if enabled]


class Node:
    """Keeps the record as the module's PowerShell does. lost: does not answer."""

    def __init__(self) -> None:
        self.text, self.lost = "", False
        self.calls: list[dict[str, t.Any]] = []

    def __call__(self, arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        self.calls.append(arguments)
        if self.lost:
            raise AnsibleConnectionFailure("no route")
        before = self.text
        if arguments["_operation"] == "write":
            self.text = arguments["_record"]
        return {"changed": self.text != before, "record": before}


@pytest.fixture(scope="module")
def lab_certificates(tmp_path_factory: pytest.TempPathFactory) -> certificates.LabCertificates:
    return certificates.ensure(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def server(lab_certificates: certificates.LabCertificates) -> Iterator[V3Api]:
    wrong: dict[str, str] = {}
    running = V3Api(
        daemon.free_port(), server_context(lab_certificates.endpoint), lambda: wrong.get("api") != "down", lambda: wrong
    )
    yield running
    running.close()


@pytest.fixture
def access(server: V3Api, lab_certificates: certificates.LabCertificates) -> dict[str, t.Any]:
    """alteryx_window_schedules_api."""
    return {**dataclasses.asdict(server.access), "ca_file": str(lab_certificates.authority), "request_timeout": 5}


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> harness.Time:
    clock = harness.Time()
    monkeypatch.setattr(schedule_pause, "time", clock)
    return clock


def behave(server: V3Api, **wrong: str) -> None:
    settings = t.cast("dict[str, str]", server.behaviour())
    settings.clear()
    settings.update(wrong)


def run(
    state: str, node: Node, access: t.Mapping[str, t.Any] | None, check_mode: bool = False, **more: t.Any
) -> dict[str, t.Any]:
    arguments = {
        "state": state,
        "run_id": samples.RUN_ID,
        "timeout": 0,
        **({"api": dict(access)} if access is not None else {}),
        **more,
    }
    result = harness.run(schedule_pause.ActionModule, arguments, node, check_mode=check_mode)
    if access:
        told = json.dumps([result, node.calls, node.text])
        assert not any(access[name] and access[name] in told for name in ("client_id", "client_secret"))
    return result


def test_a_pause_and_its_end(server: V3Api, access: dict[str, t.Any]) -> None:
    node = Node()
    paused = run("paused", node, access)
    assert (paused["changed"], [each["id"] for each in paused["schedules"]]) == (True, ENABLED)
    assert set(server.state()["enabled"].values()) == {False}
    assert json.loads(node.text)["run_id"] == samples.RUN_ID
    resumed = run("resumed", node, access)
    assert (resumed["changed"], resumed["schedules"], resumed["left"], node.text) == (True, paused["schedules"], [], "")
    assert server.state()["enabled"] == BEFORE
    assert (run("resumed", node, access)["changed"], run("resumed", node, None)["changed"]) == (False, False)


def test_check_mode_lists_and_changes_nothing(server: V3Api, access: dict[str, t.Any]) -> None:
    node = Node()
    assert len(run("paused", node, access, check_mode=True)["schedules"]) == len(ENABLED)
    assert (server.state()["log"], node.text, {call["_operation"] for call in node.calls}) == ([], "", {"read"})
    run("paused", node, access)
    asked = len(server.state()["log"])
    result = run("resumed", node, access, check_mode=True)
    assert (result["changed"], len(result["schedules"]), len(server.state()["log"])) == (True, len(ENABLED), asked)
    assert node.text


@pytest.mark.parametrize(("changes", "reason", "word"), [
    ({"ca_file": ""}, "schedules_unreachable", "SSLCertVerificationError"),
    ({"ca_file": "/no/such/file"}, "invalid_variable", "/no/such/file"),
    ({"base": "https://localhost:1/webapi"}, "schedules_unreachable", "ConnectionRefusedError"),
    ({"client_secret": "wrong-secret"}, "schedules_denied", "400"),
    ({"client_secret": ""}, "invalid_variable", "all three"),
    ({"base": "https://user:word@localhost/webapi"}, "invalid_variable", "without a login"),
    ({"listing_path": "/v9/nothing"}, "schedules_unclear", "404"),
    ({"enabled_field": "active"}, "schedules_unclear", "KeyError"),
])  # fmt: skip
def test_what_is_wrong_is_said_before_a_schedule_is_touched(
    server: V3Api, access: dict[str, t.Any], changes: dict[str, str], reason: str, word: str
) -> None:
    node = Node()
    result = run("paused", node, {**access, **changes})
    assert (result["reason"], result["exit_code"], word in result["message"]) == (reason, 3, True), result["message"]
    assert (server.state()["log"], node.text) == ([], "")
    assert "user:word" not in json.dumps(result)


def test_a_pause_needs_an_api() -> None:
    assert run("paused", Node(), None)["reason"] == "invalid_variable"


def test_no_redirect_is_followed_no_proxy_asked_and_no_netrc_read(
    server: V3Api, access: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://localhost:1")
    monkeypatch.delenv("no_proxy", raising=False)
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login somebody password else\n", encoding="ascii")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    behave(server, api="redirect")
    result = run("paused", Node(), access)
    assert (result["reason"], "status 307" in result["message"], server.state()["log"]) == (
        "schedules_unclear",
        True,
        [],
    )
    behave(server)
    assert run("paused", Node(), access)["changed"] is True


def test_a_certificate_that_is_not_checked_by_request_causes_a_warning(
    access: dict[str, t.Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("paused", Node(), {**access, "ca_file": "", "validate_certs": False})["changed"] is True
    assert "is not verified" in " ".join("".join(capsys.readouterr()).split())


def test_an_answer_that_does_not_come_is_not_waited_for_for_ever(server: V3Api, access: dict[str, t.Any]) -> None:
    behave(server, api_hang_disable=ENABLED[0])
    node = Node()
    assert run("paused", node, {**access, "request_timeout": 1})["reason"] == "schedules_unreachable"
    behave(server)
    assert run("resumed", node, access)["left"] == []
    assert node.text == ""


def test_an_api_that_stays_away_is_a_failure_with_names_and_the_run_gives_signs_of_life(
    server: V3Api, access: dict[str, t.Any], clock: harness.Time
) -> None:
    node = Node()
    run("paused", node, access)
    text, begun = node.text, clock.now
    behave(server, api="down")
    result = run("resumed", node, access, timeout=600)
    assert (result["reason"], result["exit_code"]) == ("schedules_not_resumed", 1)
    assert all(SCHEDULES[identity][0] in result["message"] for identity in ENABLED)
    assert [each["id"] for each in result["detail"]["left"]] == ENABLED
    assert node.text == text
    assert 600 <= clock.now - begun < 620
    # The lock of a run is stale after 180 s without a call.
    assert len([call for call in node.calls if call["_operation"] == "read"]) > 600 / 90


def test_a_record_of_another_server_is_left_alone(server: V3Api, access: dict[str, t.Any]) -> None:
    node = Node()
    node.text = json.dumps(
        {"schema": 1, "run_id": "dead", "base": "https://other/webapi", "schedules": [{"id": ENABLED[0], "name": "x"}]}
    )
    for state in ("paused", "resumed"):
        assert run(state, node, access)["reason"] == "schedules_record_bad"
    assert (server.state()["log"], json.loads(node.text)["run_id"]) == ([], "dead")


def test_without_credentials_the_record_is_kept_and_told(
    access: dict[str, t.Any], capsys: pytest.CaptureFixture[str]
) -> None:
    node = Node()
    run("paused", node, access)
    text = node.text
    result = run("resumed", node, None)
    assert (result["changed"], [each["id"] for each in result["left"]], node.text) == (False, ENABLED, text)
    assert f"the run {samples.RUN_ID} has left 3 schedules paused" in " ".join("".join(capsys.readouterr()).split())


def test_a_run_enables_its_paused_schedules_although_the_node_is_lost(
    server: V3Api, access: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch, clock: harness.Time
) -> None:
    monkeypatch.setattr(_action, "time", clock)
    node = Node()
    paused = run("paused", node, access)
    node.lost = True
    result = run("resumed", node, access, paused=paused["schedules"])
    # The record could not be removed; the next run enables once more what is enabled.
    assert result["reason"] == "connection_lost"
    assert server.state()["enabled"] == BEFORE

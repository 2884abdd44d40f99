# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in node: what it makes of the payloads ansible-core itself builds."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ansible.executor.powershell.module_manifest import (
    _bootstrap_powershell_script,
    _create_powershell_wrapper,
    _get_powershell_script,
)

from tests.lab import standin_install, standin_service
from tests.lab.ansible_payload import NotAnsible, module_name, read_module_call
from tests.lab.executor import CommandOutput
from tests.lab.node import Node
from tests.lab.standin_node import StandinExecutor

MODULE = b"#!powershell\n#AnsibleRequires -CSharpUtil Ansible.Basic\n"


class Standin:
    """A stand-in node without its endpoint."""

    def __init__(self, folder: Path, pool: ThreadPoolExecutor) -> None:
        self.node = Node("n1", "standin", "127.0.0.1", 1, "ansible", "x", folder)
        self.seen: list[dict[str, Any]] = []
        standin_install.install(self.node)

        def look(node: Node, arguments: dict[str, Any]) -> dict[str, Any]:
            self.seen.append(arguments)
            if arguments.get("state") == "broken":
                raise RuntimeError("broken")
            return {"changed": True, "echo": arguments.get("state")}

        self.executor = StandinExecutor(self.node, {"look": look}, pool)

    def run(self, line: str, stdin: bytes | None = None) -> tuple[str, str, int]:
        output = CommandOutput()
        command = self.executor.start(line, user="ansible", environment={}, working_directory=None, output=output)
        if stdin is not None:
            for begin in range(0, len(stdin), 50_000):
                command.write(stdin[begin : begin + 50_000], end=begin + 50_000 >= len(stdin), timeout=1)
        assert output.wait_finished(5)
        taken = output.take(0, 1 << 24)
        assert taken is not None
        text = {chunk.stream: chunk.data.decode() for chunk in taken.chunks}
        return text.get("stdout", ""), text.get("stderr", ""), taken.exit_code or 0

    def module(self, name: str, arguments: dict[str, Any], **changes: Any) -> dict[str, Any]:
        wrapper = {
            "name": name,
            "module_data": MODULE,
            "module_path": "x.ps1",
            "module_args": arguments,
            "environment": {},
            "async_timeout": 0,
            "become_plugin": None,
            "substyle": "powershell",
            "task_vars": {},
            "profile": "legacy",
            **changes,
        }
        stdout, _stderr, _code = self.run(BOOTSTRAP, _create_powershell_wrapper(**wrapper))
        result: dict[str, Any] = json.loads(stdout)
        return result


def encoded(script: str) -> str:
    options = "-NoProfile -NonInteractive -ExecutionPolicy Unrestricted"
    return f"PowerShell {options} -EncodedCommand {base64.b64encode(script.encode('utf-16-le')).decode()}"


BOOTSTRAP = encoded(_get_powershell_script("bootstrap_wrapper.ps1").decode())
COLLECTION = "ansible_collections.alteryx_ops.server_backup.plugins.modules"


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


@pytest.fixture
def standin(tmp_path: Path, pool: ThreadPoolExecutor) -> Standin:
    return Standin(tmp_path, pool)


def test_a_module_reaches_its_double_with_its_arguments(standin: Standin) -> None:
    arguments = {"state": "held", "_ansible_check_mode": True}
    result = standin.module(f"{COLLECTION}.look", arguments)
    assert result == {"changed": True, "echo": "held", "simulated": True}
    assert standin.seen == [arguments]


def test_a_double_that_breaks_is_a_failed_module(standin: Standin) -> None:
    result = standin.module("look", {"state": "broken"})
    assert (result["failed"], result["simulated"]) == (True, True)
    assert "broken" in result["msg"]


def test_an_unknown_module_fails_and_says_so(standin: Standin) -> None:
    result = standin.module(f"{COLLECTION}.other", {})
    assert result["failed"]
    assert "no double of the module alteryx_ops.server_backup.other" in result["msg"]


def test_async_is_beyond_a_stand_in(standin: Standin) -> None:
    with pytest.raises(json.JSONDecodeError):
        standin.module("look", {}, async_timeout=10, environment={"ANSIBLE_ASYNC_DIR": "x"})
    assert not standin.seen


def test_anything_but_a_module_is_refused_not_guessed(standin: Standin) -> None:
    helper, stdin = _bootstrap_powershell_script("powershell_expand_user.ps1", {"Path": "~"})
    for command in ((encoded("Get-Service"),), ("whoami.exe",), (encoded(helper), stdin)):
        stdout, stderr, code = standin.run(*command)
        assert (stdout, code) == ("", 1)
        assert stderr.startswith("SIMULATED: ")


def test_a_killed_command_is_over(standin: Standin) -> None:
    output = CommandOutput()
    command = standin.executor.start(BOOTSTRAP, user="ansible", environment={}, working_directory=None, output=output)
    command.kill_tree()
    assert output.exit_code == 1


def test_the_service_state_outside_observers_read(standin: Standin) -> None:
    assert standin.node.service().state == "Absent"
    standin_service.put(standin.node, "Running")
    first = standin.node.service()
    assert first.state == "Running"
    assert standin_service.change(standin.node, "Running") == []
    assert [seen["state"] for seen in standin_service.change(standin.node, "Stopped")] == ["StopPending", "Stopped"]
    assert standin.node.service().pid is None
    standin_service.change(standin.node, "Running")
    assert standin.node.service().pid != first.pid


@pytest.mark.parametrize(
    "stdin", [b"", b"x", b"{}\n\0\0\0\0\n{}", b'{"name": "exec_wrapper"}\n\0\0\0\0\n{"actions": []}']
)
def test_what_is_no_payload_is_said_to_be_none(stdin: bytes) -> None:
    with pytest.raises(NotAnsible):
        read_module_call(stdin)


def test_module_names() -> None:
    assert module_name("ansible_collections.a.b.plugins.modules.c.ps1") == "a.b.c"
    assert module_name("ansible.legacy.win_ping.ps1") == "ansible.legacy.win_ping"

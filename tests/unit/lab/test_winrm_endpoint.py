# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The WinRM endpoint, spoken to by pywinrm itself."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests
from winrm.exceptions import InvalidCredentialsError, WinRMOperationTimeoutError, WSManFaultError
from winrm.protocol import Protocol

from tests.lab import winrm_shells
from tests.lab.certificates import ensure
from tests.lab.daemon import free_port
from tests.lab.executor import CommandOutput, InputClosed
from tests.lab.winrm_endpoint import MAX_ENVELOPE, Endpoint, Reception, server_context
from tests.lab.winrm_messages import CommandRequest
from tests.lab.winrm_shells import readable, windows_command_line

PASSWORD = "correct horse"


@dataclass
class Fake:
    """One command of the fake node: echoes its input, ends at its end; ``wait`` never ends by itself."""

    line: str
    user: str
    environment: Mapping[str, str]
    output: CommandOutput
    killed: bool = False
    received: bytes = b""

    def write(self, data: bytes, *, end: bool, timeout: float) -> None:
        if self.line.endswith("deaf"):
            raise InputClosed
        if self.line.endswith("slow"):
            raise TimeoutError
        self.received += data
        self.output.append("stdout", data)
        if end:
            self.output.finish(0)

    def kill_tree(self) -> None:
        self.killed = True
        self.output.finish(1)


@dataclass
class FakeNode:
    """An executor that starts nothing."""

    commands: list[Fake] = field(default_factory=list)

    def start(
        self,
        command_line: str,
        *,
        user: str,
        environment: Mapping[str, str],
        working_directory: str | None,
        output: CommandOutput,
    ) -> Fake:
        del working_directory
        command = Fake(command_line, user, dict(environment), output)
        self.commands.append(command)
        if command_line.endswith("greet"):
            output.append("stdout", b"hello\r\n")
            output.append("stderr", b"\xff\x00")
            output.finish(-7)
        return command


@dataclass
class Lab:
    """An endpoint and how to reach it."""

    endpoint: Endpoint
    node: FakeNode
    log: Path
    authority: Path

    def client(self, user: str = "ansible", password: str = PASSWORD, seconds: int = 20) -> Protocol:
        return Protocol(
            f"https://127.0.0.1:{self.endpoint.port}/wsman",
            transport="basic",
            username=user,
            password=password,
            ca_trust_path=str(self.authority),
            proxy=None,
            operation_timeout_sec=seconds,
            read_timeout_sec=seconds + 10,
        )

    def entries(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def certificates_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    ensure(folder)
    return folder


@pytest.fixture
def lab(tmp_path: Path, certificates_folder: Path) -> Iterator[Lab]:
    node, reception, log = FakeNode(), Reception(), tmp_path / "winrm.jsonl"
    certificates = ensure(certificates_folder)
    endpoint = Endpoint(
        port=free_port(),
        executor=node,
        passwords={"ansible": PASSWORD, "operator": "other"},
        context=server_context(certificates.endpoint),
        log=log,
        transcript=tmp_path / "transcript",
        reception=reception,
    )
    endpoint.open()
    yield Lab(endpoint, node, log, certificates.authority)
    endpoint.close()
    reception.close()


def test_a_command_from_shell_to_exit_code(lab: Lab) -> None:
    client = lab.client()
    shell = client.open_shell(env_vars={"A": "ä<&>"})
    command = client.run_command(shell, "greet")
    assert client.get_command_output(shell, command) == (b"hello\r\n", b"\xff\x00", -7)
    client.cleanup_command(shell, command)
    client.close_shell(shell)
    assert lab.node.commands[0].line == "cmd.exe /c greet"
    assert lab.node.commands[0].environment == {"A": "ä<&>"}
    assert lab.endpoint.shells.count() == 0


def test_the_transcript_holds_what_went_both_ways_while_its_folder_is_there(lab: Lab) -> None:
    folder = lab.log.parent / "transcript"
    client = lab.client()
    shell = client.open_shell()
    client.cleanup_command(shell, client.run_command(shell, "before"))
    folder.mkdir()
    command = client.run_command(shell, "cat", console_mode_stdin=False)
    client.send_command_input(shell, command, b"first ")
    client.send_command_input(shell, command, b"second", end=True)
    client.get_command_output(shell, command)
    client.cleanup_command(shell, command)
    client.close_shell(shell)
    kept = {file.name.replace(command, "ID"): file.read_bytes() for file in folder.iterdir()}
    assert (kept["ID.line"], kept["ID.stdin"], kept["ID.stdout"]) == (b"cat", b"first second", b"first second")
    assert b"before" not in kept["requests.xml"]
    assert b"CommandLine" in kept["requests.xml"]
    assert b"CommandResponse" in kept["responses.xml"]


def test_input_arrives_whole_and_in_order(lab: Lab) -> None:
    client = lab.client()
    shell = client.open_shell()
    command = client.run_command(shell, "cat", console_mode_stdin=False)
    pieces = [bytes([number]) * 200_000 for number in range(3)]
    for piece in pieces:
        client.send_command_input(shell, command, piece, end=piece is pieces[-1])
    assert client.get_command_output(shell, command) == (b"".join(pieces), b"", 0)


@pytest.mark.parametrize(
    ("user", "password"), [("ansible", "wrong"), ("nobody", PASSWORD), ("operator", PASSWORD), ("ansible", "")]
)
def test_a_wrong_password_is_refused(lab: Lab, user: str, password: str) -> None:
    with pytest.raises(InvalidCredentialsError):
        lab.client(user, password).open_shell()
    assert [entry["status"] for entry in lab.entries()] == [401]


def test_without_credentials_the_answer_names_basic(lab: Lab) -> None:
    answer = requests.post(
        f"https://127.0.0.1:{lab.endpoint.port}/wsman", data=b"", verify=str(lab.authority), timeout=10
    )
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Basic realm="WSMAN"')


def test_the_certificate_is_verified(lab: Lab) -> None:
    with pytest.raises(requests.exceptions.SSLError):
        requests.post(f"https://127.0.0.1:{lab.endpoint.port}/wsman", timeout=10)


def test_waiting_is_broken_off_after_the_operation_timeout_and_asked_again(lab: Lab) -> None:
    client = lab.client(seconds=1)
    shell = client.open_shell()
    command = client.run_command(shell, "wait")
    threading.Timer(1.5, lambda: lab.node.commands[0].output.finish(0)).start()
    assert client.get_command_output(shell, command) == (b"", b"", 0)
    assert [(entry["status"], entry.get("fault")) for entry in lab.entries() if entry["action"] == "Receive"] == [
        (500, 2150858793),
        (200, None),
    ]


def test_a_shell_takes_its_commands_with_it_and_leaves_other_shells_alone(lab: Lab) -> None:
    client, other = lab.client(), lab.client()
    shell, other_shell = client.open_shell(), other.open_shell()
    client.run_command(shell, "wait")
    client.run_command(shell, "wait")
    other.run_command(other_shell, "wait")
    client.close_shell(shell)
    assert [command.killed for command in lab.node.commands] == [True, True, False]


def test_a_signal_ends_one_command(lab: Lab) -> None:
    client = lab.client()
    shell = client.open_shell()
    first, second = client.run_command(shell, "wait"), client.run_command(shell, "wait")
    client.cleanup_command(shell, first)
    assert [command.killed for command in lab.node.commands] == [True, False]
    with pytest.raises(WSManFaultError):
        client.get_command_output(shell, first)
    client.send_command_input(shell, second, b"still here", end=True)


def test_a_deleted_shell_is_unknown(lab: Lab) -> None:
    client = lab.client()
    shell = client.open_shell()
    client.close_shell(shell, close_session=False)
    with pytest.raises(WSManFaultError) as refused:
        client.run_command(shell, "greet")
    assert refused.value.wsman_fault_code == 2150858843


def test_another_users_shell_is_unknown(lab: Lab) -> None:
    shell = lab.client().open_shell()
    with pytest.raises(WSManFaultError):
        lab.client("operator", "other").run_command(shell, "greet")


def test_input_a_command_does_not_read_is_a_fault(lab: Lab) -> None:
    client = lab.client()
    shell = client.open_shell()
    with pytest.raises(WSManFaultError) as refused:
        client.send_command_input(shell, client.run_command(shell, "deaf"), b"x")
    assert refused.value.wsman_fault_code == 109


def test_input_that_is_not_taken_in_time_is_a_time_out(lab: Lab) -> None:
    client = lab.client()
    shell = client.open_shell()
    with pytest.raises(WinRMOperationTimeoutError):
        client.send_command_input(shell, client.run_command(shell, "slow"), b"x")


def test_an_envelope_over_the_quota_is_too_large(lab: Lab) -> None:
    answer = requests.post(
        f"https://127.0.0.1:{lab.endpoint.port}/wsman",
        data=b"x" * (MAX_ENVELOPE + 1),
        verify=str(lab.authority),
        auth=("ansible", PASSWORD),
        timeout=10,
    )
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "body",
    [
        b"not xml",
        b"<a/>",
        (
            b'<!DOCTYPE a [<!ENTITY x "y">]><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope">'
            b"<s:Header/><s:Body>&x;</s:Body></s:Envelope>"
        ),
    ],
)
def test_what_is_no_request_is_a_fault_and_the_endpoint_lives_on(lab: Lab, body: bytes) -> None:
    answer = requests.post(
        f"https://127.0.0.1:{lab.endpoint.port}/wsman",
        data=body,
        verify=str(lab.authority),
        auth=("ansible", PASSWORD),
        timeout=10,
    )
    assert answer.status_code == 500
    assert b"Fault" in answer.content
    lab.client().open_shell()


def test_a_cut_resets_waiting_clients_refuses_new_ones_and_keeps_shells(lab: Lab) -> None:
    client = lab.client()
    shell = client.open_shell()
    command = client.run_command(shell, "wait")
    threading.Timer(0.2, lambda: lab.endpoint.cut(1.0)).start()
    with pytest.raises(requests.exceptions.ConnectionError):
        client.get_command_output(shell, command)
    with pytest.raises(requests.exceptions.ConnectionError):
        lab.client().open_shell()
    lab.node.commands[0].output.append("stdout", b"meanwhile")
    lab.node.commands[0].output.finish(0)
    time.sleep(1.1)
    assert client.get_command_output(shell, command) == (b"meanwhile", b"", 0)
    assert not lab.node.commands[0].killed


def test_output_that_comes_while_the_line_is_cut_is_not_lost(lab: Lab) -> None:
    client = lab.client()
    shell = client.open_shell()
    command = client.run_command(shell, "wait")
    failed = threading.Event()

    def poll() -> None:
        try:
            client.get_command_output(shell, command)
        except requests.exceptions.ConnectionError:
            failed.set()

    poller = threading.Thread(target=poll)
    poller.start()
    time.sleep(0.2)
    lab.endpoint.cut(0.3)
    poller.join(5)
    assert failed.is_set()
    # The client of the waiting request is gone, so its output must be kept for the next request.
    lab.node.commands[0].output.append("stdout", b"kept")
    lab.node.commands[0].output.finish(0)
    time.sleep(0.5)
    assert client.get_command_output(shell, command)[0] == b"kept"


def test_a_reboot_forgets_shells_and_ends_what_ran(lab: Lab) -> None:
    client = lab.client()
    shell = client.open_shell()
    client.run_command(shell, "wait")
    lab.endpoint.close()
    lab.endpoint.open()
    assert lab.node.commands[0].killed
    with pytest.raises(WSManFaultError):
        lab.client().run_command(shell, "greet")


def test_shells_nobody_closes_use_up_the_quota(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winrm_shells, "MAX_SHELLS_PER_USER", 2)
    client = lab.client()
    shells = [client.open_shell() for _unused in range(2)]
    with pytest.raises(WSManFaultError) as refused:
        client.open_shell()
    assert refused.value.wsman_fault_code == 2150859173
    client.close_shell(shells[0])
    client.open_shell()


def test_a_shell_runs_a_limited_number_of_commands(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winrm_shells, "MAX_COMMANDS_PER_SHELL", 1)
    client = lab.client()
    shell = client.open_shell()
    client.run_command(shell, "greet")
    with pytest.raises(WSManFaultError) as refused:
        client.run_command(shell, "greet")
    assert refused.value.wmierror_code == 0x803381A6  # the code at which Ansible opens another shell


def test_every_request_is_logged_with_the_head_of_its_command(lab: Lab) -> None:
    client = lab.client()
    shell = client.open_shell()
    command = client.run_command(shell, "powershell", ["-NoProfile", "-EncodedCommand", "JABwAGkAZAA="])
    client.close_shell(shell)
    entries = lab.entries()
    assert [entry["action"] for entry in entries] == ["Create", "Command", "Delete"]
    assert {
        "shell": shell,
        "command": command,
        "command_line": "powershell -NoProfile <encoded> $pid",
    }.items() <= entries[1].items()
    assert all(
        isinstance(entry["in"], int) and entry["in"] > 0 and isinstance(entry["out"], int) and entry["out"] > 0
        for entry in entries
    )


@pytest.mark.parametrize(
    ("command", "arguments", "skip", "expected"),
    [
        ("PowerShell", "-NoProfile -EncodedCommand QQ==", False, "PowerShell -NoProfile -EncodedCommand QQ=="),
        ("dir", "C:\\", False, "cmd.exe /c dir C:\\"),
        ("dir", "C:\\", True, "dir C:\\"),
        ("powershell", "-Command 1 | find x", False, "cmd.exe /c powershell -Command 1 | find x"),
        (
            "type",
            "a.ps1 | PowerShell -EncodedCommand QQ==",
            False,
            "cmd.exe /c type a.ps1 | PowerShell -EncodedCommand QQ==",
        ),
        ("x" * 9000, "", False, None),
        ("x" * 9000, "", True, "x" * 9000),
    ],
)
def test_cmd_stands_between_as_on_windows(command: str, arguments: str, skip: bool, expected: str | None) -> None:
    assert windows_command_line(CommandRequest(command, arguments, skip)) == expected


def test_what_only_looks_encoded_is_shown_as_it_is() -> None:
    assert readable("powershell -EncodedCommand A") == "powershell -EncodedCommand A"

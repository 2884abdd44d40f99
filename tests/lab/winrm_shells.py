# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The remote shells of one node: which are open, what runs in them, and that nothing outlives them."""

from __future__ import annotations

import base64
import binascii
import re
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from .executor import CommandOutput, Executor, InputBusy, InputClosed, RunningCommand, Taken
from .winrm_messages import CommandRequest, ShellRequest, WsmanFault, operation_timed_out, shell_not_found

# Quotas of an unchanged Windows Server (winrm get winrm/config/winrs). A shell that is never closed must be seen in the
# lab, not first in the field.
MAX_SHELLS_PER_USER = 30
MAX_COMMANDS_PER_SHELL = 1500
MAX_CMD_LINE = 8191

_POWERSHELL = re.compile(r'"?(?:[^"]*[\\/])?(?:powershell|pwsh)(?:\.exe)?"?$', re.IGNORECASE)
_ENCODED = re.compile(r"\s-e(?:nc(?:odedcommand)?)?\s+([A-Za-z0-9+/=]+)", re.IGNORECASE)


@dataclass
class Command:
    """One command of a shell."""

    running: RunningCommand
    output: CommandOutput


@dataclass
class Shell:
    """One open shell."""

    user: str
    environment: Mapping[str, str]
    working_directory: str | None
    commands: dict[str, Command] = field(default_factory=dict)
    started: int = 0


class Shells:
    """The open shells of a node. Safe to use from several threads; nothing here waits with the lock held."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._lock = threading.Lock()
        self._shells: dict[str, Shell] = {}

    def create(self, user: str, wanted: ShellRequest) -> str:
        """Open a shell and return its id."""
        with self._lock:
            if sum(shell.user == user for shell in self._shells.values()) >= MAX_SHELLS_PER_USER:
                raise WsmanFault(
                    2150859173,
                    "The WS-Management service cannot process the request. This user is allowed a maximum number of "
                    f"{MAX_SHELLS_PER_USER} concurrent shells, which has been exceeded. "
                    "Close existing shells or raise the quota for this user.",
                    subcode="w:QuotaLimit",
                    wmi_code=0x803381A5,
                )
            shell_id = _identity()
            self._shells[shell_id] = Shell(user, wanted.environment, wanted.working_directory)
        return shell_id

    def start(self, user: str, shell_id: str, wanted: CommandRequest) -> str:
        """Start a command in a shell and return its id."""
        shell = self._shell(user, shell_id)
        with self._lock:
            if shell.started >= MAX_COMMANDS_PER_SHELL:
                raise WsmanFault(
                    2150859174,
                    "The WS-Management service cannot process the request. "
                    "The maximum number of concurrent operations for this user has been exceeded. "
                    "Close existing operations for this user, or raise the quota for this user.",
                    subcode="w:QuotaLimit",
                    wmi_code=0x803381A6,
                )
            shell.started += 1
        output = CommandOutput()
        line = windows_command_line(wanted)
        if line is None:
            output.append("stderr", b"The command line is too long.\r\n")
            output.finish(1)
            running: RunningCommand = _NeverStarted()
        else:
            running = self._executor.start(
                line, user=user, environment=shell.environment, working_directory=shell.working_directory, output=output
            )
        command_id = _identity()
        with self._lock:
            if shell_id in self._shells:
                shell.commands[command_id] = Command(running, output)
                return command_id
        running.kill_tree()  # the shell was deleted while its command was being started
        raise shell_not_found(shell_id)

    def send(self, user: str, shell_id: str, command_id: str, data: bytes, *, end: bool, timeout: float) -> None:
        """Pass input on to a command."""
        command = self._command(user, shell_id, command_id)
        try:
            command.running.write(data, end=end, timeout=timeout)
        except InputClosed as error:
            raise WsmanFault(109, "The pipe has been ended.") from error
        except InputBusy as error:
            raise WsmanFault(170, "The requested resource is in use.") from error
        except TimeoutError as error:
            raise operation_timed_out() from error

    def receive(self, user: str, shell_id: str, command_id: str, *, timeout: float, limit: int) -> Taken:
        """Wait for output of a command."""
        command = self._command(user, shell_id, command_id)
        try:
            taken = command.output.take(timeout, limit)
        except InterruptedError as error:
            raise WsmanFault(
                995, "The I/O operation has been aborted because of either a thread exit or an application request."
            ) from error
        if taken is None:
            raise operation_timed_out()
        return taken

    def put_back(self, user: str, shell_id: str, command_id: str, taken: Taken) -> None:
        """Keep what was received but could not be delivered."""
        try:
            self._command(user, shell_id, command_id).output.put_back(taken)
        except WsmanFault:
            pass  # ended meanwhile: the client will not ask again

    def signal(self, user: str, shell_id: str, command_id: str, code: str) -> None:
        """End a command. Ctrl+C ends it too: no console is behind these pipes that could pass it on."""
        shell = self._shell(user, shell_id)
        command = self._command(user, shell_id, command_id)
        if code == "terminate":
            with self._lock:
                shell.commands.pop(command_id, None)
            command.output.abandon()
        command.running.kill_tree()

    def delete(self, user: str, shell_id: str) -> None:
        """Close a shell: everything that was started in it ends."""
        self._shell(user, shell_id)
        with self._lock:
            shell = self._shells.pop(shell_id, None)
        if shell is None:
            raise shell_not_found(shell_id)
        _end(shell)

    def end_all(self) -> None:
        """Close every shell: the node goes down."""
        with self._lock:
            shells, self._shells = list(self._shells.values()), {}
        for shell in shells:
            _end(shell)

    def count(self) -> int:
        """Number of open shells."""
        with self._lock:
            return len(self._shells)

    def _shell(self, user: str, shell_id: str) -> Shell:
        with self._lock:
            shell = self._shells.get(shell_id.upper())
        if shell is None or shell.user != user:
            raise shell_not_found(shell_id)
        return shell

    def _command(self, user: str, shell_id: str, command_id: str) -> Command:
        shell = self._shell(user, shell_id)
        with self._lock:
            command = shell.commands.get(command_id.upper())
        if command is None:
            raise WsmanFault(
                2150858844,
                "The Windows Remote Shell received a request to perform an operation on a command identifier "
                f"{command_id} that does not exist. "
                "Either the command has completed execution or the client specified an invalid command identifier.",
                subcode="w:InvalidSelectors",
                sender=True,
            )
        return command


def windows_command_line(wanted: CommandRequest) -> str | None:
    """What the host runs for a request: ``cmd /c`` unless the client requests otherwise; None when that is too long for
    cmd.exe.

    PowerShell is started without the cmd.exe in between, which changes nothing but saves a process;
    cmd's limit still holds.
    """
    text = wanted.text()
    if wanted.skip_cmd_shell:
        return text
    if len(f"cmd.exe /c {text}") > MAX_CMD_LINE:
        return None
    piped = any(character in wanted.arguments for character in "|&<>^%")
    return text if _POWERSHELL.match(wanted.command) and not piped else f"cmd.exe /c {text}"


def readable(command_line: str) -> str:
    """A command line for people: an encoded PowerShell command is decoded."""
    match = _ENCODED.search(command_line)
    if not match:
        return command_line
    try:
        script = base64.b64decode(match.group(1), validate=True).decode("utf-16-le")
    except (binascii.Error, UnicodeDecodeError):
        return command_line
    return f"{command_line[: match.start()]} <encoded> {script}"


class _NeverStarted:
    def write(self, data: bytes, *, end: bool, timeout: float) -> None:
        raise InputClosed

    def kill_tree(self) -> None:
        pass


def _end(shell: Shell) -> None:
    for command in list(shell.commands.values()):
        command.output.abandon()
        command.running.kill_tree()


def _identity() -> str:
    return str(uuid.uuid4()).upper()

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in node: no Windows and no PowerShell, only Python doubles of modules behind a real WinRM endpoint.

Everything it says is SIMULATED and marked so. It is for fast feedback and for scale; evidence about Windows comes from the other kinds of node.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import threading
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import Executor as ThreadPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import layout, standin_install, standin_lease, standin_service
from .ansible_payload import Action, NotAnsible, Payload, read_payload, reads_payload, script_of
from .executor import CommandOutput, InputClosed
from .node import Node
from .standin_failure import NodeFailure

ModuleDouble = Callable[["StandinMachine", dict[str, Any]], dict[str, Any]]

HOME = r"C:\Users\ansible"
_TEMP = HOME + r"\AppData\Local\Temp"
_VARIABLES = {"temp": _TEMP, "tmp": _TEMP, "userprofile": HOME, "systemdrive": "C:", "programdata": r"C:\ProgramData",
              "programfiles": r"C:\Program Files", "windir": r"C:\Windows", "systemroot": r"C:\Windows"}
_FOLDERS = (_TEMP, r"C:\Windows\System32", r"C:\ProgramData", r"C:\Program Files", r"C:\AlteryxLab", "D:\\")


@dataclass
class StandinMachine:
    """What a module double may use: the node's folders, and a lock where two calls at once would hurt."""

    node: Node
    user: str = "ansible"
    lock: threading.RLock = field(default_factory=threading.RLock)

    def path(self, windows_path: str) -> Path:
        """Host path of a Windows path."""
        return self.node.path(expand(windows_path))

    @property
    def administrator(self) -> bool:
        """Whether the calling user is one."""
        return self.user != "operator"


def create(node: Node) -> None:
    """Make a stand-in node: folders, and the files of an Alteryx Server; what is there stays."""
    for drive in "cd":
        layout.drive(node.folder, drive).mkdir(parents=True, exist_ok=True)
    for folder in _FOLDERS:
        node.path(folder).mkdir(parents=True, exist_ok=True)
    standin_install.install(node)


def boot(node: Node) -> None:
    """Switch it on: its service, where it has one, is started under a new process id."""
    standin_lease.boot(node)
    standin_service.boot(node)


def write_service(node: Node, state: str) -> None:
    """Set the state of the simulated service: Running or Stopped."""
    standin_service.put(node, state)


def shutdown(node: Node) -> None:
    """Switch it off."""
    standin_service.shutdown(node)


class StandinExecutor:
    """Executor of one stand-in node. Commands run in a pool that all nodes share: no process, no thread of their own.

    Args:
        node: the node.
        modules: name of a module (with or without its collection) to its double.
        pool: where commands run.
    """

    def __init__(self, node: Node, modules: Mapping[str, ModuleDouble], pool: ThreadPool) -> None:
        self._machine = StandinMachine(node)
        self._modules = modules
        self._pool = pool

    def start(self, command_line: str, *, user: str, environment: Mapping[str, str], working_directory: str | None,
              output: CommandOutput) -> StandinCommand:
        """Start a command; one that reads Ansible's payload waits until that is complete."""
        del environment, working_directory
        machine = StandinMachine(self._machine.node, user, self._machine.lock)
        script = script_of(command_line)
        command = StandinCommand(self._pool, output, lambda stdin: self._run(machine, command_line, script, stdin))
        if script is None or not reads_payload(script):
            command.begin()
        return command

    def _run(self, machine: StandinMachine, command_line: str, script: str | None, stdin: bytes) -> Outcome:
        if script is not None and reads_payload(script):
            payload = read_payload(stdin)
            call = payload.module_call()
            if call is not None:
                return self._module(machine, call.name, call.arguments)
            return _helper(machine, payload)
        return _plain(machine, script if script is not None else command_line)

    def _module(self, machine: StandinMachine, name: str, arguments: dict[str, Any]) -> Outcome:
        double = self._modules.get(name) or self._modules.get(name.rpartition(".")[2])
        if double is None:
            known = ", ".join(sorted(self._modules)) or "none"
            return _result({"failed": True, "msg": f"SIMULATED: a stand-in node has no double of the module {name}. It has: {known}."})
        try:
            return _result(double(machine, arguments))
        except NodeFailure as failure:
            return _result({"failed": True, "msg": failure.message, "reason": failure.reason, "detail": failure.detail})
        except Exception as error:  # what a double throws is a failed module, as what a module throws is
            return _result({"failed": True, "msg": f"SIMULATED: the double of {name} failed: {error}", "exception": traceback.format_exc()})


@dataclass(frozen=True)
class Outcome:
    """What a command has printed, and its exit code."""

    code: int
    stdout: str = ""
    stderr: str = ""


class StandinCommand:
    """One command: collects its input, runs once it is complete."""

    def __init__(self, pool: ThreadPool, output: CommandOutput, run: Callable[[bytes], Outcome]) -> None:
        self._pool = pool
        self._output = output
        self._run = run
        self._lock = threading.Lock()
        self._input = bytearray()
        self._begun = False

    def begin(self) -> None:
        """Run now, with the input there is."""
        with self._lock:
            if self._begun:
                return
            self._begun = True
            stdin = bytes(self._input)
            self._input.clear()
        self._pool.submit(self._work, stdin)

    def write(self, data: bytes, *, end: bool, timeout: float) -> None:
        """Collect input."""
        del timeout
        with self._lock:
            if self._begun:
                if data:
                    raise InputClosed
                return
            self._input += data
        if end:
            self.begin()

    def kill_tree(self) -> None:
        """Report the end; Python code that runs cannot be ended and finishes unheard."""
        with self._lock:
            self._begun = True
        self._output.finish(1)

    def _work(self, stdin: bytes) -> None:
        try:
            outcome = self._run(stdin)
        except NotAnsible as error:
            outcome = _unknown(str(error))
        except Exception:  # anything else would be a command that never ends
            outcome = Outcome(1, "", f"SIMULATED: {traceback.format_exc()}")
        self._output.append("stdout", outcome.stdout.encode())
        self._output.append("stderr", outcome.stderr.encode())
        self._output.finish(outcome.code)


def expand(text: str) -> str:
    """Replace %NAME% as ExpandEnvironmentVariables does."""
    return re.sub(r"%([^%]+)%", lambda match: _VARIABLES.get(match.group(1).casefold(), match.group()), text)


def _result(result: dict[str, Any]) -> Outcome:
    content = {"changed": False, **result, "simulated": True}
    return Outcome(1 if content.get("failed") else 0, json.dumps(content) + "\r\n")


def _unknown(what: str) -> Outcome:
    return Outcome(1, "", f"SIMULATED: a stand-in node cannot do this: {what[:300]}\r\n")


# ---- Ansible's own helper scripts

def _helper(machine: StandinMachine, payload: Payload) -> Outcome:
    action = payload.actions[-1]
    helper = _HELPERS.get(action.script)
    return helper(machine, action, payload.data) if helper and len(payload.actions) == 1 else _unknown(f"the script {action.script}")


def _mkdtemp(machine: StandinMachine, action: Action, data: bytes) -> Outcome:
    path = expand(f"{action.parameters['Directory']}\\{action.parameters['Name']}")
    machine.path(path).mkdir(parents=True, exist_ok=True)
    return Outcome(0, f"{path}\r\n")


def _expand_user(machine: StandinMachine, action: Action, data: bytes) -> Outcome:
    path = str(action.parameters["Path"])
    return Outcome(0, (HOME + path[1:] if path == "~" or path.startswith("~\\") else path) + "\r\n")


def _put_file(machine: StandinMachine, action: Action, data: bytes) -> Outcome:
    content = b"".join(base64.b64decode(line) for line in data.splitlines() if line)
    target = machine.path(str(action.parameters["Path"]))
    if not target.parent.is_dir():
        return Outcome(1, "", f"Could not find a part of the path '{action.parameters['Path']}'.\r\n")
    target.write_bytes(content)
    return Outcome(0, json.dumps({"sha1": hashlib.sha1(content, usedforsecurity=False).hexdigest()}) + "\r\n")


def _fetch_file(machine: StandinMachine, action: Action, data: bytes) -> Outcome:
    path = machine.path(str(action.parameters["Path"]))
    if path.is_dir():
        return Outcome(0, "[DIR]\r\n")
    if not path.is_file():
        return Outcome(1, "", f"{action.parameters['Path']} does not exist\r\n")
    with path.open("rb") as file:
        file.seek(int(action.parameters["Offset"]))
        piece = file.read(int(action.parameters["BufferSize"]))
    return Outcome(0, base64.b64encode(piece).decode("ascii") + "\r\n" if piece else "")


_HELPERS: dict[str, Callable[[StandinMachine, Action, bytes], Outcome]] = {
    "powershell_mkdtemp.ps1": _mkdtemp,
    "powershell_expand_user.ps1": _expand_user,
    "winrm_put_file.ps1": _put_file,
    "winrm_fetch_file.ps1": _fetch_file,
}


# ---- the little PowerShell that Ansible sends besides

def _plain(machine: StandinMachine, script: str) -> Outcome:
    for pattern, reply in _PATTERNS:
        match = pattern.search(script)
        if match:
            return reply(machine, match)
    return _unknown(script.strip())


def _remove_item(machine: StandinMachine, match: re.Match[str]) -> Outcome:
    target = machine.path(match.group(1).replace("''", "'"))
    if not target.exists():
        return Outcome(1, "", f"Remove-Item : Cannot find path '{match.group(1)}' because it does not exist.\r\n")
    if target.is_dir():
        shutil.rmtree(target)
    else:
        target.unlink()
    return Outcome(0)


def _new_item(machine: StandinMachine, match: re.Match[str]) -> Outcome:
    path = expand(f"{match.group(1)}\\{match.group(2)}")
    machine.path(path).mkdir(parents=True, exist_ok=True)
    return Outcome(0, f"{path}\r\n")


def _test_path(machine: StandinMachine, match: re.Match[str]) -> Outcome:
    answer = 0 if machine.path(match.group(1)).exists() else 1
    return Outcome(answer, f"{answer}\r\n")


def _host_name(machine: StandinMachine, match: re.Match[str]) -> Outcome:
    return Outcome(0, f"{machine.node.name}\r\n")


def _who_am_i(machine: StandinMachine, match: re.Match[str]) -> Outcome:
    return Outcome(0, f"{machine.node.name}\\{machine.user}\r\n")


_PATTERNS: list[tuple[re.Pattern[str], Callable[[StandinMachine, re.Match[str]], Outcome]]] = [
    (re.compile(r"^(?:Set-StrictMode [^\n]*\n)?Remove-Item '((?:[^']|'')+)' -Force(?: -Recurse)?;?"), _remove_item),
    (re.compile(r"ExpandEnvironmentVariables\('([^']+)'\).*New-Item -Type Directory -Path \$tmp_path -Name '([^']+)'", re.DOTALL), _new_item),
    (re.compile(r"^(?:Set-StrictMode [^\n]*\n)?If \(Test-Path '([^']+)'\)"), _test_path),
    (re.compile(r"^(?:cmd\.exe /c )?hostname(?:\.exe)?\s*$", re.IGNORECASE), _host_name),
    (re.compile(r"^(?:cmd\.exe /c )?whoami(?:\.exe)?\s*$", re.IGNORECASE), _who_am_i),
]

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Ansible sends to a Windows node: its encoded scripts, and the payload that follows on standard input."""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import Any

_ENCODED = re.compile(r"\s-(?:e|ec|enc|encodedcommand)\s+([A-Za-z0-9+/=]+)\s*$", re.IGNORECASE)
_SEPARATOR = b"\n\0\0\0\0\n"
_BOOTSTRAP_MARK = "`0`0`0`0"  # how bootstrap_wrapper.ps1 spells the separator it reads up to


class NotAnsible(Exception):
    """Not a payload of the form known here."""


@dataclass(frozen=True)
class ModuleCall:
    """A module with its arguments."""

    name: str  # as the task named it, without "ansible_collections" and ".plugins.modules"
    arguments: dict[str, Any]


def script_of(command_line: str) -> str | None:
    """The script of a PowerShell command line with an encoded command; None for any other."""
    match = _ENCODED.search(command_line)
    if not match:
        return None
    try:
        return base64.b64decode(match.group(1), validate=True).decode("utf-16-le")
    except (binascii.Error, UnicodeDecodeError):
        return None


def reads_payload(script: str) -> bool:
    """Whether a script is Ansible's bootstrap, which waits for a payload."""
    return _BOOTSTRAP_MARK in script and "$input" in script


def read_module_call(stdin: bytes) -> ModuleCall:
    """The module that a payload runs.

    Raises:
        NotAnsible: it is not a payload, or not one of a single module.
    """
    parts = stdin.split(_SEPARATOR, 2)
    if len(parts) < 2:
        raise NotAnsible("no manifest")
    try:
        bootstrap, manifest = json.loads(parts[0]), json.loads(parts[1])
        actions = [(action["name"], action["params"] | action["secure_params"]) for action in manifest["actions"]]
    except (ValueError, KeyError, TypeError) as error:
        raise NotAnsible(f"an unknown manifest ({error})") from error
    if bootstrap.get("name") != "exec_wrapper":
        raise NotAnsible("an unknown bootstrap")
    scripts = [name for name, _unused in actions]
    if scripts != ["module_wrapper.ps1"]:
        raise NotAnsible(f"the script {', '.join(scripts) or '(none)'}")
    _unused, parameters = actions[0]
    variables = {variable["Name"]: variable["Value"] for variable in parameters.get("Variables", [])}
    if "complex_args" not in variables:
        raise NotAnsible(f"the script {parameters.get('Script')}")
    return ModuleCall(module_name(str(parameters["Script"])), variables["complex_args"])


def module_name(script: str) -> str:
    """``ansible_collections.ns.col.plugins.modules.name.ps1`` is ``ns.col.name``."""
    name = script.removesuffix(".ps1")
    match = re.fullmatch(r"ansible_collections\.(\w+)\.(\w+)\.plugins\.modules\.(.+)", name)
    return ".".join(match.groups()) if match else name

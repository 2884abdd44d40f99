# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Registry files of a Wine prefix that is switched off: entries are added to the text at once, where ``wine reg add``
would start a Windows each time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


class Expandable(str):
    """A REG_EXPAND_SZ."""


Value = str | int | bytes | Expandable


def merge(file: Path, keys: Mapping[str, Mapping[str, Value]]) -> None:
    """Add keys and values to system.reg (HKLM) or user.reg (HKCU); a later value of the same name wins."""
    lines = []
    for key, values in keys.items():
        lines.append("\n[" + key.replace("\\", "\\\\") + "]\n")
        lines += [f'"{_escape(name)}"={_text(value)}\n' for name, value in values.items()]
    with file.open("a", encoding="ascii") as stream:
        stream.writelines(lines)


def value(file: Path, key: str, name: str) -> str | None:
    """A value as the file spells it (``dword:00000002``, ``"text"``), None without one."""
    section, found = f"[{key}]".replace("\\", "\\\\").lower(), None
    inside = False
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("["):
            inside = line.lower().startswith(section)
        elif inside and line.lower().startswith(f'"{name.lower()}"='):
            found = line.partition("=")[2]
    return found


def _text(value: Value) -> str:
    if isinstance(value, int):
        return f"dword:{value:08x}"
    if isinstance(value, bytes):
        return f"hex:{value.hex(',')}"
    quoted = f'"{_escape(value)}"'
    return f"str(2):{quoted}" if isinstance(value, Expandable) else quoted


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')

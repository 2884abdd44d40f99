# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Windows records of PowerShell where group policies demand it, on a Wine node: events and transcripts."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator, Mapping

from .lab_of_tests import Lab

BEHAVIOUR: Mapping[str, str] = {"event_log": "record"}
EVENTS = r"C:\AlteryxLab\powershell-events.txt"
TRANSCRIPTS = r"C:\AlteryxLab\transcripts"

_EVENT = re.compile(rb"^event (\d+) process \d+\r\n", re.MULTILINE)
_POLICIES = r"Software\Policies\Microsoft\Windows\PowerShell"
_OWN_POLICIES = r"Software\Policies\Microsoft\PowerShellCore"  # of the lab's engine, which refers to the others
_VALUES = {
    "ModuleLogging": '"EnableModuleLogging"=dword:1',
    r"ModuleLogging\ModuleNames": '"*"="*"',
    "ScriptBlockLogging": '"EnableScriptBlockLogging"=dword:1',
    "Transcription": '"EnableTranscripting"=dword:1\n"EnableInvocationHeader"=dword:1\n"OutputDirectory"="'
                     + TRANSCRIPTS.replace("\\", r"\\") + '"',
}  # fmt: skip


@contextlib.contextmanager
def everything_recorded(lab: Lab) -> Iterator[None]:
    """The policies are in force meanwhile; what is recorded is gone afterwards."""
    lines = ["Windows Registry Editor Version 5.00"]
    for name, values in _VALUES.items():
        lines += ["", rf"[HKEY_LOCAL_MACHINE\{_POLICIES}\{name}]", values]
        if "\\" not in name:
            lines += ["", rf"[HKEY_LOCAL_MACHINE\{_OWN_POLICIES}\{name}]"]
            lines += ['"UseWindowsPowerShellPolicySetting"=dword:1']
    file = lab.node.path(r"C:\AlteryxLab\policies.reg")
    file.write_text("\n".join([*lines, ""]), encoding="ascii", newline="\r\n")
    lab.node.path(TRANSCRIPTS).mkdir(exist_ok=True)
    lab.node.path(EVENTS).unlink(missing_ok=True)
    try:
        lab.run_program("reg.exe", "import", r"C:\AlteryxLab\policies.reg")
        yield
    finally:
        for key in (_POLICIES, _OWN_POLICIES):
            lab.run_program("reg.exe", "delete", rf"HKLM\{key}", "/f")
        shutil.rmtree(lab.node.path(TRANSCRIPTS), ignore_errors=True)
        lab.node.path(EVENTS).unlink(missing_ok=True)
        file.unlink()


def recorded(lab: Lab) -> dict[str, bytes]:
    """What there is so far, by a name for each: every event and every transcript."""
    file = lab.node.path(EVENTS)
    events = _EVENT.split(file.read_bytes() if file.exists() else b"")
    found = {f"event {number.decode()} ({place})": text
             for place, (number, text) in enumerate(zip(events[1::2], events[2::2], strict=True))}  # fmt: skip
    return found | {file.name: file.read_bytes() for file in lab.node.path(TRANSCRIPTS).rglob("*.txt")}

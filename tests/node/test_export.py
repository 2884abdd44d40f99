# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Critical files of a service that runs: open elsewhere, held, denied, read-only."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import reasons
from tests.lab import layout
from tests.node.engine import Engine, denying

pytestmark = pytest.mark.wine

ROOT = r"C:\export"
KEYS = rf"{ROOT}\Keys"
SETTINGS = rf"{ROOT}\RuntimeSettings.xml"
WRITER = "([IO.FileAccess]::ReadWrite), ([IO.FileShare]'ReadWrite, Delete')"
HOLDER = "([IO.FileAccess]::Read), ([IO.FileShare]::None)"


@pytest.fixture
def folder(engine: Engine) -> Iterator[Path]:
    """A settings file and a folder of two keys: ROOT."""
    folder = engine.path(ROOT)
    (folder / "Keys").mkdir(parents=True)
    (folder / "RuntimeSettings.xml").write_text("<SystemSettings/>", encoding="ascii")
    for name in ("one", "two"):
        (folder / "Keys" / name).write_text(name, encoding="ascii")
    yield folder
    for path in folder.rglob("*"):
        path.chmod(0o700)
    shutil.rmtree(folder)


def opened(path: str, how: str) -> str:
    return f"$held = New-Object System.IO.FileStream '{path}', ([IO.FileMode]::Open), {how}"


def export(
    engine: Engine,
    source: str,
    *,
    required: bool = False,
    before: str = "",
    after: str = "",
    target: str = rf"{ROOT}\out",
) -> dict[str, Any]:
    """What Export-CriticalItem answers, or reason and message of its failure."""
    # Only modules use it; it is not among the code that runs without Ansible.
    module = engine.path(r"C:\scripts\NodeExport.psm1")
    module.parent.mkdir(exist_ok=True)
    shutil.copyfile(layout.ROOT / "plugins" / "module_utils" / module.name, module)
    item = f"@{{ id = 'it'; source = '{source}'; archive_path = 'configuration/it'; required = ${required} }}"
    script = rf"""Import-NodeType -Name 'NodeDisk'
    $text = [IO.File]::ReadAllText('C:\scripts\{module.name}').Replace('file = 10.0', 'file = 3.0')
    New-Module -Name NodeExport -ScriptBlock ([scriptblock]::Create($text)) | Import-Module
    {before}
    try {{
        $entry = Export-CriticalItem -Item {item} -Target '{target}'
        {after}
        ConvertTo-NodeJson -InputObject $entry
    }}
    catch {{ ConvertTo-NodeJson -InputObject (Get-NodeFailure -ErrorRecord $_) }}"""
    answer: dict[str, Any] = json.loads(engine.run(script))
    if "reason" in answer:
        reasons.saw(answer["reason"])
    return answer


def copied(folder: Path) -> list[str]:
    """What is in the target, relative to the item."""
    out = folder / "out" / "configuration"
    return sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())


def test_a_file_that_the_service_has_open_for_writing_is_taken(engine: Engine, folder: Path) -> None:
    answer = export(engine, SETTINGS, required=True, before=opened(SETTINGS, WRITER))
    assert (answer.get("files"), answer["left_out"], answer["bytes"]) == (1, [], 17), answer
    assert copied(folder) == ["it"]


@pytest.mark.long
def test_a_file_that_is_held_for_a_moment_is_waited_for(engine: Engine, folder: Path) -> None:
    release = """
    $later = [PowerShell]::Create().AddScript({ param($file) Start-Sleep -Seconds 1; $file.Dispose() })
    $null = $later.AddArgument($held).BeginInvoke()"""
    answer = export(engine, SETTINGS, required=True, before=opened(SETTINGS, HOLDER) + release)
    assert answer.get("files") == 1, answer
    assert copied(folder) == ["it"]


@pytest.mark.reaches("file_locked")
@pytest.mark.long
def test_a_required_file_that_stays_held_is_named(engine: Engine, folder: Path) -> None:
    answer = export(engine, SETTINGS, required=True, before=opened(SETTINGS, HOLDER))
    assert (answer["reason"], SETTINGS in answer["message"]) == ("file_locked", True), answer
    # A prediction says the same.
    predicted = export(engine, SETTINGS, required=True, before=opened(SETTINGS, HOLDER), target="")
    assert predicted["reason"] == "file_locked"
    assert copied(folder) == []


@pytest.mark.long
def test_an_optional_file_that_stays_held_is_left_out_and_named(engine: Engine, folder: Path) -> None:
    answer = export(engine, KEYS, before=opened(rf"{KEYS}\one", HOLDER))
    assert (answer["present"], answer["files"], answer["bytes"]) == (True, 1, 3), answer
    (left,) = answer["left_out"]
    assert (left["path"], left["reason"]) == (rf"{KEYS}\one", "file_locked")
    assert rf"{KEYS}\one is held by another program" in left["why"]
    assert copied(folder) == [str(Path("it", "two"))]


@pytest.mark.long
def test_what_an_access_list_denies_is_named_or_left_out(engine: Engine, folder: Path) -> None:
    for name in ("RuntimeSettings.xml", "Keys/one"):
        (folder / name).chmod(0o000)
    with denying(engine):
        required = export(engine, SETTINGS, required=True)
        optional = export(engine, KEYS)
        (folder / "Keys").chmod(0o000)
        whole = export(engine, KEYS)
    assert (required["reason"], SETTINGS in required["message"]) == ("file_unreadable", True), required
    (left,) = optional["left_out"]
    assert (left["path"], left["reason"], optional["files"]) == (rf"{KEYS}\one", "file_unreadable", 1)
    (left,) = whole["left_out"]
    assert (whole["present"], whole["files"], left["reason"]) == (True, 0, "file_unreadable")
    assert f"{KEYS} cannot be listed" in left["why"]


# Whether this process may use SeBackupPrivilege just now; its number is the same on every Windows.
HAS_PRIVILEGE = """
    Add-Type -TypeDefinition @'
using System;
using System.Diagnostics;
using System.Runtime.InteropServices;
public static class Privilege
{
    [StructLayout(LayoutKind.Sequential, Pack = 4)]
    private struct Set { public int Count; public int Control; public long Luid; public int Attributes; }
    [DllImport("advapi32.dll")]
    private static extern bool OpenProcessToken(IntPtr process, int access, out IntPtr token);
    [DllImport("advapi32.dll")] private static extern bool PrivilegeCheck(IntPtr token, ref Set wanted, out bool has);
    public static bool IsOn()
    {
        IntPtr token;
        bool has;
        var wanted = new Set { Count = 1, Control = 1, Luid = 17 };
        return OpenProcessToken(Process.GetCurrentProcess().Handle, 8, out token) &&
            PrivilegeCheck(token, ref wanted, out has) && has;
    }
}
'@
    $before = [Privilege]::IsOn()
"""


@pytest.mark.long
def test_files_are_taken_with_the_right_to_back_up_files(engine: Engine, folder: Path) -> None:
    # Wine knows the privilege and does not let it open anything more: that it is switched on is all that can be seen.
    told = "$entry['privilege'] = \"$before, $([Privilege]::IsOn())\""
    answer = export(engine, SETTINGS, required=True, before=HAS_PRIVILEGE, after=told)
    assert answer["privilege"] == "False, True"


@pytest.mark.long
def test_a_copy_of_a_read_only_file_is_not_read_only(engine: Engine, folder: Path) -> None:
    source = folder / "RuntimeSettings.xml"
    source.chmod(0o444)
    answer = export(engine, SETTINGS, required=True)
    assert answer.get("files") == 1, answer
    copy = folder / "out" / "configuration" / "it"
    assert copy.stat().st_mode & 0o200
    assert (copy.read_bytes(), int(copy.stat().st_mtime)) == (source.read_bytes(), int(source.stat().st_mtime))
    assert not source.stat().st_mode & 0o222


def test_a_required_file_that_is_absent_is_named(engine: Engine, folder: Path) -> None:
    answer = export(engine, rf"{ROOT}\Never.xml", required=True)
    assert (answer["reason"], "Never.xml does not exist" in answer["message"]) == ("critical_file_missing", True)
    absent = export(engine, rf"{ROOT}\Never.xml")
    assert (absent["present"], absent["files"], absent["left_out"]) == (False, 0, [])

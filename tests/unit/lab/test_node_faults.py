# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests may do to a Wine node from outside, as far as it needs no Wine."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.lab import layout, native_build, wine_node
from tests.lab.node import Node

# Prints, for each thing that is tried, 0 or the error number.
PROGRAM = """
import json, os, sys
def error(action):
    try:
        action()
    except OSError as failure:
        return failure.errno
    return 0
def opened(name, flags=os.O_RDWR | os.O_CREAT):
    return os.open(os.path.join(sys.argv[1], name), flags)
old = opened("old")
print(json.dumps({
    "write": error(lambda: os.write(opened("a"), b"x")),
    "writev": error(lambda: os.writev(opened("b"), [b"x", b"y"])),
    "pwrite": error(lambda: os.pwrite(opened("c"), b"x", 0)),
    "ftruncate": error(lambda: os.ftruncate(opened("e"), 1)),
    "posix_fallocate": error(lambda: os.posix_fallocate(opened("f"), 0, 1)),
    "append": error(lambda: os.write(opened("old", os.O_WRONLY | os.O_APPEND), b"x")),
    "over the end": error(lambda: os.pwrite(old, b"xx", 9)),
    "in place": error(lambda: os.pwrite(old, b"abcd", 0)),
    "up to the end": error(lambda: os.write(old, b"0123456789")),
    "shorter": error(lambda: os.ftruncate(old, 5)),
    "empty file": error(lambda: opened("g")),
    "pipe": error(lambda: os.write(os.pipe()[1], b"x")),
}))
"""
HARMLESS = {"in place", "up to the end", "shorter", "empty file", "pipe"}


@pytest.fixture
def node(tmp_path: Path) -> Node:
    folder = tmp_path / "node"
    (folder / "prefix" / "drive_c" / "Full").mkdir(parents=True)
    (folder / "c").symlink_to("prefix/drive_c")
    (folder / "d" / "Beside").mkdir(parents=True)
    return Node("n", "wine", "127.0.0.1", 1, "u", "p", folder)


@pytest.fixture
def library(node: Node) -> None:
    """The library of a full drive, where the node looks for it."""
    compiler = shutil.which(native_build.LINUX_COMPILER)
    if compiler is None:
        pytest.skip("no gcc")
    subprocess.run(
        [
            compiler,
            *native_build.LINUX_FLAGS,
            "-o",
            str(node.folder / native_build.FULL_DRIVE),
            str(layout.NATIVE_SOURCES / native_build.FULL_DRIVE_SOURCE),
        ],
        check=True,
        timeout=60,
    )


def tried(node: Node, folder: str) -> dict[str, int]:
    """What a process of the node may do in this folder, by its error numbers."""
    for file in node.path(folder).iterdir():
        if file.is_file():
            file.unlink()
    (node.path(folder) / "old").write_bytes(b"0123456789")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(node.path(folder))],
        check=True,
        capture_output=True,
        env={**os.environ, **wine_node.environment(node.folder)},
        timeout=60,
    )
    answer: dict[str, int] = json.loads(done.stdout)
    return answer


@pytest.mark.usefixtures("library")
def test_nothing_grows_in_a_full_folder(node: Node) -> None:
    assert set(tried(node, "C:\\Full").values()) == {0}
    node.fill("C:\\Full", "D:\\Nothing")
    found = tried(node, "C:\\Full")
    assert found == {name: 0 if name in HARMLESS else errno.ENOSPC for name in found}
    (node.path("C:\\Full") / "deep" / "er").mkdir(parents=True)
    assert tried(node, "C:\\Full\\deep\\er")["write"] == errno.ENOSPC
    node.path("C:\\Fuller").mkdir()
    for beside in ("C:\\Fuller", "D:\\Beside"):
        assert set(tried(node, beside).values()) == {0}
    node.empty_again()
    assert set(tried(node, "C:\\Full").values()) == {0}


@pytest.mark.usefixtures("library")
def test_a_folder_that_hangs_is_listed_once_it_answers_again(node: Node) -> None:
    (node.path("C:\\Full") / "below").mkdir()
    node.hang("C:\\Full")
    program = "import os, sys; os.chdir(sys.argv[1]); os.listdir('.')"

    def listing(folder: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-S", "-c", program, str(folder)], env={**os.environ, **wine_node.environment(node.folder)}
        )

    beside = listing(node.path("D:\\Beside"))
    waiting = [listing(folder) for folder in (node.path("C:\\Full"), node.path("C:\\Full\\below"))]
    assert beside.wait(60) == 0
    time.sleep(2)
    assert [process.poll() for process in waiting] == [None, None]
    node.answer_again()
    assert [process.wait(60) for process in waiting] == [0, 0]


def test_a_node_without_the_library_cannot_be_full(node: Node) -> None:
    assert "LD_PRELOAD" not in wine_node.environment(node.folder)
    with pytest.raises(RuntimeError, match="do not load"):
        node.fill("C:\\Full")
    node.empty_again()


def test_a_junction_is_the_folder_it_leads_to(node: Node) -> None:
    node.junction("C:\\ProgramData\\Ops", "D:\\Beside")
    node.path("D:\\Beside").joinpath("file").write_text("x", encoding="ascii")
    assert node.path("C:\\programdata\\ops\\file").read_text(encoding="ascii") == "x"
    with pytest.raises(NotADirectoryError):
        node.junction("C:\\Other", "D:\\Absent")


def test_attempts_to_start_are_counted(node: Node) -> None:
    assert node.start_attempts() == []
    file = node.path("C:\\AlteryxLab\\start-attempts.txt")
    file.parent.mkdir()
    file.write_bytes(b"2026-11-27T23:11:56.218Z 1816\r\n2026-11-27T23:11:56.744Z 1884\r\n")
    assert node.start_attempts() == ["2026-11-27T23:11:56.218Z 1816", "2026-11-27T23:11:56.744Z 1884"]


@pytest.mark.parametrize(
    ("behaviour", "runs"),
    [
        ({}, True),
        ({"start": "hang"}, False),
        ({"start": "fail"}, False),
        ({"start": "logon_failed"}, True),
        ({"emongodump": "fail", "restart": "fail"}, True),
    ],
)
def test_a_boot_waits_for_the_service_unless_it_cannot_run(node: Node, behaviour: dict[str, str], runs: bool) -> None:
    service = "[System\\\\CurrentControlSet\\\\Services\\\\AlteryxService] 1\n"
    registry = f'WINE REGISTRY Version 2\n\n{service}"Start"=dword:00000002\n'
    (layout.prefix(node.folder) / "system.reg").write_text(registry, encoding="utf-8")
    node.behave(**behaviour)
    assert wine_node._meant_to_run(node.folder) is runs

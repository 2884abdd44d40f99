# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which lab PowerShell is taken, and how it is built; `dotnet` and the compiler are doubles here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.lab import __main__ as command_line
from tests.lab import engine, host, lab_state, layout, lifecycle
from tests.lab.lab_state import LabState
from tests.lab.node import Kind

# Answers as the SDK does; "publishes" a program, unless a file tells it to fail. The rest of build.sh is real.
DOTNET = """#!/bin/sh
if [ "$1" = --list-sdks ]; then cat "$0.sdks"; exit; fi
grep -q '"10.0.100"' global.json || exit 9
[ ! -e "$0.fails" ] || { echo "error NU1301: no NuGet"; exit 1; }
mkdir -p "$8/publish/pwsh/release_$6"
echo "$6" > "$8/publish/pwsh/release_$6/pwsh"
"""
COMPILER = '#!/bin/sh\nfor word; do [ "$last" != -o ] || echo launcher > "$word"; last=$word; done\n'
SDKS = "8.0.404 [/usr/lib/dotnet/sdk]\n10.0.102 [/usr/lib/dotnet/sdk]\n"


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty lab, nothing beside the checkout, nothing named."""
    for name in (engine.ARCHIVES_VARIABLE, engine.PROGRAM_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(layout, "CACHE", tmp_path / "lab" / "cache")
    monkeypatch.setattr(layout, "PWSH_BUILD_LOG", tmp_path / "lab" / "engine.log")
    monkeypatch.setattr(layout, "PWSH_BESIDE", tmp_path / "beside")


@pytest.fixture
def dotnet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The double of an SDK and of the compiler, first on the path."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, text in (("dotnet", DOTNET), ("x86_64-w64-mingw32-gcc", COMPILER)):
        (programs / name).write_text(text, encoding="utf-8")
        (programs / name).chmod(0o755)
    (programs / "dotnet.sdks").write_text(SDKS, encoding="utf-8")
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))  # where NuGet keeps packages, with their licences
    return programs / "dotnet"


def put(folder: Path, *without: str) -> Path:
    folder.mkdir(parents=True)
    for name in {*engine.ARCHIVES, engine.SUMS, engine.UNPACK} - set(without):
        (folder / name).touch()
    return folder


def test_the_named_folder_goes_first_then_the_one_beside_then_the_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = put(engine.built_folder())
    assert engine.archives() == built
    beside = put(layout.PWSH_BESIDE)
    assert engine.archives() == beside
    named = put(tmp_path / "named")
    monkeypatch.setenv(engine.ARCHIVES_VARIABLE, str(named))
    assert engine.archives() == named


def test_an_incomplete_folder_is_not_taken_and_a_named_one_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(layout.PWSH_BESIDE, engine.UNPACK)
    built = put(engine.built_folder())
    assert engine.archives() == built
    named = put(tmp_path / "named", "pwsh-win-x64.tar.xz")
    monkeypatch.setenv(engine.ARCHIVES_VARIABLE, str(named))
    text = r"^ALTERYX_LAB_PWSH_ARCHIVES names .*/named, which lacks pwsh-win-x64\.tar\.xz; correct it or unset it$"
    with pytest.raises(engine.EngineError, match=text):
        engine.archives()


def test_none_at_all_says_what_to_do() -> None:
    text = (
        r"^no lab PowerShell in .*beside, and none is built; build it with `make lab-engine` "
        r"\(needs the \.NET 10 SDK\), or name a folder in ALTERYX_LAB_PWSH_ARCHIVES$"
    )
    with pytest.raises(engine.EngineError, match=text):
        engine.archives()
    assert any("`make lab-engine`" in line for line in host.missing_for_wine())


def test_a_named_program_is_for_the_nodes_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "pwsh.exe"
    monkeypatch.setenv(engine.PROGRAM_VARIABLE, str(program))
    with pytest.raises(engine.EngineError, match=r"^ALTERYX_LAB_PWSH names no pwsh\.exe: .*; correct it or unset it$"):
        engine.windows_pwsh()
    program.touch()
    assert engine.windows_pwsh() == tmp_path
    with pytest.raises(engine.EngineError, match="no lab PowerShell"):
        engine.linux_pwsh()


def test_what_is_built_is_unpacked_as_the_archives_beside_are(dotnet: Path) -> None:
    said: list[str] = []
    folder = engine.build(said.append)
    assert (folder, len(said)) == (engine.archives(), 1)
    assert engine.linux_pwsh().read_text(encoding="utf-8") == "linux-x64\n"
    assert (engine.windows_pwsh() / "pwsh.exe").read_text(encoding="utf-8") == "launcher\n"
    assert not layout.PWSH_BUILD_LOG.exists()
    assert [path.name for path in layout.CACHE.glob(".engine-*") if path.is_dir()] == []
    dotnet.unlink()
    assert (engine.build(said.append), len(said)) == (folder, 1)  # done already: nothing is needed, nothing is said


def test_an_archive_that_is_not_the_one_of_the_sums_is_refused(dotnet: Path) -> None:
    (engine.build(print) / "pwsh-linux-x64.tar.xz").write_bytes(b"other")
    with pytest.raises(engine.EngineError, match=r"cannot be unpacked: pwsh-linux-x64\.tar\.xz: sha256"):
        engine.linux_pwsh()


@pytest.mark.parametrize(
    ("sdks", "message"),
    [
        ("8.0.404 [/usr/lib/dotnet/sdk]\n", "dotnet has no SDK of version 10 (only: 8.0.404)"),
        ("", "dotnet has no SDK of version 10 (only: none)"),
        (None, "dotnet is missing"),
    ],
)
def test_without_the_sdk_the_command_says_so_and_what_to_do(
    dotnet: Path, sdks: str | None, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if sdks is None:
        dotnet.unlink()
        monkeypatch.setenv("PATH", str(dotnet.parent))  # not the dotnet of this machine either
    else:
        dotnet.with_suffix(".sdks").write_text(sdks, encoding="utf-8")
    assert command_line.main(["engine"]) == 1
    assert (
        f"lab: the lab PowerShell cannot be built here: {message}: install the .NET 10 SDK (https://"
        in capsys.readouterr().err
    )


def test_a_missing_tool_is_named_with_its_package(dotnet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dotnet.write_text("#!/bin/sh\necho '10.0.102 [here]'\n", encoding="utf-8")  # without cat
    monkeypatch.setenv("PATH", str(dotnet.parent))
    assert engine.lacks_to_build() == ["xz is missing: apt-get install -y xz-utils"]


def test_a_build_that_failed_shows_its_end_and_is_not_tried_again_by_itself(
    dotnet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fails = dotnet.with_suffix(".fails")
    fails.touch()
    assert command_line.main(["engine", "--if-wanted"]) == 1
    error = capsys.readouterr().err
    assert "could not be built (exit code 1); mend what " in error
    assert error.endswith("error NU1301: no NuGet\n")
    assert not engine.built_folder().exists()
    fails.unlink()
    assert command_line.main(["engine", "--if-wanted"]) == 0
    assert capsys.readouterr().err == ""
    assert command_line.main(["engine"]) == 0
    assert f"Wine nodes take theirs from {layout.shown(engine.built_folder())}\n" in capsys.readouterr().err


@pytest.mark.parametrize("at_hand", ["named", "beside", "nothing", "no SDK"])
def test_it_is_built_by_itself_only_where_none_is_at_hand(
    dotnet: Path, at_hand: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if at_hand == "named":  # even with a wrong name, no other one is used
        monkeypatch.setenv(engine.ARCHIVES_VARIABLE, str(tmp_path / "named"))
    elif at_hand == "beside":
        put(layout.PWSH_BESIDE)
    elif at_hand == "no SDK":
        dotnet.with_suffix(".sdks").write_text("", encoding="utf-8")
    assert command_line.main(["engine", "--if-wanted"]) == 0
    assert engine.built_folder().is_dir() == (at_hand == "nothing")
    assert bool(capsys.readouterr().err) == (at_hand == "nothing")


# Not by their bare names: those are markers, and a test of this id would count as one that ran under Wine.
@pytest.mark.parametrize("kind", ["wine", "standin"], ids="kind {}".format)
def test_bringing_wine_nodes_up_says_which_one_they_take(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(layout.PWSH_BESIDE)
    state = LabState(os.getpid(), "", "wine", 1, 5, "up")
    for name in ("_down", "_start", "_wait"):
        monkeypatch.setattr(lifecycle, name, lambda *_: state)
    monkeypatch.setattr(layout, "LAB", tmp_path / "lab")
    monkeypatch.setattr(layout, "NODES", tmp_path / "lab" / "nodes")
    monkeypatch.setattr(lab_state, "read", lambda: None)
    said: list[str] = []
    lifecycle.up(kind, 1, minute_seconds=60, say=said.append)
    assert said == ([f"PowerShell of the nodes: {layout.shown(layout.PWSH_BESIDE)}"] if kind == "wine" else [])

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When the guard acts and when it keeps still, decided by the real script on a real engine.

It watches a service of Wine's own that runs anyway, so that to act changes nothing; that it has acted stands in the
registry.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests import nightly, records
from tests.lab import layout
from tests.node.engine import Engine

pytestmark = pytest.mark.wine

STATE = r"C:\ProgramData\AlteryxOps"
SERVICE = "PlugPlay"
HOUR = 3600.0
BOOT = "0123456789abcdef"


@pytest.fixture
def state(engine: Engine) -> Iterator[Path]:
    """The state folder of a node whose controller has a lease with a fresh heartbeat."""
    folder = engine.path(STATE)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lease.json").write_text(json.dumps({"run_id": "r", "generation": 1}), encoding="utf-8")
    yield folder
    for file in folder.iterdir():
        if file.is_file():
            file.unlink()


def beat(engine: Engine, folder: Path, age: float = 0.0, **changes: object) -> None:
    """A heartbeat of that age."""
    now = float(engine.run("[Diagnostics.Stopwatch]::GetTimestamp() / [Diagnostics.Stopwatch]::Frequency"))
    data = {"monotonic": now - age, "process_id": 0, "process_birth": 0, "tool_id": 0, "tool_birth": 0,
            "stop_requested": True, "finished": False}  # fmt: skip
    records.write(folder / "heartbeat.json", data | changes)


def acts(
    engine: Engine, *, taken: float = -HOUR, deadline: float = HOUR, boot: str = BOOT, key: str = BOOT,
    stale: int = 180, controller: str = "'' '0' ''", before: str = "", firings: int = 1, service: str = SERVICE,
    under: Sequence[str] = ()
) -> bool:  # fmt: skip
    """Whether the guard acts at one of its firings.

    Args:
        taken, deadline: of the lease, in seconds from now.
        boot, key: what the guard has been told of the boot, and what the registry says; "" for no key.
        before: a script that runs first, in the same process.
        service: what it watches.
        under: see Engine.run_job.
    """
    script = rf"""
    Remove-OwnKey -Name 'Guard'
    Remove-OwnKey -Name 'Boot'
    if ('{key}') {{
        $made = Open-OwnKey -Name 'Boot' -Create -Volatile; $made.SetValue('id', '{key}'); $made.Dispose()
    }}
    $now = Get-MonotonicSecond
    $guard = [scriptblock]::Create([IO.File]::ReadAllText('C:\code\guard.ps1'))
    {before}
    foreach ($firing in 1..{firings}) {{
        & $guard '{service}' 'Running' 'C:\nowhere' ($now + {taken}) ($now + {deadline}) '{boot}' '{stale}' {controller}
    }}
    $found = Open-OwnKey -Name 'Guard'
    $null -ne $found -and [int]$found.GetValue('acted', 0) -eq 1
    """
    return engine.run(script, timeout=180, under=under).strip().endswith("True")


def test_a_window_with_a_fresh_heartbeat_is_left_alone(engine: Engine, state: Path) -> None:
    beat(engine, state)
    assert not acts(engine)


def test_the_deadline_counts_whatever_else_is_true(engine: Engine, state: Path) -> None:
    beat(engine, state)
    assert acts(engine, deadline=-1.0)


@pytest.mark.long
def test_nothing_says_that_the_service_is_stopped_once_it_is_back(engine: Engine, state: Path) -> None:
    beat(engine, state)
    notice = state / "STATUS.txt"
    notice.write_text("stopped", encoding="ascii")
    assert not acts(engine)
    assert notice.exists()
    assert acts(engine, deadline=-1.0)
    assert not notice.exists()
    assert (state / "lease.json").exists()


def test_a_clock_that_stands_before_the_taking_of_the_lease_is_a_boot(engine: Engine, state: Path) -> None:
    beat(engine, state)
    assert acts(engine, taken=60.0)


@pytest.mark.parametrize("key", nightly.after_first(["", "another"]), ids=["forgotten", "another"])
def test_a_registry_key_that_the_boot_has_taken_away_is_a_boot(engine: Engine, state: Path, key: str) -> None:
    beat(engine, state)
    assert acts(engine, key=key)


def test_an_old_heartbeat_is_a_dead_job(engine: Engine, state: Path) -> None:
    beat(engine, state, age=200.0)
    assert acts(engine)
    beat(engine, state, age=200.0, stop_requested=False)
    assert not acts(engine)


def test_a_job_whose_process_is_gone_is_dead(engine: Engine, state: Path) -> None:
    beat(engine, state, process_id=99_999_999, process_birth=1)
    assert acts(engine)


@pytest.mark.long
def test_an_absent_or_damaged_file_is_a_reason(engine: Engine, state: Path) -> None:
    beat(engine, state)
    lease = (state / "lease.json").read_bytes()
    (state / "lease.json").unlink()
    assert acts(engine)
    (state / "lease.json").write_bytes(b"{")
    assert acts(engine)
    (state / "lease.json").write_bytes(lease)
    assert not acts(engine)
    (state / "heartbeat.json").write_bytes((state / "heartbeat.json").read_bytes().replace(b"monotonic", b"monotonix"))
    assert acts(engine)
    (state / "heartbeat.json").unlink()
    assert acts(engine)


HOLD = r"""
    $held = New-Object System.IO.FileStream '{path}', ([IO.FileMode]::Open), ([IO.FileAccess]::Read),
    ([IO.FileShare]::None)
    {release}
"""
# Another thread lets go after some seconds: the guard waits in this one.
LATER = """
    $shell = [PowerShell]::Create()
    $null = $shell.AddScript('param($file) Start-Sleep -Seconds 5; $file.Dispose()').AddArgument($held)
    $null = $shell.BeginInvoke()
"""


@pytest.mark.long
def test_a_locked_lease_does_not_trigger_the_guard_while_the_heartbeat_is_fresh(engine: Engine, state: Path) -> None:
    beat(engine, state)
    assert not acts(engine, before=HOLD.format(path=rf"{STATE}\lease.json", release=""))


@pytest.mark.long
def test_a_heartbeat_that_another_program_holds_is_waited_for(engine: Engine, state: Path) -> None:
    beat(engine, state)
    assert not acts(engine, before=HOLD.format(path=rf"{STATE}\heartbeat.json", release=LATER))


@pytest.mark.long
def test_a_heartbeat_that_another_program_holds_counts_as_long_as_an_old_one_would(engine: Engine, state: Path) -> None:
    beat(engine, state)
    held = HOLD.format(path=rf"{STATE}\heartbeat.json", release="")
    assert not acts(engine, before=held)
    assert acts(engine, before=held, stale=5, firings=2)


def test_every_birth_of_a_job_is_read_as_the_job_itself_has_written_it(engine: Engine) -> None:
    # A division that PowerShell makes a double of is rounded: 639314171650099960 / 10000 ends in 010 instead of 009.
    source = (layout.ROOT / "plugins" / "module_utils" / "guard.ps1").read_text(encoding="utf-8")
    (expression,) = re.findall(r"\(\[long\]\((.+)\) -ne \$Birth\)", source)
    script = f"foreach ($ticks in [long]639314171650099960, [long]639314171650095000) {{ [long]({expression}) }}"
    assert engine.run(script).split() == ["63931417165009", "63931417165009"]


SEEN_DOWN = """
    $memory = Open-OwnKey -Name 'Guard' -Create -Volatile
    $memory.SetValue('controller_down', 1)
    $memory.Dispose()
"""


def answering_for(seconds: int) -> str:
    """The guard has seen the controller answer again this long ago."""
    return f"""
    $memory = Open-OwnKey -Name 'Guard' -Create -Volatile
    $memory.SetValue('controller_back', [int](Get-MonotonicSecond) - {seconds})
    $memory.Dispose()
"""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Another program on the port of the controller."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.mark.long
def test_a_controller_that_never_goes_down_is_no_reason_before_the_deadline(
    engine: Engine, state: Path, listener: socket.socket
) -> None:
    controller = f"'127.0.0.1' '{listener.getsockname()[1]}' ''"
    assert not acts(engine, stale=0, controller=controller, firings=2)
    assert acts(engine, stale=0, controller=controller, deadline=-1.0)


def test_a_controller_that_has_been_down_and_answers_again_is_the_reason(
    engine: Engine, state: Path, listener: socket.socket
) -> None:
    controller = f"'127.0.0.1' '{listener.getsockname()[1]}' ''"
    assert acts(engine, stale=0, controller=controller, before=SEEN_DOWN)


@pytest.mark.long
def test_a_ui_node_leaves_the_workers_time_after_the_controller(
    engine: Engine, state: Path, listener: socket.socket
) -> None:
    controller = f"'127.0.0.1' '{listener.getsockname()[1]}' '' '45'"
    assert not acts(engine, stale=0, controller=controller, before=SEEN_DOWN + answering_for(10))
    assert acts(engine, stale=0, controller=controller, before=SEEN_DOWN + answering_for(46))


@pytest.mark.long
def test_a_controller_that_does_not_answer_is_remembered(engine: Engine, state: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert not acts(engine, stale=0, controller=f"'127.0.0.1' '{port}' ''")
    found = engine.run("(Open-OwnKey -Name 'Guard').GetValue('controller_down', 0)")
    assert found.strip() == "1"


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
@pytest.mark.long
def test_a_controller_that_listens_on_ipv6_alone_answers(engine: Engine, state: Path) -> None:
    with socket.socket(socket.AF_INET6) as server:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        server.bind(("::1", 0))
        server.listen()
        assert acts(engine, stale=0, controller=f"'::1' '{server.getsockname()[1]}' ''", before=SEEN_DOWN)
        assert engine.run(f"Test-TcpPort -HostName '::1' -Port {server.getsockname()[1]}").strip() == "True"


def hold_lines(state: Path) -> list[str]:
    return [line for line in (state / "guard.log").read_text(encoding="utf-8").splitlines() if "HOLD is there" in line]


@pytest.fixture
def kept_down(state: Path) -> Path:
    """A node whose service a person keeps down; the lease is over."""
    (state / "HOLD").touch()
    return state


def test_a_service_that_is_kept_down_is_a_line_at_first_and_then_every_ten_minutes(
    engine: Engine, kept_down: Path
) -> None:
    assert not acts(engine, deadline=-1.0, firings=3)
    assert len(hold_lines(kept_down)) == 1
    # Eleven minutes later: said again, once, with what was left out.
    later = """
    $memory = Open-OwnKey -Name 'Guard' -Create -Volatile
    foreach ($place in 'guard.log', 'event log') {
        $memory.SetValue("$place, HOLD, said", [int]$now - 660)
        $memory.SetValue("$place, HOLD, unsaid", 10)
    }
    $memory.Dispose()
    """
    assert not acts(engine, deadline=-1.0, before=later, firings=3)
    assert [line.rpartition(" (")[2] for line in hold_lines(kept_down)][1:] == ["left out 10 times meanwhile)"]


@pytest.fixture(scope="module")
def broken(engine: Engine) -> str:
    """A service that cannot be started, and says so at once."""
    made = engine.run(r"""
    Import-NodeType -Name 'ProcessTable'
    $words = 'create', 'Broken', 'binPath=', 'C:\nowhere\broken.exe', 'start=', 'disabled'
    (Invoke-NativeProcess -FileName 'C:\windows\system32\sc.exe' -ArgumentList $words).exit_code""")
    assert made.strip() == "0"
    return "Broken"


@pytest.mark.long
def test_a_start_that_fails_again_and_again_is_one_line(engine: Engine, state: Path, broken: str) -> None:
    assert acts(engine, deadline=-1.0, firings=3, service=broken)
    lines = (state / "guard.log").read_text(encoding="utf-8").splitlines()
    assert [("Broken was Stopped" in line, "next try in a minute" in line) for line in lines] == [(True, True)]


@pytest.mark.long
def test_a_log_of_a_megabyte_becomes_the_older_one(engine: Engine, kept_down: Path) -> None:
    for turn in ("first", "second"):
        (kept_down / "guard.log").write_text(f"{turn}\n" + "x" * 1024 * 1024, encoding="utf-8")
        acts(engine, deadline=-1.0)
        assert len(hold_lines(kept_down)) == 1
        assert (kept_down / "guard.log").stat().st_size < 1000
        assert (kept_down / "guard.old.log").read_text(encoding="utf-8").startswith(turn)
    assert sorted(file.name for file in kept_down.glob("guard*")) == ["guard.log", "guard.old.log"]


@pytest.mark.parametrize("name", ["guard.log", "guard.old.log"])
@pytest.mark.long
def test_the_service_is_started_while_another_program_locks_the_log(
    engine: Engine, state: Path, broken: str, name: str
) -> None:
    for log in ("guard.log", "guard.old.log"):
        (state / log).write_text("x" * 1024 * 1024, encoding="utf-8")
    assert acts(engine, deadline=-1.0, before=HOLD.format(path=rf"{STATE}\{name}", release=""), service=broken)
    written = {
        log: "next try in a minute" in (state / log).read_text(encoding="utf-8")
        for log in ("guard.log", "guard.old.log")
    }
    assert written == {"guard.log": name != "guard.log", "guard.old.log": False}


def test_the_service_is_started_on_a_full_drive(engine: Engine, state: Path, broken: str) -> None:
    (state / "guard.log").write_text("x" * 1024 * 1024, encoding="utf-8")
    (state / "lease.json").unlink()
    assert acts(engine, deadline=-1.0, service=broken, under=("env", "--ignore-signal=XFSZ", "prlimit", "--fsize=0"))


def test_a_service_whose_state_is_not_known_is_acted_for_and_said(engine: Engine, state: Path) -> None:
    # Asked for the state of a service that it cannot find, Windows throws.
    assert acts(engine, deadline=-1.0, service="NoSuchService")
    (line,) = (state / "guard.log").read_text(encoding="utf-8").splitlines()
    assert "NoSuchService was Unknown and is Unknown, next try in a minute. " in line


@pytest.mark.long
def test_a_tool_that_does_not_end_is_not_waited_for(engine: Engine) -> None:
    script = r"""
    $text = [IO.File]::ReadAllText('C:\code\guard.ps1')
    . ([scriptblock]::Create([regex]::Match($text, '(?s)\nfunction Invoke-Tool .+?\n}').Value))
    $system = 'C:\pwsh-win-x64'
    Invoke-Tool -Name 'pwsh.exe' -Arguments '-NoProfile -Command "[Console]::Out.Write(42)"' -Seconds 50
    $watch = [Diagnostics.Stopwatch]::StartNew()
    $sleeps = '-NoProfile -Command "Start-Sleep -Seconds 120"'
    try { Invoke-Tool -Name 'pwsh.exe' -Arguments $sleeps -Seconds 2 } catch { [string]$_ }
    $watch.Elapsed.TotalSeconds -lt 100
    """
    assert engine.run(script, timeout=240).splitlines() == ["42", "pwsh.exe did not end within 2 s", "True"]


RESTORE = "Restore_20260901_020000_7f3a"
OF_RESTORE = rf"'' '0' '' '0' '{RESTORE}' 'C:\code\undo_restore.ps1'"


def journal(folder: Path, **changes: object) -> None:
    """The journal of a restore."""
    content = {"run_id": RESTORE, "verb": "restore", "of": "", "service": SERVICE, "state": "prepared", "entries": []}
    (folder / "restore.json").write_text(json.dumps(content | changes), encoding="utf-8")


@pytest.mark.long
def test_a_restore_that_cannot_be_judged_keeps_the_service_down_and_says_why(engine: Engine, state: Path) -> None:
    beat(engine, state)
    assert not acts(engine, controller=OF_RESTORE)
    # It is not known what the restore has renamed, because its journal is missing.
    assert acts(engine, controller=OF_RESTORE, deadline=-1.0, firings=4)
    assert RESTORE in (state / "STATUS.txt").read_text(encoding="utf-8")
    assert "not certain" in (state / "guard.log").read_text(encoding="utf-8")
    assert (state / "lease.json").exists(), "the guard stays until somebody has judged it"


def test_a_restore_that_has_moved_nothing_is_undone_by_the_guard(engine: Engine, state: Path) -> None:
    beat(engine, state)
    journal(state)
    (state / "STATUS.txt").write_text("stopped", encoding="ascii")
    assert acts(engine, controller=OF_RESTORE, deadline=-1.0)
    assert not (state / "STATUS.txt").exists()
    assert not (state / "restore.json").exists()
    assert (state / "restores" / f"{RESTORE}.undone.json").exists()
    (state / "restores" / f"{RESTORE}.undone.json").unlink()


def test_a_guard_without_its_script_starts_nothing(engine: Engine, state: Path) -> None:
    beat(engine, state)
    journal(state)
    lost = OF_RESTORE.replace("undo_restore.ps1", "lost.ps1")
    assert acts(engine, controller=lost, deadline=-1.0)
    assert RESTORE in (state / "STATUS.txt").read_text(encoding="utf-8")
    assert (state / "restore.json").exists()

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
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import records
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
    engine: Engine, *, taken: float = -HOUR, deadline: float = HOUR, boot: str = BOOT, key: str = BOOT, stale: int = 180,
    controller: str = "'' '0' ''", before: str = "", firings: int = 1
) -> bool:  # fmt: skip
    """Whether the guard acts at one of its firings.

    Args:
        taken, deadline: of the lease, in seconds from now.
        boot, key: what the guard has been told of the boot, and what the registry says; "" for no key.
        before: a script that runs first, in the same process.
    """
    script = rf"""
    Remove-OwnKey -Name 'Guard'
    Remove-OwnKey -Name 'Boot'
    if ('{key}') {{ $made = Open-OwnKey -Name 'Boot' -Create -Volatile; $made.SetValue('id', '{key}'); $made.Dispose() }}
    $now = Get-MonotonicSecond
    $guard = [scriptblock]::Create([IO.File]::ReadAllText('C:\code\Guard.ps1'))
    {before}
    foreach ($firing in 1..{firings}) {{
        & $guard '{SERVICE}' 'Running' 'C:\nowhere' ($now + {taken}) ($now + {deadline}) '{boot}' '{stale}' {controller}
    }}
    $found = Open-OwnKey -Name 'Guard'
    $null -ne $found -and [int]$found.GetValue('acted', 0) -eq 1
    """
    return engine.run(script, timeout=180).strip().endswith("True")


def test_a_window_with_a_fresh_heartbeat_is_left_alone(engine: Engine, state: Path) -> None:
    beat(engine, state)
    assert not acts(engine)


def test_the_deadline_counts_whatever_else_is_true(engine: Engine, state: Path) -> None:
    beat(engine, state)
    assert acts(engine, deadline=-1.0)


def test_a_clock_that_stands_before_the_taking_of_the_lease_is_a_boot(engine: Engine, state: Path) -> None:
    beat(engine, state)
    assert acts(engine, taken=60.0)


@pytest.mark.parametrize("key", ["", "another"], ids=["forgotten", "another"])
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
    $held = New-Object System.IO.FileStream '{path}', ([IO.FileMode]::Open), ([IO.FileAccess]::Read), ([IO.FileShare]::None)
    {release}
"""
# Another thread lets go after some seconds: the guard waits in this one.
LATER = """
    $shell = [PowerShell]::Create()
    $null = $shell.AddScript('param($file) Start-Sleep -Seconds 5; $file.Dispose()').AddArgument($held)
    $null = $shell.BeginInvoke()
"""


@pytest.mark.long
def test_a_lease_that_another_program_holds_for_good_says_nothing_while_the_heartbeat_is_fresh(
    engine: Engine, state: Path
) -> None:
    beat(engine, state)
    assert not acts(engine, before=HOLD.format(path=rf"{STATE}\lease.json", release=""))


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
    source = (layout.ROOT / "plugins" / "module_utils" / "Guard.ps1").read_text(encoding="utf-8")
    (expression,) = re.findall(r"\(\[long\]\((.+)\) -ne \$Birth\)", source)
    script = f"foreach ($ticks in [long]639314171650099960, [long]639314171650095000) {{ [long]({expression}) }}"
    assert engine.run(script).split() == ["63931417165009", "63931417165009"]


SEEN_DOWN = """
    $memory = Open-OwnKey -Name 'Guard' -Create -Volatile
    $memory.SetValue('controller_down', 1)
    $memory.Dispose()
"""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Another program on the port of the controller."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


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


def test_a_controller_that_does_not_answer_is_remembered(engine: Engine, state: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert not acts(engine, stale=0, controller=f"'127.0.0.1' '{port}' ''")
    found = engine.run("(Open-OwnKey -Name 'Guard').GetValue('controller_down', 0)")
    assert found.strip() == "1"


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_a_controller_that_listens_on_ipv6_alone_answers(engine: Engine, state: Path) -> None:
    with socket.socket(socket.AF_INET6) as server:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        server.bind(("::1", 0))
        server.listen()
        assert acts(engine, stale=0, controller=f"'::1' '{server.getsockname()[1]}' ''", before=SEEN_DOWN)
        assert engine.run(f"Test-TcpPort -HostName '::1' -Port {server.getsockname()[1]}").strip() == "True"

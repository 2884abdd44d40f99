# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's command line: ``python -m tests.lab up``, ``demo``, ``down``, ``status``, ``reboot NAME``,
``cut NAME SECONDS``."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time

from . import control, demo, engine, host, inventory, lab_state, layout, lifecycle
from .lab_state import LabState
from .node import Kind

_WINE_PACKAGES = ("wine", "wine64", "gcc-mingw-w64-x86-64")


def main(arguments: list[str] | None = None) -> int:
    """Run one command of the lab."""
    options = _parser().parse_args(arguments)
    try:
        return _COMMANDS[options.command](options)
    except (lifecycle.LabFailed, RuntimeError, KeyError) as error:
        print(f"lab: {error.args[0] if error.args else error}", file=sys.stderr)
        return 1


def _up(options: argparse.Namespace) -> int:
    begun = time.monotonic()
    kind = _kind(options.node)
    state = lifecycle.up(kind, options.count, minute_seconds=options.minute_seconds, say=_say)
    for node in state.nodes:
        print(
            f"{node.name}  {node.kind}  https://{node.host}:{node.port}/wsman  "
            f"ready after {state.ready.get(node.name, 0):.1f} s"
        )
    print(
        f"{len(state.nodes)} {kind} node(s) up after {time.monotonic() - begun:.1f} s; "
        f"{os.path.relpath(inventory.FILE)} is written"
    )
    return 0


def _demo(options: argparse.Namespace) -> int:
    return demo.run(_kind(options.node), options.fleet, options.minute_seconds)


def _down(_options: argparse.Namespace) -> int:
    lifecycle.down(_say)
    print("the lab is down")
    return 0


def _engine(options: argparse.Namespace) -> int:
    if options.if_wanted:
        engine.build_if_wanted(_say)
        return 0
    _say(f"built: {layout.shown(engine.build(_say))}")
    _say(f"Wine nodes take theirs from {layout.shown(engine.windows_source())}")
    return 0


def _status(_options: argparse.Namespace) -> int:
    state = lab_state.read()
    if state is None:
        print("no lab")
        return 1
    alive = state.daemon_lives()
    print(
        f"{state.phase if alive else 'dead (python -m tests.lab down cleans up)'}: "
        f"{state.count} {state.kind} node(s), daemon {state.pid}"
    )
    if state.error:
        print(f"error: {state.error}")
    for node in state.nodes:
        service = node.service() if alive and state.phase == "up" else None
        print(f"{node.name}  {node.host}:{node.port}  AlteryxService {service.state if service else 'unknown'}")
    return 0 if alive and state.phase == "up" else 1


def _reboot(options: argparse.Namespace) -> int:
    state = _running()
    begun = time.monotonic()
    control.ask(state.control_port, "reboot", node=state.node(options.name).name)
    print(f"{options.name} is up again after {time.monotonic() - begun:.1f} s")
    return 0


def _cut(options: argparse.Namespace) -> int:
    state = _running()
    control.ask(state.control_port, "cut", node=state.node(options.name).name, seconds=options.seconds)
    print(f"{options.name} is cut off for {options.seconds:g} s")
    return 0


def _minute(options: argparse.Namespace) -> int:
    control.ask(_running().control_port, "minute_seconds", seconds=options.seconds)
    print(f"a minute of task triggers lasts {options.seconds:g} s")
    return 0


def _running() -> LabState:
    state = lab_state.read()
    if state is None or not state.daemon_lives():
        raise RuntimeError("no lab is up: python -m tests.lab up")
    return state


def _kind(wanted: str | None) -> Kind:
    """The kind of node: as asked for, else Wine where it can run, else the stand-in; and says why."""
    if wanted == "standin":
        return "standin"
    missing = host.missing_for_wine()
    if missing and _can_install():
        missing = host.missing_for_wine()
    if not missing:
        if wanted is None:
            _say("Wine nodes: everything they need is here")
        return "wine"
    if wanted == "wine":
        raise RuntimeError(f"no Wine node here; missing: {'; '.join(missing)}")
    _say(f"stand-in nodes (SIMULATED), because a Wine node misses: {'; '.join(missing)}")
    return "standin"


def _can_install() -> bool:
    """Install the Debian packages of a Wine node as root; tell anyone else the line."""
    lacking = [name for name in ("wine", "x86_64-w64-mingw32-gcc") if not shutil.which(name)]
    if not lacking or not shutil.which("apt-get"):
        return False
    line = ["apt-get", "install", "-y", *_WINE_PACKAGES]
    if os.geteuid() != 0:
        _say(f"for Wine nodes run as root: {' '.join(line)}")
        return False
    _say(" ".join(line))
    layout.LAB.mkdir(parents=True, exist_ok=True)
    with (layout.LAB / "apt.log").open("wb") as log:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["apt-get", "update"], line):
            subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, check=False)
    return True


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.lab", description="The test lab: Windows nodes that Ansible reaches on loopback."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="bring the nodes up, fresh")
    up.add_argument("--node", choices=("wine", "standin"), help="kind of node; default: wine where it can run")
    up.add_argument("--count", type=_positive, default=1, help="number of nodes (default 1)")
    up.add_argument(
        "--minute-seconds", type=float, default=60.0, help="real seconds of a minute of task triggers (default 60)"
    )
    demonstration = commands.add_parser("demo", help="bring nodes up, run full_backup.yml against them, end them")
    demonstration.add_argument(
        "--node", choices=("wine", "standin"), help="kind of node; default: wine where it can run"
    )
    demonstration.add_argument(
        "--fleet", type=_positive, default=1, help="number of nodes (default 1): controller, workers, UI node"
    )
    demonstration.add_argument("--minute-seconds", type=float, default=60.0, help=argparse.SUPPRESS)
    commands.add_parser("down", help="end the lab; its files stay for inspection until the next up")
    commands.add_parser("status", help="what is up")
    build = commands.add_parser("engine", help="build the lab PowerShell from tests/lab/pwsh")
    build.add_argument("--if-wanted", action="store_true", help=argparse.SUPPRESS)  # for bootstrap
    reboot = commands.add_parser("reboot", help="power a node off and on again")
    reboot.add_argument("name")
    cut = commands.add_parser("cut", help="let a node's network fail for a while")
    cut.add_argument("name")
    cut.add_argument("seconds", type=float)
    minute = commands.add_parser("minute", help="change the length of a minute of task triggers")
    minute.add_argument("seconds", type=float)
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


_COMMANDS = {
    "up": _up,
    "demo": _demo,
    "down": _down,
    "engine": _engine,
    "status": _status,
    "reboot": _reboot,
    "cut": _cut,
    "minute": _minute,
}

if __name__ == "__main__":
    sys.exit(main())

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make bench-fleet`: a configuration backup of many stand-in nodes against as many no-op module calls on the same
endpoints, as a Markdown table."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from tests.integration.lab_of_tests import Lab, running_lab
from tests.lab import lab_state, layout

PLAYBOOKS = layout.ROOT / "playbooks"
NO_OP = Path(__file__).with_name("library")
_SAMPLE_SECONDS = 0.5
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """What one run of ansible-playbook took.

    processor_seconds: user and system time of ansible-playbook and its workers. endpoint_seconds: that of the lab's
    daemon, which is all the nodes.
    resident_bytes: the most that ansible-playbook and its workers had together; what they share counts once for each.
    proportional_bytes: the same, what is shared counted once. calls: modules that were started on the nodes.
    """

    wall_seconds: float
    processor_seconds: float
    endpoint_seconds: float
    resident_bytes: int
    proportional_bytes: int
    calls: int


class Memory:
    """Watches the memory of a process and its children until it is told to stop."""

    def __init__(self, process_id: int) -> None:
        self.resident_bytes = self.proportional_bytes = 0
        self._root = process_id
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_SAMPLE_SECONDS):
            resident = proportional = 0
            for process in tree(self._root):
                fields = _rollup(process)
                resident += fields.get("Rss", 0)
                proportional += fields.get("Pss", 0)
            self.resident_bytes = max(self.resident_bytes, resident)
            self.proportional_bytes = max(self.proportional_bytes, proportional)


def tree(root: int) -> list[int]:
    """A process and everything below it."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            parents.setdefault(_parent(entry), []).append(int(entry.name))
    found = [root]
    for process in found:
        found += parents.get(process, [])
    return found


def _parent(entry: Path) -> int:
    try:
        # The name in brackets may hold anything.
        return int((entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _rollup(process: int) -> dict[str, int]:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return {}
    return {name: int(rest.split()[0]) * 1024 for name, _unused, rest in (line.partition(":") for line in lines)}


def daemon_seconds(process: int) -> float:
    """Processor time of the lab's daemon so far."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def module_calls(lab: Lab) -> int:
    """Commands that all nodes of the lab were given so far. With pipelining each is a module."""
    logs = [node.winrm_log() for node in lab.nodes if node.winrm_log().exists()]
    return sum(
        json.loads(line)["action"] == "Command" for log in logs for line in log.read_text(encoding="utf-8").splitlines()
    )


def measure(lab: Lab, daemon: int, playbook: Path, forks: int) -> Cost:
    """Run a playbook against all nodes; exits when it fails."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")} | {
        "ANSIBLE_LIBRARY": str(NO_OP)
    }
    command = [
        str(Path(sys.executable).with_name("ansible-playbook")),
        str(playbook),
        "-i",
        str(lab.inventory),
        "-l",
        "alteryx_lab",
        "-f",
        str(forks),
    ]
    calls, endpoints = module_calls(lab), daemon_seconds(daemon)
    with tempfile.TemporaryFile() as output:
        begun = time.monotonic()
        process = subprocess.Popen(
            command, cwd=PLAYBOOKS, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        memory = Memory(process.pid)
        _unused, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        memory.stop()
        if process.returncode:
            output.seek(0)
            sys.exit(
                f"{playbook.name} ended with {process.returncode}:\n{output.read().decode(errors='replace')[-3000:]}"
            )
    # ansible-playbook waits for each of its workers, so the kernel adds theirs to its own.
    spent = usage.ru_utime + usage.ru_stime
    return Cost(
        wall,
        spent,
        daemon_seconds(daemon) - endpoints,
        memory.resident_bytes,
        memory.proportional_bytes,
        module_calls(lab) - calls,
    )


def no_op_playbook(folder: Path, calls: int) -> Path:
    """Write a playbook that calls the no-op module that many times on every node."""
    tasks = [{"name": f"Call {number}", "win_ping": {}} for number in range(1, calls + 1)]
    file = folder / "no_op.yml"
    # JSON is YAML.
    file.write_text(
        json.dumps(
            [{"name": "Call a module that does nothing", "hosts": "alteryx", "gather_facts": False, "tasks": tasks}]
        ),
        encoding="utf-8",
    )
    return file


def row(what: str, cost: Cost) -> str:
    """One line of the table."""
    return (
        f"| {what} | {cost.calls} | {cost.wall_seconds:.1f} | {cost.processor_seconds:.1f} "
        f"| {cost.endpoint_seconds:.1f} | {cost.resident_bytes / 2**20:.0f} "
        f"| {cost.proportional_bytes / 2**20:.0f} |"
    )


def show(text: str) -> None:
    """A line, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.fleet", description=__doc__)
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--forks", type=int, default=50)
    parser.add_argument("--repeat", type=int, default=3, help="pairs of runs; the median of their ratios counts")
    options = parser.parse_args()
    with running_lab("standin", "bench-fleet", count=options.nodes) as lab, tempfile.TemporaryDirectory() as folder:
        state = lab_state.read(lab.folder / "lab.json")
        assert state
        show(
            f"{options.nodes} stand-in nodes in one process, forks {options.forks}, "
            f"{os.cpu_count()} processors, load before {os.getloadavg()[0]:.1f}.\n"
        )
        show(
            "| run | module calls | wall s | control node CPU s | lab endpoints CPU s | "
            "peak memory MiB (RSS) | the same, shared once (PSS) |"
        )
        show("|---|---|---|---|---|---|---|")
        pairs: list[tuple[Cost, Cost]] = []
        for _unused in range(options.repeat):
            backup = measure(lab, state.pid, PLAYBOOKS / "config_backup.yml", options.forks)
            show(row("config_backup.yml", backup))
            no_op = measure(
                lab, state.pid, no_op_playbook(Path(folder), round(backup.calls / options.nodes)), options.forks
            )
            show(row("as many no-op calls", no_op))
            pairs.append((backup, no_op))
        wall = [backup.wall_seconds / no_op.wall_seconds for backup, no_op in pairs]
        spent = [backup.processor_seconds / no_op.processor_seconds for backup, no_op in pairs]
        show("\n| ratio (budget 1.3) | median | of each pair |\n|---|---|---|")
        for name, ratios in (("wall", wall), ("CPU", spent)):
            show(f"| {name} | {statistics.median(ratios):.2f} | {', '.join(f'{ratio:.2f}' for ratio in ratios)} |")


if __name__ == "__main__":
    main()

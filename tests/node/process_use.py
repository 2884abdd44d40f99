# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a process of the engine uses, as the kernel has counted it: `process_use.py FILE COMMAND...` runs the command
and leaves the figures in the file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ProcessUse:
    """Peak of the resident memory, bytes that all its reads together have got (of whatever file or
    pipe), and processor time."""

    peak_bytes: int
    read_bytes: int
    processor_seconds: float

    @staticmethod
    def under(file: Path) -> tuple[str, ...]:
        """The command to run the engine under (Engine.run_job)."""
        return sys.executable, __file__, str(file)

    @classmethod
    def load(cls, file: Path) -> ProcessUse:
        """What was left in the file."""
        return cls(**json.loads(file.read_text(encoding="utf-8")))


def main(file: str, *command: str) -> int:
    """Run the command and write down what it used; returns its exit code."""
    process = subprocess.Popen(command)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    # It has ended but is not taken away yet, so that the kernel still tells.
    counts = dict(line.split(": ") for line in Path(f"/proc/{process.pid}/io").read_text(encoding="ascii").splitlines())
    _unused, status, usage = os.wait4(process.pid, 0)
    use = {
        "peak_bytes": usage.ru_maxrss * 1024,
        "read_bytes": int(counts["rchar"]),
        "processor_seconds": usage.ru_utime + usage.ru_stime,
    }
    Path(file).write_text(json.dumps(use), encoding="utf-8")
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

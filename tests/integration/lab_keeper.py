# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps a lab from outliving its tests: ``python -m tests.integration.lab_keeper`` takes the lab down once
its standard input ends.

A pipe to it is open as long as pytest is running. However pytest ends, a kill or its own time-out included, the pipe
ends with it.
"""

from __future__ import annotations

import signal
import sys

from tests.lab import lifecycle


def main() -> None:
    """Wait, then take down."""
    # Ctrl-C reaches pytest, which then ends the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdin.buffer.read()
    lifecycle.down(lambda _text: None)


if __name__ == "__main__":
    main()

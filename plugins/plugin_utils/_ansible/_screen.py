# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the operator sees while a task runs."""

from __future__ import annotations

from datetime import UTC, datetime

from ansible.utils.display import Display

_display = Display()


def utc_text() -> str:
    """Now in UTC as ISO 8601 with milliseconds and zone."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def show(text: str) -> None:
    """Text on the operator's screen."""
    _display.display(text)


def show_progress(host: str, text: str, at: str = "") -> None:
    """A line on the operator's screen: when, where, what.

    Args:
        at: when it happened by the clock of the node, "" for now.
    """
    show(f"{at or utc_text()} {host}: {text}")


def warn(message: str) -> None:
    """A warning on the operator's screen."""
    _display.warning(message)

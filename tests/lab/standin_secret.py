# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What NodeSecret.psm1 does: text of others without the passwords it may hold."""

from __future__ import annotations

import re

_HIDDEN = "(redacted)"
_PATTERNS = (
    re.compile(r"(://[^:/@\s]*:)[^\s/]+(?=@)"),
    re.compile(r"""(--password\s+)(?:"[^"]*"|[^\s"]+)""", re.IGNORECASE),
    re.compile(r"""((?:password|passwd|pwd|secret|accountkey)["']?\s*[=:]\s*)(?!\(redacted\))(?:"[^"]*"|'[^']*'|[^\s;,&"']+)""", re.IGNORECASE))


def hide(text: str) -> str:
    """The text with its passwords redacted."""
    for pattern in _PATTERNS:
        text = pattern.sub(rf"\g<1>{_HIDDEN}", text)
    return text

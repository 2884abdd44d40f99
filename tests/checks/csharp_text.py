# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""C# sources as text: comments blanked, and texts too where only code counts, so that a pattern
meets nothing but code."""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"""(?P<comment>//[^\n]*|/\*.*?\*/)
      | (?P<text>@"(?:[^"]|"")*"|"(?:\\.|[^"\\\n])*")
      | (?P<char>'(?:\\.[^']*|[^'\\])')""",
    re.DOTALL | re.VERBOSE,
)


def without_comments(source: str) -> str:
    """The source with every comment replaced by spaces; line numbers stay."""
    return _TOKEN.sub(lambda token: _blank(token.group()) if token.lastgroup == "comment" else token.group(), source)


def code_only(source: str) -> str:
    """The source with comments and the contents of texts replaced by spaces; quotes and line numbers stay."""

    def replace(token: re.Match[str]) -> str:
        text = token.group()
        return _blank(text) if token.lastgroup == "comment" else text[0] + _blank(text[1:-1]) + text[-1]

    return _TOKEN.sub(replace, source)


def _blank(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)

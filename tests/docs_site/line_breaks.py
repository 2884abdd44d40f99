# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a browser may break code on a narrow screen. In the cells of tables: at the parts of a long name, such as
alteryx_archive_ and directory, and not within a word. An option, such as --check, never: site.css keeps it whole."""

from __future__ import annotations

import re

_CELL = re.compile(r"<td\b[^>]*>.*?</td>", re.DOTALL)
_CODE = re.compile(r'(?<=<span class="pre">)[^<]+')
# Behind _, / and \, where a name does not begin with them, and in LocalAccount before the capital.
_PART = re.compile(r"(?<=[^_/\\][_/\\])(?=[^_/\\])|(?<=[a-z])(?=[A-Z])")


def place(page: str) -> str:
    """The HTML of a page with its breaks."""
    broken = _CELL.sub(lambda cell: _CODE.sub(lambda code: _PART.sub("<wbr>", code[0]), cell[0]), page)
    return broken.replace('<span class="pre">-', '<span class="pre option">-')

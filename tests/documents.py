# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads Markdown as GitHub does: links, anchors, code and tables of a page, each with its line."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.checks import sources


@dataclass(frozen=True)
class Place:
    """Something in a page. text: a link's target, a piece of code; language: of a block of code."""

    line: int
    text: str
    language: str = ""


@dataclass(frozen=True)
class Row:
    """A row of a table: the head of each column -> what is in the cell, as Markdown."""

    line: int
    cells: dict[str, str]


class Page:
    """A Markdown page."""

    def __init__(self, path: Path, text: str | None = None) -> None:
        """Read a page.

        Args:
            path: where it is, which its relative links begin from.
            text: what it says; what the file says when it is not given.
        """
        self.path = path
        self.text = path.read_text(encoding="utf-8") if text is None else text
        self._tokens = MarkdownIt("commonmark").enable("table").parse(self.text)

    @property
    def name(self) -> str:
        """The path as people name it."""
        return sources.shown(self.path)

    def links(self) -> list[Place]:
        """The targets of links and pictures."""
        found = []
        for line, token in self._inline():
            target = token.attrGet({"link_open": "href", "image": "src"}.get(token.type, ""))
            if target is not None:
                found.append(Place(line, str(target)))
        return found

    def anchors(self) -> set[str]:
        """What can follow # in a link to this page."""
        seen: Counter[str] = Counter()
        found = set()
        for before, token in zip(self._tokens, self._tokens[1:], strict=False):
            if before.type == "heading_open":
                words = "".join(child.content for child in token.children or [])
                anchor = _anchor(words)
                found.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
                seen[anchor] += 1
        return found

    def blocks(self) -> list[Place]:
        """The blocks of code; the line is that of the first line of the code."""
        return [
            Place(token.map[0] + 2, token.content, token.info.strip())
            for token in self._tokens
            if token.type == "fence" and token.map
        ]

    def spans(self) -> list[Place]:
        """The pieces of code in running text."""
        return [Place(line, token.content) for line, token in self._inline() if token.type == "code_inline"]

    def rows(self) -> list[Row]:
        """The rows of all tables, without their heads."""
        found: list[Row] = []
        head: list[str] = []
        cells: list[str] | None = None  # of the row that is being read
        line = 0
        for token in self._tokens:
            if token.type == "tr_open" and token.map:
                line, cells = token.map[0] + 1, []
            elif token.type == "inline" and cells is not None:
                cells.append(token.content)
            elif token.type == "tr_close" and cells is not None:
                if head:
                    found.append(Row(line, dict(zip(head, cells, strict=False))))
                head, cells = head or cells, None
            elif token.type == "table_close":
                head = []
        return found

    def _inline(self) -> Iterator[tuple[int, Token]]:
        """The parts of running text, each with its line."""
        for token in self._tokens:
            if token.type == "inline" and token.map:
                line = token.map[0] + 1
                for child in token.children or []:
                    yield line, child
                    line += child.type in ("softbreak", "hardbreak")


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def pages() -> list[Page]:
    """Every Markdown page of the project."""
    return [Page(path) for path in sources.project_files() if path.suffix == ".md"]

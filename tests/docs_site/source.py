# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lays the pages of the project out as Sphinx wants them: docs/README.md is the first page, and every page that it
leads to, directly or through others, is part of the site. Its sections are those of the sidebar."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from tests.checks import sources
from tests.documents import Page

INDEX = "docs/README.md"
REFERENCE = "reference/index"
REPOSITORY = "https://github.com/alteryx-ops/server_backup"
_REFERENCE_TITLE = "Modules, roles and callback"
_REFERENCE_SECTION = f"""
## Reference

- [{_REFERENCE_TITLE}]({REFERENCE}.rst): options, results and variables, as `ansible-doc` shows them
"""


@dataclass
class Tree:
    """Which pages there are.

    children: page -> the pages that it is the first to lead to, in the order of its links.
    files: what pages show or offer beside that, such as pictures.
    """

    children: dict[str, list[str]] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)


def read_tree(index: str = INDEX) -> Tree:
    """Follow the links from the first page."""
    tree, waiting = Tree({index: []}), [index]
    while waiting:
        name = waiting.pop(0)
        for target in _targets(name):
            if not (sources.ROOT / target).is_file():
                continue
            if not target.endswith((".md", ".rst")):
                tree.files.add(target)
            elif target not in tree.children:
                tree.children[target] = []
                tree.children[name].append(target)
                waiting.append(target)
    return tree


def _targets(name: str) -> list[str]:
    """What a page links to, as paths from the root of the project."""
    path = sources.ROOT / name
    links = [link.text for link in Page(path).links()] if path.suffix == ".md" else []
    return [found for link in links if (found := _from_root(name, link))]


def _from_root(page: str, link: str) -> str:
    target = link.partition("#")[0]
    return "" if not target or ":" in target else posixpath.normpath(posixpath.join(posixpath.dirname(page), target))


def place(name: str) -> str:
    """Where a page of the project is in the site."""
    return "index.md" if name == INDEX else name


def translate(page: Page, name: str, tree: Tree) -> str:
    """The text of a page with links that lead to their places in the site; what is not in it is in the repository."""
    text = page.text
    for link in {link.text for link in page.links()}:
        target = _from_root(name, link)
        if not target:
            continue
        if target in tree.children or target in tree.files:
            _path, hash_sign, anchor = link.partition("#")
            new = posixpath.relpath(place(target), posixpath.dirname(place(name)) or ".") + hash_sign + anchor
        else:
            kind = "tree" if (sources.ROOT / target).is_dir() else "blob"
            new = f"{REPOSITORY}/{kind}/main/{target}"
        text = text.replace(f"]({link})", f"]({new})")
    return text


def sidebar(page: Page, name: str, tree: Tree) -> str:
    """The entries of the sidebar that belong to a page: for each of its sections the pages that it leads to first."""
    left = set(tree.children[name])
    parts = []
    for caption, links in _sections(page):
        entries = []
        for link in links:
            target = _from_root(name, link)
            if target in left:
                left.remove(target)
                entries.append(_entry(page, link, _document(name, target)))
        if entries:
            parts.append(_toctree(caption if name == INDEX else "", entries))
    return "".join(parts)


def _entry(page: Page, link: str, document: str) -> str:
    """An entry with the words of the link, or, if these name a file, with the heading of the document."""
    found = re.search(rf"\[([^\]]+)\]\({re.escape(link)}\)", page.text)
    words = " ".join(found.group(1).split()) if found else ""
    return f"{words} <{document}>" if words and not re.search(r"[./`]", words) else document


def _sections(page: Page) -> list[tuple[str, list[str]]]:
    """The sections of a page, each with its links."""
    lines = page.text.split("\n")
    heads = [number for number, line in enumerate(lines, 1) if line.startswith("## ")]
    bounds = [0, *heads, len(lines) + 1]
    links = page.links()
    return [
        (
            lines[begin - 1].removeprefix("## ") if begin else "",
            [link.text for link in links if begin <= link.line < end],
        )
        for begin, end in pairwise(bounds)
    ]


def _document(page: str, target: str) -> str:
    """A page as another one names it in a list of pages."""
    document = place(target).rpartition(".")[0]
    return posixpath.relpath(document, posixpath.dirname(place(page)) or ".")


def _toctree(caption: str, entries: list[str]) -> str:
    options = ":hidden:\n" + (f":caption: {caption}\n" if caption else "")
    return "\n```{toctree}\n" + options + "\n" + "\n".join(entries) + "\n```\n"


def texts() -> Mapping[str, str]:
    """Every page of the site -> its text; the pages of modules and roles are written by antsibull-docs."""
    tree = read_tree()
    found = {}
    for name in tree.children:
        path = sources.ROOT / name
        if path.suffix == ".rst":
            found[name] = path.read_text(encoding="utf-8")
            continue
        page = Page(path)
        text = translate(page, name, tree)
        if name == INDEX:
            text += (
                _REFERENCE_SECTION
                + sidebar(page, name, tree)
                + _toctree("Reference", [f"{_REFERENCE_TITLE} <{REFERENCE}>"])
            )
        else:
            text += sidebar(page, name, tree)
        found[place(name)] = text
    return found


def lay_out(folder: Path) -> None:
    """Write the pages, and what they show, into a folder."""
    for name, text in texts().items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    for name in read_tree().files:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes((sources.ROOT / name).read_bytes())

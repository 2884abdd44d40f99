# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Phrases that an engineer from another country has to read twice do not occur in what operators and engineers read:
README, docs, the documentation of modules and roles, messages and hints, comments, synopses and docstrings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.checks import sources

IDIOMS = {
    r"(?:some|no)body": "name who it is, or use the passive",
    r"whoever": "name who it is",
    r"shall": "is to, must or will",
    r"(?:if|unless|as) told": "if requested, unless configured",
    r"(?<!there )is (?:none|no (?!longer\b|more\b)\w+)": "is not a ..., or has no ...",
    r"the same way": "say what happens",
    r"go(?:es)? on(?! the\b| an?\b)": "continues",
    r"(?:comes?|came|brings?|brought)(?: \w+){0,3} back": "starts again, runs again, restores",
    r"stands? (?:against|below|there|here|in its way)": "prevents, is, follows",
    r"lies?": "is (in, on, beside)",
    r"lives?": "is active, is running, is",
    r"keeps?(?: (?!away)\w+){0,4} from": "prevents",
    r"keeps(?: \w+){0,4} away": "prevents",
    r"(?:has|leaves?|sends?) word": "has been notified, leaves a message",
    r"gives? back": "releases, returns",
    r"as it is told|as it was asked": "say who decided what",
    r"a line that is none": "a line that is not ...",
}
"""A phrase, as a regular expression between two word boundaries -> what to write instead."""

_ANY = re.compile("|".join(rf"\b(?:{idiom})\b" for idiom in IDIOMS), re.IGNORECASE)
_CODE = re.compile(r"```.*?```|`[^`]*`|\b[A-Z]\(.*?\)", re.DOTALL)
_PAGES = ("README.md", "SECURITY.md", "docs/**/*.md", "extensions/**/*.md")
_TEXTS = (
    "plugins/modules/*.yml",
    "plugins/doc_fragments/*.py",
    "plugins/plugin_utils/_core/reasons.yml",
    "roles/*/meta/*.yml",
)
_COMMENTED = (
    *(
        f"{folder}/**/*.{suffix}"
        for folder in ("plugins", "roles", "playbooks", "extensions")
        for suffix in ("py", "ps1", "psm1", "cs", "yml")
    ),
    *(f"tests/lab/native/*.{suffix}" for suffix in ("c", "h", "cs", "ps1")),
    "tests/faults/*.c",
)
# Lines of comment that follow each other are one text. A comment may also follow code on its line.
_COMMENT = {
    mark: re.compile(rf"^[ \t]*{mark}.*(?:\n[ \t]*{mark}.*)*|[ \t]{mark}.*", re.MULTILINE) for mark in ("#", "//")
}
_MARKS = {".cs": "//", ".c": "//", ".h": "//"}
_C_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_POWERSHELL_SYNOPSIS = re.compile(r"<#.*?#>", re.DOTALL)
# A string in quotes. In a double-quoted one, a grave accent escapes the next character.
_POWERSHELL_STRING = re.compile(r"'((?:[^'\n]|'')*)'|\"((?:[^\"`\n]|`.|\"\")*)\"")


def find_idioms(text: str) -> list[str]:
    """The phrases of IDIOMS in a text, also where a line ends within one. Code in a text does not count."""
    # A comment of YAML or Markdown is for those who change the file.
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("# "))
    return [" ".join(found.group().split()) for found in _ANY.finditer(" ".join(_CODE.sub("x", lines).split()))]


def list_messages(path: Path) -> Iterator[str]:
    """The strings of a file of code that can be a message: two words or more, and no documentation of the code."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        tree = ast.parse(text)
        documentation = {id(value) for value in _documentation(tree)}
        strings = [
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation
        ]
    else:
        code = re.sub(r"<#.*?#>|^\s*#[^\n]*", "", text, flags=re.DOTALL | re.MULTILINE)
        strings = [one or other for one, other in _POWERSHELL_STRING.findall(code)]
    yield from (string for string in strings if " " in string.strip())


def list_comments(path: Path) -> Iterator[str]:
    """The comments of a file of code, with its docstrings or synopses. All phrases of IDIOMS count in them. Only the
    value None of Python is left out, because "is None" is code."""
    text = path.read_text(encoding="utf-8")
    mark = _MARKS.get(path.suffix, "#")
    if mark == "//":
        for comment in _C_COMMENT.findall(text):
            yield re.sub(r"^[ \t]*\* ?", "", comment, flags=re.MULTILINE)
        text = _C_COMMENT.sub("", text)
    found = [comment[0] for comment in _COMMENT[mark].finditer(_POWERSHELL_SYNOPSIS.sub("", text))]
    if path.suffix == ".py":
        found += [value.value for value in _documentation(ast.parse(text)) if isinstance(value.value, str)]
    else:
        found += _POWERSHELL_SYNOPSIS.findall(text)
    for comment in found:
        yield re.sub(rf"^[ \t]*(?:{mark})+ ?", "", re.sub(r"\bNone\b", "x", comment), flags=re.MULTILINE)


def _documentation(tree: ast.AST) -> list[ast.Constant]:
    """The strings that stand alone in code, such as docstrings."""
    alone = (node.value for node in ast.walk(tree) if isinstance(node, ast.Expr))
    return [value for value in alone if isinstance(value, ast.Constant)]


def _files(*patterns: str) -> list[Path]:
    return sorted(path for pattern in patterns for path in sources.ROOT.glob(pattern))


def test_pages_and_module_documentation_have_no_idioms() -> None:
    found = [
        f"{path.relative_to(sources.ROOT)}: {idiom}"
        for path in _files(*_PAGES, *_TEXTS)
        for idiom in find_idioms(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_messages_have_no_idioms() -> None:
    found = [
        f"{path.relative_to(sources.ROOT)}: {idiom}: {message}"
        for path in _files("plugins/**/*.py", "plugins/**/*.ps1", "plugins/**/*.psm1")
        for message in list_messages(path)
        for idiom in find_idioms(message)
    ]
    assert found == []


def test_comments_have_no_idioms() -> None:
    found = [
        f"{path.relative_to(sources.ROOT)}: {idiom}: {comment}"
        for path in _files(*_COMMENTED)
        for comment in list_comments(path)
        for idiom in find_idioms(comment)
    ]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "Somebody started it.",
        "The path is no absolute path.",
        "A lock keeps other runs\naway from the node.",
        "The service comes back.",
        "It goes on without a connection.",
    ],
)
def test_an_idiom_is_found(text: str) -> None:
    assert find_idioms(text)


def test_code_and_plain_english_pass() -> None:
    text = "The service is no longer running. Use `nobody` or C(shall). The job continues, and the file is in D:\\x."
    assert find_idioms(text) == []
    assert find_idioms("# nobody reads this comment\nplain") == []


def test_messages_are_found_in_code(tmp_path: Path) -> None:
    python = tmp_path / "x.py"
    python.write_text('"""Somebody reads this."""\nraise ValueError(f"{1} is no name")\n', encoding="utf-8")
    assert [found for text in list_messages(python) for found in find_idioms(text)] == ["is no name"]
    script = tmp_path / "x.ps1"
    script.write_text("# nobody\nthrow \"$x is no name\"\n$y = 'it lives here'\n", encoding="utf-8")
    assert [found for text in list_messages(script) for found in find_idioms(text)] == ["is no name", "lives"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.py", 'def f():\n    """Keeps nobody\n    waiting, returns None."""\n    a = 1  # it lives here\n'),
        ("x.ps1", "function F {\n    <# .SYNOPSIS\n    Keeps nobody waiting. #>\n    # it\n    # lives here\n}\n"),
        ("x.cs", "/// <summary>Keeps nobody waiting.</summary>\nint a;  // it lives here\n"),
        ("x.c", "/* Keeps\n * nobody waiting. */\nint a; /* it lives here */\n"),
        ("x.h", "int a; // it\n/* Keeps nobody\n * waiting; it lives here. */\n"),
        ("x.yml", "# Keeps nobody waiting.\na: 1  # it\nb: # lives\n"),
    ],
)
def test_comments_are_found_in_code(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    assert sorted(found for text in list_comments(path) for found in find_idioms(text)) == ["lives", "nobody"]


def test_plain_comments_pass(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text('"""The result is None without a dump."""\na = "nobody"\n', encoding="utf-8")
    assert [found for text in list_comments(path) for found in find_idioms(text)] == []

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges command lines and variables that a text shows: do the playbook, the options, the variables, the modules, the
roles and the targets exist, and does a variable take this value?

The parsers are those of the programs themselves, the variables those of the argument specs. A word in capitals
(NAME, FLEET) is a placeholder and stands for anything.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import io
import json
import re
import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from ansible.cli.doc import DocCLI
from ansible.cli.galaxy import GalaxyCLI
from ansible.cli.inventory import InventoryCLI
from ansible.cli.playbook import PlaybookCLI
from ansible.cli.vault import VaultCLI
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible import _variables
from tests.checks import sources, test_options
from tests.lab import __main__ as lab_commands
from tests.lab import layout

COLLECTION = "alteryx_ops.server_backup"
_ANSIBLE = {
    "ansible-playbook": PlaybookCLI,
    "ansible-doc": DocCLI,
    "ansible-galaxy": GalaxyCLI,
    "ansible-inventory": InventoryCLI,
    "ansible-vault": VaultCLI,
}
_PROGRAMS = (*_ANSIBLE, "make", "python -m tests")
_BEGINS = re.compile(rf"(?:^|[|&;$] *|\bexec )({'|'.join(map(re.escape, _PROGRAMS))})(?![\w-])")
# What a text says of other programs, and of what the programs of Ansible can be told to do.
_OTHER_OPTIONS = {
    "--force": "ansible-galaxy collection install",
    "--gzip": "mongodump",
    "--oplog": "mongodump",
    "--update-existing": "antsibull-changelog release",
}
_PLACEHOLDER = re.compile(r"<.*>|\.\.\.|[A-Z][A-Z0-9_]*|n")
_ASSIGNMENT = re.compile(r"(\w+)=(.*)", re.DOTALL)


# --- what there is --------------------------------------------------------------------------------------------------


@cache
def variables() -> Mapping[str, Mapping[str, Any]]:
    """The public variables of all roles, each with its argument spec."""
    known = _variables.read(sources.ROOT / "roles")
    return {**known.public, **{old: known.public[new] for old, new in _variables.RENAMED.items()}}


@cache
def playbooks() -> frozenset[str]:
    """Names of the playbooks, without their ending."""
    return frozenset(path.stem for path in (sources.ROOT / "playbooks").glob("*.yml"))


@cache
def plugins(kind: str) -> frozenset[str]:
    """Names of modules (module), roles (role) or callbacks (callback)."""
    if kind == "role":
        return frozenset(path.name for path in (sources.ROOT / "roles").iterdir())
    folder = sources.ROOT / "plugins" / {"module": "modules", "callback": "callback"}[kind]
    return frozenset(path.stem for path in folder.iterdir() if path.suffix in (".yml", ".py"))


@cache
def groups() -> frozenset[str]:
    """What a limit can name: groups and hosts of the example inventory, and those of the lab."""
    example = yaml.safe_load((sources.ROOT / "inventory" / "example.yml").read_text(encoding="utf-8"))
    return frozenset({"alteryx_lab", *_names_of_groups(example)})


def _names_of_groups(content: Mapping[str, Any]) -> Iterator[str]:
    for name, group in content.items():
        yield name
        yield from group.get("hosts") or {}
        yield from _names_of_groups(group.get("children") or {})


@cache
def _makefile() -> tuple[frozenset[str], frozenset[str]]:
    """Targets, and variables that a person may set."""
    text = (sources.ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"(?m)^([a-z][\w-]*):", text)
    own = set(re.findall(r"(?m)^([A-Z_]+) *[:+]?=", text))
    # PYTHON: of tests/lab/bootstrap, which says so itself.
    return frozenset(targets), frozenset({"PYTHON", *re.findall(r"\$\((?:if \$\()?([A-Z]+)\)", text)} - own)


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _unknown(what: str, name: str, known: Collection[str]) -> list[str]:
    if name in known or _PLACEHOLDER.fullmatch(name):
        return []
    return [f"there is no {what} {name}{_nearest(name, known)}"]


# --- command lines --------------------------------------------------------------------------------------------------


def commands(text: str) -> Iterator[tuple[int, list[str]]]:
    """The commands in a block of shell that this module can judge: line (from 0), words."""
    lines = text.split("\n")
    number = 0
    while number < len(lines):
        first, line = number, lines[number]
        while line.endswith("\\") and number + 1 < len(lines):
            number += 1
            line = line[:-1] + lines[number]
        number += 1
        if _BEGINS.search(line):
            yield from ((first, words) for words in _split(line))


def _split(line: str) -> Iterator[list[str]]:
    """The commands of a line, without prompts, words before the program, and what is redirected."""
    words = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    words.whitespace_split = True
    command: list[str] = []
    for word in [*words, ";"]:
        if not set(word) <= set("|&;<>"):
            command.append(word)
            continue
        starts = [number for number in range(len(command)) if _program(command[number:])]
        # A program alone is mentioned, not run.
        if starts and len(command) > starts[0] + 1:
            yield command[starts[0] :]
        # What follows > or < is a file.
        command = [] if set(word) <= set("|&;") else ["a file:"]


def _program(words: list[str]) -> str:
    if words[:2] == ["python", "-m"] and len(words) > 2 and words[2].split(".")[0] == "tests":
        return "python"
    return words[0] if words and words[0] in (*_ANSIBLE, "make") else ""


def judge(words: list[str]) -> list[str]:
    """What is wrong with a command."""
    name = _program(words)
    if name == "make":
        return _judge_make(words[1:])
    if name == "python":
        return _judge_module(words[2], words[3:])
    options, problems = _parse(lambda: _parser(name).parse_args(words[1:]))
    if options is None:
        return problems
    if name == "ansible-playbook":
        return [
            *(problem for playbook in options.args for problem in _judge_playbook(playbook)),
            *_judge_limit(options.subset),
            *_judge_extra_vars(options.extra_vars),
        ]
    if name == "ansible-doc":
        kind = options.type or "module"
        known = {f"{COLLECTION}.{plugin}" for plugin in plugins(kind)}
        return [problem for full in options.args for problem in _judge_full_name(full, kind, known)]
    return []


def judge_option(option: str) -> list[str]:
    """What is wrong with an option that stands alone in a text: a program of Ansible must know it."""
    name = re.split(r"[= ]", option)[0]
    known = any(re.search(rf"{re.escape(name)}\b", _parser(program).format_help()) for program in _ANSIBLE)
    return [] if known or name in _OTHER_OPTIONS else [f"no program of Ansible has the option {name}"]


def _parser(name: str) -> Any:
    return _parsers()[name]


@cache
def _parsers() -> dict[str, Any]:
    found = {}
    for name, kind in _ANSIBLE.items():
        program = kind([name])
        program.init_parser()
        found[name] = program.parser
    return found


def _parse(parse: Callable[[], Any]) -> tuple[Any, list[str]]:
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return parse(), []
    except SystemExit:
        return None, [said.getvalue().strip().rpartition("error: ")[2]]


def _judge_playbook(name: str) -> list[str]:
    if (sources.ROOT / "extensions" / "awx" / name).is_file():
        return []
    stem = name.removeprefix(f"{COLLECTION}.").removesuffix(".yml")
    if stem == name and not _PLACEHOLDER.fullmatch(name):
        return [f"{name} is neither a file nor a playbook of the collection"]
    return _unknown("playbook", stem, playbooks())


def _judge_limit(limit: str | None) -> list[str]:
    words = re.split(r"[:,]", limit) if limit else []
    return [problem for word in words for problem in _unknown("host or group", word.lstrip("!&"), groups())]


def _judge_extra_vars(given: Iterable[str]) -> list[str]:
    problems = []
    for text in given:
        if text.startswith("@"):
            continue
        if text.startswith(("{", "[")):
            try:
                values = json.loads(text)
            except ValueError as error:
                problems.append(f"-e is not JSON: {error}")
                continue
        else:
            pairs = (word.partition("=") for word in shlex.split(text))
            values = {name: value for name, equals, value in pairs if equals}
        problems += [problem for name, value in values.items() for problem in judge_variable(name, value)]
    return problems


def judge_variable(name: str, value: Any) -> list[str]:
    """What is wrong with a variable of a role that has this value."""
    if _PLACEHOLDER.fullmatch(name):
        return []
    if name not in variables():
        return _unknown("variable", name, variables())
    if isinstance(value, str) and (_PLACEHOLDER.fullmatch(value) or "{{" in value):
        return []
    return ArgumentSpecValidator({name: _spec(name)}).validate({name: value}).error_messages


@cache
def _spec(name: str) -> dict[str, Any]:
    """The argument spec of a variable; the parts of a dictionary are those of the option that it is handed to."""
    spec = dict(variables()[name])
    for handed in test_options.ALL:
        if handed.variable == name and "options" not in spec:
            option = test_options.options(handed.module)[handed.option]
            if "suboptions" in option:
                spec["options"] = _variables.argument_options(option["suboptions"])
    return spec


def _judge_full_name(full: str, kind: str, known: Collection[str]) -> list[str]:
    if _PLACEHOLDER.fullmatch(full.removeprefix(f"{COLLECTION}.")):
        return []
    return _unknown(kind, full, known)


def _judge_make(words: list[str]) -> list[str]:
    targets, known = _makefile()
    problems = []
    for word in words:
        # [NODE=wine|standin]: what may be left out, and what may be chosen.
        assignment = _ASSIGNMENT.fullmatch(word.strip("[]"))
        if not assignment:
            problems += _unknown("target", word, targets)
            continue
        name, values = assignment.groups()
        if name not in known:
            problems.append(f"make knows no variable {name}{_nearest(name, known)}")
        if name == "NODE":
            for value in values.split("|"):
                problems += _unknown("kind of node", value, ("wine", "standin"))
        if name == "TESTS":
            problems += [
                f"there is no {path}"
                for path in values.split()
                if path.startswith("tests/") and not (sources.ROOT / path.partition("::")[0]).exists()
            ]
    return problems


def _judge_module(module: str, words: list[str]) -> list[str]:
    if not importlib.util.find_spec(module):
        return [f"there is no module {module}"]
    if module != "tests.lab" or not words:
        return []
    samples = [re.sub(r"^SECONDS$", "1", word) for word in words]
    return _parse(lambda: lab_commands._parser().parse_args(samples))[1]


# --- names and data -------------------------------------------------------------------------------------------------


def judge_names(text: str) -> list[str]:
    """Full names (namespace, collection, name) of what there is not."""
    known = {*playbooks(), *plugins("module"), *plugins("role"), *plugins("callback")}
    found = re.findall(rf"{re.escape(COLLECTION)}\.(\w+)", text)
    return [problem for name in found for problem in _unknown("module, role, playbook or callback", name, known)]


def judge_data(content: Any) -> list[str]:
    """What is wrong with the variables in data that a text shows as YAML."""
    problems = []
    if isinstance(content, list):
        return [problem for entry in content for problem in judge_data(entry)]
    if isinstance(content, dict):
        for name, value in content.items():
            if str(name).startswith("alteryx_") and name not in groups() and not str(name).startswith(COLLECTION):
                problems += judge_variable(name, value)
            else:
                problems += judge_data(value)
    return problems


def shown_default(cell: str) -> str | None:
    """The default that a cell of a table shows, as text; nothing where it shows none that can be compared."""
    match = re.fullmatch(r"`([^`]+)`|(\d+)|(none)(?:, required)?", cell.strip())
    if not match:
        return None
    code, number, none = match.groups()
    return "" if none else code or number


def default(name: str) -> str:
    """The default of a variable as text; empty where it has none or an empty one."""
    value = variables()[name].get("default")
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if value not in (None, "", [], {}) else ""


def exists(path: str) -> bool:
    """Is this the path or the name of a file or folder of the project?"""
    # The sources of the lab's PowerShell are no files of ours for the checks, but they are there.
    own = layout.ROOT / path
    return path.rstrip("/") in _paths() or (own.is_relative_to(layout.PWSH_SOURCES) and own.exists())


@cache
def _paths() -> frozenset[str]:
    found = set()
    for file in sources.project_files():
        path = Path(sources.shown(file))
        found |= {path.name, path.as_posix(), *(parent.as_posix() for parent in path.parents)}
    return frozenset(found - {"."})

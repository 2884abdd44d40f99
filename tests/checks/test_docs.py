# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the pages say can be done: links lead somewhere, and the commands, options, variables, modules, roles,
playbooks and targets that they show exist."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.checks import command_lines, sources
from tests.documents import Page, pages

PAGES = pages()
DOCS = sources.ROOT / "docs"
INDEX = DOCS / "README.md"
REQUIREMENTS = DOCS / "requirements.md"
REPOSITORY = re.compile(r"https://github\.com/alteryx-ops/server_backup/(?:blob|tree)/main/")
# Files that a reader makes.
OF_READERS = {"inventory.yml", "vault.yml"}
SHELLS = ("", "sh", "shell", "bash", "console")


# --- links ----------------------------------------------------------------------------------------------------------


def dead_links(page: Page) -> list[str]:
    """PAGE:LINE of each link that leads nowhere in the project; other addresses are not asked."""
    found = []
    for link in page.links():
        target = REPOSITORY.sub(f"{os.path.relpath(sources.ROOT, page.path.parent)}/", link.text)
        if re.match(r"[a-z]+:", target):
            continue
        name, _separator, anchor = target.partition("#")
        path = Path(os.path.normpath(page.path.parent / name)) if name else page.path
        if path != page.path and not command_lines.exists(sources.shown(path)):
            found.append(f"{page.name}:{link.line}: {link.text} does not exist")
        elif anchor and anchor not in (page if path == page.path else Page(path)).anchors():
            found.append(f"{page.name}:{link.line}: {link.text}: there is no such heading")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Page) -> None:
    assert dead_links(page) == []


def test_planted_dead_links_are_found() -> None:
    text = (
        "# A page\n\n[good](operating.md#variables), [good](#a-page), [good](schemas), [other](https://example.com/x)\n"
        "[dead](operations.md)\n[dead](operating.md#varables)\n\n![dead](timeline.png)\n\n| [dead](#b) |\n|---|\n"
        "| [dead](https://github.com/alteryx-ops/server_backup/blob/main/docs/none.md) |\n\n`[code](none.md)`\n"
    )
    assert dead_links(Page(DOCS / "planted.md", text)) == [
        "docs/planted.md:4: operations.md does not exist",
        "docs/planted.md:5: operating.md#varables: there is no such heading",
        "docs/planted.md:7: timeline.png does not exist",
        "docs/planted.md:9: #b: there is no such heading",
        "docs/planted.md:11: https://github.com/alteryx-ops/server_backup/blob/main/docs/none.md does not exist",
    ]


def test_headings_have_the_anchors_of_github() -> None:
    text = "# What `a_b` is: 1, 2?\n\n## Twice\n\n## Twice\n\n## 7: a service - down\n"
    assert Page(DOCS / "planted.md", text).anchors() == {"what-a_b-is-1-2", "twice", "twice-1", "7-a-service---down"}


def test_the_index_leads_to_every_page() -> None:
    leads = {os.path.normpath(DOCS / link.text.partition("#")[0]) for link in Page(INDEX).links()}
    missing = [page.name for page in PAGES if page.path.parent == DOCS and str(page.path) not in {*leads, str(INDEX)}]
    assert missing == []


def test_the_readme_is_short() -> None:
    assert len((sources.ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 100


# --- commands and variables -----------------------------------------------------------------------------------------


def wrong_commands(page: Page) -> list[str]:
    """PAGE:LINE of each command, option, variable or name that does not exist."""
    return [f"{page.name}:{line}: {problem}" for line, problem in sorted(set(_problems(page)))]


def _problems(page: Page) -> Iterator[tuple[int, str]]:
    for block in page.blocks():
        if block.language in SHELLS:
            for line, words in command_lines.commands(block.text):
                yield from ((block.line + line, problem) for problem in command_lines.judge(words))
        if block.language in ("yaml", "yml"):
            yield from ((block.line, problem) for problem in command_lines.judge_data(yaml.safe_load(block.text)))
    for span in page.spans():
        yield from ((span.line, problem) for problem in _judge_span(span.text))
    for number, line in enumerate(page.text.split("\n"), 1):
        yield from ((number, problem) for problem in command_lines.judge_names(line))
    for row in page.rows():
        if {"variable", "default"} <= row.cells.keys():
            yield from ((row.line, problem) for problem in _judge_default(row.cells["variable"], row.cells["default"]))


def _judge_span(code: str) -> list[str]:
    file = re.fullmatch(r"([\w-]+\.yml)( -.*)?", code)
    if file and file.group(2):
        code = f"ansible-playbook {code}"
    elif file:
        known = code in OF_READERS or command_lines.exists(code)
        return [] if known else [f"there is no playbook or file {code}"]
    elif code.startswith("-e "):
        code = f"ansible-playbook full_backup.yml {code}"
    elif re.fullmatch(r"--[a-z][\w-]+.*", code):
        return command_lines.judge_option(code)
    return [problem for _line, words in command_lines.commands(code) for problem in command_lines.judge(words)]


def _judge_default(names: str, cell: str) -> list[str]:
    shown = command_lines.shown_default(cell)
    return [
        f"the default of {name} is {command_lines.default(name) or 'none'}, not {cell}"
        for name in re.findall(r"`(\w+)`", names)
        if shown is not None and name in command_lines.variables() and shown != command_lines.default(name)
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_and_variable_exists(page: Page) -> None:
    assert wrong_commands(page) == []


def test_enough_is_judged() -> None:
    judged = [
        words
        for page in PAGES
        for block in page.blocks()
        if block.language in SHELLS
        for _line, words in command_lines.commands(block.text)
    ]
    assert len(judged) > 15
    assert {words[0] for words in judged} >= {"ansible-playbook", "ansible-galaxy"}


@pytest.mark.parametrize(
    ("shown", "problem"),
    [
        ("ansible-playbook full_backup.yml -l alteryx_prod --check", None),
        ("ansible-playbook alteryx_ops.server_backup.topology -i inventory.yml -l FLEET", None),
        ("ansible-playbook full_backup.yml --chek", "unrecognized arguments: --chek"),
        ("cd x && exec ansible-playbook ful_backup.yml", "there is no playbook ful_backup; did you mean full_backup?"),
        ("ansible-playbook full_backup.yml -l prod", "there is no host or group prod"),
        (
            "ansible-playbook list_backups.yml -e alteryx_catalogue_mod=full \\\n  -e alteryx_catalogue_alarm=true",
            "there is no variable alteryx_catalogue_mod; did you mean alteryx_catalogue_mode?",
        ),
        (
            'ansible-playbook list_backups.yml -e \'{"alteryx_catalogue_max_age": "a week"}\'',
            "argument 'alteryx_catalogue_max_age' is of type str",
        ),
        ("ansible-playbook verify_backup.yml -e alteryx_catalogue_mode=all", "value of alteryx_catalogue_mode must be"),
        ("ansible-doc alteryx_ops.server_backup.node_inf", "there is no module alteryx_ops.server_backup.node_inf"),
        ("ansible-doc -t role alteryx_ops.server_backup.ROLE", None),
        ("ansible-doc -t role alteryx_ops.server_backup.node_info", "there is no role"),
        ("ansible-galaxy collection instal x.tar.gz", "invalid choice: 'instal'"),
        ("make dem NODE=standin", "there is no target dem; did you mean demo?"),
        ("make demo KIND=standin", "make knows no variable KIND"),
        ("make demo NODE=windows", "there is no kind of node windows"),
        ("make test TESTS=tests/units", "there is no tests/units"),
        ("python -m tests.lab boot NAME", "invalid choice: 'boot'"),
        ("python -m tests.lap up", "there is no module tests.lap"),
        ("echo ansible; ls -z | grep make", None),
    ],
)
def test_planted_wrong_commands_are_found(shown: str, problem: str | None) -> None:
    found = wrong_commands(Page(DOCS / "planted.md", f"```sh\n# a comment's apostrophe\n{shown}\n```\n"))
    if problem is None:
        assert found == []
    else:
        assert len(found) >= 1
        assert found[0].startswith("docs/planted.md:3: ")
        assert problem in found[0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Run `recover.yml -l NODE -e alteryx_preflight_foreign_job=cancel`.", None),
        ("Run `recover.yml -l NODE -e alteryx_preflight_foreign_job=kill`.", "value of alteryx_preflight_foreign_job"),
        ("Run `recovery.yml`.", "there is no playbook or file recovery.yml"),
        ("Give `--chek`.", "no program of Ansible has the option --chek"),
        ("Give `-e alteryx_archive_directroy=X`.", "there is no variable alteryx_archive_directroy"),
        ("Set `alteryx_ops.server_backup.exit_cod`.", "exit_cod; did you mean exit_code?"),
        ("```yaml\nalteryx_window_drain_timeut: 5\n```", "there is no variable alteryx_window_drain_timeut"),
        ("```yaml\nalteryx_window_drain_timeout: soon\n```", "argument 'alteryx_window_drain_timeout' is of type str"),
        (
            "```yaml\nalteryx_window_schedules_api:\n  bas: https://a.example.com\n```",
            "alteryx_window_schedules_api.bas",
        ),
        ("| variable | default |\n|---|---|\n| `alteryx_window_drain_timeout` | 60 |", "is 3600, not 60"),
        ("| variable | default |\n|---|---|\n| `alteryx_window_drain_timeout` | 3600 |", None),
    ],
)
def test_planted_wrong_names_are_found(text: str, problem: str | None) -> None:
    found = wrong_commands(Page(DOCS / "planted.md", text))
    assert (found == []) if problem is None else (found and problem in found[0]), found


# --- the list of requirements ---------------------------------------------------------------------------------------


_REQUIREMENT = re.compile(r"^- .*(?:\n  .*)*", re.MULTILINE)


def unproved(page: Page) -> list[str]:
    """PAGE:LINE of each requirement that names something that does not exist, or that nothing delivers."""
    found = []
    # The list before the first heading explains the others.
    for entry in _REQUIREMENT.finditer(page.text, max(0, page.text.find("\n## "))):
        place = f"{page.name}:{page.text.count(chr(10), 0, entry.start()) + 1}"
        delivered = " ".join(entry[0].split()).partition("*Delivered by*: ")[2]
        if not delivered:
            found.append(f"{place}: nothing delivers it, and it does not say 'not yet'")
        found += [f"{place}: there is no {name}" for name in re.findall(r"`([^`]+)`", delivered) if not _is_ours(name)]
    return found


def _is_ours(name: str) -> bool:
    kinds = ("module", "role", "callback")
    known = any(name in command_lines.plugins(kind) for kind in kinds) or name in command_lines.variables()
    return known or name == "outcome.json" or command_lines.exists(name)


def test_what_delivers_a_requirement_exists() -> None:
    page = Page(REQUIREMENTS)
    assert len(_REQUIREMENT.findall(page.text)) > 40
    assert unproved(page) == []


def test_planted_requirements_without_anything_behind_them_are_found() -> None:
    text = (
        "# Requirements\n\n- **1**: a. *Delivered by*: `backup_archive`. *Proved by*:\n  `test_docs.py`\n- **2**: b\n"
        "- **3**: c. *Delivered by*: `backup_away`. *Proved by*: `test_x.py`\n"
    )
    assert unproved(Page(REQUIREMENTS, text)) == [
        "docs/requirements.md:5: nothing delivers it, and it does not say 'not yet'",
        "docs/requirements.md:6: there is no backup_away",
        "docs/requirements.md:6: there is no test_x.py",
    ]

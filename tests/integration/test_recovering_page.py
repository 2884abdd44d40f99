# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What docs/recovering.md tells a person to type and to look for is what the collection has and says.

Without a lab. tests/checks/test_docs.py judges the commands of Ansible on the page; what the page says has not been
tried is not tried here either.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._archive import _readme
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import REASONS
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._plan import _critical_files
from tests.checks import command_lines, sources
from tests.documents import Page, Place

PAGE = Page(sources.ROOT / "docs" / "recovering.md")
CODE = sources.ROOT / "plugins"
NAME = "ServerBackup_Full_20260901_020000"
# Programs and commands in a block of shell or PowerShell that are not part of the language.
PROGRAM = re.compile(
    r"(?<![\w\\.$-])(ansible-playbook|sha256sum|unzip|bsondump|mongosh|[A-Z][a-z]+-[A-Z][A-Za-z]+)(?![\w-])"
)
PROGRAM_FILE = re.compile(r"[\\/](\w[\w-]*\.(?:exe|cmd))")


def blocks(*languages: str) -> list[Place]:
    """The blocks of code in these languages."""
    return [block for block in PAGE.blocks() if block.language in languages]


def section(title: str) -> str:
    """The text under a heading of the second level."""
    found = re.search(rf"(?ms)^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PAGE.text)
    assert found, title
    return found[1]


def code(*names: str) -> str:
    """The text of files of the plugins."""
    return "\n".join((CODE / name).read_text(encoding="utf-8") for name in names)


def test_every_block_says_its_language_or_shows_a_screen() -> None:
    assert {block.language for block in PAGE.blocks()} == {"", "sh", "powershell"}
    assert all(block.text.startswith(("plan: ", "RESTORE OK ")) for block in blocks(""))


def test_each_playbook_of_a_restore_and_each_variable_is_shown() -> None:
    shown = [words for block in blocks("sh") for _line, words in command_lines.commands(block.text)]
    assert [problem for words in shown for problem in command_lines.judge(words)] == []
    playbooks = {words[1].rpartition(".")[2] for words in shown if words[0] == "ansible-playbook"}
    assert playbooks == {"topology", "recover", "list_backups", "restore", "accept_restore", "roll_back_restore"}
    own = {name for name in command_lines.variables() if name.startswith("alteryx_restore_")}
    assert {name for name in own if name not in PAGE.text} == set()


def test_each_program_is_in_the_table_that_says_where_it_comes_from() -> None:
    table = section("Where each tool comes from")
    used = {name for block in blocks("sh", "powershell") for name in PROGRAM.findall(block.text)}
    used |= {name for block in blocks("powershell") for name in PROGRAM_FILE.findall(block.text)}
    assert used >= {
        "unzip",
        "bsondump",
        "Expand-Archive",
        "AlteryxService.exe",
        "restore-service.cmd",
        "mongorestore.exe",
    }
    # One row has all commands of Windows PowerShell.
    missing = {name for name in used if "-" not in name or name.endswith(".cmd") or name.islower()}
    assert {
        name for name in missing if f"`{name.removesuffix('.exe') if 'mongo' in name else name}`" not in table
    } == set()


def test_what_has_not_been_tried_is_named() -> None:
    text = section("What has been tried")
    for name in ("bsondump", "mongosh", "mongorestore", "Set-Acl", "PowerShell", "mongoRestore.log"):
        assert name in text.partition("**Not tried**")[2]
    for name in re.findall(r"`(tests/[\w/]+\.py)`", text):
        assert (sources.ROOT / name).exists()


def test_each_reason_exists_and_has_the_exit_code_of_its_table() -> None:
    tables = {
        "### Exit code 7 of a restore": {7},
        "### When a restore is refused": {3, 8},
    }
    for title, codes in tables.items():
        head = PAGE.text[: PAGE.text.index(title)].count("\n") + 1
        # Up to the next heading.
        rest = PAGE.text[PAGE.text.index(title) + 4 :]
        end = head + rest[: rest.index("\n#")].count("\n")
        rows = [row for row in PAGE.rows() if head < row.line <= end]
        names = [name for row in rows for name in re.findall(r"`([a-z_]+)`", row.cells["reason"])]
        assert len(names) >= 5
        assert {name: REASONS[name].exit_code for name in names if REASONS[name].exit_code not in codes} == {}


def test_every_reason_of_a_restore_is_on_the_page_or_in_the_list_of_reasons_that_it_links() -> None:
    own = {name for name in REASONS if name.startswith("restore") and name != "restore_failed"}
    assert {name for name in own if name not in PAGE.text} == set()
    assert "exit_codes.md" in {link.text for link in PAGE.links()}


@pytest.mark.parametrize(
    ("words", "files"),
    [
        ("is {status}, so its files are in use", ["module_utils/undo_restore.ps1"]),
        ("is not as it was before the restore", ["module_utils/undo_restore.ps1"]),
        ("has another content than before the restore", ["module_utils/undo_restore.ps1"]),
        ("stays down: it is not certain that its files are whole", ["module_utils/guard.ps1"]),
        ("stops", ["module_utils/NodeLease.psm1"]),
        ("undid a restore:", ["modules/run_lock.ps1"]),
        ("the server is the restored one", ["plugin_utils/_restore/_outcome.py"]),
        ("the server is the one of before", ["plugin_utils/_restore/_outcome.py"]),
    ],
)
def test_what_the_page_quotes_is_said_by_the_code(words: str, files: list[str]) -> None:
    said = words.replace("{status}", "$status")
    assert said in code(*files)
    assert words.replace("{status}", "Running") in PAGE.text


@pytest.mark.parametrize("ending", ["before_", "new_", "failed_", "rolled_back_"])
def test_names_beside_a_path_are_those_that_an_acceptance_deletes(ending: str) -> None:
    assert f'"{ending}$($Record.run_id)"' in code("modules/restore_record.ps1")
    assert f"PATH.{ending}RUN" in PAGE.text


def test_the_record_that_a_person_writes_is_the_one_that_the_guard_reads() -> None:
    assert '"$RunId.$word.json"' in code("module_utils/undo_restore.ps1")
    assert "in 'committed', 'undone'" in code("module_utils/undo_restore.ps1")
    text = "".join(block.text for block in blocks("powershell"))
    assert r'"$state\restores\$($journal.run_id).undone.json"' in text


def test_the_files_are_put_back_from_where_they_are_in_an_archive() -> None:
    (block,) = [block for block in blocks("powershell") if "$places = @{" in block.text]
    shown = dict(re.findall(r"(?m)^ *(\w+) = '([^']+)'$", block.text))
    assert shown == {key: path.replace("/", "\\") for key, path in _critical_files.ARCHIVE_PATHS.items()}


def test_the_page_and_the_readme_beside_the_archives_have_the_same_order() -> None:
    by_hand = section("4. Restore by hand on the node")
    page = [
        "restore.json",
        "HOLD",
        "Stop-Service",
        ".before_hand",
        "Keys.sddl",
        "emongorestore=",
        "WiredTiger",
        "Start-S",
    ]
    readme = [
        "restore.json",
        "HOLD",
        "Stop AlteryxS",
        ".before_hand",
        "Keys.sddl",
        "emongorestore=",
        "WiredTiger",
        "8. Del",
    ]
    text = _readme.TEXT[_readme.TEXT.index("5. RESTORE\r\n") :]
    assert sorted(page, key=by_hand.index) == page
    assert sorted(readme, key=text.index) == readme


@pytest.mark.skipif(not shutil.which("unzip"), reason="unzip is not installed")
def test_one_file_comes_out_of_an_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / f"{NAME}.zip", "w") as archive:
        for name in ("configuration/RuntimeSettings.xml", "database/AlteryxGallery/users.bson"):
            archive.writestr(name, name)
        archive.writestr("database/AlteryxGallery/users.metadata.json", "{}")
    digest = hashlib.sha256((tmp_path / f"{NAME}.zip").read_bytes()).hexdigest()
    (tmp_path / f"{NAME}.sha256").write_text(f"{digest}  {NAME}.zip\n", encoding="utf-8")
    lines = [
        line for block in blocks("sh") for line in block.text.splitlines() if line.startswith(("sha256sum ", "unzip "))
    ]
    assert len(lines) == 4
    for line in lines:
        done = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    found = {
        str(file.relative_to(tmp_path / "restore")) for file in (tmp_path / "restore").rglob("*") if file.is_file()
    }
    assert found == {
        "configuration/RuntimeSettings.xml",
        "database/AlteryxGallery/users.bson",
        "database/AlteryxGallery/users.metadata.json",
    }

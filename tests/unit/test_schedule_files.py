# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is shipped for schedulers without AWX: the script passes exit codes on and holds a lock, and the files of
systemd, cron and the Task Scheduler are what these programs read."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import string
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.checks import command_lines, sources
from tests.lab import task_definition

FOLDER = sources.ROOT / "extensions" / "schedules"
SCRIPT = FOLDER / "alteryx-backup"
SYSTEMD = sorted(file for file in (FOLDER / "systemd").iterdir() if file.is_file())
OPTIONS = sorted((FOLDER / "systemd").glob("*.service.d/options.conf"))


@dataclass(frozen=True)
class Machine:
    """A home with a folder of backups and a virtual environment whose ansible-playbook is a script."""

    home: Path

    @property
    def folder(self) -> Path:
        """What ALTERYX_BACKUP_HOME names by default."""
        return self.home / "alteryx-backup"

    def program(self, path: str, body: str) -> None:
        """Make an executable script."""
        file = self.home / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        file.chmod(0o755)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start the script as a scheduler does, in a group of processes of its own."""
        return subprocess.Popen(
            [SCRIPT, *arguments],
            cwd="/",
            env={"HOME": str(self.home), "PATH": os.defpath, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # Where the tests run in the background, the signal is ignored, and so it would be here.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )

    def runs(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        """Exit code, what was printed, and what was printed as an error."""
        process = self.start(*arguments, **environment)
        stdout, stderr = process.communicate(timeout=60)
        return process.returncode, stdout, stderr


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    made.folder.mkdir()
    made.program("alteryx/bin/ansible-playbook", 'pwd; echo "$@"; echo "$ALTERYX_NODE_PASSWORD"; exit ${CODE:-0}')
    made.program("alteryx-backup/alert", 'echo "alert $*" > alerted')
    (made.folder / "password.env").write_text("export ALTERYX_NODE_PASSWORD=of-the-nodes\n", encoding="utf-8")
    (made.folder / "password.env").chmod(0o600)
    return made


def test_the_script_runs_a_playbook_of_the_collection_in_its_folder(machine: Machine) -> None:
    code, stdout, stderr = machine.runs("full_backup", "-l", "alteryx_prod")
    assert (code, stderr) == (0, "")
    assert stdout.splitlines() == [
        str(machine.folder),
        "alteryx_ops.server_backup.full_backup -i inventory.yml -l alteryx_prod",
        "of-the-nodes",
    ]
    assert not (machine.folder / "alerted").exists()


@pytest.mark.parametrize("log", ["", "nightly.log"])
def test_the_exit_code_reaches_the_scheduler_and_the_alert(machine: Machine, log: str) -> None:
    code, stdout, stderr = machine.runs("full_backup", CODE="7", ALTERYX_BACKUP_LOG=log)
    assert code == 7
    assert "full_backup ended with code 7" in stderr
    assert (machine.folder / "alerted").read_text(encoding="utf-8") == "alert 7 full_backup\n"
    # With a log, cron has one line to send.
    assert bool(stdout) == (not log)
    assert (machine.folder / "nightly.log").exists() == bool(log)


def test_a_second_run_does_not_begin_before_the_first_has_ended(machine: Machine) -> None:
    with (machine.folder / ".alteryx-backup.full_backup.lock").open("w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, stdout, stderr = machine.runs("full_backup")
        # The alarm looks also while a backup or a verification runs.
        assert machine.runs("list_backups")[0] == 0
    assert (code, stdout) == (8, "")
    assert "the last run of full_backup has not ended yet" in stderr
    assert machine.runs("full_backup")[0] == 0


def test_a_run_that_is_interrupted_says_its_last_words(machine: Machine) -> None:
    machine.program(
        "alteryx/bin/ansible-playbook",
        "trap 'echo the nodes go on; exit 9' INT; echo begun; while :; do sleep 0.1; done",
    )
    process = machine.start("full_backup")
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    os.killpg(process.pid, signal.SIGINT)
    stdout, _stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (9, "the nodes go on\n")
    assert (machine.folder / "alerted").exists()


def test_a_password_that_others_can_read_is_refused(machine: Machine) -> None:
    (machine.folder / "password.env").chmod(0o640)
    code, stdout, stderr = machine.runs("full_backup")
    assert (code, stdout) == (3, "")
    assert "chmod 600 password.env" in stderr


def test_what_cannot_begin_ends_with_the_code_of_wrong_input(machine: Machine) -> None:
    assert machine.runs()[0] == 3
    assert machine.runs("full_backup", ALTERYX_BACKUP_HOME="/nowhere")[0] == 3


# --- systemd --------------------------------------------------------------------------------------------------------


def verified(folder: Path, *files: Path) -> str:
    """What systemd says of unit files, with the script where they look for it."""
    for file in files:
        text = file.read_text(encoding="utf-8").replace("/usr/local/bin/alteryx-backup", str(SCRIPT))
        (folder / file.name).write_text(text, encoding="utf-8")
    for options in OPTIONS:
        shutil.copytree(options.parent, folder / options.parent.name, dirs_exist_ok=True)
    done = subprocess.run(
        ["systemd-analyze", "verify", *(folder / file.name for file in files)],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{folder}:"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return f"{done.returncode} {done.stdout}{done.stderr}".strip()


needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze")


@needs_systemd
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    assert len(SYSTEMD) == 5
    assert verified(tmp_path, *SYSTEMD) == "0"


@needs_systemd
def test_a_planted_wrong_unit_is_found(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    (wrong / "a.timer").write_text("[Timer]\nOnCalendar=every night\n", encoding="utf-8")
    found = verified(tmp_path, wrong / "a.timer")
    assert "every night" in found
    assert not found.startswith("0")


def test_a_timer_has_a_time_that_each_day_has() -> None:
    # Where a clock goes forward, one hour between 00:00 and 04:00 is missing, and systemd leaves the run out.
    texts = [file.read_text(encoding="utf-8") for file in SYSTEMD if file.suffix == ".timer"]
    hours = [int(hour) for text in texts for hour in re.findall(r"(?m)^OnCalendar=.* ([\d,]+):", text)[0].split(",")]
    assert len(hours) >= len(texts) == 4
    assert min(hours) >= 4


def test_every_timer_starts_a_playbook_that_exists() -> None:
    timers = [file.read_text(encoding="utf-8") for file in SYSTEMD if file.suffix == ".timer"]
    started = [match for text in timers for match in re.findall(r"(?m)^Unit=alteryx-backup@(\w+)\.service$", text)]
    assert started == ["list_backups", "database_backup", "full_backup", "verify_backup"]
    assert set(started) <= command_lines.playbooks()


def test_the_options_of_a_unit_are_those_of_its_playbook() -> None:
    (start,) = re.findall(r"(?m)^ExecStart=(.+)$", (FOLDER / "systemd" / "alteryx-backup@.service").read_text("utf-8"))
    assert start.split() == ["/usr/local/bin/alteryx-backup", "%i", "-l", "alteryx_prod", "$OPTIONS"]
    assert len(OPTIONS) == 2
    for file in OPTIONS:
        playbook = re.fullmatch(r"alteryx-backup@(\w+)\.service\.d", file.parent.name)
        # Quoted as a whole: without the quotes, each word would be an assignment of its own.
        (options,) = re.findall(r'(?m)^Environment="OPTIONS=(.+)"$', file.read_text(encoding="utf-8"))
        assert playbook
        words = [f"alteryx_ops.server_backup.{playbook[1]}", "-l", "alteryx_prod", *options.split()]
        assert command_lines.judge(["ansible-playbook", *words]) == []


# --- cron -----------------------------------------------------------------------------------------------------------

_FIELD = r"(?:\*|\d+)(?:,\d+)*"
_SETTING = re.compile(r'(?P<name>[A-Z_]+)=(?P<quote>"?)(?P<value>.*)(?P=quote)')
_LINE = re.compile(rf"#?(?P<when>(?:{_FIELD} ){{5}}) ?(?P<account>\S+)  (?P<command>alteryx-backup .+)")


def cron_lines(text: str) -> list[tuple[list[str], str, list[str]]]:
    """The lines of a file of /etc/cron.d as cron and its shell read them: five fields, account, words of the
    command."""
    found = []
    variables: dict[str, str] = {}
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match:
            command = string.Template(match["command"]).substitute(variables)
            found.append((match["when"].split(), match["account"], command.split()))
        elif setting := _SETTING.fullmatch(line):
            variables[setting["name"]] = setting["value"]
        elif not re.fullmatch(r"(#.*|)", line):
            raise ValueError(f"cron does not read: {line}")
    return found


def test_cron_reads_every_line() -> None:
    lines = cron_lines((FOLDER / "cron" / "alteryx-backup").read_text(encoding="utf-8"))
    assert [words[1] for _when, _account, words in lines] == [
        "full_backup",
        "verify_backup",
        "list_backups",
        "database_backup",
    ]
    for when, account, words in lines:
        highest = (59, 23, 31, 12, 7)
        numbers = [[int(number) for number in re.findall(r"\d+", field)] for field in when]
        assert all(number <= limit for given, limit in zip(numbers, highest, strict=True) for number in given)
        assert account == "alteryx-backup"
        assert command_lines.judge(["ansible-playbook", f"alteryx_ops.server_backup.{words[1]}", *words[2:]]) == []
    # cron leaves out a file whose name has a dot, and cuts a command at %.
    assert "%" not in "".join(word for _when, _account, words in lines for word in words)


def test_a_planted_wrong_line_of_cron_is_found() -> None:
    for wrong in ("0 2 * *  alteryx-backup  alteryx-backup full_backup", "0 2 * * * alteryx-backup full_backup"):
        with pytest.raises(ValueError, match="cron does not read"):
            cron_lines(wrong)


def test_a_line_of_cron_runs(machine: Machine) -> None:
    text = (FOLDER / "cron" / "alteryx-backup").read_text(encoding="utf-8")
    settings = {match["name"]: match["value"] for line in text.splitlines() if (match := _SETTING.fullmatch(line))}
    _when, _account, words = cron_lines(text)[0]
    # As cron does it: in the home of the account, by SHELL, with these settings and no others.
    done = subprocess.run(
        [settings.pop("SHELL"), "-c", " ".join(words)],
        cwd=machine.home,
        env={"HOME": str(machine.home), **settings, "PATH": f"{FOLDER}:{settings['PATH']}", "CODE": "5"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr == "alteryx-backup: full_backup ended with code 5; see nightly.log\n"


# --- Windows --------------------------------------------------------------------------------------------------------


def test_the_task_scheduler_of_the_lab_takes_the_task() -> None:
    raw = (FOLDER / "windows" / "full-backup-task.xml").read_bytes()
    # The lab knows no account of people; one that Windows manages takes the place.
    text = raw.decode("utf-8").partition("?>")[2].replace(r"EXAMPLE\alteryx-backup<", r"EXAMPLE\alteryx$<")
    task = task_definition.read(text, r"\Alteryx full backup")
    (action,) = task.actions
    command, _ending, arguments = action.command_line().partition(".cmd")
    assert command.endswith("alteryx-backup")
    words = arguments.strip('" ').split()
    assert command_lines.judge(["ansible-playbook", f"alteryx_ops.server_backup.{words[0]}", *words[1:]]) == []
    # Neither ends a run that takes long, nor begins one beside it.
    assert (task.time_limit, task.instances) == (None, "IgnoreNew")


@pytest.mark.parametrize("name", ["alteryx-backup.cmd", "old-batch.cmd"])
def test_a_batch_file_is_one_that_cmd_reads(name: str) -> None:
    raw = (FOLDER / "windows" / name).read_bytes()
    # cmd finds labels and calls wrongly in files without carriage returns, and reads bytes of the code page.
    assert raw.isascii()
    assert raw.count(b"\n") == raw.count(b"\r\n") > 5
    text = raw.decode("ascii")
    assert re.search(r"exit /b %(ERRORLEVEL|code)%\r\n$", text)
    for words in re.findall(r'alteryx-backup\.cmd" (.+)\r', text):
        playbook, *options = words.split()
        assert command_lines.judge(["ansible-playbook", f"alteryx_ops.server_backup.{playbook}", *options]) == []

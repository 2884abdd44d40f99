# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Task Scheduler's triggers, instances and memory, and what schtasks.exe says about them."""

from __future__ import annotations

import base64
import datetime
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.lab.daemon import free_ports
from tests.lab.executor import CommandOutput
from tests.lab.schtasks import Answer, Call, Listener, answer
from tests.lab.task_definition import TaskRefused
from tests.lab.task_scheduler import RESULT_TERMINATED, TaskScheduler, behaviour_reader, expand, task_path
from tests.unit.lab.test_task_definition import task


@dataclass
class Running:
    """A process of a task that runs until it is told to end."""

    line: str
    environment: Mapping[str, str]
    output: CommandOutput

    def write(self, data: bytes, *, end: bool, timeout: float) -> None:
        pass

    def kill_tree(self) -> None:
        self.output.finish(1)


@dataclass
class FakeNode:
    """An executor whose processes do nothing; those with ``quick`` in their line end at once."""

    started: list[Running] = field(default_factory=list)

    def start(
        self,
        command_line: str,
        *,
        user: str,
        environment: Mapping[str, str],
        working_directory: str | None,
        output: CommandOutput,
    ) -> Running:
        del user, working_directory
        running = Running(command_line, environment, output)
        self.started.append(running)
        if "quick" in command_line:
            output.finish(0)
        return running


@dataclass
class Lab:
    """A scheduler and its node."""

    folder: Path
    node: FakeNode = field(default_factory=FakeNode)
    behaviour: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.scheduler = self.boot()

    def boot(self) -> TaskScheduler:
        """A new scheduler on the same disk."""
        scheduler = TaskScheduler(
            self.node,
            path=lambda path: self.folder / path[3:].replace("\\", "/"),
            state_file=self.folder / "state.json",
            behaviour=lambda: self.behaviour,
        )
        scheduler.start()
        return scheduler

    def reboot(self) -> None:
        self.scheduler.stop()
        self.scheduler = self.boot()

    def call(self, *argv: str, xml: str | None = None, administrator: bool = True) -> Answer:
        raw = None if xml is None else xml.encode("utf-16")
        return answer(
            self.scheduler,
            lambda: self.behaviour,
            Call(argv, administrator=administrator, xml=raw, xml_error=0 if raw else 2),
        )

    def create(
        self, name: str, *extra: str, command: str = "long", arguments: str = "", triggers: str = "", settings: str = ""
    ) -> Answer:
        actions = f"<Actions><Exec><Command>{command}</Command><Arguments>{arguments}</Arguments></Exec></Actions>"
        return self.call(
            "/Create",
            "/TN",
            name,
            "/XML",
            "C:\\t.xml",
            *extra,
            xml=task(actions=actions, triggers=triggers, settings=settings),
        )


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    lab.scheduler.stop()


def until(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Wait for something."""
    limit = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > limit:
            return False
        time.sleep(0.01)
    return True


def every_minute(begin: str = "2026-01-01T00:00:00") -> str:
    return (
        f"<TimeTrigger><StartBoundary>{begin}</StartBoundary>"
        "<Repetition><Interval>PT1M</Interval></Repetition></TimeTrigger>"
    )


def test_a_task_is_created_once_and_replaced_on_request(lab: Lab) -> None:
    assert lab.create("\\AlteryxOps\\x").rc == 0
    refused = lab.create("\\alteryxops\\X")
    assert (refused.rc, refused.stderr) == (1, "ERROR: Cannot create a file when that file already exists.\r\n")
    assert lab.create("\\AlteryxOps\\x", "/F", command="other").rc == 0
    assert "<Command>other<" in lab.call("/Query", "/TN", "\\AlteryxOps\\x", "/XML").stdout


def test_a_task_that_was_refused_is_not_there(lab: Lab) -> None:
    assert lab.create("x", settings="<Foo/>").rc == 1
    assert lab.call("/Query", "/TN", "x").rc == 1


def test_the_definition_lies_on_the_nodes_disk_as_utf_16(lab: Lab) -> None:
    lab.create("\\AlteryxOps\\x")
    raw = (lab.folder / "Windows/System32/Tasks/AlteryxOps/x").read_bytes()
    assert raw.startswith(b"\xff\xfe")
    assert raw.decode("utf-16").startswith('<?xml version="1.0" encoding="UTF-16"?>')


def test_a_task_runs_as_system_and_is_ended(lab: Lab) -> None:
    lab.create("x", arguments="%windir%\\y")
    assert lab.call("/Run", "/TN", "\\x").rc == 0
    assert until(lambda: len(lab.node.started) == 1)
    assert lab.node.started[0].line == "long C:\\Windows\\y"
    assert lab.node.started[0].environment["LAB_ACCOUNT"] == "S-1-5-18"
    assert '"Running"' in lab.call("/Query", "/TN", "x", "/FO", "CSV", "/NH").stdout
    assert lab.call("/End", "/TN", "x").rc == 0
    assert until(lambda: lab.scheduler.status("x") == "Ready")
    assert lab.scheduler.history("x").last_result == RESULT_TERMINATED


def test_a_second_instance_is_not_started(lab: Lab) -> None:
    lab.create("x")
    first, second = lab.call("/Run", "/TN", "x"), lab.call("/Run", "/TN", "x")
    assert (first.rc, second.rc) == (0, 0)
    assert "INFO" in second.stdout
    assert until(lambda: len(lab.node.started) == 1)
    assert lab.scheduler.history("x").missed == 1


@pytest.mark.parametrize(("policy", "count"), [("Parallel", 2), ("StopExisting", 2), ("Queue", 1)])
def test_other_policies(lab: Lab, policy: str, count: int) -> None:
    lab.create("x", settings=f"<MultipleInstancesPolicy>{policy}</MultipleInstancesPolicy>")
    lab.call("/Run", "/TN", "x")
    assert until(lambda: len(lab.node.started) == 1)
    lab.call("/Run", "/TN", "x")
    assert until(lambda: len(lab.node.started) == count)
    assert until(lambda: lab.node.started[0].output.finished == (policy == "StopExisting"))
    if policy == "Queue":
        lab.node.started[0].output.finish(0)
        assert until(lambda: len(lab.node.started) == 2)


def test_the_time_limit_ends_an_instance(lab: Lab) -> None:
    lab.create("x", settings="<ExecutionTimeLimit>PT1S</ExecutionTimeLimit>")
    lab.call("/Run", "/TN", "x")
    assert until(lambda: bool(lab.node.started) and lab.node.started[0].output.finished)
    assert until(lambda: lab.scheduler.history("x").last_result == RESULT_TERMINATED)


def test_a_disabled_task_does_not_run(lab: Lab) -> None:
    lab.create("x", settings="<Enabled>false</Enabled>")
    assert lab.call("/Run", "/TN", "x").rc == 1
    assert not lab.node.started


def test_every_minute_however_long_a_minute_is(lab: Lab) -> None:
    lab.scheduler.set_minute(0.1)
    lab.create("x", command="quick", triggers=every_minute())
    assert until(lambda: len(lab.node.started) >= 3)
    assert lab.scheduler.next_run("x") is not None


def test_registering_makes_up_for_nothing(lab: Lab) -> None:
    lab.scheduler.set_minute(3600)
    lab.create("x", command="quick", triggers=every_minute())
    time.sleep(0.1)
    assert not lab.node.started


def test_a_time_that_comes(lab: Lab) -> None:
    soon = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    lab.create("x", command="quick", triggers=f"<TimeTrigger><StartBoundary>{soon}</StartBoundary></TimeTrigger>")
    assert until(lambda: len(lab.node.started) == 1)
    time.sleep(0.1)
    assert len(lab.node.started) == 1
    assert lab.scheduler.next_run("x") is None


def test_the_boot_trigger_fires_at_boot_and_only_then(lab: Lab) -> None:
    lab.create("\\AlteryxOps\\x", command="quick", triggers="<BootTrigger/>")
    time.sleep(0.05)
    assert not lab.node.started
    lab.reboot()
    assert until(lambda: len(lab.node.started) == 1)
    lab.reboot()
    assert until(lambda: len(lab.node.started) == 2)
    assert lab.scheduler.history("\\AlteryxOps\\x").runs == 2


def test_going_down_ends_what_runs(lab: Lab) -> None:
    lab.create("x")
    lab.call("/Run", "/TN", "x")
    assert until(lambda: len(lab.node.started) == 1)
    lab.scheduler.stop()
    assert until(lambda: lab.node.started[0].output.finished)


def test_a_deleted_task_stays_away(lab: Lab) -> None:
    lab.create("x", triggers="<BootTrigger/>")
    assert lab.call("/Delete", "/TN", "x", "/F").rc == 0
    assert lab.call("/Delete", "/TN", "x", "/F").rc == 1
    lab.reboot()
    assert lab.scheduler.names() == []
    assert not (lab.folder / "Windows/System32/Tasks/x").exists()


def test_without_f_nothing_is_deleted(lab: Lab) -> None:
    lab.create("x")
    assert lab.call("/Delete", "/TN", "x").rc == 1
    assert lab.scheduler.names() == ["\\x"]


def test_it_can_be_told_to_misbehave(lab: Lab) -> None:
    lab.create("x")
    lab.behaviour["schtasks"] = "never_run"
    assert lab.call("/Run", "/TN", "x").rc == 0
    assert not lab.node.started
    lab.behaviour["schtasks"] = "deny"
    assert lab.create("y").stderr == "ERROR: Access is denied.\r\n"
    lab.behaviour.clear()
    lab.behaviour["account"] = "S-1-5-20"
    lab.call("/Run", "/TN", "x")
    assert until(lambda: bool(lab.node.started))
    assert lab.node.started[0].environment["LAB_ACCOUNT"] == "S-1-5-20"


def test_the_exit_code_says_why_where_it_is_asked_for(lab: Lab) -> None:
    assert lab.create("\\A\\x", "/HRESULT").rc == 0
    assert lab.create("\\a\\X", "/HRESULT").rc == 0x800700B7
    assert lab.create("y", "/HRESULT", settings="<Foo/>").rc == 0x80041316
    assert lab.call("/Query", "/TN", "\\A\\x", "/XML", "/HRESULT").rc == 0
    for verb in ("/Query", "/Run", "/End", "/Delete"):
        assert lab.call(verb, "/TN", "\\A\\y", "/HRESULT").rc == 0x80070002
        assert lab.call(verb, "/TN", "y", "/HRESULT").rc == 0x80070002
        assert lab.call(verb, "/TN", "\\B\\y", "/HRESULT").rc == 0x80070003
    assert lab.call("/Run", "/TN", "\\A\\x", "/HRESULT", administrator=False).rc == 0x80070005
    assert lab.call("/Run", "/HRESULT").rc == 0x80070057
    lab.call("/Delete", "/TN", "\\A\\x", "/F")
    assert lab.call("/Query", "/TN", "\\A\\x", "/HRESULT").rc == 0x80070002


def test_a_service_that_does_not_answer(lab: Lab) -> None:
    lab.scheduler.set_minute(0.1)
    lab.create("x", command="quick", triggers=every_minute())
    lab.behaviour["schtasks"] = "rpc_error"
    said = lab.call("/Query", "/TN", "x")
    assert (said.rc, said.stderr) == (1, "ERROR: The RPC server is unavailable.\r\n")
    for argv in (("/Query",), ("/Run", "/TN", "x"), ("/Delete", "/TN", "x", "/F"), ("/Foo",)):
        assert lab.call(*argv, "/HRESULT").rc == 0x800706BA
    count = len(lab.node.started)
    assert until(lambda: len(lab.node.started) > count)
    assert lab.scheduler.names() == ["\\x"]


def test_a_call_that_hangs_does_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.create("x")
    lab.behaviour["schtasks"] = "hang"
    monkeypatch.setattr("tests.lab.schtasks._HANG_SECONDS", 0.3)
    begun = time.monotonic()
    assert lab.call("/Delete", "/TN", "x", "/F", "/HRESULT").rc == 0x800706BA
    assert time.monotonic() - begun >= 0.3
    monkeypatch.undo()
    threading.Timer(0.2, lab.behaviour.clear).start()
    assert lab.call("/Run", "/TN", "x").rc == 1
    assert lab.scheduler.names() == ["\\x"]
    assert not lab.node.started


def test_others_than_administrators_may_nothing(lab: Lab) -> None:
    lab.create("x")
    for argv in (
        ("/Run", "/TN", "x"),
        ("/End", "/TN", "x"),
        ("/Delete", "/TN", "x", "/F"),
        ("/Query", "/TN", "x"),
        ("/Query", "/TN", "x", "/XML"),
    ):
        assert lab.call(*argv, administrator=False).rc == 1
    assert (
        lab.call("/Create", "/TN", "y", "/XML", "f", xml=task(), administrator=False).stderr
        == "ERROR: Access is denied.\r\n"
    )


@pytest.mark.parametrize(
    "argv",
    [
        (),
        ("/Foo",),
        ("/Run",),
        ("/Run", "/TN"),
        ("/Run", "/TN", "nope"),
        ("/Query", "/TN", "nope"),
        ("/Query", "/FO", "HTML"),
        ("/Create", "/TN", "x"),
        ("/Create", "/TN", "x", "/XML", "missing.xml"),
        ("/Run", "/TN", "x", "/Foo"),
        ("/Run", "/TN", "x", "/TN", "x"),
        ("/Run", "/TN", "a<b"),
        ("/End", "/TN", "nope"),
        ("/Delete", "/TN", "nope", "/F"),
    ],
)
def test_what_cannot_be_done_says_so_on_standard_error(lab: Lab, argv: tuple[str, ...]) -> None:
    said = lab.call(*argv)
    assert (said.rc, said.stdout) == (1, "")
    assert said.stderr.startswith("ERROR: ")


def test_queries(lab: Lab) -> None:
    assert lab.call("/Query").stdout.startswith("INFO: ")
    lab.create("\\A\\x")
    lab.create("\\B\\y")
    assert lab.call("/Query", "/FO", "CSV").stdout.splitlines()[0] == '"TaskName","Next Run Time","Status"'
    assert lab.call("/Query", "/TN", "\\A\\", "/FO", "CSV", "/NH").stdout == '"\\A\\x","N/A","Ready"\r\n'
    assert lab.call("/Query", "/XML", "ONE").stdout.count("<Task ") == 2
    assert "Last Result:" in lab.call("/Query", "/TN", "\\A\\x", "/V", "/FO", "LIST").stdout
    assert "TaskName" in lab.call("/Query").stdout


@pytest.mark.parametrize(("name", "path"), [("x", "\\x"), ("\\A\\x", "\\A\\x"), ("A\\x\\", "\\A\\x")])
def test_names(name: str, path: str) -> None:
    assert task_path(name) == path


@pytest.mark.parametrize("name", ["", "\\", "a\\..\\b", "a:b", "a\\\\b", "x" * 300])
def test_no_names(name: str) -> None:
    with pytest.raises(TaskRefused):
        task_path(name)


def test_variables_and_behaviour_file(tmp_path: Path) -> None:
    assert expand("%WinDir%\\x %NOPE%") == "C:\\Windows\\x %NOPE%"
    file = tmp_path / "behaviour.ini"
    read = behaviour_reader(file)
    assert read() == {}
    file.write_text("schtasks = deny\r\n; note\r\nAccount=x\r\n", encoding="ascii")
    assert read() == {"schtasks": "deny", "account": "x"}


def test_the_line_protocol_of_schtasks_exe(lab: Lab) -> None:
    port = next(free_ports())
    listener = Listener(port, lambda call: answer(lab.scheduler, dict, call))

    def ask(request: bytes) -> dict[str, object]:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(request + b"\n")
            reply: dict[str, object] = json.loads(connection.makefile("rb").read())
        return reply

    try:
        request = {
            "argv": ["/Create", "/TN", "x", "/XML", "f"],
            "cwd": "C:\\",
            "account": "",
            "administrator": True,
            "xml_base64": base64.b64encode(task().encode("utf-16")).decode(),
            "xml_error": 0,
        }
        assert ask(json.dumps(request).encode())["rc"] == 0
        assert (
            ask(json.dumps({**request, "xml_base64": None, "xml_error": 5}).encode())["stderr"]
            == "ERROR: Access is denied.\r\n"
        )
        assert ask(b"nonsense")["rc"] == 1
    finally:
        listener.close()

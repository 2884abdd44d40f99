# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which task definitions the double takes, and what it fills in."""

from __future__ import annotations

import pytest

from tests.lab.task_definition import TaskDefinition, TaskRefused, decode, duration_seconds, read

NAMESPACE = "http://schemas.microsoft.com/windows/2004/02/mit/task"
PRINCIPAL = (
    '<Principals><Principal id="Author"><UserId>S-1-5-18</UserId>'
    "<RunLevel>HighestAvailable</RunLevel></Principal></Principals>"
)
EXEC = '<Actions Context="Author"><Exec><Command>cmd.exe</Command></Exec></Actions>'


def task(
    *,
    triggers: str = "",
    settings: str = "",
    principals: str = PRINCIPAL,
    actions: str = EXEC,
    head: str = f'version="1.2" xmlns="{NAMESPACE}"',
    extra: str = "",
) -> str:
    """A definition, complete but for what a test changes."""
    return (
        f"<Task {head}><Triggers>{triggers}</Triggers>{principals}"
        f"<Settings>{settings}</Settings>{actions}{extra}</Task>"
    )


def taken(text: str) -> TaskDefinition:
    return read(text, "\\x")


def test_windows_defaults_are_filled_in_and_shown() -> None:
    definition = taken(task())
    assert definition.settings["ExecutionTimeLimit"] == "PT72H"
    assert definition.time_limit == 72 * 3600
    assert definition.instances == "IgnoreNew"
    for shown in (
        "<DisallowStartIfOnBatteries>true<",
        "<StartWhenAvailable>false<",
        "<Priority>7<",
        "<Enabled>true<",
        "<URI>\\x<",
    ):
        assert shown in definition.text()


def test_what_is_given_stays() -> None:
    definition = taken(
        task(
            settings="<ExecutionTimeLimit>PT0S</ExecutionTimeLimit><Priority>4</Priority>"
            "<StartWhenAvailable>true</StartWhenAvailable>"
        )
    )
    assert definition.time_limit is None
    assert definition.flag("StartWhenAvailable")
    assert definition.settings["Priority"] == "4"
    assert definition.text().count("<Priority>") == 1


def test_what_was_registered_reads_back_the_same() -> None:
    definition = taken(task(triggers="<BootTrigger><Enabled>true</Enabled></BootTrigger>"))
    again = read(decode(definition.file()), "\\x")
    assert (again.settings, again.triggers, again.actions) == (
        definition.settings,
        definition.triggers,
        definition.actions,
    )


@pytest.mark.parametrize(
    "order",
    [
        (
            "<Enabled>true</Enabled><StartBoundary>2026-01-01T00:00:00</StartBoundary>"
            "<Repetition><Interval>PT1M</Interval></Repetition>"
        ),
        (
            "<Repetition><Interval>PT1M</Interval></Repetition>"
            "<StartBoundary>2026-01-01T00:00:00</StartBoundary><Enabled>true</Enabled>"
        ),
    ],
)
def test_both_orders_windows_itself_uses_are_taken(order: str) -> None:
    trigger = taken(task(triggers=f"<TimeTrigger>{order}</TimeTrigger>")).triggers[0]
    assert trigger.repetition is not None
    assert trigger.repetition.interval == 60


BOUNDARY = "<StartBoundary>2026-01-01T00:00:00</StartBoundary>"
REFUSED = {
    "no namespace": task(head='version="1.2"'),
    "another namespace": task(head='version="1.2" xmlns="urn:x"'),
    "unknown version": task(head=f'version="9.0" xmlns="{NAMESPACE}"'),
    "not well-formed": task() + "<",
    "a document type": "<!DOCTYPE Task []>" + task(),
    "unknown part": task(extra="<Foo/>"),
    "a part twice": task(extra=EXEC),
    "unknown setting": task(settings="<Foo>true</Foo>"),
    "setting twice": task(settings="<Priority>4</Priority><Priority>4</Priority>"),
    "wrong case": task(settings="<priority>4</priority>"),
    "text between": task(settings="hello"),
    "bad boolean": task(settings="<Hidden>True</Hidden>"),
    "bad duration": task(settings="<ExecutionTimeLimit>5m</ExecutionTimeLimit>"),
    "priority out of range": task(settings="<Priority>11</Priority>"),
    "bad policy": task(settings="<MultipleInstancesPolicy>Ignore</MultipleInstancesPolicy>"),
    "setting of a later version": task(settings="<UseUnifiedSchedulingEngine>true</UseUnifiedSchedulingEngine>"),
    "deleted after expiry without an end": task(settings="<DeleteExpiredTaskAfter>PT1H</DeleteExpiredTaskAfter>"),
    "interval under a minute": task(
        triggers=f"<TimeTrigger>{BOUNDARY}<Repetition><Interval>PT30S</Interval></Repetition></TimeTrigger>"
    ),
    "interval over 31 days": task(
        triggers=f"<TimeTrigger>{BOUNDARY}<Repetition><Interval>P32D</Interval></Repetition></TimeTrigger>"
    ),
    "duration under the interval": task(
        triggers=f"<TimeTrigger>{BOUNDARY}"
        "<Repetition><Interval>PT5M</Interval><Duration>PT1M</Duration></Repetition></TimeTrigger>"
    ),
    "repetition without interval": task(triggers=f"<TimeTrigger>{BOUNDARY}<Repetition/></TimeTrigger>"),
    "time trigger without start": task(triggers="<TimeTrigger><Enabled>true</Enabled></TimeTrigger>"),
    "trigger out of order": task(
        triggers=f"<TimeTrigger>{BOUNDARY}"
        "<Repetition><Interval>PT1M</Interval></Repetition><Enabled>true</Enabled></TimeTrigger>"
    ),
    "bad date": task(triggers="<TimeTrigger><StartBoundary>01.01.2026</StartBoundary></TimeTrigger>"),
    "unknown trigger": task(triggers="<FooTrigger/>"),
    "no action": task(actions="<Actions/>"),
    "no command": task(actions="<Actions><Exec><Arguments>x</Arguments></Exec></Actions>"),
    "empty command": task(actions="<Actions><Exec><Command></Command></Exec></Actions>"),
    "context of nobody": task(actions='<Actions Context="Other"><Exec><Command>x</Command></Exec></Actions>'),
    "no principal": task(principals=""),
    "principal without user": task(principals='<Principals><Principal id="Author"/></Principals>'),
    "unknown user": task(
        principals='<Principals><Principal id="Author"><UserId>nobody</UserId></Principal></Principals>'
    ),
    "managed account without its log-on": task(
        principals='<Principals><Principal id="Author"><UserId>D\\gmsa$</UserId></Principal></Principals>'
    ),
    "bad log-on": task(
        principals='<Principals><Principal id="Author"><UserId>S-1-5-18</UserId>'
        "<LogonType>ServiceAccount</LogonType></Principal></Principals>"
    ),
    "bad run level": task(
        principals='<Principals><Principal id="Author"><UserId>S-1-5-18</UserId>'
        "<RunLevel>Highest</RunLevel></Principal></Principals>"
    ),
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_what_windows_refuses_is_refused(text: str) -> None:
    with pytest.raises(TaskRefused):
        taken(text)


@pytest.mark.parametrize(
    "raw",
    [
        task().encode(),
        f'<?xml version="1.0" encoding="UTF-16"?>{task()}'.encode(),
        f'<?xml version="1.0" encoding="UTF-16"?>{task()}'.encode("utf-16-le"),
        f'<?xml version="1.0" encoding="UTF-8"?>{task()}'.encode("utf-16"),
        b"\xff\xfe<",
    ],
    ids=["UTF-8", "UTF-8 that says UTF-16", "no byte order mark", "UTF-16 that says UTF-8", "half a character"],
)
def test_another_encoding_is_refused(raw: bytes) -> None:
    with pytest.raises(TaskRefused, match="malformed"):
        decode(raw)


@pytest.mark.parametrize(
    "raw", [task().encode("utf-16"), f'<?xml version="1.0" encoding="utf-16"?>\r\n{task()}'.encode("utf-16")]
)
def test_utf_16_with_its_mark_is_taken(raw: bytes) -> None:
    assert taken(decode(raw)).user_id == "S-1-5-18"


@pytest.mark.parametrize(("text", "seconds"), [("PT0S", 0), ("PT1M", 60), ("P1DT2H", 93600), ("PT1.5S", 1.5)])
def test_durations(text: str, seconds: float) -> None:
    assert duration_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "P", "PT", "P1DT", "1M", "PT-1S", "PT1X"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        duration_seconds(text)


def test_a_command_with_spaces_is_quoted_once() -> None:
    lines = [
        taken(task(actions=f"<Actions><Exec><Command>{command}</Command><Arguments>/a</Arguments></Exec></Actions>"))
        .actions[0]
        .command_line()
        for command in ("C:\\a b\\c.exe", '"C:\\a b\\c.exe"', "c.exe")
    ]
    assert lines == ['"C:\\a b\\c.exe" /a', '"C:\\a b\\c.exe" /a', "c.exe /a"]

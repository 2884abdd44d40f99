# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Task XML as Windows' Task Scheduler reads it: what is refused, what is filled in, what it means.

From the published schema [MS-TSCH] 2.5. Where Windows is known to be more lenient than its schema (it takes a trigger's
elements in any order), the schema holds: what passes here passes there.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar
from xml.etree.ElementTree import Element, ParseError, SubElement, indent, register_namespace, tostring

import defusedxml
from defusedxml.ElementTree import fromstring

NAMESPACE = "http://schemas.microsoft.com/windows/2004/02/mit/task"
_DECLARATION = re.compile(r"<\?xml\s[^>]*?\?>")
_ENCODING = re.compile(r"encoding\s*=\s*[\"']([^\"']*)[\"']")
register_namespace("", NAMESPACE)

MALFORMED = "The task XML is malformed."
UNEXPECTED = "The task XML contains an unexpected node."
MISSING = "The task XML is missing a required element or attribute."
OUT_OF_RANGE = "The task XML contains a value which is incorrectly formatted or out of range."
NOT_IN_LAB = "The lab's Task Scheduler does not know this."

_MINUTE = 60.0
_LONGEST_INTERVAL = 31 * 86400.0


class TaskRefused(Exception):
    """A definition that Windows would not register, in its words (without the position, which it also prints)."""

    def __init__(self, reason: str, place: str = "") -> None:
        super().__init__(f"{reason}\r\n{place}" if place else reason)


@dataclass(frozen=True)
class Repetition:
    """How often a trigger fires again, in seconds; no duration: for ever."""

    interval: float
    duration: float | None


@dataclass(frozen=True)
class Boundary:
    """Where a trigger begins or ends: unix time, or, where the text names no zone, seconds since 1970 of the
    clock on the node's wall."""

    seconds: float
    local: bool


@dataclass(frozen=True)
class Trigger:
    """One trigger."""

    kind: str
    enabled: bool
    start: Boundary | None
    end: Boundary | None
    repetition: Repetition | None
    delay: float
    days: int = 1  # CalendarTrigger: every so many days


@dataclass(frozen=True)
class ExecAction:
    """A program to start."""

    command: str
    arguments: str
    working_directory: str

    def command_line(self) -> str:
        """Program and arguments as CreateProcess takes them."""
        quoted = self.command if self.command.startswith('"') or " " not in self.command else f'"{self.command}"'
        return f"{quoted} {self.arguments}".rstrip()


@dataclass(frozen=True)
class TaskDefinition:
    """A registered task."""

    xml: str  # complete, with the defaults, without declaration
    triggers: tuple[Trigger, ...]
    actions: tuple[ExecAction, ...]
    user_id: str
    settings: Mapping[str, str]

    @property
    def enabled(self) -> bool:
        """Whether it may run at all."""
        return _boolean(self.settings["Enabled"])

    @property
    def time_limit(self) -> float | None:
        """Seconds an instance may run; None: no limit."""
        return duration_seconds(self.settings["ExecutionTimeLimit"]) or None

    @property
    def instances(self) -> str:
        """Parallel, Queue, IgnoreNew or StopExisting."""
        return self.settings["MultipleInstancesPolicy"]

    def flag(self, name: str) -> bool:
        """A boolean setting."""
        return _boolean(self.settings[name])

    def file(self) -> bytes:
        """The definition, as in system32\\Tasks and as /Query /XML prints it."""
        return b"\xff\xfe" + self.text().encode("utf-16-le")

    def text(self) -> str:
        """The definition with its XML declaration."""
        return f'<?xml version="1.0" encoding="UTF-16"?>\r\n{self.xml}\r\n'


def decode(raw: bytes) -> str:
    """The text of a task file: UTF-16 with byte order mark, and saying so.

    Raises:
        TaskRefused: any other encoding. (Windows also takes files that are UTF-8 and say UTF-8; this
            project never writes them.)
    """
    if not raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise TaskRefused(MALFORMED, "(1,40)::ERROR: unable to switch the encoding")
    try:
        text = raw.decode("utf-16")
    except UnicodeDecodeError as error:
        raise TaskRefused(MALFORMED, f"(1,1)::ERROR: {error.reason}") from error
    declaration = _DECLARATION.match(text)
    named = _ENCODING.search(declaration.group()) if declaration else None
    if named and named.group(1).casefold() != "utf-16":
        raise TaskRefused(MALFORMED, "(1,40)::ERROR: unable to switch the encoding")
    return text[declaration.end() :] if declaration else text


def read(text: str, uri: str) -> TaskDefinition:
    """Check a definition and fill in what Windows fills in.

    Args:
        text: the XML, without declaration.
        uri: the task's full name.

    Raises:
        TaskRefused: Windows would not register it.
    """
    try:
        root = fromstring(text, forbid_dtd=True)
    except (ParseError, defusedxml.DefusedXmlException, ValueError) as error:
        raise TaskRefused(MALFORMED, f"(1,1)::ERROR: {error}") from error
    if root.tag != _name("Task"):
        raise TaskRefused(UNEXPECTED, f":{_local(root)}:")
    version = _version(root)
    parts = _children(root, {"RegistrationInfo", "Triggers", "Settings", "Data", "Principals", "Actions"})
    _complete_registration(root, parts.get("RegistrationInfo"), uri)
    triggers = tuple(_trigger(element) for element in parts["Triggers"]) if "Triggers" in parts else ()
    settings = _complete_settings(root, parts.get("Settings"), version)
    principal_id, user_id = _principal(parts.get("Principals"))
    actions = _actions(parts.get("Actions"), principal_id)
    if "DeleteExpiredTaskAfter" in settings and not any(trigger.end for trigger in triggers):
        raise TaskRefused(MISSING, ":EndBoundary:")
    indent(root, "  ")
    xml = tostring(root, encoding="unicode").replace("\n", "\r\n")
    return TaskDefinition(xml, triggers, actions, user_id, settings)


def duration_seconds(text: str) -> float:
    """Seconds of an ISO 8601 duration; months count 30 days, years 365, as Windows counts them.

    Raises:
        ValueError: not a duration.
    """
    match = re.fullmatch(r"P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?", text)
    if not match or not any(match.groups()) or text.endswith("T"):
        raise ValueError(f"not a duration: {text}")
    return sum(
        float(group or 0) * unit
        for group, unit in zip(match.groups(), (365 * 86400, 30 * 86400, 86400, 3600, 60, 1), strict=True)
    )


# ---- the parts of a definition


def _version(root: Element) -> tuple[int, int]:
    _attributes(root, {"version"})
    text = root.get("version", "1.2")
    if not re.fullmatch(r"1\.[1-6]", text):
        raise TaskRefused(OUT_OF_RANGE, f":version:{text}")
    return 1, int(text[2:])


def _complete_registration(root: Element, given: Element | None, uri: str) -> None:
    info = given if given is not None else Element(_name("RegistrationInfo"))
    if given is None:
        root.insert(0, info)
    parts = _children(
        info, {"URI", "SecurityDescriptor", "Source", "Date", "Author", "Version", "Description", "Documentation"}
    )
    if "Date" in parts:
        _checked(parts["Date"], _boundary)
    named = parts["URI"] if "URI" in parts else SubElement(info, _name("URI"))
    named.text = uri


def _trigger(element: Element) -> Trigger:
    kind = _local(element)
    if kind not in _TRIGGERS:
        unknown = kind not in {"IdleTrigger", "EventTrigger", "SessionStateChangeTrigger"}
        raise TaskRefused(UNEXPECTED if unknown else NOT_IN_LAB, f":{kind}:")
    _attributes(element, {"id"})
    parts = _trigger_parts(element, _TRIGGERS[kind])
    start = _checked(parts["StartBoundary"], _boundary) if "StartBoundary" in parts else None
    if kind in ("TimeTrigger", "CalendarTrigger") and start is None:
        raise TaskRefused(MISSING, f":{kind}:StartBoundary:")
    for name in ("ExecutionTimeLimit", "RandomDelay"):
        if name in parts:
            _checked(parts[name], duration_seconds)
    days = 1
    if kind == "CalendarTrigger":
        if "ScheduleByDay" not in parts:
            raise TaskRefused(MISSING if len(parts) == 1 else NOT_IN_LAB, ":CalendarTrigger:")
        by_day = _children(parts["ScheduleByDay"], {"DaysInterval"})
        days = _checked(by_day["DaysInterval"], _integer_in(1, 365)) if "DaysInterval" in by_day else 1
    return Trigger(
        kind=kind,
        enabled=_checked(parts["Enabled"], _boolean) if "Enabled" in parts else True,
        start=start,
        end=_checked(parts["EndBoundary"], _boundary) if "EndBoundary" in parts else None,
        repetition=_repetition(parts["Repetition"]) if "Repetition" in parts else None,
        delay=_checked(parts["Delay"], duration_seconds) if "Delay" in parts else 0.0,
        days=days,
    )


# What a kind of trigger has beyond the common elements.
_TRIGGERS = {
    "BootTrigger": ("Delay",),
    "RegistrationTrigger": ("Delay",),
    "LogonTrigger": ("UserId", "Delay"),
    "TimeTrigger": ("RandomDelay",),
    "CalendarTrigger": (
        "RandomDelay",
        "ScheduleByDay",
        "ScheduleByWeek",
        "ScheduleByMonth",
        "ScheduleByMonthDayOfWeek",
    ),
}
_SCHEMA_ORDER = ("Enabled", "StartBoundary", "EndBoundary", "Repetition", "ExecutionTimeLimit")
_EXPORT_ORDER = (
    "Repetition",
    "StartBoundary",
    "EndBoundary",
    "ExecutionTimeLimit",
    "Enabled",
)  # what Windows itself writes


def _trigger_parts(element: Element, own: tuple[str, ...]) -> dict[str, Element]:
    parts = _children(element, {*_SCHEMA_ORDER, *own})
    names = list(parts)
    for order in (_SCHEMA_ORDER + own, _EXPORT_ORDER + own):
        if names == [name for name in order if name in parts]:
            return parts
    raise TaskRefused(UNEXPECTED, f":{_local(element)}: elements out of order: {', '.join(names)}")


def _repetition(element: Element) -> Repetition:
    parts = _children(element, {"Interval", "Duration", "StopAtDurationEnd"})
    if "Interval" not in parts:
        raise TaskRefused(MISSING, ":Interval:")
    interval = _checked(parts["Interval"], _duration_in(_MINUTE, _LONGEST_INTERVAL))
    duration = _checked(parts["Duration"], _duration_in(_MINUTE, None)) if "Duration" in parts else None
    if duration is not None and duration < interval:
        raise TaskRefused(OUT_OF_RANGE, f":Duration:{parts['Duration'].text}")
    if "StopAtDurationEnd" in parts:
        _checked(parts["StopAtDurationEnd"], _boolean)
    return Repetition(interval, duration)


def _principal(element: Element | None) -> tuple[str, str]:
    """Id and user of the one principal."""
    if element is None or not len(element):
        raise TaskRefused(MISSING, ":Principals:")
    if len(element) > 1 or _local(element[0]) != "Principal":
        raise TaskRefused(UNEXPECTED, f":{_local(element[-1])}:")
    principal = element[0]
    _attributes(principal, {"id"})
    parts = _children(
        principal,
        {"UserId", "LogonType", "GroupId", "DisplayName", "RunLevel", "ProcessTokenSidType", "RequiredPrivileges"},
    )
    if "GroupId" in parts:
        raise TaskRefused(UNEXPECTED if "UserId" in parts else NOT_IN_LAB, ":GroupId:")
    if "UserId" not in parts:
        raise TaskRefused(MISSING, ":UserId:")
    logon = (
        _checked(parts["LogonType"], _one_of("S4U", "Password", "InteractiveToken", "InteractiveTokenOrPassword"))
        if "LogonType" in parts
        else ""
    )
    if "RunLevel" in parts:
        _checked(parts["RunLevel"], _one_of("LeastPrivilege", "HighestAvailable"))
    user = _plain(parts["UserId"])
    service_account = user.casefold() in _ACCOUNTS
    managed_account = user.endswith("$")
    if not service_account and not managed_account:
        raise TaskRefused("No mapping between account names and security IDs was done.", f":UserId:{user}")
    if managed_account and logon != "Password":
        raise TaskRefused(OUT_OF_RANGE, f":LogonType:{logon}")
    if (
        service_account and logon
    ):  # the service accounts have no log-on of these kinds, and the schema has no word for theirs
        raise TaskRefused(OUT_OF_RANGE, f":LogonType:{logon}")
    return principal.get("id", ""), _ACCOUNTS.get(user.casefold(), user)


_ACCOUNTS = {
    name: sid
    for sid, names in {
        "S-1-5-18": ("s-1-5-18", "system", "nt authority\\system", "localsystem"),
        "S-1-5-19": ("s-1-5-19", "local service", "nt authority\\local service", "nt authority\\localservice"),
        "S-1-5-20": ("s-1-5-20", "network service", "nt authority\\network service", "nt authority\\networkservice"),
    }.items()
    for name in names
}


def _actions(element: Element | None, principal_id: str) -> tuple[ExecAction, ...]:
    if element is None or not len(element):
        raise TaskRefused(MISSING, ":Actions:")
    _attributes(element, {"Context"})
    context = element.get("Context")
    if context is not None and context != principal_id:
        raise TaskRefused(OUT_OF_RANGE, f":Context:{context}")
    return tuple(_exec(action) for action in element)


def _exec(element: Element) -> ExecAction:
    if _local(element) != "Exec":
        known = _local(element) in {"ComHandler", "SendEmail", "ShowMessage"}
        raise TaskRefused(NOT_IN_LAB if known else UNEXPECTED, f":{_local(element)}:")
    _attributes(element, {"id"})
    parts = _children(element, {"Command", "Arguments", "WorkingDirectory"})
    command = _plain(parts["Command"]) if "Command" in parts else ""
    if not command:
        raise TaskRefused(MISSING, ":Command:")
    return ExecAction(
        command,
        _plain(parts["Arguments"]) if "Arguments" in parts else "",
        _plain(parts["WorkingDirectory"]) if "WorkingDirectory" in parts else "",
    )


def _complete_settings(root: Element, given: Element | None, version: tuple[int, int]) -> dict[str, str]:
    settings = given if given is not None else Element(_name("Settings"))
    if given is None:
        root.insert(2, settings)
    parts = _children(settings, set(_SETTINGS) | set(_NESTED))
    found: dict[str, str] = {}
    for name, part in parts.items():
        if name in _NESTED:
            nested = _children(part, set(_NESTED[name][1]))
            minimum = _NESTED[name][0]
            for inner, value in nested.items():
                _checked(value, _NESTED[name][1][inner])
            if name == "RestartOnFailure" and set(nested) != {"Interval", "Count"}:
                raise TaskRefused(MISSING, ":RestartOnFailure:")
        else:
            minimum, check, _default = _SETTINGS[name]
            _checked(part, check)
            found[name] = _plain(part)
        if version < (1, minimum):
            raise TaskRefused(UNEXPECTED, f":{name}:")
    for name, (_minimum, _check, default) in _SETTINGS.items():
        if default is not None and name not in found:
            SubElement(settings, _name(name)).text = default
            found[name] = default
    return found


# ---- reading XML strictly


def _children(element: Element, known: set[str]) -> dict[str, Element]:
    """The children by name; each at most once and none that is not known."""
    found: dict[str, Element] = {}
    for child in _elements(element):
        name = _local(child)
        if child.tag != _name(name) or name not in known or name in found:
            raise TaskRefused(UNEXPECTED, f":{name}:")
        found[name] = child
    return found


def _elements(element: Element) -> Iterator[Element]:
    if (element.text or "").strip() or any((child.tail or "").strip() for child in element):
        raise TaskRefused(UNEXPECTED, f":{_local(element)}: text")
    yield from element


def _attributes(element: Element, known: set[str]) -> None:
    for name in element.attrib:
        if name not in known:
            raise TaskRefused(UNEXPECTED, f":{name}:")


def _plain(element: Element) -> str:
    if len(element):
        raise TaskRefused(UNEXPECTED, f":{_local(element[0])}:")
    return element.text or ""


_Value = TypeVar("_Value")


def _checked(element: Element, check: Callable[[str], _Value]) -> _Value:
    text = _plain(element)
    try:
        return check(text)
    except ValueError as error:
        raise TaskRefused(OUT_OF_RANGE, f":{_local(element)}:{text}") from error


def _boolean(text: str) -> bool:
    if text not in ("true", "false", "1", "0"):
        raise ValueError(text)
    return text in ("true", "1")


def _boundary(text: str) -> Boundary:
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?", text):
        raise ValueError(text)
    date = datetime.datetime.fromisoformat(text)
    return Boundary((date if date.tzinfo else date.replace(tzinfo=datetime.UTC)).timestamp(), local=date.tzinfo is None)


def _duration_in(lowest: float, highest: float | None) -> Callable[[str], float]:
    def check(text: str) -> float:
        seconds = duration_seconds(text)
        if seconds < lowest or (highest is not None and seconds > highest):
            raise ValueError(text)
        return seconds

    return check


def _integer_in(lowest: int, highest: int) -> Callable[[str], int]:
    def check(text: str) -> int:
        number = int(text) if re.fullmatch(r"-?\d+", text) else None
        if number is None or not lowest <= number <= highest:
            raise ValueError(text)
        return number

    return check


def _one_of(*allowed: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if text not in allowed:
            raise ValueError(text)
        return text

    return check


def _name(local: str) -> str:
    return f"{{{NAMESPACE}}}{local}"


def _local(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]


_Check = Callable[[str], object]

# Setting: least minor version of the schema, its check, Windows' default (None: not shown when absent).
_SETTINGS: dict[str, tuple[int, _Check, str | None]] = {
    "MultipleInstancesPolicy": (1, _one_of("Parallel", "Queue", "IgnoreNew", "StopExisting"), "IgnoreNew"),
    "DisallowStartIfOnBatteries": (1, _boolean, "true"),
    "StopIfGoingOnBatteries": (1, _boolean, "true"),
    "AllowHardTerminate": (1, _boolean, "true"),
    "StartWhenAvailable": (1, _boolean, "false"),
    "RunOnlyIfNetworkAvailable": (1, _boolean, "false"),
    "AllowStartOnDemand": (1, _boolean, "true"),
    "Enabled": (1, _boolean, "true"),
    "Hidden": (1, _boolean, "false"),
    "RunOnlyIfIdle": (1, _boolean, "false"),
    "WakeToRun": (1, _boolean, "false"),
    "ExecutionTimeLimit": (1, duration_seconds, "PT72H"),
    "Priority": (1, _integer_in(0, 10), "7"),
    "DeleteExpiredTaskAfter": (1, duration_seconds, None),
    "NetworkProfileName": (1, str, None),
    "DisallowStartOnRemoteAppSession": (3, _boolean, None),
    "UseUnifiedSchedulingEngine": (3, _boolean, None),
    "Volatile": (4, _boolean, None),
}
_NESTED: dict[str, tuple[int, dict[str, _Check]]] = {
    "IdleSettings": (
        1,
        {
            "Duration": duration_seconds,
            "WaitTimeout": duration_seconds,
            "StopOnIdleEnd": _boolean,
            "RestartOnIdle": _boolean,
        },
    ),
    "RestartOnFailure": (1, {"Interval": _duration_in(_MINUTE, _LONGEST_INTERVAL), "Count": _integer_in(1, 255)}),
    "NetworkSettings": (2, {"Name": str, "Id": str}),
    "MaintenanceSettings": (4, {"Period": duration_seconds, "Deadline": duration_seconds, "Exclusive": _boolean}),
}

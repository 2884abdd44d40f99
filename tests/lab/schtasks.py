# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What schtasks.exe of a node says to its caller: verbs, texts and exit codes, and the line
protocol between the two."""

from __future__ import annotations

import base64
import contextlib
import csv
import io
import json
import socketserver
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import task_definition
from .task_definition import TaskRefused
from .task_scheduler import RESULT_NEVER_RUN, TaskNotFound, TaskNotRunnable, TaskScheduler, local_time, task_path

_REQUEST_LIMIT = 8 << 20
_HANG_SECONDS = 120.0
_ACCESS_DENIED = "Access is denied."
_FILE_NOT_FOUND = "The system cannot find the file specified."
_FILE_EXISTS = "Cannot create a file when that file already exists."
_WIN32 = {
    2: _FILE_NOT_FOUND,
    3: "The system cannot find the path specified.",
    5: _ACCESS_DENIED,
    32: "The process cannot access the file because it is being used by another process.",
    183: _FILE_EXISTS,
    1722: "The RPC server is unavailable.",
}

# What /HRESULT makes of a failure: by the beginning of its text, since that is what the two have in common.
_INVALID_ARGUMENT = 0x80070057
_HRESULTS = {
    **{text: 0x80070000 | code for code, text in _WIN32.items()},
    "The specified task name": 0x80070002,
    task_definition.MALFORMED: 0x8004131A,
    task_definition.UNEXPECTED: 0x80041316,
    task_definition.MISSING: 0x80041319,
    task_definition.OUT_OF_RANGE: 0x80041318,
    "No mapping between account names": 0x80070534,
    "The filename, directory name, or volume label syntax": 0x8007007B,
    "The task is disabled.": 0x80041326,
    "The operator or administrator has refused": 0x800710E0,
}

# Switches of each verb; True: a value follows.
_SWITCHES: dict[str, dict[str, bool]] = {
    "create": {"tn": True, "xml": True, "f": False, "ru": True, "hresult": False},
    "run": {"tn": True, "i": False, "hresult": False},
    "end": {"tn": True, "hresult": False},
    "delete": {"tn": True, "f": False, "hresult": False},
    "query": {"tn": True, "xml": False, "fo": True, "nh": False, "v": False, "hresult": False},
}
_SYSTEM = {"system", "nt authority\\system", "s-1-5-18", ""}


@dataclass(frozen=True)
class Answer:
    """What schtasks.exe prints and returns."""

    rc: int = 0
    stdout: str = ""
    stderr: str = ""


@dataclass(frozen=True)
class Call:
    """One call of schtasks.exe."""

    argv: Sequence[str]
    administrator: bool = True
    xml: bytes | None = None
    xml_error: int = 0


class _Refused(Exception):
    pass


def answer(scheduler: TaskScheduler, behaviour: Callable[[], Mapping[str, str]], call: Call) -> Answer:
    """Do what a call asks for."""
    try:
        _reach_service(behaviour)
        verb, options = _parse(call.argv)
        if not call.administrator and verb != "query":
            raise _Refused(_ACCESS_DENIED)
        return _VERBS[verb](scheduler, options, call, behaviour())
    except (_Refused, TaskRefused, TaskNotRunnable) as error:
        return _error(call, str(error))
    except TaskNotFound as error:
        # A folder that was there once stays, as on Windows.
        return _error(call, _FILE_NOT_FOUND, None if scheduler.has_folder_of(str(error)) else 0x80070003)


def _reach_service(behaviour: Callable[[], Mapping[str, str]]) -> None:
    """schtasks.exe asks the service by RPC. A call that hung is not executed later, because its caller has given up."""
    if behaviour().get("schtasks") not in ("hang", "rpc_error"):
        return
    limit = time.monotonic() + _HANG_SECONDS
    while behaviour().get("schtasks") == "hang" and time.monotonic() < limit:
        time.sleep(0.1)
    raise _Refused(_WIN32[1722])


def _parse(argv: Sequence[str]) -> tuple[str, dict[str, str]]:
    verbs = [argument for argument in argv if _switch(argument) in _SWITCHES]
    if len(verbs) != 1:
        raise _Refused('Invalid syntax.\r\nType "SCHTASKS /?" for usage.')
    verb = _switch(verbs[0])
    usage = f'\r\nType "SCHTASKS /{verb.upper()} /?" for usage.'
    options: dict[str, str] = {}
    rest = [argument for argument in argv if argument is not verbs[0]]
    while rest:
        argument = rest.pop(0)
        name = _switch(argument)
        if name not in _SWITCHES[verb]:
            raise _Refused(f"Invalid argument/option - '{argument}'.{usage}")
        if name in options:
            raise _Refused(f"Invalid syntax. '{argument}' option is not allowed more than '1' time(s).{usage}")
        if _SWITCHES[verb][name]:
            if not rest or _switch(rest[0]) in _SWITCHES[verb]:
                raise _Refused(f"Invalid syntax. Value expected for '{argument}'.{usage}")
            options[name] = rest.pop(0)
        else:
            # /Query /XML may be followed by ONE: one document for all tasks.
            options[name] = (
                rest.pop(0) if verb == "query" and name == "xml" and rest and rest[0].casefold() == "one" else ""
            )
    if "tn" not in options and verb != "query":
        raise _Refused(f"Invalid syntax. Mandatory option 'tn' is missing.{usage}")
    return verb, options


def _switch(argument: str) -> str:
    return argument[1:].casefold() if argument[:1] in ("/", "-") else ""


def _create(scheduler: TaskScheduler, options: dict[str, str], call: Call, behaviour: Mapping[str, str]) -> Answer:
    if "xml" not in options:
        raise _Refused("The lab's schtasks.exe creates tasks from /XML only.")
    if behaviour.get("schtasks") == "deny":
        raise _Refused(_ACCESS_DENIED)
    if options.get("ru", "").casefold() not in _SYSTEM:
        raise _Refused("The lab's schtasks.exe knows no /RU but SYSTEM.")
    if call.xml is None:
        raise _Refused(_WIN32.get(call.xml_error, f"Error {call.xml_error}."))
    try:
        scheduler.register(options["tn"], call.xml, replace="f" in options)
    except FileExistsError:
        return _error(call, _FILE_EXISTS)
    return Answer(0, f'SUCCESS: The scheduled task "{options["tn"]}" has successfully been created.\r\n')


def _run(scheduler: TaskScheduler, options: dict[str, str], call: Call, behaviour: Mapping[str, str]) -> Answer:
    started = scheduler.run(options["tn"])
    head = "" if started else f'INFO: scheduled task "{options["tn"]}" is currently running.\r\n'
    return Answer(0, f'{head}SUCCESS: Attempted to run the scheduled task "{options["tn"]}".\r\n')


def _end(scheduler: TaskScheduler, options: dict[str, str], call: Call, behaviour: Mapping[str, str]) -> Answer:
    scheduler.end(options["tn"])
    return Answer(0, f'SUCCESS: The scheduled task "{options["tn"]}" has been terminated successfully.\r\n')


def _delete(scheduler: TaskScheduler, options: dict[str, str], call: Call, behaviour: Mapping[str, str]) -> Answer:
    name = options["tn"]
    try:
        scheduler.history(name)
    except TaskNotFound:
        code = None if scheduler.has_folder_of(name) else 0x80070003
        return _error(call, f'The specified task name "{name}" does not exist in the system.', code)
    if "f" not in options:  # it would prompt, and there is no input
        return Answer(1, f'WARNING: Are you sure you want to remove the task "{name}" (Y/N)? ', "")
    scheduler.delete(name)
    return Answer(0, f'SUCCESS: The scheduled task "{name}" was successfully deleted.\r\n')


def _query(scheduler: TaskScheduler, options: dict[str, str], call: Call, behaviour: Mapping[str, str]) -> Answer:
    names = _queried(scheduler, options.get("tn"))
    if not call.administrator:
        names = []  # the lab's tasks belong to SYSTEM; others do not see them
    if not names and "tn" in options:
        raise TaskNotFound(options["tn"])
    if "xml" in options:
        texts = [scheduler.definition(name).text() for name in names]
        if len(texts) > 1 and options["xml"].casefold() == "one":
            bodies = "".join(f"<!-- {name} -->\r\n{scheduler.definition(name).xml}\r\n" for name in names)
            texts = [f'<?xml version="1.0" encoding="UTF-16"?>\r\n<Tasks>\r\n{bodies}</Tasks>\r\n']
        return Answer(0, "\r\n".join(texts))
    form = options.get("fo", "TABLE").upper()
    if form not in ("TABLE", "LIST", "CSV"):
        raise _Refused(f"Invalid syntax. '{form}' value is not allowed for '/fo' option.")
    if not names:
        return Answer(0, "INFO: There are no scheduled tasks presently available at your access level.\r\n")
    rows = [_row(scheduler, name, verbose="v" in options) for name in names]
    return Answer(0, _formatted(rows, form, header="nh" not in options))


def _queried(scheduler: TaskScheduler, wanted: str | None) -> list[str]:
    if wanted is None:
        return scheduler.names()
    if wanted.endswith("\\"):
        return scheduler.names("\\" + wanted.strip("\\") if wanted.strip("\\") else "\\")
    path = task_path(wanted)
    return [name for name in scheduler.names() if name.casefold() == path.casefold()]


def _row(scheduler: TaskScheduler, name: str, *, verbose: bool) -> dict[str, str]:
    row = {
        "TaskName": name,
        "Next Run Time": local_time(scheduler.next_run(name), scheduler.zone),
        "Status": scheduler.status(name),
    }
    if not verbose:
        return row
    history, definition = scheduler.history(name), scheduler.definition(name)
    action = definition.actions[0]
    never = history.last_run is None
    return {
        "HostName": "LAB",
        **row,
        "Logon Mode": "Interactive/Background",
        "Last Run Time": "11/30/1999 12:00:00 AM" if never else local_time(history.last_run, scheduler.zone),
        "Last Result": str(RESULT_NEVER_RUN if never else history.last_result),
        "Author": "N/A",
        "Task To Run": action.command_line(),
        "Start In": action.working_directory or "N/A",
        "Comment": "N/A",
        "Scheduled Task State": "Enabled" if definition.enabled else "Disabled",
        "Run As User": _user_name(definition.user_id),
        "Stop Task If Runs X Hours and X Mins": _hours(definition.time_limit),
    }


def _user_name(user_id: str) -> str:
    return {"S-1-5-18": "SYSTEM", "S-1-5-19": "LOCAL SERVICE", "S-1-5-20": "NETWORK SERVICE"}.get(user_id, user_id)


def _hours(limit: float | None) -> str:
    if limit is None:
        return "Disabled"
    return f"{int(limit) // 3600:02}:{int(limit) % 3600 // 60:02}:00"


def _formatted(rows: list[dict[str, str]], form: str, *, header: bool) -> str:
    names = list(rows[0])
    if form == "CSV":
        text = io.StringIO()
        writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
        writer.writerows(([names] if header else []) + [list(row.values()) for row in rows])
        return text.getvalue()
    if form == "LIST":
        width = max(len(name) for name in names) + 2
        return "\r\n".join("".join(f"{name + ':':<{width}}{value}\r\n" for name, value in row.items()) for row in rows)
    widths = [max(len(name), *(len(row[name]) for row in rows)) for name in names]
    lines = [names, ["=" * width for width in widths]] if header else []
    lines += [list(row.values()) for row in rows]
    return "\r\n" + "".join(
        " ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() + "\r\n"
        for line in lines
    )


def _error(call: Call | None, text: str, hresult: int | None = None) -> Answer:
    """A failure; with /HRESULT the exit code says which."""
    code = 1
    if call and any(_switch(argument) == "hresult" for argument in call.argv):
        known = (value for beginning, value in _HRESULTS.items() if text.startswith(beginning))
        code = hresult or next(known, _INVALID_ARGUMENT)
    return Answer(code, "", f"ERROR: {text}\r\n")


_VERBS = {"create": _create, "run": _run, "end": _end, "delete": _delete, "query": _query}


class Listener:
    """The loopback port schtasks.exe of a node calls: one line of JSON there, one back."""

    def __init__(self, port: int, respond: Callable[[Call], Answer]) -> None:
        handler = type("Handler", (_Handler,), {"respond": staticmethod(respond)})
        self._server = _Server(("127.0.0.1", port), handler)
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.5}, name=f"schtasks-{port}", daemon=True
        ).start()

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


class _Handler(socketserver.StreamRequestHandler):
    respond: Callable[[Call], Answer]
    timeout = 60

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            reply = self._reply(self.rfile.readline(_REQUEST_LIMIT))
            self.wfile.write(
                json.dumps({"rc": reply.rc, "stdout": reply.stdout, "stderr": reply.stderr}).encode() + b"\n"
            )

    def _reply(self, line: bytes) -> Answer:
        try:
            request: dict[str, Any] = json.loads(line)
            encoded = request.get("xml_base64")
            call = Call(
                argv=request["argv"],
                administrator=bool(request.get("administrator")),
                xml=None if encoded is None else base64.b64decode(encoded),
                xml_error=int(request.get("xml_error") or 0),
            )
            return type(self).respond(call)
        except Exception as error:  # the lab's own failure must reach the test that met it
            return _error(None, f"the lab's Task Scheduler failed: {type(error).__name__}: {error}")

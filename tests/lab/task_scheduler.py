# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Task Scheduler service of one node: the tasks on its disk, their triggers, and the processes they start."""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import os
import re
import threading
import time
import zoneinfo
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from . import trigger_times
from .executor import CommandOutput, Executor, RunningCommand
from .task_definition import TaskDefinition, TaskRefused, Trigger, decode, read

LOG = logging.getLogger("lab")
STORE = r"C:\Windows\System32\Tasks"
_SYSTEM32 = r"C:\Windows\System32"
_PROFILES = {
    "S-1-5-18": r"C:\Windows\System32\config\systemprofile",
    "S-1-5-19": r"C:\Windows\ServiceProfiles\LocalService",
    "S-1-5-20": r"C:\Windows\ServiceProfiles\NetworkService",
}
_VARIABLES = {
    "windir": r"C:\Windows",
    "systemroot": r"C:\Windows",
    "systemdrive": "C:",
    "programfiles": r"C:\Program Files",
    "programdata": r"C:\ProgramData",
    "allusersprofile": r"C:\ProgramData",
}

RESULT_NEVER_RUN = 267011
RESULT_RUNNING = 267009
RESULT_TERMINATED = 267014

_LONGEST_SLEEP = 5.0  # another time zone is not announced


class TaskNotFound(Exception):
    """No task of that name."""


class TaskNotRunnable(Exception):
    """The task is there and may not be started."""


@dataclass
class History:
    """What is remembered of a task besides its definition."""

    last_run: float | None = None
    last_result: int = RESULT_NEVER_RUN
    last_end: float | None = None
    runs: int = 0
    missed: int = 0  # firings that found it running, under IgnoreNew
    registered: float = 0.0


@dataclass
class _Instance:
    stop: threading.Event = field(default_factory=threading.Event)
    running: RunningCommand | None = None


@dataclass
class _Task:
    name: str
    definition: TaskDefinition
    history: History
    instances: list[_Instance] = field(default_factory=list)
    queued: int = 0


class TaskScheduler:
    """Scheduler of one node.

    Args:
        executor: starts the processes of tasks.
        path: host path of a Windows path.
        state_file: what Windows keeps in its registry, outside the node's drives.
        behaviour: reads the node's behaviour.ini.
        minute_seconds: real seconds of a trigger's minute.
        clock: unix time.
    """

    def __init__(
        self,
        executor: Executor,
        *,
        path: Callable[[str], Path],
        state_file: Path,
        behaviour: Callable[[], Mapping[str, str]],
        minute_seconds: float = 60.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._executor = executor
        self._path = path
        self._state_file = state_file
        self._behaviour = behaviour
        self._minute_seconds = minute_seconds
        self._clock = clock
        self._changed = threading.Condition(threading.RLock())
        self._tasks: dict[str, _Task] = {}
        self._held_up: set[str] = set()
        self._on = False
        self._booted = 0.0
        self._off: float | None = None  # when the node went down; None while it is on, or was never on
        self._thread: threading.Thread | None = None

    # ---- the machine

    def start(self) -> None:
        """The node has booted: read the tasks from its disk, fire boot triggers, keep time."""
        with self._changed:
            self._load()
            went_off = self._off or self._clock()
            self._booted = self._clock()
            self._on, self._off = True, None
            missed = [
                task
                for task in self._tasks.values()
                if task.definition.flag("StartWhenAvailable") and self._missed(task, went_off)
            ]
            self._thread = threading.Thread(
                target=self._keep_time, args=(self._booted,), name="task-scheduler", daemon=True
            )
            self._thread.start()
        for task in missed:
            self._fire(task)

    def stop(self) -> None:
        """The node goes down: every running task is killed, the definitions stay on its disk."""
        with self._changed:
            if not self._on:
                return
            self._on, self._off = False, self._clock()
            for task in self._tasks.values():
                task.queued = 0
                self._end_instances(task)
            self._save()
            self._changed.notify_all()
        if self._thread and self._thread is not threading.current_thread():
            self._thread.join(5)

    def set_minute(self, seconds: float) -> None:
        """Let a trigger's minute last that long."""
        with self._changed:
            self._minute_seconds = max(0.05, seconds)
            self._changed.notify_all()

    # ---- what schtasks.exe asks for

    def register(self, name: str, xml: bytes, *, replace: bool) -> None:
        """Register a task.

        Raises:
            TaskRefused: Windows would not take this definition, or the name.
            FileExistsError: there is one of that name, and ``replace`` is not set.
        """
        path = task_path(name)
        definition = read(decode(xml), path)
        with self._changed:
            key = path.casefold()
            if key in self._tasks:
                if not replace:
                    raise FileExistsError(path)
                self._end_instances(self._tasks[key])
            file = self._file(path)
            file.parent.mkdir(parents=True, exist_ok=True)
            draft = file.with_name(f"{file.name}.{os.getpid()}~")
            draft.write_bytes(definition.file())
            draft.replace(file)
            task = self._tasks[key] = _Task(path, definition, History(registered=self._clock()))
            self._save()
            self._changed.notify_all()
        if any(trigger.kind == "RegistrationTrigger" and trigger.enabled for trigger in definition.triggers):
            self._fire(task)

    def run(self, name: str) -> bool:
        """Start a task on demand; False when it was running and a second instance is not wanted.

        Raises:
            TaskNotFound: no task of that name.
            TaskNotRunnable: disabled, or not on demand.
        """
        task = self._task(name)
        if not task.definition.enabled:
            raise TaskNotRunnable("The task is disabled.")
        if not task.definition.flag("AllowStartOnDemand"):
            raise TaskNotRunnable("The operator or administrator has refused the request.")
        return self._fire(task)

    def end(self, name: str) -> None:
        """End the running instances of a task and everything they have started."""
        task = self._task(name)
        with self._changed:
            task.queued = 0
            self._end_instances(task)

    def delete(self, name: str) -> None:
        """Remove a task; running instances continue, as on Windows."""
        task = self._task(name)
        with self._changed:
            self._tasks.pop(task.name.casefold(), None)
            self._file(task.name).unlink(missing_ok=True)
            self._save()
            self._changed.notify_all()

    def definition(self, name: str) -> TaskDefinition:
        """The definition of a task, defaults included."""
        return self._task(name).definition

    def names(self, folder: str = "\\") -> list[str]:
        """Full names of the tasks in a folder and below it."""
        wanted = folder.casefold().rstrip("\\") + "\\"
        with self._changed:
            return sorted(task.name for key, task in self._tasks.items() if key.startswith(wanted))

    def has_folder_of(self, name: str) -> bool:
        """Whether the folder of a task of this name exists, with or without tasks."""
        folder = task_path(name).rpartition("\\")[0]
        return not folder or self._file(folder).is_dir()

    def history(self, name: str) -> History:
        """What happened to a task so far."""
        with self._changed:
            return History(**asdict(self._task(name).history))

    def status(self, name: str) -> str:
        """Running, Queued, Disabled or Ready."""
        task = self._task(name)
        if task.instances:
            return "Running"
        if task.queued:
            return "Queued"
        return "Ready" if task.definition.enabled else "Disabled"

    def _missed(self, task: _Task, went_off: float) -> bool:
        """Whether a moment of a time trigger passed while the node was off."""
        return any(
            trigger.kind in ("TimeTrigger", "CalendarTrigger")
            and (due := self._next(trigger, task, went_off)) is not None
            and due <= self._booted
            for trigger in task.definition.triggers
        )

    def next_run(self, name: str) -> float | None:
        """When a time trigger will fire next."""
        task = self._task(name)
        with self._changed:
            times = [
                due
                for trigger in task.definition.triggers
                if (due := self._next(trigger, task, self._clock())) is not None
            ]
        return min(times, default=None) if task.definition.enabled else None

    # ---- time

    @property
    def zone(self) -> datetime.tzinfo:
        """What the clock on the node's wall shows, as the Task Scheduler sees it."""
        name = self._behaviour().get("timezone") or "UTC"
        try:
            return zoneinfo.ZoneInfo(name)
        except (KeyError, ValueError, OSError):  # nothing may end the thread that keeps time
            LOG.warning("no time zone %s, going by UTC", name)
            return datetime.UTC

    def _keep_time(self, booted: float) -> None:
        """Fire triggers as they come due. ``seen`` is the moment up to which everything due has fired."""
        seen = booted - 0.001
        while True:
            with self._changed:
                if not self._runs(booted):
                    return
                now = self._clock()
                due = [
                    task
                    for task in self._tasks.values()
                    if (moment := self._soonest(task, seen)) is not None and moment <= now
                ]
                seen = now
            for task in due:
                self._fire(task)
            with self._changed:
                if self._runs(booted):
                    coming = [
                        moment for task in self._tasks.values() if (moment := self._soonest(task, seen)) is not None
                    ]
                    self._changed.wait(
                        min(_LONGEST_SLEEP, max(0.0, min(coming, default=seen + _LONGEST_SLEEP) - self._clock()))
                    )

    def _runs(self, booted: float) -> bool:
        return self._on and self._booted == booted

    def _soonest(self, task: _Task, after: float) -> float | None:
        """The next firing of a task. One that is registered does not make up for what came due before."""
        after = max(after, task.history.registered)
        return min(
            (due for trigger in task.definition.triggers if (due := self._next(trigger, task, after)) is not None),
            default=None,
        )

    def _next(self, trigger: Trigger, task: _Task, after: float) -> float | None:
        """The first moment after ``after`` at which a trigger fires."""
        if not trigger.enabled or not task.definition.enabled:
            return None
        if trigger.kind == "BootTrigger":
            # The task that this boot found on the disk, not one that came later.
            first = self._booted + trigger.delay if task.history.registered < self._booted else None
        elif trigger.kind == "RegistrationTrigger":
            first = task.history.registered + trigger.delay
        elif trigger.kind in ("TimeTrigger", "CalendarTrigger"):
            return trigger_times.next_moment(trigger, after, scale=self._minute_seconds / 60.0, zone=self.zone)
        else:
            return None  # no user logs on to a node of the lab
        moment = None if first is None else trigger_times.repeated(trigger, first, after, self._minute_seconds / 60.0)
        return moment if moment is not None and trigger_times.is_before_end(trigger, moment, self.zone) else None

    # ---- instances

    def _fire(self, task: _Task) -> bool:
        """Start an instance, or do what the task's policy says when one is running."""
        with self._changed:
            if not self._on or self._behaviour().get("schtasks") == "never_run":
                return True
            if task.instances:
                if task.definition.instances == "IgnoreNew":
                    task.history.missed += 1
                    return False
                if task.definition.instances == "Queue":
                    task.queued += 1
                    return True
                if task.definition.instances == "StopExisting":
                    self._end_instances(task)
            self._launch(task)
            return True

    def _launch(self, task: _Task) -> None:
        instance = _Instance()
        task.instances.append(instance)
        task.history.last_run = self._clock()
        task.history.last_result = RESULT_RUNNING
        task.history.runs += 1
        self._save()
        threading.Thread(target=self._instance, args=(task, instance), name=f"task {task.name}", daemon=True).start()

    def _hold_up(self, task: _Task, instance: _Instance) -> None:
        """Let the first instance under a name begin only once the behaviour is gone, as a process
        that Windows holds up."""
        if self._behaviour().get("schtasks") != "late" or task.name in self._held_up:
            return
        self._held_up.add(task.name)
        while self._behaviour().get("schtasks") == "late" and not instance.stop.wait(0.1):
            pass

    def _instance(self, task: _Task, instance: _Instance) -> None:
        result = RESULT_TERMINATED
        limit = task.definition.time_limit
        deadline = None if limit is None else time.monotonic() + limit
        try:
            self._hold_up(task, instance)
            for action in task.definition.actions:
                if instance.stop.is_set():
                    break
                output = CommandOutput()
                output.abandon()  # a task's output goes nowhere
                command = self._executor.start(
                    expand(action.command_line()),
                    user="SYSTEM",
                    environment=self._environment(task.definition.user_id),
                    working_directory=expand(action.working_directory).strip('"') or _SYSTEM32,
                    output=output,
                )
                with contextlib.suppress(Exception):
                    command.write(b"", end=True, timeout=1)
                with self._changed:
                    instance.running = command
                if instance.stop.is_set():
                    command.kill_tree()
                rest = None if deadline is None else max(0.0, deadline - time.monotonic())
                if not output.wait_finished(rest):
                    instance.stop.set()
                    command.kill_tree()
                    output.wait_finished(30)
                result = RESULT_TERMINATED if instance.stop.is_set() else output.exit_code or 0
        except OSError:
            result = 2147942402  # ERROR_FILE_NOT_FOUND as a HRESULT
        finally:
            with self._changed:
                task.instances.remove(instance)
                task.history.last_result = result
                task.history.last_end = self._clock()
                again = task.queued > 0 and self._on
                task.queued -= again
                self._save()
                if again:
                    self._launch(task)

    def _end_instances(self, task: _Task) -> None:
        for instance in task.instances:
            instance.stop.set()
            if instance.running:
                instance.running.kill_tree()

    def _environment(self, user_id: str) -> dict[str, str]:
        return {
            "LAB_ACCOUNT": self._behaviour().get("account") or user_id,
            "USERPROFILE": _PROFILES.get(user_id, _PROFILES["S-1-5-18"]),
        }

    # ---- disk

    def _file(self, name: str) -> Path:
        return self._path(STORE + name)

    def _load(self) -> None:
        """The tasks on the node's disk. A file without a registered task, or one that has become unreadable, is left
        alone, as on Windows."""
        store = self._path(STORE)
        histories = self._state()
        self._tasks.clear()
        for file in sorted(store.rglob("*")) if store.is_dir() else []:
            name = "\\" + "\\".join(file.relative_to(store).parts)
            if file.is_file() and name in histories:
                with contextlib.suppress(TaskRefused):
                    self._tasks[name.casefold()] = _Task(
                        name, read(decode(file.read_bytes()), name), History(**histories[name])
                    )

    def _state(self) -> dict[str, dict[str, Any]]:
        try:
            state: dict[str, dict[str, Any]] = json.loads(self._state_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return state

    def _save(self) -> None:
        draft = self._state_file.with_name(f"{self._state_file.name}.{os.getpid()}")
        draft.write_text(
            json.dumps({task.name: asdict(task.history) for task in self._tasks.values()}), encoding="utf-8"
        )
        draft.replace(self._state_file)

    def _task(self, name: str) -> _Task:
        with self._changed:
            task = self._tasks.get(task_path(name).casefold())
        if task is None:
            raise TaskNotFound(name)
        return task


def task_path(name: str) -> str:
    r"""The full name of a task: ``x`` is ``\x``.

    Raises:
        TaskRefused: no name for a task.
    """
    path = "\\" + name.strip().strip("\\")
    parts = path[1:].split("\\")
    if (
        any(not part.strip() or part.strip(".") != part or re.search(r'[<>:"/|?*\x00-\x1f]', part) for part in parts)
        or len(path) > 238
    ):
        raise TaskRefused("The filename, directory name, or volume label syntax is incorrect.")
    return path


def expand(text: str) -> str:
    """Replace ``%windir%`` and its like, as the service does before it starts something."""
    return re.sub(r"%([^%]+)%", lambda match: _VARIABLES.get(match.group(1).casefold(), match.group()), text)


def local_time(moment: float | None, zone: datetime.tzinfo) -> str:
    """A moment as schtasks.exe prints it in English."""
    if moment is None:
        return "N/A"
    when = datetime.datetime.fromtimestamp(moment, zone)
    return f"{when.month}/{when.day}/{when.year} {when.hour % 12 or 12}:{when:%M:%S %p}"


def behaviour_reader(file: Path) -> Callable[[], Mapping[str, str]]:
    """Reads key=value lines anew at each call; no file, no settings."""

    def read_behaviour() -> Mapping[str, str]:
        try:
            lines = file.read_text(encoding="ascii", errors="replace").splitlines()
        except FileNotFoundError:
            return {}
        return dict(_pairs(lines))

    return read_behaviour


def _pairs(lines: list[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        key, equals, value = line.partition("=")
        if equals:
            yield key.strip().casefold(), value.strip()

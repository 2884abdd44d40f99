# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints the failures of this collection as sentences instead of JSON, each of them once."""

from __future__ import annotations

DOCUMENTATION = r"""
name: screen
type: stdout
short_description: Prints failures of the backup with cause and next action, and no task that does nothing
version_added: 0.1.0
author:
  - alteryx_ops.server_backup contributors (@alteryx-ops)
description:
  - Prints what the callback C(ansible.builtin.default) prints, with these differences for tasks of
    alteryx_ops.server_backup.
  - A failure is printed as node, message and reason. A message that is on the screen already is not repeated.
  - What to do next is printed with the failure only if the callback C(alteryx_ops.server_backup.exit_code) is not
    enabled. That callback, or the summary of the run, prints it at the end.
  - Includes, checks of arguments that find nothing, and what only AWX needs are not printed.
  - The name of a task is printed above its progress. That of a task with a condition is printed with its first line,
    because it may not run at all.
  - Tasks of others, among them the files of your own tasks around the window, are printed as by the default callback.
  - With C(-v) and more, everything is printed as by the default callback.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
requirements:
  - Set as C(stdout_callback); the C(playbooks/ansible.cfg) of this collection does it.
"""

import functools
import os
import threading
import typing as t
from pathlib import Path

from ansible import constants
from ansible.plugins.callback.default import CallbackModule as DefaultCallback

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible import _collection
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import REASONS

_PREFIX = f"{_collection.NAME}."
_ROOT = Path(__file__).resolve().parents[2]
_ARGUMENT_CHECK = "ansible.builtin.validate_argument_spec"
# The last lines of a playbook do not know why the report itself has failed.
_REPORTS = (f"{_PREFIX}backup_report", f"{_PREFIX}restore_report")
_INCLUDES = ("ansible.builtin.include_tasks", "ansible.builtin.include_role")
# The key under which a result carries the text that is printed in its place. Ansible prints no key with this prefix.
_TEXT = "_ansible_alteryx_text"


class CallbackModule(DefaultCallback):  # type: ignore[misc]
    """See DOCUMENTATION."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "alteryx_ops.server_backup.screen"

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[str, str] = {}  # message -> the node of which it was said
        self._hints: set[str] = set()
        self._has_last_lines = f"{_PREFIX}exit_code" in (constants.CALLBACKS_ENABLED or ())
        self._process = os.getpid()
        self._lock = threading.RLock()
        self._unnamed: t.Any = None  # a task with a condition that has not printed anything yet
        self._is_watching = False

    def v2_playbook_on_start(self, playbook: t.Any) -> None:
        """Starts to watch what action plugins print, because Ansible does not tell callbacks of it."""
        super().v2_playbook_on_start(playbook)
        if not self._is_watching:
            self._is_watching = True
            self._display.display = functools.partial(self._show_below_name, self._display.display)

    def _show_below_name(self, show: t.Callable[..., None], *arguments: t.Any, **options: t.Any) -> None:
        """Prints a text, and the name of its task first if that is not on the screen yet. The texts of action plugins
        come from the worker processes and are printed by a thread of Ansible; callbacks print in the main thread."""
        # A worker process may inherit the lock while another thread holds it, so it must not wait for the lock.
        is_here = os.getpid() == self._process and threading.current_thread() is not threading.main_thread()
        if is_here and not options.get("stderr"):
            with self._lock:
                if self._unnamed is not None:
                    self._print_task_banner(self._unnamed)
        show(*arguments, **options)

    def _print_task_banner(self, task: t.Any) -> None:
        """Prints the name of a task, once if two threads want to."""
        with self._lock:
            is_printed = self._unnamed is None and self._has_banner(task) and bool(task.when)
            self._unnamed = None
            if not is_printed:
                super()._print_task_banner(task)

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:
        """Prints the name of a task before its progress. A task with a condition may not run at all."""
        super().v2_playbook_on_task_start(task, is_conditional)
        self._unnamed = None
        if self._is_quiet_about(task) and not _is_unseen(task) and not self._has_banner(task):
            if task.when:
                self._unnamed = task
            else:
                self._print_task_banner(task)

    def v2_playbook_on_include(self, included_file: t.Any) -> None:
        """Which files a play consists of helps those only who look for an error in it."""
        if not self._is_quiet_about(included_file._task):
            super().v2_playbook_on_include(included_file)

    def v2_runner_on_ok(self, result: t.Any) -> None:
        """Leaves out tasks that have done nothing, but never a warning."""
        if self._is_quiet_about(result.task):
            fields = result.result
            if _is_unseen(result.task) and not (fields.get("warnings") or fields.get("deprecations")):
                return
            if result.task.action == "ansible.builtin.debug":
                fields[_TEXT] = str(fields.get("msg", ""))
            if fields.get("failed_when_result") is False and fields.get("reason"):
                # A failure that our task accepts. The default callback would print "ok".
                host = result.host.get_name()
                told = self._tell(host, host, str(fields.get("message", "")), str(fields["reason"]))
                self._handle_warnings(fields)
                self._display.display(f"no answer: [{host}] => {told}")
                return
        super().v2_runner_on_ok(result)

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        """A failure that has a text of ours is printed as that, every other one whole."""
        text = "" if self._display.verbosity else self._describe(result)
        if text:
            # Ansible prints it with the lines of our source, and then the result.
            result.result.pop("exception", None)
            result.result[_TEXT] = text
        super().v2_runner_on_failed(result, ignore_errors)

    def _dump_results(self, result: t.Mapping[str, t.Any], *arguments: t.Any, **options: t.Any) -> str:
        text = result.get(_TEXT)
        return str(text) if text else str(super()._dump_results(result, *arguments, **options))

    def _describe(self, result: t.Any) -> str:
        """The lines for a failure; "" if it is not one of ours."""
        task, fields, host = result.task, result.result, result.host.get_name()
        if _is_argument_check(task) and fields.get("argument_errors"):
            reason = REASONS["invalid_variable"]
            return self._tell(host, host, "; ".join(map(str, fields["argument_errors"])), reason.name, reason.hint)
        if str(task.action).startswith(_PREFIX) and fields.get("message") and fields.get("reason"):
            node, hint = str(fields.get("node") or host), str(fields.get("hint", ""))
            is_last = task.action in _REPORTS
            return self._tell(host, node, str(fields["message"]), str(fields["reason"]), hint, is_last)
        if task.action == "ansible.builtin.fail" and _is_of_our_files(task) and fields.get("msg"):
            return self._tell(host, host, str(fields["msg"]))
        if message := str(fields.get("msg") or ""):
            # What becomes of a failure in tasks of the operator is said later, with the same words.
            self._told[message] = host
        return ""

    def _tell(self, host: str, node: str, message: str, reason: str = "", hint: str = "", is_last: bool = False) -> str:
        said = self._shorten(node, message)
        lines = [(f"{node}: " if node != host else "") + said + (f" [{reason}]" if reason else "")]
        if hint and hint not in self._hints and (is_last or not self._has_last_lines):
            self._hints.add(hint)
            lines.append(f" next     {hint}")
        return "\n".join(lines)

    def _shorten(self, node: str, message: str) -> str:
        """The message; what is on the screen already, as a whole or at its end, is replaced by where it stands."""
        told = next((told for told in self._told if message == told or message.endswith(f": {told}")), "")
        if not told:
            self._told[message] = node
            return message
        where = "as printed above" if self._told[told] == node else f"the same as on {self._told[told]}"
        return message[: -len(told)] + where

    def _is_quiet_about(self, task: t.Any) -> bool:
        return not self._display.verbosity and (_is_of_our_files(task) or _is_argument_check(task))

    def _has_banner(self, task: t.Any) -> bool:
        return bool(self._last_task_banner == task._uuid)


def _is_unseen(task: t.Any) -> bool:
    """Is it nothing for an operator when the task ends well?"""
    return _is_argument_check(task) or task.action in (*_INCLUDES, f"{_PREFIX}run_stats")


def _is_argument_check(task: t.Any) -> bool:
    """Ansible's check of the arguments of a role of ours, which stands in no file."""
    return task.action == _ARGUMENT_CHECK and str(task.get_name()).startswith(_PREFIX)


def _is_of_our_files(task: t.Any) -> bool:
    return _is_ours(str(task.get_path() or "").rpartition(":")[0])


@functools.cache
def _is_ours(path: str) -> bool:
    # A checkout is reached through a link.
    return bool(path) and Path(path).resolve().is_relative_to(_ROOT)

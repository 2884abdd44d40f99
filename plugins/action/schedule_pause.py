# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import http.client
import time
import typing as t
import urllib.error
from dataclasses import dataclass
from pathlib import Path

from ansible.module_utils.urls import open_url

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._action import NodeAction, Result
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._screen import show_progress, warn
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import StepFailed
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._server_api import _schedules
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._server_api._schedules import (
    Record,
    Request,
    Response,
    Schedule,
)

# The next run needs the record, so this waits for a node that is unreachable for a short time.
_PATIENCE_SECONDS = 60.0
_LONGEST_WAIT_SECONDS = 15.0
# Far below the time after which the lock of a run is stale.
_SIGN_OF_LIFE_SECONDS = 45.0
_MAXIMUM_BYTES = 64 * 1024 * 1024


class ActionModule(NodeAction):
    """Calls the API of the Server from the control node. The node only stores the record, and receives no secret."""

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/schedule_pause.yml."""
        node = _Record(self, arguments, variables)
        if arguments["state"] == "paused":
            return self._pause(arguments, node)
        return self._resume(arguments, node)

    def _pause(self, arguments: Result, node: _Record) -> Result:
        if not _is_given(arguments["api"]):
            raise StepFailed(
                "invalid_variable", "schedules can be paused only with base, client_id and client_secret of the API"
            )
        api, base = _api(arguments["api"], node), arguments["api"]["base"]
        left = node.read()
        if self.check_mode:
            listed = _schedules.ask_patiently(api.listing, node.wait)
            record = _schedules.record_of(arguments["run_id"], base, listed, left)
            show_progress(node.name, f"{_schedules.count_schedules(record.schedules)} would be paused")
        else:
            record = _schedules.pause(api, arguments["run_id"], base, left, node.save, node.wait)
            show_progress(node.name, f"paused {_schedules.count_schedules(record.schedules)}")
        return {"changed": bool(record.schedules), "schedules": _list_schedules(record.schedules)}

    def _resume(self, arguments: Result, node: _Record) -> Result:
        record = node.read_surely(arguments)
        result: Result = {"changed": False, "schedules": [], "gone": [], "left": [], "did": []}
        if record is None:
            return result
        names = _schedules.list_names(record.schedules)
        if not _is_given(arguments["api"]):
            text = _schedules.describe_left_paused(record, knows_api=False)
            warn(f"{node.name}: {text}")
            return {**result, "left": _list_schedules(record.schedules), "did": [text]}
        _schedules.check_server(record, arguments["api"]["base"])
        if self.check_mode:
            did = [f"would enable schedules that the run {record.run_id} has paused: {names}"]
            show_progress(node.name, did[0])
            return {**result, "changed": True, "schedules": _list_schedules(record.schedules), "did": did}
        found = _schedules.resume_patiently(_api(arguments["api"], node), record, node.save, node.wait)
        result |= {
            "changed": bool(found.done),
            "schedules": _list_schedules(found.done),
            "gone": _list_schedules(found.gone),
            "left": _list_schedules(found.left),
        }
        if found.left:
            raise StepFailed(
                "schedules_not_resumed",
                f"these schedules are still paused: {_schedules.list_names(found.left)} ({found.problem});"
                " the record on the node keeps them for the next run",
                result,
            )
        result["did"] = [f"enabled schedules that the run {record.run_id} had paused: {names}"]
        show_progress(node.name, f"{result['did'][0]}")
        return result


@dataclass
class _Record:
    """The record on the node. wait: see _schedules.Wait."""

    action: ActionModule
    arguments: Result
    variables: dict[str, t.Any]
    pause: float = 1.0
    called: float = 0.0

    def __post_init__(self) -> None:
        self.name = self.variables["inventory_hostname"]
        self.deadline = time.monotonic() + self.arguments["timeout"]

    def read(self) -> Record | None:
        text = self._call("read")
        return _schedules.read_record(text) if text else None

    def read_surely(self, arguments: Result) -> Record | None:
        """Also if the node is lost, this run enables the schedules that it has paused."""
        try:
            return self.read()
        except Exception as error:
            if not arguments["paused"] or self.action.connection_failure(error) is None:
                raise
            schedules = tuple(Schedule(each["id"], each["name"], enabled=True) for each in arguments["paused"])
            return Record(arguments["run_id"], arguments["api"]["base"], schedules)

    def save(self, record: Record | None) -> None:
        self._call("write", record.text() if record else "")

    def wait(self, problem: str) -> bool:
        left = self.deadline - time.monotonic()
        if left <= 0:
            return False
        show_progress(self.name, f"asking the API of the Server again: {problem}")
        time.sleep(min(self.pause, left))
        self.pause = min(self.pause * 2, _LONGEST_WAIT_SECONDS)
        return True

    def sign_of_life(self) -> None:
        """Updates the heartbeat of the run. Each call of the node does that, so this is skipped shortly after another
        call. A lost node is not a failure here."""
        if time.monotonic() - self.called < _SIGN_OF_LIFE_SECONDS:
            return
        try:
            self._call("read", patience=0)
        except Exception as error:
            if self.action.connection_failure(error) is None:
                raise

    def _call(self, operation: str, text: str = "", patience: float = _PATIENCE_SECONDS) -> str:
        self.called = time.monotonic()
        asked = {
            "state": self.arguments["state"],
            "run_id": self.arguments["run_id"],
            "_operation": operation,
            "_record": text,
        }
        return str(self.action.call_node(asked, self.variables, patience)["record"])


def _is_given(api: t.Mapping[str, t.Any] | None) -> bool:
    given = [bool(api and api[key]) for key in ("base", "client_id", "client_secret")]
    if any(given) != all(given):
        raise StepFailed("invalid_variable", "the API needs all three: base, client_id and client_secret")
    return all(given)


def _list_schedules(schedules: t.Iterable[Schedule]) -> list[dict[str, str]]:
    return [{"id": each.id, "name": each.name} for each in schedules]


def _api(given: t.Mapping[str, t.Any], node: _Record) -> _schedules.Api:
    _schedules.check_base(given["base"])
    ca_file = str(Path(given["ca_file"]).expanduser()) if given["ca_file"] else ""
    if ca_file and not Path(ca_file).is_file():
        raise StepFailed("invalid_variable", f"the file {ca_file} with CA certificates for the API does not exist")
    if given["base"].lower().startswith("http:"):
        warn("the API is not reached by HTTPS: its secret can be read on the way")
    elif not given["validate_certs"]:
        warn("the certificate of the API is not verified, so another computer could receive the secret")

    def send(request: Request) -> Response:
        node.sign_of_life()
        return _send(request, ca_file, given)

    settings = ("token_path", "listing_path", "item_path", "id_field", "name_field", "enabled_field")
    fields = {key.removesuffix("_path"): given[key] for key in settings if given[key]}
    return _schedules.Api(
        send, _schedules.Endpoints(given["base"], **fields), given["client_id"], given["client_secret"]
    )


def _send(request: Request, ca_file: str, given: t.Mapping[str, t.Any]) -> Response:
    try:
        # Redirects are not followed, because they would send the secret to another server. netrc is not read, because
        # it would replace the header.
        with open_url(
            request.url, method=request.method, headers=dict(request.headers), data=request.body or None,
            timeout=given["request_timeout"], validate_certs=given["validate_certs"], ca_path=ca_file or None,
            use_proxy=given["use_proxy"], follow_redirects="none", use_netrc=False,
        ) as answer:  # fmt: skip
            return Response(answer.status, answer.read(_MAXIMUM_BYTES).decode("utf-8", "replace"))
    except urllib.error.HTTPError as error:
        with error:
            return Response(error.code, "")
    except urllib.error.URLError as error:
        # The cause is more precise: connection refused, unknown name, or a certificate of another server.
        raise (error.reason if isinstance(error.reason, OSError) else OSError("no answer")) from None
    except http.client.HTTPException:
        raise ConnectionError("no answer of HTTP") from None

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pausing schedules through the Server's V3 API, so that no new workflow begins while a fleet is drained.

The enabled schedules are recorded before any of them is disabled. Only schedules in the record are enabled again. Those
that could not be enabled stay in the record for the next run. The API cannot pause all schedules at once. Its paths and
fields are settings, because they could not be tested on a real Server.
"""

from __future__ import annotations

import base64
import json
import typing as t
from dataclasses import dataclass, replace
from urllib.parse import quote, urlencode, urlsplit

from .._core.reasons import StepFailed
from .._core.text import name_some

SCHEMA = 1

ROUNDS = 3
"""The number of attempts for a schedule that the API does not enable although it answers."""

_SILENT = 2
"""After this number of schedules in a row without an answer, the API counts as lost."""

_NAMED = 20

Wait = t.Callable[[str], bool]
"""Waits a while for the reason in the text; False if the time is over."""


@dataclass(frozen=True)
class Request:
    """method, url, headers, body: one HTTP request; headers and body may contain secrets."""

    method: str
    url: str
    headers: t.Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class Response:
    """status: of HTTP. body: text."""

    status: int
    body: str


T = t.TypeVar("T")

Http = t.Callable[[Request], Response]
"""Sends a request. Every status counts as an answer. Raises OSError if there was no answer."""


@dataclass(frozen=True)
class Endpoints:
    """The address of the API and the names of its fields; base is the address up to and including /webapi."""

    base: str
    token: str = "/oauth2/token"  # noqa: S105 - a path
    listing: str = "/v3/schedules"
    item: str = "/v3/schedules/{id}"
    id_field: str = "id"
    name_field: str = "name"
    enabled_field: str = "enabled"

    def url(self, path: str, identity: str = "") -> str:
        """The address of a path."""
        return self.base.rstrip("/") + path.replace("{id}", quote(identity, safe=""))


def check_base(base: str) -> None:
    """Refuses an invalid address. The address is shown and recorded, so it must not contain a login.

    Raises:
        StepFailed: invalid_variable.
    """
    try:
        parts = urlsplit(base)
        good = (
            parts.scheme in ("https", "http")
            and parts.hostname
            and not (parts.username or parts.password or parts.query or parts.fragment)
        )
        good = good and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise StepFailed(
            "invalid_variable", "the address of the API must be http(s)://HOST/webapi, without a login in it"
        )


@dataclass(frozen=True)
class Schedule:
    """One schedule as the API lists it."""

    id: str
    name: str
    enabled: bool


@dataclass(frozen=True)
class Record:
    """The schedules that a run has paused or was about to pause. The record is written before the first schedule is
    changed, and removed when it is empty."""

    run_id: str
    base: str
    schedules: tuple[Schedule, ...]

    def text(self) -> str:
        """The record as JSON, without secrets."""
        content = {
            "schema": SCHEMA,
            "run_id": self.run_id,
            "base": self.base,
            "schedules": [{"id": each.id, "name": each.name} for each in self.schedules],
        }
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def read_record(text: str) -> Record:
    """Reads a record.

    Raises:
        StepFailed: schedules_record_bad. Its content is then not known, and the record must not be overwritten.
    """
    try:
        content = json.loads(text)
        if content["schema"] != SCHEMA:
            raise ValueError(f"schema {content['schema']}")
        schedules = tuple(Schedule(str(each["id"]), str(each["name"]), enabled=True) for each in content["schedules"])
        return Record(str(content["run_id"]), str(content["base"]), schedules)
    except (ValueError, KeyError, TypeError) as error:
        raise StepFailed("schedules_record_bad", f"the record of paused schedules cannot be read: {error!r}") from error


def check_server(record: Record, base: str) -> None:
    """Checks that the record belongs to this Server.

    Raises:
        StepFailed: schedules_record_bad.
    """
    if record.base.rstrip("/").lower() != base.rstrip("/").lower():
        raise StepFailed(
            "schedules_record_bad",
            f"the run {record.run_id} has left schedules of {record.base} paused, this run is about {base}",
        )


def list_names(schedules: t.Iterable[Schedule]) -> str:
    """Names for people; only the first if there are very many."""
    return name_some([" ".join((each.name or each.id).split()) for each in schedules], _NAMED)


def count_schedules(schedules: t.Sized) -> str:
    """1 schedule, 2 schedules."""
    return f"{len(schedules)} schedule{'' if len(schedules) == 1 else 's'}"


def describe_left_paused(record: Record, knows_api: bool) -> str:
    """The text about the record of an interrupted run. knows_api: are the credentials of the API set?"""
    then = (
        "this run enables them again"
        if knows_api
        else "they stay so until a run has the API's credentials, alteryx_window_schedules_api"
    )
    return (
        f"the run {record.run_id} has left {count_schedules(record.schedules)} paused; {then}:"
        f" {list_names(record.schedules)}"
    )


def record_of(run_id: str, base: str, listed: t.Sequence[Schedule], left: Record | None) -> Record:
    """The record that a run must write before it pauses: all schedules that are enabled now, and those that an
    interrupted run has left disabled.

    Raises:
        StepFailed: schedules_record_bad if the existing record belongs to another Server.
    """
    if left:
        check_server(left, base)
    there = {each.id for each in listed}
    inherited = [each for each in left.schedules if each.id in there] if left else []
    enabled = [each for each in listed if each.enabled]
    known = {each.id for each in enabled}
    return Record(run_id, base, (*enabled, *(each for each in inherited if each.id not in known)))


class Api:
    """The calls of the API that are needed. Messages name method, path and status, but never a body, because answers
    may contain tokens."""

    def __init__(self, http: Http, endpoints: Endpoints, client_id: str, client_secret: str) -> None:
        self._http = http
        self._endpoints = endpoints
        self._login = (client_id, client_secret)
        self._token = ""

    def log_in(self) -> None:
        """Fetches a new token, because an old one may be invalid after a restart. Raises as listing does."""
        self._token = self._fetch_token()

    def listing(self) -> tuple[Schedule, ...]:
        """Every schedule. Raises StepFailed: schedules_unreachable, schedules_denied, schedules_unclear."""
        answer = self._call("GET", self._endpoints.listing)
        try:
            entries = json.loads(answer.body)
            if not isinstance(entries, list):
                # The answer has pages or is a message. An incomplete list would leave schedules running.
                raise TypeError("no list")
            return tuple(self._schedule(entry) for entry in entries)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StepFailed(
                "schedules_unclear",
                f"GET {self._endpoints.listing} did not answer with a list of schedules: {type(error).__name__}",
            ) from None

    def enable(self, identity: str, enabled: bool) -> bool:
        """Enables or disables one schedule. False if it does not exist any more."""
        return (
            self._call(
                "PATCH", self._endpoints.item, identity, {self._endpoints.enabled_field: enabled}, allow=(404,)
            ).status
            != 404
        )

    def _schedule(self, entry: t.Mapping[str, t.Any]) -> Schedule:
        fields = self._endpoints
        enabled = entry[fields.enabled_field]
        if not isinstance(enabled, bool):
            raise TypeError(fields.enabled_field)
        return Schedule(str(entry[fields.id_field]), str(entry.get(fields.name_field) or ""), enabled)

    def _call(
        self, method: str, path: str, identity: str = "", body: t.Any = None, allow: t.Sequence[int] = ()
    ) -> Response:
        content = b"" if body is None else json.dumps(body).encode()
        had_token = bool(self._token)
        answer = self._call_authorised(method, path, identity, content)
        if answer.status == 401 and had_token:
            # A token expires sooner than a backup ends.
            self._token = ""
            answer = self._call_authorised(method, path, identity, content)
        if 200 <= answer.status < 300 or answer.status in allow:
            return answer
        raise _explain_refusal(f"{method} {path}", answer.status, denied=(401, 403))

    def _call_authorised(self, method: str, path: str, identity: str, content: bytes) -> Response:
        if not self._token:
            self.log_in()
        headers = {
            "Authorization": f"Bearer {self._token}",
            "Accept": "application/json",
            **({"Content-Type": "application/json"} if content else {}),
        }
        return self._send(Request(method, self._endpoints.url(path, identity), headers, content), path)

    def _fetch_token(self) -> str:
        user, secret = self._login
        login = base64.b64encode(f"{quote(user, safe='')}:{quote(secret, safe='')}".encode()).decode()
        headers = {
            "Authorization": f"Basic {login}",
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
        }
        body = urlencode({"grant_type": "client_credentials"}).encode()
        answer = self._send(
            Request("POST", self._endpoints.url(self._endpoints.token), headers, body), self._endpoints.token
        )
        if answer.status != 200:
            # OAuth 2 answers 400 to a client it does not know.
            raise _explain_refusal(f"POST {self._endpoints.token}", answer.status, denied=(400, 401, 403))
        try:
            token = json.loads(answer.body)["access_token"]
        except (ValueError, KeyError, TypeError):
            token = ""
        # A value that is invalid in a header would be quoted in the exception of the library that refuses it.
        if not isinstance(token, str) or not (token.isascii() and token.isprintable() and token):
            raise StepFailed("schedules_unclear", f"POST {self._endpoints.token} answered without an access token")
        return token

    def _send(self, request: Request, path: str) -> Response:
        try:
            return self._http(request)
        except OSError as error:
            # The text of the exception may contain the address with its parameters, so only its type is used.
            raise StepFailed(
                "schedules_unreachable", f"{request.method} {path}: no answer ({type(error).__name__})"
            ) from None


def _explain_refusal(what: str, status: int, denied: t.Collection[int]) -> StepFailed:
    message = f"{what} answered with status {status}"
    if status in denied:
        return StepFailed("schedules_denied", message)
    if status in (502, 503, 504):
        # The answer comes from a proxy in front of the API, or from the API while it starts.
        return StepFailed("schedules_unreachable", message)
    return StepFailed("schedules_unclear", message)


def ask_patiently(call: t.Callable[[], T], wait: Wait) -> T:
    """The result of a call of the API. The call is repeated while there is no answer and the time is not over.

    Raises:
        StepFailed: of the last call.
    """
    while True:
        try:
            return call()
        except StepFailed as failure:
            if failure.reason.name != "schedules_unreachable" or not wait(failure.message):
                raise


@dataclass(frozen=True)
class Result:
    """done: schedules that have the wanted state now.

    gone: deleted meanwhile. left: could not be changed. problem: the first reason. silent: the API did not answer for
    any of those left.
    """

    done: tuple[Schedule, ...]
    gone: tuple[Schedule, ...]
    left: tuple[Schedule, ...]
    problem: str = ""
    silent: bool = False


def pause(
    api: Api,
    run_id: str,
    base: str,
    left: Record | None,
    save: t.Callable[[Record], None],
    wait: Wait = lambda _: False,
) -> Record:
    """Disables every enabled schedule.

    Args:
        left: the record of a dead run, None when there is none.
        save: stores the record where the next run finds it; called before the first schedule is changed.
        wait: for an API that has not started yet.

    Returns:
        The record, for resume.

    Raises:
        StepFailed: of Api; schedules_unclear also if schedules are still enabled. The record contains the schedules
            that are disabled by then, and resume enables them.
    """
    listed = ask_patiently(api.listing, wait)
    record = record_of(run_id, base, listed, left)
    if record.schedules:
        save(record)
    now = {each.id: each.enabled for each in listed}
    for each in record.schedules:
        if now[each.id]:
            api.enable(each.id, enabled=False)
    # The list is read again as a proof, because 404 means a wrong path as well as a deleted schedule.
    now = {each.id: each.enabled for each in api.listing()} if any(now.values()) else now
    if still := [each for each in record.schedules if now.get(each.id)]:
        raise StepFailed("schedules_unclear", f"still enabled after they were paused: {list_names(still)}")
    return record


def resume(api: Api, record: Record, save: t.Callable[[Record | None], None]) -> Result:
    """Enables exactly the schedules in the record.

    Continues after a failure, because every schedule counts. A schedule is removed from the record only when the list
    shows that it is enabled or does not exist any more.

    Args:
        save: stores the rest of the record; None if it is empty.
    """
    problems: list[tuple[str, StepFailed]] = []
    tried: list[Schedule] = []
    in_a_row = 0
    for each in record.schedules:
        try:
            api.enable(each.id, enabled=True)
            tried.append(each)
            in_a_row = 0
        except StepFailed as failure:
            problems.append((f"{list_names([each])}: {failure.message}", failure))
            in_a_row = in_a_row + 1 if failure.reason.name == "schedules_unreachable" else 0
            if in_a_row == _SILENT:
                break
    done: list[Schedule] = []
    gone: list[Schedule] = []
    try:
        now = {each.id: each.enabled for each in api.listing()} if tried else {}
        done = [each for each in tried if now.get(each.id)]
        gone = [each for each in tried if each.id not in now]
    except StepFailed as failure:
        problems.append((failure.message, failure))
    settled = {each.id for each in (*done, *gone)}
    left = tuple(each for each in record.schedules if each.id not in settled)
    save(replace(record, schedules=left) if left else None)
    problem = (
        next((text for text, _unused in problems), "the API has taken it and lists it as not enabled") if left else ""
    )
    silent = bool(problems) and all(failure.reason.name == "schedules_unreachable" for _unused, failure in problems)
    return Result(tuple(done), tuple(gone), left, problem, silent)


def resume_patiently(api: Api, record: Record, save: t.Callable[[Record | None], None], wait: Wait) -> Result:
    """Runs resume as soon as the API answers. Repeats it while there is no answer, and ROUNDS times for schedules that
    the API does not enable although it answers."""
    done: list[Schedule] = []
    gone: list[Schedule] = []
    left = record
    rounds = 0
    while True:
        try:
            ask_patiently(api.log_in, wait)
        except StepFailed as failure:
            return Result(tuple(done), tuple(gone), left.schedules, failure.message)
        result = resume(api, left, save)
        done += result.done
        gone += result.gone
        left = replace(left, schedules=result.left)
        rounds += 0 if result.silent else 1
        if not result.left or rounds == ROUNDS or not wait(result.problem):
            return replace(result, done=tuple(done), gone=tuple(gone))

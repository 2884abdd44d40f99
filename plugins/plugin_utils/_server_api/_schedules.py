# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pausing schedules through the Server's V3 API, so that nothing new begins while a fleet is drained, and never
losing which were enabled.

What is enabled is recorded before anything is disabled; only what the record names is enabled again; what could not be
stays in the record for the next run. The API has no way to pause everything at once (facts: V3 API); its paths and
fields are settings, because they could not be tried on a real Server.
"""

from __future__ import annotations

import base64
import json
import typing as t
from dataclasses import dataclass, replace
from urllib.parse import quote, urlencode, urlsplit

from .._core.reasons import StepFailed

SCHEMA = 1

ROUNDS = 3
"""So often a schedule is tried that the API answers about and does not enable."""

_SILENT = 2
"""So many schedules in a row without an answer, and the API is taken for gone."""

_NAMED = 20

Wait = t.Callable[[str], bool]
"""Waits a while because of what the text says; False when the time is over."""


@dataclass(frozen=True)
class Request:
    """method, url, headers, body: one HTTP request; headers and body may hold secrets."""

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
"""Sends a request; every status is an answer. Raises OSError when there was none."""


@dataclass(frozen=True)
class Endpoints:
    """Where the API is and what its fields are called; base is the address up to and with /webapi."""

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
    """Refuses an address that cannot be one; it is shown and recorded, so it may hold no login.

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
    """What a run has paused or was about to: written before the first schedule is touched, removed
    when none is left in it."""

    run_id: str
    base: str
    schedules: tuple[Schedule, ...]

    def text(self) -> str:
        """The record as JSON; holds no secret."""
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
        StepFailed: schedules_record_bad. What is in it is not known then, and must not be overwritten.
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
    """The schedules of one Server are none of another.

    Raises:
        StepFailed: schedules_record_bad.
    """
    if record.base.rstrip("/").lower() != base.rstrip("/").lower():
        raise StepFailed(
            "schedules_record_bad",
            f"the run {record.run_id} has left schedules of {record.base} paused, this run is about {base}",
        )


def list_names(schedules: t.Iterable[Schedule]) -> str:
    """Names for people; of very many the first."""
    names = [" ".join((each.name or each.id).split()) for each in schedules]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def count_schedules(schedules: t.Sized) -> str:
    """1 schedule, 2 schedules."""
    return f"{len(schedules)} schedule{'' if len(schedules) == 1 else 's'}"


def describe_left_paused(record: Record, knows_api: bool) -> str:
    """What is said of the record of a dead run. knows_api: are the API's credentials given?"""
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
    """What a run must record before it pauses: everything enabled now, and what a dead run has left disabled.

    Raises:
        StepFailed: schedules_record_bad when the record left is of another Server.
    """
    if left:
        check_server(left, base)
    there = {each.id for each in listed}
    inherited = [each for each in left.schedules if each.id in there] if left else []
    enabled = [each for each in listed if each.enabled]
    known = {each.id for each in enabled}
    return Record(run_id, base, (*enabled, *(each for each in inherited if each.id not in known)))


class Api:
    """The few calls that are needed. Messages name method, path and status, never a body: answers may hold tokens."""

    def __init__(self, http: Http, endpoints: Endpoints, client_id: str, client_secret: str) -> None:
        self._http = http
        self._endpoints = endpoints
        self._login = (client_id, client_secret)
        self._token = ""

    def log_in(self) -> None:
        """Fetches a token, whatever there was: that of before a restart may be none any more.
        Raises as listing does."""
        self._token = self._fetch_token()

    def listing(self) -> tuple[Schedule, ...]:
        """Every schedule. Raises StepFailed: schedules_unreachable, schedules_denied, schedules_unclear."""
        answer = self._call("GET", self._endpoints.listing)
        try:
            entries = json.loads(answer.body)
            if not isinstance(entries, list):
                # Pages, or a message: half a list would leave schedules running.
                raise TypeError("no list")
            return tuple(self._schedule(entry) for entry in entries)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StepFailed(
                "schedules_unclear",
                f"GET {self._endpoints.listing} did not answer with a list of schedules: {type(error).__name__}",
            ) from None

    def enable(self, identity: str, enabled: bool) -> bool:
        """Switches one schedule. False when it is gone."""
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
            # A token lives shorter than a backup.
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
        # What could not stand in a header would be told by the library that refuses it.
        if not isinstance(token, str) or not (token.isascii() and token.isprintable() and token):
            raise StepFailed("schedules_unclear", f"POST {self._endpoints.token} answered without an access token")
        return token

    def _send(self, request: Request, path: str) -> Response:
        try:
            return self._http(request)
        except OSError as error:
            # Its text may hold the address with what is in it; its kind says enough.
            raise StepFailed(
                "schedules_unreachable", f"{request.method} {path}: no answer ({type(error).__name__})"
            ) from None


def _explain_refusal(what: str, status: int, denied: t.Collection[int]) -> StepFailed:
    message = f"{what} answered with status {status}"
    if status in denied:
        return StepFailed("schedules_denied", message)
    if status in (502, 503, 504):
        # What stands in front of the API, or the API on its way up.
        return StepFailed("schedules_unreachable", message)
    return StepFailed("schedules_unclear", message)


def ask_patiently(call: t.Callable[[], T], wait: Wait) -> T:
    """What a call of the API returns; called again while nobody answers and there is time.

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
    """done: schedules switched or found switched. gone: deleted meanwhile. left: could not be switched.
    problem: why, the first.

    silent: of none that is left came an answer.
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
        save: keeps the record where the next run finds it; called, and returned, before the first schedule is touched.
        wait: for an API that is not up yet.

    Returns:
        The record, for resume.

    Raises:
        StepFailed: of Api; schedules_unclear too when schedules are still enabled. What is disabled by then stands
            in the record: resume it.
    """
    listed = ask_patiently(api.listing, wait)
    record = record_of(run_id, base, listed, left)
    if record.schedules:
        save(record)
    now = {each.id: each.enabled for each in listed}
    for each in record.schedules:
        if now[each.id]:
            api.enable(each.id, enabled=False)
    # Proved, not believed: a wrong path is a 404 as well as a schedule that was deleted just now.
    now = {each.id: each.enabled for each in api.listing()} if any(now.values()) else now
    if still := [each for each in record.schedules if now.get(each.id)]:
        raise StepFailed("schedules_unclear", f"still enabled after they were paused: {list_names(still)}")
    return record


def resume(api: Api, record: Record, save: t.Callable[[Record | None], None]) -> Result:
    """Enables what the record names, and nothing else; goes on after a failure, because every schedule counts.

    A schedule leaves the record only when the list shows that it is enabled, or is not there any more.

    Args:
        save: keeps what is left of the record; None when nothing is.
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
    """resume, as soon as the API answers; again while it does not, and ROUNDS times for what it
    answers and does not enable."""
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

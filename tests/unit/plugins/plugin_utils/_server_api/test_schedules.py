# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Schedules are paused only after it is written down which were enabled, and every ending
enables exactly those again."""

from __future__ import annotations

import base64
import json
import typing as t
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import StepFailed
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._server_api import _schedules
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._server_api._schedules import (
    Record,
    Request,
    Response,
    Schedule,
)

BASE = "https://ayx.example.test/webapi"
SECRET = "s3cr3t/+:"
ENDPOINTS = _schedules.Endpoints(BASE)


class Death(BaseException):
    """The run has ended, with all of its code."""


class Server:
    """A double of the API: schedules, tokens that end, calls that fail."""

    def __init__(self, schedules: dict[str, bool]) -> None:
        self.enabled = dict(schedules)
        self.log: list[str] = []
        self.tokens = 0
        self.token_lives = 10**9
        self.fail: Callable[[str], Response | BaseException | None] = lambda _: None

    def __call__(self, request: Request) -> Response:
        path = request.url.removeprefix(BASE)
        what = f"{request.method} {path}"
        self.log.append(f"{what} {request.body.decode()}".strip())
        failure = self.fail(what)
        if isinstance(failure, BaseException):
            raise failure
        if failure:
            return failure
        if path == "/oauth2/token":
            return self._token(request)
        if request.headers["Authorization"] != f"Bearer token{self.tokens}" or self.token_lives == 0:
            return Response(401, "")
        self.token_lives -= 1
        return self._schedules(request, path)

    def _token(self, request: Request) -> Response:
        login = base64.b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode()
        if login != "key:s3cr3t%2F%2B%3A" or request.body != b"grant_type=client_credentials":
            return Response(400, '{"error": "invalid_client"}')
        self.tokens += 1
        self.token_lives = max(self.token_lives, 3)
        return Response(200, json.dumps({"access_token": f"token{self.tokens}", "expires_in": 3600}))

    def _schedules(self, request: Request, path: str) -> Response:
        if path == "/v3/schedules":
            return Response(
                200,
                json.dumps(
                    [
                        {"id": key, "name": f"name of {key}", "enabled": on, "priority": "Low"}
                        for key, on in self.enabled.items()
                    ]
                ),
            )
        identity = path.rpartition("/")[2]
        if identity not in self.enabled:
            return Response(404, "")
        if request.method == "PATCH":
            self.enabled[identity] = json.loads(request.body)["enabled"]
        return Response(200, json.dumps({"id": identity, "name": "", "enabled": self.enabled[identity]}))


class Store:
    """Where the record is kept; says when it was written."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.text: str | None = None

    def save(self, record: Record | None) -> None:
        self.server.log.append("saved" if record else "removed")
        self.text = record.text() if record else None

    def left(self) -> Record | None:
        return _schedules.read_record(self.text) if self.text is not None else None


def api(server: Server, secret: str = SECRET) -> _schedules.Api:
    return _schedules.Api(server, ENDPOINTS, "key", secret)


def pause(server: Server, store: Store, run_id: str = "run1") -> Record:
    return _schedules.pause(api(server), run_id, BASE, store.left(), store.save)


def reason(call: Callable[[], t.Any]) -> str:
    with pytest.raises(StepFailed) as failure:
        call()
    assert SECRET not in failure.value.message
    assert "token1" not in failure.value.message
    return failure.value.reason.name


def test_what_is_enabled_is_written_down_before_the_first_is_disabled() -> None:
    server = Server({"a": True, "b": False, "c": True})
    store = Store(server)
    record = pause(server, store)
    assert server.enabled == {"a": False, "b": False, "c": False}
    changes = [line for line in server.log if line.startswith(("PATCH", "saved"))]
    assert changes == ["saved", 'PATCH /v3/schedules/a {"enabled": false}', 'PATCH /v3/schedules/c {"enabled": false}']
    assert record.text() == store.text
    result = _schedules.resume(api(server), record, store.save)
    assert server.enabled == {"a": True, "b": False, "c": True}
    assert ([each.id for each in result.done], result.gone, result.left, store.text) == (["a", "c"], (), (), None)


def test_a_server_without_enabled_schedules_is_only_read() -> None:
    server = Server({"b": False})
    store = Store(server)
    assert pause(server, store).schedules == ()
    assert [line for line in server.log if line.startswith(("PATCH", "saved"))] == []


def test_a_schedule_that_somebody_deletes_meanwhile_is_said() -> None:
    server = Server({"a": True, "b": True})
    store = Store(server)
    record = pause(server, store)
    del server.enabled["a"]
    result = _schedules.resume(api(server), record, store.save)
    assert ([each.id for each in result.gone], [each.id for each in result.done], store.text) == (["a"], ["b"], None)


def test_a_token_that_ends_is_fetched_again() -> None:
    server = Server(dict.fromkeys("abcdefg", True))
    server.token_lives = 3
    pause(server, Store(server))
    assert set(server.enabled.values()) == {False}
    assert server.tokens > 1


def test_what_cannot_be_enabled_stays_in_the_record_and_the_rest_is_done() -> None:
    server = Server({"a": True, "b": True, "c": True})
    store = Store(server)
    record = pause(server, store)
    server.fail = lambda what: Response(500, "") if what.endswith("/b") else None
    result = _schedules.resume(api(server), record, store.save)
    assert ([each.id for each in result.done], [each.id for each in result.left]) == (["a", "c"], ["b"])
    assert result.problem == "name of b: PATCH /v3/schedules/{id} answered with status 500"
    left = store.left()
    assert left is not None
    server.fail = lambda _: None
    _schedules.resume(api(server), left, store.save)
    assert (set(server.enabled.values()), store.text) == ({True}, None)


IDS = st.sampled_from("abcdef")


@given(st.dictionaries(IDS, st.booleans(), min_size=1), st.integers(0, 20), st.integers(0, 20))
def test_wherever_runs_die_the_last_one_enables_exactly_what_was_enabled(
    schedules: dict[str, bool], first_death: int, second_death: int
) -> None:
    server = Server(schedules)
    store = Store(server)

    def dying_after(calls: int) -> Callable[[str], BaseException | None]:
        left = [calls]

        def fail(what: str) -> BaseException | None:
            left[0] -= 1
            return Death() if left[0] < 0 else None

        return fail

    for number, death in enumerate((first_death, second_death)):
        server.fail = dying_after(death)
        try:
            record = pause(server, store, f"run{number}")
            _schedules.resume(api(server), record, store.save)
        except Death:
            pass
    server.fail = lambda _: None
    if left := store.left():
        _schedules.resume(api(server), left, store.save)
    assert server.enabled == schedules
    assert store.text is None


def test_a_run_inherits_what_a_dead_one_has_left_paused() -> None:
    left = Record("dead", BASE + "/", (Schedule("a", "A", True), Schedule("gone", "", True), Schedule("b", "B", True)))
    listed = [Schedule("a", "A", False), Schedule("b", "B", True), Schedule("c", "C", False), Schedule("d", "D", True)]
    record = _schedules.record_of("run2", BASE, listed, left)
    assert (record.run_id, [each.id for each in record.schedules]) == ("run2", ["b", "d", "a"])
    assert reason(lambda: _schedules.record_of("run2", "https://other/webapi", listed, left)) == "schedules_record_bad"


@given(st.text(), st.lists(st.tuples(st.text(), st.text())))
def test_a_record_is_read_back_as_it_was_written(run_id: str, schedules: list[tuple[str, str]]) -> None:
    record = Record(run_id, BASE, tuple(Schedule(identity, name, True) for identity, name in schedules))
    assert _schedules.read_record(record.text()) == record


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", '{"schema": 2}', '{"schema": 1}', '{"schema": 1, "schedules": 5}',
        '{"schema": 1, "run_id": "x", "base": "y", "schedules": [{}]}',
    ],
)  # fmt: skip
@pytest.mark.reaches("schedules_record_bad")
def test_a_record_that_cannot_be_read_is_not_taken_for_an_empty_one(text: str) -> None:
    assert reason(lambda: _schedules.read_record(text)) == "schedules_record_bad"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Response(500, SECRET), "schedules_unclear"), (Response(302, ""), "schedules_unclear"),
        (Response(403, ""), "schedules_denied"), (Response(401, ""), "schedules_denied"),
        (ConnectionRefusedError(SECRET), "schedules_unreachable"), (TimeoutError(SECRET), "schedules_unreachable"),
        *((Response(200, body), "schedules_unclear") for body in (
            "<html>", "{}", '{"data": []}', "[1]", '[{"id": "a"}]', '[{"id": "a", "enabled": "true"}]', "null",
        )),
    ],
)  # fmt: skip
@pytest.mark.reaches("schedules_unreachable", when="schedules_unreachable")
@pytest.mark.reaches("schedules_unclear", when="schedules_unclear")
def test_an_invalid_answer_is_refused_and_no_schedule_is_paused(answer: Response | Exception, expected: str) -> None:
    server = Server({"a": True})
    server.fail = lambda what: answer if what == "GET /v3/schedules" else None
    store = Store(server)
    assert reason(lambda: pause(server, store)) == expected
    assert (server.enabled, store.text) == ({"a": True}, None)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        *((answer, "schedules_unclear") for answer in (Response(200, "{}"), Response(200, "x"), Response(500, ""))),
        *((answer, "schedules_unreachable") for answer in (OSError(SECRET), Response(503, ""))),
    ],
)
def test_a_log_in_that_fails_is_said(answer: Response | Exception, expected: str) -> None:
    server = Server({"a": True})
    server.fail = lambda what: answer if what == "POST /oauth2/token" else None
    assert reason(lambda: pause(server, Store(server))) == expected


@pytest.mark.reaches("schedules_denied")
def test_wrong_credentials_are_denied() -> None:
    assert reason(lambda: api(Server({}), "wrong").listing()) == "schedules_denied"


def test_paths_and_fields_are_settings() -> None:
    endpoints = _schedules.Endpoints(
        "https://h/x/", listing="/v4/plans", item="/v4/plans/{id}/state", enabled_field="active", id_field="key"
    )
    seen: list[Request] = []

    def http(request: Request) -> Response:
        seen.append(request)
        return Response(200, '{"access_token": "t"}' if "token" in request.url else '[{"key": "a/b", "active": true}]')

    server = _schedules.Api(http, endpoints, "key", SECRET)
    assert server.listing() == (Schedule("a/b", "", True),)
    assert server.enable("a/b", enabled=False)
    assert [request.url for request in seen] == [
        "https://h/x/oauth2/token",
        "https://h/x/v4/plans",
        "https://h/x/v4/plans/a%2Fb/state",
    ]
    assert seen[-1].body == b'{"active": false}'
    assert not any(SECRET in request.url for request in seen)


class Waiting:
    """A wait of so many rounds; heal is called at each."""

    def __init__(self, rounds: int, heal: Callable[[int], None] = lambda _: None) -> None:
        self.rounds, self.heal = rounds, heal
        self.problems: list[str] = []

    def __call__(self, problem: str) -> bool:
        if len(self.problems) == self.rounds:
            return False
        self.problems.append(problem)
        self.heal(len(self.problems))
        return True


def paused(schedules: dict[str, bool]) -> tuple[Server, Store, Record]:
    server = Server(schedules)
    store = Store(server)
    return server, store, pause(server, store)


def test_an_api_that_is_on_its_way_up_is_waited_for() -> None:
    server, store, record = paused({"a": True, "b": False})
    server.fail = lambda _: Response(503, "")
    waiting = Waiting(9, lambda number: setattr(server, "fail", lambda _: None) if number == 4 else None)
    result = _schedules.resume_patiently(api(server), record, store.save, waiting)
    assert ([each.id for each in result.done], result.left, store.text) == (["a"], (), None)
    assert waiting.problems == ["POST /oauth2/token answered with status 503"] * 4
    server.fail = lambda what: ConnectionRefusedError() if len(again.problems) < 2 else None
    again = Waiting(9)
    _schedules.pause(api(server), "run2", BASE, None, store.save, again)
    assert (server.enabled, len(again.problems)) == ({"a": False, "b": False}, 2)


def test_an_api_that_stays_away_leaves_everything_in_the_record() -> None:
    server, store, record = paused({"a": True, "b": True})
    server.fail = lambda _: ConnectionRefusedError()
    result = _schedules.resume_patiently(api(server), record, store.save, Waiting(3))
    assert ([each.id for each in result.left], result.problem) == (
        ["a", "b"],
        "POST /oauth2/token: no answer (ConnectionRefusedError)",
    )
    assert store.left() == record


def test_credentials_that_are_refused_are_not_tried_again() -> None:
    server, store, record = paused({"a": True, "b": True})
    server.log.clear()
    waiting = Waiting(9)
    result = _schedules.resume_patiently(api(server, "wrong"), record, store.save, waiting)
    assert ([each.id for each in result.left], waiting.problems, len(server.log)) == (["a", "b"], [], 1)


def test_what_is_refused_is_tried_some_times_and_what_is_not_answered_as_long_as_there_is_time() -> None:
    for failure, tried in ((Response(500, ""), _schedules.ROUNDS), (TimeoutError(), 8)):
        server, store, record = paused({"a": True, "b": True, "c": True})
        server.log.clear()
        server.fail = lambda what, failure=failure: failure if what.endswith("/b") else None  # type: ignore[misc]
        result = _schedules.resume_patiently(api(server), record, store.save, Waiting(7))
        assert ([each.id for each in result.done], [each.id for each in result.left]) == (["a", "c"], ["b"])
        assert len([line for line in server.log if line.startswith("PATCH /v3/schedules/b")]) == tried
        left = store.left()
        assert left is not None
        assert [each.id for each in left.schedules] == ["b"]


def test_an_api_that_goes_away_again_is_not_asked_for_each_of_very_many() -> None:
    server, store, record = paused(dict.fromkeys("abcdefgh", True))
    server.log.clear()
    server.fail = lambda what: TimeoutError() if what.startswith("PATCH") and not what.endswith("/a") else None
    result = _schedules.resume(api(server), record, store.save)
    assert ([each.id for each in result.done], [each.id for each in result.left], result.silent) == (
        ["a"],
        list("bcdefgh"),
        True,
    )
    assert len([line for line in server.log if line.startswith("PATCH")]) == 3


@pytest.mark.parametrize(
    "base",
    [
        "",
        "ayx.example.test/webapi",
        "ftp://h/webapi",
        "https:///webapi",
        "https://u:p@h/webapi",
        "https://h/webapi?x=1",
        "https://[",
    ],
)
def test_an_invalid_address_or_one_with_a_login_is_refused(base: str) -> None:
    assert reason(lambda: _schedules.check_base(base)) == "invalid_variable"
    _schedules.check_base(BASE)


@pytest.mark.parametrize("token", ["a\r\nb", "tök", "", 5, None])
def test_a_token_that_fits_in_no_header_is_none(token: t.Any) -> None:
    server = Server({})
    server.fail = lambda _: Response(200, json.dumps({"access_token": token}))
    assert reason(lambda: api(server).listing()) == "schedules_unclear"


def test_people_read_names_of_very_many_the_first() -> None:
    assert _schedules.list_names([Schedule("a", "", True), Schedule("b", "two\n lines", True)]) == "a, two lines"
    assert _schedules.list_names([Schedule(str(number), "", True) for number in range(25)]).endswith(
        "18, 19 and 5 more"
    )


def test_a_wrong_path_is_not_taken_for_schedules_that_are_gone() -> None:
    server, store, record = paused({"a": True, "b": True})
    server.fail = lambda what: Response(404, "") if what.startswith("PATCH") else None
    result = _schedules.resume_patiently(api(server), record, store.save, Waiting(9))
    assert ([each.id for each in result.left], result.gone, store.left()) == (["a", "b"], (), record)
    server.enabled = {"a": True}
    assert reason(lambda: pause(server, store, "run2")) == "schedules_unclear"


def test_what_the_api_takes_and_does_not_do_is_not_believed() -> None:
    server, store, record = paused({"a": True, "b": True})
    server.fail = lambda what: Response(200, "{}") if what == "PATCH /v3/schedules/b" else None
    result = _schedules.resume(api(server), record, store.save)
    assert ([each.id for each in result.done], [each.id for each in result.left], result.silent) == (
        ["a"],
        ["b"],
        False,
    )
    assert "not enabled" in result.problem
    server.fail = lambda what: Response(503, "") if what == "GET /v3/schedules" else None
    result = _schedules.resume(api(server), record, store.save)
    assert ([each.id for each in result.left], result.silent) == (["a", "b"], True)

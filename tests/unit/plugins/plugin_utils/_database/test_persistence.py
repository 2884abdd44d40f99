# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every mode does to every kind of persistence."""

from __future__ import annotations

import itertools
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import StepFailed
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._database import _mongodb, _persistence
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._database._persistence import Options, Target
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._fleet import _runtime_settings as rs
from tests.unit.plugins import samples

DEFAULTS = samples.sections(samples.DEFAULTS)
MODES = ("full", "database", "config")
DATABASES = ("AlteryxService", "AlteryxGallery", "AlteryxGallery_Lucene")


def settings(controller: dict[str, str] | None = None, gallery: dict[str, str] | None = None) -> rs.EffectiveSettings:
    return rs.effective({"Controller": controller or {}, "Gallery": gallery or {}}, DEFAULTS)


def sample(letter: str) -> rs.EffectiveSettings:
    """A sample of the facts, as the node reports it: passwords hidden."""
    read = samples.settings_named(letter)
    hidden = {
        section: {name: text.replace("P%40ss", "(redacted)") for name, text in elements.items()}
        for section, elements in read.items()
    }
    return rs.effective(hidden, DEFAULTS)


def mongo(text: str = "mongodb://backup:x@db1.example.test/") -> _mongodb.Connection:
    return _mongodb.parse(text, "v")


def reason(call: t.Callable[[], t.Any]) -> str:
    with pytest.raises(StepFailed) as failure:
        call()
    assert failure.value.reason.exit_code == 3
    return failure.value.reason.name


OWN = {
    "embedded": settings({"EmbeddedMongoDBEnabled": "True"}),
    "mongodb": settings({"MongoDBEnabled": "True"}),
    "sqlserver": settings({"InventedSqlConnection": "Server=db"}),
    "contradictory": settings({"EmbeddedMongoDBEnabled": "True", "MongoDBEnabled": "True"}),
    "unknown": settings(),
}


@pytest.mark.parametrize(("found", "declared"), list(itertools.product(OWN, _persistence.KINDS)))
def test_a_declared_kind_counts_unless_the_settings_say_otherwise(found: str, declared: str) -> None:
    allowed = {
        ("contradictory", "embedded"),
        ("contradictory", "mongodb"),
        ("unknown", "mongodb"),
        ("unknown", "sqlserver"),
    }
    assert _persistence.resolve_kind(OWN[found]) == (found, "")
    if found == declared:
        assert _persistence.resolve_kind(OWN[found], declared) == (declared, "")
    elif (found, declared) in allowed:
        kind, warning = _persistence.resolve_kind(OWN[found], declared)
        assert kind == declared
        assert "alteryx_preflight_database_kind" in warning
    else:
        with pytest.raises(StepFailed) as failure:
            _persistence.resolve_kind(OWN[found], declared)
        assert failure.value.reason.name == "database_kind_contradicts"
        assert declared in failure.value.message
        assert "Controller/" in failure.value.message or "both switches" in failure.value.message


@pytest.mark.reaches("database_kind_contradicts")
def test_a_kind_that_contradicts_the_settings_is_refused() -> None:
    assert reason(lambda: _persistence.resolve_kind(OWN["embedded"], "mongodb")) == "database_kind_contradicts"


@pytest.mark.parametrize("declared", ["Embedded", "mongo", "sql", " "])
def test_a_kind_that_does_not_exist_is_refused(declared: str) -> None:
    assert reason(lambda: _persistence.resolve_kind(OWN["embedded"], declared)) == "invalid_variable"


def test_the_sample_with_its_own_server_and_the_ui_by_string() -> None:
    service, web, search = _persistence.stores(sample("e"))
    assert (service.database, web.database, search.database) == DATABASES
    assert (service.element, web.element, search.element) == (
        "Controller/MongoDBServerName",
        "Gallery/MongoDBWebConnection",
        "Gallery/MongoDBSearchConnection",
    )
    assert service.connection is not None
    assert web.connection is not None
    assert (service.connection.user, web.connection.user, web.connection.password) == ("ayx_service", "ayx_ui", "")
    assert (web.connection.replica_set, web.connection.tls) == ("rs0", True)


def test_without_overrides_everything_is_where_the_controller_says() -> None:
    found = _persistence.stores(
        settings({"MongoDBServerName": "db1:27020", "MongoDBDatabaseName": "Other", "MongoDBUserName": "u"})
    )
    assert [store.database for store in found] == ["Other", *DATABASES[1:]]
    assert {store.connection for store in found} == {found[0].connection}


def test_the_ui_by_host_and_port() -> None:
    web = {
        "MongoDBWebOverride": "true",
        "MongoDBWebServerName": "db2:27018",
        "MongoDBWebDatabaseName": "Web",
        "MongoDBWebUserName": "w",
    }
    _unused, found, search = _persistence.stores(settings({"MongoDBServerName": "db1"}, web))
    assert found.connection is not None
    assert (found.database, found.connection.hosts, found.connection.user, found.element) == (
        "Web",
        (("db2", 27018),),
        "w",
        "Gallery/MongoDBWebServerName",
    )
    assert search.element == "Controller/MongoDBServerName"


def test_the_controllers_string_is_known_by_its_look_because_its_name_is_not() -> None:
    found = _persistence.stores(
        settings(
            {
                "InventedConnection": "mongodb://u:(redacted)@db1,db2/AlteryxService?replicaSet=r",
                "MongoDBServerName": "old",
            }
        )
    )
    assert found[0].element == "Controller/InventedConnection"
    assert found[0].connection is not None
    assert found[0].connection.replica_set == "r"


def test_where_the_settings_say_nothing_nothing_is_made_up() -> None:
    assert [store.connection for store in _persistence.stores(settings({"MongoDBEnabled": "True"}))] == [
        None,
        None,
        None,
    ]


@pytest.mark.reaches("connection_invalid")
def test_an_override_without_a_place_is_refused() -> None:
    assert reason(lambda: _persistence.stores(settings({}, {"MongoDBSearchOverride": "True"}))) == "connection_invalid"


def test_a_ui_node_says_where_its_databases_are() -> None:
    ui = settings({}, {"MongoDBWebOverride": "True", "MongoDBWebConnection": "mongodb://db9/AlteryxGallery"})
    found = _persistence.stores(settings({"MongoDBServerName": "db1"}), [ui, settings(), ui])
    assert found[1].connection == mongo("mongodb://db9/AlteryxGallery")
    other = settings({}, {"MongoDBWebOverride": "True", "MongoDBWebConnection": "mongodb://db8/AlteryxGallery"})
    assert reason(lambda: _persistence.stores(settings(), [ui, other])) == "settings_contradict"


def test_one_login_for_the_backup_serves_every_database_on_its_server() -> None:
    given_login = mongo("mongodb://backup:x@db1.example.test:27017,db2.example.test:27017/?replicaSet=rs0&tls=true")
    (target,), warnings = _persistence.targets(_persistence.stores(sample("e")), {"service": given_login})
    assert (target.connection, target.databases, warnings) == (given_login, DATABASES, ())


def test_a_database_on_another_server_needs_a_login_of_its_own() -> None:
    web = {"MongoDBWebOverride": "True", "MongoDBWebConnection": "mongodb://u:(redacted)@db2/AlteryxGallery"}
    placed = _persistence.stores(settings({"MongoDBServerName": "db1"}, web))
    assert (
        reason(lambda: _persistence.targets(placed, {"service": mongo("mongodb://b:x@db1")})) == "mongodb_login_missing"
    )
    found, warnings = _persistence.targets(
        placed, {"service": mongo("mongodb://b:x@db1"), "web": mongo("mongodb://b:y@db2")}
    )
    dumped = {target.connection.hosts[0][0]: target.databases for target in found}
    assert dumped == {"db1": ("AlteryxService", "AlteryxGallery_Lucene"), "db2": ("AlteryxGallery",)}
    assert warnings == ()


@pytest.mark.reaches("mongodb_login_missing")
def test_a_login_is_missing_where_the_settings_hold_it_encrypted() -> None:
    with pytest.raises(StepFailed) as failure:
        _persistence.targets(_persistence.stores(sample("e")), {})
    assert failure.value.reason.name == "mongodb_login_missing"
    assert "ayx_service" in failure.value.message
    assert "Controller/MongoDBServerName" in failure.value.message
    assert reason(lambda: _persistence.targets(_persistence.stores(settings()), {})) == "mongodb_login_missing"


def test_a_server_without_users_needs_no_login() -> None:
    (target,), _unused = _persistence.targets(_persistence.stores(settings({"MongoDBServerName": "db1"})), {})
    assert (target.connection.hosts, target.databases) == ((("db1", 27017),), DATABASES)


def test_a_dump_from_elsewhere_is_said() -> None:
    _unused, warnings = _persistence.targets(
        _persistence.stores(settings({"MongoDBServerName": "db1"})), {"service": mongo("mongodb://b:x@secondary")}
    )
    assert "mongodb://db1:27017" in warnings[0]
    assert "mongodb://secondary:27017" in warnings[0]


ONE = (Target(mongo(), DATABASES),)
SET = (Target(mongo("mongodb://backup:x@db1,db2/?replicaSet=rs0"), DATABASES),)
TWO = (
    Target(mongo("mongodb://b:x@db1/?replicaSet=r"), DATABASES[:1]),
    Target(mongo("mongodb://b:x@db2"), DATABASES[1:]),
)


@pytest.mark.parametrize("kind", [*_persistence.KINDS, "unknown", "contradictory"])
@pytest.mark.parametrize("stop", [True, False])
def test_configuration_mode_works_with_everything_and_touches_nothing(kind: str, stop: bool) -> None:
    decision = _persistence.decide("config", kind, Options(stop=stop), apart=["x"])
    assert (decision.method, decision.dumps) == ("", ())


# mode, kind, options -> method, one point in time; or the reason of the refusal
TABLE: list[tuple[str, str, Options, tuple[Target, ...], t.Any]] = [
    ("full", "embedded", Options(), (), ("emongodump", True)),
    ("database", "embedded", Options(), (), ("emongodump", True)),
    # Without a stop there is no dump of the embedded one.
    ("full", "embedded", Options(stop=False), (), ("emongodump", True)),
    ("full", "mongodb", Options(), ONE, ("mongodump", True)),
    ("database", "mongodb", Options(), ONE, ("mongodump", True)),
    ("full", "mongodb", Options(stop=False), ONE, ("mongodump", False)),
    ("full", "mongodb", Options(stop=False), SET, ("mongodump", True)),
    ("full", "mongodb", Options(stop=False, oplog="never"), SET, ("mongodump", False)),
    ("full", "mongodb", Options(stop=False), TWO, ("mongodump", False)),
    ("full", "mongodb", Options(oplog="always"), SET, ("mongodump", True)),
    ("full", "mongodb", Options(oplog="always"), ONE, "oplog_impossible"),
    ("full", "mongodb", Options(oplog="always"), TWO, "oplog_impossible"),
    ("database", "sqlserver", Options(), (), "sqlserver_not_dumped"),
    ("database", "sqlserver", Options(sqlserver="hook"), (), "sqlserver_not_dumped"),
    ("full", "sqlserver", Options(), (), "sqlserver_not_dumped"),
    ("full", "sqlserver", Options(sqlserver="hook"), (), ("hook", None)),
    ("full", "unknown", Options(), (), "database_unknown"),
    ("database", "unknown", Options(), (), "database_unknown"),
    ("full", "contradictory", Options(), (), "settings_contradict"),
]


@pytest.mark.parametrize(("mode", "kind", "options", "where", "expected"), TABLE)
@pytest.mark.reaches("database_unknown", when="database_unknown")
@pytest.mark.reaches("sqlserver_not_dumped", when="sqlserver_not_dumped")
@pytest.mark.reaches("oplog_impossible", when="oplog_impossible")
def test_what_runs_in_every_mode_for_every_kind(
    mode: str, kind: str, options: Options, where: tuple[Target, ...], expected: t.Any
) -> None:
    if isinstance(expected, str):
        assert reason(lambda: _persistence.decide(mode, kind, options, where)) == expected
        return
    decision = _persistence.decide(mode, kind, options, where)
    assert (decision.method, decision.point_in_time) == expected
    assert decision.why


def test_without_a_stop_and_without_an_oplog_the_backup_says_what_it_may_not_be() -> None:
    decision = _persistence.decide("full", "mongodb", Options(stop=False), ONE)
    assert "may not be of one point in time" in decision.why
    assert decision.warnings == (decision.why,)


@pytest.mark.parametrize(
    ("string", "oplog"),
    [(SET, True), (ONE, False), (TWO, False)],
)
def test_the_connection_string_says_whether_there_is_an_oplog(string: tuple[Target, ...], oplog: bool) -> None:
    decision = _persistence.decide("full", "mongodb", Options(stop=False), string)
    assert decision.point_in_time is oplog


@given(
    st.sampled_from(["full", "database"]), st.booleans(), st.sampled_from(["auto", "always", "never"]), st.booleans(),
    st.sampled_from([ONE, SET, TWO]),
)  # fmt: skip
def test_every_dump_is_one_that_mongodump_accepts_and_together_they_hold_everything(
    mode: str,
    stop: bool,
    oplog: t.Literal["auto", "always", "never"],
    gzip: bool,
    where: tuple[Target, ...],
) -> None:
    possible = len(where) == 1 and bool(where[0].connection.replica_set)
    if oplog == "always" and not possible:
        assert (
            reason(lambda: _persistence.decide(mode, "mongodb", Options(stop, oplog, gzip), where))
            == "oplog_impossible"
        )
        return
    decision = _persistence.decide(mode, "mongodb", Options(stop, oplog, gzip), where)
    assert decision.point_in_time is (stop or all(dump.oplog for dump in decision.dumps))
    for dump in decision.dumps:
        arguments = _mongodb.arguments("c", "o", dump.database, dump.gzip, dump.oplog)
        assert ("--gzip" in arguments) is gzip
        assert not ("--oplog" in arguments and any(each.startswith("--db") for each in arguments))
        if dump.oplog:
            assert possible
            assert oplog != "never"
    if not any(dump.oplog for dump in decision.dumps):
        assert sorted(dump.database for dump in decision.dumps) == sorted(DATABASES)
    else:
        assert [dump.database for dump in decision.dumps] == [""]
        assert any("databases of others" in warning for warning in decision.warnings)


@pytest.mark.reaches("database_split")
def test_a_ui_with_a_database_of_its_own_is_not_in_an_embedded_dump() -> None:
    ui = settings({}, {"MongoDBWebOverride": "True"})
    assert _persistence.elsewhere([OWN["embedded"], ui, ui]) == ["Gallery/MongoDBWebOverride"]
    assert _persistence.elsewhere([OWN["embedded"]]) == []
    with pytest.raises(StepFailed) as failure:
        _persistence.decide("full", "embedded", Options(), apart=["Gallery/MongoDBWebOverride"])
    assert failure.value.reason.name == "database_split"
    assert "Gallery/MongoDBWebOverride" in failure.value.message

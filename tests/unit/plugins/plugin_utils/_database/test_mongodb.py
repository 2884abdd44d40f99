# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections to MongoDB: read exactly, written unambiguously, and without a password except in the one file."""

from __future__ import annotations

import base64
import typing as t
from urllib.parse import quote

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import StepFailed
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._database import _mongodb
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._database._mongodb import Connection

CANARY = "C4n4ry-S3cr3t"
PRINTABLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=30)
ANY = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)
USERS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20)


def refused(text: str, where: str = "the_variable") -> StepFailed:
    with pytest.raises(StepFailed) as failure:
        _mongodb.parse(text, where)
    assert (failure.value.reason.name, failure.value.reason.exit_code) == ("connection_invalid", 3)
    assert where in failure.value.message
    return failure.value


def config(connection: Connection) -> dict[str, str]:
    return t.cast(dict[str, str], yaml.safe_load(_mongodb.config_text(connection)))


def test_a_plain_string() -> None:
    found = _mongodb.parse("mongodb://db1.example.test", "v")
    assert found == Connection((("db1.example.test", 27017),))
    assert (found.uri(), found.replica_set, found.tls, found.needs_password) == (
        "mongodb://db1.example.test:27017/",
        "",
        False,
        False,
    )


def test_a_string_with_everything() -> None:
    text = (
        "mongodb://ayx%40ops:P%40ss%2F%3A%25@DB1.example.test:27017,db2,[fe80::1]:27019/AlteryxService"
        "?replicaSet=rs0&ssl=true&sslCertificateAuthorityFile=C%3A%5CCA%20files%5Cca.pem"
        "&tlsCertificateKeyFile=C%3A%5Cc.pem&tlsCertificateKeyFilePassword=k%26y&authSource=admin"
    )
    found = _mongodb.parse(text, "v")
    assert found.hosts == (("db1.example.test", 27017), ("db2", 27017), ("fe80::1", 27019))
    assert (found.user, found.password, found.key_password, found.database) == (
        "ayx@ops",
        "P@ss/:%",
        "k&y",
        "AlteryxService",
    )
    assert (found.replica_set, found.tls, found.auth_source) == ("rs0", True, "admin")
    assert (found.option("tlsCAFile"), found.option("tlsCertificateKeyFile")) == (r"C:\CA files\ca.pem", r"C:\c.pem")
    assert (
        found.shown == "mongodb://db1.example.test:27017,db2:27017,[fe80::1]:27019 (replica set rs0, TLS, user ayx@ops)"
    )
    assert config(found) == {"uri": found.uri(), "password": "P@ss/:%", "sslPEMKeyPassword": "k&y"}
    again = _mongodb.parse(found.uri(), "v")
    assert (again.hosts, again.user, again.auth_source, dict(again.options)) == (
        found.hosts,
        found.user,
        "admin",
        dict(found.options),
    )


def test_a_name_for_the_name_server() -> None:
    found = _mongodb.parse("mongodb+srv://u:p@cluster0.example.test/AlteryxGallery?retryWrites=true&w=majority", "v")
    assert (found.srv, found.hosts, found.tls, found.replica_set) == (True, (("cluster0.example.test", 0),), True, "")
    assert found.uri() == "mongodb+srv://u@cluster0.example.test/?retryWrites=true&w=majority&authSource=AlteryxGallery"
    assert not _mongodb.parse("mongodb+srv://h.example.test/?tls=false", "v").tls


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("mongodb://u:p@h", "admin"), ("mongodb://u:p@h/", "admin"),
        ("mongodb://u:p@h/AlteryxService", "AlteryxService"),
        ("mongodb://u:p@h/AlteryxService?authSource=admin", "admin"),
        ("mongodb://u:p@h/?authMechanism=PLAIN", "$external"), ("mongodb://u:p@h/corp?authMechanism=PLAIN", "corp"),
        ("mongodb://u@h/x?authMechanism=GSSAPI", "$external"),
        ("mongodb://h/?authMechanism=MONGODB-X509&tls=true&tlsCertificateKeyFile=c", "$external"),
    ],
)  # fmt: skip
def test_the_database_of_the_user_is_named_because_the_path_is_not_handed_on(text: str, source: str) -> None:
    found = _mongodb.parse(text, "v")
    assert found.auth_source == source
    assert f"authSource={quote(source, safe='')}" in found.uri()
    # A database in the string would make mongodump dump it alone.
    assert _mongodb.parse(found.uri(), "v").database == ""


def test_switches_that_mongodump_ignores_become_the_one_it_knows() -> None:
    for name in ("tlsAllowInvalidCertificates", "tlsAllowInvalidHostnames", "tlsInsecure", "sslInsecure"):
        assert (
            _mongodb.parse(f"mongodb://h/?tls=true&{name}=true", "v").uri()
            == "mongodb://h:27017/?tls=true&tlsInsecure=true"
        )
    assert "Insecure" not in _mongodb.parse("mongodb://h/?tls=true&tlsAllowInvalidCertificates=false", "v").uri()


BAD = [
    "", "db1:27017", "mongo://h", "MONGODB://h", "mongodb:/h", "mongodb://", "mongodb://h:0", "mongodb://h:65536",
    "mongodb://h:99999999", "mongodb://h:x", "mongodb://h,",
    "mongodb://,h", "mongodb://h h", "mongodb://[::1", "mongodb://::1", "mongodb://h/a b", "mongodb://h/a%20b",
    "mongodb://h/a.b", "mongodb://h/a%24", "mongodb://h?tls=true",
    "mongodb://h/?tls", "mongodb://h/?tls=", "mongodb://h/?tls=yes", "mongodb://h/?unheardOf=1",
    "mongodb://h/?replicaSet=a&replicaSet=b", "mongodb://h/?x=%ZZ", "mongodb://a,b", "mongodb://a,b/?tls=true",
    "mongodb+srv://a,b", "mongodb+srv://a:27017", "mongodb+srv://[::1]", "mongodb+srv://a/?directConnection=true",
    "mongodb://a,b/?replicaSet=r&directConnection=true", "mongodb://h/?tlsCAFile=x",
    "mongodb://h/?tls=false&tlsCertificateKeyFile=x", "mongodb://@h", "mongodb://:@h",
    "mongodb://h/?tls=true&authMechanism=MONGODB-X509", "mongodb://h/\x00", "mongodb://%2Ftmp%2Fmongodb.sock",
    "mongodb://u:p@h/x?y=%", "mongodb://-h",
]  # fmt: skip


@pytest.mark.parametrize("text", BAD)
def test_a_string_that_is_none_is_refused_with_the_name_of_its_place(text: str) -> None:
    refused(text)


@pytest.mark.parametrize(
    "text",
    [
        f"mongodb://u:{CANARY}/x@h/db", f"mongodb://u:{CANARY}@x@h/db", f"mongodb://u:{CANARY}:x@h/db",
        f"mongodb://u:{CANARY}?x@h/db", f"mongodb://u:{CANARY}#@h:x/db",
        f"mongodb://u:{CANARY}%@h", f"mongodb://u:{CANARY}%FF@h", f"mongodb://u:{CANARY} @h", f"mongodb://u:{CANARY}",
        f"mongodb://u:{CANARY}%0A@h", f"mongodb://u:{CANARY}%F0%9F%98%80@h", f"mongodb://:{CANARY}@h",
        f"mongodb://u:p@h/?tlsCertificateKeyFilePassword={CANARY}%&tls=true", f"mongodb://u:p@h/?{CANARY}",
        f"mongodb://u:p@h/?{CANARY}=1", f"mongodb://h:{CANARY}", f"mongodb://u:p@h/?tls={CANARY}", f"{CANARY}://h",
        f"mongodb://u:p@h/?authMechanism=MONGODB-AWS&authMechanismProperties=AWS_SESSION_TOKEN:{CANARY}",
        f"mongodb://u:p@{CANARY}_/?x=1&y={CANARY}", f"mongodb://u:p@h/{CANARY}.",
        f"mongodb://u:p@h/?replicaSet=a&replicaSet={CANARY}",
    ],
)  # fmt: skip
def test_what_is_refused_gives_no_password_away(text: str) -> None:
    failure = refused(text)
    assert CANARY not in f"{failure.message} {failure.detail} {failure!r} {failure.__cause__!r}"


def test_a_password_the_node_has_hidden_is_not_known() -> None:
    found = _mongodb.parse("mongodb://ayx_ui:(redacted)@db1.example.test:27017/AlteryxGallery", "v")
    assert (found.user, found.password, found.needs_password) == ("ayx_ui", "", True)


@given(
    USERS,
    PRINTABLE,
    st.lists(st.integers(1, 65535), min_size=1, max_size=3),
    st.sampled_from(["", "AlteryxService", "a-b_c"]),
)
def test_what_is_written_is_read_back(user: str, password: str, ports: list[int], database: str) -> None:
    hosts = ",".join(f"db{number}.example.test:{port}" for number, port in enumerate(ports))
    text = f"mongodb://{quote(user, safe='')}:{quote(password, safe='')}@{hosts}/{database}?replicaSet=r"
    found = _mongodb.parse(text, "v")
    assert (found.user, found.password, [port for _unused, port in found.hosts], found.database) == (
        user,
        password,
        ports,
        database,
    )
    written = config(found)
    assert written["password"] == password
    again = _mongodb.parse(written["uri"], "v")
    assert (again.user, again.password, again.hosts, again.auth_source) == (user, "", found.hosts, found.auth_source)


@given(ANY, ANY)
def test_the_file_for_mongodump_is_plain_ascii_that_says_exactly_the_secrets(password: str, key: str) -> None:
    connection = Connection((("h", 1),), user="u", password=password, key_password=key)
    text = _mongodb.config_text(connection)
    assert text.isascii()
    assert all(line and line.isprintable() for line in text.splitlines())
    read = yaml.safe_load(text)
    assert (read.get("password", ""), read.get("sslPEMKeyPassword", "")) == (password, key)
    assert set(read) <= {"uri", "password", "sslPEMKeyPassword"}


@pytest.mark.parametrize(
    "password",
    ["yes", "no", "null", "1.0", "1e3", "~", "#x", "a: b", "- a", "{", "&a", "*a", "!a", "|", ">", "%", "@", "`", "'",
     '"', "\\", "\u2028", "\U0001f600", "\x85"],
)  # fmt: skip
def test_texts_that_mean_something_in_yaml_mean_nothing_here(password: str) -> None:
    read = config(Connection((("h", 1),), password=password))
    assert read["password"] == password


def test_half_a_character_is_refused() -> None:
    with pytest.raises(StepFailed):
        _mongodb.config_text(Connection((("h", 1),), password="\ud83d"))


@given(PRINTABLE, st.sampled_from(["", "AlteryxService"]), st.booleans())
def test_no_secret_stands_in_arguments_representation_or_description(text: str, database: str, gzip: bool) -> None:
    # Made long and unlike anything else, or a password like "u" would be found everywhere.
    secret = f"{CANARY}{text}"
    options = f"tls=true&tlsCertificateKeyFile=c&tlsCertificateKeyFilePassword={quote(secret[::-1], safe='')}"
    found = _mongodb.parse(f"mongodb://u:{quote(secret, safe='')}@h/x?{options}", "v")
    arguments = _mongodb.arguments(r"C:\ProgramData\AlteryxOps\x\mongodump.yml", r"D:\staging\database", database, gzip)
    shown = f"{found!r} {found} {found.shown} {found.uri()} {arguments}"
    for form in (secret, secret[::-1]):
        for hidden in (
            form,
            quote(form, safe=""),
            quote(form),
            form.encode().hex(),
            base64.b64encode(form.encode()).decode().rstrip("="),
        ):
            assert hidden not in shown


def test_the_arguments_of_mongodump() -> None:
    assert _mongodb.arguments("c", "o", "AlteryxService") == ["--config=c", "--out=o", "--db=AlteryxService"]
    assert _mongodb.arguments("c", "o", gzip=True, oplog=True) == ["--config=c", "--out=o", "--gzip", "--oplog"]
    with pytest.raises(ValueError, match="whole instance"):
        _mongodb.arguments("c", "o", "AlteryxService", oplog=True)


@pytest.mark.parametrize("password", ["\u00a0a", "I\u00adX", "\u00aa", "\u2168", "p\u00e4ss", "\u0627\u0628"])
def test_passwords_that_sasl_takes(password: str) -> None:
    assert _mongodb.with_login(Connection((("h", 1),)), "u", password, "v").password == password


@pytest.mark.parametrize("password", ["a\x07", "\u0627\x31", "\U0001f600", "\u0221", "a\u0627", "\ue000", "\u00ad"])
def test_passwords_that_mongodump_would_refuse_and_print_are_refused_here(password: str) -> None:
    with pytest.raises(StepFailed) as failure:
        _mongodb.with_login(Connection((("h", 1),)), "u", password, "the_variable")
    assert "SASLprep" in failure.value.message
    assert password not in failure.value.message
    # The older mechanism hashes it first.
    old = Connection((("h", 1),), options=(("authMechanism", "SCRAM-SHA-1"),))
    assert _mongodb.with_login(old, "u", password, "v").password == password


def test_host_and_port_and_a_login_make_a_connection() -> None:
    found = _mongodb.with_login(
        _mongodb.of_server("DB1:27020", "v", {"tls": "true", "tlsCAFile": r"C:\ca.pem"}), "backup", "x", "v", "admin"
    )
    assert found.uri() == "mongodb://backup@db1:27020/?tls=true&tlsCAFile=C%3A%5Cca.pem&authSource=admin"
    assert _mongodb.of_server("db1, db2:1", "v", {"replicaSet": "rs0"}).hosts == (("db1", 27017), ("db2", 1))
    assert _mongodb.of_server(" mongodb://db1 ", "v") == _mongodb.of_server("db1", "v")
    with pytest.raises(StepFailed):
        _mongodb.of_server("db1/x", "v")


def test_another_user_does_not_inherit_a_password() -> None:
    found = _mongodb.parse("mongodb://u:p@h", "v")
    assert _mongodb.with_login(found, "", "", "v").password == "p"
    assert _mongodb.with_login(found, "u", "", "v").password == "p"
    assert _mongodb.with_login(found, "other", "", "v").password == ""
    assert _mongodb.with_login(found, "other", "q", "v").password == "q"


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (
            "mongodump version: 100.3.1\r\ngit version: 32632b\r\nGo version: go1.15.8\r\n   os: windows\r\n",
            (100, 3, 1),
        ),
        ("mongodump version: 100.9.4-12-g3a\n", (100, 9, 4)), ("mongodump version: r4.2.0\n", (4, 2, 0)),
        ("mongodump version: v3.7.0-4757-gc31\n", (3, 7, 0)), ("WARNING: x\nmongodump version: 100.12.2", (100, 12, 2)),
        ("mongodump version: built-without-version-string\n", None), ("", None),
        ("mongorestore version: 100.3.1", None), ("mongodump version: 100.3", None),
    ],
)  # fmt: skip
def test_the_version_is_read_from_what_the_tool_prints(text: str, version: tuple[int, int, int] | None) -> None:
    assert _mongodb.tool_version(text) == version


@given(st.tuples(st.integers(0, 200), st.integers(0, 30), st.integers(0, 30)))
def test_a_tool_is_refused_exactly_below_the_first_that_reads_secrets_from_a_file(
    version: tuple[int, int, int],
) -> None:
    text = f"mongodump version: {'.'.join(map(str, version))}\n"
    if version < (100, 3, 0) or version == (100, 4, 0):
        with pytest.raises(StepFailed) as failure:
            _mongodb.usable_tool(text)
        assert (failure.value.reason.name, failure.value.reason.exit_code) == ("mongodump_unusable", 3)
        assert ".".join(map(str, version)) in failure.value.message
    else:
        assert _mongodb.usable_tool(text) == ".".join(map(str, version))


@pytest.mark.parametrize(
    ("tool", "server", "warned"),
    [("100.3.1", "4.4.29", False), ("100.3.1", "5.0.0", True), ("100.5.2", "6.0.14", False), ("100.5.2", "7.0.2", True),
     ("100.9.4", "7.0.2", False), ("100.10.0", "8.0.1", False), ("100.9.5", "8.0.1", True),
     ("100.99.0", "12.0.0", False), ("100.3.1", "", False), ("100.3.1", "unknown", False)],
)  # fmt: skip
def test_a_tool_older_than_its_server_is_a_warning_that_names_both(tool: str, server: str, warned: bool) -> None:
    warning = _mongodb.describe_outdated(tool, server)
    assert bool(warning) is warned
    assert not warned or (tool in warning and server in warning)


@pytest.mark.reaches("mongodump_unusable")
def test_a_tool_that_says_nothing_is_refused() -> None:
    with pytest.raises(StepFailed, match="does not say its version"):
        _mongodb.usable_tool("")

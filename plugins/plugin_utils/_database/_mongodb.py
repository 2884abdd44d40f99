# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection to a self-managed MongoDB, and how mongodump is started with it.

Secrets are kept separate: only config_text() returns a text with a secret, and error messages do not quote the given
values. Source for the connection string: MongoDB, "Connection String URI Format"; for mongodump: its own source
(common/options) and runs of 100.3.1.
"""

from __future__ import annotations

import re
import stringprep
import typing as t
import unicodedata
from dataclasses import dataclass, field, replace
from urllib.parse import quote, unquote

from .._core.reasons import StepFailed

DEFAULT_PORT = 27017
OLDEST_TOOL = (100, 3, 0)
"""The first mongodump that takes secrets from a file (--config)."""
LOSING_TOOL = (100, 4, 0)
"""Leaves out documents with an empty field name (TOOLS-2931)."""
# Minor version of the tools (100.x) -> newest server that they support (MongoDB, "Database Tools Changelogs").
_MADE_FOR = {
    3: (4, 4), 4: (5, 0), 5: (6, 0), 6: (6, 0), 7: (6, 3), 8: (7, 0), 9: (7, 0), 10: (8, 0), 11: (8, 0), 12: (8, 1),
    13: (8, 2), 14: (8, 2), 15: (8, 2),
}  # fmt: skip

REDACTED = "(redacted)"

# Other spellings of options -> the ones of today.
_SPELLINGS = {
    "ssl": "tls",
    "sslcertificateauthorityfile": "tlsCAFile",
    "sslclientcertificatekeyfile": "tlsCertificateKeyFile",
    "sslclientcertificatekeypassword": "tlsCertificateKeyFilePassword",
    "sslinsecure": "tlsInsecure",
}
_NAMES = {
    name.lower(): name
    for name in (
        "appName", "authMechanism", "authMechanismProperties", "authSource", "compressors", "connectTimeoutMS",
        "directConnection", "heartbeatFrequencyMS", "journal", "loadBalanced", "localThresholdMS", "maxIdleTimeMS",
        "maxPoolSize", "maxStalenessSeconds", "minPoolSize", "readConcernLevel", "readPreference", "readPreferenceTags",
        "replicaSet", "retryReads", "retryWrites", "serverSelectionTimeoutMS", "socketTimeoutMS", "srvMaxHosts",
        "srvServiceName", "tls", "tlsAllowInvalidCertificates", "tlsAllowInvalidHostnames", "tlsCAFile",
        "tlsCertificateKeyFile", "tlsCertificateKeyFilePassword", "tlsInsecure", "uuidRepresentation", "w",
        "waitQueueTimeoutMS", "wtimeoutMS", "zlibCompressionLevel",
    )
}  # fmt: skip
_BOOLEANS = (
    "tls",
    "tlsInsecure",
    "tlsAllowInvalidCertificates",
    "tlsAllowInvalidHostnames",
    "directConnection",
    "loadBalanced",
)
_WITHOUT_PASSWORD = ("MONGODB-X509", "GSSAPI", "MONGODB-AWS")


@dataclass(frozen=True)
class Connection:
    """How to reach a MongoDB. Comparisons ignore the secrets, and printing does not show them.

    hosts: (host, port), the port 0 with srv. database: of the path of the string. options: canonical name -> text,
    decoded, without secrets.
    """

    hosts: tuple[tuple[str, int], ...]
    srv: bool = False
    user: str = ""
    database: str = ""
    options: tuple[tuple[str, str], ...] = ()
    password: str = field(default="", repr=False, compare=False)
    key_password: str = field(default="", repr=False, compare=False)

    def option(self, name: str) -> str:
        """The text of an option, "" when it is not given."""
        return dict(self.options).get(name, "")

    @property
    def mechanism(self) -> str:
        """How to log in; "" lets server and tool agree (SCRAM)."""
        return self.option("authMechanism").upper()

    @property
    def auth_source(self) -> str:
        """The database that knows the user."""
        if source := self.option("authSource"):
            return source
        if self.mechanism in _WITHOUT_PASSWORD:
            return "$external"
        return self.database or ("$external" if self.mechanism == "PLAIN" else "admin")

    @property
    def replica_set(self) -> str:
        """The name of the replica set, "" when the string names none; with srv it may be in the DNS record."""
        return self.option("replicaSet")

    @property
    def tls(self) -> bool:
        """Encrypted? With srv that is the default."""
        return self.option("tls").lower() == "true" if self.option("tls") else self.srv

    @property
    def server(self) -> frozenset[tuple[str, int]]:
        """The hosts. Two connections with a common host lead to the same server."""
        return frozenset(self.hosts)

    @property
    def needs_password(self) -> bool:
        """Would mongodump prompt for a password? Then it would wait for an input that never comes."""
        return bool(self.user) and self.mechanism not in _WITHOUT_PASSWORD

    @property
    def shown(self) -> str:
        """For logs, manifests and messages: hosts, replica set, TLS and user, no secret."""
        place = self._place()
        extra = [f"replica set {self.replica_set}"] if self.replica_set else []
        extra += ["TLS"] if self.tls else []
        extra += [f"user {self.user}"] if self.user else []
        return f"{place}{' (' + ', '.join(extra) + ')' if extra else ''}"

    def _place(self) -> str:
        hosts = ",".join(
            (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "") for host, port in self.hosts
        )
        return f"{'mongodb+srv' if self.srv else 'mongodb'}://{hosts}"

    def uri(self) -> str:
        """The connection string for mongodump, without secrets and without a database.

        With a database in it, mongodump would dump only that one. That database would also be the authentication
        database, so authSource names it instead.
        """
        options = dict(self.options)
        # mongodump supports only the general option, and ignores these two with a warning.
        loose = [
            options.pop(name, "").lower() == "true"
            for name in ("tlsAllowInvalidCertificates", "tlsAllowInvalidHostnames")
        ]
        if any(loose):
            options["tlsInsecure"] = "true"
        if self.user or self.mechanism:
            options["authSource"] = self.auth_source
        scheme, _unused, hosts = self._place().partition("://")
        user = f"{quote(self.user, safe='')}@" if self.user else ""
        text = "&".join(f"{name}={quote(value, safe='')}" for name, value in options.items())
        return f"{scheme}://{user}{hosts}/{'?' + text if text else ''}"


def _refuse(text: str) -> StepFailed:
    return StepFailed("connection_invalid", text)


def is_string(text: str) -> bool:
    """Is this a connection string, and not host and port?"""
    return text.strip().lower().startswith(("mongodb://", "mongodb+srv://"))


def parse(text: str, where: str) -> Connection:
    """Reads a connection string.

    Args:
        where: the name of the variable or element, for messages. The string itself is never quoted.

    Raises:
        StepFailed: connection_invalid.
    """
    text = text.strip()
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in ("mongodb", "mongodb+srv"):
        raise _refuse(f"{where} does not begin with mongodb:// or mongodb+srv://")
    if any(character.isspace() or not character.isprintable() for character in rest):
        raise _refuse(f"{where} contains a space or a character that does not print; percent-encode it")
    srv = scheme == "mongodb+srv"
    authority, path, query = _split(rest, where)
    userinfo, at, hosts = authority.rpartition("@")
    user, colon, password = userinfo.partition(":")
    if re.search(r"[@?#\[\]]", userinfo) or ":" in password or (at and not user):
        raise _refuse(
            f"{where} has a user or password with one of : / ? # [ ] @ that is not percent-encoded, or no user before @"
        )
    if password == REDACTED:
        # node_info replaces passwords by this text.
        password = ""
    database = _decode(path, where, "the database")
    if re.search(r'[/\\. "$*<>:|?]', database):
        raise _refuse(f"{where} names a database with a character that MongoDB does not allow")
    options, key_password = _options(query, where)
    connection = Connection(
        hosts=tuple(_host(host, srv, where) for host in hosts.split(",")),
        srv=srv,
        user=_decode(user, where, "the user"),
        database=database,
        options=tuple(options.items()),
        password=_decode(password, where, "the password") if colon else "",
        key_password=key_password,
    )
    check(connection, where)
    return connection


def _split(rest: str, where: str) -> tuple[str, str, str]:
    authority, slash, tail = rest.partition("/")
    if not slash:
        authority, mark, query = rest.partition("?")
        if mark:
            # Some programs require the slash before the options. Without it, the question mark may also be part of a
            # password.
            raise _refuse(
                f"{where} has options without a / before the ?, or a password with ? that is not percent-encoded"
            )
        return authority, "", ""
    path, _unused, query = tail.partition("?")
    if "@" in path or "@" in query.partition("=")[0]:
        raise _refuse(f"{where} has an @ after the first /: a password with / must be percent-encoded")
    return authority, path, query


def _decode(text: str, where: str, what: str) -> str:
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise _refuse(f"{where}: {what} holds a % that begins no percent-encoding")
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        # The exception contains the text that could not be decoded.
        raise _refuse(f"{where}: {what} is not UTF-8 once decoded") from None


def _host(text: str, srv: bool, where: str) -> tuple[str, int]:
    found = re.fullmatch(
        r"(?:\[(?P<six>[0-9A-Fa-f:.]+(?:%25[\w.-]+)?)\]|(?P<name>[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?))"
        r"(?::(?P<port>\d{1,5}))?",
        text,
    )
    if not found:
        raise _refuse(f"{where} has an invalid host. Write host, host:port or [IPv6]:port, separated by commas")
    if srv and (found["port"] or found["six"]):
        raise _refuse(f"{where}: mongodb+srv takes one name without port")
    port = int(found["port"]) if found["port"] else DEFAULT_PORT
    if not 0 < port < 65536:
        raise _refuse(f"{where} has an invalid port. A port is a number from 1 to 65535")
    return (found["six"] or found["name"]).lower(), 0 if srv else port


def _options(query: str, where: str) -> tuple[dict[str, str], str]:
    options: dict[str, str] = {}
    key_password = ""
    for pair in re.split("[&;]", query):
        name, separator, value = pair.partition("=")
        if not pair:
            continue
        canonical = _SPELLINGS.get(name.lower()) or _NAMES.get(name.lower())
        if canonical is None:
            shown = f" {name}" if re.fullmatch(r"[A-Za-z]{1,40}", name) else ""
            raise _refuse(f"{where} has an unknown option{shown}")
        value = _decode(value, where, f"the option {canonical}")
        if not separator or not value:
            raise _refuse(f"{where}: the option {canonical} has no value")
        if canonical == "tlsCertificateKeyFilePassword":
            key_password = value
            continue
        if canonical == "authMechanismProperties" and "token" in value.lower():
            raise _refuse(f"{where}: a session token in authMechanismProperties expires too early for a backup")
        if canonical in _BOOLEANS:
            value = value.lower()
            if value not in ("true", "false"):
                raise _refuse(f"{where}: the option {canonical} is neither true nor false")
        if canonical in options and canonical != "readPreferenceTags" and options[canonical] != value:
            raise _refuse(f"{where} gives the option {canonical} twice, with different values")
        options[canonical] = value
    return options, key_password


def check(connection: Connection, where: str) -> None:
    """Refuses values that mongodump would refuse or print only during the dump.

    Raises:
        StepFailed: connection_invalid.
    """
    if connection.srv and len(connection.hosts) != 1:
        raise _refuse(f"{where}: mongodb+srv takes exactly one name")
    if connection.option("directConnection") == "true" and (connection.srv or len(connection.hosts) > 1):
        raise _refuse(f"{where}: directConnection goes with exactly one host")
    if len(connection.hosts) > 1 and not connection.replica_set:
        # mongodump connects directly to one host when no set is named.
        raise _refuse(f"{where} names several hosts but no replicaSet; for mongos routers name one of them")
    if not connection.tls and (connection.option("tlsCAFile") or connection.option("tlsCertificateKeyFile")):
        raise _refuse(f"{where} names certificates, but TLS is off")
    if connection.mechanism == "MONGODB-X509" and not connection.option("tlsCertificateKeyFile"):
        raise _refuse(f"{where}: MONGODB-X509 needs a client certificate (tlsCertificateKeyFile)")
    if connection.password and not connection.user:
        raise _refuse(f"{where} has a password but no user")
    if connection.mechanism not in ("SCRAM-SHA-1", "PLAIN", *_WITHOUT_PASSWORD) and not _prepares(connection.password):
        raise _refuse(
            f"{where}: the password has a character that SCRAM-SHA-256 forbids (SASLprep); "
            "mongodump would refuse and print it. Change it"
        )


def _prepares(password: str) -> bool:
    """Does SASLprep (RFC 4013) accept it?"""
    mapped = "".join(
        " " if stringprep.in_table_c12(character) else character
        for character in password
        if not stringprep.in_table_b1(character)
    )
    text = unicodedata.normalize("NFKC", mapped)
    forbidden = (
        stringprep.in_table_a1, stringprep.in_table_c12, stringprep.in_table_c21_c22, stringprep.in_table_c3,
        stringprep.in_table_c4, stringprep.in_table_c5, stringprep.in_table_c6, stringprep.in_table_c7,
        stringprep.in_table_c8, stringprep.in_table_c9,
    )  # fmt: skip
    if any(table(character) for character in text for table in forbidden):
        return False
    if any(stringprep.in_table_d1(character) for character in text):
        return (
            stringprep.in_table_d1(text[0])
            and stringprep.in_table_d1(text[-1])
            and not any(stringprep.in_table_d2(character) for character in text)
        )
    return bool(text) or not password


def of_server(server: str, where: str, options: t.Mapping[str, str] | None = None) -> Connection:
    """A connection from host and port ("db1:27017", several with commas), as in RuntimeSettings.xml and in variables of
    this collection.

    Raises:
        StepFailed: connection_invalid.
    """
    if is_string(server):
        return parse(server, where)
    connection = Connection(
        hosts=tuple(_host(host.strip(), srv=False, where=where) for host in server.strip().split(","))
    )
    return with_options(connection, options or {}, where)


def with_options(connection: Connection, options: t.Mapping[str, str], where: str) -> Connection:
    """The connection with these options (canonical or old names) added, checked."""
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in options.items() if value)
    more, key_password = _options(query, where)
    changed = replace(
        connection,
        options=tuple({**dict(connection.options), **more}.items()),
        key_password=key_password or connection.key_password,
    )
    check(changed, where)
    return changed


def with_login(connection: Connection, user: str, password: str, where: str, auth_source: str = "") -> Connection:
    """The connection with this user and password, if they are given, checked. If only the user is given, the password
    of the former user is dropped."""
    options = {**dict(connection.options), **({"authSource": auth_source} if auth_source else {})}
    inherited = connection.password if user in ("", connection.user) else ""
    changed = replace(
        connection, user=user or connection.user, password=password or inherited, options=tuple(options.items())
    )
    check(changed, where)
    return changed


def _quote(text: str) -> str:
    """A YAML scalar in double quotes and ASCII only, so that every reader takes it for this text."""
    pieces = []
    for character in text:
        code = ord(character)
        if 0xD800 <= code <= 0xDFFF:
            raise _refuse("a secret holds half a character (a lone surrogate)")
        if character in '"\\':
            pieces.append(f"\\{character}")
        elif 0x20 <= code < 0x7F:
            pieces.append(character)
        else:
            pieces.append(
                f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
            )
    return f'"{"".join(pieces)}"'


def config_text(connection: Connection) -> str:
    """The file for mongodump --config: the only text with secrets.

    It must be in a file that only SYSTEM and Administrators can read, and only while mongodump runs.
    """
    lines = [f"uri: {_quote(connection.uri())}"]
    if connection.password:
        lines.append(f"password: {_quote(connection.password)}")
    if connection.key_password:
        lines.append(f"sslPEMKeyPassword: {_quote(connection.key_password)}")
    return "\n".join(lines) + "\n"


def arguments(config_path: str, folder: str, database: str = "", gzip: bool = False, oplog: bool = False) -> list[str]:
    """The arguments of one mongodump, without any secret.

    Args:
        config_path: the file with config_text().
        folder: the folder of the dump, with a sub-folder for each database.
        database: the one to dump; "" for the whole instance.
        oplog: also dump the writes during the dump, for one point in time; only for the whole instance.

    Raises:
        ValueError: oplog with a database, which mongodump refuses.
    """
    if oplog and database:
        raise ValueError("mongodump takes --oplog only for the whole instance")
    found = [f"--config={config_path}", f"--out={folder}"]
    found += [f"--db={database}"] if database else []
    found += ["--gzip"] if gzip else []
    found += ["--oplog"] if oplog else []
    return found


def tool_version(text: str) -> tuple[int, int, int] | None:
    """The version in the output of mongodump --version; None if it has none."""
    found = re.search(r"^mongodump version:\s*[rv]?(\d+)\.(\d+)\.(\d+)(?:\D|$)", text, re.MULTILINE)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def usable_tool(text: str) -> str:
    """The version of a usable mongodump, e.g. 100.9.4, from its output with --version.

    Raises:
        StepFailed: mongodump_unusable.
    """
    version = tool_version(text)
    if version is None:
        raise StepFailed("mongodump_unusable", "mongodump does not say its version")
    shown = ".".join(map(str, version))
    if version < OLDEST_TOOL:
        oldest = ".".join(map(str, OLDEST_TOOL))
        raise StepFailed(
            "mongodump_unusable",
            f"mongodump is {shown}, older than {oldest}, the first that reads a password from a file",
        )
    if version == LOSING_TOOL:
        raise StepFailed(
            "mongodump_unusable", f"mongodump {shown} leaves out documents with an empty field name (TOOLS-2931)"
        )
    return shown


def describe_outdated(tool: str, server: str) -> str:
    """A warning if a mongodump (see usable_tool) supports only servers older than this one.

    It is "" if it supports this one, or if that is not known.
    """
    series, minor, _unused = map(int, tool.split("."))
    wanted = re.match(r"(\d+)\.(\d+)", server)
    # A tool that is newer than the table supports at least the servers of the last entry.
    made_for = _MADE_FOR.get(minor) if series == 100 else None
    if wanted and made_for and (int(wanted[1]), int(wanted[2])) > made_for:
        return (
            f"mongodump {tool} is made for MongoDB up to {made_for[0]}.{made_for[1]}, the server is {server}: "
            "use a newer one"
        )
    return ""

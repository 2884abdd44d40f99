# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of an Alteryx Server on a Wine node: programs, settings, keys, registry, service, database. Names from the
facts, all content invented."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import socket
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

from pymongo import MongoClient
from pymongo.errors import ConnectionFailure

from . import cache, downloads, fleet_roles, layout, native_build, seed, wine_registry
from .fleet_roles import Role

SERVICE = "AlteryxService"
VERSION = "2023.1.1.361"
BIN = r"C:\Program Files\Alteryx\bin"
PROGRAM_DATA = r"C:\ProgramData\Alteryx"
DATA = r"D:\Alteryx\Service\Persistence\MongoDB"
_PACKAGES = rf"{BIN}\Miniconda3\envs\DesignerBaseTools_vEnv\Lib\site-packages"
FOLDERS = (
    r"D:\Alteryx\Service\Staging",
    r"D:\Alteryx\Gallery\Logs",
    r"D:\Alteryx\Staging",
    r"D:\Alteryx\Service\Persistence",
)

# What a backup writes down of a node beside files. The password stands where ODBC drivers keep theirs; it may be
# found in the registry alone.
DATA_SOURCE_PASSWORD = "dsn-canary-4Vt9cQ1xZr7m"
LICENCE_VALUE = r"HKLM\Software\AlteryxLab\Licence\Key"
LICENCE_KEY = "LAB0-LICENCE-CANARY-9TX2"
TLS_CERTIFICATE = "5f1e" * 10
_APPLICATION_ID = uuid.UUID("eea9431a-a3d4-4c9b-9f9a-b83916c11c67")  # of Alteryx' own tool for bindings
_HTTP = r"System\CurrentControlSet\Services\HTTP\Parameters\SslBindingInfo"
REGISTRY: dict[str, dict[str, wine_registry.Value]] = {
    r"Software\Wow6432Node\SRC\Alteryx": {"LastInstallDir": BIN, "LastVersion": VERSION},
    r"Software\AlteryxLab\Licence": {"Key": LICENCE_KEY},
    r"Software\ODBC\ODBCINST.INI\ODBC Drivers": {"Lab DWH Driver": "Installed"},
    r"Software\ODBC\ODBCINST.INI\Lab DWH Driver": {
        "Driver": r"C:\Program Files\Lab DWH\labdwh.dll",
        "Setup": r"C:\Program Files\Lab DWH\labdwh.dll",
    },
    r"Software\Wow6432Node\ODBC\ODBCINST.INI\ODBC Drivers": {"Lab DWH Driver (old)": "Installed"},
    r"Software\Wow6432Node\ODBC\ODBCINST.INI\Lab DWH Driver (old)": {"Driver": r"C:\Windows\System32\labdwh32.dll"},
    r"Software\ODBC\ODBC.INI\ODBC Data Sources": {"SalesDWH": "Lab DWH Driver", "Lakehouse": "Lab DWH Driver"},
    r"Software\ODBC\ODBC.INI\SalesDWH": {
        "Server": "dwh.example.test,1433",
        "Database": "Sales",
        "UID": "svc_sales",
        "PWD": DATA_SOURCE_PASSWORD,
        "Password": DATA_SOURCE_PASSWORD,
    },
    # A complete connection string in place of a name.
    r"Software\ODBC\ODBC.INI\Lakehouse": {
        "Host": f"lake.example.test;PWD={DATA_SOURCE_PASSWORD}",
        "Description": f"password {DATA_SOURCE_PASSWORD}",
    },
    rf"{_HTTP}\0.0.0.0:443": {
        "SslCertHash": bytes.fromhex(TLS_CERTIFICATE),
        "AppId": _APPLICATION_ID.bytes_le,
        "SslCertStoreName": "MY",
    },
}

# Defaults of table 3.2 of the facts: element names are known, the rest of the real file is not.
DEFAULTS: dict[str, dict[str, str]] = {
    "Controller": {
        "ControllerEnabled": "True",
        "GalleryEnabled": "False",
        "EmbeddedMongoDBEnabled": "False",
        "EmbeddedMongoDBPort": "27018",
        "EmbeddedMongoDBServerName": "localhost",
        "EmbeddedMongoDBUserName": "user",
        "EmbeddedMongoDBDatabaseName": "AlteryxService",
        "EmbeddedMongoDBRootPath": "",
        "EmbeddedMongoDBLogPath": "",
        "EmbeddedMongoDBArguments": "",
        "EmbeddedMongoDBReplSetEnabled": "False",
        "EmbeddedMongoDBReplSetName": "ASReplSet",
        "MongoDBEnabled": "False",
        "MongoDBServerName": "",
        "MongoDBDatabaseName": "",
        "MongoDBUserName": "",
        "SQLitePath": "",
        "ServicePort": "80",
        "ServiceStartupTimeToLive": "60000",
        "ServiceRestartTimeToLive": "25000",
        "LoggingEnabled": "False",
        "LoggingPath": "",
        "WebInterfaceStagingPath": "",
        "CleanupQueueTimeToLive": "0",
        "CleanupQueueInputsTimeToLive": "0",
        "CleanupSchedulerTimeToLive": "0",
    },
    "Engine": {"LogFilePath": "", "PackageStagingPath": "", "DefaultTempFilePath": ""},
    "Environment": {"Configured": "False", "SetupType": "SchedulerOnly", "WorkerEnabled": "True", "WorkingPath": ""},
    "Gallery": {
        "AuthenticationType": "BuiltIn",
        "BaseAddress": "http://localhost/gallery/",
        "SslEnabled": "False",
        "DefaultGalleryAdminUserName": "",
        "LoggingPath": "",
        "WorkingPath": "",
        "MongoDBWebOverride": "False",
        "MongoDBWebConnection": "",
        "MongoDBWebServerName": "",
        "MongoDBWebDatabaseName": "AlteryxGallery",
        "MongoDBWebUserName": "",
        "MongoDBSearchOverride": "False",
        "MongoDBSearchConnection": "",
        "MongoDBSearchServerName": "",
        "MongoDBSearchDatabaseName": "AlteryxGallery_Lucene",
        "SearchProvider": "Lucene",
        "ElasticSearchUrl": "",
        "SmtpEnabled": "True",
        "SmtpServerName": "",
        "SmtpPort": "25",
        "SmtpUserName": "",
        "SmtpSslEnabled": "False",
    },
    "Worker": {
        "QueueWorkerEnabled": "True",
        "RenderWorkerEnabled": "True",
        "ThreadCount": "1",
        "Timeout": "0",
        "StagingPath": "",
        "UseLocalServer": "True",
        "ServerName": "localhost",
        "MongoDBDirectConnectionEnabled": "True",
        "ExecuteUserName": "",
        "ExecuteDomain": "",
    },
}

_CIPHER_KEY = b"lab-of-alteryx-ops"  # as in native/settings.h


def install(folder: Path, role: Role, *, seed_folder: Path) -> None:
    """Put an Alteryx Server on a node that has drives C and D and is switched off."""
    passwords = json.loads((seed_folder / "passwords.json").read_text(encoding="utf-8"))
    put_database_programs(folder)
    for name in ("AlteryxService.exe", "AlteryxService_MongoController.exe", "AlteryxEngineCmd.exe"):
        shutil.copy2(native_build.programs() / name, _bin(folder) / name)
    for path, content in files(passwords, role).items():
        _write(_host(folder, path), content)
    for path in FOLDERS:
        _host(folder, path).mkdir(parents=True, exist_ok=True)
    if has_database(role):
        _copy_sparse(seed_folder / "data", folder / "d" / "Alteryx" / "Service" / "Persistence" / "MongoDB")
    _register(folder)


def has_database(role: Role) -> bool:
    """Whether the embedded database is on such a node."""
    return role in ("single", "controller")


def files(passwords: dict[str, str], role: Role = "single") -> dict[str, bytes]:
    """Settings, keys and connections of an Alteryx Server: Windows path to content. The same on every kind of node."""
    keys = {"master.key": 64, "storage.key": 512, r"dcm\vault.key": 96, r"dcm\vault.dat": 4096}
    return {
        rf"{BIN}\RuntimeData\RuntimeSettings.xml": settings_xml(DEFAULTS),
        rf"{BIN}\server\config\alteryx.config": _ALTERYX_CONFIG,
        rf"{PROGRAM_DATA}\RuntimeSettings.xml": settings_xml(_overrides(passwords, secrets.token_hex(32), role)),
        rf"{PROGRAM_DATA}\Engine\SystemAlias.xml": _SYSTEM_ALIAS,
        rf"{PROGRAM_DATA}\Engine\SystemConnections.xml": _SYSTEM_CONNECTIONS,
        **(_EXTENSIONS if role in ("single", "worker") else {}),
        **{rf"{PROGRAM_DATA}\Keys\{name}": secrets.token_bytes(size) for name, size in keys.items()},
    }


def set_ports(folder: Path, role: Role, *, mongo: int, service: int) -> None:
    """The ports of the embedded database and, in a fleet, of the service: the nodes of one lab share
    the loopback address."""
    if not has_database(role):
        return
    file = _program_data(folder) / "RuntimeSettings.xml"
    text = file.read_bytes().decode()
    for name, port in {"EmbeddedMongoDBPort": mongo, **({} if role == "single" else {"ServicePort": service})}.items():
        element = f"<{name}>{port}</{name}>"
        text, found = re.subn(rf"<{name}>\d*</{name}>", element, text)
        if not found:
            text = text.replace("<EmbeddedMongoDBEnabled>", f"{element}\r\n    <EmbeddedMongoDBEnabled>", 1)
    file.write_bytes(text.encode())


def put_database_programs(folder: Path) -> None:
    """mongod.exe, mongodump.exe and mongorestore.exe into the install folder, and a library that lets mongod.exe
    start fast on Wine."""
    _bin(folder).mkdir(parents=True, exist_ok=True)
    for source in (
        downloads.mongod() / "mongod.exe",
        native_build.programs() / native_build.SYMBOLS,
        downloads.mongodb_tools() / "mongodump.exe",
        downloads.mongodb_tools() / "mongorestore.exe",
    ):
        shutil.copyfile(source, _bin(folder) / source.name)


def seed_digest() -> str:
    """Changes whenever a seeded data folder would."""
    return cache.digest(downloads.MONGOD.sha256, Path(seed.__file__), "1")


def make_seed(folder: Path, start: Callable[..., subprocess.Popen[bytes]], target: Path) -> None:
    """Fill a new data folder with a mongod.exe of this node; target gets data/ and passwords.json
    (random, one pair per cache)."""
    passwords = {"admin": secrets.token_hex(16), "user": secrets.token_hex(16)}
    port = free_port()
    (folder / "d" / "seed").mkdir()
    process = start(
        rf"{BIN}\mongod.exe",
        "--noauth",
        "--bind_ip",
        "127.0.0.1",
        "--port",
        str(port),
        "--dbpath",
        r"D:\seed",
        "--logpath",
        r"C:\seed.log",
        "--setParameter",
        "diagnosticDataCollectionEnabled=false",
        "--wiredTigerCacheSizeGB",
        "0.25",
    )
    client: MongoClient[seed.Document]
    with MongoClient("127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=60_000) as client:
        counts = seed.populate(client, admin_password=passwords["admin"], user_password=passwords["user"])
        try:
            client.admin.command("shutdown")
        except ConnectionFailure:
            pass  # the answer of a server that ends
    process.wait(60)
    shutil.move(folder / "d" / "seed", target / "data")
    (target / "counts.json").write_text(json.dumps(counts), encoding="utf-8")
    secret = target / "passwords.json"
    secret.touch(0o600)
    secret.write_text(json.dumps(passwords), encoding="utf-8")


def free_port() -> int:
    """A loopback port on which no program listens at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def settings_xml(settings: dict[str, dict[str, str]]) -> bytes:
    """A RuntimeSettings.xml: two levels, UTF-8 with declaration."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<SystemSettings>"]
    for section, elements in settings.items():
        lines.append(f"  <{section}>")
        for name, value in elements.items():
            escaped = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
            lines.append(f"    <{name}>{escaped}</{name}>" if value else f"    <{name} />")
        lines.append(f"  </{section}>")
    return "\r\n".join([*lines, "</SystemSettings>", ""]).encode()


def encrypt(clear: str) -> str:
    """The value of an ...Encrypted element; no cipher, it only keeps clear text off the node's disk."""
    return "00" + _scramble(clear.encode()).hex().upper()


def decrypt(value: str) -> str:
    """What ``encrypt`` made into this value."""
    return _scramble(bytes.fromhex(value[2:])).decode()


def _scramble(data: bytes) -> bytes:
    return bytes(byte ^ _CIPHER_KEY[at % len(_CIPHER_KEY)] for at, byte in enumerate(data))


def _overrides(passwords: dict[str, str], token: str, role: Role) -> dict[str, dict[str, str]]:
    own = fleet_roles.settings(role)
    everything = _single(passwords, token)
    return {
        section: elements | own.get(section, {})
        for section, elements in everything.items()
        if section != "Controller" or has_database(role)
    } | ({} if has_database(role) else {"Controller": own["Controller"]})


def _single(passwords: dict[str, str], token: str) -> dict[str, dict[str, str]]:
    return {
        "Controller": {
            "EmbeddedMongoDBEnabled": "True",
            "GalleryEnabled": "True",
            "EmbeddedMongoDBPasswordEncrypted": encrypt(passwords["user"]),
            # The real element for the admin password is not known; this name is the lab's own.
            "EmbeddedMongoDBAdminPasswordEncrypted": encrypt(passwords["admin"]),
            "EmbeddedMongoDBRootPath": DATA,
            "LoggingEnabled": "True",
            "LoggingPath": r"D:\Alteryx\Service\AlteryxServiceLog.log",
            "EmbeddedMongoDBLogPath": r"D:\Alteryx\Service\mongoDBLog.log",
            "ServerSecretEncrypted": encrypt(token),
            "StorageKeysEncrypted": encrypt(secrets.token_hex(24)),
            "WebInterfaceStagingPath": r"D:\Alteryx\Service\Staging",
        },
        "Environment": {"Configured": "True", "WorkingPath": r"D:\Alteryx"},
        "Gallery": {
            "BaseAddress": "https://alteryx.example.test/gallery/",
            "SslEnabled": "True",
            "LoggingPath": r"D:\Alteryx\Gallery\Logs",
            "SmtpServerName": "mail.example.test",
            "SmtpPasswordEncrypted": encrypt(secrets.token_hex(8)),
        },
        "Worker": {
            "ExecuteDomain": "EXAMPLE",
            "ExecuteUserName": "svc-ayx-run",
            "ExecutePasswordEncrypted": encrypt(secrets.token_hex(8)),
            "StagingPath": r"D:\Alteryx\Staging",
        },
    }


def _register(folder: Path) -> None:
    wine_registry.merge(
        layout.prefix(folder) / "system.reg",
        {
            **REGISTRY,
            rf"System\CurrentControlSet\Services\{SERVICE}": {
                "Type": 0x10,
                "Start": 2,
                "ErrorControl": 1,
                "ImagePath": wine_registry.Expandable(rf'"{BIN}\AlteryxService.exe"'),
                "DisplayName": "Alteryx Service",
                "ObjectName": "LocalSystem",
                "Description": "Double of the Alteryx service, made by the lab",
            },
        },
    )


def _bin(folder: Path) -> Path:
    return folder / "c" / "Program Files" / "Alteryx" / "bin"


def _program_data(folder: Path) -> Path:
    return folder / "c" / "ProgramData" / "Alteryx"


def _host(folder: Path, windows_path: str) -> Path:
    return layout.drive(folder, windows_path[0]) / windows_path[3:].replace("\\", "/")


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def _copy_sparse(source: Path, target: Path) -> None:
    # A journal is 100 MB of zeros per file: holes cost neither time nor room.
    subprocess.run(["cp", "-a", "--sparse=always", "--reflink=auto", str(source), str(target)], check=True, timeout=300)


_ALTERYX_CONFIG = b"""<?xml version="1.0" encoding="utf-8"?>\r
<configuration>\r
  <alteryx>\r
    <add key="lab.note" value="edited by an administrator: \xc3\xa4\xc3\xb6\xc3\xbc" />\r
  </alteryx>\r
</configuration>\r
"""

_CONNECTOR = b"""<?xml version="1.0"?>\r
<AlteryxJavaScriptPlugin>\r
  <Properties><MetaInfo><Name>Lab Connector</Name><ToolVersion>1.2.3</ToolVersion></MetaInfo></Properties>\r
</AlteryxJavaScriptPlugin>\r
"""

# What a worker has besides; the other nodes of a fleet have none of it.
_EXTENSIONS = {
    rf"{PROGRAM_DATA}\Tools\LabConnector\LabConnectorConfig.xml": _CONNECTOR,
    rf"{PROGRAM_DATA}\Tools\OtherConnector_v2.0.1\OtherConnector.yxmc": b"<AlteryxDocument />\r\n",
    rf"{_PACKAGES}\pandas-1.5.3.dist-info\METADATA": b"Name: pandas\r\n",
    rf"{_PACKAGES}\lab_tools-0.4-py3.8.egg-info\PKG-INFO": b"Name: lab-tools\r\n",
}

_SYSTEM_ALIAS = b"""<?xml version="1.0"?>\r
<AliasData>\r
  <Alias name="Sales DWH" type="odbc"><Connection>odbc:DSN=SalesDWH;UID=svc_sales</Connection></Alias>\r
</AliasData>\r
"""

_SYSTEM_CONNECTIONS = b"""<?xml version="1.0"?>\r
<Connections>\r
  <Connection name="Lakehouse" driver="in-database"><DSN>Lakehouse</DSN></Connection>\r
</Connections>\r
"""

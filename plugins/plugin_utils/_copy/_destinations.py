# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The destinations of copies and their accounts, as the operator configured them. All problems are found here, before
anything is changed. Messages do not contain passwords."""

from __future__ import annotations

import difflib
import ntpath
import re
import typing as t
from dataclasses import dataclass

from .._core import _names, paths
from .._core.reasons import StepFailed

VARIABLE = "alteryx_distribution_destinations"
CREDENTIALS_VARIABLE = "alteryx_distribution_credentials"

KINDS = ("folder",)
READBACKS = ("download", "none")

EVERYWHERE = "all"
"""The name for all destinations, where one can be chosen."""

_KEYS = ("name", "kind", "path", "credential", "bandwidth_mb", "readback", "retention")
_CREDENTIAL_KEYS = ("user", "password")
_LONGEST_NAME = 40
_MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Credential:
    """An account for shares. user: DOMAIN\\user, user@domain or user."""

    user: str
    password: str

    def __repr__(self) -> str:
        """Does not contain the password, so that it cannot reach a log or a message."""
        return f"Credential({self.user!r})"


@dataclass(frozen=True)
class Destination:
    """A folder for copies.

    Attributes:
        name: the name that the operator gave it.
        path: of the folder, as Windows writes it.
        credential: name of the account, "" for that of the node.
        bandwidth_mb: megabytes a second that may be sent, 0 for no limit.
        readback: download (every byte is read back), or none.
        kind: folder.
        retention: the policy of this destination, as _retention/_policy.py reads it; None for the common one.
    """

    name: str
    path: str
    credential: str = ""
    bandwidth_mb: float = 0.0
    readback: str = "download"
    kind: str = "folder"
    retention: t.Mapping[str, t.Any] | None = None


def read_destinations(
    given: t.Any, credentials: t.Any = None, archive_directory: str = "", fleet: str = ""
) -> tuple[Destination, ...]:
    """The destinations that an operator has written.

    Args:
        given: a list of dictionaries; see Destination.
        credentials: name -> user and password.
        archive_directory: of the nodes, which cannot be a destination; "" if it is not known.
        fleet: name of the fleet, which is also the name of the folder of its files; "" if it is not known.

    Raises:
        StepFailed: invalid_variable; every problem in one message.
    """
    problems: list[str] = []
    accounts = _read_credentials(credentials or {}, problems)
    if not isinstance(given, t.Sequence) or isinstance(given, str):
        problems.append(f"{VARIABLE} is not a list; write a list of dictionaries")
        given = ()
    found: list[Destination] = []
    for number, one in enumerate(given, start=1):
        if not isinstance(one, t.Mapping):
            problems.append(f"entry {number} of {VARIABLE} is not a dictionary")
            continue
        wrong = list(_destination_problems(one, number, accounts))
        if wrong:
            problems += wrong
            continue
        destination = _read_destination(one)
        problems += _place_problems(destination, found, archive_directory, fleet)
        found.append(destination)
    if found and fleet and (problem := _names.windows_name_problem(fleet)):
        problems.append(f"the fleet {fleet!r} is not a valid folder name on Windows: {problem}")
    if problems:
        raise StepFailed("invalid_variable", "; ".join(problems))
    return tuple(found)


def read_credentials(given: t.Any) -> dict[str, Credential]:
    """Name -> account. read_destinations must have accepted the values."""
    return _read_credentials(given or {}, [])


def list_passwords(given: t.Any) -> set[str]:
    """The secrets in credentials, which may have any form. They are never shown."""
    if not isinstance(given, t.Mapping):
        return set()
    accounts = [one for one in given.values() if isinstance(one, t.Mapping)]
    return {str(one["password"]) for one in accounts if one.get("password")}


def _read_credentials(given: t.Any, problems: list[str]) -> dict[str, Credential]:
    if not isinstance(given, t.Mapping):
        problems.append(f"{CREDENTIALS_VARIABLE} is not a dictionary of names")
        return {}
    found: dict[str, Credential] = {}
    for name, one in given.items():
        # Messages about a value do not contain the value.
        if not isinstance(one, t.Mapping):
            problems.append(f"{CREDENTIALS_VARIABLE}.{name} is not a dictionary; write {{user: ..., password: ...}}")
            continue
        wrong = [_unknown_key(f"{CREDENTIALS_VARIABLE}.{name}", key, _CREDENTIAL_KEYS) for key in one]
        wrong = [text for text in wrong if text]
        wrong += [
            f"{CREDENTIALS_VARIABLE}.{name} has no {key}"
            for key in _CREDENTIAL_KEYS
            if not isinstance(one.get(key), str) or not one[key]
        ]
        problems += wrong
        if not wrong:
            found[str(name)] = Credential(str(one["user"]), str(one["password"]))
    return found


def _destination_problems(
    one: t.Mapping[str, t.Any], number: int, accounts: t.Mapping[str, Credential]
) -> t.Iterator[str]:
    name = one.get("name")
    if not isinstance(name, str) or not name:
        yield f"entry {number} of {VARIABLE} has no name"
        return
    where = f"the destination {name}"
    if name.casefold() == EVERYWHERE:
        yield f"{where} needs another name: with {EVERYWHERE}, every destination is meant"
    if len(name) > _LONGEST_NAME or not name.isprintable():
        yield f"{where} needs a name of at most {_LONGEST_NAME} printable characters"
    yield from (text for key in one if (text := _unknown_key(where, key, _KEYS)))
    kind = one.get("kind", "folder")
    if kind not in KINDS:
        yield f"{where} has the unknown kind {kind}; this version knows {', '.join(KINDS)}"
    if not isinstance(one.get("path"), str) or not one["path"]:
        yield f"{where} has no path"
    elif problem := _path_problem(one["path"]):
        yield f"the path of {where} {problem}"
    credential = one.get("credential") or ""
    if credential and credential not in accounts:
        near = difflib.get_close_matches(str(credential), accounts, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        yield f"{where} uses the credential {credential}, which {CREDENTIALS_VARIABLE} does not have{meant}"
    if _read_bandwidth(one) is None:
        yield f"{where} has the bandwidth_mb {one['bandwidth_mb']}; it must be a number that is not negative"
    readback = one.get("readback", "download")
    if readback not in READBACKS:
        yield f"{where} has the readback {readback}; a folder knows {' and '.join(READBACKS)}"
    if not isinstance(one.get("retention") or {}, t.Mapping):
        yield f"the retention of {where} is not a dictionary of modes; write retention: {{full: {{days: 365}}}}"


def _unknown_key(where: str, key: t.Any, known: t.Sequence[str]) -> str:
    if key in known:
        return ""
    near = difflib.get_close_matches(str(key), known, n=1)
    meant = f"did you mean {near[0]}?" if near else f"it knows {', '.join(known)}"
    return f"{where} has the unknown key {key}; {meant}"


def _read_bandwidth(one: t.Mapping[str, t.Any]) -> float | None:
    value = one.get("bandwidth_mb", 0)
    if isinstance(value, bool):
        return None
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if 0 <= found < float("inf") else None


def _path_problem(text: str) -> str:
    """Why a path cannot be used, as the rest of a sentence; "" for one that can."""
    try:
        path = paths.read_node_path(text)
    except ValueError as error:
        return str(error)
    if path.startswith(("\\\\?\\", "\\\\.\\")):
        return f"is {path}; write it without {path[:4]}"
    if path.startswith("\\\\"):
        rest = path[2:].split("\\")
        if len(rest) < 2 or not rest[0] or not rest[1]:
            return rf"is {path}, which does not name a share; write \\SERVER\SHARE or a folder in it"
    elif not re.match(r"[A-Za-z]:\\", path):
        return f"is {path}, which is not absolute"
    if found := re.search(r'[<>"|?*]|(?<!^[A-Za-z]):', path):
        return f"is {path}, which contains {found[0]!r}"
    return ""


def _read_destination(one: t.Mapping[str, t.Any]) -> Destination:
    return Destination(
        name=one["name"],
        path=_trim(ntpath.normpath(paths.read_node_path(one["path"]))),
        credential=str(one.get("credential") or ""),
        bandwidth_mb=_read_bandwidth(one) or 0.0,
        readback=one.get("readback", "download"),
        kind=one.get("kind", "folder"),
        retention=one.get("retention"),
    )


def _trim(path: str) -> str:
    """A path without the parts that Windows ignores: spaces and dots at the end of a name, and a backslash at the end
    of the path."""
    head, rest = ntpath.splitdrive(path)
    parts = [part.rstrip(". ") for part in rest.split("\\")]
    trimmed = head + "".join(f"\\{part}" for part in parts if part)
    return trimmed if trimmed[1:] != ":" else f"{trimmed}\\"


def _place_problems(
    one: Destination, others: t.Sequence[Destination], archive_directory: str, fleet: str
) -> t.Iterator[str]:
    for other in others:
        if one.name.casefold() == other.name.casefold():
            yield f"{VARIABLE} has the name {one.name} twice"
        elif _is_within(one.path, other.path) and _is_within(other.path, one.path):
            yield f"the destinations {other.name} and {one.name} are the same folder, {one.path}"
    if not archive_directory:
        return
    archive = _trim(ntpath.normpath(archive_directory))
    own = ntpath.join(one.path, fleet) if fleet else one.path
    if _is_within(one.path, archive) or (fleet and _is_within(own, archive)):
        where = "is" if _is_within(archive, one.path) else "is in"
        yield f"the destination {one.name} {where} the archive directory {archive_directory}, and so would be no copy"


def _is_within(path: str, folder: str) -> bool:
    # Names of files in Windows are not case-sensitive.
    one, other = (each.casefold().rstrip("\\") + "\\" for each in (path, folder))
    return one.startswith(other)


def choose_destination(destinations: t.Sequence[Destination], name: str) -> Destination:
    """The destination of that name.

    Raises:
        StepFailed: invalid_variable; no such destination.
    """
    # Operators type these names on command lines, so case is ignored.
    found = {one.name.casefold(): one for one in destinations}
    if name.casefold() in found:
        return found[name.casefold()]
    near = difflib.get_close_matches(name.casefold(), found, n=1)
    known = ", ".join(one.name for one in destinations) or "none"
    meant = f"did you mean {found[near[0]].name}?" if near else f"there is {known}"
    raise StepFailed("invalid_variable", f"there is no destination {name}; {meant}")


def build_job_destinations(
    destinations: t.Iterable[Destination], accounts: t.Mapping[str, Credential], shares: t.Mapping[str, str]
) -> list[dict[str, t.Any]]:
    """The destinations in the form for the copy job, with passwords.

    Args:
        destinations: all of them.
        accounts: name -> account.
        shares: letter of a drive -> the share that is connected as this letter.
    """
    return [
        {
            "name": one.name,
            "path": place_on_share(one.path, shares),
            "readback": one.readback,
            "bytes_per_second": one.bandwidth_mb * _MEGABYTE,
            **_split_account(accounts.get(one.credential)),
        }
        for one in destinations
    ]


def _split_account(account: Credential | None) -> dict[str, str]:
    if account is None:
        return {"user": "", "domain": "", "password": ""}
    domain, _slash, user = account.user.rpartition("\\")
    return {"user": user, "domain": domain, "password": account.password}


def list_letters(destinations: t.Iterable[Destination]) -> list[str]:
    """The drive letters at the beginning of paths. Only the node knows whether a letter is a share."""
    return sorted({one.path[0].upper() for one in destinations if one.path[1:2] == ":"})


def place_on_share(path: str, shares: t.Mapping[str, str]) -> str:
    """A path with the share in place of its drive letter, because SYSTEM does not see the drives of a user."""
    share = shares.get(path[0].upper(), "") if path[1:2] == ":" else ""
    return share.rstrip("\\") + path[2:].rstrip("\\") if share else path


def refuse_letters(destinations: t.Iterable[Destination], drives: t.Mapping[str, t.Mapping[str, t.Any]]) -> None:
    """Raises StepFailed (destination_invalid) for a letter that is neither a drive of the node nor a share.

    Args:
        destinations: all of them.
        drives: letter -> exists (has the machine such a drive?) and share, as reported by the node.
    """
    for one in destinations:
        if one.path[1:2] != ":":
            continue
        drive = drives.get(one.path[0].upper()) or {}
        if not drive.get("share") and not drive.get("exists"):
            raise StepFailed(
                "destination_invalid",
                f"the destination {one.name} is {one.path}, but {one.path[:2]} is a letter without a share: the node "
                "does not have this drive, and the account of this run has not connected it permanently",
            )

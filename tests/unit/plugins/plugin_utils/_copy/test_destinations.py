# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Destinations as operators write them: what is meant is read, everything else is refused with its name."""

from __future__ import annotations

import string
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._copy import _destinations
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._copy._destinations import Destination
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import StepFailed
from tests import reasons

ARCHIVES = r"D:\AlteryxBackups"
NAS = {"name": "nas", "path": r"\\nas1\ayx"}
PASSWORD = "S3cret-of-the-share"
ACCOUNTS = {"nas": {"user": r"EXAMPLE\svc", "password": PASSWORD}}


def read(*wanted: t.Any, **options: t.Any) -> tuple[Destination, ...]:
    return _destinations.read_destinations(list(wanted), **{"archive_directory": ARCHIVES, "fleet": "prod", **options})


def refuse(*wanted: t.Any, **options: t.Any) -> str:
    with pytest.raises(StepFailed) as caught:
        read(*wanted, **options)
    assert caught.value.reason.name == "invalid_variable"
    return caught.value.message


def test_a_destination_is_read_with_its_defaults() -> None:
    assert read(NAS) == (Destination("nas", r"\\nas1\ayx"),)


def test_everything_that_a_destination_may_say() -> None:
    wanted = {
        "name": "far", "kind": "folder", "path": "//nas2/ayx/copies/", "credential": "nas", "bandwidth_mb": "50",
        "readback": "none",
    }  # fmt: skip
    (found,) = read(wanted, credentials=ACCOUNTS)
    assert found == Destination("far", r"\\nas2\ayx\copies", "nas", 50.0, "none")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": ""}, "entry 1 of alteryx_distribution_destinations has no name"),
        ({"name": 7}, "has no name"),
        ({"name": "a\nb"}, "printable"),
        ({"name": "n" * 41}, "at most 40"),
        ({"kind": "ftp"}, "unknown kind ftp; this version knows folder"),
        ({"pth": "x"}, "unknown key pth; did you mean path?"),
        ({"bucket": "x"}, "unknown key bucket; it knows name, kind"),
        ({"path": ""}, "has no path"),
        ({"path": "copies"}, "is copies, which is not absolute"),
        ({"path": r"..\copies"}, "not absolute"),
        ({"path": "D:copies"}, "without a backslash after the drive"),
        ({"path": "D:\new"}, "contains a control character"),
        ({"path": r"\\nas1"}, "does not name a share"),
        ({"path": r"\\\ayx"}, "does not name a share"),
        ({"path": r"\\?\D:\x"}, "write it without"),
        ({"path": r"D:\a*"}, "contains '*'"),
        ({"path": r"D:\a:b"}, "contains ':'"),
        ({"path": r"D:\AlteryxBackups"}, "is the archive directory"),
        ({"path": "d:/alteryxBACKUPS/"}, "is the archive directory"),
        ({"path": r"D:\Other\..\AlteryxBackups. "}, "is the archive directory"),
        ({"path": r"D:\AlteryxBackups\copies"}, "is in the archive directory"),
        ({"credential": "nsa"}, "uses the credential nsa, which alteryx_distribution_credentials does not have"),
        ({"bandwidth_mb": -1}, "must be a number that is not negative"),
        ({"bandwidth_mb": "fast"}, "must be a number"),
        ({"bandwidth_mb": True}, "must be a number"),
        ({"bandwidth_mb": float("inf")}, "must be a number"),
        ({"readback": "checksum"}, "a folder knows download and none"),
    ],
)
@pytest.mark.reaches("invalid_variable")
def test_what_cannot_be_meant_is_refused(change: dict[str, t.Any], words: str) -> None:
    reasons.saw("invalid_variable")
    assert words in refuse({**NAS, **change}, credentials=ACCOUNTS)


def test_a_misspelled_credential_is_named_with_the_nearest() -> None:
    assert "did you mean nas?" in refuse({**NAS, "credential": "nsa"}, credentials=ACCOUNTS)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"name": "NAS", "path": r"\\nas2\ayx"}, "has the name NAS twice"),
        ({"name": "other", "path": r"\\NAS1\AYX\\"}, "are the same folder"),
    ],
)
def test_two_that_are_one_are_refused(other: dict[str, str], words: str) -> None:
    assert words in refuse(NAS, other)


def test_a_parent_of_the_archive_directory_is_refused_where_the_fleet_has_its_name() -> None:
    wanted = {"name": "near", "path": "D:\\"}
    assert read(wanted)[0].path == "D:\\"
    assert "archive directory" in refuse(wanted, fleet="alteryxbackups")


def test_a_fleet_whose_name_is_no_folder_is_refused() -> None:
    assert "not a valid folder name" in refuse(NAS, fleet="con")
    assert read(fleet="con") == ()


@pytest.mark.parametrize("wanted", ["x", {"name": "x"}, 7])
def test_what_is_no_list_is_refused(wanted: t.Any) -> None:
    with pytest.raises(StepFailed, match="is not a list"):
        _destinations.read_destinations(wanted)


def test_what_is_no_dictionary_is_refused() -> None:
    assert "entry 2 of alteryx_distribution_destinations is not a dictionary" in refuse(NAS, "nas2")


@pytest.mark.parametrize(
    ("account", "words"),
    [
        (PASSWORD, "is not a dictionary"),
        ({"user": "svc"}, "has no password"),
        ({"user": "svc", "password": ""}, "has no password"),
        ({"password": PASSWORD}, "has no user"),
        ({"user": "svc", "password": PASSWORD, "pasword": PASSWORD}, "unknown key pasword; did you mean password?"),
        ({"user": "svc", "password": 42}, "has no password"),
    ],
)
def test_an_account_that_cannot_be_used_is_refused_without_its_password(account: t.Any, words: str) -> None:
    message = refuse(NAS, credentials={"nas": account})
    assert words in message
    assert PASSWORD not in message


def test_every_problem_is_told_at_once() -> None:
    message = refuse({"path": "x"}, {**NAS, "kind": "ftp"}, credentials={"a": 1})
    assert message.count(";") >= 2


def test_a_password_is_in_no_text_of_an_account() -> None:
    account = _destinations.read_credentials(ACCOUNTS)["nas"]
    assert PASSWORD not in f"{account!r} {account}"
    assert _destinations.list_passwords(ACCOUNTS) == {PASSWORD}
    assert _destinations.list_passwords("x") == set()


@pytest.mark.parametrize(
    ("user", "parts"),
    [(r"EXAMPLE\svc", ("EXAMPLE", "svc")), ("svc@example.test", ("", "svc@example.test")), ("svc", ("", "svc"))],
)
def test_the_job_is_told_path_limit_and_account(user: str, parts: tuple[str, str]) -> None:
    accounts = {"nas": {"user": user, "password": PASSWORD}}
    wanted = {"name": "nas", "path": r"Z:\copies", "credential": "nas", "bandwidth_mb": 2}
    (told,) = _destinations.build_job_destinations(
        read(wanted, credentials=accounts), _destinations.read_credentials(accounts), {"Z": "\\\\nas1\\ayx\\"}
    )
    assert told == {
        "name": "nas", "path": r"\\nas1\ayx\copies", "readback": "download", "bytes_per_second": 2_000_000.0,
        "user": parts[1], "domain": parts[0], "password": PASSWORD,
    }  # fmt: skip


def test_without_a_credential_the_job_is_told_none() -> None:
    (told,) = _destinations.build_job_destinations(read(NAS), {}, {})
    assert (told["user"], told["domain"], told["password"]) == ("", "", "")


@pytest.mark.reaches("destination_invalid")
def test_a_letter_is_a_drive_or_a_share_or_it_is_refused() -> None:
    found = read({"name": "letter", "path": r"Z:\copies"}, NAS)
    assert _destinations.list_letters(found) == ["Z"]
    _destinations.refuse_letters(found, {"Z": {"exists": True, "share": ""}})
    _destinations.refuse_letters(found, {"Z": {"exists": False, "share": r"\\nas1\ayx"}})
    with pytest.raises(StepFailed, match="a letter without a share") as caught:
        _destinations.refuse_letters(found, {"Z": {"exists": False, "share": ""}})
    reasons.saw(caught.value.reason.name)


names = st.text(string.ascii_letters + string.digits + "-_ .ä", min_size=1, max_size=12)


@given(st.lists(names, min_size=0, max_size=4), st.lists(names, min_size=0, max_size=3), st.booleans(), st.booleans())
def test_no_spelling_of_a_folder_in_the_archive_directory_is_accepted(
    archive: list[str], below: list[str], upper: bool, slashes: bool
) -> None:
    directory = "D:\\" + "\\".join(["Backups", *archive])
    path = "\\".join([directory, *below])
    path = path.swapcase() if upper else path
    path = path.replace("\\", "/") if slashes else path
    message = refuse({"name": "x", "path": path}, archive_directory=directory)
    assert "archive directory" in message


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["name", "path", "kind", "x"]), inner, max_size=3)
        ),
        max_leaves=6,
    )
)
def test_whatever_is_given_is_read_or_refused_by_a_reason(given_value: t.Any) -> None:
    found: tuple[Destination, ...] = ()
    reason = "invalid_variable"
    try:
        found = _destinations.read_destinations(given_value, given_value, ARCHIVES, "prod")
    except StepFailed as failure:
        reason = failure.reason.name
    assert reason == "invalid_variable"
    assert all(isinstance(one, Destination) for one in found)


def test_a_destination_is_chosen_by_its_name_in_any_case() -> None:
    found = read(NAS, {"name": "disk", "path": r"E:\Copies"})
    assert _destinations.choose_destination(found, "DISK").path == r"E:\Copies"
    with pytest.raises(StepFailed, match="there is nas, disk"):
        _destinations.choose_destination(found, "xyz")
    assert "needs another name" in refuse({**NAS, "name": "All"})

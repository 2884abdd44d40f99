# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""BSON and passwords of the client on a node against those of pymongo. Compiled for Mono, which starts faster than the
engine."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bson
import pytest
from bson.codec_options import CodecOptions
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo.saslprep import saslprep

ROOT = Path(__file__).resolve().parents[2]
Read = Callable[[bytes | str], str]

names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
passed_over = st.one_of(
    st.builds(bson.ObjectId, st.binary(min_size=12, max_size=12)),
    st.integers(0, 4_000_000_000).map(lambda second: datetime.fromtimestamp(second, UTC)),
    st.builds(bson.Regex, st.just("a.*"), st.just("i")),
    st.builds(bson.Timestamp, st.integers(0, 2**31), st.integers(0, 2**31)),
    st.just(bson.Decimal128("1.5")),
    st.builds(bson.Code, st.just("f()"), st.just({"x": 1})),
)
kept = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**31), 2**31 - 1),
    st.integers(-(2**63), 2**63 - 1).map(bson.Int64),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.binary(max_size=20),
    st.sampled_from([bson.MinKey(), bson.MaxKey()]),
)


def documents(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Documents of such values, nested."""
    inner = st.recursive(
        values, lambda each: st.lists(each, max_size=4) | st.dictionaries(names, each, max_size=4), max_leaves=12
    )
    return st.dictionaries(names, inner, max_size=6)


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Read]:
    """What the client makes of a document or password: "ok" and the bytes it would write, or "mistake" and a
    sentence."""
    if not shutil.which("mcs") or not shutil.which("mono"):
        pytest.skip("no mcs and mono (Debian packages mono-mcs and libmono-cil-dev)")
    program = tmp_path_factory.mktemp("bson") / "driver.exe"
    sources = [ROOT / "plugins" / "module_utils" / "MongoClient.cs", Path(__file__).with_name("bson_driver.cs")]
    subprocess.run(
        ["mcs", "-langversion:5", f"-out:{program}", "-r:System.dll", "-r:System.Core.dll", *map(str, sources)],
        check=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )
    with subprocess.Popen(
        ["mono", str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        assert process.stdin
        assert process.stdout
        into, out = process.stdin, process.stdout

        def ask(content: bytes | str) -> str:
            into.write((f"text {content.encode().hex()}" if isinstance(content, str) else content.hex()) + "\n")
            into.flush()
            return out.readline().rstrip("\n")

        yield ask
        into.close()


FAST = settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FAST
@given(documents(kept))
def test_what_is_read_and_written_again_is_the_same(read: Read, document: dict[str, Any]) -> None:
    content = bson.encode(document)
    assert read(content) == f"ok {content.hex()}"


@FAST
@given(documents(kept | passed_over))
def test_values_of_other_types_are_passed_over(read: Read, document: dict[str, Any]) -> None:
    verdict, _blank, rest = read(bson.encode(document)).partition(" ")
    assert verdict == "ok"
    found: dict[str, Any] = bson.decode(bytes.fromhex(rest), CodecOptions(tz_aware=True))
    assert shape(found) == shape(document)


def shape(value: Any) -> Any:
    """The names of a document at every level."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    return [shape(each) for each in value] if isinstance(value, list) else None


@FAST
@given(documents(kept | passed_over), st.data())
def test_a_damaged_document_is_read_or_refused_with_a_sentence(
    read: Read, document: dict[str, Any], data: st.DataObject
) -> None:
    content = bytearray(bson.encode(document))
    for _unused in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    for damaged in (bytes(content), bytes(content[:cut])):
        assert read(damaged).partition(" ")[0] in ("ok", "mistake")


@FAST
@given(st.binary(max_size=60))
def test_any_bytes_are_refused_with_a_sentence(read: Read, content: bytes) -> None:
    length = (len(content) + 5).to_bytes(4, "little")
    for made in (content, length + content + b"\0"):
        assert read(made).partition(" ")[0] in ("ok", "mistake")


@pytest.mark.parametrize("levels", [150, 5000])
def test_documents_are_nested_only_so_deep(read: Read, levels: int) -> None:
    content = b"\x05\0\0\0\0"
    for _unused in range(levels):
        content = (len(content) + 8).to_bytes(4, "little") + b"\x03a\0" + content + b"\0"
    assert read(content).startswith("ok" if levels == 150 else "mistake documents nested deeper")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (bson.encode({"a": 1})[:-1] + b"\x01", "not terminated where its length says"),
        (b"\x13\0\0\0\x10a\0\x01\0\0\0\x10a\0\x02\0\0\0\0", "a name twice"),
        (b"\x10\0\0\0\x04l\0\x08\0\0\0\x0a1\0\0\0", "does not count its values"),
        (b"\x09\0\0\0\x08a\0\x02\0", "a boolean of 2"),
        (b"\x08\0\0\0\x0a\xff\0\0", "no UTF-8"),
        (b"\x08\0\0\0\x20a\0\0", "0x20 is no type"),
    ],
)
def test_what_bson_does_not_allow_is_refused(read: Read, content: bytes, words: str) -> None:
    assert words in read(content)


# Letters, also Arabic, and what SASLprep maps to a blank or to nothing. Windows replaces ligatures, too; Mono does not.
LETTERS = "aZ9 =,\u00a0\u2003\u3000\u00ad\u200b\ufeff\u00e9e\u0301\u4e2d\u0627\x07"


@FAST
@given(st.text(st.sampled_from(LETTERS), max_size=12))
def test_a_password_is_prepared_as_pymongo_prepares_it(read: Read, password: str) -> None:
    try:
        expected = str(saslprep(password))
    except (ValueError, IndexError):
        # Of a password without a letter. Which letters may stand together is not checked on a node.
        return
    assert read(password) == f"ok {expected.encode().hex()}"


def test_a_control_character_in_a_password_is_refused(read: Read) -> None:
    assert read("a\x07").startswith("mistake the password has a character")

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A search that says "nothing" is worth something only if it would have found it."""

from __future__ import annotations

import base64
import bz2
import gzip
import html
import io
import itertools
import json
import random
import urllib.parse
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.integration import canary_search

PLAIN = {"token": "0123456789abcdefTok", "password": 'p/w+with=specials&"<é>%'}
NOISE = random.Random(7).randbytes(500)


def _deflate(content: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(content) + stream.flush()


def _zip(content: bytes, *, streamed: bool = False) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("other.txt", "x" * 100)
        with opened.open("a/ä.txt", "w", force_zip64=streamed) as entry:
            entry.write(content)
    return memory.getvalue()


def _wrapped_base64(content: bytes) -> bytes:
    return base64.encodebytes(content * 3).replace(b"\n", b"\r\n")


def _encoded_command(content: bytes) -> bytes:
    return base64.b64encode(f"powershell $x = '{content.decode()}'".encode("utf-16-le"))


TEXTS: dict[str, Callable[[str], bytes]] = {
    "UTF-8": lambda text: text.encode(),
    "UTF-16LE": lambda text: text.encode("utf-16-le"),
    "UTF-16BE": lambda text: text.encode("utf-16-be"),
    "URL": lambda text: urllib.parse.quote(text, safe="").encode(),
    "URL lower case": lambda text: (
        urllib.parse.quote(text, safe="").lower().encode() if text.islower() else urllib.parse.quote_plus(text).encode()
    ),
    "URL of every byte": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()).encode(),
    "JSON": lambda text: json.dumps({"value": text}).encode(),
    "XML": lambda text: html.escape(text).encode(),
    "hex": lambda text: text.encode().hex().encode(),
    "HEX": lambda text: text.encode().hex().upper().encode(),
    "hex of UTF-16": lambda text: text.encode("utf-16-le").hex().encode(),
    "hex as BitConverter writes it": lambda text: text.encode().hex("-").upper().encode(),
    **{
        f"base64 at {n}": lambda text, n=n: base64.b64encode(b"xyz"[:n] + text.encode() + b"tail")  # type: ignore[misc]
        for n in range(3)
    },
    **{
        f"base64 of {name} at {offset}": lambda text, offset=offset, name=name: base64.b64encode(
            b"xyz"[:offset] + text.encode(name)
        )  # type: ignore[misc]
        for offset in range(3)
        for name in ("utf-16-le", "utf-16-be")
    },
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(b"\xff\xfe" + text.encode()),
    "base64 in UTF-16": lambda text: base64.b64encode(text.encode()).decode().encode("utf-16-le"),
    "base64 in JSON with escaped slashes": lambda text: (
        json.dumps(base64.b64encode(b"\xff\xff" + text.encode()).decode()).replace("/", "\\/").encode()
    ),
}
WRAPPINGS: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda content: content,
    "gzip": gzip.compress,
    "gzip that breaks off": lambda content: gzip.compress(content + random.Random(1).randbytes(200_000))[:-5000],
    "zlib": zlib.compress,
    "zip": _zip,
    "zip with Zip64": lambda content: _zip(content, streamed=True),
    "base64 of gzip": lambda content: base64.b64encode(gzip.compress(content)),
    "base64 of deflate": lambda content: base64.b64encode(_deflate(content)),
    "base64 of base64": lambda content: base64.b64encode(b"{" + base64.b64encode(content) + b"}"),
    "base64 in lines": _wrapped_base64,
    "an encoded command": _encoded_command,
    "gzip of zip of base64": lambda content: gzip.compress(_zip(base64.b64encode(content))),
    "hex of zlib": lambda content: zlib.compress(content).hex().encode(),
    "JSON in JSON": lambda content: json.dumps(json.dumps({"a": content.decode()})).encode(),
}


def _cases() -> Iterator[tuple[str, str, str]]:
    for name, text, wrapping in itertools.product(PLAIN, TEXTS, WRAPPINGS):
        if wrapping != "nothing" and text not in {"UTF-8", "UTF-16LE", "URL", "base64 at 1"}:
            continue
        try:
            WRAPPINGS[wrapping](TEXTS[text](PLAIN[name]))
        except UnicodeDecodeError:
            continue  # bytes that are no text cannot be put into one
        yield name, text, wrapping


@pytest.mark.parametrize(("name", "text", "wrapping"), list(_cases()))
def test_a_planted_secret_is_found(name: str, text: str, wrapping: str) -> None:
    content = NOISE + b" before=" + WRAPPINGS[wrapping](TEXTS[text](PLAIN[name])) + b";after " + NOISE[::-1]
    assert list(canary_search.find(content, PLAIN)) == [name]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        NOISE,
        PLAIN["token"][:-1].encode(),
        gzip.compress(NOISE),
        base64.b64encode(NOISE),
        bz2.compress(NOISE),
        _zip(NOISE),
    ],
)
def test_what_holds_no_secret_gives_none(content: bytes) -> None:
    assert canary_search.find(content, PLAIN) == {}


def test_it_says_in_what_it_was_found() -> None:
    assert canary_search.find(b"x" + PLAIN["token"].encode(), PLAIN) == {"token": ""}
    assert canary_search.find(gzip.compress(b"x" + PLAIN["token"].encode("utf-16-le")), PLAIN) == {"token": "gzip"}


def test_several_searches_pass_over_what_one_has_looked_at() -> None:
    seen: set[bytes] = set()
    assert canary_search.find(b"a " + base64.b64encode(NOISE), PLAIN, seen) == {}
    looked = len(seen)
    assert canary_search.find(b"b " + base64.b64encode(NOISE), PLAIN, seen) == {}
    assert len(seen) < looked + 5
    assert canary_search.find(b"c " + base64.b64encode(PLAIN["token"].encode()), PLAIN, seen) == {"token": ""}


def test_names_of_files_are_searched_too(tmp_path: Path) -> None:
    (tmp_path / "clean").write_text("nothing", encoding="ascii")
    (tmp_path / f"of {PLAIN['token']}").touch()
    (tmp_path / "inside").write_bytes(_zip(PLAIN["password"].encode()))
    found = dict(canary_search.find_in_files([*tmp_path.iterdir(), tmp_path / "vanished"], PLAIN))
    assert {Path(path).name: list(names) for path, names in found.items()} == {
        f"of {PLAIN['token']}": ["token"],
        "inside": ["password"],
    }


# Characters that patterns have in common, and parts of what they look for.
PIECES = [
    *(bytes([code]) for code in b"aZ09fF+/_-=.~!*'(): \\\r\n\0&"),
    *(b"%41", b"%", b"\\/", b"\\n", b"_x000D_", b"c" * 13),
]


@pytest.mark.parametrize("name", ["_BASE64", "_HEXADECIMAL", "_URL"])
@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), max_size=60).map(b"".join))
def test_where_a_pattern_cannot_match_is_passed_over_and_nothing_else(name: str, content: bytes) -> None:
    pattern = getattr(canary_search, name)
    found = [match.group() for match in canary_search._matches(pattern, content)]
    assert found == [match.group() for match in pattern.finditer(content)]

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds given secrets in any content, whatever it is wrapped in: text encodings, base64, hexadecimal, URL, JSON, XML,
gzip, zlib, deflate, zip, nested."""

from __future__ import annotations

import base64
import binascii
import hashlib
import html
import json
import re
import string
import urllib.parse
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

DEPTH = 5
"""So many wrappings are undone."""
MAXIMUM_BYTES = 64 * 1024 * 1024
"""So much is taken out of one compressed stream."""

_ZEROS = re.compile(rb"\0{4096,}")  # a database allocates its files long before it fills them
_LONG = 16384  # characters of base64: so long a run begins where it seems to begin
_SHORTEST = 12  # of what is worth decoding: half of the shortest secret there is
_SEPARATOR = rb"(?:\s|\\r|\\n|_x000[AD]_|\0)"  # between lines of base64: as such, in JSON, in CLIXML, in UTF-16
_BASE64 = re.compile(rb"(?:[A-Za-z0-9+/_-]|\\/)(?:[A-Za-z0-9+/_-]|\\/|" + _SEPARATOR + rb"){%d,}" % _SHORTEST)
_BETWEEN = re.compile(_SEPARATOR + rb"+")
_HEXADECIMAL = re.compile(rb"(?:[0-9A-Fa-f]{2}[-: ]?){%d,}" % _SHORTEST)
_URL = re.compile(rb"(?<![A-Za-z0-9_.~+!*'()-])[A-Za-z0-9_.~+!*'()-]*+(?:%[0-9A-Fa-f]{2}[A-Za-z0-9_.~+!*'()-]*+)+")


def _marks(of_class: bytes, of_needle: bytes = b"") -> bytes:
    """A table for bytes.translate: 1 for characters of a class, 2 for those of a needle, 0 for all others."""
    return bytes(2 if code in of_needle else int(code in of_class) for code in range(256))


_DIGITS_AND_LETTERS = (string.digits + string.ascii_letters).encode()
# Where alone a pattern can match: characters of this class in a row, and among them these. To search an archive for
# that takes a hundredth of the time that to search it for the pattern takes.
_PLACES = {
    _BASE64: (_marks(_DIGITS_AND_LETTERS + b"+/_-\\\0" + string.whitespace.encode()), b"\1" * (_SHORTEST + 1)),
    _HEXADECIMAL: (_marks(string.hexdigits.encode() + b"-: "), b"\1" * 2 * _SHORTEST),
    _URL: (_marks(_DIGITS_AND_LETTERS + b"_.~+!*'()-", b"%"), b"\2"),
}
_ENTITY = re.compile(rb"&(?:#x?[0-9A-Fa-f]+|[a-z]+);")
_JSON_ESCAPE = re.compile(rb'\\(?:u[0-9A-Fa-f]{4}|["\\/bfnrt])')
_GZIP = re.compile(rb"\x1f\x8b\x08")
_ZLIB = re.compile(rb"\x78[\x01\x5e\x9c\xda]")
_ZIP_ENTRY = re.compile(rb"PK\x03\x04.{4}\x08\x00.{16}(..)(..)", re.DOTALL)


def find(content: bytes, secrets: Mapping[str, str], seen: set[bytes] | None = None) -> dict[str, str]:
    """Names of the secrets in this content, each with the wrappings in which it was found, outermost
    first; "" for clear text.

    Args:
        content: what is searched.
        secrets: name to clear text.
        seen: for several searches for the same secrets: what one has looked at the others pass over.
    """
    forms = {name: _forms(secret) for name, secret in secrets.items()}
    beyond_ascii = not "".join(secrets.values()).isascii()
    found: dict[str, str] = {}
    seen = set() if seen is None else seen
    # What is wrapped least comes first, so that nothing is met too deep and then passed over where it is not.
    waiting: deque[tuple[tuple[str, ...], bytes]] = deque([((), content)])
    while waiting and len(found) < len(forms):
        trail, part = waiting.popleft()
        digest = hashlib.blake2b(part, digest_size=16).digest()
        if len(part) < _SHORTEST or digest in seen:
            continue
        seen.add(digest)
        for name in forms.keys() - found.keys():
            if any(form in part for form in forms[name]):
                found[name] = " > ".join(trail)
        if len(trail) < DEPTH:
            waiting.extend(
                ((*trail, wrapping), inner)
                for wrapping, inner in _unwrapped(part, outermost=not trail, beyond_ascii=beyond_ascii)
            )
    return found


def find_in_files(files: Iterable[Path], secrets: Mapping[str, str]) -> Iterator[tuple[str, dict[str, str]]]:
    """What ``find`` finds, file by file; the names of files are looked at too. Files that vanish
    meanwhile are left out."""
    for file in files:
        try:
            content = str(file).encode("utf-8", "surrogateescape") + b"\n" + _ZEROS.sub(bytes(4096), file.read_bytes())
        except FileNotFoundError:
            continue
        if hits := find(content, secrets):
            yield str(file), hits


def _forms(secret: str) -> tuple[bytes, ...]:
    """Everything that is looked for as it is. In base64 the first and last characters depend on the neighbours: only
    the middle is certain."""
    encodings = [secret.encode(), secret.encode("utf-16-le"), secret.encode("utf-16-be")]
    forms = dict.fromkeys(encodings)
    for encoded in encodings:
        for offset in range(3):
            text = base64.b64encode(b"\0" * offset + encoded)
            forms[text[4 if offset else 0 : -4]] = None
    return tuple(forms)


def _unwrapped(content: bytes, *, outermost: bool, beyond_ascii: bool) -> Iterator[tuple[str, bytes]]:
    if b"\0" in content:
        # UTF-16 of what is ASCII, both byte orders, in one go; what wraps other letters is Latin enough.
        narrow = content.replace(b"\0", b"")
        yield "UTF-16", narrow
        if beyond_ascii:
            yield "UTF-16", narrow.decode("latin-1").encode()
    yield from _decoded_text(content)
    yield from _decompressed(content, whole=not outermost)
    yield from _decoded_runs(content)


def _matches(pattern: re.Pattern[bytes], content: bytes) -> Iterator[re.Match[bytes]]:
    """What finditer finds."""
    table, needle = _PLACES[pattern]
    marks = content.translate(table)
    at = marks.find(needle)
    while at >= 0:
        end = marks.find(b"\0", at)
        end = len(marks) if end < 0 else end
        yield from pattern.finditer(content[marks.rfind(b"\0", 0, at) + 1 : end])
        at = marks.find(needle, end)


def _decoded_text(content: bytes) -> Iterator[tuple[str, bytes]]:
    if b"%" in content:
        yield "URL", b"\n".join(urllib.parse.unquote_to_bytes(run.group()) for run in _matches(_URL, content))
    if b"&" in content:
        yield (
            "XML",
            _ENTITY.sub(lambda entity: html.unescape(entity.group().decode()).encode("utf-8", "replace"), content),
        )
    if b"\\" in content:
        yield (
            "JSON",
            _JSON_ESCAPE.sub(
                lambda escape: json.loads(b'"' + escape.group() + b'"').encode("utf-8", "replace"), content
            ),
        )


def _decompressed(content: bytes, *, whole: bool) -> Iterator[tuple[str, bytes]]:
    view = memoryview(content)  # what seems to begin in the middle is not copied
    for name, pattern, bits in (("gzip", _GZIP, 31), ("zlib", _ZLIB, 15)):
        for start in pattern.finditer(content):
            if inner := _inflate(view[start.start() :], bits):
                yield name, inner
    for entry in _ZIP_ENTRY.finditer(content):
        begin = entry.end() + int.from_bytes(entry[1], "little") + int.from_bytes(entry[2], "little")
        if inner := _inflate(view[begin:], -15):
            yield "zip", inner
    if whole and (
        inner := _inflate(view, -15)
    ):  # a bare stream has no mark: only what was decoded out of something is tried
        yield "deflate", inner


def _inflate(content: memoryview, bits: int) -> bytes:
    """What a stream holds; also of one that breaks off."""
    stream = zlib.decompressobj(wbits=bits)
    inner = bytearray()
    try:
        # In pieces, so that what only looks like a stream costs little and what is broken gives what it has.
        for begin in range(0, len(content), 65536):
            inner += stream.decompress(content[begin : begin + 65536], MAXIMUM_BYTES)
            if stream.eof or len(inner) >= MAXIMUM_BYTES:
                break
    except zlib.error:
        pass
    return bytes(inner)


def _decoded_runs(content: bytes) -> Iterator[tuple[str, bytes]]:
    for run in _matches(_HEXADECIMAL, content):
        digits = re.sub(rb"[-: ]", b"", run.group())
        yield "hexadecimal", bytes.fromhex(digits[: len(digits) // 2 * 2].decode())
        yield "hexadecimal", bytes.fromhex(digits[1 : (len(digits) - 1) // 2 * 2 + 1].decode())
    for run in _matches(_BASE64, content):
        parts = _BETWEEN.split(run.group().replace(b"\\/", b"/").translate(bytes.maketrans(b"-_", b"+/")))
        joined = b"".join(parts)
        # The lines together, wherever in them it begins; and each by itself, for what must be
        # whole from its first byte on.
        begins = range(4 if len(joined) < _LONG else 1)
        for text in [
            *(joined[begin:] for begin in begins),
            *(part for part in parts if len(parts) > 1 and len(part) > _SHORTEST),
        ]:
            rest = len(text) % 4
            try:
                yield "base64", base64.b64decode(text + b"=" * (4 - rest) if rest > 1 else text[: len(text) - rest])
            except binascii.Error:
                continue

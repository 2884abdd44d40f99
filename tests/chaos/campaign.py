# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random damage to archives and dumps, judged by the node's own verifier in one process; what it misses, by field. Not
part of the suite: `make chaos`."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import struct
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import bson

from tests.node.archives import Staged
from tests.node.engine import Engine

WORK = r"C:\chaos"


@dataclass(frozen=True)
class Case:
    """One damaged copy: kind (zip, bson), the file, what was done (flip, cut, clean) and where (bit, or new length)."""

    kind: str
    file: str
    what: str
    where: int


@dataclass(frozen=True)
class Answer:
    """What the node says of it."""

    sha256: str
    problems: int
    documents: int


def archives_of(engine: Engine, number: int, chance: random.Random) -> list[Path]:
    """Archives as the node's own job writes them, each of a bit of everything, a few kilobytes."""
    made = []
    for _unused in range(number):
        case = Staged(engine)
        case.put("database/A/users.bson", dump(chance, 20))
        case.put("database/A/packed.bson.gz", gzip.compress(dump(chance, 40), mtime=0))
        case.put("configuration/größe €.txt", b"some text\n" * chance.randrange(1, 40))
        case.put("configuration/stored.zip", chance.randbytes(chance.randrange(500)))
        case.put("configuration/empty.txt", b"")
        end = case.write()
        if end.result["state"] != "succeeded":
            raise RuntimeError(f"no archive: {end.result}")
        made.append(case.archive)
    return made


def dump(chance: random.Random, documents: int) -> bytes:
    """Documents with every common type."""
    return b"".join(
        bson.encode(
            {
                "_id": bson.ObjectId(chance.randbytes(12)),
                "n": number,
                "big": 2**40 + number,
                "f": number / 7,
                "t": "x" * chance.randrange(30),
                "b": chance.randbytes(chance.randrange(20)),
                "a": [1, "two", None, True],
                "d": {"inner": {"deep": number}},
            }
        )
        for number in range(documents)
    )


def judge(engine: Engine, cases: list[Case], files: dict[str, Path]) -> list[Answer]:
    """Let the node's verifier judge every case, in one process."""
    folder = engine.path(WORK)
    folder.mkdir(exist_ok=True)
    for name, file in files.items():
        (folder / name).write_bytes(file.read_bytes())
    lines = [f"{case.kind} {WORK}\\{case.file} {case.what} {case.where}" for case in cases]
    (folder / "work.txt").write_text("\n".join(lines), encoding="ascii")
    engine.run(Path(__file__).with_name("damage.ps1").read_text(encoding="utf-8"), timeout=3000)
    told = (line.split() for line in (folder / "answers.txt").read_text(encoding="ascii").splitlines())
    answers = [Answer(sha256, int(problems), int(documents)) for sha256, problems, documents in told]
    if len(answers) != len(cases):
        raise RuntimeError(f"{len(cases)} cases, {len(answers)} answers")
    return answers


def field_at(content: bytes, offset: int) -> str:
    """The field of an intact zip that contains a byte, as zipfile reads the zip."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        directory = archive.start_dir
        for entry in archive.infolist():
            name, extra = struct.unpack("<HH", content[entry.header_offset + 26 : entry.header_offset + 30])
            data = entry.header_offset + 30 + name + extra
            if entry.header_offset <= offset < data:
                return (
                    "local header" if not 30 <= offset - entry.header_offset < 30 + name else "name in the local header"
                )
            if data <= offset < data + entry.compress_size:
                return "compressed data" if entry.compress_type else "stored data"
    return "central directory and end records" if offset >= directory else "data descriptor"


def changes_an_entry(content: bytes, damaged: bytes) -> bool:
    """Whether Python's zipfile, CRC set aside, gets other names or bytes out of it, or none at all."""

    def entries(of: bytes) -> list[tuple[str, bytes]]:
        with zipfile.ZipFile(io.BytesIO(of)) as archive:
            return [(entry.filename, archive.read(entry)) for entry in archive.infolist()]

    try:
        return entries(content) != entries(damaged)
    except Exception:
        return True


def flipped(content: bytes, bit: int) -> bytes:
    """The content with one bit changed."""
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def archive_table(engine: Engine, seed: int, flips: int, cuts: int, clean: int) -> tuple[str, bool]:
    """Markdown table over archives, and whether everything that must be found was found and
    nothing else was accused."""
    chance = random.Random(seed)
    made = archives_of(engine, 10, chance)
    files = {f"{number}.zip": file for number, file in enumerate(made)}
    contents = {name: file.read_bytes() for name, file in files.items()}

    def some(what: str, number: int) -> list[Case]:
        names = [chance.choice(list(files)) for _unused in range(number)]
        size = {name: len(content) for name, content in contents.items()}
        return [
            Case(
                "zip", name, what, chance.randrange(size[name] * (8 if what == "flip" else 1)) if what != "clean" else 0
            )
            for name in names
        ]

    cases = some("flip", flips) + some("cut", cuts) + some("clean", clean)
    answers = judge(engine, cases, files)
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    sidecar: Counter[str] = Counter()
    alone: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    wrong = 0
    for case, answer in zip(cases, answers, strict=True):
        sidecar[case.what] += answer.sha256 != sums[case.file]
        alone[case.what] += answer.problems > 0
        if case.what == "flip" and not answer.problems:
            content = contents[case.file]
            missed[field_at(content, case.where // 8)] += 1
            wrong += changes_an_entry(content, flipped(content, case.where))
    rows = [
        f"| {what} | {number} | {sidecar[what]} | {alone[what]} |"
        for what, number in (("flip", flips), ("cut", cuts), ("clean", clean))
    ]
    fields = ", ".join(f"{name}: {number}" for name, number in missed.most_common()) or "none"
    text = "\n".join(
        [
            "| archives | tried | found with .sha256 | found by archive and manifest alone |",
            "|---|---|---|---|",
            *rows,
            (
                f"\nFlips not found by the archive alone, by field: {fields}; "
                f"of these change an entry's bytes or name: {wrong}."
            ),
        ]
    )
    good = (
        sidecar["flip"] == flips
        and sidecar["cut"] == cuts == alone["cut"]
        and not sidecar["clean"]
        and not alone["clean"]
        and not wrong
    )
    return text, good


def structure(content: bytes) -> int | None:
    """How many documents Python's bson finds; None when it cannot read them."""
    try:
        # What is a date beyond the calendar of Python is sound all the same, and so are texts that are no UTF-8.
        options = bson.CodecOptions(
            unicode_decode_error_handler="replace", datetime_conversion=bson.DatetimeConversion.DATETIME_MS
        )
        return len(bson.decode_all(content, options))
    except Exception:
        return None


def dump_table(engine: Engine, seed: int, flips: int) -> tuple[str, bool]:
    """Markdown table over a dump before it is hashed: every truncation inside a document, random flips."""
    chance = random.Random(seed)
    content = dump(chance, 30)
    file = engine.path(rf"{WORK}\dump.source")
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    cases = [Case("bson", "dump.bson", "cut", length) for length in range(1, len(content))]
    cases += [Case("bson", "dump.bson", "flip", chance.randrange(len(content) * 8)) for _unused in range(flips)]
    answers = judge(engine, cases, {"dump.bson": file})
    whole = structure(content)
    found: Counter[str] = Counter()
    tried: Counter[str] = Counter()
    missed = []
    for case, answer in zip(cases, answers, strict=True):
        seen = answer.problems > 0 or answer.documents != whole
        kind = case.what
        if case.what == "flip":
            kind = (
                "flip that another reader cannot read"
                if structure(flipped(content, case.where)) != whole
                else "flip of a value or name"
            )
        tried[kind] += 1
        found[kind] += seen
        if not seen and kind != "flip of a value or name":
            missed.append(f"{kind}, bit {case.where}")
    rows = [f"| {kind} | {tried[kind]} | {found[kind]} |" for kind in sorted(tried)]
    text = "\n".join(
        [
            "| dump before it is hashed | tried | found by walk and count |",
            "|---|---|---|",
            *rows,
            *(f"\nMissed: {what}" for what in missed[:20]),
        ]
    )
    must = ("cut", "flip that another reader cannot read")
    return text, all(found[kind] == tried[kind] for kind in must)

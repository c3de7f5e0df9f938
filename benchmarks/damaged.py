"""What does damaged input cost? Reading and parsing alone, no database.

    python benchmarks/damaged.py --sizes 1,2,4,8 --log 120

First files of ten hostile kinds, in megabytes, each read to its last reject: twice the bytes should
take twice the time, whatever they are. Then a log with some bad lines, against the same log clean.
"""

from __future__ import annotations

import itertools
import json
import random
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from _shared import numbers, parser, show

from sparkify_bulk.extract.batch import extract
from sparkify_bulk.extract.counts import add_up
from sparkify_bulk.source.manifest import make_manifest
from sparkify_bulk.source.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Callable

MEGABYTE = 10**6


def main() -> None:
    """Read the command line, measure, print."""
    arguments = parser(__doc__, "bench/damaged.json")
    arguments.add_argument("--sizes", type=numbers, default="1,2,4,8", help="in megabytes")
    arguments.add_argument("--log", type=int, default=120, help="of the log, in megabytes")
    given = arguments.parse_args()
    rows = [_measure_kind(kind, given) for kind in KINDS] + _measure_log(given)
    show(rows, given.output, seed=given.seed)


def _measure_kind(kind: str, given: Any) -> dict[str, Any]:  # noqa: ANN401 - of argparse
    """Read files of one kind and several sizes."""
    seconds, rejects = [], 0
    for size in given.sizes:
        data = KINDS[kind](size * MEGABYTE, random.Random(given.seed))
        spent, _, rejects = min(_read(data) for _ in range(given.rounds))
        seconds.append(spent)
    growth = [b / a for a, b in itertools.pairwise(seconds)]
    return {
        "input": kind,
        "megabytes": given.sizes[-1],
        "rejects": rejects,
        "cpu_seconds": round(seconds[-1], 2),
        "megabytes_per_second": round(given.sizes[-1] / seconds[-1], 1),
        "growth": round(max(growth, default=1.0), 2),
        "cpu_seconds_by_size": [round(one, 3) for one in seconds],
    }


def _measure_log(given: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - of argparse
    """Read a log with ever more bad lines; its growth is against the log without any."""
    lines = _lines(given.log * MEGABYTE)
    rows = []
    clean = 0.0
    for thousandths, how in ((0, "clean"), (1, "torn"), (10, "torn"), (10, "of a wrong type")):
        chance = random.Random(given.seed)
        mixed = [
            _spoil(line, how, chance) if chance.randrange(1000) < thousandths else line
            for line in lines
        ]
        data = b"".join(mixed)
        spent, accepted, rejects = min(_read(data) for _ in range(given.rounds))
        clean = clean or spent
        rows.append(
            {
                "input": f"log, {thousandths / 10:g} % of lines {how}" if thousandths else "log",
                "megabytes": given.log,
                "rejects": rejects,
                "cpu_seconds": round(spent, 2),
                "megabytes_per_second": round(len(data) / MEGABYTE / spent, 1),
                "growth": round(spent / clean, 2),
                "accepted": accepted,
            }
        )
    return [{key: row[key] for key in row if key != "accepted"} for row in rows]


def _read(data: bytes) -> tuple[float, int, int]:
    """Return the processor time to read a file, and how many records it had and refused."""
    with tempfile.TemporaryDirectory(prefix="sparkify-bench-") as folder:
        Path(folder, "log.json").write_bytes(data)
        accepted = rejected = 0
        began = time.process_time()
        for batch in make_manifest("events", open_store(folder)).batches:
            counts = []
            for part in extract(batch):
                counts.append(part.counts())
                accepted += part.frame.height
                rejected += len(part.rejects)
            add_up(batch.files, counts)
        return time.process_time() - began, accepted, rejected


def _spoil(line: bytes, how: str, chance: random.Random) -> bytes:
    """Cut a line short, or write a number as text."""
    if how == "torn":
        return line[: chance.randrange(10, len(line) - 10)] + b"\n"
    return line.replace(b'"sessionId": 7', b'"sessionId": "seven"')


# --- hostile kinds --------------------------------------------------------------------------------


def _event(number: int) -> bytes:
    record = {
        "artist": f"Band {number % 500}", "auth": "Logged In", "firstName": "Ann", "gender": "F",
        "itemInSession": number, "lastName": "Test", "length": 201.5, "level": "free",
        "location": "San Jose-Sunnyvale-Santa Clara, CA", "method": "PUT", "page": "NextSong",
        "sessionId": 7, "song": f"Title {number % 900}", "status": 200,
        "ts": 1_541_106_106_796 + number, "userAgent": '"Mozilla/5.0 (X11)"', "userId": "39",
    }  # fmt: skip
    return json.dumps(record).encode()


def _lines(size: int) -> list[bytes]:
    line = len(_event(10**6)) + 1
    return [_event(number) + b"\n" for number in range(size // line)]


def _filled(make: Callable[[int], bytes], size: int) -> bytes:
    """Put pieces together until there are so many bytes."""
    pieces: list[bytes] = []
    length = 0
    while length < size:
        pieces.append(make(len(pieces)))
        length += len(pieces[-1])
    return b"".join(pieces)[:size]


def _repeated(piece: bytes) -> Callable[[int, random.Random], bytes]:
    return lambda size, _: piece * (size // len(piece))


_NOISE = b"Nov 12 00:30:26 host kernel: line %d of what is no JSON\n"
_ROW = b'%d,"Band, The",201.5,free,"San Jose, CA",NextSong\n'
KINDS: dict[str, Callable[[int, random.Random], bytes]] = {
    "truncated lines": lambda size, chance: _filled(
        lambda number: _event(number)[: chance.randrange(20, 300)] + b"\n", size
    ),
    "truncated, all on one line": lambda size, chance: _filled(
        lambda number: _event(number)[: chance.randrange(20, 300)], size
    ),
    "junk text": lambda size, _: _filled(lambda number: _NOISE % number, size),
    "CSV": lambda size, _: _filled(lambda number: _ROW % number, size),
    "UTF-16 without its mark": lambda size, _: b"".join(
        line.decode().encode("utf-16-le") for line in _lines(size // 2)
    ),
    "random bytes": lambda size, chance: b"\t" + chance.randbytes(size),
    "array, a bare word in each": lambda size, _: b"[" + _filled(
        lambda number: _event(number).replace(b'"free"', b"free") + b", ", size
    ),
    "nesting without end": _repeated(b'{"a": {"b": [1, '),
    "a key repeated": lambda size, _: b'{"page": "Home"' + b', "a": 1' * (size // 8) + b"}",
    "a string without end": lambda size, _: b'{"page": "' + b'x\\"' * (size // 3),
    "opening braces": _repeated(b"{"),
    "NULs": _repeated(b"\0"),
}  # fmt: skip


if __name__ == "__main__":
    main()

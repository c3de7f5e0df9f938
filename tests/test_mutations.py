"""Damaged files: whatever bytes are flipped, cut, put in or doubled, nothing but they suffers."""

import json
import random
from pathlib import Path

import polars as pl
import pytest
from sizes import share
from trees import Tree, event, song

from sparkify_bulk.extract.batch import extract
from sparkify_bulk.extract.counts import add_up
from sparkify_bulk.source.batches import Batch, Kind
from sparkify_bulk.source.stores import open_store
from sparkify_bulk.transform.rules import RULES

MUTATIONS = 10_000
# Bytes that mean something to a reader of JSON, and some that mean nothing anywhere.
LOUD = b'{}[]",:\\\n\r\t \x00\xff\xc3/u0-+.eE\xef\xbb\xbf'


# What carries nothing between records, so that no reject begins with it.
LAYOUT = (b"", b" ", b"\t", b"\r", b"\n", b",", b"[", b"]")


def record(kind: Kind, number: int) -> bytes:
    """Return a record's line, different from all others, some with text beyond ASCII."""
    title = f"Zoë {number}"
    made = song(number, title=title) if kind == "songs" else event(number, song=title)
    return json.dumps(made, ensure_ascii=number % 2 == 0).encode()


FILES: dict[Kind, list[list[bytes]]] = {
    "songs": [[record("songs", 0)], [record("songs", n) for n in (1, 2)]],
    "events": [[record("events", n) for n in range(4)], [record("events", 4)]],
}


def damaged(chance: random.Random, data: bytes) -> tuple[bytes, int, int]:
    """Return the bytes with one stretch changed, and where: what is before and behind is as it was.

    The last two are the lengths of the head and of the tail that weren't touched.
    """
    at = chance.randrange(len(data) + 1)
    size = chance.choice([1, 1, 1, 2, 5, 30, 300])
    what = chance.choice(["flip", "loud", "delete", "insert", "double", "swap"])
    stop = min(at + size, len(data))
    taken = data[at:stop]
    if what == "flip":
        put = bytes(byte ^ (1 << chance.randrange(8)) for byte in taken)
    elif what == "loud":
        put = bytes(chance.choice(LOUD) for _ in taken)
    elif what == "delete":
        put = b""
    elif what == "insert":
        put = bytes(chance.choice(LOUD) for _ in range(size % 7 + 1)) + taken
    elif what == "double":
        put = taken + taken
    else:
        put = taken[::-1]
    return data[:at] + put + data[stop:], at, len(data) - stop


def untouched(lines: list[bytes], after: bytes, head: int, tail: int) -> list[bytes]:
    """Return the lines of which no byte was touched, and which still stand on a line of their own.

    Behind the damage, a record that doesn't end swallows what doesn't begin on a new line; so the
    line must follow a newline that is still there.
    """
    data = b"\n".join(lines)
    safe, start = [], 0
    for line in lines:
        stop = start + len(line)
        before = stop < head or (stop == head == len(data))
        behind = start > len(data) - tail
        # Doubled or put in right behind its newline, other bytes would stand on its line.
        if (before and after[stop : stop + 1] in (b"\n", b"")) or behind:
            safe.append(line)
        start = stop + 1
    return safe


def read(
    kind: Kind, root: Path, names: list[str], *, record_by_record: bool
) -> tuple[pl.DataFrame, list[tuple[int, bytes, int]]]:
    """Extract files, whose books must balance; return rows; and file, bytes, offset of rejects."""
    counts = []
    frames = [pl.DataFrame(schema=RULES[kind].typed)]
    rejects = []
    for part in extract(
        Batch(0, kind, open_store(root), "\0".join(names), 0), record_by_record=record_by_record
    ):
        counts.append(part.counts())
        frames.append(part.frame)
        for reject in part.rejects:
            assert reject.offset is not None
            rejects.append((reject.file, reject.raw, reject.offset))
    rows = pl.concat(frames)
    for index, count in enumerate(add_up(names, counts).rows(named=True)):
        assert count["records"] == count["accepted"] + count["filtered"] + count["rejected"]
        assert count["accepted"] == rows.filter(pl.col("file") == index).height
        assert count["rejected"] == sum(file == index for file, *_ in rejects)
    return rows, rejects


def values(rows: pl.DataFrame, file: int) -> set[str]:
    """Return the rows of a file, without their places."""
    found = rows.filter(pl.col("file") == file).drop("file", "source_offset", strict=False)
    return {repr(row) for row in found.rows()}


@pytest.mark.covering
@pytest.mark.parametrize("kind", ["songs", "events"])
@pytest.mark.parametrize("seed", range(5))
def test_damage_to_some_bytes_costs_no_other_record(tree: Tree, kind: Kind, seed: int) -> None:
    """However one stretch of a file is damaged, all records beside it are read as they were.

    Nothing crashes, each file's books balance, and a reject's bytes are the file's at its offset.
    """
    chance = random.Random(f"{kind} {seed}")
    folder = tree.song_folder if kind == "songs" else tree.log_folder
    names = [f"{number}.json" for number in range(len(FILES[kind]))]
    for name, lines in zip(names, FILES[kind], strict=True):
        (folder / name).write_bytes(b"\n".join(lines))
    whole, _ = read(kind, folder, names, record_by_record=False)
    expected = {
        line: repr(row)
        for line, row in zip(
            (line for lines in FILES[kind] for line in lines),
            whole.drop("file", "source_offset", strict=False).rows(),
            strict=True,
        )
    }
    for number in range(share(MUTATIONS // 10)):
        hit = chance.randrange(len(names))
        lines = FILES[kind][hit]
        data, head, tail = damaged(chance, b"\n".join(lines))
        (folder / names[hit]).write_bytes(data)
        rows, rejects = read(kind, folder, names, record_by_record=number % 4 == 0)
        for file, lines_there in enumerate(FILES[kind]):
            safe = untouched(lines_there, data, head, tail) if file == hit else lines_there
            missing = {expected[line] for line in safe} - values(rows, file)
            assert not missing, data
        for file, raw, offset in rejects:
            assert file == hit
            assert data[offset : offset + len(raw)] == raw
            assert raw[:1] not in LAYOUT
        (folder / names[hit]).write_bytes(b"\n".join(lines))

"""Texts that are JSON and texts that aren't: taken or refused, and the same way on both paths."""

import json
import tempfile
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest
from damage import DAMAGES, LAYOUTS, damaged, pieces_of_junk
from hypothesis import example, given
from hypothesis import strategies as st
from json_texts import ACCEPTED, FILES, LEFT_TO_US, REFUSED
from sizes import examples
from trees import event, song

from sparkify_bulk.extract import batch as extracting
from sparkify_bulk.extract.batch import extract
from sparkify_bulk.extract.counts import add_up
from sparkify_bulk.extract.decoder import MAX_DEPTH
from sparkify_bulk.extract.records import decode_records
from sparkify_bulk.extract.rejects import Reject
from sparkify_bulk.source import reading
from sparkify_bulk.source.batches import Kind
from sparkify_bulk.source.manifest import make_manifest
from sparkify_bulk.source.stores import open_store
from sparkify_bulk.transform.fields import EVENT, SONG
from sparkify_bulk.transform.rejection import Rejection
from sparkify_bulk.transform.rules import RULES

# What a path makes of some files: rows as text, books and rejects.
Outcome = tuple[list[str], list[tuple[int, ...]], list[Reject]]

# The key is named where what is written for a number spoils a record that is well-formed.
NOT_NUMBERS = ("not a number", "infinity", "negative infinity", "integer of 5000 digits")
VERDICTS = [
    *((name, text, True) for name, text in ACCEPTED.items()),
    *((name, text, False) for name, text in REFUSED.items()),
    *((name, text, taken) for name, (text, taken) in LEFT_TO_US.items()),
]


def read(kind: Kind, root: Path, *, record_by_record: bool) -> Outcome:
    """Extract a folder's files by one of the two paths."""
    frames = [pl.DataFrame(schema=RULES[kind].typed)]
    rejects: list[Reject] = []
    books: list[tuple[int, ...]] = []
    for batch in make_manifest(kind, open_store(root)).batches:
        counts = []
        for part in extract(batch, record_by_record=record_by_record):
            counts.append(part.counts())
            frames.append(part.frame)
            rejects.extend(part.rejects)
        fates = add_up(batch.files, counts).select(
            "records", "accepted", "filtered", "rejected", "bytes"
        )
        books += fates.rows()
    rejects.sort(key=lambda reject: (reject.file, reject.offset or 0))
    rows = sorted(repr(row) for row in pl.concat(frames).rows())
    return rows, books, rejects


def read_both(kind: Kind, *files: bytes) -> Outcome:
    """Extract files by either path; they must agree in everything."""
    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(files):
            (Path(folder) / f"{number}.json").write_bytes(data)
        default = read(kind, Path(folder), record_by_record=False)
        assert default == read(kind, Path(folder), record_by_record=True)
    rows, books, rejects = default
    for number, (records, accepted, filtered, rejected, _) in enumerate(books):
        assert records == accepted + filtered + rejected
        assert rejected == sum(reject.file == number for reject in rejects)
    for reject in rejects:
        data = files[reject.file]
        assert reject.offset is not None
        assert data[reject.offset :].startswith(reject.raw)
        assert reject.line == data.count(b"\n", 0, reject.offset) + 1
    assert len(rows) == sum(accepted for _, accepted, *_ in books)
    return default


def beside(record: dict[str, Any], text: bytes, *, first: bool) -> bytes:
    """Write a record with this text as the value of a key that no table needs."""
    data = json.dumps(record).encode()
    if first:
        return b'{"other": ' + text + b", " + data[1:]
    return data[:-1] + b', "other": ' + text + b"}"


@pytest.mark.covering
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("kind", ["songs", "events", "filtered events"])
@pytest.mark.parametrize(("name", "text", "taken"), VERDICTS, ids=[name for name, *_ in VERDICTS])
def test_a_value_nobody_needs_spoils_its_record_if_it_is_no_json(
    *, name: str, text: bytes, taken: bool, kind: str, first: bool
) -> None:
    """A record is taken exactly if all of it is JSON; its neighbours are taken in any case."""
    make = song if kind == "songs" else event
    page = {"page": "Home"} if kind == "filtered events" else {}
    artist = "artist_name" if kind == "songs" else "artist"
    before, after = (json.dumps(make(n) | {artist: f"Number {n}"}).encode() for n in (1, 3))
    middle = beside(make(2, **page), text, first=first)
    data = b"\n".join([before, middle, after])
    rows, [(records, accepted, filtered, rejected, _)], rejects = read_both(
        "songs" if kind == "songs" else "events", data
    )
    if taken:
        assert (records, rejected) == (3, 0), name
        assert filtered == (kind == "filtered events")
        assert accepted + filtered == 3
    else:
        assert accepted >= 2, name
        assert rejects[0].reason == "malformed_json"
        assert (rejects[0].line, rejects[0].offset) == (2, len(before) + 1)
        assert rejects[0].column == ("other" if name in NOT_NUMBERS else None)
    assert all(any(f"Number {n}" in row for row in rows) for n in (1, 3))


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_whatever_text_gives_these_records_and_rejects(name: str) -> None:
    """Each file gives its records, and each piece of junk a reject by line, offset and reason."""
    data, filtered, expected = FILES[name]
    rows, [(records, *_, found_filtered, _, size)], rejects = read_both("events", data)
    assert rows == []
    assert [(reject.line, reject.offset, reject.reason) for reject in rejects] == expected
    assert (records, found_filtered, size) == (filtered + len(expected), filtered, len(data))


def test_depth_is_counted_whatever_the_stack() -> None:
    """How deep a record may nest doesn't depend on how deep the caller is in its own calls."""
    deepest = b'{"a":' * MAX_DEPTH + b"0" + b"}" * MAX_DEPTH
    found: list[type] = []

    def descend(levels: int) -> None:
        if levels:
            descend(levels - 1)
        else:
            for data in (deepest, b'{"a":' + deepest + b"}"):
                found.extend(type(record.value) for record in decode_records(data))

    for levels in (0, 300, 600):
        descend(levels)
    assert found == [dict, Rejection] * 3


TEXTS = {field.key for field in (*EVENT, *SONG)} - {"userId"}
NUMBERS = [
    "18446744073709551615", "18446744073709551616", "-9223372036854775809", "9" * 38, "9" * 39,
    "-" + "9" * 38, "9" * 400, "1e30", "1.5", "-0", "1e400",
]  # fmt: skip


@pytest.mark.every(4)
@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("kind", ["songs", "events"])
def test_a_number_is_never_taken_for_text(kind: Kind, number: str) -> None:
    """A number of any size, where text belongs, is a reject by that key, alone or among text."""
    make = song if kind == "songs" else event
    texts = [key for key, value in make().items() if isinstance(value, str) and key in TEXTS]
    assert len(texts) > 4
    for key in texts:
        bad = json.dumps({name: value for name, value in make(2).items() if name != key})
        bad = f'{bad[:-1]}, "{key}": {number}}}'
        good = json.dumps(make(1))
        for data in (bad, f"{good}\n{bad}\n{good}"):
            rows, _, (reject,) = read_both(kind, data.encode())
            assert (reject.reason, reject.column) == ("wrong_type", key)
            assert len(rows) == data.count("\n")


# --- any mixture --------------------------------------------------------------------------------

SPELLINGS = [
    "1541105830796.0", "1541105830796e0", "4102444800001", "-1", "1e18", "1e19", "39.5",
    "9007199254740993", "9007199254740993.0", "9223372036854775807", "9223372036854775808",
    "-9223372036854775808", "0.1", "0.30000000000000004", "1.7976931348623157e308",
    "1.7976931348623159e308", "5e-324", "2e-324", "123456789012345678901234567890",
    "200.00000000000000001", "9007199254740992.5", '"39"', '"039"', '"-0"', '"+7"', '"7e0"',
    '"NextSong"', '"Home"', '"free"', '""', '" "', '"\\u0000"', "2001", "2001.0", "0", "-0",
    "9999", "10000", "2147483648",
]  # fmt: skip
# As Latin-1, so that a text can be any bytes.
VALUES = st.sampled_from(
    [*SPELLINGS, *(text.decode("latin-1") for _, text, _ in VERDICTS if len(text) < 3000)]
)
JUNK = st.sampled_from(
    ["noise", "{", "}", "[", "]", ",", '"', "{}", "[]", "null", "{}}", '{"page": "NextSong"',
     '{"page":\n', '"ts": 1}', "\0", "\xff", "\xef\xbb\xbf", "//", '{"a": {}\n{', "\x0c", ":"]
)  # fmt: skip
GLUE = st.sampled_from(
    ["\n", "\n", "\n", "\n", "\r\n", "\n\n", " ", "", ",", ",\n", "\n \t", "]\n["]
)


@st.composite
def files(draw: st.DrawFn, kind: Kind) -> bytes:
    """Draw a file: records good, odd and torn, junk, and any layout between them."""
    make = song if kind == "songs" else event
    pieces = [draw(st.sampled_from(["", "", "[", "\xef\xbb\xbf", "\n", " "]))]
    for number in range(draw(st.integers(0, 6))):
        what = draw(st.sampled_from(["good", "good", "good", "odd", "pretty", "torn", "junk"]))
        record = make(number) | ({"page": "Home"} if draw(st.integers(0, 4)) == 0 else {})
        if what == "junk":
            text = draw(JUNK)
        elif what == "pretty":
            text = json.dumps(record, indent=draw(st.sampled_from([0, 1, "\t"])))
        elif what == "odd":
            pairs = [(json.dumps(key), json.dumps(value)) for key, value in record.items()]
            for _ in range(draw(st.integers(1, 2))):
                key = draw(st.sampled_from([*record, "other"]))
                if draw(st.booleans()):
                    pairs = [pair for pair in pairs if pair[0] != json.dumps(key)]
                pairs.insert(draw(st.integers(0, len(pairs))), (json.dumps(key), draw(VALUES)))
            text = "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"
        else:
            text = json.dumps(record)
            if what == "torn":
                text = text[draw(st.integers(0, 20)) : draw(st.integers(20, len(text)))]
        pieces += [text, draw(GLUE)]
    return "".join(pieces).encode("latin-1")


@examples(250)
@given(
    kind_and_files=st.sampled_from(["songs", "events"]).flatmap(
        lambda kind: st.tuples(st.just(kind), st.lists(files(kind), min_size=1, max_size=3))
    )
)
@example(kind_and_files=("events", [b'{"a": {}\n{"page": "Home"}']))
@example(kind_and_files=("events", [b': {"page": "Home"\n{"page": "' + b"a" * 99 + b'"}\n']))
def test_both_paths_agree_on_any_mixture(kind_and_files: tuple[Kind, list[bytes]]) -> None:
    """Fast or record by record: equal rows, equal books and equal rejects, whatever the files.

    And so it is where the bytes are read in small pieces.
    """
    kind, contents = kind_and_files
    rows, books, rejects = read_both(kind, *contents)
    for size in (64, 333):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reading, "CHUNK_BYTES", size)
            patch.setattr(extracting, "SALVAGE_BYTES", size // 2)
            pieces = read_both(kind, *contents)
        assert pieces[:2] == (rows, books)
        assert [_without_words(reject) for reject in pieces[2]] == [
            _without_words(reject) for reject in rejects
        ]


@examples(200)
@given(
    st.sampled_from(list(LAYOUTS)),
    st.sampled_from(list(DAMAGES)),
    st.integers(0, 9),
    st.randoms(use_true_random=False),
)
def test_one_damaged_record_costs_one_record_on_both_paths(
    layout: str, damage: str, hit: int, chance: Random
) -> None:
    """Whatever befalls a record, in any layout, all others load, and there is one reject for it.

    And so it is where the bytes are read in small pieces.
    """
    records = [event(number, song=f"Zoë {number}") for number in range(10)]
    data = damaged(records, hit, layout, damage, chance)
    rows, books, rejects = read_both("events", data)
    expected, _, _ = read_both("events", json.dumps(records[:hit] + records[hit + 1 :]).encode())
    assert set(expected) <= set(rows)
    assert len(rejects) <= DAMAGES[damage][1] + pieces_of_junk(layout, len(records))
    if "brace too many" not in damage:
        assert len(rows) + len(rejects) <= len(records) + pieces_of_junk(layout, len(records)) + 1
    for size in (300, 1000):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reading, "CHUNK_BYTES", size)
            patch.setattr(extracting, "SALVAGE_BYTES", size // 2)
            assert read_both("events", data)[:2] == (rows, books)


def _without_words(reject: Reject) -> Reject:
    """Leave out the words for what is wrong: the text after the record has a say in them."""
    return reject._replace(detail="")

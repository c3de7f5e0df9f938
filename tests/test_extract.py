"""Bytes to typed frames: the fast path, the salvage path, and that the two agree."""

import gzip
import json
import os
import re
import sys
import zlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from sizes import examples
from trees import MOMENT, Tree, event, lines, song

from sparkify_bulk.errors import CountMismatchError
from sparkify_bulk.extract import batch as extracting
from sparkify_bulk.extract import fast as fast_path
from sparkify_bulk.extract.batch import extract
from sparkify_bulk.extract.counts import Extract, add_up
from sparkify_bulk.extract.rejects import Reject
from sparkify_bulk.extract.salvage import salvage
from sparkify_bulk.extract.segments import Segment
from sparkify_bulk.source import folder, reading
from sparkify_bulk.source.batches import Batch, Kind
from sparkify_bulk.source.manifest import make_manifest
from sparkify_bulk.source.stores import open_store
from sparkify_bulk.transform.rules import RULES

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

BATCH = Batch(0, "events", open_store("."), "x.json", 0)


def read(
    kind: Kind, root: Path, **options: Any
) -> tuple[pl.DataFrame, list[Reject], list[SimpleNamespace]]:
    """Extract a whole folder; return all rows, all rejects and the books, file by file."""
    manifest = make_manifest(kind, open_store(root), **options)
    frames = [pl.DataFrame(schema=RULES[kind].typed)]
    rejects: list[Reject] = []
    books: list[SimpleNamespace] = []
    for batch in manifest.batches:
        counts = []
        for part in extract(batch):
            counts.append(part.counts())
            frames.append(part.frame)
            rejects.extend(part.rejects)
        books.extend(SimpleNamespace(**row) for row in add_up(batch.files, counts).rows(named=True))
    for count in books:
        assert count.records == count.accepted + count.filtered + count.rejected
    rejects.sort(key=lambda reject: (reject.file, reject.offset or 0))
    return pl.concat(frames), rejects, books


def fast(kind: Kind, data: bytes) -> Extract | None:
    """Take the fast path; None if it leaves any line to the other."""
    fast = fast_path.parse_fast([Segment(0, data, 0, 0)], RULES[kind])
    return None if fast is None or fast.others else fast.part


def salvaged(kind: Kind, data: bytes) -> Extract:
    """Take the salvage path."""
    (part,) = salvage([Segment(0, data, 0, 0)], RULES[kind], BATCH)
    return part


def assert_paths_agree(kind: Kind, data: bytes) -> None:
    """Hold the fast path to the salvage path's result, unless it refuses."""
    one = fast(kind, data)
    if one is None:
        return
    other = salvaged(kind, data)
    assert other.rejects == [], "the fast path accepted what the salvage path rejects"
    assert_frame_equal(one.frame, other.frame)
    assert one.records["number"].sum() == other.records["number"].sum()
    assert one.filtered["number"].sum() == other.filtered["number"].sum()


# --- the two paths agree --------------------------------------------------------------------------

EVENT_KEYS = st.sampled_from([*event(), "other"])
SONG_KEYS = st.sampled_from([*song(), "other"])
# JSON texts, so that the very spelling of a value is drawn.
SPELLINGS = st.sampled_from(
    [
        "null", "true", "false", "0", "-0", "39", "39.0", "3.9e1", "390e-1", "39.5", "1e400", "-1",
        "9223372036854775807", "9223372036854775808", "9007199254740993.0", "1e18", "NaN",
        "4102444800000", "4102444800001", "1541105830796.0", "0.1", "1E2", "01", "+1", "1.", ".5",
        '""', '"39"', '"39.0"', '" 39"', '"39 "', '"+39"', '"-39"', '"039"', '"3_9"', '"0x1f"',
        '"1e2"', '"\u0663"', '"NextSong"', '"Home"', '"nextsong"', '"free"', '"12"', '"-1 x"',
        '"true"', '"false"', '"null"', '"[1]"', '"{}"', '"{\\"a\\":1}"', '"a\\u0000b"',
        '"\\ud800"', '"\\ud83d\\ude00"', '"\\/"', '"\\n"', '"\t"', '"\\x"', '"é"', '"e\u0301"',
        '"\u2028"', '"\ufeff"', "[]", "{}", "[1,2]", '{"a":1}', '{"page":"NextSong"}', "'x'", "x",
        "",
    ]
)  # fmt: skip
BETWEEN = st.sampled_from(
    ["\n", "\n", "\n", "\r\n", " ", "", ",", "\n\n", "\n \t\r\n", ",\n", "\v\n"]
)
HEADS = st.sampled_from(["", "", "", "\ufeff", "\n", "[", " "])
TAILS = st.sampled_from(
    ["", "\n", "\r\n", "]", " x", "\n1", "\nnull", "\n[]", "\n{}", '\n"x"', "{", "\n{"]
)


@st.composite
def texts(draw: st.DrawFn, kind: Kind) -> bytes:
    """Draw records, some with a value spelt oddly, a key doubled, or torn, and what is between."""
    keys = EVENT_KEYS if kind == "events" else SONG_KEYS
    parts = [draw(HEADS)]
    for number in range(draw(st.integers(1, 4))):
        record = event(number) if kind == "events" else song(number)
        pairs = [(json.dumps(key), json.dumps(value)) for key, value in record.items()]
        for _ in range(draw(st.integers(0, 2))):
            key, spelling = draw(keys), draw(SPELLINGS)
            where = draw(st.integers(0, len(pairs)))
            if draw(st.booleans()):
                pairs = [pair for pair in pairs if pair[0] != json.dumps(key)]
            pairs.insert(min(where, len(pairs)), (json.dumps(key), spelling))
        text = "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"
        if draw(st.integers(0, 15)) == 0:
            text = text[: draw(st.integers(0, len(text)))]
        parts += [text, draw(BETWEEN)]
    data = ("".join(parts) + draw(TAILS)).encode()
    if draw(st.integers(0, 15)) == 0:
        where = draw(st.integers(0, len(data)))
        data = (
            data[:where] + draw(st.sampled_from([b"\xff", b"\0", b"\xed\xa0\x80"])) + data[where:]
        )
    return data


@examples(1000)
@given(texts("events"))
@example(lines(event(page="a\0b")))
@example(lines(event(page="\ud800")))
@example(lines(event(), b'{"page":"Home","ts":1} {"page":"Home","ts":2}'))
@example(lines(event(), b"\n"))
@example(b'{"page":"Home","auth":"\xff"}')
def test_both_paths_read_the_same_events(data: bytes) -> None:
    """Whatever the bytes of a log: the fast path refuses, or reads what the salvage path reads."""
    assert_paths_agree("events", data)


@examples(1000)
@given(texts("songs"))
def test_both_paths_read_the_same_songs(data: bytes) -> None:
    """Whatever the bytes of a song file: the fast path refuses, or agrees with the salvage path."""
    assert_paths_agree("songs", data)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("events", lines(event(1), event(2, page="Home"), event(3))),
        ("events", lines(event(1, userId="+39"), event(2, userId="039"))),
        ("events", lines(event(1, userId=39), event(2, userId=40.0), event(3, userId="41"))),
        (
            "events",
            lines(*(event(n, ts=str(MOMENT), sessionId="4", itemInSession="-1") for n in range(3))),
        ),
        ("events", lines(event(1, ts=float(MOMENT), sessionId="4"), event(2, page="Home", ts="x"))),
        ("songs", lines(song(1, year="2001"), song(2, year=""), song(3, year=None))),
        ("events", lines(event(1, song="12 Monkeys", artist="[x]"))),
        ("events", lines(event(1)) + b"\r\n" + lines(event(2)) + b"\r\n"),
        ("songs", lines(song(1), song(2))),
        ("songs", lines(song(1, title="1999", artist_location="", year=0))),
    ],
)
def test_the_fast_path_takes_what_is_clean(kind: Kind, data: bytes) -> None:
    """Clean records go the fast path: it doesn't refuse out of mere caution."""
    assert fast(kind, data) is not None
    assert_paths_agree(kind, data)


# --- layouts ------------------------------------------------------------------------------------

RECORDS = [event(number) for number in range(1, 6)]
LAYOUTS = {
    "one a line": lines(*RECORDS),
    "newline at the end": lines(*RECORDS) + b"\n",
    "blank lines": b"\n\n" + lines(*RECORDS).replace(b"\n", b"\n \t\n\n") + b"\n\n",
    "CRLF": lines(*RECORDS).replace(b"\n", b"\r\n") + b"\r\n",
    "byte order mark": b"\xef\xbb\xbf" + lines(*RECORDS),
    "pretty-printed": "\n".join(json.dumps(record, indent=4) for record in RECORDS).encode(),
    "one array": json.dumps(RECORDS).encode(),
    "one array, pretty-printed": json.dumps(RECORDS, indent=2).encode(),
    "an array, a record a line": b"[\n" + lines(*RECORDS).replace(b"\n", b",\n") + b"\n]\n",
    "all on one line": lines(*RECORDS).replace(b"\n", b" "),
    "two on some lines": lines(*RECORDS).replace(b"\n", b"", 1),
    "commas between": lines(*RECORDS).replace(b"\n", b",\n"),
}


@pytest.mark.parametrize("compression", ["", ".gz", ".zst"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_rows(tree: Tree, layout: str, compression: str) -> None:
    """However records are laid out, and packed, the same rows come out, and no reject."""
    pack = {"": bytes, ".gz": gzip.compress, ".zst": zstd.compress}[compression]
    tree.logs("plain/x.json", *RECORDS)
    tree.logs(f"other/x.json{compression}", pack(LAYOUTS[layout]))
    plain, _, _ = read("events", tree.log_folder / "plain")
    other, rejects, (books,) = read("events", tree.log_folder / "other")
    assert rejects == []
    assert_frame_equal(other, plain)
    assert books.records == len(RECORDS)


@pytest.mark.parametrize("data", [b"", b"\n", b" \r\n\t", b"[]", b"[\n]\n", b"\xef\xbb\xbf"])
def test_an_empty_file_holds_no_records(tree: Tree, data: bytes) -> None:
    """A file with nothing in it but white space or an empty array is fine, and counts none."""
    tree.logs("x.json", data)
    frame, rejects, (books,) = read("events", tree.log_folder)
    assert (frame.height, rejects, books.records) == (0, [], 0)


def test_records_with_nested_objects_are_whole(tree: Tree) -> None:
    """Objects within a record are no records of their own, even where one begins a line."""
    nested = event(device={"parts": [{"id": 1}, {"id": 2}]})
    tree.logs("x.json", json.dumps([nested, event(2)], indent=1).encode())
    frame, rejects, _ = read("events", tree.log_folder)
    assert (frame.height, rejects) == (2, [])


# --- rejects say where ----------------------------------------------------------------------------

BAD = b'{"page": "NextSong", "ts": "soon"}'
TORN = b'{"page": "NextSong", "ts": 15'


@pytest.mark.parametrize("separator", [b"\n", b"\r\n", b"\n\n"])
def test_a_reject_names_its_line_offset_and_bytes(tree: Tree, separator: bytes) -> None:
    """Each bad record among good ones is named by line, byte offset and its very bytes."""
    good = json.dumps(event(song="Zoë 𝄞"), ensure_ascii=False).encode()
    parts = [good, BAD, good, TORN, b"noise", good, b"[1]", BAD]
    data = separator.join(parts)
    tree.logs("a.json", event())
    tree.logs("x.json", data)
    frame, rejects, books = read("events", tree.log_folder)
    assert frame.height == 4
    assert [(count.records, count.accepted, count.rejected) for count in books] == [
        (1, 1, 0),
        (7, 3, 4),
    ]
    assert {reject.file for reject in rejects} == {1}
    for reject in rejects:
        assert reject.offset is not None
        assert data[reject.offset :].startswith(reject.raw)
        assert reject.line == data.count(b"\n", 0, reject.offset) + 1
    found = [(reject.reason, reject.column) for reject in rejects]
    # What is torn reaches to the next line that begins a record.
    assert found == [
        ("wrong_type", "ts"),
        ("malformed_json", None),
        ("not_an_object", None),
        ("wrong_type", "ts"),
    ]


def test_a_reject_in_an_array_names_its_place(tree: Tree) -> None:
    """A bad record inside a pretty-printed array is named by the line where it begins."""
    data = json.dumps([event(), {"page": "NextSong"}, event(2)], indent=2).encode()
    tree.logs("x.json", data)
    frame, (reject,), _ = read("events", tree.log_folder)
    assert frame.height == 2
    assert (reject.reason, reject.column) == ("missing_field", "ts")
    assert json.loads(reject.raw) == {"page": "NextSong"}
    assert reject.offset == data.index(reject.raw)
    assert reject.line == data.count(b"\n", 0, reject.offset) + 1


@pytest.mark.every(3)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("layout", ["lines", "crlf", "array", "pretty", "one line", "nested"])
def test_a_file_cut_anywhere_gives_the_same_rows_and_rejects(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, layout: str, packed: bool
) -> None:
    """A file read in parts and small chunks gives what it gives whole, wherever the cuts fall."""
    records: list[Any] = [event(number, ts=MOMENT + number * 10**6) for number in range(60)]
    records[7] = records[31] = {"page": "NextSong", "ts": "soon"}
    if layout == "nested":
        records = [record | {"more": [{"a": 1}, {"b": [{}]}]} for record in records]
    text = {
        "lines": lines(*records),
        "crlf": lines(*records).replace(b"\n", b"\r\n"),
        "array": json.dumps(records).encode(),
        "pretty": "\n".join(json.dumps(record, indent=2) for record in records).encode(),
        "one line": lines(*records).replace(b"\n", b""),
        "nested": json.dumps(records, indent=2).encode(),
    }[layout]
    name, data = ("x.json.gz", gzip.compress(text)) if packed else ("x.json", text)
    path = tree.logs(name, data)
    whole, rejects, _ = read("events", tree.log_folder)
    assert (whole.height, len(rejects)) == (58, 2)
    for size in (400, 997, 5000):
        monkeypatch.setattr(reading, "CHUNK_BYTES", size // 3)
        monkeypatch.setattr(extracting, "SALVAGE_BYTES", size // 2)
        frame, found, books = read("events", tree.log_folder, batch_bytes=size)
        assert_frame_equal(frame, whole)
        assert found == rejects
        assert sum(count.records for count in books) == 60
        assert sum(count.bytes for count in books) == path.stat().st_size


def test_one_bad_record_leaves_the_rest_to_the_fast_path(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a small stretch around a bad record is read record by record."""
    salvaged_bytes: list[int] = []

    def watched(segments: list[Segment], *rest: Any) -> Extract:
        salvaged_bytes.extend(len(segment.data) for segment in segments)
        return salvage(segments, *rest)

    monkeypatch.setattr(extracting, "salvage", watched)
    monkeypatch.setattr(extracting, "SALVAGE_BYTES", 2000)
    records = [event(number) for number in range(200)]
    tree.logs("x.json", *records[:77], BAD, *records[77:])
    frame, rejects, _ = read("events", tree.log_folder)
    assert (frame.height, len(rejects)) == (200, 1)
    assert sum(salvaged_bytes) <= 2000


def test_lines_with_wrong_values_leave_the_rest_to_the_fast_path(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the lines themselves, whether Polars refuses them or their values."""
    salvaged_lines: list[bytes] = []

    def watched(segments: list[Segment], *rest: Any) -> Any:
        salvaged_lines.extend(segment.data.strip() for segment in segments)
        return salvage(segments, *rest)

    monkeypatch.setattr(extracting, "salvage", watched)
    monkeypatch.setattr(extracting, "SALVAGE_BYTES", 2000)
    bad = [event(level=None), event(song=7), event(ts=1), event(sessionId="x"), event(artist="a\0")]
    records = [event(number) for number in range(200)]
    for kind in (bad[:1], bad[1:]):
        salvaged_lines.clear()
        mixed = [*records[:50], *kind[:2], *records[50:150], *kind[2:], *records[150:]]
        tree.logs("x.json", *mixed)
        frame, rejects, _ = read("events", tree.log_folder)
        assert (frame.height, len(rejects)) == (200, len(kind))
        assert sorted(b"\n".join(salvaged_lines).split(b"\n")) == sorted(lines(*kind).split(b"\n"))


EVENTS = [json.dumps(event(number)) for number in range(1, 7)]
BARE = EVENTS[1].replace('"free"', "free")
# Files met in public: what they hold, how many plays of six load, offset and length of rejects.
MET: dict[str, tuple[str, int, list[tuple[int, int]]]] = {
    "array on one line, a bare word in the first": (
        "[" + ", ".join([BARE, *EVENTS[1:]]) + "]", 5, [(1, len(BARE))],
    ),
    "array on one line, NaN in the second": (
        "[" + ", ".join([EVENTS[0], EVENTS[1].replace("201.0", "NaN"), *EVENTS[2:]]) + "]",
        5, [(len(EVENTS[0]) + 3, len(EVENTS[1]) - 2)],
    ),
    "lines that begin with a comma": (
        "[\n" + "\n,".join([EVENTS[0], BARE, *EVENTS[2:]]) + "\n]\n",
        5, [(len(EVENTS[0]) + 4, len(BARE))],
    ),
    "zeros that copytruncate leaves": ("\0" * 300 + "\n".join(EVENTS) + "\n", 6, [(0, 300)]),
    "assignment before the array": (
        "window.plays = [ " + ",\n".join(EVENTS) + " ]\n", 6, [(0, len("window.plays ="))],
    ),
    "comment among lines that end with CR": (
        "\r".join([EVENTS[0], "# comment", *EVENTS[1:]]), 6, [(len(EVENTS[0]) + 1, 9)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MET)
def test_a_reject_holds_the_bad_stretch_and_nothing_else(tree: Tree, name: str) -> None:
    """In layouts that public logs have, what is good loads, and a reject is as long as the bad."""
    data, accepted, expected = MET[name]
    tree.logs("x.json", data.encode())
    frame, rejects, _ = read("events", tree.log_folder)
    assert frame.height == accepted
    assert [(reject.offset, len(reject.raw)) for reject in rejects] == expected


# --- many small files -----------------------------------------------------------------------------


@pytest.mark.parametrize("odd", ["none", "crlf", "blank first", "two", "pretty", "empty", "bad"])
@pytest.mark.parametrize("ending", [b"", b"\n"])
def test_small_files_read_together_are_told_apart(tree: Tree, odd: str, ending: bytes) -> None:
    """Whatever one of many small files looks like, each record is counted to its own file."""
    for number in range(5):
        tree.songs(f"{number}.json", json.dumps(song(number)).encode() + ending)
    other = {
        "none": json.dumps(song(9)).encode(),
        "crlf": json.dumps(song(9)).encode() + b"\r\n",
        "blank first": b"\n \n" + json.dumps(song(9)).encode(),
        "two": lines(song(9), song(10)),
        "pretty": json.dumps(song(9), indent=2).encode(),
        "empty": b"",
        "bad": BAD,
    }[odd]
    tree.songs("2.json", other + ending)
    frame, rejects, books = read("songs", tree.song_folder)
    records = {"two": 2, "empty": 0}.get(odd, 1)
    assert [count.records for count in books] == [1, 1, records, 1, 1]
    assert [count.accepted for count in books] == [1, 1, 0 if odd == "bad" else records, 1, 1]
    assert [(reject.file, reject.offset) for reject in rejects] == [(2, 0)] * (odd == "bad")
    assert frame.filter(pl.col("file") == 4)["song_id"].to_list() == [song(4)["song_id"]]
    offsets = frame.filter(pl.col("file") == 2)["source_offset"].to_list()
    expected = [match.start() for match in re.finditer(rb"\{", other)] if records else []
    assert offsets == ([] if odd == "bad" else expected[:records])


# --- files that can't be read ----------


@pytest.mark.parametrize(
    ("name", "data", "kept"),
    [
        ("x.json.gz", gzip.compress(lines(*RECORDS))[:-20], 3),
        ("x.json.zst", zstd.compress(lines(*RECORDS))[:-20], 0),
        ("x.json", gzip.compress(gzip.compress(lines(*RECORDS))), 0),
        ("x.json", '{"a":1}'.encode("utf-16-le"), 0),
        ("x.json", "{}".encode("utf-16-be"), 0),
    ],
    ids=["gzip", "zstandard", "gzip twice", "short UTF-16LE", "short UTF-16BE"],
)
def test_a_damaged_file_is_one_reject_and_the_others_are_read(
    tree: Tree, name: str, data: bytes, kept: int
) -> None:
    """A file that can't be unpacked is rejected as such, and the run goes on with the next."""
    tree.logs(name, data)
    tree.logs("y.json", event())
    frame, rejects, books = read("events", tree.log_folder)
    assert [(reject.reason, reject.file, reject.line) for reject in rejects] == [
        ("unreadable_file", 0, None)
    ]
    assert frame.height == kept + 1
    assert [count.accepted for count in books] == [kept, 1]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (gzip.compress(b"{}")[:10], "too early; nothing of it could be read"),
        (b"\x28\xb5\x2f\xfd", "too early; nothing of it could be read"),
        (
            zstd.compress(
                lines(*RECORDS),
                zstd_dict=zstd.train_dict([lines(event(n)) for n in range(2000)], 2000),
            ),
            "it is compressed with a dictionary; unpack it: zstd -d -D DICTIONARY FILE",
        ),
    ],
    ids=["gzip header", "zstandard header", "dictionary"],
)
def test_a_reject_says_why_nothing_of_a_file_could_be_unpacked(
    tree: Tree, data: bytes, words: str
) -> None:
    """What ends within its header, or needs a dictionary, isn't told to have been read in part."""
    tree.logs("x.json", data)
    frame, (reject,), _ = read("events", tree.log_folder)
    assert frame.height == 0
    assert words in reject.detail


@pytest.mark.parametrize("level", [0, 1, 9])
def test_a_gzip_file_cut_anywhere_keeps_its_whole_records(tree: Tree, level: int) -> None:
    """Whatever can be unpacked of it is read up to the last whole record, and one reject tells."""
    packed = gzip.compress(lines(*(event(n, song=os.urandom(9).hex()) for n in range(3000))), level)
    for stop in range(3, len(packed), len(packed) // 9):
        tree.logs("x.json", packed[:stop])
        text = zlib.decompressobj(31).decompress(packed[:stop])
        frame, (reject,), (books,) = read("events", tree.log_folder)
        assert frame.height == text.count(b"}\n") + text.endswith(b"}")
        assert "the gzip data end too early" in reject.detail
        assert (reject.reason, books.records) == ("unreadable_file", frame.height + 1)


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress])
def test_records_before_overwritten_bytes_are_kept(tree: Tree, pack: Any) -> None:
    """Damage within a compressed file costs nothing that was packed well before it."""
    records = [event(number, song=os.urandom(40).hex()) for number in range(4000)]
    packed = pack(lines(*records))
    for place in range(len(packed) // 10, len(packed), len(packed) // 5):
        tree.logs("x.json", packed[:place] + b"\xff" * 50 + packed[place + 50 :])
        frame, rejects, _ = read("events", tree.log_folder)
        # What zstandard packs into one block, of up to 128 KB, is unpacked together.
        safe = int(4000 * place / len(packed) * 0.97) - 400
        assert set(range(safe)) <= set(frame["item_in_session"].to_list())
        assert rejects


def test_a_file_that_vanished_is_a_reject(tree: Tree) -> None:
    """A file that is gone when its turn comes is rejected; the others are read."""
    gone = tree.logs("a.json", event(1))
    tree.logs("b.json", event(2))
    (batch,) = make_manifest("events", open_store(tree.log_folder)).batches
    gone.unlink()
    parts = list(extract(batch))
    assert [reject.reason for part in parts for reject in part.rejects] == ["unreadable_file"]
    assert sum(part.frame.height for part in parts) == 1


@pytest.mark.parametrize("what", ["pipe", "link"])
def test_what_took_a_files_place_is_not_read(tree: Tree, what: str) -> None:
    """A pipe or a link put in a file's place after listing is rejected, and nothing hangs."""
    path = tree.logs("a.json", event(1))
    (batch,) = make_manifest("events", open_store(tree.log_folder)).batches
    path.unlink()
    if what == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    (part,) = extract(batch)
    assert [reject.reason for reject in part.rejects] == ["unreadable_file"]


def test_a_file_that_shrank_is_read_to_its_end(tree: Tree) -> None:
    """A file shorter than it was listed gives what it has."""
    path = tree.logs("a.json", *RECORDS)
    (batch,) = make_manifest("events", open_store(tree.log_folder)).batches
    path.write_bytes(lines(*RECORDS[:2]))
    (part,) = extract(batch)
    assert (part.frame.height, part.rejects) == (2, [])


def test_a_record_that_never_ends_is_refused(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that never close their record are rejected instead of gathered without limit."""
    monkeypatch.setattr(reading, "CHUNK_BYTES", 100)
    monkeypatch.setattr("sparkify_bulk.extract.gather.MAX_RECORD_BYTES", 1000)
    tree.logs("x.json", event(1), b'{"page": "' + b"x" * 5000 + b'"', b"", event(2))
    frame, rejects, _ = read("events", tree.log_folder)
    assert frame.get_column("item_in_session").to_list() == [1, 2]
    assert {reject.reason for reject in rejects} <= {"malformed_json", "not_an_object"}
    assert rejects


def test_songs_know_where_they_were_described(tree: Tree) -> None:
    """A song's row carries its file and byte offset, on both paths and in every layout."""
    data = b"\n  " + lines(song(1), song(2)) + b"\r\n\n" + lines(song(3))
    tree.songs("a.json", song(9))
    tree.songs("x.json", data)
    tree.songs("y.json", data, BAD)
    frame, _, _ = read("songs", tree.song_folder)
    places = frame.select("file", "source_offset").rows()
    offsets = [data.index(b'{"num_songs": 1, "song_id": "SO00%d' % n) for n in (1, 2, 3)]
    assert places == [(0, 0), *((1, at) for at in offsets), *((2, at) for at in offsets)]


@pytest.mark.parametrize("ending", ["json", "json.gz", "jsonl.zst"])
@pytest.mark.parametrize("compress", [gzip.compress, zstd.compress])
def test_a_bomb_is_stopped(
    tree: Tree, compress: Any, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compressed file that expands beyond all measure is cut off, and said so; the rest loads."""
    monkeypatch.setattr(reading, "CHUNK_BYTES", 20_000)
    monkeypatch.setattr(reading, "MAX_EXPANSION", 5)
    bomb = lines(*(event(1) for _ in range(2000)))
    (tree.log_folder / f"bomb.{ending}").write_bytes(compress(bomb))
    tree.logs("good.json", event(2))
    frame, rejects, _ = read("events", tree.log_folder)
    (reject,) = rejects
    assert reject.reason == "unreadable_file"
    assert reject.detail == (
        "the file can't be read to its end: it expands to more than 5 times its size; if this is "
        "correct, unpack it first"
    )
    assert 2 in frame["item_in_session"].to_list()
    assert frame.height < 500


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress])
@pytest.mark.parametrize("name", ["x.json", "x.json.gz", "x.NDJSON"])
def test_a_large_file_is_cut_only_if_it_is_plain(tree: Tree, pack: Any, name: str) -> None:
    """Whatever its name: in parts if it is text, and as a whole if it is compressed."""
    records = [event(number, song=os.urandom(30).hex()) for number in range(300)]
    for data, is_cut in ((lines(*records), True), (pack(lines(*records)), False)):
        tree.logs(name, data)
        batches = list(
            make_manifest("events", open_store(tree.log_folder), batch_bytes=5000).batches
        )
        assert (len(batches) > 1) == is_cut
        frame, rejects, books = read("events", tree.log_folder, batch_bytes=5000)
        assert (frame.height, rejects) == (300, [])
        assert sum(count.bytes for count in books) == len(data)


def test_a_file_that_grows_is_read_to_its_last_whole_line(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that is still being written when the file is read is left to the next run."""
    path = tree.logs("x.json", event(1), b'{"page": "NextSo')
    read_range = folder._File.read  # noqa: SLF001

    def growing(*arguments: Any) -> bytes:
        data = read_range(*arguments)
        with path.open("ab") as file:
            file.write(b'ng"}')
        return data

    monkeypatch.setattr("sparkify_bulk.source.folder_read.SMALL_BYTES", 0)
    monkeypatch.setattr("sparkify_bulk.source.folder._File.read", growing)
    frame, rejects, _ = read("events", tree.log_folder)
    assert (frame.height, rejects) == (1, [])


def test_records_that_do_not_add_up_fail_the_file(tree: Tree) -> None:
    """Each is accepted, filtered or rejected; the error names the file that lacks some."""
    tree.logs("a.json", event(1), event(2))
    batch = Batch(0, "events", open_store(tree.log_folder), "a.json", 0)
    (part,) = extract(batch)
    short = replace(part, frame=part.frame.head(1))
    with pytest.raises(CountMismatchError, match="2 records, but 1 accepted, 0 filtered and 0"):
        add_up(batch.files, [short.counts()])

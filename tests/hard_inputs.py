"""Files as people really have them, each with the star and the rejects that must come of it."""

import bz2
import codecs
import gzip
import json
import lzma
import re
import sys
import zlib
from dataclasses import dataclass, field
from typing import Any

from trees import event, lines, song

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# File below DATA, line, offset, column, reason; of a file that can't be read only the reason.
Refused = tuple[str, int | None, int | None, str | None, str]


@dataclass(frozen=True)
class Case:
    """Files below DATA; how many songs and songplays they make; the rejects, in order.

    `rows` are some values that the star must have: table, column and value.
    """

    files: dict[str | bytes, bytes]
    songs: int = 0
    songplays: int = 0
    rejects: list[Refused] = field(default_factory=list)
    rows: list[tuple[str, str, Any]] = field(default_factory=list)


def log(*records: Any, **expected: Any) -> Case:
    """Return a case of one log, its records one a line."""
    return Case({"log_data/a.json": lines(*records)}, **expected)


def songs(*records: Any, **expected: Any) -> Case:
    """Return a case of one song file, its records one a line."""
    return Case({"song_data/a.json": lines(*records)}, **expected)


def odd(text: str, key: str, make: Any = event, number: int = 2) -> bytes:
    """Return a record in which a key has the value that this JSON text stands for."""
    record = make(number)
    record.pop(key, None)
    return json.dumps(record).encode()[:-1] + f', "{key}": {text}}}'.encode()


GOOD = [event(1), event(2), event(3)]
SIZE = len(lines(event(1))) + 1
SONG_SIZE = len(lines(song(1))) + 1
PRETTY = [json.dumps(record, indent=4).encode() for record in GOOD]
TORN = b'{"page": "NextSong", "ts": 15421'


def refused_value(key: str, text: str, reason: str) -> Case:
    """Return a case of a play between two good ones, refused for one value."""
    return log(
        event(1), odd(text, key), event(3),
        songplays=2,
        rejects=[("log_data/a.json", 2, SIZE, key, reason)],
    )  # fmt: skip


def taken_value(key: str, text: str, table: str, column: str, value: Any) -> Case:
    """Return a case of a play with one value spelt so, which is read as this."""
    return log(odd(text, key), songplays=1, rows=[(table, column, value)])


def unreadable(name: str, data: bytes) -> Case:
    """Return a case of a file that can't be read beside one that can."""
    return Case(
        {name: data, "log_data/z.json": lines(event(1))},
        songplays=1,
        rejects=[(name, None, None, None, "unreadable_file")],
    )


def damaged(name: str, data: bytes, *, songplays: int = 0) -> Case:
    """Return a case of a file that can't be read to its end; its whole records are."""
    return Case(
        {name: data},
        songplays=songplays,
        rejects=[(name, None, None, None, "unreadable_file")],
    )


def shown(name: bytes) -> str:
    """Return a file's name as the ledger writes it: what isn't UTF-8 is escaped."""
    return name.replace(b"\\", b"\\\\").decode(errors="backslashreplace")


def two_thirds(records: int) -> tuple[bytes, int]:
    """Return two thirds of a gzip file, and how many records are whole in it."""
    packed = gzip.compress(lines(*map(event, range(records))))
    packed = packed[: len(packed) * 2 // 3]
    text = zlib.decompressobj(31).decompress(packed)
    return packed, len(re.findall(rb"\}(?:\n|$)", text))


TWO_THIRDS, TORN_EVENTS = two_thirds(2999)
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 261\n"
_TEXT = lines(*GOOD)
# What holds no JSON text, or not as UTF-8.
NO_TEXT: dict[str, bytes] = {
    "bzip2": bz2.compress(_TEXT),
    "xz": lzma.compress(_TEXT),
    "lzma": lzma.compress(_TEXT, lzma.FORMAT_ALONE),
    "zlib": zlib.compress(_TEXT),
    "zip": b"PK\3\4" + _TEXT,
    "lz4": b"\x04\x22\x4d\x18" + _TEXT,
    "Parquet": b"PAR1" + bytes(20) + b"PAR1",
    "Avro": b"Obj\1" + bytes(20),
    "SQLite": b"SQLite format 3\0" + bytes(100),
    "PDF": b"%PDF-1.7\n" + _TEXT,
    "tar": b"a.json".ljust(257, b"\0") + b"ustar\0" + bytes(249) + _TEXT,
    "gzip of gzip": gzip.compress(gzip.compress(_TEXT)),
    "gzip of zstandard": gzip.compress(zstd.compress(_TEXT)),
    "zstandard of gzip": zstd.compress(gzip.compress(_TEXT)),
    "gzip of UTF-16": gzip.compress(_TEXT.decode().encode("utf-16")),
    "Git LFS pointer": POINTER,
    **{
        f"{encoding} {mark}": mark_bytes + _TEXT.decode().encode(encoding)
        for encoding, begin in (
            ("utf-16-le", codecs.BOM_UTF16_LE), ("utf-16-be", codecs.BOM_UTF16_BE),
            ("utf-32-le", codecs.BOM_UTF32_LE), ("utf-32-be", codecs.BOM_UTF32_BE),
        )
        for mark, mark_bytes in (("with a mark", begin), ("without a mark", b""))
    },
}  # fmt: skip

CASES: dict[str, Case] = {
    # --- the reader ---
    "a bad line in a batch keeps its neighbours": Case(
        {"log_data/a.json": lines(event(1)), "log_data/b.json": lines(event(2), TORN, event(3)),
         "log_data/c.json": lines(event(4))},
        songplays=4, rejects=[("log_data/b.json", 2, SIZE, None, "malformed_json")],
    ),
    "keys that appear late in a file": log(
        {k: v for k, v in event(1).items() if k in ("page", "ts", "userId", "sessionId", "level",
         "itemInSession")}, event(2),
        songplays=2, rows=[("songplays", "event_song", "Title 1")],
    ),
    "no newline at the end of any file": Case(
        {"log_data/a.json": lines(event(1)), "log_data/b.json": lines(event(2)),
         "song_data/a.json": lines(song(1)), "song_data/b.json": lines(song(2))},
        songs=2, songplays=2,
    ),
    "lone surrogate": refused_value("song", r'"\ud800"', "unstorable_text"),
    "pair of surrogates": taken_value("song", r'"\ud83c\udfb5"', "songplays", "event_song", "🎵"),
    "null character": refused_value("location", r'"a\u0000b"', "unstorable_text"),
    "key twice, on the fast path": log(
        odd('"paid", "level": "free"', "level"), songplays=1, rows=[("users", "level", "paid")]
    ),
    "key twice, beside a bad line": log(
        odd('"paid", "level": "free"', "level"), b"noise",
        songplays=1, rows=[("users", "level", "paid")],
        rejects=[("log_data/a.json", 2, len(odd('"paid", "level": "free"', "level")) + 1, None,
                  "not_an_object")],
    ),
    "empty event": log(
        b"{}", event(1), songplays=1,
        rejects=[("log_data/a.json", 1, 0, "page", "missing_field")],
    ),
    "empty song": songs(
        b"{}", song(1), songs=1,
        rejects=[("song_data/a.json", 1, 0, "song_id", "missing_field")],
    ),
    **{
        f"song without {key}": songs(
            song(1), {k: v for k, v in song(2).items() if k != key}, songs=1,
            rejects=[("song_data/a.json", 2, SONG_SIZE, key, "missing_field")],
        )
        for key in ("song_id", "title", "artist_id", "artist_name", "duration")
    },
    **{
        f"play without {key}": log(
            event(1), {k: v for k, v in event(2).items() if k != key}, songplays=1,
            rejects=[("log_data/a.json", 2, SIZE, key, "missing_field")],
        )
        for key in ("page", "ts", "userId", "sessionId", "itemInSession", "level")
    },
    "moment as a float": taken_value(
        "ts", "1542241826798.0", "songplays", "extract(epoch FROM start_time)::text",
        "1542241826.798000",
    ),
    "user's number as text": taken_value("userId", '"39"', "users", "user_id", 39),
    "user's number as a number": taken_value("userId", "39", "users", "user_id", 39),
    "user's number as a float": taken_value("userId", "39.0", "users", "user_id", 39),
    "user's number with an exponent": taken_value("userId", "39e0", "users", "user_id", 39),
    "user without a number": refused_value("userId", '""', "missing_field"),
    "other page without a user": log(odd('""', "userId").replace(b"NextSong", b"Home")),
    "number beyond a float's digits": taken_value(
        "sessionId", "9007199254740993", "songplays", "session_id", 9007199254740993
    ),
    "largest number": taken_value(
        "sessionId", "9223372036854775807", "songplays", "session_id", 2**63 - 1
    ),
    "number beyond 63 bits": refused_value("sessionId", "9223372036854775808", "out_of_range"),
    "number beyond 64 bits": refused_value("userId", "18446744073709551616", "out_of_range"),
    "number beyond 64 bits for text": refused_value(
        "location", "18446744073709551616", "wrong_type"
    ),
    "truth for a number": refused_value("itemInSession", "true", "wrong_type"),
    "truth for text": refused_value("level", "true", "wrong_type"),
    "fraction for a whole number": refused_value("sessionId", "1.5", "wrong_type"),
    "number beyond any float": refused_value("length", "1e400", "out_of_range"),
    "not a number": refused_value("length", "NaN", "malformed_json"),
    "year 50805": refused_value("ts", "1541105830796000", "out_of_range"),
    "before 1970": refused_value("ts", "-1", "out_of_range"),
    "moment that wraps around": refused_value("ts", "9223372036854775807", "out_of_range"),
    "identifier too long for an index": songs(
        song(1), song(2, song_id="S" * 3000), song(3, artist_id="A" * 3000), songs=1,
        rejects=[("song_data/a.json", 2, SONG_SIZE, "song_id", "out_of_range"),
                 ("song_data/a.json", 3, SONG_SIZE + len(lines(song(2, song_id="S" * 3000))) + 1,
                  "artist_id", "out_of_range")],
    ),
    "text too long for an index": Case(
        {"song_data/a.json": lines(song(1, title="T" * 9000, artist_name="A" * 9000)),
         "log_data/a.json": lines(event(1, song="T" * 9000, artist="A" * 9000, userAgent="U" * 9000,
                                        location="L" * 9000, firstName="F" * 9000))},
        songs=1, songplays=1, rows=[("songplays", "song_id", "SO001")],
    ),
    # --- COPY ---
    **{
        f"title {title!r}": Case(
            {"song_data/a.json": lines(song(1, title=title)),
             "log_data/a.json": lines(event(1, song=title), event(2), event(3, location=title))},
            songs=1, songplays=3,
            rows=[("songs", "title", title), ("songplays", "song_id", "SO001"),
                  ("songplays", "location", title)],
        )
        for title in ("\\.", "\\N", "a\tb", "\\", "\\\\", "line\nbreak", "\r\n", '"', ",", "\\t",
                      "PGCOPY\n", "\x01", "\x7f", "NULL")
    },
    # --- layouts ---
    "array": Case({"log_data/a.json": json.dumps(GOOD).encode()}, songplays=3),
    "array over many lines": Case(
        {"log_data/a.json": json.dumps(GOOD, indent=1).encode()}, songplays=3
    ),
    "pretty-printed": Case({"log_data/a.json": b"\n".join(PRETTY) + b"\n"}, songplays=3),
    "pretty-printed with a torn one": log(
        PRETTY[0], PRETTY[1][:60], PRETTY[2], songplays=2,
        rejects=[("log_data/a.json", PRETTY[0].count(b"\n") + 2, len(PRETTY[0]) + 1, None,
                  "malformed_json")],
    ),
    "several on a line": log(
        b"".join(map(lines, GOOD)), b" ".join(map(lines, [event(4), event(5)])), songplays=5
    ),
    "CRLF": Case({"log_data/a.json": lines(*GOOD, b"").replace(b"\n", b"\r\n")}, songplays=3),
    "CRLF with a bad line": Case(
        {"log_data/a.json": lines(event(1), b"oops", event(2)).replace(b"\n", b"\r\n")},
        songplays=2, rejects=[("log_data/a.json", 2, SIZE + 1, None, "not_an_object")],
    ),
    "blank lines": log(b"", event(1), b"  ", b"\t", event(2), b"", songplays=2),
    "byte order mark": log(b"\xef\xbb\xbf" + lines(*GOOD), songplays=3),
    "gzip": Case({"log_data/a.json.gz": gzip.compress(lines(*GOOD))}, songplays=3),
    "gzip in two members": Case(
        {"log_data/a.json.gz": gzip.compress(lines(event(1), b""))
         + gzip.compress(lines(event(2)))},
        songplays=2,
    ),
    "zstd": Case({"log_data/a.json.zst": zstd.compress(lines(*GOOD))}, songplays=3),
    "zstd in two frames": Case(
        {"log_data/a.json.zst": zstd.compress(lines(event(1), b""))
         + zstd.compress(lines(event(2)))},
        songplays=2,
    ),
    "bad line in gzip": Case(
        {"log_data/a.json.gz": gzip.compress(lines(event(1), TORN, event(2)))},
        songplays=2, rejects=[("log_data/a.json.gz", 2, SIZE, None, "malformed_json")],
    ),
    "gzip that is none": Case(
        {"log_data/a.json.gz": b"plainly not"},
        rejects=[("log_data/a.json.gz", 1, 0, None, "not_an_object")],
    ),
    "plain text named gz": Case({"log_data/e.json.gz": lines(event(1), event(2))}, songplays=2),
    "plain text named zst": Case({"log_data/e.json.zst": lines(event(1), event(2))}, songplays=2),
    "gzip named json": Case(
        {"log_data/e.json": gzip.compress(lines(*map(event, range(199))))}, songplays=199
    ),
    "zstandard named json": Case(
        {"log_data/e.json": zstd.compress(lines(*map(event, range(199))))}, songplays=199
    ),
    "gzip named zst": Case({"log_data/e.json.zst": gzip.compress(lines(*GOOD))}, songplays=3),
    "gzip named json among many small files": Case(
        {f"log_data/{number}.json": gzip.compress(lines(event(number))) if number % 3 == 0
         else lines(event(number)) for number in range(9)},
        songplays=9,
    ),
    "gzip cut short": damaged(
        "log_data/a.json.gz", gzip.compress(lines(*GOOD, event(4)))[:-12], songplays=3
    ),
    "gzip cut short behind its last record": damaged(
        "log_data/a.json.gz", gzip.compress(lines(*GOOD))[:-9], songplays=3
    ),
    "gzip cut in its header": damaged("log_data/a.json.gz", gzip.compress(lines(*GOOD))[:7]),
    "zstd cut short": damaged("log_data/a.json.zst", zstd.compress(lines(*GOOD))[:-9]),
    "two thirds of a gzip": damaged("log_data/a.json.gz", TWO_THIRDS, songplays=TORN_EVENTS),
    "two thirds of a gzip named json": damaged(
        "log_data/a.json", TWO_THIRDS, songplays=TORN_EVENTS
    ),
    "gzip with a wrong checksum": damaged(
        "log_data/a.json.gz", gzip.compress(lines(*GOOD))[:-8] + b"\0" * 8, songplays=3
    ),
    "second member of a gzip cut short": damaged(
        "log_data/a.json.gz",
        gzip.compress(lines(*GOOD, b"")) + gzip.compress(lines(event(4), event(5)))[:-14],
        songplays=4,
    ),
    "second frame of a zstd cut short": damaged(
        "log_data/a.json.zst",
        zstd.compress(lines(*GOOD, b"")) + zstd.compress(lines(event(4)))[:-5], songplays=3,
    ),
    "text behind a gzip": damaged(
        "log_data/a.json.gz", gzip.compress(lines(*GOOD)) + b"garbage", songplays=3
    ),
    "text behind a zstd": damaged(
        "log_data/a.json.zst", zstd.compress(lines(*GOOD)) + b"garbage", songplays=3
    ),
    "zero bytes behind a gzip": Case(
        {"log_data/a.json.gz": gzip.compress(lines(*GOOD)) + bytes(1000)}, songplays=3
    ),
    "zero bytes behind a zstd": Case(
        {"log_data/a.json.zst": zstd.compress(lines(*GOOD)) + bytes(1000)}, songplays=3
    ),
    "no bytes named gz": Case({"log_data/a.json.gz": b""}),
    "text that begins like zlib data": Case(
        {"log_data/a.json": b"x^2 is junk\n" + lines(*GOOD)}, songplays=3,
        rejects=[("log_data/a.json", 1, 0, None, "not_an_object")],
    ),
    **{
        f"{what} named {name}": unreadable(f"log_data/{name}", data)
        for what, data in NO_TEXT.items() for name in ("a.json", "a.jsonl.gz")
    },
    "Git LFS pointers": Case(
        {"song_data/a.json": POINTER, "log_data/e.json": POINTER},
        rejects=[(f"{name}", None, None, None, "unreadable_file")
                 for name in ("song_data/a.json", "log_data/e.json")],
    ),
    "other suffixes and cases": Case(
        {"log_data/1.json": lines(event(1)), "log_data/2.jsonl": lines(event(2)),
         "log_data/3.JSON": lines(event(3)), "log_data/4.ndjson": lines(event(4)),
         "log_data/5.json.bz2": bz2.compress(lines(event(5))), "log_data/6.Ndjson.GZ":
         gzip.compress(lines(event(6))), "log_data/7.JSONL.zst": zstd.compress(lines(event(7))),
         "song_data/a.JsonL": lines(song(1)), "song_data/b.NDJSON": lines(song(2))},
        songs=2, songplays=6,
    ),
    "folders of a Spark job under way": Case(
        {"log_data/_temporary/0/attempt_1/part-00000.json": b'{"page": "NextSo',
         "log_data/part-00000-x.json": lines(event(1)), "log_data/_SUCCESS": b"",
         "log_data/_spark_metadata/0.json": b"v1"},
        songplays=1,
    ),
    "gzip of nothing": Case(
        {"log_data/a.json.gz": gzip.compress(b""), "log_data/z.json": lines(*GOOD)}, songplays=3
    ),
    "empty files": Case(
        {"log_data/a.json": b"", "log_data/b.json": lines(*GOOD), "song_data/a.json": b"",
         "log_data/c.json": b"\n"},
        songplays=3,
    ),
    # --- names ---
    "editor's copies and other hidden files": Case(
        {"log_data/.ipynb_checkpoints/a-checkpoint.json": lines(event(9)),
         "log_data/.DS_Store": b"\0\0\0\1Bud1", "log_data/._a.json": b"\0\5\26\7",
         "log_data/.hidden.json": lines(event(8)), "log_data/a.json": lines(event(1)),
         "song_data/A/.ipynb_checkpoints/s.json": lines(song(9)),
         "log_data/notes.txt": b"x", "log_data/a.json.bak": lines(event(7))},
        songplays=1,
    ),
    **{
        f"name {name!r}": Case(
            {b"log_data/" + name: lines(event(1), b"oops"), b"song_data/" + name: lines(song(1))},
            songs=1, songplays=1,
            rejects=[(f"log_data/{shown(name)}", 2, SIZE, None, "not_an_object")],
        )
        for name in (b"new\nline.json", b"[a].json", b"*.json", b"?.json", b"a b.json", b"{1}.json",
                     b"-n.json", b"%s.json", b"'; drop.json", "Zoë.json".encode(), b"\xff\xfe.json",
                     b"back\\slash.json")
    },
}  # fmt: skip

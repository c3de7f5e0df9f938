"""Hard inputs, as data: each is either read right or rejected for the right reason."""

import bz2
import gzip
import itertools
import json
import lzma
import os
import pwd
import random
import re
import string
import subprocess
import sys
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hard_inputs import CASES as FILES
from hard_inputs import SIZE, zstd
from psycopg import sql
from sizes import share
from trees import MOMENT, Star, Tree, drop_star, event, lines, query, read_star, song

import sparkify_bulk
from sparkify_bulk.extract.batch import _parse
from sparkify_bulk.extract.counts import concat_frames
from sparkify_bulk.extract.salvage import salvage
from sparkify_bulk.extract.segments import Segment
from sparkify_bulk.loading.batches import stage_batch
from sparkify_bulk.loading.staging import Target, make_staging
from sparkify_bulk.loading.workers import Worker
from sparkify_bulk.source.batches import Batch, Kind
from sparkify_bulk.source.manifest import make_manifest
from sparkify_bulk.source.stores import open_store
from sparkify_bulk.transform.rules import RULES

# kind, key, JSON text of its value (None: key left out), reason of the reject or value of the row.
CASES: list[tuple[Kind, str, str | None, str, Any]] = [
    ("events", "ts", "1541105830796.0", "accepted", 1541105830796),
    ("events", "ts", "631152000000", "accepted", 631152000000),
    ("events", "ts", "631151999999", "out_of_range", None),
    ("events", "ts", "0", "out_of_range", None),
    ("events", "ts", "1541106106", "out_of_range", None),
    ("events", "ts", '"1541106106"', "out_of_range", None),
    ("events", "ts", "1541106106796000", "out_of_range", None),
    ("events", "ts", "4102444800000", "accepted", 4102444800000),
    ("events", "ts", "4102444800001", "out_of_range", None),
    ("events", "ts", "-1", "out_of_range", None),
    ("events", "ts", "1e300", "out_of_range", None),
    ("events", "ts", '"1541105830796"', "accepted", 1541105830796),
    ("events", "ts", '"1541105830796.0"', "accepted", 1541105830796),
    ("events", "ts", '"1541105830796.5"', "wrong_type", None),
    ("events", "ts", '""', "missing_field", None),
    ("events", "ts", '"soon"', "wrong_type", None),
    ("events", "ts", "1541105830796e0", "accepted", 1541105830796),
    ("events", "ts", "1.541105830796E12", "accepted", 1541105830796),
    ("events", "ts", "1.5", "wrong_type", None),
    ("events", "ts", "true", "wrong_type", None),
    ("events", "ts", "null", "missing_field", None),
    ("events", "ts", None, "missing_field", None),
    ("events", "userId", '""', "missing_field", None),
    ("events", "userId", "null", "missing_field", None),
    ("events", "userId", "39", "accepted", 39),
    ("events", "userId", "39.0", "accepted", 39),
    ("events", "userId", '"39.0"', "accepted", 39),
    ("events", "userId", '"9007199254740993"', "accepted", 9007199254740993),
    ("events", "userId", '"9223372036854775808"', "out_of_range", None),
    ("events", "userId", '"x"', "wrong_type", None),
    ("events", "userId", '" 39"', "wrong_type", None),
    ("events", "sessionId", '"40"', "accepted", 40),
    ("events", "sessionId", '"4x"', "wrong_type", None),
    ("events", "itemInSession", '"0"', "accepted", 0),
    ("events", "itemInSession", '"-3"', "accepted", -3),
    ("events", "sessionId", "9007199254740993", "accepted", 9007199254740993),
    ("events", "itemInSession", None, "missing_field", None),
    ("events", "level", '""', "missing_field", None),
    ("events", "level", "1", "wrong_type", None),
    ("events", "page", None, "missing_field", None),
    ("events", "page", "7", "wrong_type", None),
    ("events", "song", '"\\u0000"', "unstorable_text", None),
    ("events", "song", '"\\ud800"', "unstorable_text", None),
    ("events", "song", '"\\ud83d\\ude00"', "accepted", "😀"),
    ("events", "song", "12", "wrong_type", None),
    ("events", "song", '"12"', "accepted", "12"),
    ("events", "song", '{"a": 1}', "wrong_type", None),
    ("events", "artist", '"\\\\."', "accepted", "\\."),
    ("events", "length", "1e400", "out_of_range", None),
    ("events", "length", '"1"', "wrong_type", None),
    ("events", "location", '""', "accepted", None),
    ("songs", "song_id", '""', "missing_field", None),
    ("songs", "song_id", json.dumps("k" * 256), "accepted", "k" * 256),
    ("songs", "song_id", json.dumps("k" * 257), "out_of_range", None),
    ("songs", "artist_id", json.dumps("é" * 129), "out_of_range", None),
    ("songs", "year", "0", "accepted", None),
    ("songs", "year", "null", "accepted", None),
    ("songs", "year", "2001.0", "accepted", 2001),
    ("songs", "year", '"2001"', "accepted", 2001),
    ("songs", "year", '"0"', "accepted", None),
    ("songs", "year", '""', "accepted", None),
    ("songs", "year", '"MMI"', "wrong_type", None),
    ("songs", "year", "2001.5", "wrong_type", None),
    ("songs", "duration", '""', "missing_field", None),
    ("songs", "artist_latitude", '""', "accepted", None),
    ("songs", "artist_longitude", '""', "accepted", None),
    ("events", "length", '""', "accepted", None),
    ("events", "level", '"trial"', "accepted", "trial"),
    ("songs", "year", "10000", "out_of_range", None),
    ("songs", "year", "-1", "out_of_range", None),
    ("songs", "duration", "NaN", "malformed_json", None),
    ("songs", "duration", "null", "missing_field", None),
    ("songs", "title", "null", "missing_field", None),
    ("songs", "artist_location", '""', "accepted", None),
    ("songs", "artist_latitude", '"52"', "wrong_type", None),
]
# Whole numbers in spellings that are exact or aren't, of each key that takes large ones.
for _key in ("userId", "sessionId", "itemInSession"):
    for _spelling, _outcome, _value in (
        ("9007199254740993.0", "accepted", 9007199254740993),
        ("9007199254740993", "accepted", 9007199254740993),
        ("9223372036854775807.0", "accepted", 9223372036854775807),
        ("9223372036854775808.0", "out_of_range", None),
        ("-9223372036854775808", "accepted", -9223372036854775808),
        ("4503599627370497.5", "wrong_type", None),
        ("39.00000000000000000001", "wrong_type", None),
        ("1e3", "accepted", 1000),
        ("1E400", "out_of_range", None),
        ("1e-400", "wrong_type", None),
        ("-0.0", "accepted", 0),
        ("-0", "accepted", 0),
        ("0e99", "accepted", 0),
        ("2.5e1", "accepted", 25),
    ):
        CASES.append(("events", _key, _spelling, _outcome, _value))
        # In quotes an exponent has two digits at most.
        _quoted = "wrong_type" if "400" in _spelling else _outcome
        CASES.append(("events", _key, f'"{_spelling}"', _quoted, _value))
COLUMNS = {
    "userId": "user_id", "sessionId": "session_id", "song": "event_song", "artist": "event_artist",
    "length": "event_length", "artist_location": "location",
    "itemInSession": "item_in_session", "artist_latitude": "latitude",
    "artist_longitude": "longitude",
}  # fmt: skip


@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize(("kind", "key", "text", "outcome", "value"), CASES)
def test_each_value_is_read_right_or_rejected(
    *, kind: Kind, key: str, text: str | None, outcome: str, value: Any, slow: bool
) -> None:
    """A value in any spelling gives its row on either path, or the reject that names its key."""
    record = event() if kind == "events" else song()
    del record[key]
    data = json.dumps(record).encode()
    if text is not None:
        data = data[:-1] + f', "{key}": {text}}}'.encode()
    segment, batch = Segment(0, data, 0, 0), Batch(0, kind, open_store("."), "x.json", len(data))
    rules = RULES[kind]
    found = list((salvage if slow else _parse)([segment], rules, batch))
    rejects = [reject for part in found for reject in part.rejects]
    frame = concat_frames(found)
    if outcome == "accepted":
        assert rejects == []
        assert frame.get_column(COLUMNS.get(key, key)).to_list() == [value]
    else:
        assert frame.height == 0
        (reject,) = rejects
        assert (reject.reason, reject.raw, reject.column) == (outcome, data, key)


def test_the_first_of_equal_keys_counts() -> None:
    """A key that stands twice counts where it stands first, on both paths."""
    data = (
        json.dumps(event(level="free")).encode()[:-1]
        + f', "level": "paid", "ts": {MOMENT}}}'.encode()
    )
    segment, batch = (
        Segment(0, data, 0, 0),
        Batch(0, "events", open_store("."), "x.json", len(data)),
    )
    (one,) = _parse([segment], RULES["events"], batch)
    (other,) = salvage([segment], RULES["events"], batch)
    assert one.frame.rows() == other.frame.rows()
    assert one.frame.get_column("level").to_list() == ["free"]


# --- whole files, end to end ----------------------------------------------------------------------

_schemas = itertools.count(1)


def refused(dsn: str, schema: str) -> list[tuple[Any, ...]]:
    """Return a star's rejects: file, line, offset, column and reason."""
    statement = 'SELECT file, line, "offset", "column", reason FROM {}.rejects ORDER BY reject_id'
    return query(dsn, sql.SQL(statement).format(sql.Identifier(f"{schema}_ledger")))


@pytest.mark.every(5)
@pytest.mark.parametrize("name", FILES)
def test_files_as_people_have_them(module_database: str, tree: Tree, name: str) -> None:
    """Each of these trees gives its songs and plays, and rejects by file, line, byte and reason."""
    case = FILES[name]
    for path, data in case.files.items():
        whole = tree.root / os.fsdecode(path)
        whole.parent.mkdir(parents=True, exist_ok=True)
        whole.write_bytes(data)
    schema = f"s{next(_schemas)}"
    report = sparkify_bulk.reload(tree.root, dsn=module_database, schema=schema, jobs=1)
    star = read_star(module_database, schema)
    assert (len(star["songs"]), len(star["songplays"])) == (case.songs, case.songplays)
    assert refused(module_database, schema) == case.rejects
    assert report.exit_code == (3 if case.rejects else 0)
    for table, column, value in case.rows:
        statement = sql.SQL("SELECT {} FROM {}").format(
            sql.SQL(column),  # type: ignore[arg-type]
            sql.Identifier(schema, table),
        )
        assert (value,) in query(module_database, statement)
    drop_star(module_database, schema)


def test_pipes_and_links_are_left_alone(module_database: str, tree: Tree, tmp_path: Path) -> None:
    """A pipe named like a log doesn't hang a run; links, in, out or in a loop, aren't followed."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "o.json").write_bytes(lines(event(9)))
    tree.logs("a.json", event(1))
    os.mkfifo(tree.log_folder / "x.json")
    (tree.log_folder / "in.json").symlink_to(tree.log_folder / "a.json")
    (tree.log_folder / "out.json").symlink_to(outside / "o.json")
    (tree.log_folder / "folder").symlink_to(outside)
    (tree.log_folder / "loop").symlink_to(tree.log_folder)
    (tree.log_folder / "dangling.json").symlink_to(tmp_path / "nowhere")
    report = sparkify_bulk.reload(tree.root, dsn=module_database, schema="links")
    assert (report.input.events.files, report.input.events.accepted) == (1, 1)
    assert report.input.events.left_out == {"link": 5, "not_regular": 1}


@pytest.mark.parametrize("command", ["reload", "load"])
def test_what_is_left_out_is_counted_and_named_in_one_warning(
    module_database: str, tree: Tree, caplog: pytest.LogCaptureFixture, command: str
) -> None:
    """A linked folder, other endings and a Spark job under way; what is common isn't warned of."""
    outside = tree.root / "ext" / "2018"
    outside.mkdir(parents=True)
    (outside / "e.json").write_bytes(lines(event(9)))
    tree.songs("a.json", song(1))
    tree.songs("notes.csv", b"x")
    tree.songs(".DS_Store", b"x")
    tree.logs("_SUCCESS", b"")
    sparkify_bulk.reload(tree.root, dsn=module_database, schema=f"left_{command}")
    common = [text for text in caplog.messages if "Left out" in text]
    assert common == ["Left out: 2 files with other endings (song_data/notes.csv first)"]
    caplog.clear()
    (tree.log_folder / "2018").symlink_to("../ext/2018")
    tree.logs("5.json.bz2", b"BZh")
    tree.logs("_temporary/0/part-00000.json", event(1))
    tree.logs("1.json", event(1))
    run = getattr(sparkify_bulk, command)
    report = run(tree.root, dsn=module_database, schema=f"left_{command}")
    assert report.input.songs.left_out == {"suffix": 1, "hidden_file": 1}
    assert report.input.events.left_out == {"suffix": 2, "link": 1, "hidden_folder": 1}
    (warning,) = [text for text in caplog.messages if "Left out" in text]
    assert warning == (
        "Left out: 3 files with other endings (log_data/5.json.bz2 first), "
        "1 symbolic link (log_data/2018), 1 hidden folder (log_data/_temporary); "
        "--follow-links follows links"
    )


def test_links_are_followed_where_asked_and_loops_are_not(
    module_database: str, tree: Tree, tmp_path: Path
) -> None:
    """With follow_links, links to files and folders are read once, and a loop isn't entered."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "o.json").write_bytes(lines(event(9)))
    tree.logs("a.json", event(1))
    (tree.log_folder / "folder").symlink_to(outside)
    (tree.log_folder / "loop").symlink_to(tree.log_folder)
    (tree.log_folder / "x.json").symlink_to("y.json")
    (tree.log_folder / "y.json").symlink_to("x.json")
    (tree.log_folder / ".z").symlink_to(".z")
    report = sparkify_bulk.reload(
        tree.root, dsn=module_database, schema="followed", follow_links=True
    )
    assert (report.input.events.files, report.input.events.accepted) == (2, 2)
    assert report.input.events.left_out == {"link": 3, "hidden_file": 1}


def test_a_path_may_be_as_long_as_the_system_takes(module_database: str, tree: Tree) -> None:
    """Names of thousands of random bytes are on record like any others, and known to a load."""
    chance = random.Random(1)
    for kind, record in (("song_data", song(1)), ("log_data", event(1))):
        parts = []
        while len("/".join(parts)) < 3600:
            parts.append("é" + "".join(chance.choices(string.ascii_letters + string.digits, k=200)))
        deep = tree.root / kind
        deep.joinpath(*parts).mkdir(parents=True)
        (deep.joinpath(*parts) / "a.json").write_bytes(lines(record, b"noise"))
    for command, files in (("reload", 1), ("load", 0)):
        run = getattr(sparkify_bulk, command)
        report = run(tree.root, dsn=module_database, schema="long", jobs=2)
        assert (report.input.songs.files, report.input.events.files) == (files, files)
    star = read_star(module_database, "long")
    assert (len(star["songs"]), len(star["songplays"])) == (1, 1)
    path = next(tree.song_folder.rglob("*.json"))
    path.write_bytes(lines(song(1), song(2)))
    report = sparkify_bulk.load(tree.root, dsn=module_database, schema="long")
    assert report.input.songs.files == 1
    assert len(query(module_database, "SELECT file FROM long_ledger.files")) == 2


def test_a_path_longer_than_the_system_takes_is_one_reject(
    module_database: str, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file or folder that nobody can open by its path keeps no other from loading."""
    tree.logs("a.json", event(1))
    with monkeypatch.context() as patch:
        for depth in range(17, 19):
            patch.chdir(tree.log_folder)
            for _ in range(depth):
                Path("d" * 240).mkdir(exist_ok=True)
                os.chdir("d" * 240)
            Path("e" * 200 + ".json").write_bytes(lines(event(2)))
    for command, files in (("reload", 1), ("load", 0)):
        run = getattr(sparkify_bulk, command)
        report = run(tree.root, dsn=module_database, schema="too_long")
        assert report.input.events.accepted == files
    ((detail,),) = query(module_database, "SELECT DISTINCT detail FROM too_long_ledger.rejects")
    assert detail == "the file can't be read: File name too long"


def odd_file(chance: random.Random, number: int) -> bytes:
    """Return one of twenty-four kinds of files that nobody wants."""
    noise = chance.randbytes(chance.randrange(1, 4000))
    text = lines(*(event(n, userId="666") for n in range(chance.randrange(1, 30))))
    half = text[: chance.randrange(len(text))]
    packed = chance.choice([gzip.compress, zstd.compress])(text)
    kinds = [
        noise,
        b"",
        bytes(len(noise)),
        noise[:100] * 30,
        b"x^" + noise,
        b"x\x01" + text,
        zlib.compress(text),
        b"\x1f\x8b" + noise,
        b"\x28\xb5\x2f\xfd" + noise,
        b"\x50\x2a\x4d\x18" + noise,
        packed[: chance.randrange(len(packed))],
        packed + noise,
        gzip.compress(packed),
        gzip.compress(noise),
        zstd.compress(noise),
        bz2.compress(text),
        lzma.compress(text),
        b"PK\3\4" + noise,
        text.decode().encode(chance.choice(["utf-16", "utf-16-be", "utf-32", "utf-32-le"])),
        b"version https://git-lfs.github.com/spec/v1\n" + text[:40],
        chance.choice([b"[", b'{"a":']) * chance.randrange(1, 5000),
        b'{"page": "NextSong", "ts": ' + b"9" * chance.randrange(1, 9000) + b"}",
        b'{"page": NaN, "ts": 1e999999999999999999999}\n' + half,
        half.replace(b'"', b"'"),
    ]
    return kinds[number % len(kinds)]


@pytest.mark.every(2)
@pytest.mark.parametrize("command", ["reload", "load"])
def test_a_thousand_odd_files_cost_no_good_one(
    module_database: str, tree: Tree, command: str
) -> None:
    """Whatever lies among good files, these load, the books balance, and messages are plain."""
    chance = random.Random(command)
    packings = {
        "json": bytes,
        "JSONL": bytes,
        "json.gz": gzip.compress,
        "ndjson.zst": zstd.compress,
    }
    for number in range(100):
        ending, pack = chance.choice(list(packings.items()))
        tree.logs(f"{number % 7}/g{number:03}.{ending}", pack(lines(event(number))))
        tree.songs(f"{number % 7}/g{number:03}.{ending}", pack(lines(song(number))))
    for number in range(share(1000)):
        ending = chance.choice(["json", "json", "ndjson", "json.gz", "jsonl.zst"])
        write = chance.choice([tree.logs, tree.songs])
        write(f"{number % 7}/{chance.randrange(10**6):06}.{ending}", odd_file(chance, number))
    schema = f"odd_{command}"
    older = Tree(tree.root / "older").logs("a.json", event(1)).parent
    sparkify_bulk.reload(logs=older, dsn=module_database, schema=schema)
    report = getattr(sparkify_bulk, command)(tree.root, dsn=module_database, schema=schema, jobs=2)
    for books in (report.input.songs, report.input.events):
        assert books.records == books.accepted + books.filtered + books.rejected
    star = read_star(module_database, schema)
    assert {f"SO{number:03}" for number in range(100)} <= {row[0] for row in star["songs"]}
    found = query(
        module_database,
        sql.SQL("SELECT item_in_session FROM {}.songplays WHERE user_id = 7").format(
            sql.Identifier(schema)
        ),
    )
    assert sorted(found) == [(number,) for number in range(100)]
    details = query(
        module_database,
        sql.SQL("SELECT DISTINCT detail FROM {}.rejects").format(
            sql.Identifier(f"{schema}_ledger")
        ),
    )
    assert len(details) > 10
    for (detail,) in details:
        assert not re.search(r"unexpected|b'|\\x|Error", detail), detail


@pytest.mark.every(3)
@pytest.mark.parametrize("year", [1901, 1969, 2262, 2263, 2446])
@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
def test_a_file_may_be_of_any_time(module_database: str, tree: Tree, year: int, name: str) -> None:
    """Changed before 1970 or beyond what 64 bits of nanoseconds hold, it is read once."""
    for path in (tree.songs(name, song(1)), tree.logs(name, event(1))):
        seconds = int((datetime(year, 6, 1, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).days)
        os.utime(path, (0, seconds * 86400))
    schema = f"s{next(_schemas)}"
    for command, files in (("reload", 1), ("load", 0)):
        run = getattr(sparkify_bulk, command)
        report = run(tree.root, dsn=module_database, schema=schema, jobs=2)
        assert (report.input.songs.files, report.input.events.files) == (files, files)
        assert report.status == "succeeded"
    drop_star(module_database, schema)


@pytest.fixture
def worker(database: str) -> Iterator[Worker]:
    """Make a worker, to stage a batch by hand."""
    with psycopg.connect(database, autocommit=True) as connection:
        yield Worker(0, connection)


@pytest.fixture
def target(worker: Worker) -> Target:
    """Make staging tables."""
    made = Target("hard_staging", 1, 1, roots={"events": 1})
    worker.connection.execute("CREATE SCHEMA hard_staging")
    make_staging(worker.connection, made)
    return made


@pytest.mark.parametrize(
    ("what", "accepted", "rejected"),
    [
        ("vanished", 1, 1),
        ("shrunk", 2, 0),
        ("torn", 2, 1),
        ("grown", 4, 0),
        ("folder", 1, 1),
        ("pipe", 1, 1),
        ("link", 1, 1),
    ],
)
def test_a_file_that_changes_between_listing_and_reading(
    worker: Worker, target: Target, tree: Tree, what: str, *, accepted: int, rejected: int
) -> None:
    """Gone, or no file any more, it is one reject; shorter or longer, it is read as it is.

    The next file is read.
    """
    path = tree.logs("a.json", event(1), event(2))
    tree.logs("b.json", event(3))
    (batch,) = make_manifest("events", open_store(tree.log_folder)).batches
    if what in ("vanished", "folder", "pipe", "link"):
        path.unlink()
    if what == "folder":
        path.mkdir()
    if what == "pipe":
        os.mkfifo(path)
    if what == "link":
        path.symlink_to(tree.log_folder / "b.json")
    if what == "shrunk":
        os.truncate(path, SIZE)
    if what == "torn":
        os.truncate(path, SIZE + 40)
    if what == "grown":
        with path.open("ab") as file:
            file.write(b"\n" + lines(event(4)))
    staged = stage_batch(worker, batch, target).counts
    assert (staged.accepted, staged.rejected) == (accepted, rejected)
    assert staged.records == accepted + rejected


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_file_one_may_not_read_is_a_reject(module_database: str, tree: Tree) -> None:
    """A file without the right to read it is reported, and the others are loaded: exit 3."""
    path = tree.logs("a.json", event(1))
    tree.logs("b.json", event(2))
    path.chmod(0)
    tree.let_all_in()
    script = (
        "import os, sys, sparkify_bulk.pipeline\n"
        "os.setgroups([]); os.setgid(int(sys.argv[3])); os.setuid(int(sys.argv[3]))\n"
        "report = sparkify_bulk.reload(sys.argv[1], dsn=sys.argv[2], schema='denied', jobs=1)\n"
        "print(report.exit_code, report.input.events.accepted, report.rejects.by_reason)"
    )
    nobody = str(pwd.getpwnam("nobody").pw_uid)
    done = subprocess.run(
        [sys.executable, "-c", script, str(tree.root), module_database, nobody],
        check=False, capture_output=True, text=True, cwd=Path(sparkify_bulk.__file__).parent.parent,
    )  # fmt: skip
    assert done.stdout == "3 1 {'unreadable_file': 1}\n", done.stderr
    assert refused(module_database, "denied") == [
        ("log_data/a.json", None, None, None, "unreadable_file")
    ]


# --- the real sample, twisted ---------------------------------------------------------------------


TWISTS = {
    "as it is": (".json", b"\n".join),
    "newline at the end": (".json", lambda lines_: b"\n".join([*lines_, b""])),
    "CRLF": (".json", lambda lines_: b"\r\n".join([*lines_, b""])),
    "array": (".json", lambda lines_: b"[" + b", ".join(lines_) + b"]"),
    "array, a record a line": (".json", lambda lines_: b"[\n" + b",\n".join(lines_) + b"\n]\n"),
    "pretty-printed": (
        ".json",
        lambda lines_: b"\n".join(json.dumps(json.loads(x), indent=2).encode() for x in lines_),
    ),
    "keys in reverse order": (
        ".json",
        lambda lines_: b"\n".join(
            json.dumps(dict(reversed(json.loads(x).items())), ensure_ascii=False).encode()
            for x in lines_
        ),
    ),
    "all on one line": (".json", b" ".join),
    "byte order mark": (".json", lambda lines_: b"\xef\xbb\xbf" + b"\n".join(lines_)),
    "gzip": (".json.gz", lambda lines_: gzip.compress(b"\n".join(lines_), 1)),
    "zstd": (".json.zst", lambda lines_: zstd.compress(b"\n".join(lines_))),
}


def sample_lines(folder: Path) -> dict[str, list[bytes]]:
    """Return the records of each file of the sample, without its ending, by its path."""
    return {
        str(path.relative_to(folder)).removesuffix(".json"): path.read_bytes().splitlines()
        for path in sorted(folder.rglob("*.json"))
    }


@pytest.fixture(scope="module")
def sample_star(module_database: str, sample: Path) -> Star:
    """Load the real sample as it is, and return its star."""
    sparkify_bulk.reload(sample, dsn=module_database, schema="sample")
    star = read_star(module_database, "sample")
    assert len(star["songplays"]) == 6820
    return star


@pytest.mark.every(5)
@pytest.mark.parametrize("command", ["reload", "load"])
@pytest.mark.parametrize("twist", TWISTS)
def test_the_real_sample_in_any_layout_is_the_same_star(
    *, module_database: str, sample: Path, sample_star: Star, tree: Tree, twist: str, command: str
) -> None:
    """However the real sample is laid out or packed, it makes the star it makes as it is."""
    ending, write = TWISTS[twist]
    for path, records in sample_lines(sample / "song_data").items():
        tree.songs(path + ending, write(records))
    for path, records in sample_lines(sample / "log_data").items():
        tree.logs(path + ending, write(records))
    report = getattr(sparkify_bulk, command)(tree.root, dsn=module_database, schema="twisted")
    assert report.status == "succeeded"
    assert report.input.events.records == 8056
    assert read_star(module_database, "twisted") == sample_star
    drop_star(module_database, "twisted")


@pytest.mark.every(2)
@pytest.mark.parametrize("split", ["one file", "a record a file"])
def test_the_real_sample_in_one_file_or_in_thousands_is_the_same_star(
    module_database: str, sample: Path, sample_star: Star, tree: Tree, split: str
) -> None:
    """All records in one file of each kind, or each in a file of its own: the same star."""
    for folder, write in (("song_data", tree.songs), ("log_data", tree.logs)):
        records = list(itertools.chain.from_iterable(sample_lines(sample / folder).values()))
        if split == "one file":
            write("all.json", b"\n".join(records))
        else:
            for number, record in enumerate(records):
                write(f"{number % 100}/{number:05}.json", record)
    sparkify_bulk.reload(tree.root, dsn=module_database, schema="twisted")
    assert read_star(module_database, "twisted") == sample_star
    drop_star(module_database, "twisted")


BAD_RECORDS = [
    (b"{}", "missing_field"),
    (b'{"page": "NextSong", "ts": "soon"}', "wrong_type"),
    (b'{"page": "NextSong", "ts": 4102444800001}', "out_of_range"),
    (b"nothing of JSON", "not_an_object"),
    (b'{"page": "Home", "auth": "\xff"}', "malformed_json"),
    (b'{"page": "NextSong"', "malformed_json"),
    (b'{"page": "\\u0000"}', None),
]


def test_bad_records_in_the_real_sample_are_named_by_their_lines(
    module_database: str, sample: Path, sample_star: Star, tree: Tree
) -> None:
    """Bad records put into known lines are rejected by these lines, and cost no good record."""
    for path, records in sample_lines(sample / "song_data").items():
        tree.songs(f"{path}.json", b"\n".join(records))
    expected = []
    for number, (path, records) in enumerate(sample_lines(sample / "log_data").items()):
        mixed = list(records)
        for step in range(3):
            bad, _ = BAD_RECORDS[(number + step) % len(BAD_RECORDS)]
            at = (number * 37 + step * 11) % (len(mixed) + 1)
            mixed.insert(at, bad)
        tree.logs(f"{path}.json", b"\n".join(mixed))
        reasons = dict(BAD_RECORDS)
        for line, record in enumerate(mixed, 1):
            if reasons.get(record):
                offset = sum(len(before) + 1 for before in mixed[: line - 1])
                expected.append((f"log_data/{path}.json", line, offset, reasons[record]))
    report = sparkify_bulk.reload(tree.root, dsn=module_database, schema="twisted")
    found = refused(module_database, "twisted")
    assert [(file, line, offset, reason) for file, line, offset, _, reason in found] == expected
    assert report.rejects.count == len(expected) > 70
    assert read_star(module_database, "twisted") == sample_star
    drop_star(module_database, "twisted")

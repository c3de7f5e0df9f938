"""What a load reads and what it leaves; what plan, verify and replay say and do."""

import gzip
import itertools
import json
import logging
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from psycopg import sql
from sizes import examples
from trees import MOMENT, Tree, drop_star, event, lines, query, read_star, song

import sparkify_bulk
from sparkify_bulk import pipeline
from sparkify_bulk.cli import cli
from sparkify_bulk.database.connection import connect
from sparkify_bulk.errors import SparkifyBulkError
from sparkify_bulk.loading.estimate import estimate
from sparkify_bulk.loading.merge import Difference
from sparkify_bulk.report import Report
from sparkify_bulk.reporting import facts
from sparkify_bulk.settings import Settings, schemas
from sparkify_bulk.source.batches import Kind
from sparkify_bulk.tables import NAMES

_schemas = itertools.count(1)


@pytest.fixture
def star(database: str, tree: Tree) -> str:
    """Load two songs and two days of plays, one of them of the first song."""
    tree.songs("A/a.json", song(1))
    tree.songs("B/b.json", song(2))
    tree.logs("1.json", event(1), event(2, page="Home"))
    tree.logs("2.json", event(3, userId="8", song="Nobody's", length=99.0))
    sparkify_bulk.load(tree.root, dsn=database)
    return database


def read_files(report: Report) -> tuple[int, int]:
    """Return how many files of both kinds a run read, and how many it skipped."""
    inputs = report.input
    return (
        inputs.songs.files + inputs.events.files,
        inputs.songs.files_skipped + inputs.events.files_skipped,
    )


def changes(report: Report) -> dict[str, tuple[int, int]]:
    """Return the tables a run changed: rows inserted and updated."""
    return {
        name: (table.inserted, table.updated)
        for name, table in report.tables.items()
        if table.inserted or table.updated
    }


def ledger_files(dsn: str) -> list[tuple[Any, ...]]:
    """Return what the ledger has of each file, the run that read it apart."""
    return query(
        dsn,
        """SELECT kind, file, bytes, modified_ns, records, accepted, filtered, rejected, digest
        FROM sparkify_ledger.files ORDER BY kind, file""",
    )


def everything(dsn: str) -> list[Any]:
    """Return the whole database: catalog, and every row of every table that isn't the system's."""
    with psycopg.connect(dsn) as connection:
        relations = connection.execute(
            """SELECT c.oid, n.nspname, c.relname, c.relkind::text, c.relfilenode
            FROM pg_class AS c JOIN pg_namespace AS n ON c.relnamespace = n.oid
            WHERE n.nspname !~ '^pg_' ORDER BY 1"""
        ).fetchall()
        seen: list[Any] = [relations, connection.execute("SELECT * FROM pg_namespace").fetchall()]
        for _, schema, name, kind, _ in relations:
            if kind == "r" and schema != "information_schema":
                rows = sql.SQL("SELECT t::text FROM {} AS t ORDER BY 1")
                seen.append(connection.execute(rows.format(sql.Identifier(schema, name))))
                seen[-1] = seen[-1].fetchall()
    return seen


def rewrite(path: Path, data: bytes) -> None:
    """Replace a file's content behind its back: same size, same time of change."""
    status = path.stat()
    assert len(data) == status.st_size
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


# --- which files are read -------------------------------------------------------------------------


def test_nothing_new_is_nothing_read_and_nothing_changed(star: str, tree: Tree) -> None:
    """A load of files the star is made of skips them all, reads no byte and changes no row."""
    before, files = read_star(star, surrogate=True), ledger_files(star)
    report = sparkify_bulk.load(tree.root, dsn=star)
    assert read_files(report) == (0, 4)
    for books in (report.input.songs, report.input.events):
        assert (books.bytes, books.records) == (0, 0)
    assert changes(report) == {}
    assert {name: table.rows for name, table in report.tables.items()} == {
        name: len(rows) for name, rows in before.items()
    }
    assert report.status == "succeeded"
    assert read_star(star, surrogate=True) == before
    assert ledger_files(star) == files


def test_names_that_look_alike_once_escaped_are_two_files(star: str, tree: Tree) -> None:
    """A byte that isn't UTF-8 and its escape, written out, are two names on record."""
    for name in (b"\xff.json", b"\\xff.json"):
        (tree.log_folder / os.fsdecode(name)).write_bytes(lines(event(7)))
    for command in (sparkify_bulk.reload, sparkify_bulk.load):
        command(tree.root, dsn=star)
        names = [file for _, file, *_ in ledger_files(star)]
        assert {"log_data/\\xff.json", "log_data/\\\\xff.json"} < set(names)
    assert sparkify_bulk.load(tree.root, dsn=star).input.events.files == 0


@pytest.mark.parametrize("first", ["load", "reload"])
def test_both_commands_leave_files_that_a_load_skips(database: str, tree: Tree, first: str) -> None:
    """What a reload has read counts as read for a load, and the other way round."""
    tree.songs("a.json", song())
    tree.logs("a.json", event())
    getattr(sparkify_bulk, first)(tree.root, dsn=database)
    assert read_files(sparkify_bulk.load(tree.root, dsn=database)) == (0, 2)
    again = sparkify_bulk.reload(tree.root, dsn=database)
    assert read_files(again) == (2, 0)
    assert read_files(sparkify_bulk.load(tree.root, dsn=database)) == (0, 2)


def test_only_the_new_file_is_read(star: str, tree: Tree) -> None:
    """A file the ledger hasn't is read, the others aren't, and only its rows are added."""
    tree.logs("3.json", event(4, userId="9"))
    report = sparkify_bulk.load(tree.root, dsn=star)
    assert read_files(report) == (1, 4)
    assert changes(report) == {"users": (1, 0), "time": (1, 0), "songplays": (1, 0)}


def test_a_changed_file_is_read_again_whole(star: str, tree: Tree) -> None:
    """A log that has grown is read from its beginning; the plays that were there are duplicates."""
    tree.logs("1.json", event(1), event(2, page="Home"), event(5))
    report = sparkify_bulk.load(tree.root, dsn=star)
    events = report.input.events
    assert read_files(report) == (1, 3)
    assert (events.records, events.accepted, events.filtered) == (3, 2, 1)
    assert (events.inserted, events.duplicates) == (1, 1)
    assert read_files(sparkify_bulk.load(tree.root, dsn=star)) == (0, 4)


def test_a_changed_song_file_replaces_what_it_said(star: str, tree: Tree) -> None:
    """A song file delivered again, corrected, gives its song and its plays the new values."""
    tree.songs("A/a.json", song(1, title="Other title", artist_location=""))
    report = sparkify_bulk.load(tree.root, dsn=star)
    assert changes(report) == {"songs": (0, 1), "artists": (0, 1), "songplays": (0, 1)}
    found = read_star(star)
    assert ("SO001", "Other title", "AR001", 2001, 201.0) in found["songs"]
    assert ("AR001", "Artist 1", None, 52.09, 5.12) in found["artists"]
    assert {play[3] for play in found["songplays"]} == {None}


def test_a_touched_file_is_read_once_more_and_changes_nothing(star: str, tree: Tree) -> None:
    """A new time of change alone makes a load read the file, find duplicates, and note the time."""
    before = read_star(star, surrogate=True)
    path = tree.log_folder / "1.json"
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1))
    report = sparkify_bulk.load(tree.root, dsn=star)
    assert read_files(report) == (1, 3)
    assert (report.input.events.accepted, report.input.events.duplicates) == (1, 1)
    assert changes(report) == {}
    assert read_star(star, surrogate=True) == before
    assert read_files(sparkify_bulk.load(tree.root, dsn=star)) == (0, 4)


@pytest.mark.parametrize("kind", ["songs", "events"])
def test_rehash_finds_content_that_changed_behind_size_and_time(
    star: str, tree: Tree, kind: Kind
) -> None:
    """Same size, same time of change: only rehash reads the file, and only that file."""
    if kind == "songs":
        rewrite(tree.song_folder / "A/a.json", lines(song(1, year=1999)))
    else:
        rewrite(tree.log_folder / "1.json", lines(event(6), event(2, page="Home")))
    before = read_star(star)
    assert read_files(sparkify_bulk.load(tree.root, dsn=star)) == (0, 4)
    assert read_star(star) == before
    report = sparkify_bulk.load(tree.root, dsn=star, rehash=True)
    assert read_files(report) == (1, 3)
    assert read_star(star) != before
    assert read_files(sparkify_bulk.load(tree.root, dsn=star, rehash=True)) == (0, 4)


@pytest.mark.parametrize("packed", [False, True])
def test_rehash_of_unchanged_files_reads_none_into_the_star(
    database: str, tree: Tree, monkeypatch: pytest.MonkeyPatch, *, packed: bool
) -> None:
    """Files read in parts, and compressed ones, have the same digest when they are looked at."""
    monkeypatch.setattr("sparkify_bulk.source.batches.BATCH_BYTES", 1000)
    data = lines(*(event(number) for number in range(40)))
    tree.logs("x.json.gz" if packed else "x.json", gzip.compress(data) if packed else data)
    sparkify_bulk.load(logs=tree.log_folder, dsn=database)
    report = sparkify_bulk.load(logs=tree.log_folder, dsn=database, rehash=True)
    assert read_files(report) == (0, 1)


def test_vanished_files_are_named_and_their_rows_stay(
    star: str, tree: Tree, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that is gone is said to be, and what it held stays until a reload."""
    before = read_star(star)
    (tree.log_folder / "2.json").unlink()
    with caplog.at_level(logging.WARNING, "sparkify_bulk"):
        report = sparkify_bulk.load(tree.root, dsn=star)
    (message,) = caplog.messages
    assert message.startswith("1 event file is gone (for example log_data/2.json); their rows are")
    assert "sparkify-bulk plan lists them" in message
    assert read_files(report) == (0, 3)
    assert read_star(star) == before
    sparkify_bulk.reload(tree.root, dsn=star, max_shrink=0.5)
    assert len(read_star(star)["songplays"]) == 1
    caplog.clear()
    sparkify_bulk.load(tree.root, dsn=star)
    assert caplog.messages == []


def test_a_vanished_file_is_warned_of_once(
    star: str, tree: Tree, caplog: pytest.LogCaptureFixture
) -> None:
    """Not each night; again if it was there in between, be it for a load or for a reload."""

    def warned(story: Callable[..., Any]) -> list[str]:
        caplog.clear()
        story(tree.root, dsn=star)
        return [m.partition(";")[0] for m in caplog.messages if "gone" in m]

    path, aside = tree.log_folder / "2.json", tree.root / "aside"
    for story in (sparkify_bulk.load, sparkify_bulk.reload):
        path.rename(aside)
        assert warned(sparkify_bulk.load) == ["1 event file is gone (for example log_data/2.json)"]
        assert warned(sparkify_bulk.load) == []
        aside.rename(path)
        assert warned(story) == []
    for file in tree.song_folder.rglob("*.json"):
        file.rename(aside)
    path.unlink()
    assert len(warned(sparkify_bulk.load)) == 2
    assert warned(sparkify_bulk.load) == []


def test_plan_lists_vanished_files(star: str, tree: Tree) -> None:
    """By name; twenty of them, and all in JSON."""
    for number in range(25):
        tree.logs(f"x/{number:02}.json", event(number + 100))
    sparkify_bulk.load(tree.root, dsn=star)
    for path in (tree.log_folder / "x").iterdir():
        path.unlink()
    command = ["plan", str(tree.root), "--dsn", star]
    said = CliRunner().invoke(cli, command).stdout
    assert "  log_data/x/00.json\n" in said
    assert "log_data/x/19.json\n  and 5 more; --json lists all\n" in said
    planned = json.loads(CliRunner().invoke(cli, [*command, "--json"]).stdout)
    assert len(planned["events"]["vanished_files"]) == 25


def test_a_file_that_comes_back_unchanged_is_not_read(star: str, tree: Tree) -> None:
    """A file that vanished stays on record, so that it is skipped when it is back as it was."""
    path, aside = tree.log_folder / "2.json", tree.root / "aside"
    path.rename(aside)
    sparkify_bulk.load(tree.root, dsn=star)
    aside.rename(path)
    assert read_files(sparkify_bulk.load(tree.root, dsn=star)) == (0, 4)


def twin(tree: Tree, folder: Path) -> Tree:
    """Copy a tree, with all names, sizes and times, but play other events in it."""
    shutil.copytree(tree.root, folder)
    for path in folder.rglob("log_data/*.json"):
        status = path.stat()
        path.write_bytes(path.read_bytes().replace(b'"sessionId": 40', b'"sessionId": 41'))
        assert path.stat().st_size == status.st_size
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return Tree(folder)


def test_folders_with_the_same_names_sizes_and_times_do_not_pass_for_each_other(
    star: str, tree: Tree, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each folder's files are its own; on alternate nights none of the other's has vanished."""
    other = twin(tree, tmp_path / "other" / "data")
    plays = len(read_star(star)["songplays"])
    assert planned(star, other)["events"] == (2, 2, 0, 0, 0)
    report = sparkify_bulk.load(other.root, dsn=star)
    assert read_files(report) == (4, 0)
    assert len(read_star(star)["songplays"]) == 2 * plays
    assert f"so far the star was loaded from {tree.log_folder}" in caplog.text
    caplog.clear()
    for folder in (tree, other, Tree(tmp_path / "other" / ".." / "data")):
        assert read_files(sparkify_bulk.load(folder.root, dsn=star)) == (0, 4)
    other.logs("9.json", event(9))
    assert read_files(sparkify_bulk.load(other.root, dsn=star)) == (1, 4)
    assert caplog.text == ""
    (other.log_folder / "9.json").unlink()
    sparkify_bulk.load(tree.root, dsn=star)
    assert caplog.text == ""
    for folder in (other, tree, other):
        sparkify_bulk.load(folder.root, dsn=star)
    assert caplog.text.count("1 event file is gone") == 1


def test_a_folder_that_was_moved_is_known_once_the_ledger_is_told(
    star: str, tree: Tree, tmp_path: Path
) -> None:
    """Untold, all is read once more and changes nothing; told by one statement, nothing is."""
    before = read_star(star)
    tree.root.rename(tmp_path / "away")
    for name in ("song_data", "log_data"):
        query(
            star,
            "UPDATE sparkify_ledger.roots SET root = %s WHERE root = %s",
            (str(tmp_path / "away" / name), str(tree.root / name)),
        )
    assert read_files(sparkify_bulk.load(tmp_path / "away", dsn=star)) == (0, 4)
    (tmp_path / "away").rename(tmp_path / "again")
    assert read_files(sparkify_bulk.load(tmp_path / "again", dsn=star)) == (4, 0)
    assert read_star(star) == before
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "again")
    assert read_files(sparkify_bulk.load(link, dsn=star)) == (0, 4)


def test_a_load_of_songs_alone_says_nothing_of_logs(
    star: str, tree: Tree, caplog: pytest.LogCaptureFixture
) -> None:
    """A load that isn't given the logs neither reads them nor calls them vanished."""
    report = sparkify_bulk.load(songs=tree.song_folder, dsn=star)
    assert read_files(report) == (0, 2)
    assert [record for record in caplog.records if "vanished" in record.message] == []
    assert read_files(sparkify_bulk.load(tree.root, dsn=star)) == (0, 4)


def test_a_star_dropped_by_hand_lets_a_load_start_over(star: str, tree: Tree) -> None:
    """Where the star is gone, a load reads all files, whatever the ledger says."""
    before, files = read_star(star), ledger_files(star)
    query(star, "DROP SCHEMA sparkify CASCADE")
    report = sparkify_bulk.load(tree.root, dsn=star)
    assert read_files(report) == (4, 0)
    assert report.tables["songplays"].rows == 2
    assert read_star(star) == before
    assert ledger_files(star) == files
    assert read_files(sparkify_bulk.load(tree.root, dsn=star)) == (0, 4)


def test_a_load_that_starts_over_forgets_files_that_are_gone(star: str, tree: Tree) -> None:
    """After the star was dropped, the ledger names only the files the new one is made of."""
    query(star, "DROP SCHEMA sparkify CASCADE")
    (tree.log_folder / "2.json").unlink()
    sparkify_bulk.load(tree.root, dsn=star)
    assert [row[1] for row in ledger_files(star)] == [
        "log_data/1.json",
        "song_data/A/a.json",
        "song_data/B/b.json",
    ]


def test_a_song_that_arrives_later_claims_exactly_its_plays(star: str, tree: Tree) -> None:
    """A new song file is enough: its plays name it, no log is read, and no other play changes."""
    tree.songs("C/c.json", song(3, title="Nobody's", artist_name="Artist 1", duration=99))
    report = sparkify_bulk.load(tree.root, dsn=star)
    assert report.input.events.files == 0
    assert changes(report) == {"songs": (1, 0), "artists": (1, 0), "songplays": (0, 1)}
    found = query(star, "SELECT item_in_session, song_id FROM sparkify.songplays ORDER BY 1")
    assert found == [(1, "SO001"), (3, "SO003")]


# --- any order, any split -------------------------------------------------------------------------

SONGS = st.builds(
    song,
    st.integers(1, 3),
    title=st.sampled_from(["Title 1", "Title 2"]),
    artist_id=st.sampled_from(["AR1", "AR2"]),
    artist_name=st.sampled_from(["Artist 1", "artist 1"]),
    duration=st.sampled_from([201.0, 202]),
    artist_location=st.sampled_from(["", "Utrecht", "Zürich"]),
)
EVENTS = st.builds(
    event,
    st.integers(1, 3),
    ts=st.sampled_from([MOMENT, MOMENT + 1, MOMENT + 86_400_000]),
    userId=st.sampled_from(["7", "8"]),
    page=st.sampled_from(["NextSong", "NextSong", "NextSong", "Home"]),
    level=st.sampled_from(["free", "paid"]),
    firstName=st.sampled_from(["Ada", "Eda", None]),
    song=st.sampled_from(["Title 1", "Title 2", None]),
    length=st.sampled_from([201.0, 202.0]),
    location=st.sampled_from(["", "Leiden"]),
) | st.just({"page": "NextSong"})


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, bytes]]:
    """Draw the states a folder goes through: files appear and grow, in any order."""
    contents: dict[str, list[Any]] = {}
    for number in range(draw(st.integers(1, 3))):
        contents[f"song_data/{number}.json"] = draw(st.lists(SONGS, min_size=1, max_size=3))
    for number in range(draw(st.integers(1, 3))):
        contents[f"log_data/{number}.json"] = draw(st.lists(EVENTS, min_size=1, max_size=4))
    # Each record comes in one of three steps, and after those of its file that stand before it.
    history: list[dict[str, bytes]] = [{}, {}, {}]
    for path, records in contents.items():
        comes = sorted(draw(st.integers(0, 2)) for _ in records)
        for step, state in enumerate(history):
            if there := [record for record, at in zip(records, comes, strict=True) if at <= step]:
                state[path] = lines(*there) + b"\n"
    return history


@examples(40)
@given(history=histories(), jobs=st.lists(st.integers(1, 3), min_size=3, max_size=3))
def test_any_history_of_a_folder_ends_in_the_star_of_one_reload(
    module_database: str, history: list[dict[str, bytes]], jobs: list[int]
) -> None:
    """Files that appear and grow between loads of any number of workers give a reload's star."""
    schema = f"h{next(_schemas)}"
    with tempfile.TemporaryDirectory() as folder:
        tree = Tree(Path(folder) / "data")
        for state, workers in zip(history, jobs, strict=True):
            if not state:
                continue
            for path, data in state.items():
                (tree.root / path).write_bytes(data)
            report = sparkify_bulk.load(tree.root, dsn=module_database, schema=schema, jobs=workers)
        loaded = read_star(module_database, schema)
        assert {name: table.rows for name, table in report.tables.items()} == {
            name: len(rows) for name, rows in loaded.items()
        }
        assert verify(module_database, tree, schema) == []
        sparkify_bulk.reload(tree.root, dsn=module_database, schema=schema)
        assert loaded == read_star(module_database, schema)
    drop_star(module_database, schema)


# --- plan -----------------------------------------------------------------------------------------


def planned(dsn: str, tree: Tree, **options: Any) -> dict[str, tuple[int, ...]]:
    """Return for each kind: files to read, new, changed, skipped and vanished."""
    manifests, _ = pipeline.plan(Settings(tree.song_folder, tree.log_folder, dsn=dsn, **options))
    return {
        kind: (found.files, found.new, found.changed, found.same, len(found.vanished))
        for kind, found in manifests.items()
    }


def test_plan_counts_and_writes_nothing(star: str, tree: Tree) -> None:
    """A plan counts new, changed, unchanged and vanished files, and leaves the database alone."""
    tree.songs("C/c.json", song(3))
    tree.logs("1.json", event(1), event(2, page="Home"), event(7))
    (tree.log_folder / "2.json").unlink()
    before = everything(star)
    assert planned(star, tree) == {"songs": (1, 1, 0, 2, 0), "events": (1, 0, 1, 0, 1)}
    assert everything(star) == before
    assert read_files(sparkify_bulk.load(tree.root, dsn=star)) == (2, 2)
    assert planned(star, tree) == {"songs": (0, 0, 0, 3, 0), "events": (0, 0, 0, 1, 1)}


@pytest.mark.parametrize(
    ("past", "size", "seconds", "fixed"),
    [
        ([(0, 2.0), (10**6, 2.1), (10**8, 12.0)], 5 * 10**7, 7.0, 2.0),
        ([(10**6, 1.0), (2 * 10**6, 2.0), (4 * 10**6, 4.0)], 10**7, 10.0, 0.0),
        ([(10**6, 3.0), (10**8, 3.0), (10**7, 3.0)], 10**9, 3.0, 3.0),
        # The larger, the faster: neither part can be negative.
        ([(10**6, 4.0), (10**7, 3.0), (10**8, 2.0)], 10**6, 2.5, 2.5),
    ],
)
def test_an_estimate_has_a_fixed_and_a_proportional_part(
    past: list[tuple[int, float]], size: int, seconds: float, fixed: float
) -> None:
    """So that a small load isn't said to take no time, nor a large one many times its own."""
    found = estimate(past, size)
    assert found is not None
    assert found.seconds == pytest.approx(seconds, rel=0.1, abs=0.1)
    assert found.fixed == pytest.approx(fixed, rel=0.1, abs=0.1)
    assert found.runs == len(past)


@pytest.mark.parametrize(
    "past", [[], [(10**6, 1.0)], [(10**6, 1.0), (10**8, 5.0)], [(10**6, 1.0)] * 9, [(0, 1.0)] * 9]
)
def test_there_is_no_estimate_from_too_little_history(past: list[tuple[int, float]]) -> None:
    """Nor from runs that all read as much."""
    assert estimate(past, 10**7) is None


def test_plan_tells_its_estimate_or_why_there_is_none(star: str, tree: Tree) -> None:
    """From this star's own loads and reloads."""
    command = ["plan", str(tree.root), "--dsn", star]
    assert "too little history" in CliRunner().invoke(cli, command).stdout
    assert (
        json.loads(CliRunner().invoke(cli, [*command, "--json"]).stdout)["estimated_seconds"]
        is None
    )
    for _ in range(2):
        sparkify_bulk.load(tree.root, dsn=star)
    said = CliRunner().invoke(cli, command).stdout
    assert re.search(r"about \d+\.\d s, going by the last 3 runs: \d+\.\d s for any run", said)
    assert json.loads(CliRunner().invoke(cli, [*command, "--json"]).stdout)["estimated_seconds"] > 0


def test_plan_says_what_is_left_out(star: str, tree: Tree) -> None:
    """By reason in JSON, and in a sentence that names the first of each."""
    (tree.log_folder / "2018").symlink_to(tree.song_folder)
    tree.songs("a.parquet", b"PAR1")
    command = ["plan", str(tree.root), "--dsn", star]
    planned = json.loads(CliRunner().invoke(cli, [*command, "--json"]).stdout)
    assert planned["songs"]["left_out"] == {"suffix": 1}
    assert planned["events"]["left_out"] == {"link": 1}
    said = " ".join(CliRunner().invoke(cli, command).stdout.split())
    assert (
        "Left out: 1 file with another ending (song_data/a.parquet), 1 symbolic link "
        "(log_data/2018); --follow-links follows links"
    ) in said


def test_plan_rehashes_where_asked(star: str, tree: Tree) -> None:
    """A plan with rehash counts files whose content alone changed."""
    rewrite(tree.song_folder / "A/a.json", lines(song(1, year=1999)))
    assert planned(star, tree)["songs"] == (0, 0, 0, 2, 0)
    assert planned(star, tree, rehash=True)["songs"] == (1, 0, 1, 1, 0)


def test_plan_of_a_database_without_a_ledger_makes_none(database: str, tree: Tree) -> None:
    """Where nothing was ever loaded all files are new, there is no pace, and nothing is made."""
    tree.songs("a.json", song())
    tree.logs("a.json", event())
    before = everything(database)
    _, seconds = pipeline.plan(Settings(tree.song_folder, tree.log_folder, dsn=database))
    assert seconds is None
    assert planned(database, tree) == {"songs": (1, 1, 0, 0, 0), "events": (1, 1, 0, 0, 0)}
    assert everything(database) == before


def test_plan_needs_no_lock(star: str, tree: Tree) -> None:
    """A plan answers while a run holds the star."""
    with psycopg.connect(star) as holder:
        holder.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('sparkify_bulk sparkify', 0))"
        )
        assert planned(star, tree) == {"songs": (0, 0, 0, 2, 0), "events": (0, 0, 0, 2, 0)}


def test_plan_after_the_star_was_dropped_counts_all_as_new(star: str, tree: Tree) -> None:
    """A plan knows, as a load does, that files of a dropped star must be read again."""
    query(star, "DROP SCHEMA sparkify CASCADE")
    assert planned(star, tree) == {"songs": (2, 2, 0, 0, 0), "events": (2, 2, 0, 0, 0)}


# --- verify ---------------------------------------------------------------------------------------


def verify(dsn: str, tree: Tree, schema: str = "sparkify") -> list[Difference]:
    """Compare a star with its files."""
    _, differences = pipeline.verify(
        Settings(tree.song_folder, tree.log_folder, dsn=dsn, schema=schema)
    )
    return differences


@pytest.mark.parametrize("command", ["load", "reload"])
def test_verify_agrees_with_what_was_loaded(star: str, tree: Tree, command: str) -> None:
    """Star and files are the same after either command, rejects and later songs included."""
    tree.logs("3.json", event(4), b"noise", {"page": "NextSong"})
    tree.songs("C/c.json", song(3, title="Nobody's", artist_name="Artist 1", duration=99))
    getattr(sparkify_bulk, command)(tree.root, dsn=star)
    before, files = read_star(star, surrogate=True), ledger_files(star)
    report, differences = pipeline.verify(Settings(tree.song_folder, tree.log_folder, dsn=star))
    assert differences == []
    assert report.status == "succeeded"
    assert read_star(star, surrogate=True) == before
    assert ledger_files(star) == files


TAMPERINGS = {
    "artists": (
        "UPDATE artists SET location = NULL WHERE artist_id = 'AR001'",
        "DELETE FROM artists WHERE artist_id = 'AR001'",
        ("INSERT INTO artists SELECT 'AR9', name, location, latitude, longitude, artist_file,"
        " artist_offset FROM artists LIMIT 1"),
        ("AR001", "AR9"),
    ),
    "songs": (
        "UPDATE songs SET duration = duration + 1e-9 WHERE song_id = 'SO001'",
        "DELETE FROM songs WHERE song_id = 'SO001'",
        ("INSERT INTO songs SELECT 'SO9', title, artist_id, year, duration, credited_artist,"
        " song_file, song_offset FROM songs LIMIT 1"),
        ("SO001", "SO9"),
    ),
    "users": (
        "UPDATE users SET level = 'paid' WHERE user_id = 7",
        "DELETE FROM users WHERE user_id = 7",
        ("INSERT INTO users SELECT 9, first_name, last_name, gender, level, last_start_time,"
        " last_session_id, last_item_in_session FROM users LIMIT 1"),
        ("7", "9"),
    ),
    "time": (
        "UPDATE time SET weekday = 4 WHERE start_time = '2018-11-15 00:30:26.797Z'",
        "DELETE FROM time WHERE start_time = '2018-11-15 00:30:26.797Z'",
        ("INSERT INTO time SELECT '2019-01-02Z', hour, day, week, month, year, weekday FROM time"
        " LIMIT 1"),
        ("30:26.797", "2019"),
    ),
    "songplays": (
        "UPDATE songplays SET song_id = NULL WHERE item_in_session = 1",
        "DELETE FROM songplays WHERE item_in_session = 1",
        ("INSERT INTO songplays (start_time, user_id, level, session_id, item_in_session)"
        " SELECT start_time, user_id, level, session_id, 77 FROM songplays LIMIT 1"),
        ("7 40 1", "40 77"),
    ),
}  # fmt: skip


@pytest.mark.every(3)
@pytest.mark.parametrize("table", NAMES)
@pytest.mark.parametrize("what", ["different", "missing", "unknown to the files"])
def test_verify_names_rows_that_were_tampered_with(
    star: str, tree: Tree, table: str, what: str
) -> None:
    """A row changed, taken away or put in by hand is counted and named, and nothing else is."""
    changed, deleted, added, (known, unknown) = TAMPERINGS[table]
    statement = {"different": changed, "missing": deleted}.get(what, added)
    with psycopg.connect(star, autocommit=True) as connection:
        # As a restore or a careless repair would: past the foreign keys.
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET search_path = sparkify")
        assert connection.execute(statement).rowcount == 1
    report, differences = pipeline.verify(Settings(tree.song_folder, tree.log_folder, dsn=star))
    (found,) = differences
    assert (found.table, found.difference, found.rows) == (table, what, 1)
    (key,) = found.keys
    assert (unknown if what.startswith("unknown") else known) in key
    assert report.status == "failed"


def test_verify_names_files_that_changed_since(star: str, tree: Tree) -> None:
    """Rows of a file that changed or vanished without a load show as differences, by table."""
    (tree.log_folder / "2.json").unlink()
    tree.songs("A/a.json", song(1, year=1977))
    found = {(d.table, d.difference): d.rows for d in verify(star, tree)}
    assert found == {
        ("songs", "different"): 1,
        ("users", "unknown to the files"): 1,
        ("time", "unknown to the files"): 1,
        ("songplays", "unknown to the files"): 1,
    }


def test_verify_without_a_star_is_an_error(database: str, tree: Tree) -> None:
    """Where there is no star, verify says so instead of making one."""
    tree.logs("a.json", event())
    with pytest.raises(SparkifyBulkError, match="no star"):
        verify(database, tree)


# --- replay ---------------------------------------------------------------------------------------

BROKEN_PLAY = b'{"page": "NextSong", "ts": "soon"}'


def command(*arguments: str) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(cli, list(arguments), standalone_mode=False)


def replay(dsn: str, **options: Any) -> Report:
    """Replay rejects."""
    return pipeline.replay(Settings(None, None, dsn=dsn), **options)


def rejects(dsn: str) -> list[tuple[int, bool]]:
    """Return each reject's number, and whether it is resolved."""
    return query(
        dsn, "SELECT reject_id, settled_by IS NOT NULL FROM sparkify_ledger.rejects ORDER BY 1"
    )


@pytest.fixture
def rejected(star: str, tree: Tree) -> str:
    """Load a file with two broken plays more."""
    tree.logs("3.json", event(4), BROKEN_PLAY, b'{"torn', event(5))
    report = sparkify_bulk.load(tree.root, dsn=star)
    assert report.rejects.count == 2
    return star


def test_repaired_rejects_are_loaded_and_resolved_the_others_stay(
    rejected: str, tmp_path: Path
) -> None:
    """Of an exported file, what was mended is loaded; what wasn't stays open, and says so."""
    out = tmp_path / "rejects.ndjson"
    assert command("rejects", "--dsn", rejected, "--output", str(out)).exit_code == 0
    documents = [json.loads(line) for line in out.read_bytes().splitlines()]
    assert [(d["file"], d["line"]) for d in documents] == [
        ("log_data/3.json", 2),
        ("log_data/3.json", 3),
    ]
    documents[0]["raw"] = lines(event(6, userId="66")).decode()
    out.write_text("\n".join(json.dumps(document) for document in documents))
    assert "resolved by" not in command("rejects", "--dsn", rejected).output
    done = command(
        "rejects", "replay", "--dsn", rejected, "--repaired", str(out), "--json", "--quiet"
    )
    report = json.loads(done.stdout)
    assert done.return_value == 3
    assert report["status"] == "succeeded_with_rejects"
    assert report["input"]["events"]["inserted"] == 1
    assert report["input"]["events"]["rejected"] == 1
    assert rejects(rejected) == [(1, True), (2, False)]
    assert "resolved by" in command("rejects", "--dsn", rejected).output
    assert (66,) in query(rejected, "SELECT user_id FROM sparkify.users")


def test_replaying_twice_changes_nothing(rejected: str) -> None:
    """A resolved reject isn't loaded again, and one that is still bad is counted again."""
    mended = {1: lines(event(6))}
    first = replay(rejected, repaired=mended)
    assert changes(first) == {"users": (0, 1), "time": (1, 0), "songplays": (1, 0)}
    before = read_star(rejected, surrogate=True)
    again = replay(rejected, repaired=mended)
    assert (again.input.events.records, changes(again)) == (0, {})
    unmended = replay(rejected)
    assert (unmended.input.events.records, unmended.rejects.count) == (1, 1)
    assert read_star(rejected, surrogate=True) == before
    assert rejects(rejected) == [(1, True), (2, False)]


def test_only_the_rejects_named_are_replayed(rejected: str, tree: Tree) -> None:
    """Rejects of other runs, and those that the repaired file doesn't hold, are left alone."""
    tree.logs("4.json", BROKEN_PLAY)
    run_id = sparkify_bulk.load(tree.root, dsn=rejected).run_id
    assert replay(rejected, run_id=run_id).rejects.count == 1
    assert replay(rejected).rejects.count == 3
    assert replay(rejected, repaired={3: lines(event(8))}).input.events.inserted == 1
    assert rejects(rejected) == [(1, False), (2, False), (3, True)]


def test_rejects_of_a_file_read_again_since_are_not_replayed(rejected: str, tree: Tree) -> None:
    """Once a load has read the mended file, the old reading's rejects are out of date."""
    tree.logs("3.json", event(4), event(6), event(7), event(5))
    sparkify_bulk.load(tree.root, dsn=rejected)
    before = read_star(rejected)
    report = replay(rejected, repaired={1: lines(event(9)), 2: lines(event(10))})
    assert report.input.events.records == 0
    assert read_star(rejected) == before


def states(dsn: str, run_id: int) -> list[str]:
    """Return the states of a run's rejects, as the command has them."""
    listed = command("rejects", "--dsn", dsn, "--run", str(run_id), "--json").stdout
    return [json.loads(line)["state"] for line in listed.splitlines()]


def test_a_log_that_grows_every_night_keeps_its_bad_line_open_once(star: str, tree: Tree) -> None:
    """Only the newest reading's reject is open: in the list, on the page and for a replay."""
    for night in range(1, 4):
        tree.logs("3.json", event(4), BROKEN_PLAY, *(event(4 + n) for n in range(night)))
        run_id = sparkify_bulk.load(tree.root, dsn=star).run_id
    assert [states(star, n) for n in (run_id - 2, run_id - 1, run_id)] == [
        ["superseded"],
        ["superseded"],
        ["open"],
    ]
    assert "superseded" in command("rejects", "--dsn", star, "--run", str(run_id - 1)).output
    assert "open" not in command("rejects", "--dsn", star).output
    with connect(star) as connection:
        pages = [facts.read(connection, schemas("sparkify"), n) for n in (run_id - 1, run_id)]
    assert [page.rejects[0]["superseded"] for page in pages] == [1, 0]
    assert replay(star).rejects.count == 1
    # A run that failed hasn't read the file for the star.
    tree.logs("3.json", event(4), BROKEN_PLAY, BROKEN_PLAY)
    with pytest.raises(SparkifyBulkError):
        sparkify_bulk.load(tree.root, dsn=star, max_rejects=1)
    assert (states(star, run_id), replay(star).rejects.count) == (["open"], 1)


def test_a_reject_that_was_resolved_stays_resolved_while_its_log_grows(
    star: str, tree: Tree
) -> None:
    """The same bytes in the same place are no new reject; other bytes there are; so is a reload."""
    tree.logs("3.json", event(4), BROKEN_PLAY)
    sparkify_bulk.load(tree.root, dsn=star)
    resolved = replay(star, repaired={1: lines(event(6))}).run_id
    for night in range(2):
        tree.logs("3.json", event(4), BROKEN_PLAY, event(5 + night), *[b"{torn"] * night)
        run_id = sparkify_bulk.load(tree.root, dsn=star).run_id
    assert states(star, run_id) == ["resolved", "open"]
    assert f"resolved by {resolved}" in command("rejects", "--dsn", star).output
    assert replay(star).rejects.count == 1
    tree.logs("3.json", event(4), BROKEN_PLAY.replace(b"{", b"{ "), event(5))
    assert states(star, sparkify_bulk.load(tree.root, dsn=star).run_id or 0) == ["open"]
    tree.logs("3.json", event(4), BROKEN_PLAY, event(5))
    assert states(star, sparkify_bulk.reload(tree.root, dsn=star).run_id or 0) == ["open"]


def test_a_rejected_song_replayed_claims_its_plays(star: str, tree: Tree) -> None:
    """A song mended by replay is matched with the plays that waited for it."""
    mended = song(3, title="Nobody's", artist_name="Artist 1", duration=99)
    tree.songs("C/c.json", b"\n", song(4), mended | {"year": "19 99"})
    sparkify_bulk.load(tree.root, dsn=star)
    report = replay(star, repaired={1: lines(mended)})
    assert report.input.songs.inserted == 1
    assert changes(report) == {"songs": (1, 0), "artists": (1, 0), "songplays": (0, 1)}
    (claimed,) = query(
        star, "SELECT item_in_session FROM sparkify.songplays WHERE song_id = 'SO003'"
    )
    assert claimed == (3,)


def test_a_replay_ends_in_the_star_of_the_mended_files(rejected: str, tree: Tree) -> None:
    """A file mended where a replay mended it holds what the star has: verify agrees."""
    replay(rejected, repaired={1: lines(event(6)), 2: lines(event(7, page="Home"))})
    assert rejects(rejected) == [(1, True), (2, True)]
    tree.logs("3.json", event(4), event(6), event(7, page="Home"), event(5))
    assert verify(rejected, tree) == []


@pytest.mark.every(3)
@pytest.mark.parametrize(
    "raw", [b"", b"  ", b"[]", b"x", lines(event(6)) + b" x", lines(event(6), BROKEN_PLAY)]
)
def test_a_repair_that_is_none_is_still_a_reject(rejected: str, raw: bytes) -> None:
    """Bytes that aren't good records throughout leave the reject open and the star untouched."""
    before = read_star(rejected)
    report = replay(rejected, repaired={1: raw})
    assert (report.status, report.rejects.count) == ("succeeded_with_rejects", 1)
    assert read_star(rejected) == before
    assert rejects(rejected) == [(1, False), (2, False)]


def test_a_repair_may_be_several_records(rejected: str) -> None:
    """Two records that had run into one are mended into two, and both are loaded."""
    report = replay(rejected, repaired={2: lines(event(6), event(7))})
    assert (report.input.events.inserted, report.input.events.records) == (2, 2)


def test_an_export_replayed_as_it_is_settles_nothing(star: str, tree: Tree, tmp_path: Path) -> None:
    """A record that isn't UTF-8 is written escaped; unmended, it is still the record it was."""
    tree.logs("3.json", lines(event(4, song="#")).replace(b"#", b"\\\xff"))
    sparkify_bulk.load(tree.root, dsn=star)
    before = read_star(star)
    out = tmp_path / "rejects.ndjson"
    command("rejects", "--dsn", star, "--output", str(out))
    done = command("rejects", "replay", "--dsn", star, "--repaired", str(out), "--quiet")
    assert done.return_value == 3
    assert rejects(star) == [(1, False)]
    assert read_star(star) == before


def test_replay_without_a_star_is_an_error(database: str) -> None:
    """Where there is no star, replay says so."""
    with pytest.raises(SparkifyBulkError, match="no star"):
        replay(database)


def test_an_export_is_its_owners_alone(rejected: str, tmp_path: Path) -> None:
    """Exported rejects, which may hold personal data, are for the owner only."""
    out = tmp_path / "rejects.ndjson"
    mask = os.umask(0)
    try:
        assert command("rejects", "--dsn", rejected, "--output", str(out)).exit_code == 0
    finally:
        os.umask(mask)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


@pytest.mark.parametrize("what", ["file", "link", "dangling link"])
def test_an_export_overwrites_nothing(rejected: str, tmp_path: Path, what: str) -> None:
    """A file that exists, or a link, whether it leads anywhere or not, is refused and left."""
    out, target = tmp_path / "rejects.ndjson", tmp_path / "target"
    if what == "file":
        out.write_text("mine")
    else:
        out.symlink_to(target)
    if what == "link":
        target.write_text("mine")
    done = command("rejects", "--dsn", rejected, "--output", str(out))
    assert getattr(done.exception, "exit_code", None) == 2
    assert target.exists() == (what == "link")
    if what != "dangling link":
        assert out.read_text() == "mine"

"""Same tree in, equal tables out: known answers, and an independent slow loader as the oracle."""

import itertools
import json
import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sizes import examples
from trees import MOMENT, Star, Tree, drop_star, event, query, read_star, slow_star, song

import sparkify_bulk
from sparkify_bulk.report import Report

KNOWN_ROWS = {"artists": 69, "songs": 71, "users": 96, "time": 6813, "songplays": 6820}
_schemas = itertools.count(1)


def rows(report: Report) -> dict[str, int]:
    """Return the sizes of the five tables that a report claims."""
    return {name: table.rows for name, table in report.tables.items()}


def assert_books_balance(report: Report) -> None:
    """Hold a report to what every report promises."""
    for books in (report.input.songs, report.input.events):
        assert books.records == books.accepted + books.filtered + books.rejected
    events = report.input.events
    assert events.accepted == events.inserted + events.duplicates
    assert events.inserted == report.tables["songplays"].inserted
    assert report.rejects.count == events.rejected + report.input.songs.rejected
    assert sum(report.rejects.by_reason.values()) == report.rejects.count


def assert_known_answers(report: Report, dsn: str) -> None:
    """Hold a star of the real sample to what is known of it."""
    assert_books_balance(report)
    assert report.status == "succeeded"
    assert rows(report) == KNOWN_ROWS
    star = read_star(dsn)
    assert {name: len(table) for name, table in star.items()} == KNOWN_ROWS
    assert Counter(level for *_, level in star["users"]) == {"free": 74, "paid": 22}
    matched = [(play[3], play[4]) for play in star["songplays"] if play[3] is not None]
    assert matched == [("SOZCTXZ12AB0182364", "AR5KOSW1187FB35FF4")]
    assert all(play[4] is None for play in star["songplays"] if play[3] is None)


# --- known answers ------------------------------------------------------------------------------


@pytest.mark.every(2)
@pytest.mark.parametrize("jobs", [1, 2, 4])
def test_reload_and_reload_again_give_the_known_answers(
    database: str, sample: Path, jobs: int
) -> None:
    """A reload of the real sample gives the known star, and so does one over it."""
    for _ in range(2):
        report = sparkify_bulk.reload(sample, dsn=database, jobs=jobs)
        assert_known_answers(report, database)
        events = report.input.events
        assert (events.files, events.records, events.filtered) == (30, 8056, 1236)
        assert (events.accepted, events.inserted, events.duplicates) == (6820, 6820, 0)
        assert (report.input.songs.files, report.input.songs.records) == (71, 71)


@pytest.mark.every(2)
@pytest.mark.parametrize("jobs", [1, 2, 4])
def test_loads_over_a_reload_change_nothing(database: str, sample: Path, jobs: int) -> None:
    """Loads of files that a reload has read leave the star as it is."""
    sparkify_bulk.reload(sample, dsn=database, jobs=jobs)
    before = read_star(database, surrogate=True)
    for _ in range(2):
        report = sparkify_bulk.load(sample, dsn=database, jobs=jobs)
        assert_known_answers(report, database)
        assert all((table.inserted, table.updated) == (0, 0) for table in report.tables.values())
        assert read_star(database, surrogate=True) == before


@pytest.mark.every(2)
@pytest.mark.parametrize("jobs", [1, 2, 4])
def test_a_load_into_an_empty_database_gives_the_known_answers(
    database: str, sample: Path, jobs: int
) -> None:
    """The first load makes the star, and the same one as a reload."""
    report = sparkify_bulk.load(sample, dsn=database, jobs=jobs)
    assert_known_answers(report, database)
    assert report.input.events.inserted == 6820
    loaded = read_star(database)
    sparkify_bulk.reload(sample, dsn=database, jobs=jobs)
    assert read_star(database) == loaded


def test_a_load_day_by_day_gives_the_known_answers(database: str, sample: Path, tree: Tree) -> None:
    """Loading the real sample day by day, latest first, ends in the star of one reload."""
    days = sorted((sample / "log_data").rglob("*.json"), reverse=True)
    inserted = 0
    for number, day in enumerate(days):
        tree.logs(f"{number}/{day.name}", day.read_bytes())
        report = sparkify_bulk.load(
            songs=sample / "song_data", logs=tree.log_folder / str(number), dsn=database
        )
        inserted += report.input.events.inserted
        assert_books_balance(report)
    assert inserted == 6820
    assert_known_answers(report, database)


def test_the_real_sample_equals_the_slow_loaders_star(database: str, sample: Path) -> None:
    """Every value of the real sample's star is what the independent loader finds."""
    sparkify_bulk.reload(sample, dsn=database)
    assert read_star(database) == slow_star(database, sample)


# --- the slow loader as the oracle ----------------------------------------------------------------


@pytest.mark.every(2)
@pytest.mark.parametrize("command", ["reload", "load"])
def test_the_committed_data_equals_the_slow_loaders_star(
    database: str, committed: Path, command: str
) -> None:
    """Every value of the committed data's star is what the independent loader finds."""
    report = getattr(sparkify_bulk, command)(committed, dsn=database)
    assert_books_balance(report)
    assert read_star(database) == slow_star(database, committed)


# Few values, so that keys meet; and among them what careless loaders break.
SONG_IDS = st.sampled_from(["SO1", "SO2", "SO3", "so1", "SÖ4"])
ARTIST_IDS = st.sampled_from(["AR1", "AR2", "ar1"])
TITLES = st.sampled_from(
    ["Alpha", "Beta", "beta", "12", "true", "[x]", "{", "a\tb", "Zoë", "𝄞", ""]
)
NAMES = st.sampled_from(["Ann", "ann", "Ben & Co", "É", "\\N", "\\.", "", "\u2028", '"', "-1"])
DURATIONS = st.sampled_from([100.5, 200.25, 100, 0.1, -1.5])
LEVELS = st.sampled_from(["free", "paid"])
PLACES = st.none() | st.sampled_from(["", "Rome", "rome", "Paris\nFR", "Köln"])
DAYS = st.integers(0, 3).map(lambda day: MOMENT + day * 86_400_000)
UNSTORABLE = st.sampled_from(["a\0b", "\ud800", "x\udfff", "\0"])

songs = st.fixed_dictionaries(
    {
        "song_id": SONG_IDS,
        "title": TITLES,
        "artist_id": ARTIST_IDS,
        "artist_name": NAMES,
        "duration": DURATIONS,
    },
    optional={
        "artist_location": PLACES,
        "artist_latitude": st.none() | st.sampled_from([52.5, -1, 0, ""]),
        "artist_longitude": st.none() | st.sampled_from([4.75, 0.1]),
        "year": st.sampled_from([None, 0, 1, 1999, 9999, 2001.0, "", "0", "1999"]),
        "num_songs": st.just(1),
    },
)
plays = st.fixed_dictionaries(
    {
        "page": st.just("NextSong"),
        "ts": DAYS | DAYS.map(str) | DAYS.map(float),
        "userId": st.sampled_from(["1", "2", 1, 2, "1.0", 2.0, "+3", "3e0", -4, "05"]),
        "sessionId": st.sampled_from([10, 11, 11.0, "11", "10.0"]),
        "itemInSession": st.sampled_from([0, 1, 2, "2", "-0"]),
        "level": LEVELS | st.just("trial"),
    },
    optional={
        "firstName": NAMES | st.none(),
        "lastName": NAMES | st.none(),
        "gender": st.sampled_from(["F", "M", None]),
        "song": TITLES | st.none(),
        "artist": NAMES | st.none(),
        "length": DURATIONS | st.none() | st.just(""),
        "location": PLACES,
        "userAgent": st.sampled_from(["Mozilla", "mozilla", None]),
        "auth": st.just("Logged In"),
    },
)
other_pages = st.fixed_dictionaries(
    {"page": st.sampled_from(["Home", "nextsong", ""])},
    optional={"userId": st.just(""), "ts": st.sampled_from([None, "x"])},
)
# A value that can't be, put over a good record's.
WRONG = st.sampled_from(
    [
        None,
        "",
        True,
        [],
        {},
        "x",
        "12",
        "12.5",
        1_541_105_830,
        -1,
        0,
        1e300,
        2**63,
        10_000,
        1.5,
        "\ud800",
        "a\0b",
        "k" * 257,
    ]
)


@st.composite
def spoilt(draw: st.DrawFn, good: st.SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    """Take a good record and put something else in one place."""
    record = dict(draw(good))
    key = draw(st.sampled_from(sorted(record)))
    if draw(st.booleans()):
        del record[key]
    else:
        record[key] = draw(WRONG | UNSTORABLE)
    return record


def mostly(good: st.SearchStrategy[Any], rest: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Draw from the first far more often than from the second."""
    return st.integers(0, 7).flatmap(lambda number: rest if number == 0 else good)


SONG_RECORDS = mostly(songs, spoilt(songs))
EVENT_RECORDS = mostly(plays, other_pages | spoilt(plays))
LAYOUTS = st.sampled_from(["lines", "crlf", "array", "pretty", "bom", "blank"])
Files = list[tuple[str, list[Any]]]


def files(records: st.SearchStrategy[Any]) -> st.SearchStrategy[Files]:
    """Draw files, each a layout and its records; several of one day, one empty now and then."""
    return st.lists(st.tuples(LAYOUTS, st.lists(records, max_size=8)), min_size=1, max_size=5)


def laid_out(layout: str, records: list[Any]) -> bytes:
    """Write records in a layout that both loaders read."""
    if layout == "array":
        return json.dumps(records).encode()
    if layout == "pretty":
        return json.dumps(records, indent=2).encode()
    texts = [
        json.dumps(record, ensure_ascii=number % 2 == 0) for number, record in enumerate(records)
    ]
    # Half of a surrogate pair has no UTF-8: it can only stand escaped.
    encoded = [
        text.encode()
        if text.isascii() or not _has_lone_surrogate(text)
        else json.dumps(record).encode()
        for text, record in zip(texts, records, strict=True)
    ]
    separator = {"crlf": b"\r\n", "blank": b"\n \t\n"}.get(layout, b"\n")
    head = b"\xef\xbb\xbf" if layout == "bom" else b""
    return head + separator.join(encoded) + (b"\n" if layout == "blank" else b"")


def _has_lone_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def write_tree(root: Path, song_files: Files, event_files: Files) -> Tree:
    """Write files into a tree, some in folders of their own."""
    made = Tree(root)
    for number, (layout, records) in enumerate(song_files):
        made.songs(f"{'AB'[number % 2]}/TR{number}.json", laid_out(layout, records))
    for number, (layout, records) in enumerate(event_files):
        made.logs(f"2018/11/2018-11-1{number // 2}-{number}.json", laid_out(layout, records))
    return made


def reloaded(dsn: str, data: Path, jobs: int = 1) -> Star:
    """Reload a tree into a schema of its own, and return the star."""
    schema = f"s{next(_schemas)}"
    report = sparkify_bulk.reload(data, dsn=dsn, schema=schema, jobs=jobs)
    assert_books_balance(report)
    star = read_star(dsn, schema)
    assert {name: len(table) for name, table in star.items()} == rows(report)
    drop_star(dsn, schema)
    return star


@examples(130)
@given(song_files=files(SONG_RECORDS), event_files=files(EVENT_RECORDS))
def test_any_tree_equals_the_slow_loaders_star(
    module_database: str, song_files: Files, event_files: Files
) -> None:
    """Whatever the tree, a reload gives the star that the independent loader gives."""
    with tempfile.TemporaryDirectory() as folder:
        data = write_tree(Path(folder) / "data", song_files, event_files).root
        assert reloaded(module_database, data) == slow_star(module_database, data)


@pytest.mark.full
@examples(60)
@given(
    song_files=files(SONG_RECORDS),
    event_files=files(EVENT_RECORDS),
    seed=st.integers(0, 2**32),
)
def test_loads_in_any_order_equal_one_reload(
    module_database: str, song_files: Files, event_files: Files, seed: int
) -> None:
    """However the files are dealt out to loads, and in whatever order, the star is a reload's."""
    deal = random.Random(seed)
    schema = f"s{next(_schemas)}"
    with tempfile.TemporaryDirectory() as folder:
        whole = write_tree(Path(folder) / "data", song_files, event_files)
        parts = [
            [path for path in whole.root.rglob("*.json") if deal.random() < share]
            for share in (0.4, 0.6)
        ]
        parts.append(list(whole.root.rglob("*.json")))
        given_out: set[Path] = set()
        for number, part in enumerate(parts):
            # Half of the time a file that was loaded is loaded again.
            fresh = [path for path in part if path not in given_out or deal.random() < 0.5]
            given_out.update(fresh)
            if not fresh:
                continue
            one = Tree(Path(folder) / str(number))
            for path in fresh:
                copy = one.root / path.relative_to(whole.root)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(path.read_bytes())
            report = sparkify_bulk.load(
                one.root, dsn=module_database, schema=schema, jobs=deal.choice([1, 2])
            )
            assert_books_balance(report)
        merged = read_star(module_database, schema)
        assert merged == reloaded(module_database, whole.root)
        assert merged == slow_star(module_database, whole.root)
    drop_star(module_database, schema)


@examples(20)
@given(song_files=files(songs), event_files=files(plays), jobs=st.sampled_from([2, 3]))
def test_workers_and_batches_never_change_the_star(
    module_database: str, song_files: Files, event_files: Files, jobs: int
) -> None:
    """One worker on one batch, and several workers on a batch a file, build the same star."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        data = write_tree(Path(folder) / "data", song_files, event_files).root
        alone = reloaded(module_database, data)
        patch.setattr("sparkify_bulk.source.batches.BATCH_FILES", 1)
        assert reloaded(module_database, data, jobs) == alone


# --- rules, one by one --------------------------------------------------------------------------


def test_a_song_that_arrives_later_claims_its_plays(database: str, tree: Tree) -> None:
    """Plays loaded before their song name it once it is loaded."""
    tree.logs("day.json", event())
    first = sparkify_bulk.load(tree.root, dsn=database)
    assert query(database, "SELECT song_id, artist_id FROM sparkify.songplays") == [(None, None)]
    assert first.tables["songplays"].inserted == 1
    tree.songs("one.json", song())
    report = sparkify_bulk.load(tree.root, dsn=database)
    assert query(database, "SELECT song_id, artist_id FROM sparkify.songplays") == [
        ("SO001", "AR001")
    ]
    assert (report.tables["songplays"].inserted, report.tables["songplays"].updated) == (0, 1)


def test_a_smaller_song_id_that_arrives_later_takes_over(database: str, tree: Tree) -> None:
    """Of songs that match, the smallest song_id is named, also where it comes last."""
    tree.logs("day.json", event())
    tree.songs("b.json", song(song_id="SO2"))
    sparkify_bulk.load(tree.root, dsn=database)
    tree.songs("a.json", song(song_id="SO1", artist_id="ARX"))
    sparkify_bulk.load(tree.root, dsn=database)
    found = query(database, "SELECT song_id, artist_id FROM sparkify.songplays")
    assert found == [("SO1", "ARX")]


def test_a_song_whose_description_changes_lets_its_plays_go(database: str, tree: Tree) -> None:
    """Plays of a song that is now described otherwise name the next song that matches, or none."""
    tree.logs("day.json", event(), event(2, song="New title"))
    tree.songs("a.json", song())
    sparkify_bulk.load(tree.root, dsn=database)
    tree.songs("b.json", song(title="New title"))
    sparkify_bulk.load(tree.root, dsn=database)
    found = query(database, "SELECT item_in_session, song_id FROM sparkify.songplays ORDER BY 1")
    assert found == [(1, None), (2, "SO001")]


def test_a_song_that_changes_its_artist_changes_its_plays(database: str, tree: Tree) -> None:
    """A play names the artist that its song names now."""
    tree.logs("day.json", event())
    tree.songs("a.json", song())
    sparkify_bulk.load(tree.root, dsn=database)
    tree.songs("b.json", song(artist_id="ARX"))
    sparkify_bulk.load(tree.root, dsn=database)
    assert query(database, "SELECT song_id, artist_id FROM sparkify.songplays") == [
        ("SO001", "ARX")
    ]


def test_the_name_in_the_songs_own_file_is_the_one_compared(database: str, tree: Tree) -> None:
    """A play is matched by its song's own credit, whatever another file calls the artist."""
    tree.logs("day.json", event(artist="Artist 1 feat. X"))
    tree.songs("a.json", song(artist_name="Artist 1 feat. X"))
    tree.songs("b.json", song(2, artist_id="AR001", artist_name="Artist 1"))
    sparkify_bulk.reload(tree.root, dsn=database)
    assert query(database, "SELECT name FROM sparkify.artists") == [("Artist 1",)]
    assert query(database, "SELECT song_id FROM sparkify.songplays") == [("SO001",)]


def test_an_older_file_loaded_later_never_moves_a_user_back(database: str, tree: Tree) -> None:
    """A user's row follows the latest play, not the latest load."""
    tree.logs("2.json", event(2, level="paid", firstName="New"))
    sparkify_bulk.load(tree.root, dsn=database)
    tree.logs("1.json", event(1, level="free", firstName="Old"))
    report = sparkify_bulk.load(tree.root, dsn=database)
    assert query(database, "SELECT first_name, level FROM sparkify.users") == [("New", "paid")]
    assert report.tables["users"].updated == 0


def test_a_reload_forgets_what_the_files_no_longer_hold(database: str, tree: Tree) -> None:
    """A reload's star comes from the files alone, not from the star before."""
    tree.songs("a.json", song())
    gone = tree.logs("1.json", event(1, userId="1"))
    tree.logs("2.json", event(2, userId="2"))
    sparkify_bulk.reload(tree.root, dsn=database)
    gone.unlink()
    report = sparkify_bulk.reload(tree.root, dsn=database, max_shrink=0.5)
    assert query(database, "SELECT user_id FROM sparkify.users") == [(2,)]
    assert report.tables["songplays"].rows == 1


def test_a_play_read_twice_is_one_row_and_counted(database: str, tree: Tree) -> None:
    """The same play in two files is one row, and the other is on the books as a duplicate."""
    for command in ("reload", "load"):
        tree.logs("a.json", event(), event())
        tree.logs("b.json", event())
        run = getattr(sparkify_bulk, command)
        report = run(logs=tree.log_folder, dsn=database, schema=command)
        events = report.input.events
        assert (events.accepted, events.inserted, events.duplicates) == (3, 1, 2)


@pytest.mark.every(2)
@pytest.mark.parametrize("command", ["reload", "load"])
def test_levels_that_are_not_known_are_loaded_and_counted_in_one_warning(
    database: str, tree: Tree, caplog: pytest.LogCaptureFixture, command: str
) -> None:
    """A play's level may be any text; one warning a run says how many are neither of the two."""
    sparkify_bulk.reload(logs=tree.logs("old.json", event(9)).parent, dsn=database)
    tree.logs("a.json", event(1), event(2, level="trial"), event(3, level="Free"))
    tree.logs("b.json", b"noise", event(4, level="trial"), event(5, level="x", page="Home"))
    getattr(sparkify_bulk, command)(logs=tree.log_folder, dsn=database)
    warnings = [text for text in caplog.messages if "level" in text]
    assert len(warnings) == 1
    assert warnings[0].startswith("3 plays have a level other than free and paid; see: sparkify-")
    found = query(database, "SELECT level, count(*) FROM sparkify.songplays GROUP BY 1 ORDER BY 1")
    assert dict(found) == {"Free": 1, "free": 2, "trial": 2}


def test_times_in_other_units_are_rejected_and_said_to_look_like_them(
    database: str, tree: Tree
) -> None:
    """Seconds, microseconds and nanoseconds are no milliseconds, and the reject says so."""
    times = [MOMENT // 1000, MOMENT * 1000, MOMENT * 10**6, 0, 631_151_999_999]
    tree.logs("a.json", *(event(number, ts=time) for number, time in enumerate(times)), event(9))
    report = sparkify_bulk.reload(logs=tree.log_folder, dsn=database)
    details = query(database, 'SELECT detail FROM sparkify_ledger.rejects ORDER BY "offset"')
    assert report.rejects.by_reason == {"out_of_range": 5}
    said = "ts lies outside 1990 to 2100"
    assert [detail for (detail,) in details] == [
        *(f"{said}; it looks like {unit}, and milliseconds are needed"
          for unit in ("seconds", "microseconds", "nanoseconds")),
        said, said,
    ]  # fmt: skip


def test_times_parts_are_utc(database: str, tree: Tree) -> None:
    """The parts of a moment are UTC's, whatever time zone server or machine are in."""
    # 2018-12-31 23:59:59.999 UTC lies in week 1 of 2019, a Monday.
    tree.logs("a.json", event(ts=1_546_300_799_999), event(ts=631_152_000_000))
    sparkify_bulk.reload(logs=tree.log_folder, dsn=database)
    found = query(
        database,
        """SELECT extract(epoch FROM start_time)::text, hour, day, week, month, year, weekday
        FROM sparkify.time ORDER BY start_time""",
    )
    assert found == [
        ("631152000.000000", 0, 1, 1, 1, 1990, 0),
        ("1546300799.999000", 23, 31, 1, 12, 2018, 0),
    ]

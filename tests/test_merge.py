"""Staged rows are merged by their keys, whatever comes first."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sparkify_bulk import statements
from sparkify_bulk.database.connection import Connection
from sparkify_bulk.database.transaction import use_schemas
from sparkify_bulk.errors import CountMismatchError
from sparkify_bulk.loading import merge
from sparkify_bulk.loading.staging import TABLES
from sparkify_bulk.tables import NAMES
from sparkify_bulk.transform.reductions import Doubtful

SECOND = datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)


@pytest.fixture
def star(connection: Connection) -> Iterator[Connection]:
    """Make an empty star with its keys, and staging tables by their plain names."""
    connection.execute("CREATE SCHEMA star")
    with connection.transaction():
        use_schemas(connection, "star")
        merge.make_tables(connection)
        for name in TABLES:
            connection.execute(statements.read(f"staging/{name}"))
        for group in ("indexes", "keys"):
            merge.constrain(connection, group, *NAMES)
        yield connection


def merged(star: Connection, name: str, staged: Callable[[], None]) -> tuple[int, int]:
    """Stage rows in an emptied table, and merge them; return how many were inserted and updated."""
    star.execute("TRUNCATE staged_songs, staged_songplays, staged_users, staged_time")
    staged()
    report = merge.run_merge(star, name)
    return report.inserted, report.updated


def stage_user(
    star: Connection, start: int, session: int, item: int, level: str
) -> Callable[[], None]:
    """Stage a user as of a play."""
    statement = "INSERT INTO staged_users VALUES (1, 'F', 'L', 'X', %s, to_timestamp(%s), %s, %s)"
    return lambda: star.execute(statement, (level, start, session, item)) and None


@pytest.mark.parametrize("later", [(2, 1, 1), (1, 2, 1), (1, 1, 2)])
def test_an_older_play_never_moves_a_user_back(
    star: Connection, later: tuple[int, int, int]
) -> None:
    """A user's level is that of the latest play by start, session and item, in either order."""
    assert merged(star, "users", stage_user(star, *later, "paid")) == (1, 0)
    assert merged(star, "users", stage_user(star, 1, 1, 1, "free")) == (0, 0)
    assert star.execute("SELECT level FROM users").fetchall() == [("paid",)]
    star.execute("TRUNCATE users")
    assert merged(star, "users", stage_user(star, 1, 1, 1, "free")) == (1, 0)
    assert merged(star, "users", stage_user(star, *later, "paid")) == (0, 1)
    assert star.execute("SELECT level FROM users").fetchall() == [("paid",)]


def stage_song(star: Connection, file: str, offset: int, title: str) -> Callable[[], None]:
    """Stage a song as a file describes it."""
    statement = (
        "INSERT INTO staged_songs VALUES ('S', %s, 'A', 2000, 1.5, %s, NULL, NULL, NULL, %s, %s)"
    )
    return lambda: star.execute(statement, (title, title, file, offset)) and None


@pytest.mark.parametrize("greater", [("b.json", 0), ("a.json", 5), ("a/b.json", 0)])
@pytest.mark.parametrize("table", ["songs", "artists"])
def test_the_greatest_source_describes_songs_and_artists(
    star: Connection, table: str, greater: tuple[str, int]
) -> None:
    """Of two files, or two places in one, the greater is the row, in either order."""
    column = "title" if table == "songs" else "name"
    read: Any = f"SELECT {column} FROM {table}"
    low, high = stage_song(star, "a.json", 0, "low"), stage_song(star, *greater, "high")
    merged(star, table, high)
    assert merged(star, table, low) == (0, 0)
    assert star.execute(read).fetchall() == [("high",)]
    star.execute(f"TRUNCATE {table}".encode())
    merged(star, table, low)
    assert merged(star, table, high) == (0, 1)
    assert star.execute(read).fetchall() == [("high",)]


def test_a_file_read_again_changes_what_it_said(star: Connection) -> None:
    """The same source with other words replaces its row; with the same words it changes nothing."""
    merged(star, "songs", stage_song(star, "a.json", 0, "old"))
    assert merged(star, "songs", stage_song(star, "a.json", 0, "old")) == (0, 0)
    assert merged(star, "songs", stage_song(star, "a.json", 0, "new")) == (0, 1)


def stage_play(star: Connection, level: str, location: str | None) -> Callable[[], None]:
    """Stage a play that differs in its words only."""
    statement = (
        "INSERT INTO staged_songplays"
        " VALUES (to_timestamp(1), 1, %s, 1, %s, NULL, 1, 'T', 'A', 1.5)"
    )
    return lambda: star.execute(statement, (level, location)) and None


def test_a_play_recorded_twice_has_the_smaller_words(star: Connection) -> None:
    """Of two records of one play the smaller is the row, in either order; NULL is the greatest."""
    for first, second in ((("free", "X"), ("free", None)), (("free", None), ("paid", "A"))):
        small, great = stage_play(star, *first), stage_play(star, *second)
        star.execute("TRUNCATE songplays")
        assert merged(star, "songplays", great) == (1, 0)
        assert merged(star, "songplays", small) == (0, 1)
        assert merged(star, "songplays", great) == (0, 0)
        assert star.execute("SELECT level, location FROM songplays").fetchall() == [first]


@pytest.mark.parametrize("where", [Doubtful([SECOND], []), Doubtful([], [(SECOND, SECOND)])])
def test_filled_duplicates_are_removed_as_the_merge_would(
    star: Connection, where: Doubtful
) -> None:
    """A star filled without keys keeps the same one of two records that a merge keeps."""
    star.execute("ALTER TABLE songplays DROP CONSTRAINT songplays_natural_key")
    for level, location in (("paid", "A"), ("free", None), ("free", "X"), ("free", "X")):
        stage_play(star, level, location)()
    assert merge.fill(star, "songplays") == 4
    earlier, later = SECOND - timedelta(microseconds=1), SECOND + timedelta(microseconds=1)
    for nowhere in (Doubtful([], []), Doubtful([later], [(earlier, earlier)])):
        assert merge.remove_repeated(star, "duplicates", nowhere) == 0
    assert merge.remove_repeated(star, "duplicates", where) == 3
    assert star.execute("SELECT level, location FROM songplays").fetchall() == [("free", "X")]


@pytest.mark.parametrize("way", ["merge", "fill"])
def test_a_play_is_never_multiplied(star: Connection, way: str) -> None:
    """A play that several songs match is one row, with the smallest song_id."""
    for number in (3, 1, 2):
        star.execute(
            "INSERT INTO songs VALUES (%s, 'T', 'A', NULL, 1.5, 'A', 'f', 0)", (f"S{number}",)
        )
    stage_play(star, "free", None)()
    if way == "merge":
        merge.run_merge(star, "songplays")
    else:
        merge.fill(star, "songplays")
    assert star.execute("SELECT song_id FROM songplays").fetchall() == [("S1",)]


def test_missing_staged_rows_end_the_run(star: Connection) -> None:
    """Fewer rows staged than sent is an error that says what to do."""
    stage_play(star, "free", None)()
    merge.check_staged(star, {"staged_songplays": 1})
    with pytest.raises(
        CountMismatchError, match="2 rows were sent to staged_songplays, but it has 1"
    ) as caught:
        merge.check_staged(star, {"staged_songplays": 2})
    assert "run it again" in caught.value.hint

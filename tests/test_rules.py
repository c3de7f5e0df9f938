"""Typed frames become staging frames."""

from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from trees import event, song

from sparkify_bulk import tables
from sparkify_bulk.transform.fields import EVENT, PLAYS, SONG, SONGS, Field
from sparkify_bulk.transform.frames import stage_events, stage_songs
from sparkify_bulk.transform.rejection import Rejection
from sparkify_bulk.transform.rules import RULES


def plays(*changes: dict[str, object]) -> pl.DataFrame:
    """Make a typed frame of plays that differ in what is named."""
    usual = {"file": 0, "ts": 0, "user_id": 1, "level": "free", "session_id": 1}
    rows = [usual | {"item_in_session": 0} | change for change in changes]
    return pl.DataFrame(rows, schema=PLAYS)


@pytest.mark.parametrize(
    ("moment", "parts"),
    [
        # 2018 ended on a Monday, in the first ISO week of 2019.
        (datetime(2018, 12, 31, 23, 59, 59, tzinfo=UTC), (23, 31, 1, 12, 2018, 0)),
        # 2021 began on a Friday, in the last ISO week of 2020.
        (datetime(2021, 1, 1, tzinfo=UTC), (0, 1, 53, 1, 2021, 4)),
        (datetime(2024, 2, 29, 12, tzinfo=UTC), (12, 29, 9, 2, 2024, 3)),
        (datetime(2018, 11, 4, 5, tzinfo=UTC), (5, 4, 44, 11, 2018, 6)),
    ],
)
def test_time_is_taken_apart(moment: datetime, parts: tuple[int, ...]) -> None:
    """Hour, day, ISO week, month, year and weekday, Monday 0, are those of the moment in UTC."""
    frame = stage_events(plays({"ts": int(moment.timestamp() * 1000)}))["staged_time"]
    assert frame.rows() == [(moment, *parts)]


def test_moments_are_reduced() -> None:
    """Plays that start at the same moment make one row of time."""
    frame = stage_events(plays({"user_id": 1}, {"user_id": 2}, {"ts": 1}))["staged_time"]
    assert frame.height == 2


def test_milliseconds_are_kept() -> None:
    """A play starts at the very millisecond of its event."""
    frame = stage_events(plays({"ts": 1541105830796}))["staged_songplays"]
    assert frame["start_time"][0] == datetime(2018, 11, 1, 20, 57, 10, 796000, tzinfo=UTC)


def test_users_are_reduced_to_their_latest_play() -> None:
    """Of each user the latest play by start, session and item is left, in whatever order."""
    frame = stage_events(
        plays(
            {"ts": 5, "session_id": 9, "item_in_session": 9, "level": "early"},
            {"ts": 7, "session_id": 2, "item_in_session": 3, "level": "latest"},
            {"ts": 7, "session_id": 2, "item_in_session": 1, "level": "item before"},
            {"ts": 7, "session_id": 1, "item_in_session": 8, "level": "session before"},
            {"ts": 1, "user_id": 2, "level": "only one"},
        )
    )["staged_users"]
    assert dict(frame.select("user_id", "level").iter_rows()) == {1: "latest", 2: "only one"}


def test_users_with_conflicting_records_are_left_to_the_merge() -> None:
    """Where the latest play was recorded twice with different words, both rows are staged."""
    frame = stage_events(plays({"level": "free"}, {"level": "paid"}, {"level": "paid"}))
    assert sorted(frame["staged_users"]["level"]) == ["free", "paid"]


def test_plays_read_twice_are_left_to_the_merge() -> None:
    """Every play is staged, those read twice too: only the merge sees all batches."""
    assert stage_events(plays({}, {}))["staged_songplays"].height == 2


def test_songs_name_their_file() -> None:
    """A song row carries the name of the file that described it, and its place there."""
    song = {"song_id": "S", "title": "T", "artist_id": "A", "artist_name": "N", "duration": 1.5}
    rows = [song | {"file": file, "source_offset": file * 10} for file in (1, 0, 1)]
    frame = stage_songs(pl.DataFrame(rows, schema=SONGS), ["first.json", "second.json"])
    found = frame.select("source_file", "source_offset").rows()
    assert found == [("second.json", 10), ("first.json", 0), ("second.json", 10)]


@pytest.mark.parametrize(
    ("kind", "record", "words"),
    [
        ("events", {"Records": [event()]}, "page is missing or null; the object holds a list of"),
        ("songs", {"n": 1, "data": [song(1)]}, "song_id is missing or null; the object holds a"),
        ("events", event() | {"userId": ""}, "userId is empty"),
        ("songs", song(1) | {"duration": ""}, "duration is empty"),
    ],
)
def test_a_missing_field_is_told_with_what_stands_there(
    kind: str, record: dict[str, Any], words: str
) -> None:
    """Empty text isn't told to be null, and an object around all records is told apart."""
    with pytest.raises(Rejection, match="^" + words) as caught:
        RULES[kind].check(record, 0)
    assert caught.value.reason == "missing_field"


def test_no_records_make_empty_frames() -> None:
    """A batch without records has frames without rows."""
    frames = stage_events(pl.DataFrame(schema=PLAYS))
    assert {frame.height for frame in frames.values()} == {0}
    assert stage_songs(pl.DataFrame(schema=SONGS), []).height == 0


@pytest.mark.parametrize(
    ("fields", "columns"),
    [
        (EVENT, (*tables.USERS.columns, *tables.SONGPLAYS.columns)),
        (SONG, (*tables.ARTISTS.columns, *tables.SONGS.columns)),
    ],
)
def test_fields_and_columns_say_the_same(
    fields: tuple[Field, ...], columns: tuple[tables.Column, ...]
) -> None:
    """A field has its column's type, and is required exactly where the column may not be NULL."""
    declared = {column.name: (column.type, column.nullable) for column in columns}
    found = {field.column: (field.type, not field.is_required) for field in fields}
    shared = declared.keys() & found.keys()
    assert len(shared) > 5
    assert {name: found[name] for name in shared} == {name: declared[name] for name in shared}

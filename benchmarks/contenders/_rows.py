"""Read a tree into rows: plain Python with orjson, for contenders that hand over row by row.

Takes good records only, one a line, in plain `*.json` files.
"""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
Record = dict[str, Any]
Row = tuple[Any, ...]


def files(folder: Path) -> list[Path]:
    """List the `*.json` files below a folder in the order of their names' bytes."""
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(parent, name)
            for name in names
            if name.endswith(".json") and not name.startswith(".")
        ]
    return sorted(found, key=os.fsencode)


def songs(data: Path) -> Iterator[Record]:
    """Yield song records; of those that describe one song or artist the last one counts."""
    return _records(data / "song_data")


def plays(data: Path) -> Iterator[Record]:
    """Yield the events that are songplays."""
    return (record for record in _records(data / "log_data") if record["page"] == "NextSong")


def _records(folder: Path) -> Iterator[Record]:
    for path in files(folder):
        for line in path.read_bytes().splitlines():
            yield orjson.loads(line)


def artist_row(song: Record) -> Row:
    """Return the artist of a song record."""
    return (
        song["artist_id"],
        song["artist_name"],
        song["artist_location"] or None,
        song["artist_latitude"],
        song["artist_longitude"],
    )


def song_row(song: Record) -> Row:
    """Return the song of a song record."""
    return (
        song["song_id"],
        song["title"],
        song["artist_id"],
        song["year"] or None,
        float(song["duration"]),
    )


def user_row(play: Record) -> Row:
    """Return the user of a songplay, as of that moment."""
    return (
        int(play["userId"]),
        play["firstName"],
        play["lastName"],
        play["gender"],
        play["level"],
    )


def moment(play: Record) -> dt.datetime:
    """Return when a songplay was."""
    return EPOCH + dt.timedelta(milliseconds=int(play["ts"]))


def time_row(start: dt.datetime) -> Row:
    """Return a moment taken apart."""
    week = start.isocalendar().week
    return start, start.hour, start.day, week, start.month, start.year, start.weekday()


def songplay_row(play: Record, start: dt.datetime, song: tuple[str | None, str | None]) -> Row:
    """Return a songplay, given the song it shows."""
    return (
        start,
        int(play["userId"]),
        play["level"],
        *song,
        play["sessionId"],
        play["location"] or None,
        play["userAgent"],
        play["itemInSession"],
        play["song"],
        play["artist"],
        play["length"],
    )


def read(data: Path) -> dict[str, list[Row]]:
    """Return the finished rows of each table."""
    song_rows: dict[str, Row] = {}
    artist_rows: dict[str, Row] = {}
    credits_: dict[str, str] = {}
    for song in songs(data):
        song_rows[song["song_id"]] = song_row(song)
        credits_[song["song_id"]] = song["artist_name"]
        artist_rows[song["artist_id"]] = artist_row(song)
    matches: dict[tuple[str, str, float], tuple[str, str]] = {}
    for song_id, (_, title, artist_id, _, duration) in sorted(song_rows.items(), reverse=True):
        matches[title, credits_[song_id], duration] = song_id, artist_id

    songplays: dict[Row, Row] = {}
    users: dict[int, tuple[Row, Row]] = {}
    for play in plays(data):
        user = user_row(play)
        start = moment(play)
        when = (start, play["sessionId"], play["itemInSession"])
        looks = (play["song"], play["artist"], play["length"])
        songplays[user[0], *when] = songplay_row(play, start, matches.get(looks, (None, None)))
        if user[0] not in users or users[user[0]][0] < when:
            users[user[0]] = when, user
    return {
        "artists": list(artist_rows.values()),
        "songs": list(song_rows.values()),
        "users": [user for _, user in users.values()],
        "time": [time_row(start) for start in {row[0] for row in songplays.values()}],
        "songplays": list(songplays.values()),
    }

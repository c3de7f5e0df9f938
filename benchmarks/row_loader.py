"""Load the same star one INSERT at a time: the baseline of the benchmarks, the oracle of the tests.

    python benchmarks/row_loader.py DATA --dsn DSN

Written for reading, not for speed, with the standard `json` module and psycopg alone. It shares
nothing with the package, so that where the two agree, it is because both follow the same rules:

- A record that lacks what its rows need, or has a value of the wrong kind, is skipped and counted.
- A play met twice is one row. Should two plays agree in the natural key only, the one with the
  smallest values counts, compared as bytes.
- Of several records of one song the one from the greatest path counts, whole; of several records
  of one artist likewise. Paths are relative to `song_data` and compared as bytes.
- A user is as the user's latest play shows; should several be the latest, as the one with the
  smallest values shows.
- A play belongs to the song whose title, credited artist and duration it shows; of several, to the
  one with the smallest `song_id`.

It reads plain `*.json` files, each one object, one array of objects, or one object a line. A key
that stands twice in a record counts where it stands first.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import math
import os
import re
import struct
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import LiteralString, NoReturn

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
SMALLEST_BIGINT, LARGEST_BIGINT = -(2**63), 2**63 - 1
MILLISECONDS = 631_152_000_000, 4_102_444_800_000
"""From the first of January 1990 to that of 2100."""
LARGEST_YEAR = 9999
LONGEST_KEY = 256
"""Bytes: what goes into an index has to be short."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

DDL: tuple[LiteralString, ...] = (
    "DROP SCHEMA IF EXISTS {schema} CASCADE",
    "CREATE SCHEMA {schema}",
    """
    CREATE TABLE {schema}.users (
        user_id bigint PRIMARY KEY,
        first_name text,
        last_name text,
        gender text,
        level text NOT NULL
    )
    """,
    """
    CREATE TABLE {schema}.artists (
        artist_id text PRIMARY KEY,
        name text NOT NULL,
        location text,
        latitude double precision,
        longitude double precision
    )
    """,
    """
    CREATE TABLE {schema}.songs (
        song_id text PRIMARY KEY,
        title text NOT NULL,
        artist_id text NOT NULL REFERENCES {schema}.artists,
        year integer,
        duration double precision NOT NULL
    )
    """,
    """
    CREATE TABLE {schema}.time (
        start_time timestamptz PRIMARY KEY,
        hour smallint NOT NULL,
        day smallint NOT NULL,
        week smallint NOT NULL,
        month smallint NOT NULL,
        year integer NOT NULL,
        weekday smallint NOT NULL
    )
    """,
    """
    CREATE TABLE {schema}.songplays (
        songplay_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        start_time timestamptz NOT NULL REFERENCES {schema}.time,
        user_id bigint NOT NULL REFERENCES {schema}.users,
        level text NOT NULL,
        song_id text REFERENCES {schema}.songs,
        artist_id text REFERENCES {schema}.artists,
        session_id bigint NOT NULL,
        location text,
        user_agent text,
        item_in_session bigint NOT NULL,
        event_song text,
        event_artist text,
        event_length double precision,
        UNIQUE (start_time, user_id, session_id, item_in_session)
    )
    """,
)
INSERT_ARTIST: LiteralString = """
    INSERT INTO {schema}.artists (artist_id, name, location, latitude, longitude)
    VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
INSERT_SONG: LiteralString = """
    INSERT INTO {schema}.songs (song_id, title, artist_id, year, duration)
    VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
INSERT_USER: LiteralString = """
    INSERT INTO {schema}.users (user_id, first_name, last_name, gender, level)
    VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
INSERT_TIME: LiteralString = """
    INSERT INTO {schema}.time (start_time, hour, day, week, month, year, weekday)
    VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
INSERT_SONGPLAY: LiteralString = """
    INSERT INTO {schema}.songplays (
        start_time, user_id, level, song_id, artist_id, session_id, location, user_agent,
        item_in_session, event_song, event_artist, event_length
    )
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""


class RejectedError(ValueError):
    """A record can't become a row."""


class Song(NamedTuple):
    """A song record that has all it needs."""

    song_id: str
    title: str
    artist_id: str
    year: int | None
    duration: float
    artist_name: str
    location: str | None
    latitude: float | None
    longitude: float | None


Moment: TypeAlias = tuple[dt.datetime, int, int]
"""When in a user's life a play was: start_time, session_id, item_in_session."""


class Key(NamedTuple):
    """The natural key of a play."""

    start_time: dt.datetime
    user_id: int
    session_id: int
    item_in_session: int


class Play(NamedTuple):
    """The other values of a play, in the order that two plays of one key are compared by."""

    level: str
    location: str | None
    user_agent: str | None
    event_song: str | None
    event_artist: str | None
    event_length: float | None


class User(NamedTuple):
    """What a play tells of its user, in the order that two plays at one moment are compared by."""

    level: str
    first_name: str | None
    last_name: str | None
    gender: str | None


def load(conn: psycopg.Connection[Any], data: Path, schema: str) -> None:
    """Make `schema` anew and load the tree `data` into it; the caller commits.

    Args:
        conn: Where to; in autocommit mode each row is its own transaction.
        data: A folder with `song_data` and `log_data`.
        schema: The schema to drop, create and fill.
    """
    songs, artists = _read_songs(data / "song_data")
    plays, users = _read_plays(data / "log_data")

    song_by_looks: dict[tuple[str, str, float], str] = {}
    for song in songs.values():
        looks = (song.title, song.artist_name, song.duration)
        song_by_looks[looks] = min(song.song_id, song_by_looks.get(looks, song.song_id))

    with conn.cursor() as cursor:
        for statement in DDL:
            cursor.execute(_in_schema(statement, schema), ())

        insert = _in_schema(INSERT_ARTIST, schema)
        for source in artists.values():
            cursor.execute(
                insert,
                (
                    source.artist_id,
                    source.artist_name,
                    source.location,
                    source.latitude,
                    source.longitude,
                ),
            )

        insert = _in_schema(INSERT_SONG, schema)
        for song in songs.values():
            cursor.execute(
                insert, (song.song_id, song.title, song.artist_id, song.year, song.duration)
            )

        insert = _in_schema(INSERT_USER, schema)
        for user_id, user in users.items():
            cursor.execute(
                insert, (user_id, user.first_name, user.last_name, user.gender, user.level)
            )

        insert = _in_schema(INSERT_TIME, schema)
        for start in {key.start_time: None for key in plays}:
            cursor.execute(
                insert,
                (
                    start,
                    start.hour,
                    start.day,
                    start.isocalendar().week,
                    start.month,
                    start.year,
                    start.weekday(),
                ),
            )

        insert = _in_schema(INSERT_SONGPLAY, schema)
        for key, play in plays.items():
            song_id = _match(play, song_by_looks)
            cursor.execute(
                insert,
                (
                    key.start_time,
                    key.user_id,
                    play.level,
                    song_id,
                    songs[song_id].artist_id if song_id is not None else None,
                    key.session_id,
                    play.location,
                    play.user_agent,
                    key.item_in_session,
                    play.event_song,
                    play.event_artist,
                    play.event_length,
                ),
            )


def _in_schema(statement: LiteralString, schema: str) -> sql.Composed:
    """Name the schema; a percent sign in it would else pass for a placeholder."""
    return sql.SQL(statement).format(schema=sql.Identifier(schema.replace("%", "%%")))


def _moment(key: Key) -> Moment:
    """Say when in the user's life a play was."""
    return key.start_time, key.session_id, key.item_in_session


def _match(play: Play, song_by_looks: Mapping[tuple[str, str, float], str]) -> str | None:
    """Find the song that a play shows, if any."""
    if play.event_song is None or play.event_artist is None or play.event_length is None:
        return None
    return song_by_looks.get((play.event_song, play.event_artist, play.event_length))


# Records


def _read_songs(folder: Path) -> tuple[dict[str, Song], dict[str, Song]]:
    """Return the record that counts for each song, and the one that counts for each artist.

    The files come in ascending order, so a later record may simply replace an earlier one.
    """
    songs: dict[str, Song] = {}
    artists: dict[str, Song] = {}
    skipped = 0
    for path in _files(folder):
        for record in _records(path):
            try:
                song = _song(record)
            except RejectedError:
                skipped += 1
                continue
            songs[song.song_id] = song
            artists[song.artist_id] = song
    print(f"songs: {len(songs)}, artists: {len(artists)}, records skipped: {skipped}")
    return songs, artists


def _read_plays(folder: Path) -> tuple[dict[Key, Play], dict[int, User]]:
    """Return the distinct plays, and each user as of the latest."""
    plays: dict[Key, Play] = {}
    users: dict[int, tuple[Moment, User]] = {}
    other_pages = skipped = repeated = 0
    for path in _files(folder):
        for record in _records(path):
            try:
                if not _is_play(record):
                    other_pages += 1
                    continue
                key, play, user = _key(record), _play(record), _user(record)
            except RejectedError:
                skipped += 1
                continue
            repeated += key in plays
            plays[key] = min(play, plays.get(key, play), key=_rank)
            moment = _moment(key)
            known_moment, known = users.get(key.user_id, (moment, user))
            if moment == known_moment:
                users[key.user_id] = moment, min(user, known, key=_rank)
            elif moment > known_moment:
                users[key.user_id] = moment, user
    print(
        f"plays: {len(plays)}, plays repeated: {repeated},"
        f" events of other pages: {other_pages}, records skipped: {skipped}"
    )
    return plays, {user_id: user for user_id, (_, user) in users.items()}


def _rank(values: Play | User) -> tuple[tuple[bool, bytes], ...]:
    """Order by bytes: of UTF-8, of a double's bits; None comes last."""
    return tuple((value is None, _as_bytes(value)) for value in values)


def _as_bytes(value: str | float | None) -> bytes:
    if isinstance(value, float):
        return struct.pack(">d", value)
    return (value or "").encode()


def _song(record: dict[str, Any]) -> Song:
    year = None if record.get("year") in (None, "") else _integer(record, "year", 0, LARGEST_YEAR)
    return Song(
        song_id=_short_text(record, "song_id"),
        title=_text(record, "title"),
        artist_id=_short_text(record, "artist_id"),
        year=year or None,
        duration=_number(record, "duration"),
        artist_name=_text(record, "artist_name"),
        location=_optional_text(record, "artist_location") or None,
        latitude=_optional_number(record, "artist_latitude"),
        longitude=_optional_number(record, "artist_longitude"),
    )


def _is_play(record: dict[str, Any]) -> bool:
    return _text(record, "page") == "NextSong"


def _key(record: dict[str, Any]) -> Key:
    return Key(
        start_time=_time(record, "ts"),
        user_id=_integer(record, "userId"),
        session_id=_integer(record, "sessionId"),
        item_in_session=_integer(record, "itemInSession"),
    )


def _play(record: dict[str, Any]) -> Play:
    return Play(
        level=_filled_text(record, "level"),
        location=_optional_text(record, "location") or None,
        user_agent=_optional_text(record, "userAgent"),
        event_song=_optional_text(record, "song"),
        event_artist=_optional_text(record, "artist"),
        event_length=_optional_number(record, "length"),
    )


def _user(record: dict[str, Any]) -> User:
    return User(
        level=_filled_text(record, "level"),
        first_name=_optional_text(record, "firstName"),
        last_name=_optional_text(record, "lastName"),
        gender=_optional_text(record, "gender"),
    )


# Values


def _text(record: dict[str, Any], name: str) -> str:
    """Return a text that PostgreSQL can hold: no NUL, no half of a surrogate pair."""
    value = record.get(name)
    if not isinstance(value, str) or re.search("[\0\ud800-\udfff]", value):
        raise RejectedError(f"{name} is no text")
    return sys.intern(value)  # most texts come again and again


def _filled_text(record: dict[str, Any], name: str) -> str:
    value = _text(record, name)
    if not value:
        raise RejectedError(f"{name} is empty")
    return value


def _short_text(record: dict[str, Any], name: str) -> str:
    value = _filled_text(record, name)
    if len(value.encode()) > LONGEST_KEY:
        raise RejectedError(f"{name} is too long")
    return value


def _optional_text(record: dict[str, Any], name: str) -> str | None:
    return None if record.get(name) is None else _text(record, name)


def _integer(
    record: dict[str, Any],
    name: str,
    smallest: int = SMALLEST_BIGINT,
    largest: int = LARGEST_BIGINT,
) -> int:
    """Return a whole number, whether it was written 39, 39.0, 3.9e1, "39" or "39.0"."""
    value = record.get(name)
    if isinstance(value, str) and re.fullmatch(
        r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?", value
    ):
        value = Decimal(value)
    # Compared before it is made an integer: 1e999999 has a million digits.
    if isinstance(value, Decimal) and smallest <= value <= largest and value % 1 == 0:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not smallest <= value <= largest:
        raise RejectedError(f"{name} is no whole number that fits")
    return value


def _number(record: dict[str, Any], name: str) -> float:
    """Return a number that a double can hold."""
    value = record.get(name)
    if not isinstance(value, int | float | Decimal) or isinstance(value, bool):
        raise RejectedError(f"{name} is no number")
    try:
        number = float(value)
    except OverflowError as error:
        raise RejectedError(f"{name} is too large") from error
    if not math.isfinite(number):
        raise RejectedError(f"{name} is too large")
    return number


def _optional_number(record: dict[str, Any], name: str) -> float | None:
    return None if record.get(name) in (None, "") else _number(record, name)


def _time(record: dict[str, Any], name: str) -> dt.datetime:
    """Return the time that is so many milliseconds after 1970."""
    return EPOCH + dt.timedelta(milliseconds=_integer(record, name, *MILLISECONDS))


# Files


def _files(folder: Path) -> list[Path]:
    """List the `*.json` files below `folder` in the order of their relative paths as bytes."""
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(parent, name)
            visible = name.endswith(".json") and not name.startswith(".")
            if visible and path.is_file() and not path.is_symlink():
                found.append(path)
    return sorted(found, key=lambda path: os.fsencode(path.relative_to(folder)))


def _records(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a file; what is no JSON object comes as an empty record."""
    content = path.read_bytes().removeprefix(BYTE_ORDER_MARK)
    whole = _parse(content)
    if isinstance(whole, list):
        values: Iterable[Any] = whole
    elif whole is not None:
        values = [whole]
    else:
        values = (_parse(line) for line in content.split(b"\n") if line.strip())
    for value in values:
        yield value if isinstance(value, dict) else {}


def _parse(content: bytes) -> Any:  # noqa: ANN401 - JSON may hold anything
    """Return what the JSON says, or None if it is none."""
    try:
        return json.loads(
            content.decode(),
            object_pairs_hook=_first_of_each,
            parse_float=Decimal,
            parse_constant=_refuse,
        )
    except (ValueError, RecursionError):
        return None


def _first_of_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(reversed(pairs))


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def main() -> None:
    """Read the command line, load, tell how long it took."""
    parser = argparse.ArgumentParser(description="Load a star one INSERT at a time.")
    parser.add_argument("data", type=Path, help="folder with song_data and log_data")
    parser.add_argument("--dsn", required=True, help="libpq connection string or URL")
    parser.add_argument("--schema", default="sparkify_rows", help="schema to drop and make anew")
    parser.add_argument("--autocommit", action="store_true", help="commit each row by itself")
    arguments = parser.parse_args()
    began = time.perf_counter()
    with psycopg.connect(arguments.dsn, autocommit=arguments.autocommit) as conn:
        load(conn, arguments.data, arguments.schema)
    print(f"{time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main()

"""The classic ETL: file by file and row by row, each row an INSERT, each songplay a SELECT before.

As exercises of this kind do it, but for three things without which the star would be wrong: files
are taken in the order of their names, events in the order of time, and of two descriptions the
later one counts. And with an index, and with keys from the start, as its ON CONFLICT needs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from _rows import artist_row, moment, plays, song_row, songplay_row, songs, time_row, user_row
from _star import constrain, make

if TYPE_CHECKING:
    from typing import LiteralString

ARTIST: LiteralString = """
    INSERT INTO artists (artist_id, name, location, latitude, longitude)
    VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT (artist_id) DO UPDATE SET name = excluded.name, location = excluded.location,
        latitude = excluded.latitude, longitude = excluded.longitude
"""
SONG: LiteralString = """
    INSERT INTO songs (song_id, title, artist_id, year, duration, credited_artist)
    VALUES (%s, %s, %s, %s, %s, %s)
    ON CONFLICT (song_id) DO UPDATE SET title = excluded.title, artist_id = excluded.artist_id,
        year = excluded.year, duration = excluded.duration,
        credited_artist = excluded.credited_artist
"""
TIME: LiteralString = """
    INSERT INTO time (start_time, hour, day, week, month, year, weekday)
    VALUES (%s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT DO NOTHING
"""
USER: LiteralString = """
    INSERT INTO users (user_id, first_name, last_name, gender, level)
    VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT (user_id) DO UPDATE SET first_name = excluded.first_name,
        last_name = excluded.last_name, gender = excluded.gender, level = excluded.level
"""
FIND: LiteralString = """
    SELECT song_id, artist_id FROM songs
    WHERE title = %s AND credited_artist = %s AND duration = %s
    ORDER BY song_id LIMIT 1
"""
SONGPLAY: LiteralString = """
    INSERT INTO songplays (start_time, user_id, level, song_id, artist_id, session_id, location,
        user_agent, item_in_session, event_song, event_artist, event_length)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT DO NOTHING
"""


def load(*, autocommit: bool) -> None:
    """Do what the command line asks for, each row its own transaction, or all in one."""
    dsn, schema, data = sys.argv[1:]
    with psycopg.connect(dsn, autocommit=autocommit) as connection:
        make(connection, schema)
        constrain(connection)
        with connection.cursor() as cursor:
            _load_songs(cursor, Path(data))
            _load_plays(cursor, Path(data))


def _load_songs(cursor: psycopg.Cursor[Any], data: Path) -> None:
    for song in songs(data):
        cursor.execute(ARTIST, artist_row(song))
        cursor.execute(SONG, (*song_row(song), song["artist_name"]))


def _load_plays(cursor: psycopg.Cursor[Any], data: Path) -> None:
    for play in sorted(plays(data), key=lambda p: (p["ts"], p["sessionId"], p["itemInSession"])):
        start = moment(play)
        cursor.execute(TIME, time_row(start))
        cursor.execute(USER, user_row(play))
        cursor.execute(FIND, (play["song"], play["artist"], play["length"]))
        song = cursor.fetchone() or (None, None)
        cursor.execute(SONGPLAY, songplay_row(play, start, song))

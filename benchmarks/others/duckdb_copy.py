"""Load the star by DuckDB: it reads, joins and writes CSV; psycopg streams that into COPY.

    python benchmarks/others/duckdb_copy.py DSN SCHEMA DATA

All five tables are made inside DuckDB, where sorting and joining are quick, and PostgreSQL only
takes them: no staging. DuckDB's own postgres extension has to be downloaded when first used, so
this script does without. What makes it fast: the columns' types are named, so nothing is sniffed;
`maximum_object_size` is small, since DuckDB reserves a buffer of twice that a file; songplays go
out in one file a thread, each into a COPY of its own; keys come last.
"""

# ruff: noqa: S608 - the queries are put together from this file's own text

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import _star
import duckdb
from psycopg import sql

SONG = """{'song_id': 'VARCHAR', 'title': 'VARCHAR', 'artist_id': 'VARCHAR', 'year': 'INTEGER',
    'duration': 'DOUBLE', 'artist_name': 'VARCHAR', 'artist_location': 'VARCHAR',
    'artist_latitude': 'DOUBLE', 'artist_longitude': 'DOUBLE'}"""
EVENT = """{'page': 'VARCHAR', 'ts': 'BIGINT', 'userId': 'VARCHAR', 'level': 'VARCHAR',
    'sessionId': 'BIGINT', 'location': 'VARCHAR', 'userAgent': 'VARCHAR',
    'itemInSession': 'BIGINT', 'song': 'VARCHAR', 'artist': 'VARCHAR', 'length': 'DOUBLE',
    'firstName': 'VARCHAR', 'lastName': 'VARCHAR', 'gender': 'VARCHAR'}"""
READ = """read_json($folder || '/**/*.json', columns = {columns}, format = 'newline_delimited',
    maximum_object_size = 65536{more})"""
RAW = {
    "song_lines": f"SELECT * FROM {READ.format(columns=SONG, more=', filename = true')}",
    "plays": f"""
        SELECT
            make_timestamp(ts * 1000) AS start_time, "userId"::BIGINT AS user_id, level,
            "sessionId" AS session_id, nullif(location, '') AS location,
            "userAgent" AS user_agent, "itemInSession" AS item_in_session, song AS event_song,
            artist AS event_artist, length AS event_length, "firstName" AS first_name,
            "lastName" AS last_name, gender
        FROM {READ.format(columns=EVENT, more="")}
        WHERE page = 'NextSong'
    """,
    "last_songs": """
        SELECT DISTINCT ON (song_id) * FROM song_lines ORDER BY song_id, filename DESC
    """,
}
STAR = {
    "artists": """
        SELECT DISTINCT ON (artist_id)
            artist_id, artist_name, nullif(artist_location, ''), artist_latitude, artist_longitude
        FROM song_lines
        ORDER BY artist_id, filename DESC
    """,
    "songs": "SELECT song_id, title, artist_id, nullif(year, 0), duration FROM last_songs",
    "users": """
        SELECT DISTINCT ON (user_id) user_id, first_name, last_name, gender, level
        FROM plays
        ORDER BY user_id, start_time DESC, session_id DESC, item_in_session DESC
    """,
    "time": """
        SELECT
            start_time || '+00', hour(start_time), day(start_time), weekofyear(start_time),
            month(start_time), year(start_time), isodow(start_time) - 1
        FROM (SELECT DISTINCT start_time FROM plays)
        ORDER BY start_time
    """,
    "songplays": """
        SELECT
            start_time || '+00', user_id, level, song_id, artist_id, session_id, location,
            user_agent, item_in_session, event_song, event_artist, event_length
        FROM (
            SELECT DISTINCT ON (start_time, user_id, session_id, item_in_session) * FROM plays
        )
        LEFT JOIN (
            SELECT DISTINCT ON (title, artist_name, duration)
                title AS event_song, artist_name AS event_artist, duration AS event_length,
                song_id, artist_id
            FROM last_songs
            ORDER BY title, artist_name, duration, song_id
        ) USING (event_song, event_artist, event_length)
    """,
}
"""In the order of the tables' columns."""
PLAYS = """start_time, user_id, level, song_id, artist_id, session_id, location, user_agent,
    item_in_session, event_song, event_artist, event_length"""
BLOCK = 2**20


def main(dsn: str, schema: str, data: str) -> None:
    """Read, make the tables, send them, build keys."""
    _star.begin(dsn, schema)
    with tempfile.TemporaryDirectory() as scratch, duckdb.connect() as duck:
        duck.execute("SET preserve_insertion_order = false")
        for table, query in RAW.items():
            folder = Path(data, "song_data" if "song" in table else "log_data")
            given = {"folder": str(folder)} if "$folder" in query else None
            duck.execute(f"CREATE TEMP TABLE {table} AS {query}", given)
        for table, query in STAR.items():
            split = table == "songplays"
            options = f"FORMAT csv, HEADER false, PER_THREAD_OUTPUT {split}"
            duck.execute(f"COPY ({query}) TO '{Path(scratch, table)}' ({options})")
        duck.close()

        def send(table: str, file: Path) -> None:
            columns = f"({PLAYS})" if table == "songplays" else ""
            statement = sql.SQL("COPY {} {} FROM STDIN (FORMAT csv)").format(
                sql.Identifier(table), sql.SQL(columns)
            )
            with (
                _star.session(dsn, schema) as connection,
                connection.cursor() as cursor,
                cursor.copy(statement) as stream,
                file.open("rb") as source,
            ):
                while block := source.read(BLOCK):
                    stream.write(block)

        def send_dimensions() -> None:
            for table in STAR:
                if table != "songplays":
                    send(table, Path(scratch, table))

        parts = sorted(Path(scratch, "songplays").iterdir())
        _star.together(
            send_dimensions,
            *(lambda part=part: send("songplays", part) for part in parts),
        )
    _star.finish(dsn, schema, ["keys_dimensions.sql"], ["keys_songplays.sql"])


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Load the star by dlt: Arrow tables to parquet to ADBC, then SQL.

    python benchmarks/others/dlt_arrow.py DSN SCHEMA DATA

dlt lands two tables in a schema of its own, SQL makes the star of them. What makes it fast: pages
of Arrow instead of dictionaries, which dlt passes through; parquet, which it ingests by ADBC; files
of 100,000 rows, so that several are loaded at once. pyarrow reads the JSON with all types named,
song files by the thousand in one buffer.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import _star
import dlt
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterator

SETTINGS = {
    "DATA_WRITER__BUFFER_MAX_ITEMS": "100000",
    "DATA_WRITER__FILE_MAX_ITEMS": "100000",
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "ERROR",
}
SONG = {
    "song_id": pa.string(),
    "title": pa.string(),
    "artist_id": pa.string(),
    "year": pa.int32(),
    "duration": pa.float64(),
    "artist_name": pa.string(),
    "artist_location": pa.string(),
    "artist_latitude": pa.float64(),
    "artist_longitude": pa.float64(),
}
EVENT = {
    "ts": pa.int64(),
    "userId": pa.string(),
    "level": pa.string(),
    "sessionId": pa.int64(),
    "location": pa.string(),
    "userAgent": pa.string(),
    "itemInSession": pa.int64(),
    "song": pa.string(),
    "artist": pa.string(),
    "length": pa.float64(),
    "firstName": pa.string(),
    "lastName": pa.string(),
    "gender": pa.string(),
    "page": pa.string(),
}
SONG_NAMES = ["location", "latitude", "longitude"]
PLAY_NAMES = [
    *("start_time", "user_id", "level", "session_id", "location", "user_agent"),
    *("item_in_session", "event_song", "event_artist", "event_length"),
    *("first_name", "last_name", "gender"),
]
PLAY_TYPES = {"start_time": pa.timestamp("ms", "UTC"), "user_id": pa.int64()}
FILES_PER_PAGE = 10_000


def files(folder: Path) -> list[Path]:
    """List the files in the order of their paths' bytes."""
    return sorted(folder.rglob("*.json"), key=os.fsencode)


def parse(text: bytes, columns: dict[str, pa.DataType]) -> pa.Table:
    """Read lines of JSON."""
    options = pj.ParseOptions(pa.schema(columns.items()), unexpected_field_behavior="ignore")
    return pj.read_json(io.BytesIO(text), pj.ReadOptions(block_size=2**24), options)


def songs(folder: Path) -> Iterator[pa.Table]:
    """Yield pages of songs, numbered in the order of their files."""
    paths = files(folder)
    for start in range(0, len(paths), FILES_PER_PAGE):
        page = paths[start : start + FILES_PER_PAGE]
        read = parse(b"\n".join(path.read_bytes() for path in page), SONG)
        numbers = pa.array(range(start, start + read.num_rows), pa.int64())
        named = read.rename_columns([*list(SONG)[:6], *SONG_NAMES]).append_column("n", numbers)
        yield filled(filled(named, "location", ""), "year", 0)


def plays(folder: Path) -> Iterator[pa.Table]:
    """Yield a page of songplays for each file."""
    for path in files(folder):
        read = parse(path.read_bytes(), EVENT)
        kept = read.filter(pc.equal(read["page"], "NextSong")).drop_columns("page")
        named = kept.rename_columns(PLAY_NAMES)
        for name, kind in PLAY_TYPES.items():
            place = named.column_names.index(name)
            named = named.set_column(place, name, named[name].cast(kind))
        yield filled(named, "location", "")


def filled(table: pa.Table, name: str, unknown: str | int) -> pa.Table:
    """Turn the value that means unknown into null."""
    column = table[name]
    known = pc.if_else(pc.equal(column, unknown), pa.scalar(None, column.type), column)
    return table.set_column(table.column_names.index(name), name, known)


def as_url(dsn: str) -> str:
    """Spell the connection as a URL with host and password, which dlt insists on."""
    with psycopg.connect(dsn) as connection:
        given = connection.info.get_parameters()
        password = connection.info.password or "unused"
    login = f"{quote(given.pop('user'), safe='')}:{quote(password, safe='')}"
    database = quote(given.pop("dbname"), safe="")
    return f"postgresql://{login}@localhost/{database}?{urlencode(given)}"


def land(dsn: str, schema: str, data: Path, scratch: str) -> str:
    """Load both tables by dlt; return the schema they are in."""
    pipeline = dlt.pipeline(
        "dlt_arrow",
        pipelines_dir=scratch,
        destination=dlt.destinations.postgres(as_url(dsn)),
        dataset_name=f"{schema}_staging",
    )
    pipeline.run(
        [
            dlt.resource(songs(data / "song_data"), name="staged_songs"),
            dlt.resource(plays(data / "log_data"), name="staged_plays"),
        ],
        write_disposition="replace",
        loader_file_format="parquet",
    )
    with pipeline.sql_client() as client:
        return client.dataset_name


def main(dsn: str, schema: str, data: str) -> None:
    """Land, merge, build keys."""
    os.environ |= SETTINGS
    _star.begin(dsn, schema)
    with tempfile.TemporaryDirectory() as scratch:
        staging = land(dsn, schema, Path(data), scratch)
    both = map(sql.Identifier, (schema, staging))
    path = sql.SQL("SET search_path = {}").format(sql.SQL(", ").join(both)).as_string()
    _star.together(
        lambda: _star.run(dsn, schema, path, "songs.sql", "plays.sql"),
        lambda: _star.run(dsn, schema, path, "players.sql"),
    )
    _star.finish(dsn, schema, ["keys_songplays.sql"])
    with _star.session(dsn, schema) as connection:
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(staging)))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Load the star by Polars and ADBC: scan, join and sort in Polars, ingest Arrow into the tables.

    python benchmarks/others/polars_adbc.py DSN SCHEMA DATA

All five tables are made in Polars' lazy frames and collected at once, so that what they share is
done once; PostgreSQL only takes them. What makes it fast: the schema names the needed columns only,
so nothing is inferred; ADBC's ingest is a binary COPY from Arrow; two sessions ingest at once; keys
come last.
"""

from __future__ import annotations

import sys
from pathlib import Path

import _star
import polars as pl
from adbc_driver_postgresql import dbapi

SONG = {
    "song_id": pl.String,
    "title": pl.String,
    "artist_id": pl.String,
    "year": pl.Int32,
    "duration": pl.Float64,
    "artist_name": pl.String,
    "artist_location": pl.String,
    "artist_latitude": pl.Float64,
    "artist_longitude": pl.Float64,
}
EVENT = {
    "page": pl.String,
    "ts": pl.Int64,
    "userId": pl.String,
    "level": pl.String,
    "sessionId": pl.Int64,
    "location": pl.String,
    "userAgent": pl.String,
    "itemInSession": pl.Int64,
    "song": pl.String,
    "artist": pl.String,
    "length": pl.Float64,
    "firstName": pl.String,
    "lastName": pl.String,
    "gender": pl.String,
}
KEY = ["start_time", "user_id", "session_id", "item_in_session"]
WORDS = ["event_song", "event_artist", "event_length"]
CREDIT = ["title", "artist_name", "duration"]


def star(data: Path) -> dict[str, pl.DataFrame]:
    """Return the five tables."""
    songs = pl.scan_ndjson(data / "song_data/**/*.json", schema=SONG, include_file_paths="path")
    songs = songs.sort("path")
    last_songs = songs.unique("song_id", keep="last")
    credited = last_songs.sort("song_id").unique(CREDIT, keep="first", maintain_order=True)
    plays = (
        pl.scan_ndjson(data / "log_data/**/*.json", schema=EVENT)
        .filter(pl.col("page") == "NextSong")
        .select(
            pl.from_epoch("ts", "ms")
            .dt.cast_time_unit("us")
            .dt.replace_time_zone("UTC")
            .alias("start_time"),
            pl.col("userId").cast(pl.Int64).alias("user_id"),
            "level",
            pl.col("sessionId").alias("session_id"),
            _filled("location"),
            pl.col("userAgent").alias("user_agent"),
            pl.col("itemInSession").alias("item_in_session"),
            pl.col("song").alias("event_song"),
            pl.col("artist").alias("event_artist"),
            pl.col("length").alias("event_length"),
            pl.col("firstName").alias("first_name"),
            pl.col("lastName").alias("last_name"),
            "gender",
        )
        .unique(KEY)
    )
    start = pl.col("start_time")
    tables = {
        "artists": songs.unique("artist_id", keep="last").select(
            "artist_id",
            pl.col("artist_name").alias("name"),
            _filled("artist_location").alias("location"),
            pl.col("artist_latitude").alias("latitude"),
            pl.col("artist_longitude").alias("longitude"),
        ),
        "songs": last_songs.select(
            "song_id",
            "title",
            "artist_id",
            pl.when(pl.col("year") != 0).then("year"),
            "duration",
        ),
        "users": plays.sort("start_time", "session_id", "item_in_session")
        .unique("user_id", keep="last")
        .select("user_id", "first_name", "last_name", "gender", "level"),
        "time": plays.select(start.unique().sort()).with_columns(
            start.dt.hour().cast(pl.Int16).alias("hour"),
            start.dt.day().cast(pl.Int16).alias("day"),
            start.dt.week().cast(pl.Int16).alias("week"),
            start.dt.month().cast(pl.Int16).alias("month"),
            start.dt.year().cast(pl.Int16).alias("year"),
            (start.dt.weekday() - 1).cast(pl.Int16).alias("weekday"),
        ),
        "songplays": plays.drop("first_name", "last_name", "gender").join(
            credited.select(*CREDIT, "song_id", "artist_id"),
            left_on=WORDS,
            right_on=CREDIT,
            how="left",
        ),
    }
    return dict(zip(tables, pl.collect_all(tables.values()), strict=True))


def _filled(column: str) -> pl.Expr:
    return pl.when(pl.col(column) != "").then(column)


def main(dsn: str, schema: str, data: str) -> None:
    """Make the tables, ingest them in two sessions, build keys."""
    _star.begin(dsn, schema)
    tables = star(Path(data))
    plays = tables.pop("songplays")
    half = plays.height // 2

    def ingest(**frames: pl.DataFrame) -> None:
        with dbapi.connect(dsn) as connection, connection.cursor() as cursor:
            for table, frame in frames.items():
                cursor.adbc_ingest(table, frame, mode="append", db_schema_name=schema)
            connection.commit()

    _star.together(
        lambda: ingest(songplays=plays[:half]),
        lambda: ingest(songplays=plays[half:], **tables),
    )
    _star.finish(dsn, schema, ["keys_dimensions.sql"], ["keys_songplays.sql"])


if __name__ == "__main__":
    main(*sys.argv[1:])

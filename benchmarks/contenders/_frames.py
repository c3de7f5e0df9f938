"""Read a tree into frames: Polars, for contenders that hand over whole tables.

Takes good records only, one a line, in plain `*.json` files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from _rows import files

if TYPE_CHECKING:
    from pathlib import Path

SONG = {
    "song_id": pl.String, "title": pl.String, "artist_id": pl.String, "artist_name": pl.String,
    "artist_location": pl.String, "artist_latitude": pl.Float64, "artist_longitude": pl.Float64,
    "year": pl.Int32, "duration": pl.Float64,
}  # fmt: skip
EVENT = {
    "page": pl.String, "ts": pl.Int64, "userId": pl.String, "sessionId": pl.Int64,
    "itemInSession": pl.Int64, "level": pl.String, "firstName": pl.String, "lastName": pl.String,
    "gender": pl.String, "location": pl.String, "userAgent": pl.String, "song": pl.String,
    "artist": pl.String, "length": pl.Float64,
}  # fmt: skip
START = pl.col("start_time")


def read(data: Path) -> dict[str, pl.DataFrame]:
    """Return the finished rows of each table, in the types of its columns."""
    songs = pl.read_ndjson(_lines(data / "song_data"), schema=SONG)
    described = songs.unique("song_id", keep="last", maintain_order=True)
    plays = _plays(data, described)
    last = plays.sort("start_time", "session_id", "item_in_session")
    return {
        "artists": songs.unique("artist_id", keep="last").select(
            "artist_id",
            name="artist_name",
            location=_filled("artist_location"),
            latitude="artist_latitude",
            longitude="artist_longitude",
        ),
        "songs": described.select(
            "song_id", "title", "artist_id", pl.col("year").replace(0, None), "duration"
        ),
        "users": last.unique("user_id", keep="last", maintain_order=True).select(
            "user_id", first_name="firstName", last_name="lastName", gender="gender", level="level"
        ),
        "time": plays.select(START.unique()).select(
            "start_time",
            hour=START.dt.hour().cast(pl.Int16),
            day=START.dt.day().cast(pl.Int16),
            week=START.dt.week().cast(pl.Int16),
            month=START.dt.month().cast(pl.Int16),
            year=START.dt.year().cast(pl.Int16),
            weekday=(START.dt.weekday() - 1).cast(pl.Int16),
        ),
        "songplays": plays.select(
            "start_time", "user_id", "level", "song_id", "artist_id", "session_id", "location",
            "user_agent", "item_in_session", "event_song", "event_artist", "event_length",
        ),
    }  # fmt: skip


def _plays(data: Path, songs: pl.DataFrame) -> pl.DataFrame:
    looks = ("event_song", "event_artist", "event_length")
    matches = (
        songs.sort("song_id")
        .select(
            "song_id",
            "artist_id",
            event_song="title",
            event_artist="artist_name",
            event_length="duration",
        )
        .unique(looks, keep="first", maintain_order=True)
    )
    return (
        pl.read_ndjson(_lines(data / "log_data"), schema=EVENT)
        .filter(pl.col("page") == "NextSong")
        .with_columns(
            start_time=pl.from_epoch("ts", time_unit="ms")
            .dt.cast_time_unit("us")
            .dt.replace_time_zone("UTC"),
            user_id=pl.col("userId").cast(pl.Int64),
            session_id="sessionId",
            item_in_session="itemInSession",
            location=_filled("location"),
            user_agent="userAgent",
            event_song="song",
            event_artist="artist",
            event_length="length",
        )
        .unique(("start_time", "user_id", "session_id", "item_in_session"))
        .join(matches, on=looks, how="left")
    )


def _filled(name: str) -> pl.Expr:
    return pl.col(name).replace("", None)


def _lines(folder: Path) -> bytes:
    return b"\n".join(path.read_bytes().rstrip() for path in files(folder))

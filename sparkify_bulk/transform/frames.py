"""Typed frames to the frames that are sent: one for each staging table, and for a new star."""

import polars as pl

from sparkify_bulk import tables
from sparkify_bulk.transform.fields import EVENT, SONG, SONGS, STORED, Field

# The lower part of a play's key: with a moment up to LATEST_MS above, 64 bits are full.
KEY_BITS = 22
# By these the latest of a user's plays is told.
_ORDER = ("ts", "session_id", "item_in_session")


def stage_songs(songs: pl.DataFrame, files: list[str]) -> pl.DataFrame:
    """Return the frame of `staged_songs`, each row with the file that described it.

    Args:
        songs: typed frame of songs.
        files: the names that the column `file` points to, relative to the song folder.
    """
    sources = pl.Series(files, dtype=pl.String)
    return songs.select(
        *(_stored(field) for field in SONG if field.column),
        pl.lit(sources).gather(pl.col("file")).alias("source_file"),
        "source_offset",
    )


def stage_events(plays: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Return the frames of `staged_songplays`, `staged_users` and `staged_time`.

    Users are reduced to their latest play here and moments to one row each: most of the merge's
    work on them is done before anything is sent. Of plays that share a natural key all are kept, so
    that the merge, which sees them all, decides.

    Args:
        plays: typed frame of plays.
    """
    return {
        "staged_songplays": songplays_frame(plays),
        "staged_users": users_frame(latest_of_each_user(plays)),
        "staged_time": moments_frame(plays["ts"].unique().sort()),
    }


def songplays_frame(plays: pl.DataFrame) -> pl.DataFrame:
    """Return the frame of `staged_songplays`.

    Args:
        plays: typed frame of plays.
    """
    start_time = _timestamp("ts").alias("start_time")
    return plays.select(start_time, *map(_stored, _fields_of(tables.SONGPLAYS)))


def name_songs(songplays: pl.DataFrame, credits_: pl.DataFrame) -> pl.DataFrame:
    """Add the `song_id` and `artist_id` that plays name.

    Args:
        songplays: frame of `staged_songplays`.
        credits_: `song_id` and `artist_id` by `title`, `artist_name` and `duration`, each once.
    """
    # Few songs last as long as any of these plays: the join is half the work without the others.
    durations = songplays["event_length"].unique().implode()
    return songplays.join(
        credits_.filter(pl.col("duration").is_in(durations)),
        how="left",
        left_on=["event_length", "event_song", "event_artist"],
        right_on=["duration", "title", "artist_name"],
        maintain_order="left",
    )


CREDITS = {
    name: SONGS[name]
    for name in (
        "title", "artist_name", "duration", "song_id", "artist_id", "file", "source_offset"
    )
}  # fmt: skip


def credits_of(songs: pl.DataFrame) -> pl.DataFrame:
    """Return what plays must equal to name the songs of a frame, and where each was described.

    Args:
        songs: typed frame of songs.
    """
    return songs.select(*CREDITS)


def play_keys(plays: pl.DataFrame) -> pl.Series:
    """Return a number for each play, its moment above `KEY_BITS` bits of hash.

    Plays of equal natural keys have equal numbers.

    Args:
        plays: typed frame of plays.
    """
    parts = (
        pl.col("user_id").hash(0),
        pl.col("session_id").hash(1),
        pl.col("item_in_session").hash(2),
    )
    rest = (parts[0] ^ parts[1] ^ parts[2]) % 2**KEY_BITS
    return plays.select(pl.col("ts").cast(pl.UInt64) * 2**KEY_BITS + rest).to_series()


def latest_of_each_user(plays: pl.DataFrame) -> pl.DataFrame:
    """Keep what the latest play of each user says of the user; all, where several are the latest.

    Args:
        plays: typed frame of plays, or what this returned of some.
    """
    latest = plays.select(*(field.column for field in _fields_of(tables.USERS)), *_ORDER)
    for part in _ORDER:
        latest = latest.filter(pl.col(part) == pl.col(part).max().over("user_id"))
    return latest.unique()


def users_frame(latest: pl.DataFrame) -> pl.DataFrame:
    """Return the frame of `staged_users`.

    Args:
        latest: from `latest_of_each_user`.
    """
    start_time = _timestamp("ts").alias("start_time")
    _, *rest = _ORDER
    return latest.select(*map(_stored, _fields_of(tables.USERS)), start_time, *rest)


def moments_frame(moments: pl.Series) -> pl.DataFrame:
    """Return the frame of `staged_time`: the parts of moments in UTC.

    Args:
        moments: milliseconds since 1970.
    """
    moment = pl.col("start_time").dt
    return (
        moments.to_frame("ts")
        .select(_timestamp("ts").alias("start_time"))
        .select(
            "start_time",
            moment.hour().cast(pl.Int16).alias("hour"),
            moment.day().cast(pl.Int16).alias("day"),
            moment.week().cast(pl.Int16).alias("week"),
            moment.month().cast(pl.Int16).alias("month"),
            moment.year().cast(pl.Int16).alias("year"),
            (moment.weekday() - 1).cast(pl.Int16).alias("weekday"),
        )
    )


def _timestamp(name: str) -> pl.Expr:
    milliseconds = pl.col(name).cast(pl.Int64)
    return (milliseconds * 1000).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _fields_of(table: tables.Table) -> list[Field]:
    """Return the fields of an event that are columns of a table."""
    columns = {column.name for column in table.columns}
    return [field for field in EVENT if field.column in columns]


def _stored(field: Field) -> pl.Expr:
    """Return a field's column in the type that the table has."""
    column, stored = pl.col(field.column or ""), STORED[field.type]
    return column if stored == field.typed else column.cast(stored)

"""What a reload gathers in memory while it stages: songs, users, and the keys of plays.

Batches are reduced by their workers; here they come together, so that the server is sent each user
and each moment once, and knows where plays may stand twice. All of it is bounded: what exceeds a
bound goes to the server early, and SQL does the rest.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import xor

import polars as pl

from sparkify_bulk.transform.frames import CREDITS, KEY_BITS, latest_of_each_user, users_frame

# What plays may name: `song_id` and `artist_id` by `title`, `artist_name` and `duration`.
Credits = pl.DataFrame
# Rows of `staged_users`, and moments for rows of `time`, ready to be sent.
UserRows = pl.DataFrame
Moments = pl.Series

# More songs than this aren't held in memory (about 200 bytes each, 500 at the peak): then SQL
# matches the plays.
CREDITS_KEPT = 2_000_000
# 8 bytes a play, and three times as much again while they are sorted.
KEYS_KEPT = 2_000_000
USERS_KEPT = 500_000
_DOUBTFUL_MOMENTS = 100_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Songs:
    """How the songs that were staged are credited."""

    _frames: list[pl.DataFrame] = field(default_factory=list)
    _places: list[tuple[bytes, int]] = field(default_factory=list)
    _rows: int = 0

    def add(self, frame: pl.DataFrame, place: tuple[bytes, int]) -> None:
        """Take the credits of a batch, and its place among all."""
        self._rows += frame.height
        if self._rows > CREDITS_KEPT:
            self._frames.clear()
        else:
            batch = pl.lit(len(self._places), pl.UInt32).alias("batch")
            self._frames.append(frame.with_columns(batch))
            self._places.append(place)

    def credits(self) -> Credits | None:
        """Return what plays may name; None if songs are too many to be held here.

        Of several songs with one title, artist and duration the smallest `song_id` is named.
        PostgreSQL holds -0.0 equal to 0.0; so does a join of floats.
        """
        if self._rows > CREDITS_KEPT:
            return None
        songs = pl.concat([pl.DataFrame(schema=CREDITS | {"batch": pl.UInt32}), *self._frames])
        self._frames = []
        songs = _reduce(songs, ["song_id"], self._last_descriptions)
        songs = songs.drop("file", "source_offset", "batch")
        return _reduce(songs, ["title", "artist_name", "duration"], _smallest)

    def _last_descriptions(self, songs: pl.DataFrame) -> pl.DataFrame:
        """Keep the record of each song that has the greatest path, and place there."""
        order = sorted(range(len(self._places)), key=self._places.__getitem__)
        ranks = pl.DataFrame(
            {"batch": order, "rank": range(len(order))},
            schema={"batch": pl.UInt32, "rank": pl.UInt32},
        )
        ranked = songs.join(ranks, on="batch").sort("rank", "file", "source_offset")
        return ranked.unique("song_id", keep="last").drop("rank")


def _smallest(songs: pl.DataFrame) -> pl.DataFrame:
    """Keep the song with the smallest `song_id` of those that are credited alike."""
    return songs.sort("song_id").unique(["title", "artist_name", "duration"], keep="first")


def _reduce(
    songs: pl.DataFrame, key: list[str], choose: Callable[[pl.DataFrame], pl.DataFrame]
) -> pl.DataFrame:
    """Choose among songs whose keys have equal hashes; the others, nearly all, stay as they are.

    To sort them all would take four times as much memory as they do.
    """
    # PostgreSQL holds -0.0 equal to 0.0, as `unique` does, but a hash of its bytes might not.
    parts = (pl.col(name) + 0.0 if name == "duration" else pl.col(name) for name in key)
    hashes = (part.hash(seed) for seed, part in enumerate(parts))
    alike = songs.select(reduce(xor, hashes)).to_series().is_duplicated()
    if not alike.any():
        return songs
    return pl.concat([songs.filter(~alike), choose(songs.filter(alike))])


@dataclass(slots=True)
class Users:
    """Each user as of the latest play: rows of `staged_users`."""

    _frames: list[pl.DataFrame] = field(default_factory=list)
    _rows: int = 0

    def add(self, frame: pl.DataFrame) -> UserRows | None:
        """Take a batch's users; return what must be sent now, as it is getting too much."""
        self._frames.append(frame)
        self._rows += frame.height
        if self._rows <= USERS_KEPT:
            return None
        self._frames = [latest_of_each_user(pl.concat(self._frames))]
        self._rows = self._frames[0].height
        # Half full of different users, it would be reduced again and again.
        return self.take() if self._rows > USERS_KEPT // 2 else None

    def take(self) -> UserRows | None:
        """Return what is left to be sent, and forget it."""
        if not self._frames:
            return None
        latest = latest_of_each_user(pl.concat(self._frames))
        self._frames, self._rows = [], 0
        return users_frame(latest)


@dataclass(frozen=True, slots=True)
class Doubtful:
    """Where rows of a new star may stand twice: at some moments, and in some spans of time.

    Spans are pairs of moments, each end within. Both are the parameters of `fill/duplicates`.
    """

    moments: list[datetime]
    spans: list[tuple[datetime, datetime]]

    def __bool__(self) -> bool:
        """Tell whether there is anything to look at."""
        return bool(self.moments or self.spans)


@dataclass(slots=True)
class Plays:
    """The keys of the plays sent: which moments there are, and where plays may stand twice.

    A key is a play's moment in its upper bits, and below a hash of the rest of its natural key:
    plays of equal natural keys have equal keys, and few others have.
    """

    _keys: list[pl.Series] = field(default_factory=list)
    _kept: int = 0
    _moments: list[int] = field(default_factory=list)
    _spans: list[tuple[int, int]] = field(default_factory=list)

    def add(self, keys: pl.Series) -> Moments | None:
        """Take a batch's keys; return moments that must be sent now, as it is getting too much."""
        self._keys.append(keys)
        self._kept += len(keys)
        return self.take() if self._kept > KEYS_KEPT else None

    def take(self) -> Moments | None:
        """Return the moments that are left to be sent, each once and in order; forget the keys.

        Milliseconds since 1970.
        """
        if not self._kept:
            return None
        keys = pl.concat(self._keys).sort()
        self._keys, self._kept = [], 0
        moments = keys // 2**KEY_BITS
        self._moments += moments.filter(keys == keys.shift(1)).unique().to_list()
        self._spans.append((moments[0], moments[-1]))
        begins: pl.Series = (moments != moments.shift(1)).fill_null(value=True)
        unique: pl.Series = moments.filter(begins)
        return unique

    def doubtful(self) -> Doubtful:
        """Say where plays may stand twice; what was taken at different times is compared by spans.

        A span that two takes share is doubtful as a whole, for plays and for moments.
        """
        spans: list[tuple[int, int]] = []
        end = -1
        for first, last in sorted(self._spans):
            if first <= end:
                spans.append((first, min(last, end)))
            end = max(end, last)
        moments = self._moments
        if len(moments) > _DOUBTFUL_MOMENTS:
            spans, moments = [(min(moments), max(moments)), *spans], []
        return Doubtful(
            [_moment(moment) for moment in moments],
            [(_moment(first), _moment(last)) for first, last in spans],
        )


def _moment(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)

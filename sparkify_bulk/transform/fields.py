"""Each field of an input record, declared once: what is read, what it must be, where it goes.

Derived from it are the schemas that Polars parses by, the checks of both paths, the typed frames
and the frames that are staged. `docs/rules.md` says the same to users.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import polars as pl

# Plays before 1990 or after 2100 are absurd: mostly, seconds or microseconds are taken for
# milliseconds. Far beyond, arithmetic on them wraps without a word.
EARLIEST_MS = 631_152_000_000
LATEST_MS = 4_102_444_800_000
# What a time may be instead, and how many of these are a millisecond.
_OTHER_UNITS = (("seconds", 0.001), ("microseconds", 1000), ("nanoseconds", 10**6))
# An index entry holds about 2,700 bytes; real identifiers have 18.
MAX_KEY_BYTES = 256
MAX_YEAR = 9999

# The PostgreSQL type of the column.
Type = Literal["text", "smallint", "integer", "bigint", "double precision"]
BITS = {"smallint": 16, "integer": 32, "bigint": 64}
# What is sent to a column. Until it is known to fit, a whole number has 64 bits.
STORED: dict[str, pl.DataType] = {
    "text": pl.String(),
    "smallint": pl.Int16(),
    "integer": pl.Int32(),
    "bigint": pl.Int64(),
    "double precision": pl.Float64(),
}


def _other_unit(time: int) -> str:
    """Say what unit a time looks like that is out of range in milliseconds."""
    for unit, in_a_millisecond in _OTHER_UNITS:
        if EARLIEST_MS <= time / in_a_millisecond <= LATEST_MS:
            return f"; it looks like {unit}, and milliseconds are needed"
    return ""


class Limits(NamedTuple):
    """The least and the greatest of a whole number; how to say so, and a hint on others."""

    least: int
    greatest: int
    words: str
    hint: Callable[[int], str] = lambda _: ""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a record.

    Attributes:
        key: JSON key.
        type: PostgreSQL type of its column.
        column: its column in the typed frame, and in staging; None if it is only looked at.
        is_required: neither missing nor null.
        is_filled: not empty, if it is text.
        max_bytes: of text, in UTF-8.
        limits: of a whole number, if narrower than its type's.
        is_quoted: a whole number that is commonly written as text.
        unknown: the value that means NULL.
        selects: the text of the records that are read; those with another are filtered.
    """

    key: str
    type: Type
    column: str | None
    is_required: bool = False
    is_filled: bool = False
    max_bytes: int | None = None
    limits: Limits | None = None
    is_quoted: bool = False
    unknown: str | int | None = None
    selects: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it is a whole number."""
        return self.type in BITS

    @property
    def bounds(self) -> tuple[int, int]:
        """The least and the greatest that a whole number may be."""
        if self.limits:
            return self.limits.least, self.limits.greatest
        half = 2 ** (BITS[self.type] - 1)
        return -half, half - 1

    @property
    def parsed(self) -> pl.DataType:
        """What Polars parses it as."""
        return pl.String() if self.is_quoted else self.typed

    @property
    def typed(self) -> pl.DataType:
        """What it is in the typed frame."""
        return pl.Int64() if self.is_whole else STORED[self.type]


# Of several fields at fault, a reject names the first.
EVENT = (
    Field("page", "text", None, is_required=True, selects="NextSong"),
    Field(
        "ts", "bigint", "ts", is_required=True,
        limits=Limits(EARLIEST_MS, LATEST_MS, "1990 to 2100", _other_unit),
    ),
    Field("userId", "bigint", "user_id", is_required=True, is_quoted=True),
    Field("firstName", "text", "first_name"),
    Field("lastName", "text", "last_name"),
    Field("gender", "text", "gender"),
    Field("level", "text", "level", is_required=True, is_filled=True),
    Field("song", "text", "event_song"),
    Field("artist", "text", "event_artist"),
    Field("length", "double precision", "event_length"),
    Field("sessionId", "bigint", "session_id", is_required=True),
    Field("itemInSession", "bigint", "item_in_session", is_required=True),
    Field("location", "text", "location", unknown=""),
    Field("userAgent", "text", "user_agent"),
)  # fmt: skip

SONG = (
    Field("year", "integer", "year", limits=Limits(0, MAX_YEAR, f"0 to {MAX_YEAR}"), unknown=0),
    Field(
        "song_id", "text", "song_id", is_required=True, is_filled=True, max_bytes=MAX_KEY_BYTES
    ),
    Field("title", "text", "title", is_required=True),
    Field(
        "artist_id", "text", "artist_id", is_required=True, is_filled=True, max_bytes=MAX_KEY_BYTES
    ),
    Field("artist_name", "text", "artist_name", is_required=True),
    Field("artist_location", "text", "location", unknown=""),
    Field("artist_latitude", "double precision", "latitude"),
    Field("artist_longitude", "double precision", "longitude"),
    Field("duration", "double precision", "duration", is_required=True),
)  # fmt: skip


def _typed(fields: tuple[Field, ...]) -> dict[str, pl.DataType]:
    """Return the schema of the typed frame; `file` is the index in the batch."""
    columns = {field.column: field.typed for field in fields if field.column}
    return {"file": pl.UInt32(), **columns}


PLAYS = _typed(EVENT)
SONGS = {**_typed(SONG), "source_offset": pl.Int64()}

"""Each table of the star, declared once: columns, keys, and the order in which they are merged.

The DDL under `sql/schema` is the same declaration in PostgreSQL's words; a test compares the two.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, its PostgreSQL type, and what it holds."""

    name: str
    type: str
    comment: str
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the star.

    `columns` are the contract's, in order; `bookkeeping` columns follow them and serve the merge.
    `references` maps a column to the table whose primary key it points to.
    """

    name: str
    comment: str
    columns: tuple[Column, ...]
    primary_key: str
    natural_key: tuple[str, ...]
    bookkeeping: tuple[Column, ...] = ()
    references: tuple[tuple[str, str], ...] = ()

    @property
    def all_columns(self) -> tuple[Column, ...]:
        """All columns in table order."""
        return self.columns + self.bookkeeping


def _source(table: str) -> tuple[Column, Column]:
    """Return the columns that say which record described a row; no other table has their names."""
    return (
        Column(f"{table}_file", "text", "song file that described the row, below the song folder"),
        Column(f"{table}_offset", "bigint", "byte at which its record begins in that file"),
    )


ARTISTS = Table(
    "artists",
    "who is credited on a song",
    (
        Column("artist_id", "text", "identifier of the artist"),
        Column("name", "text", "credited name"),
        Column("location", "text", "place, as free text", nullable=True),
        Column("latitude", "double precision", "degrees north", nullable=True),
        Column("longitude", "double precision", "degrees east", nullable=True),
    ),
    primary_key="artist_id",
    natural_key=("artist_id",),
    bookkeeping=_source("artist"),
)

SONGS = Table(
    "songs",
    "what can be listened to",
    (
        Column("song_id", "text", "identifier of the song"),
        Column("title", "text", "title"),
        Column("artist_id", "text", "who is credited"),
        Column("year", "integer", "year of release", nullable=True),
        Column("duration", "double precision", "length in seconds"),
    ),
    primary_key="song_id",
    natural_key=("song_id",),
    bookkeeping=(
        Column("credited_artist", "text", "artist's name in the song's own file"),
        *_source("song"),
    ),
    references=(("artist_id", "artists"),),
)

USERS = Table(
    "users",
    "who listened, as of their latest songplay",
    (
        Column("user_id", "bigint", "identifier of the user"),
        Column("first_name", "text", "first name", nullable=True),
        Column("last_name", "text", "last name", nullable=True),
        Column("gender", "text", "gender", nullable=True),
        Column("level", "text", "free or paid"),
    ),
    primary_key="user_id",
    natural_key=("user_id",),
    bookkeeping=(
        Column("last_start_time", "timestamp with time zone", "start of the latest songplay"),
        Column("last_session_id", "bigint", "session of the latest songplay"),
        Column("last_item_in_session", "bigint", "place of the latest songplay in its session"),
    ),
)

TIME = Table(
    "time",
    "when songs started, taken apart in UTC",
    (
        Column("start_time", "timestamp with time zone", "the moment"),
        Column("hour", "smallint", "0 to 23"),
        Column("day", "smallint", "day of the month"),
        Column("week", "smallint", "ISO week"),
        Column("month", "smallint", "1 to 12"),
        Column("year", "smallint", "calendar year"),
        Column("weekday", "smallint", "0 = Monday"),
    ),
    primary_key="start_time",
    natural_key=("start_time",),
)

SONGPLAYS = Table(
    "songplays",
    "one row a song played: an event with page NextSong",
    (
        Column("songplay_id", "bigint", "surrogate key"),
        Column("start_time", "timestamp with time zone", "when the song started"),
        Column("user_id", "bigint", "who listened"),
        Column("level", "text", "the user's level at that moment"),
        Column("song_id", "text", "the song, where the catalogue has it", nullable=True),
        Column("artist_id", "text", "that song's artist", nullable=True),
        Column("session_id", "bigint", "the user's session"),
        Column("location", "text", "where the user was", nullable=True),
        Column("user_agent", "text", "the user's browser", nullable=True),
        Column("item_in_session", "bigint", "place of the event in its session"),
        Column("event_song", "text", "title, as the event names it", nullable=True),
        Column("event_artist", "text", "artist, as the event names it", nullable=True),
        Column(
            "event_length",
            "double precision",
            "length in seconds, as the event names it",
            nullable=True,
        ),
    ),
    primary_key="songplay_id",
    natural_key=("start_time", "user_id", "session_id", "item_in_session"),
    references=(
        ("start_time", "time"),
        ("user_id", "users"),
        ("song_id", "songs"),
        ("artist_id", "artists"),
    ),
)

# Not of the star, but beside its tables: which run changed them last.
LAST_LOAD = Table(
    "last_load",
    "the run that changed the star last",
    (
        Column("one_row", "boolean", "true: there is one row"),
        Column("loaded_by_run", "bigint", "number of the run in the ledger"),
        Column("loaded_at", "timestamp with time zone", "when the run began"),
    ),
    primary_key="one_row",
    natural_key=("one_row",),
)

# Dimensions first, and artists before the songs that point to them: the order of every merge.
STAR = (ARTISTS, SONGS, USERS, TIME, SONGPLAYS)
NAMES = tuple(table.name for table in STAR)

"""Raw records to typed frames: pure, no I/O, no clock.

A kind of record has its rules: the schema Polars parses by, how a parsed frame becomes a typed one
and whether all of it is clean, and the same check in plain Python for one decoded record. The two
must agree: a frame is clean exactly when every record in it passes the check.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any

import polars as pl

from sparkify_bulk.transform.rejection import Rejection

# Plays before 1990 or after 2100 are absurd: mostly, seconds or microseconds are taken for
# milliseconds. Far beyond, arithmetic on them wraps without a word.
EARLIEST_MS = 631_152_000_000
LATEST_MS = 4_102_444_800_000
# What a time may be instead, and how many of these are a millisecond.
_OTHER_UNITS = (("seconds", 0.001), ("microseconds", 1000), ("nanoseconds", 10**6))
LEVELS = ("free", "paid")
# An index entry holds about 2,700 bytes; real identifiers have 18.
MAX_KEY_BYTES = 256
MAX_YEAR = 9999
_INT64 = 2**63
# Digits of the largest.
_LONGEST_INT64 = 19

Record = Mapping[str, Any]
Row = tuple[Any, ...]

_TEXT = pl.String()
_INTEGER = pl.Int64()
_FLOAT = pl.Float64()

# Text that may stand for a number, a truth value, an object or an array in the file.
_DOUBTFUL = r"(?s)^(?:-?[0-9][-+.0-9A-Za-z()]*|true|false|\[.*\]|\{.*\})$"
# U+0000, and halves of surrogate pairs, which UTF-8 doesn't know.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_INTEGRAL = re.compile(r"[+-]?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,2})?", re.ASCII)


_ESCAPED_KEY = re.compile(rb'[{,]\s*"[^"\\:]*\\u00')
# Where it is looked for whole numbers written otherwise, in bytes.
_FIRST_RECORDS = 2**16


@dataclass(frozen=True, slots=True)
class Rules:
    """How records of one kind are read.

    Attributes:
        parsed: schema by which Polars parses the lines.
        typed: schema of the typed frame, `file` (index in the batch) first.
        is_filtered: is a parsed record none of ours (an event that isn't a songplay)?
        type_frame: parsed frame, with `file` and `offset`, to typed frame without filtered records.
        clean_rows: which records of a typed frame are acceptable?
        doubtful: JSON keys parsed as String that must be text in the file: Polars makes text of
            numbers, truth values, objects and arrays without a word.
        integers: JSON keys of whole numbers, which may be written as text.
        needs_offset: is the record's place in its file part of its row?
        check: decoded record to row of the typed frame without `file`, None if it is filtered.
    """

    parsed: Mapping[str, pl.DataType]
    typed: Mapping[str, pl.DataType]
    is_filtered: pl.Expr
    type_frame: Callable[[pl.DataFrame], pl.DataFrame]
    clean_rows: Callable[[pl.DataFrame], pl.Series]
    doubtful: tuple[str, ...]
    integers: tuple[str, ...]
    needs_offset: bool
    check: Callable[[Record, int], Row | None]


# --- events -----------------------------------------------------------------------------------

PARSED_EVENT: dict[str, pl.DataType] = {
    "page": _TEXT,
    "ts": _INTEGER,
    "userId": _TEXT,
    "firstName": _TEXT,
    "lastName": _TEXT,
    "gender": _TEXT,
    "level": _TEXT,
    "song": _TEXT,
    "artist": _TEXT,
    "length": _FLOAT,
    "sessionId": _INTEGER,
    "itemInSession": _INTEGER,
    "location": _TEXT,
    "userAgent": _TEXT,
}

PLAYS: dict[str, pl.DataType] = {
    "file": pl.UInt32(),
    "ts": _INTEGER,
    "user_id": _INTEGER,
    "first_name": _TEXT,
    "last_name": _TEXT,
    "gender": _TEXT,
    "level": _TEXT,
    "event_song": _TEXT,
    "event_artist": _TEXT,
    "event_length": _FLOAT,
    "session_id": _INTEGER,
    "item_in_session": _INTEGER,
    "location": _TEXT,
    "user_agent": _TEXT,
}


_OTHER_PAGE = (pl.col("page") != "NextSong").fill_null(value=False)


def _type_events(parsed: pl.DataFrame) -> pl.DataFrame:
    """Keep the plays of a parsed frame and type them; an event without a page stays, to be seen."""
    plays = parsed.filter(~_OTHER_PAGE)
    return plays.select(
        "file",
        # An event without a page becomes one without a time, to be seen.
        pl.when(pl.col("page").is_not_null()).then(_whole("ts")).alias("ts"),
        _whole("userId").alias("user_id"),
        pl.col("firstName").alias("first_name"),
        pl.col("lastName").alias("last_name"),
        "gender",
        "level",
        pl.col("song").alias("event_song"),
        pl.col("artist").alias("event_artist"),
        pl.col("length").alias("event_length"),
        _whole("sessionId").alias("session_id"),
        _whole("itemInSession").alias("item_in_session"),
        _empty_to_null(pl.col("location")),
        pl.col("userAgent").alias("user_agent"),
    )


def _clean_plays(plays: pl.DataFrame) -> pl.Series:
    required = ("ts", "user_id", "session_id", "item_in_session", "level")
    return _rows_where(
        plays,
        *(pl.col(name).is_not_null() for name in required),
        pl.col("ts").is_between(EARLIEST_MS, LATEST_MS),
        pl.col("level") != "",
        *_no_nul(PLAYS),
    )


def _check_event(record: Record, _offset: int) -> Row | None:
    page = record.get("page")
    if isinstance(page, str) and page != "NextSong":
        return None  # whatever it holds: nothing of it is stored
    _text(record, "page", required=True)
    ts = _integer(record, "ts", required=True)
    if not EARLIEST_MS <= ts <= LATEST_MS:
        raise Rejection("out_of_range", f"ts lies outside 1990 to 2100{_other_unit(ts)}", "ts")
    return (
        ts,
        _integer(record, "userId", required=True),
        _text(record, "firstName"),
        _text(record, "lastName"),
        _text(record, "gender"),
        _text(record, "level", required=True, filled=True),
        _text(record, "song"),
        _text(record, "artist"),
        _float(record, "length"),
        _integer(record, "sessionId", required=True),
        _integer(record, "itemInSession", required=True),
        _text(record, "location") or None,
        _text(record, "userAgent"),
    )


def _other_unit(time: int) -> str:
    """Say what unit a time looks like that is out of range in milliseconds."""
    for unit, in_a_millisecond in _OTHER_UNITS:
        if EARLIEST_MS <= time / in_a_millisecond <= LATEST_MS:
            return f"; it looks like {unit}, and milliseconds are needed"
    return ""


def unknown_levels(plays: pl.DataFrame) -> int:
    """Count the plays whose level is neither free nor paid.

    Args:
        plays: typed frame of plays.
    """
    level = pl.col("level")
    known = (level == LEVELS[0]) | (level == LEVELS[1])
    return int(plays.select(known.not_().sum()).item())


# --- songs ------------------------------------------------------------------------------------

PARSED_SONG: dict[str, pl.DataType] = {
    "song_id": _TEXT,
    "title": _TEXT,
    "artist_id": _TEXT,
    "artist_name": _TEXT,
    "artist_location": _TEXT,
    "artist_latitude": _FLOAT,
    "artist_longitude": _FLOAT,
    "year": _INTEGER,
    "duration": _FLOAT,
}

SONGS: dict[str, pl.DataType] = {
    "file": pl.UInt32(),
    "song_id": _TEXT,
    "title": _TEXT,
    "artist_id": _TEXT,
    "artist_name": _TEXT,
    "location": _TEXT,
    "latitude": _FLOAT,
    "longitude": _FLOAT,
    "year": _INTEGER,
    "duration": _FLOAT,
    "source_offset": _INTEGER,
}


def _type_songs(parsed: pl.DataFrame) -> pl.DataFrame:
    year = _whole("year")
    return parsed.select(
        "file",
        "song_id",
        "title",
        "artist_id",
        "artist_name",
        _empty_to_null(pl.col("artist_location")).alias("location"),
        pl.col("artist_latitude").alias("latitude"),
        pl.col("artist_longitude").alias("longitude"),
        pl.when(year != 0).then(year).alias("year"),
        "duration",
        pl.col("offset").alias("source_offset"),
    )


def _clean_songs(songs: pl.DataFrame) -> pl.Series:
    required = ("song_id", "title", "artist_id", "artist_name", "duration")
    return _rows_where(
        songs,
        *(pl.col(name).is_not_null() for name in required),
        *(
            pl.col(key).str.len_bytes().is_between(1, MAX_KEY_BYTES)
            for key in ("song_id", "artist_id")
        ),
        pl.col("year").is_between(1, MAX_YEAR).fill_null(value=True),
        *_no_nul(SONGS),
    )


def _check_song(record: Record, offset: int) -> Row:
    year = _integer(record, "year") or None
    if year is not None and not 0 < year <= MAX_YEAR:
        raise Rejection("out_of_range", f"year lies outside 0 to {MAX_YEAR}", "year")
    return (
        _key(record, "song_id"),
        _text(record, "title", required=True),
        _key(record, "artist_id"),
        _text(record, "artist_name", required=True),
        _text(record, "artist_location") or None,
        _float(record, "artist_latitude"),
        _float(record, "artist_longitude"),
        year,
        _float(record, "duration", required=True),
        offset,
    )


# --- what a value must be -----------------------------------------------------------------------


def _rows_where(frame: pl.DataFrame, *conditions: pl.Expr) -> pl.Series:
    """Tell for each row whether it meets all conditions; where one is unknown, it doesn't."""
    met = pl.all_horizontal(condition.fill_null(value=False) for condition in conditions)
    return frame.select(met.alias("clean")).to_series()


def _no_nul(schema: Mapping[str, pl.DataType]) -> list[pl.Expr]:
    """No text holds U+0000: PostgreSQL can't store it, and Polars makes lone surrogates into it."""
    texts = (name for name, dtype in schema.items() if dtype == pl.String)
    return [
        pl.col(name).str.contains("\0", literal=True).not_().fill_null(value=True) for name in texts
    ]


def _empty_to_null(text: pl.Expr) -> pl.Expr:
    return pl.when(text != "").then(text)


def _whole(key: str) -> pl.Expr:
    """Read whole numbers, whether parsed as such or as text; what isn't plain digits is NULL."""
    return pl.col(key).cast(pl.Int64, strict=False)


def strict_schema(rules: Rules) -> dict[str, pl.DataType]:
    """Return the schema that takes whole numbers only as they commonly are: some of them as text.

    Where a String is wanted, Polars makes text of numbers, rounded; where a Categorical is, it
    refuses them. Its categories are its own: those of all would be held until the process ends.
    """
    return {
        key: pl.Categorical(pl.Categories.random())
        if key in rules.integers and dtype == _TEXT
        else dtype
        for key, dtype in rules.parsed.items()
    }


def integers_as_text(rules: Rules) -> dict[str, pl.DataType]:
    """Return the schema that takes whole numbers as text, too."""
    return dict(rules.parsed) | dict.fromkeys(rules.integers, _TEXT)


def has_odd_integers(data: bytes, rules: Rules) -> bool:
    """Tell whether the first records hold whole numbers that the strict schema doesn't take."""
    return bool(_odd_integers(rules.integers).search(data, 0, _FIRST_RECORDS))


@cache
def _odd_integers(keys: tuple[str, ...]) -> re.Pattern[bytes]:
    others = "|".join(key for key in keys if key != "userId")
    odd = rf'"(?:{others})"\s*:\s*(?:"|-?[0-9]+\.)|"userId"\s*:\s*[-0-9]'
    return re.compile(odd.encode())


def may_be_inexact(data: bytes, rules: Rules) -> bool:
    """Tell whether a whole number in the bytes may not be what Polars makes text of.

    That is so of a float, unless it is short and its fraction is zeros. A key that is spelt with
    escapes might be any key.
    """
    if _inexact(rules.integers).search(data):
        return True
    return b"\\u00" in data and _ESCAPED_KEY.search(data) is not None


@cache
def _inexact(keys: tuple[str, ...]) -> re.Pattern[bytes]:
    exact = r"-?[0-9]+\s*[,}]|-?[0-9]{1,15}\.0+\s*[,}]"
    return re.compile(rf'"(?:{"|".join(keys)})"\s*:\s*(?!{exact})[-0-9]'.encode())


def rows_of_no_integers(parsed: pl.DataFrame, rules: Rules) -> list[int]:
    """Return the rows where text was parsed for a whole number that is neither that nor empty."""
    texts = [key for key in rules.integers if parsed.schema[key] == pl.String]
    if not texts:
        return []
    whole = (_whole(key).is_not_null() | (pl.col(key) == "").fill_null(value=True) for key in texts)
    wrong = pl.all_horizontal(*whole).not_() & ~rules.is_filtered
    return parsed.select(wrong.arg_true()).to_series().to_list()


def doubtful_rows(parsed: pl.DataFrame, columns: tuple[str, ...]) -> list[int]:
    """Return the rows whose text may not have been text in the file."""
    rows: set[int] = set()
    for name in columns:
        text = pl.col(name)
        # Most text begins with a capital or a quotation mark, and comparing is cheap.
        harmless = (text < "-") | ((text >= "A") & (text < "["))
        others = parsed.select(harmless.not_().arg_true()).to_series()
        rows.update(others.filter(parsed[name].gather(others).str.contains(_DOUBTFUL)))
    return sorted(rows)


def _missing(record: Record, key: str) -> Rejection:
    detail = f"{key} is missing or null"
    if key not in record and any(map(_is_list_of_records, record.values())):
        detail += "; the object holds a list of objects: take the records out of it, one by one"
    return Rejection("missing_field", detail, key)


def _is_list_of_records(value: object) -> bool:
    return isinstance(value, list) and len(value) > 0 and isinstance(value[0], dict)


def _empty(key: str) -> Rejection:
    return Rejection("missing_field", f"{key} is empty", key)


def _text(record: Record, key: str, *, required: bool = False, filled: bool = False) -> str | None:
    value = record.get(key)
    if value is None:
        if required:
            raise _missing(record, key)
        return None
    if not isinstance(value, str):
        raise Rejection("wrong_type", f"{key} is not text", key)
    if filled and not value:
        raise _empty(key)
    if _UNSTORABLE.search(value):
        raise Rejection("unstorable_text", f"{key} holds a character no database can store", key)
    return value


def _key(record: Record, key: str) -> str:
    value = _text(record, key, required=True, filled=True) or ""
    if len(value.encode()) > MAX_KEY_BYTES:
        raise Rejection("out_of_range", f"{key} is longer than {MAX_KEY_BYTES} bytes", key)
    return value


def _integer(record: Record, key: str, *, required: bool = False) -> int:
    """Return an integral number in any spelling, in quotes or not; 0 where it is optional and none.

    Floats are decimals as they were written, so that none is rounded.
    """
    value = record.get(key)
    if value is None or value == "":
        if required:
            raise _missing(record, key) if value is None else _empty(key)
        return 0
    if isinstance(value, str) and _INTEGRAL.fullmatch(value):
        value = Decimal(value)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise Rejection("wrong_type", f"{key} is not a whole number", key)
    if isinstance(value, Decimal):
        value = _exact(value, key)
    if not -_INT64 <= value < _INT64:
        raise Rejection("out_of_range", f"{key} does not fit 64 bits", key)
    return value


def _exact(value: Decimal, key: str) -> int:
    """Return a decimal as an integer; one with a huge exponent would take all memory."""
    if not value:
        return 0
    if value.adjusted() >= _LONGEST_INT64:
        raise Rejection("out_of_range", f"{key} does not fit 64 bits", key)
    if value != value.to_integral_value():
        raise Rejection("wrong_type", f"{key} is not a whole number", key)
    return int(value)


def _float(record: Record, key: str, *, required: bool = False) -> float | None:
    value = record.get(key)
    if value is None or value == "":
        if required:
            raise _missing(record, key) if value is None else _empty(key)
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise Rejection("wrong_type", f"{key} is not a number", key)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise Rejection("out_of_range", f"{key} is too large a number", key)
    return number


RULES = {
    "events": Rules(
        PARSED_EVENT, PLAYS, _OTHER_PAGE, _type_events, _clean_plays,
        ("page", "firstName", "lastName", "gender", "level", "song", "artist", "location",
         "userAgent"),
        integers=("ts", "userId", "sessionId", "itemInSession"),
        needs_offset=False, check=_check_event,
    ),
    "songs": Rules(
        PARSED_SONG, SONGS, pl.lit(value=False), _type_songs, _clean_songs,
        ("song_id", "title", "artist_id", "artist_name", "artist_location"),
        integers=("year",), needs_offset=True, check=_check_song,
    ),
}  # fmt: skip

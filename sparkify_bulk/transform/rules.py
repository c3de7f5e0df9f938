"""Raw records to typed frames: pure, no I/O, no clock.

A kind of record has its rules: how a parsed frame becomes a typed one and which of its rows are
clean, and the same check in plain Python for one decoded record. The two must agree: a row is clean
exactly when its record passes the check. Both follow from the fields.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from sparkify_bulk.transform.fields import EVENT, PLAYS, SONG, SONGS, Field
from sparkify_bulk.transform.values import Check, Record, Value, checks_of, read_row

LEVELS = ("free", "paid")

# A row of a typed frame by the names of its columns.
Row = dict[str, Value]


@dataclass(frozen=True)
class Rules:
    """How records of one kind are read.

    Attributes:
        fields: what a record has.
        typed: schema of the typed frame.
    """

    fields: tuple[Field, ...]
    typed: Mapping[str, pl.DataType]

    @cached_property
    def selector(self) -> Field | None:
        """The field that tells which records are read."""
        return next((field for field in self.fields if field.selects), None)

    @cached_property
    def needs_offset(self) -> bool:
        """Whether a record's place in its file is part of its row."""
        return "source_offset" in self.typed

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """JSON keys of what must be text in the file."""
        return tuple(field.key for field in self.fields if field.type == "text")

    @cached_property
    def is_filtered(self) -> pl.Expr:
        """Whether a parsed record is none of ours (an event that isn't a songplay)."""
        if self.selector is None:
            return pl.lit(value=False)
        return (pl.col(self.selector.key) != self.selector.selects).fill_null(value=False)

    def type_frame(self, parsed: pl.DataFrame) -> pl.DataFrame:
        """Type a parsed frame, with `file` and `offset`, and leave out what is filtered."""
        if self.selector:
            parsed = parsed.filter(~self.is_filtered)
        return parsed.select("file", *self._typed_columns)

    @cached_property
    def _typed_columns(self) -> list[pl.Expr]:
        first, *others = (
            _typed(field).alias(field.column) for field in self.fields if field.column
        )
        if self.selector:
            # An event without a page becomes one without a time, to be seen.
            first = pl.when(pl.col(self.selector.key).is_not_null()).then(first)
        offset = [pl.col("offset").alias("source_offset")] if self.needs_offset else []
        return [first, *others, *offset]

    def clean_rows(self, typed: pl.DataFrame) -> pl.Series:
        """Tell which records of a typed frame are acceptable."""
        return typed.select(self._is_clean).to_series()

    @cached_property
    def _is_clean(self) -> pl.Expr:
        conditions = (condition for field in self.fields for condition in _conditions(field))
        return pl.all_horizontal(conditions).alias("clean")

    def check(self, record: Record, offset: int) -> Row | None:
        """Return a decoded record as a row without `file`, among others; None if it is filtered.

        Args:
            record: the record.
            offset: where it begins in its file.

        Raises:
            Rejection: it is refused.
        """
        if self.selector:
            selecting = record.get(self.selector.key)
            if isinstance(selecting, str) and selecting != self.selector.selects:
                return None  # whatever it holds: nothing of it is stored
        row = read_row(record, self._checks)
        row["source_offset"] = offset
        return row

    @cached_property
    def _checks(self) -> list[Check]:
        return checks_of(self.fields)


def _typed(field: Field) -> pl.Expr:
    """Read a parsed value as what is stored."""
    value = whole_number(field.key) if field.is_whole else pl.col(field.key)
    return value if field.unknown is None else pl.when(value != field.unknown).then(value)


def whole_number(key: str) -> pl.Expr:
    """Read whole numbers, whether parsed as such or as text; what isn't plain digits is NULL."""
    return pl.col(key).cast(pl.Int64, strict=False)


def _conditions(field: Field) -> Iterator[pl.Expr]:
    """Yield what a field's typed value must meet."""
    if field.column is None:
        return
    value = pl.col(field.column)
    if field.is_required:
        yield value.is_not_null()
    for condition in _limits(field, value):
        # Of none, no limit is passed.
        yield condition.fill_null(value=not field.is_required)


def _limits(field: Field, value: pl.Expr) -> Iterator[pl.Expr]:
    if field.is_whole and field.bounds != (-(2**63), 2**63 - 1):
        yield value.is_between(*field.bounds)
    if field.max_bytes:
        yield value.str.len_bytes().is_between(int(field.is_filled), field.max_bytes)
    elif field.is_filled:
        yield value != ""
    if field.type == "text":
        # PostgreSQL can't store U+0000, and Polars makes lone surrogates into it.
        yield value.str.contains("\0", literal=True).not_()


def unknown_levels(plays: pl.DataFrame) -> int:
    """Count the plays whose level is neither free nor paid.

    Args:
        plays: typed frame of plays.
    """
    level = pl.col("level")
    known = (level == LEVELS[0]) | (level == LEVELS[1])
    return int(plays.select(known.not_().sum()).item())


RULES = {"events": Rules(EVENT, PLAYS), "songs": Rules(SONG, SONGS)}

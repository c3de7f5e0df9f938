"""The fast path: segments parsed by Polars at once, with an explicit schema.

What Polars may have read otherwise than the salvage path would is left to that.
"""

from collections.abc import Mapping
from io import BytesIO
from typing import IO, NamedTuple

import polars as pl

from sparkify_bulk.extract.counts import NUMBERS, Extract, per_file
from sparkify_bulk.extract.records import decode_records
from sparkify_bulk.extract.segments import (
    BLANK,
    NEVER_PACKED,
    Packed,
    Segment,
    apart,
    count_lines,
    has_long_line,
    lines_at,
    offsets_of,
)
from sparkify_bulk.transform.parsing import (
    doubtful_rows,
    has_odd_integers,
    integers_as_text,
    may_be_inexact,
    rows_of_no_integers,
    strict_schema,
)
from sparkify_bulk.transform.rejection import Rejection
from sparkify_bulk.transform.rules import Rules

# Segments up to this number are parsed where they are; of more, a copy is made in one piece.
_FEW_SOURCES = 8


class Fast(NamedTuple):
    """What the fast path took, and the lines that it leaves to the salvage path."""

    part: Extract
    others: list[Segment]


def parse_fast(found: Packed | list[Segment], rules: Rules) -> Fast | None:
    """Parse all segments at once; leave lines aside whose values aren't right.

    None if lines can't be told apart, as Polars refuses all of them for one.
    """
    sources = _sources(found)
    if any(has_long_line(source) for source in sources):
        return None
    parsed = _parse_frame(sources, rules)
    if parsed is None:
        return None
    places = _place(found, parsed.height, with_offset=rules.needs_offset)
    if places is None:
        return None
    other_rows = [*_rows_of_no_text(sources, parsed, rules), *rows_of_no_integers(parsed, rules)]
    parsed = parsed.with_columns(places)
    typed = rules.type_frame(parsed)
    clean = rules.clean_rows(typed)
    if clean.all() and not other_rows:
        return Fast(_extract(typed, parsed, rules), [])
    is_filtered = parsed.with_columns(rules.is_filtered.alias("filtered"))["filtered"]
    rows = is_filtered.not_().arg_true()
    other_rows += rows.filter(~clean).to_list()
    is_other = pl.int_range(parsed.height, eager=True).is_in(other_rows)
    typed = typed.filter(~is_other.gather(rows))
    others = lines_at(apart(found), set(other_rows))
    return Fast(_extract(typed, parsed.filter(~is_other), rules), others)


def _extract(typed: pl.DataFrame, parsed: pl.DataFrame, rules: Rules) -> Extract:
    return Extract(typed, per_file(parsed), per_file(parsed.filter(rules.is_filtered)))


def _parse_frame(sources: list[bytes], rules: Rules) -> pl.DataFrame | None:
    """Parse by the strict schema; where whole numbers are written otherwise, by one that allows it.

    None if there is anything that can't be parsed so, or not exactly.
    """
    parsed = _scan(sources, strict_schema(rules))
    if parsed is not None or not any(has_odd_integers(source, rules) for source in sources):
        return parsed
    if any(may_be_inexact(source, rules) for source in sources):
        return None
    return _scan(sources, integers_as_text(rules))


def _scan(sources: list[bytes], schema: Mapping[str, pl.DataType]) -> pl.DataFrame | None:
    text = [
        pl.col(key).cast(pl.String)
        for key, dtype in schema.items()
        if isinstance(dtype, pl.Categorical)
    ]
    try:
        return pl.scan_ndjson(_as_files(sources), schema=schema).with_columns(text).collect()
    # Whatever Polars stumbles over, the salvage path says what it is.
    except (Exception, pl.exceptions.PanicException):  # noqa: BLE001
        return None


def _sources(found: Packed | list[Segment]) -> list[bytes]:
    """Return what Polars reads, one run of bytes after the other; few of them, as each costs."""
    if isinstance(found, Packed):
        return [found.data]
    if len(found) <= _FEW_SOURCES:
        return [segment.data for segment in found if segment.data] or [b"\n"]
    return [b"\n".join(segment.data for segment in found)]


def _as_files(sources: list[bytes]) -> list[IO[bytes]]:
    return [_as_file(source) for source in sources]


def _as_file(source: bytes) -> IO[bytes]:
    """Let Polars read bytes as they are: what begins as compressed data do, it would unpack."""
    return BytesIO(source if source[:1] in NEVER_PACKED else b"\n" + source)


def _place(found: Packed | list[Segment], height: int, *, with_offset: bool) -> pl.DataFrame | None:
    """Return the `file`, and the `offset` there, of every record.

    None if there are other numbers of records than of lines that aren't blank.
    """
    if isinstance(found, Packed) and found.one_line_each:
        if height != len(found.files):
            return None
        files = pl.Series("file", found.files, dtype=pl.UInt32)
        offset = [pl.lit(0, pl.Int64).alias("offset")] if with_offset else []
        return pl.DataFrame(files).with_columns(offset)
    segments = apart(found)
    numbers = count_lines(segments, height)
    if numbers is None:
        return None
    columns = {"file": [segment.file for segment in segments], "number": numbers}
    lines = pl.DataFrame(columns, schema=NUMBERS)
    places = lines.filter(pl.col("number") > 0).select(pl.col("file").repeat_by("number").explode())
    if with_offset:
        offsets = pl.Series("offset", offsets_of(segments, numbers), dtype=pl.Int64)
        places = places.with_columns(offsets)
    return places


def _rows_of_no_text(sources: list[bytes], parsed: pl.DataFrame, rules: Rules) -> list[int]:
    """Return the rows whose text Polars has made of something else."""
    rows = doubtful_rows(parsed, rules)
    if not rows:
        return []
    lines = [line for source in sources for line in source.split(b"\n")]
    if len(lines) != parsed.height:
        lines = [line for line in lines if line.strip(BLANK)]
    return [row for row in rows if not _holds_text(lines[row], rules)]


def _holds_text(line: bytes, rules: Rules) -> bool:
    """Tell whether the values that must be text are text in a line."""
    for found in decode_records(line):
        if isinstance(found.value, Rejection):
            return False
        values = (found.value.get(key) for key in rules.texts)
        if not all(value is None or isinstance(value, str) for value in values):
            return False
    return True

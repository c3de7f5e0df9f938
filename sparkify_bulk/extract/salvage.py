"""The salvage path: records decoded one by one, the good kept and each bad one named."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import polars as pl

from sparkify_bulk.extract.counts import Extract, numbers
from sparkify_bulk.extract.records import Found, decode_records
from sparkify_bulk.extract.rejects import Reject, reject_record
from sparkify_bulk.extract.segments import Segment
from sparkify_bulk.source.batches import Batch
from sparkify_bulk.source.reading import newlines_before
from sparkify_bulk.transform.rejection import Rejection
from sparkify_bulk.transform.rules import Row, Rules

# Records read one by one before they are handed on: limits and signals are looked at in between.
SALVAGE_RECORDS = 5000
SALVAGE_REJECTS = 1000


@dataclass(slots=True)
class _Salvaged:
    """Records read one by one."""

    rows: list[Row] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    records: Counter[int] = field(default_factory=Counter)
    filtered: Counter[int] = field(default_factory=Counter)

    def extract(self, rules: Rules) -> Extract:
        columns = {name: [row[name] for row in self.rows] for name in rules.typed}
        frame = pl.DataFrame(columns, schema=rules.typed)
        return Extract(frame, numbers(self.records), numbers(self.filtered), self.rejects)


def salvage(segments: list[Segment], rules: Rules, batch: Batch | None = None) -> Iterator[Extract]:
    """Read segments record by record; yield some thousand records at a time."""
    part = _Salvaged()
    number = 0
    for segment in segments:
        lines, counted = segment.lines_before, 0
        for found in decode_records(segment.data):
            if number == SALVAGE_RECORDS or len(part.rejects) == SALVAGE_REJECTS:
                yield part.extract(rules)
                part, number = _Salvaged(), 0
            number += 1
            part.records[segment.file] += 1
            row = _check(found, segment, rules)
            if isinstance(row, Rejection):
                lines += segment.data.count(b"\n", counted, found.start)
                counted = found.start
                line = lines + 1 + (_lines_before(batch) if batch else 0)
                part.rejects.append(reject_record(found, segment, row, line))
                continue
            if row is None:
                part.filtered[segment.file] += 1
            else:
                row["file"] = segment.file
                part.rows.append(row)
    yield part.extract(rules)


def _check(found: Found, segment: Segment, rules: Rules) -> Row | Rejection | None:
    """Return a record's row, or why it is refused; None if it is filtered."""
    if isinstance(found.value, Rejection):
        return found.value
    try:
        return rules.check(found.value, segment.offset + found.start)
    except Rejection as rejection:
        return rejection


def _lines_before(batch: Batch) -> int:
    """Count the newlines before a part of a big file, whose path is all of `paths`."""
    return newlines_before(batch.store, batch.paths, batch.start) if batch.start else 0

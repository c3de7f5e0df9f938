"""Bytes of one batch to typed frames, plus rejects: the fast path and the salvage path.

Fast: the bytes of many files, joined by newlines, go through Polars at once with an explicit
schema. Any doubt (a record Polars refuses, a value that isn't clean) sends the same bytes to the
salvage path, which decodes record by record, keeps the good ones and names each bad one. Both paths
accept the same records and read the same values: where a key stands twice, the first counts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import polars as pl

from sparkify_bulk.extract.counts import Extract, FileRead, concat_frames, numbers
from sparkify_bulk.extract.fast import Fast, parse_fast
from sparkify_bulk.extract.gather import gather
from sparkify_bulk.extract.plain_lines import sort_lines
from sparkify_bulk.extract.rejects import Reject
from sparkify_bulk.extract.salvage import salvage
from sparkify_bulk.extract.segments import Packed, Segment, apart, halve, size_of
from sparkify_bulk.source.batches import Batch, Kind
from sparkify_bulk.transform.rules import RULES, Rules

# Below this many bytes a buffer in doubt is no longer parted but read record by record.
SALVAGE_BYTES = 64 * 2**10


def extract(batch: Batch, *, record_by_record: bool = False) -> Iterator[Extract]:
    """Yield the records of a batch, a buffer at a time.

    Args:
        batch: the files, or the part of a file, to read.
        record_by_record: take the salvage path throughout.
    """
    for found, reads in gather(batch):
        known: Sequence[FileRead] = reads
        for part in _extract(found, batch, record_by_record=record_by_record):
            yield replace(part, reads=known)
            known = ()


def _extract(
    found: Packed | list[Segment] | Reject, batch: Batch, *, record_by_record: bool
) -> Iterator[Extract]:
    rules = RULES[batch.kind]
    if isinstance(found, Reject):
        empty = pl.DataFrame(schema=rules.typed)
        return iter([Extract(empty, numbers({found.file: 1}), numbers({}), [found])])
    return salvage(apart(found), rules, batch) if record_by_record else _parse(found, rules, batch)


def _parse(found: Packed | list[Segment], rules: Rules, batch: Batch) -> Iterator[Extract]:
    """Take the fast path; what it refuses is parted into lines it may take, and all others."""
    fast = parse_fast(found, rules)
    if fast is not None:
        yield from _both(fast, rules, batch)
        return
    segments = apart(found)
    if size_of(segments) <= SALVAGE_BYTES:
        yield from salvage(segments, rules, batch)
        return
    plain, others = sort_lines(segments, rules)
    if plain:
        yield from _parse_plain(plain, rules, batch)
    if others:
        yield from salvage(others, rules, batch)


def _parse_plain(segments: list[Segment], rules: Rules, batch: Batch) -> Iterator[Extract]:
    """Take the fast path; where it refuses, halve the lines until little is left to salvage."""
    fast = parse_fast(segments, rules)
    if fast is not None:
        yield from _both(fast, rules, batch)
        return
    halves = None if size_of(segments) <= SALVAGE_BYTES else halve(segments)
    if halves is None:
        yield from salvage(segments, rules, batch)
        return
    for half in halves:
        yield from _parse_plain(half, rules, batch)


def _both(fast: Fast, rules: Rules, batch: Batch) -> Iterator[Extract]:
    yield fast.part
    if fast.others:
        yield from salvage(fast.others, rules, batch)


def retry(kind: Kind, file: int, offset: int, raw: bytes) -> Extract:
    """Read a rejected record again.

    Args:
        kind: what the record is.
        file: index of its file, for the frame.
        offset: where it began in the file.
        raw: its bytes, original or repaired.
    """
    parts = list(salvage([Segment(file, raw, offset, 0)], RULES[kind]))
    return Extract(
        concat_frames(parts),
        pl.concat(part.records for part in parts),
        pl.concat(part.filtered for part in parts),
        [reject for part in parts for reject in part.rejects],
    )

"""Bytes of one batch to typed frames, plus rejects: the fast path and the salvage path.

Fast: the bytes of many files, joined by newlines, go through Polars at once with an explicit
schema. Any doubt (a record Polars refuses, a value that isn't clean) sends the same bytes to the
salvage path, which decodes record by record, keeps the good ones and names each bad one. Both paths
accept the same records and read the same values: where a key stands twice, the first counts.
"""

import gzip
import os
import stat
import sys
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import accumulate
from typing import BinaryIO, NamedTuple, cast

import polars as pl

from sparkify_bulk.manifest import BOUNDARY, Batch, Kind, parts_of
from sparkify_bulk.records import (
    MAX_RECORD_BYTES,
    Found,
    Reject,
    Rejection,
    decode_records,
    end_of_whole_records,
)
from sparkify_bulk.transform import RULES, Row, Rules, doubtful_rows, hides_numbers

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# Read at a time from a file: as large as a batch, so that a batch of small files is one buffer.
CHUNK_BYTES = 32 * 2**20
# Read in one piece, without a look at it.
SMALL_BYTES = 2**20
# A compressed file may expand this many fold; logs expand about twenty. Beyond, somebody has built
# it to fill memory and disks.
MAX_EXPANSION = 250
# Below this many bytes a buffer in doubt is no longer halved but read record by record.
SALVAGE_BYTES = 64 * 2**10
_BLANK = b" \t\r\n"
# What a damaged or vanished file raises while it is opened or read.
UNREADABLE = (OSError, EOFError, zlib.error, zstd.ZstdError)


@dataclass(slots=True)
class FileCounts:
    """What was read of one file, or of a batch's part of it: the books of that file.

    `digest` is the SHA-256 of the bytes, once decompressed.
    """

    file: str
    digest: bytes = b""
    bytes: int = 0
    modified_ns: int = 0
    records: int = 0
    accepted: int = 0
    filtered: int = 0
    rejected: int = 0


class Segment(NamedTuple):
    """Whole records of one file.

    Attributes:
        file: the file's index in the batch.
        data: the bytes.
        offset: where they begin in the file (once decompressed).
        lines_before: newlines of the file before them; None where nobody has counted.
    """

    file: int
    data: bytes
    offset: int
    lines_before: int | None


@dataclass(frozen=True, slots=True)
class Extract:
    """What one buffer held: a typed frame of the accepted records, and what befell the others.

    `records` and `filtered` count by the index of the file.
    """

    frame: pl.DataFrame
    records: Counter[int]
    filtered: Counter[int] = field(default_factory=Counter)
    rejects: list[Reject] = field(default_factory=list)


def extract(batch: Batch, counts: list[FileCounts], *, slowly: bool = False) -> Iterator[Extract]:
    """Yield the records of a batch, a buffer at a time.

    Args:
        batch: the files, or the part of a file, to read.
        counts: one entry a file of the batch, in its order; filled while reading.
        slowly: take the salvage path throughout.
    """
    rules = RULES[batch.kind]
    for segments in _gather(batch, counts):
        if isinstance(segments, Reject):
            empty = pl.DataFrame(schema=rules.typed)
            extracts = iter([Extract(empty, Counter([segments.file]), rejects=[segments])])
        elif slowly:
            extracts = iter([_salvage(segments, rules, batch)])
        else:
            extracts = _parse(segments, rules, batch)
        for part in extracts:
            _book(part, counts)
            yield part


def _book(part: Extract, counts: list[FileCounts]) -> None:
    """Enter what befell a buffer's records in the books of their files."""
    for file, number in part.records.items():
        counts[file].records += number
    for file, number in _per_file(part.frame).items():
        counts[file].accepted += number
    for file, number in part.filtered.items():
        counts[file].filtered += number
    for reject in part.rejects:
        counts[reject.file].rejected += 1


def _per_file(frame: pl.DataFrame) -> Counter[int]:
    """Count a frame's rows by their file."""
    return Counter(dict(frame.group_by("file").len().iter_rows()))


def _gather(batch: Batch, counts: list[FileCounts]) -> Iterator[list[Segment] | Reject]:
    """Gather segments into buffers of `CHUNK_BYTES`; a file that can't be read comes by itself."""
    gathered: list[Segment] = []
    size = 0
    for index, count in enumerate(counts):
        try:
            for segment in _read_small(batch, index, count) or _read_file(batch, index, count):
                if gathered and size + len(segment.data) > CHUNK_BYTES:
                    yield gathered
                    gathered, size = [], 0
                gathered.append(segment)
                size += len(segment.data)
        except UNREADABLE as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            detail = f"the file can't be read: {why or type(error).__name__}"
            yield Reject(index, None, None, None, "unreadable_file", detail, b"")
    if gathered:
        yield gathered


# --- reading ------------------------------------------------------------------------------------


def _read_small(batch: Batch, index: int, count: FileCounts) -> list[Segment] | None:
    """Read a file that is small, and as long as it was when listed; None if it must be looked at.

    What the listing saw goes on record: had the file changed since, the next load would find it
    changed. Three system calls a file: a million of them are what a reload waits for.
    """
    if not batch.sizes or batch.sizes[index] > SMALL_BYTES or not count.file.endswith(".json"):
        return None
    descriptor = os.open(f"{batch.root}/{count.file}", _flags(batch))
    try:
        data = os.read(descriptor, batch.sizes[index] + 1)
    finally:
        os.close(descriptor)
    if len(data) != batch.sizes[index]:
        return None
    count.bytes = len(data)
    count.modified_ns = batch.modified_ns[index]
    count.digest = sha256(data).digest()
    return [Segment(index, data, 0, 0)]


def _flags(batch: Batch) -> int:
    # Not blocking, so that a pipe put in a file's place can't hang the run.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    return flags if batch.follow_links else flags | os.O_NOFOLLOW


def _read_file(batch: Batch, index: int, count: FileCounts) -> Iterator[Segment]:
    """Yield a file's whole records in segments of about `CHUNK_BYTES`.

    Bytes are read, never mapped: a file that shrinks meanwhile ends early instead of killing the
    process. The length is taken at opening, so that a file that grows doesn't hold the run up.
    """
    path = os.path.join(batch.root, count.file)
    descriptor = os.open(path, _flags(batch))
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "it is not a regular file")
        stop = status.st_size if batch.stop is None else batch.stop
        count.bytes = max(0, stop - batch.start)
        count.modified_ns = status.st_mtime_ns
        if path.endswith(".json") and count.bytes <= CHUNK_BYTES:
            data = _pread(descriptor, batch.start, stop)
            if os.fstat(descriptor).st_size > status.st_size:
                data = _without_torn_line(data)
            count.digest = sha256(data).digest()
            yield Segment(index, data, batch.start, _known(batch))
            return
        digest = sha256()
        for segment in _read_long(descriptor, batch, index, stop, path):
            digest.update(segment.data)
            yield segment
        count.digest = digest.digest()
    finally:
        os.close(descriptor)


def _read_long(
    descriptor: int, batch: Batch, index: int, stop: int, path: str
) -> Iterator[Segment]:
    """Yield a file that is compressed, or longer than a chunk."""
    with os.fdopen(os.dup(descriptor), "rb") as raw:
        if path.endswith(".json"):
            raw.seek(batch.start)
            yield from _read_chunks(raw, index, batch.start, stop, _known(batch))
            return
        opener = gzip.open if path.endswith(".gz") else zstd.open
        with opener(raw, "rb") as file:
            length = 0
            for segment in _read_chunks(cast("BinaryIO", file), index, 0, None, 0):
                length += len(segment.data)
                if length > MAX_EXPANSION * stop + CHUNK_BYTES:
                    raise OSError(0, f"it expands more than {MAX_EXPANSION}-fold")
                yield segment


def digest_file(root: str, path: str) -> bytes:
    """Return the digest that the ledger keeps of a file: of its parts' digests, in their order.

    Raises:
        OSError, EOFError, zlib.error, ZstdError: the file can't be read.
    """
    size = os.stat(os.path.join(root, path)).st_size
    digests = []
    for start, stop in parts_of(root, path, size):
        batch = Batch(0, "events", root, path, size, start, stop, follow_links=True)
        count = FileCounts(path)
        for _ in _read_file(batch, 0, count):
            pass
        digests.append(count.digest)
    return join_digests(digests)


def join_digests(digests: Sequence[bytes]) -> bytes:
    """Return the digest of a file read in parts, from those of its parts in their order."""
    return digests[0] if len(digests) == 1 else sha256(b"".join(digests)).digest()


def _without_torn_line(data: bytes) -> bytes:
    """Leave out the last line of a file that grew while it was read, if it hasn't ended.

    Whoever writes the file isn't done with it: the next run finds it changed, and reads it whole.
    """
    return data[: data.rfind(b"\n") + 1]


def _known(batch: Batch) -> int | None:
    """Return the lines before a batch's first byte, where that takes no reading."""
    return 0 if batch.start == 0 else None


def _pread(descriptor: int, start: int, stop: int) -> bytes:
    """Read a byte range, or as much of it as there is."""
    data = os.pread(descriptor, stop - start, start)
    if len(data) == stop - start or not data:
        return data
    parts = [data]
    while data := os.pread(descriptor, stop - start, start + sum(map(len, parts))):
        parts.append(data)
    return b"".join(parts)


def _read_chunks(
    file: BinaryIO, index: int, start: int, stop: int | None, lines_before: int | None
) -> Iterator[Segment]:
    """Yield a long stream in segments that end where records end."""
    position, rest = start, b""
    while True:
        wanted = CHUNK_BYTES if stop is None else min(CHUNK_BYTES, stop - position - len(rest))
        chunk = file.read(wanted) if wanted > 0 else b""
        data = rest + chunk
        end = _last_boundary(data) if chunk else len(data)
        if chunk and not end and len(data) < MAX_RECORD_BYTES:
            rest = data
            continue
        whole, rest = data[: end or len(data)], data[end or len(data) :]
        if whole:
            yield Segment(index, whole, position, lines_before)
        position += len(whole)
        if lines_before is not None:
            lines_before += whole.count(b"\n")
        if not chunk:
            return


def _last_boundary(data: bytes) -> int:
    """Return where the last record that may go on begins; 0 where none is known to be whole."""
    at = max(data.rfind(b"}\n{"), data.rfind(b"}\r\n{"))
    match = BOUNDARY.match(data, at) if at >= 0 else None
    return match.end() if match else end_of_whole_records(data)


# --- parsing ------------------------------------------------------------------------------------


def _parse(segments: list[Segment], rules: Rules, batch: Batch) -> Iterator[Extract]:
    """Take the fast path; where it refuses, halve the bytes until little is left to salvage."""
    fast = _parse_fast(segments, rules)
    if fast is not None:
        yield fast
        return
    halves = _halve(segments)
    if halves is None:
        yield _salvage(segments, rules, batch)
        return
    for half in halves:
        yield from _parse(half, rules, batch)


def _halve(segments: list[Segment]) -> tuple[list[Segment], list[Segment]] | None:
    """Cut the segments in two; None where they are small, or one that has no place to cut."""
    if sum(len(segment.data) for segment in segments) <= SALVAGE_BYTES:
        return None
    if len(segments) > 1:
        middle = len(segments) // 2
        return segments[:middle], segments[middle:]
    (whole,) = segments
    match = BOUNDARY.search(whole.data, len(whole.data) // 2)
    if match is None:
        return None
    left, right = whole.data[: match.end()], whole.data[match.end() :]
    before = whole.lines_before
    lines = None if before is None else before + left.count(b"\n")
    return (
        [Segment(whole.file, left, whole.offset, before)],
        [Segment(whole.file, right, whole.offset + len(left), lines)],
    )


def _parse_fast(segments: list[Segment], rules: Rules) -> Extract | None:
    """Parse all segments at once; None if any record is in doubt."""
    buffer = b"\n".join(segment.data for segment in segments)
    try:
        parsed = pl.read_ndjson(buffer, schema=rules.parsed)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None
    records = _count_lines(segments, parsed.height)
    if records is None or hides_numbers(parsed) or not _text_is_text(buffer, parsed, rules):
        return None
    files = [
        segment.file
        for segment, number in zip(segments, records, strict=True)
        for _ in range(number)
    ]
    columns = [pl.Series("file", files, dtype=pl.UInt32)]
    if rules.needs_offset:
        columns.append(pl.Series("offset", _offsets(segments, records), dtype=pl.Int64))
    parsed = parsed.with_columns(columns)
    typed = rules.type_frame(parsed)
    if not rules.is_clean(typed):
        return None
    by_file: Counter[int] = Counter()
    for segment, number in zip(segments, records, strict=True):
        by_file[segment.file] += number
    return Extract(typed, by_file, _per_file(parsed.filter(rules.is_filtered)))


def _count_lines(segments: list[Segment], height: int) -> list[int] | None:
    """Count each segment's lines that aren't blank; None if they aren't as many as were parsed."""
    numbers = [_newlines_between(segment.data) for segment in segments]
    if sum(numbers) != height:
        lines = (segment.data.split(b"\n") for segment in segments)
        numbers = [sum(1 for line in split if line.strip(_BLANK)) for split in lines]
    return numbers if sum(numbers) == height else None


def _newlines_between(data: bytes) -> int:
    """Count the lines, where none is blank."""
    return data.count(b"\n") + (bool(data) and not data.endswith(b"\n"))


def _offsets(segments: list[Segment], records: list[int]) -> list[int]:
    """Return the offset in its file of each record: of its first byte that isn't blank."""
    offsets: list[int] = []
    for segment, number in zip(segments, records, strict=True):
        if number == 1:
            data = segment.data
            if data[:1] == b"{":
                offsets.append(segment.offset)
                continue
            offsets.append(segment.offset + len(data) - len(data.lstrip(_BLANK)))
            continue
        lines = segment.data.split(b"\n")
        starts = accumulate((len(line) + 1 for line in lines), initial=segment.offset)
        offsets.extend(
            start + len(line) - len(line.lstrip(_BLANK))
            for line, start in zip(lines, starts, strict=False)
            if line.strip(_BLANK)
        )
    return offsets


def _text_is_text(buffer: bytes, parsed: pl.DataFrame, rules: Rules) -> bool:
    """Look at the records whose text Polars may have made of something else."""
    rows = doubtful_rows(parsed, rules.doubtful)
    if not rows:
        return True
    lines = buffer.split(b"\n")
    if len(lines) != parsed.height:
        lines = [line for line in lines if line.strip(_BLANK)]
    for row in rows:
        for found in decode_records(lines[row]):
            if isinstance(found.value, Rejection):
                return False
            values = (found.value.get(key) for key in rules.doubtful)
            if not all(value is None or isinstance(value, str) for value in values):
                return False
    return True


def _salvage(segments: list[Segment], rules: Rules, batch: Batch) -> Extract:
    """Read segments record by record."""
    rows: list[Row] = []
    rejects: list[Reject] = []
    records: Counter[int] = Counter()
    filtered: Counter[int] = Counter()
    for segment in segments:
        for found in decode_records(segment.data):
            records[segment.file] += 1
            try:
                row = _check(found, segment, rules)
            except Rejection as rejection:
                rejects.append(_reject(found, segment, rejection, batch))
                continue
            if row is None:
                filtered[segment.file] += 1
            else:
                rows.append((segment.file, *row))
    return Extract(pl.DataFrame(rows, schema=rules.typed, orient="row"), records, filtered, rejects)


def _check(found: Found, segment: Segment, rules: Rules) -> Row | None:
    """Return a record's row; None if it is filtered."""
    if isinstance(found.value, Rejection):
        raise found.value
    return rules.check(found.value, segment.offset + found.start)


def _reject(found: Found, segment: Segment, rejection: Rejection, batch: Batch) -> Reject:
    """Say where a record was, and keep its bytes."""
    return Reject(
        segment.file,
        _line_of(segment, found.start, batch),
        segment.offset + found.start,
        rejection.column,
        rejection.reason,
        rejection.detail,
        segment.data[found.start : found.stop],
    )


def retry(kind: Kind, file: int, offset: int, raw: bytes) -> Extract:
    """Read a rejected record again.

    Args:
        kind: what the record is.
        file: index of its file, for the frame.
        offset: where it began in the file.
        raw: its bytes, original or repaired.
    """
    batch = Batch(0, kind, "", "", len(raw))
    return _salvage([Segment(file, raw, offset, 0)], RULES[kind], batch)


def concat_frames(parts: list[Extract]) -> pl.DataFrame:
    """Put the rows of some extracts of one kind together."""
    return pl.concat([part.frame for part in parts])


def _line_of(segment: Segment, position: int, batch: Batch) -> int:
    """Return the number of the line, from 1, that a place in a segment lies in."""
    before = segment.lines_before
    if before is None:
        # Only a part of a big file comes without a count, so its path is all of `paths`.
        before = _count_newlines(os.path.join(batch.root, batch.paths), segment.offset)
    return before + segment.data.count(b"\n", 0, position) + 1


def _count_newlines(path: str, stop: int) -> int:
    """Count the newlines in a file's first bytes: only a reject far into a big file needs them."""
    newlines = 0
    with open(path, "rb") as file:
        while stop > 0 and (data := file.read(min(stop, CHUNK_BYTES))):
            newlines += data.count(b"\n")
            stop -= len(data)
    return newlines

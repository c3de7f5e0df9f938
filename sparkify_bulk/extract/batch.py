"""Bytes of one batch to typed frames, plus rejects: the fast path and the salvage path.

Fast: the bytes of many files, joined by newlines, go through Polars at once with an explicit
schema. Any doubt (a record Polars refuses, a value that isn't clean) sends the same bytes to the
salvage path, which decodes record by record, keeps the good ones and names each bad one. Both paths
accept the same records and read the same values: where a key stands twice, the first counts.
"""

import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from io import BytesIO
from itertools import accumulate
from typing import IO, BinaryIO, NamedTuple

import orjson
import polars as pl

from sparkify_bulk.errors import BooksError
from sparkify_bulk.extract.records import (
    MAX_RECORD_BYTES,
    Found,
    Reject,
    Rejection,
    decode_records,
    end_of_whole_records,
)
from sparkify_bulk.source.formats import HEAD_BYTES, Packing, UnreadableError, tell
from sparkify_bulk.source.manifest import BOUNDARY, Batch, Kind, parts_of
from sparkify_bulk.source.reader import Read, clamped, open_flags, read_small
from sparkify_bulk.source.unpack import DAMAGE, Unpacker
from sparkify_bulk.transform.rules import (
    RULES,
    Row,
    Rules,
    doubtful_rows,
    has_odd_integers,
    integers_as_text,
    may_be_inexact,
    rows_of_no_integers,
    strict_schema,
)

# Read at a time from a file: no smaller than a batch, so that a batch of small files is one buffer.
CHUNK_BYTES = 32 * 2**20
# Segments up to this number are parsed where they are; of more, a copy is made in one piece.
_FEW_SOURCES = 8
# A compressed file may expand this many fold; logs expand about twenty. Beyond, somebody has built
# it to fill memory and disks.
MAX_EXPANSION = 250
# Bytes that are worth calling Polars for.
_LONG_BYTES = 2**17
# Below this many bytes a buffer in doubt is no longer parted but read record by record.
SALVAGE_BYTES = 64 * 2**10
# Records read one by one before they are handed on: limits and signals are looked at in between.
SALVAGE_RECORDS = 5000
SALVAGE_REJECTS = 1000
# Different shapes of records that are remembered.
_MOST_SHAPES = 10_000
_BLANK = b" \t\r\n"
# What text begins with that isn't taken for compressed data by anybody.
_NEVER_PACKED = (b"{", b"[", b" ", b"\r", b"\n")
# A number by the index of a file in its batch.
_NUMBERS = {"file": pl.UInt32, "number": pl.Int64}
# What a damaged or vanished file raises while it is opened or read.
UNREADABLE = (OSError, UnreadableError, *DAMAGE)


class Segment(NamedTuple):
    """Whole records of one file.

    Attributes:
        file: the file's index in the batch.
        data: the bytes.
        offset: where they begin in the file (once decompressed).
        lines_before: newlines before them, from where the batch begins.
    """

    file: int
    data: bytes
    offset: int
    lines_before: int


@dataclass(frozen=True, slots=True)
class Packed:
    """Many small files in one run of bytes, a newline between each two.

    Attributes:
        data: the bytes.
        files: each file's index in the batch.
        lengths: each file's bytes.
        one_line_each: every file is one line that begins with `{`.
    """

    data: bytes
    files: list[int]
    lengths: list[int]
    one_line_each: bool

    def segments(self) -> list[Segment]:
        """Take the files apart."""
        stops = accumulate(self.lengths, lambda stop, length: stop + 1 + length)
        return [
            Segment(file, self.data[stop - length : stop], 0, 0)
            for file, length, stop in zip(self.files, self.lengths, stops, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Extract:
    """What one buffer held: a typed frame of the accepted records, and what befell the others.

    `records` and `filtered` are counts by the index of the file: columns `file` and `number`.
    """

    frame: pl.DataFrame
    records: pl.DataFrame
    filtered: pl.DataFrame
    rejects: list[Reject] = field(default_factory=list)


class Books:
    """What was read of the files of a batch, in its order: the books of each file."""

    def __init__(self, files: Sequence[str]) -> None:
        """Open them.

        Args:
            files: the batch's files.
        """
        self._files = files
        self.bytes = [0] * len(files)
        self.modified_ns = [0] * len(files)
        self.digests = [b""] * len(files)
        self._entries: list[pl.DataFrame] = []

    def take(self, read: Read, places: Iterable[int]) -> None:
        """Enter small files that were read, and where each stands in the batch."""
        columns = zip(places, read.sizes, read.modified_ns, read.digests, strict=True)
        for place, size, modified_ns, digest in columns:
            self.bytes[place] = size
            self.modified_ns[place] = modified_ns
            self.digests[place] = digest

    def enter(self, part: Extract) -> None:
        """Enter what befell a buffer's records."""
        rejected = Counter(reject.file for reject in part.rejects)
        counts = {
            "records": part.records,
            "accepted": _per_file(part.frame),
            "filtered": part.filtered,
            "rejected": _numbers(rejected),
        }
        self._entries += [
            frame.rename({"number": name}) for name, frame in counts.items() if frame.height
        ]

    def close(self) -> pl.DataFrame:
        """Return a row a file: what was read, and `records = accepted + filtered + rejected`.

        `digest` is the SHA-256 of the bytes, once decompressed.

        Raises:
            BooksError: the records of a file don't add up.
        """
        fates = ("accepted", "filtered", "rejected")
        schema = {"file": pl.UInt32} | dict.fromkeys(("records", *fates), pl.Int64)
        entries = [pl.DataFrame(schema=schema), *self._entries]
        totals = pl.concat(entries, how="diagonal").group_by("file").sum()
        closed = (
            pl.DataFrame(
                {"bytes": self.bytes, "modified_ns": self.modified_ns, "digest": self.digests},
                schema={"bytes": pl.Int64, "modified_ns": pl.Int64, "digest": pl.Binary},
            )
            .with_row_index("file")
            .join(totals, on="file", how="left", maintain_order="left")
            .with_columns(pl.col("records", *fates).fill_null(0))
        )
        wrong = closed.filter(pl.col("records") != pl.sum_horizontal(fates))
        for row in wrong.iter_rows(named=True):
            raise BooksError(
                f"{self._files[row['file']]}: {row['records']} records, but {row['accepted']} "
                f"accepted, {row['filtered']} filtered and {row['rejected']} rejected"
            )
        return closed.drop("file")


def extract(batch: Batch, books: Books, *, slowly: bool = False) -> Iterator[Extract]:
    """Yield the records of a batch, a buffer at a time.

    Args:
        batch: the files, or the part of a file, to read.
        books: of its files; kept while reading.
        slowly: take the salvage path throughout.
    """
    rules = RULES[batch.kind]
    for found in _gather(batch, books):
        if isinstance(found, Reject):
            empty = pl.DataFrame(schema=rules.typed)
            one = _numbers({found.file: 1})
            extracts = iter([Extract(empty, one, _numbers({}), [found])])
        elif slowly:
            extracts = _salvage(_apart(found), rules, batch)
        else:
            extracts = _parse(found, rules, batch)
        for part in extracts:
            books.enter(part)
            yield part


def _numbers(by_file: Mapping[int, int]) -> pl.DataFrame:
    columns = {"file": list(by_file.keys()), "number": list(by_file.values())}
    return pl.DataFrame(columns, schema=_NUMBERS)


def _per_file(frame: pl.DataFrame) -> pl.DataFrame:
    """Count a frame's rows by their file."""
    return frame.group_by("file").agg(pl.len().cast(pl.Int64).alias("number"))


def _apart(found: Packed | list[Segment]) -> list[Segment]:
    return found.segments() if isinstance(found, Packed) else found


def _gather(batch: Batch, books: Books) -> Iterator[Packed | list[Segment] | Reject]:
    """Gather what is parsed at once; a file that can't be read comes by itself."""
    files = batch.files
    left: Iterable[int] = range(len(files))
    if not batch.is_part:
        read, places = batch.read, list(left)
        if read is None:
            read, places = read_small(batch.root, files, follow_links=batch.follow_links)
        books.take(read, places)
        if places:
            yield Packed(read.data, places, list(read.sizes), read.one_line_each)
        left = sorted(set(left).difference(places))
    gathered: list[Segment] = []
    size = 0
    for index in left:
        began = False
        try:
            for segment in _read_file(batch, files[index], index, books):
                if gathered and size + len(segment.data) > CHUNK_BYTES:
                    yield gathered
                    gathered, size = [], 0
                gathered.append(segment)
                size += len(segment.data)
                began = True
        # Whatever is wrong with one file must not keep the others from being read.
        except Exception as error:  # noqa: BLE001
            upto = " to its end" if began else ""
            detail = f"the file can't be read{upto}: {_why_unreadable(error)}"
            yield Reject(index, None, None, None, "unreadable_file", detail, b"")
    if gathered:
        yield gathered


def _why_unreadable(error: Exception) -> str:
    """Say in plain words why a file can't be read."""
    if isinstance(error, UnreadableError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, MemoryError):
        return "it takes more memory than there is"
    return f"it caused an unexpected error ({type(error).__name__})"


# --- reading ------------------------------------------------------------------------------------


def _read_file(batch: Batch, file: str, index: int, books: Books) -> Iterator[Segment]:
    """Yield a file's whole records in segments of about `CHUNK_BYTES`.

    Bytes are read, never mapped: a file that shrinks meanwhile ends early instead of killing the
    process. The length is taken at opening, so that a file that grows doesn't hold the run up.
    """
    path = os.path.join(batch.root, file)
    descriptor = os.open(path, open_flags(follow_links=batch.follow_links))
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableError("it is not a regular file")
        stop = status.st_size if batch.stop is None else batch.stop
        books.bytes[index] = max(0, stop - batch.start)
        books.modified_ns[index] = clamped(status.st_mtime_ns)
        # Only plain files are read in parts.
        packing = tell(os.pread(descriptor, HEAD_BYTES, 0)) if batch.start == 0 else "plain"
        if packing == "plain" and books.bytes[index] <= CHUNK_BYTES:
            data = _pread(descriptor, batch.start, stop)
            if os.fstat(descriptor).st_size > status.st_size:
                data = _without_torn_line(data)
            books.digests[index] = sha256(data).digest()
            yield Segment(index, data, batch.start, 0)
            return
        digest = sha256()
        for segment in _read_long(descriptor, batch, index, stop, packing):
            digest.update(segment.data)
            yield segment
        books.digests[index] = digest.digest()
    finally:
        os.close(descriptor)


def _read_long(
    descriptor: int, batch: Batch, index: int, stop: int, packing: Packing
) -> Iterator[Segment]:
    """Yield a file that is compressed, or longer than a chunk.

    Raises:
        UnreadableError: it can't be read, or not to its end; its whole records were yielded before.
    """
    with os.fdopen(os.dup(descriptor), "rb") as raw:
        if packing == "plain":
            raw.seek(batch.start)
            yield from _read_chunks(raw, index, batch.start, stop)
            return
        unpacker = Unpacker(raw, packing)
        _refuse_packed(unpacker.peek(HEAD_BYTES), packing)
        length = 0
        for segment in _read_chunks(unpacker, index, 0, None):
            length += len(segment.data)
            if length > MAX_EXPANSION * stop + CHUNK_BYTES:
                raise UnreadableError(
                    f"it expands more than {MAX_EXPANSION}-fold; if that is right, unpack it first"
                )
            yield segment
        if unpacker.damage:
            raise UnreadableError(unpacker.damage)


def _refuse_packed(head: bytes, packing: Packing) -> None:
    """Refuse a compressed file that holds no text.

    Args:
        head: what it holds begins so.
        packing: how it is compressed.

    Raises:
        UnreadableError: it holds no text.
    """
    try:
        inner = tell(head)
    except UnreadableError as error:
        raise UnreadableError(f"of what the {packing} data hold: {error}") from None
    if inner != "plain":
        unpack = "gunzip" if packing == "gzip" else "unzstd"
        raise UnreadableError(f"it is {inner} within {packing}; unpack it once: {unpack} FILE")


def digest_file(root: str, path: str) -> bytes:
    """Return the digest that the ledger keeps of a file: of its parts' digests, in their order.

    Raises:
        OSError, UnreadableError: the file can't be read.
    """
    size = os.stat(os.path.join(root, path)).st_size
    digests = []
    for start, stop in parts_of(root, path, size):
        batch = Batch(0, "events", root, path, size, start, stop, follow_links=True)
        books = Books([path])
        for _ in _read_file(batch, path, 0, books):
            pass
        digests += books.digests
    return join_digests(digests)


def join_digests(digests: Sequence[bytes]) -> bytes:
    """Return the digest of a file read in parts, from those of its parts in their order."""
    return digests[0] if len(digests) == 1 else sha256(b"".join(digests)).digest()


def _without_torn_line(data: bytes) -> bytes:
    """Leave out the last line of a file that grew while it was read, if it hasn't ended.

    Whoever writes the file isn't done with it: the next run finds it changed, and reads it whole.
    """
    return data[: data.rfind(b"\n") + 1]


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
    file: BinaryIO | Unpacker, index: int, start: int, stop: int | None
) -> Iterator[Segment]:
    """Yield a long stream in segments that end where records end; damaged, only whole ones."""
    position, rest, lines_before = start, b"", 0
    while True:
        wanted = CHUNK_BYTES if stop is None else min(CHUNK_BYTES, stop - position - len(rest))
        chunk = file.read(wanted) if wanted > 0 else b""
        data = rest + chunk
        if not chunk and isinstance(file, Unpacker) and file.damage:
            data = _without_torn_record(data)
        end = _last_boundary(data) if chunk else len(data)
        if chunk and not end and len(data) < MAX_RECORD_BYTES:
            rest = data
            continue
        whole, rest = data[: end or len(data)], data[end or len(data) :]
        if whole:
            yield Segment(index, whole, position, lines_before)
        position += len(whole)
        lines_before += whole.count(b"\n")
        if not chunk:
            return


def _without_torn_record(data: bytes) -> bytes:
    """Leave out the record that damaged data end within."""
    end = _last_boundary(data)
    return data[: end + end_of_whole_records(data[end:])]


def _last_boundary(data: bytes) -> int:
    """Return where the last record that may go on begins; 0 where none is known to be whole."""
    at = max(data.rfind(b"}\n{"), data.rfind(b"}\r\n{"))
    match = BOUNDARY.match(data, at) if at >= 0 else None
    return match.end() if match else end_of_whole_records(data)


# --- parsing ------------------------------------------------------------------------------------


class _Fast(NamedTuple):
    """What the fast path took, and the lines that it leaves to the salvage path."""

    part: Extract
    others: list[Segment]


def _parse(found: Packed | list[Segment], rules: Rules, batch: Batch) -> Iterator[Extract]:
    """Take the fast path; what it refuses is parted into lines it may take, and all others."""
    fast = _parse_fast(found, rules)
    if fast is not None:
        yield from _both(fast, rules, batch)
        return
    segments = _apart(found)
    if _size(segments) <= SALVAGE_BYTES:
        yield from _salvage(segments, rules, batch)
        return
    plain, others = _sort_lines(segments, rules)
    if plain:
        yield from _parse_plain(plain, rules, batch)
    if others:
        yield from _salvage(others, rules, batch)


def _parse_plain(segments: list[Segment], rules: Rules, batch: Batch) -> Iterator[Extract]:
    """Take the fast path; where it refuses, halve the lines until little is left to salvage."""
    fast = _parse_fast(segments, rules)
    if fast is not None:
        yield from _both(fast, rules, batch)
        return
    halves = _halve(segments)
    if halves is None:
        yield from _salvage(segments, rules, batch)
        return
    for half in halves:
        yield from _parse_plain(half, rules, batch)


def _both(fast: _Fast, rules: Rules, batch: Batch) -> Iterator[Extract]:
    yield fast.part
    if fast.others:
        yield from _salvage(fast.others, rules, batch)


def _size(segments: list[Segment]) -> int:
    return sum(len(segment.data) for segment in segments)


def _sort_lines(segments: list[Segment], rules: Rules) -> tuple[list[Segment], list[Segment]]:
    """Part lines that look like records of their own from all others, each in runs of lines.

    They are parted only where the salvage path parts them, too: behind a whole record, and between
    a line that ends with a `}` and one that begins with a `{`.
    """
    runs: dict[bool, list[Segment]] = {True: [], False: []}
    shapes = _Shapes(rules, odd=any(has_odd_integers(one.data, rules) for one in segments))
    for segment in segments:
        kind, closed = True, True
        start, position, first = 0, 0, 0
        for number, line in enumerate(segment.data.split(b"\n")):
            words = line.strip(_BLANK)
            if words:
                is_plain = (kind or closed) and shapes.is_plain(words)
                if is_plain != kind:
                    runs[kind].append(_piece(segment, start, position, first))
                    kind, start, first = is_plain, position, number
                closed = words.endswith(b"}")
            position += len(line) + 1
        runs[kind].append(_piece(segment, start, position, first))
    return [run for run in runs[True] if run.data], runs[False]


def _piece(segment: Segment, start: int, stop: int, lines: int) -> Segment:
    """Cut a piece out of a segment, before which there are so many lines of it."""
    data = segment.data[start:stop]
    return Segment(segment.file, data, segment.offset + start, segment.lines_before + lines)


class _Shapes:
    """Tells whether a line is one record whose values have types that Polars reads as they are.

    A log has few shapes of records, which are remembered.
    """

    def __init__(self, rules: Rules, *, odd: bool) -> None:
        """Begin; `odd` if whole numbers may be written as text or floats."""
        self._types = {
            key: (str, int, float, type(None)) if odd and key in rules.integers else _TYPES[dtype]
            for key, dtype in rules.parsed.items()
        }
        self._seen: dict[tuple[object, ...], bool] = {}

    def is_plain(self, line: bytes) -> bool:
        """Look at a line without blanks around it."""
        if not line.startswith(b"{") or len(line) > _LONG_BYTES:
            return False
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError:
            return False
        shape = (*record, *map(type, record.values()))
        seen = self._seen
        if shape not in seen:
            if len(seen) >= _MOST_SHAPES:
                seen.clear()
            seen[shape] = all(type(record.get(key)) in kinds for key, kinds in self._types.items())
        return seen[shape]


_TYPES: dict[pl.DataType, tuple[type, ...]] = {
    pl.String(): (str, type(None)),
    pl.Int64(): (int, type(None)),
    pl.Float64(): (int, float, type(None)),
}


def _halve(segments: list[Segment]) -> tuple[list[Segment], list[Segment]] | None:
    """Cut the segments in two; None where they are small, or one that has no place to cut."""
    if _size(segments) <= SALVAGE_BYTES:
        return None
    if len(segments) > 1:
        middle = len(segments) // 2
        return segments[:middle], segments[middle:]
    (whole,) = segments
    match = BOUNDARY.search(whole.data, len(whole.data) // 2)
    if match is None:
        return None
    left, right = whole.data[: match.end()], whole.data[match.end() :]
    lines = whole.lines_before + left.count(b"\n")
    return (
        [Segment(whole.file, left, whole.offset, whole.lines_before)],
        [Segment(whole.file, right, whole.offset + len(left), lines)],
    )


def _parse_fast(found: Packed | list[Segment], rules: Rules) -> _Fast | None:
    """Parse all segments at once; leave lines aside whose values aren't right.

    None if lines can't be told apart, as Polars refuses all of them for one.
    """
    sources = _sources(found)
    if any(_has_long_line(source) for source in sources):
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
        return _Fast(_extract(typed, parsed, rules), [])
    is_filtered = parsed.with_columns(rules.is_filtered.alias("filtered"))["filtered"]
    rows = is_filtered.not_().arg_true()
    other_rows += rows.filter(~clean).to_list()
    is_other = pl.int_range(parsed.height, eager=True).is_in(other_rows)
    typed = typed.filter(~is_other.gather(rows))
    others = _lines_at(_apart(found), set(other_rows))
    return _Fast(_extract(typed, parsed.filter(~is_other), rules), others)


def _extract(typed: pl.DataFrame, parsed: pl.DataFrame, rules: Rules) -> Extract:
    return Extract(typed, _per_file(parsed), _per_file(parsed.filter(rules.is_filtered)))


def _has_long_line(data: bytes) -> bool:
    """Tell whether a line is so long that Polars might take quadratic time for its keys."""
    position = 0
    while len(data) - position > _LONG_BYTES:
        end = data.rfind(b"\n", position, position + _LONG_BYTES)
        if end < 0:
            return True
        position = end + 1
    return False


def _lines_at(segments: list[Segment], rows: set[int]) -> list[Segment]:
    """Return some of the lines that aren't blank, by their numbers."""
    found = []
    row = 0
    for segment in segments:
        position = 0
        for number, line in enumerate(segment.data.split(b"\n")):
            if line.strip(_BLANK):
                if row in rows:
                    found.append(_piece(segment, position, position + len(line), number))
                row += 1
            position += len(line) + 1
    return found


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
    return BytesIO(source if source[:1] in _NEVER_PACKED else b"\n" + source)


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
    segments = _apart(found)
    numbers = _count_lines(segments, height)
    if numbers is None:
        return None
    columns = {"file": [segment.file for segment in segments], "number": numbers}
    lines = pl.DataFrame(columns, schema=_NUMBERS)
    places = lines.filter(pl.col("number") > 0).select(pl.col("file").repeat_by("number").explode())
    if with_offset:
        offsets = pl.Series("offset", _offsets(segments, numbers), dtype=pl.Int64)
        places = places.with_columns(offsets)
    return places


def _count_lines(segments: list[Segment], height: int) -> list[int] | None:
    """Count each segment's lines that aren't blank; None if they aren't as many as were parsed."""
    numbers = [_lines(segment.data) for segment in segments]
    if sum(numbers) != height:
        lines = (segment.data.split(b"\n") for segment in segments)
        numbers = [sum(1 for line in split if line.strip(_BLANK)) for split in lines]
    return numbers if sum(numbers) == height else None


def _lines(data: bytes) -> int:
    """Count the lines; the last one needs no newline.

    Python's own count would hold up all other workers while it goes through a log.
    """
    if len(data) > _LONG_BYTES and data[:1] in _NEVER_PACKED:
        return int(pl.scan_lines(BytesIO(data)).select(pl.len()).collect().item())
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


def _rows_of_no_text(sources: list[bytes], parsed: pl.DataFrame, rules: Rules) -> list[int]:
    """Return the rows whose text Polars has made of something else."""
    rows = doubtful_rows(parsed, rules.doubtful)
    if not rows:
        return []
    lines = [line for source in sources for line in source.split(b"\n")]
    if len(lines) != parsed.height:
        lines = [line for line in lines if line.strip(_BLANK)]
    return [row for row in rows if not _holds_text(lines[row], rules)]


def _holds_text(line: bytes, rules: Rules) -> bool:
    """Tell whether the values that must be text are text in a line."""
    for found in decode_records(line):
        if isinstance(found.value, Rejection):
            return False
        values = (found.value.get(key) for key in rules.doubtful)
        if not all(value is None or isinstance(value, str) for value in values):
            return False
    return True


@dataclass(slots=True)
class _Salvaged:
    """Records read one by one."""

    rows: list[Row] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    records: Counter[int] = field(default_factory=Counter)
    filtered: Counter[int] = field(default_factory=Counter)

    def extract(self, rules: Rules) -> Extract:
        frame = pl.DataFrame(self.rows, schema=rules.typed, orient="row")
        return Extract(frame, _numbers(self.records), _numbers(self.filtered), self.rejects)


def _salvage(segments: list[Segment], rules: Rules, batch: Batch) -> Iterator[Extract]:
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
                line = lines + 1 + (_lines_before(batch) if batch.start else 0)
                part.rejects.append(_reject(found, segment, row, line))
                continue
            if row is None:
                part.filtered[segment.file] += 1
            else:
                part.rows.append((segment.file, *row))
    yield part.extract(rules)


def _check(found: Found, segment: Segment, rules: Rules) -> Row | Rejection | None:
    """Return a record's row, or why it is refused; None if it is filtered."""
    if isinstance(found.value, Rejection):
        return found.value
    try:
        return rules.check(found.value, segment.offset + found.start)
    except Rejection as rejection:
        return rejection


def _reject(found: Found, segment: Segment, rejection: Rejection, line: int) -> Reject:
    """Say where a record was, and keep its bytes."""
    return Reject(
        segment.file,
        line,
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
    parts = list(_salvage([Segment(file, raw, offset, 0)], RULES[kind], batch))
    return Extract(
        concat_frames(parts),
        pl.concat(part.records for part in parts),
        pl.concat(part.filtered for part in parts),
        [reject for part in parts for reject in part.rejects],
    )


def concat_frames(parts: list[Extract]) -> pl.DataFrame:
    """Put the rows of some extracts of one kind together."""
    return pl.concat([part.frame for part in parts])


def _lines_before(batch: Batch) -> int:
    """Count the newlines before a part of a big file: only rejects need their number."""
    # Such a part's path is all of `paths`.
    path = os.path.join(batch.root, batch.paths)
    status = os.stat(path)
    version = (status.st_ino, status.st_size, status.st_mtime_ns)
    starts = range(0, batch.start, CHUNK_BYTES)
    return sum(
        _count_newlines(path, version, start, min(start + CHUNK_BYTES, batch.start))
        for start in starts
    )


@lru_cache(maxsize=2**16)
def _count_newlines(path: str, _version: tuple[int, ...], start: int, stop: int) -> int:
    """Count the newlines in a stretch of a file, once for all its parts."""
    with open(path, "rb") as file:
        file.seek(start)
        return file.read(stop - start).count(b"\n")

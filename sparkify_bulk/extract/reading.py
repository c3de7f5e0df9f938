"""Files of one batch to segments of whole records."""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import BinaryIO

from sparkify_bulk.extract.counts import Books
from sparkify_bulk.extract.records import MAX_RECORD_BYTES, end_of_whole_records
from sparkify_bulk.extract.rejects import Reject, reject_file
from sparkify_bulk.extract.segments import Packed, Segment
from sparkify_bulk.source.formats import HEAD_BYTES, Packing, UnreadableError, tell
from sparkify_bulk.source.manifest import BOUNDARY, Batch, parts_of
from sparkify_bulk.source.reader import clamped, open_flags, read_small
from sparkify_bulk.source.unpack import DAMAGE, Unpacker

# Read at a time from a file: no smaller than a batch, so that a batch of small files is one buffer.
CHUNK_BYTES = 32 * 2**20
# A compressed file may expand this many fold; logs expand about twenty. Beyond, somebody has built
# it to fill memory and disks.
MAX_EXPANSION = 250
# What a damaged or vanished file raises while it is opened or read.
UNREADABLE = (OSError, UnreadableError, *DAMAGE)


def gather(batch: Batch, books: Books) -> Iterator[Packed | list[Segment] | Reject]:
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
            yield reject_file(index, error, began=began)
    if gathered:
        yield gathered


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


def lines_before_part(batch: Batch) -> int:
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

"""Files of one batch to segments of whole records."""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from itertools import starmap
from typing import NamedTuple

from sparkify_bulk.errors import SparkifyBulkError
from sparkify_bulk.extract.counts import FileRead
from sparkify_bulk.extract.records import MAX_RECORD_BYTES, end_of_whole_records
from sparkify_bulk.extract.rejects import Reject, reject_file
from sparkify_bulk.extract.segments import Packed, Segment
from sparkify_bulk.source import reading
from sparkify_bulk.source.batches import BOUNDARY, Batch
from sparkify_bulk.source.formats import UnreadableError
from sparkify_bulk.source.listing import Read
from sparkify_bulk.source.store import Store


class Gathered(NamedTuple):
    """What is parsed at once, or a file that can't be read; and what has become known of files."""

    found: Packed | list[Segment] | Reject
    reads: list[FileRead]


def gather(batch: Batch) -> Iterator[Gathered]:
    """Gather what is parsed at once; a file that can't be read comes by itself."""
    files = batch.files
    with batch.store.ahead(files) as store:
        yield from _gather(batch, store, files)


def _gather(batch: Batch, store: Store, files: list[str]) -> Iterator[Gathered]:
    left: Iterable[int] = range(len(files))
    read, places = _small(batch, store, files)
    if read and places:
        columns = zip(places, read.sizes, read.modified_ns, read.digests, strict=True)
        packed = Packed(read.data, places, list(read.sizes), read.one_line_each)
        yield Gathered(packed, list(starmap(FileRead, columns)))
        left = sorted(set(left).difference(places))
    segments: list[Segment] = []
    reads: list[FileRead] = []
    size = 0
    for index in left:
        began = False
        try:
            for one in _read_file(batch, store, files[index], index):
                if isinstance(one, FileRead):
                    reads.append(one)
                    continue
                if segments and size + len(one.data) > reading.CHUNK_BYTES:
                    yield Gathered(segments, reads)
                    segments, reads, size = [], [], 0
                segments.append(one)
                size += len(one.data)
                began = True
        # The store itself can't be read: none of its files is at fault.
        except SparkifyBulkError:
            raise
        # Whatever is wrong with one file must not keep the others from being read.
        except Exception as error:  # noqa: BLE001
            yield Gathered(reject_file(index, error, began=began), reads)
            reads = []
    if segments or reads:
        yield Gathered(segments, reads)


def _small(batch: Batch, store: Store, files: list[str]) -> tuple[Read | None, list[int]]:
    """Return the small plain files of a batch, and where they stand in it."""
    if batch.is_part:
        return None, []
    if batch.read:
        return batch.read, list(range(len(files)))
    return store.read_small(files) or (None, [])


def _read_file(batch: Batch, store: Store, file: str, index: int) -> Iterator[Segment | FileRead]:
    """Yield a file's whole records in segments of about a chunk of `reading`'s, and what it is.

    Raises:
        UnreadableError: it can't be read, or not to its end; its whole records were yielded before.
    """
    with reading.open_text(store, file, batch.start, batch.stop, batch.modified_ns) as text:
        yield FileRead(index, text.size, text.modified_ns)
        if text.is_short:
            segments = iter([Segment(index, text.read(), batch.start, 0)])
        else:
            segments = _read_chunks(text, index, batch.start)
        digest = sha256()
        for segment in segments:
            digest.update(segment.data)
            yield segment
        if text.damage:
            raise UnreadableError(text.damage)
        yield FileRead(index, digest=digest.digest())


def _read_chunks(text: reading.Text, index: int, start: int) -> Iterator[Segment]:
    """Yield a long text in segments that end where records end; damaged, only whole ones."""
    position, rest, lines_before = start, b"", 0
    while True:
        chunk = text.read()
        data = rest + chunk
        if not chunk and text.damage:
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

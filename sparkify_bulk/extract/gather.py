"""Files of one batch to segments of whole records."""

from collections.abc import Iterable, Iterator
from hashlib import sha256

from sparkify_bulk.extract.counts import Books
from sparkify_bulk.extract.records import MAX_RECORD_BYTES, end_of_whole_records
from sparkify_bulk.extract.rejects import Reject, reject_file
from sparkify_bulk.extract.segments import Packed, Segment
from sparkify_bulk.source import reading
from sparkify_bulk.source.batches import BOUNDARY, Batch
from sparkify_bulk.source.formats import UnreadableError


def gather(batch: Batch, books: Books) -> Iterator[Packed | list[Segment] | Reject]:
    """Gather what is parsed at once; a file that can't be read comes by itself."""
    files = batch.files
    left: Iterable[int] = range(len(files))
    if not batch.is_part:
        read, places = batch.read, list(left)
        if read is None:
            read, places = batch.store.read_small(files) or (None, [])
        if read and places:
            books.take(read, places)
            yield Packed(read.data, places, list(read.sizes), read.one_line_each)
            left = sorted(set(left).difference(places))
    gathered: list[Segment] = []
    size = 0
    for index in left:
        began = False
        try:
            for segment in _read_file(batch, files[index], index, books):
                if gathered and size + len(segment.data) > reading.CHUNK_BYTES:
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
    """Yield a file's whole records in segments of about a chunk of `reading`'s.

    Raises:
        UnreadableError: it can't be read, or not to its end; its whole records were yielded before.
    """
    with reading.open_text(batch.store, file, batch.start, batch.stop) as text:
        books.bytes[index] = text.size
        books.modified_ns[index] = text.modified_ns
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
        books.digests[index] = digest.digest()


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

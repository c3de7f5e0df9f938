"""Read an input file, or a part of one, as the bytes that its records are written in.

Whatever it is packed in is unpacked; what holds no JSON text is refused.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from hashlib import sha256
from typing import BinaryIO

from sparkify_bulk.source.batches import parts_of
from sparkify_bulk.source.formats import (
    HEAD_BYTES,
    Packing,
    ReplacedError,
    UnreadableError,
    tell,
)
from sparkify_bulk.source.store import File, Store
from sparkify_bulk.source.unpack import DAMAGE, Unpacker

# Read at a time from a file: no smaller than a batch, so that a batch of small files is one buffer.
CHUNK_BYTES = 32 * 2**20
# A compressed file may expand this many fold; logs expand about twenty. Beyond, somebody has built
# it to fill memory and disks.
MAX_EXPANSION = 250
# What a damaged or vanished file raises while it is opened or read.
UNREADABLE = (OSError, UnreadableError, *DAMAGE)


class Text:
    """The bytes of a file or of a part of one, unpacked, to be read once, in order.

    Attributes:
        size: bytes in the store.
        modified_ns: when the file was changed last.
        is_short: whether one chunk holds all of it.
    """

    def __init__(self, file: File, start: int, stop: int | None, closing: ExitStack) -> None:
        """Begin.

        Args:
            file: the file.
            start: where the range begins.
            stop: where it ends; None for "at its end".
            closing: closes what is opened.

        Raises:
            UnreadableError: it holds no text.
        """
        self._file = file
        self._position = start
        self._stop = file.size if stop is None else stop
        self.size = max(0, self._stop - start)
        self.modified_ns = file.modified_ns
        # Only plain files are read in parts.
        packing = tell(file.read(0, HEAD_BYTES)) if start == 0 else "plain"
        self.is_short = packing == "plain" and self.size <= CHUNK_BYTES
        self._unpacker: Unpacker | None = None
        self._unpacked = 0
        self._raw: BinaryIO | None = None
        if self.is_short:
            return
        self._raw = closing.enter_context(file.stream(start))
        if packing != "plain":
            self._unpacker = Unpacker(self._raw, packing)
            _refuse_packed(self._unpacker.peek(HEAD_BYTES), packing)

    @property
    def damage(self) -> str | None:
        """What keeps it from being read any further; None as long as nothing does."""
        return self._unpacker.damage if self._unpacker else None

    def read(self) -> bytes:
        """Return the next chunk; fewer bytes than one at the end, or before damage, and then none.

        Raises:
            UnreadableError: it expands to far more than it should.
        """
        if self._unpacker:
            data = self._unpacker.read(CHUNK_BYTES)
            self._unpacked += len(data)
            if self._unpacked > MAX_EXPANSION * self.size + CHUNK_BYTES:
                raise UnreadableError(
                    f"it expands to more than {MAX_EXPANSION} times its size; if this is correct, "
                    "unpack it first"
                )
            return data
        wanted = min(CHUNK_BYTES, self._stop - self._position)
        if wanted <= 0:
            return b""
        if self._raw:
            data = self._raw.read(wanted)
        else:
            data = self._file.read(self._position, self._stop)
            self._stop = 0
            if self._file.has_grown():
                return _without_torn_line(data)
        self._position += len(data)
        return data


@contextmanager
def open_text(
    store: Store,
    path: str,
    start: int = 0,
    stop: int | None = None,
    modified_ns: int | None = None,
) -> Iterator[Text]:
    """Open a file, or a part of one, to read its text.

    Args:
        store: where it is.
        path: its path there.
        start: where a part begins.
        stop: where it ends; None for "at the file's end".
        modified_ns: of the file that the part is of.

    Raises:
        OSError, UnreadableError: it can't be read.
    """
    with ExitStack() as closing:
        file = closing.enter_context(store.open(path))
        if store.is_versioned and modified_ns not in (None, file.modified_ns):
            raise ReplacedError
        yield Text(file, start, stop, closing)


def _without_torn_line(data: bytes) -> bytes:
    """Leave out the last line of a file that grew while it was read, if it hasn't ended.

    Whoever writes the file isn't done with it: the next run finds it changed, and reads it whole.
    """
    return data[: data.rfind(b"\n") + 1]


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


def digest_file(store: Store, path: str, size: int) -> bytes:
    """Return the digest that the ledger keeps of a file: of its parts' digests, in their order.

    Args:
        store: where it is.
        path: its path there.
        size: its bytes, which decide of its parts.

    Raises:
        OSError, UnreadableError: the file can't be read.
    """
    return join_digests([_digest(store, path, *part) for part in parts_of(store, path, size)])


def _digest(store: Store, path: str, start: int, stop: int | None) -> bytes:
    digest = sha256()
    with open_text(store, path, start, stop) as text:
        while data := text.read():
            digest.update(data)
        if text.damage:
            raise UnreadableError(text.damage)
    return digest.digest()


def join_digests(digests: Sequence[bytes]) -> bytes:
    """Return the digest of a file read in parts, from those of its parts in their order."""
    return digests[0] if len(digests) == 1 else sha256(b"".join(digests)).digest()


def newlines_before(store: Store, path: str, place: int) -> int:
    """Count the newlines in a file before a place: only rejects need their number."""
    with store.open(path) as file:
        version = (file.size, file.modified_ns)
    starts = range(0, place, CHUNK_BYTES)
    stretches = ((start, min(start + CHUNK_BYTES, place)) for start in starts)
    return sum(_count_newlines(store, path, version, *stretch) for stretch in stretches)


@lru_cache(maxsize=2**16)
def _count_newlines(
    store: Store, path: str, _version: tuple[int, int], start: int, stop: int
) -> int:
    """Count the newlines in a stretch of a file, once for all its parts."""
    with store.open(path) as file:
        return file.read(start, stop).count(b"\n")

"""Unpack gzip and zstandard files, and keep what stands before damage in them."""

import contextlib
import sys
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from sparkify_bulk.source.formats import Packing, packing_of

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# What is taken from the file, and returned, at a time.
_STEP_BYTES = 2**16
_BLOCK_BYTES = 2**20
# What damaged data raise.
DAMAGE = (zlib.error, zstd.ZstdError, EOFError)


class Unpacker:
    """A gzip or zstandard file being read: all its members, one after the other.

    Attributes:
        damage: what keeps it from being read any further; None as long as nothing does.
    """

    def __init__(self, file: BinaryIO, packing: Packing) -> None:
        """Begin.

        Args:
            file: the packed bytes; it must be able to seek.
            packing: what they are.
        """
        self.damage: str | None = None
        self._file = file
        self._packing = packing
        self._unpacked = 0
        self._blocks = self._unpack()
        self._rest = b""

    def read(self, size: int) -> bytes:
        """Return so many of the unpacked bytes; fewer at the end, or before damage."""
        blocks: list[bytes] = []
        while size > 0 and (block := self._rest or next(self._blocks, b"")):
            blocks.append(block[:size])
            self._rest = block[size:]
            size -= len(blocks[-1])
        return b"".join(blocks)

    def peek(self, size: int) -> bytes:
        """Return the first so many of what `read` returns next."""
        data = self.read(size)
        self._rest = data + self._rest
        return data

    def _unpack(self) -> Iterator[bytes]:
        """Yield what the members hold."""
        start: int | None = 0
        while start is not None:
            before = self._unpacked
            try:
                for block in self._member(start):
                    self._unpacked += len(block)
                    yield block
            except DAMAGE as error:
                yield from self._rescue(start, self._unpacked - before)
                self.damage = self._damage(error)
                return
            start = None if self.damage else self._next_member()

    def _member(self, start: int, *, slow_from: int | None = None) -> Iterator[bytes]:
        """Yield what a member holds, and stop the file behind it.

        Args:
            start: where it begins.
            slow_from: take single bytes from there on.
        """
        unpack = _Gzip() if self._packing == "gzip" else _Zstandard()
        position = self._file.seek(start)
        while not unpack.eof:
            size = _STEP_BYTES if slow_from is None or position < slow_from else 1
            packed = self._file.read(size)
            if not packed:
                self.damage = f"the {self._packing} data end too early; {self._kept()}"
                return
            self._step, position = position, position + len(packed)
            yield from unpack.blocks(packed)
        self._file.seek(position - len(unpack.unused_data))

    def _rescue(self, start: int, known: int) -> Iterator[bytes]:
        """Yield what a damaged member holds before the damage, but the bytes known already.

        A step that failed has lost what it had unpacked before: single bytes lose nothing.
        """
        with contextlib.suppress(*DAMAGE):
            for block in self._member(start, slow_from=self._step):
                new = block[known:]
                known = max(0, known - len(block))
                if new:
                    self._unpacked += len(new)
                    yield new

    def _next_member(self) -> int | None:
        """Return where the next member begins; None if none does. Zero bytes are padding."""
        while data := self._file.read(_STEP_BYTES):
            found = data.lstrip(b"\0")
            if found:
                start = self._file.tell() - len(found)
                self._file.seek(start)
                if packing_of(self._file.read(4)) == self._packing:
                    return start
                self.damage = f"bytes behind its end are not {self._packing} data; {self._kept()}"
                return None
        return None

    def _damage(self, error: Exception) -> str:
        if "check" in str(error):
            return (
                f"the checksum of the {self._packing} data is wrong, so that records read of it "
                f"may be, too; {self._kept()}"
            )
        if "dictionary" in str(error).lower():
            return "it is compressed with a dictionary; unpack it: zstd -d -D DICTIONARY FILE"
        return f"the {self._packing} data are damaged; {self._kept()}"

    def _kept(self) -> str:
        if not self._unpacked:
            return "nothing of it could be read; get the file again"
        return f"whole records in the {self._unpacked:,} bytes before were read; get the file again"


class _Gzip:
    """Unpacks one member of a gzip file."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(zlib.MAX_WBITS | 16)

    @property
    def eof(self) -> bool:
        return self._member.eof

    @property
    def unused_data(self) -> bytes:
        return self._member.unused_data

    def blocks(self, packed: bytes) -> Iterator[bytes]:
        """Yield what the next bytes hold, so much at a time."""
        while packed and not self.eof:
            if block := self._member.decompress(packed, _BLOCK_BYTES):
                yield block
            packed = self._member.unconsumed_tail
        # What it has unpacked and not returned yet comes without more bytes.
        while not self.eof and (block := self._member.decompress(b"", _BLOCK_BYTES)):
            yield block


class _Zstandard:
    """Unpacks one frame of a zstandard file."""

    def __init__(self) -> None:
        self._frame = zstd.ZstdDecompressor()

    @property
    def eof(self) -> bool:
        return self._frame.eof

    @property
    def unused_data(self) -> bytes:
        return self._frame.unused_data

    def blocks(self, packed: bytes) -> Iterator[bytes]:
        """Yield what the next bytes hold, so much at a time."""
        while not self.eof:
            if block := self._frame.decompress(packed, _BLOCK_BYTES):
                yield block
            if self._frame.needs_input:
                return
            packed = b""

"""Tell by its first bytes what a file is.

A file's name doesn't decide: a gzip file may be named `.json`, and plain JSON `.gz`. What holds no
JSON text is named, with what to do about it, so that a run can say so in one sentence.
"""

import re
import zlib
from typing import Literal, NamedTuple

Packing = Literal["plain", "gzip", "zstandard"]

# As many bytes as `tell` looks at: the mark of a tar archive stands farthest in.
HEAD_BYTES = 512
# What zlib streams begin with, by the size of their window.
_ZLIB = (b"\x08", b"\x18", b"\x28", b"\x38", b"\x48", b"\x58", b"\x68", b"\x78")
_SKIPPED = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")
# UTF-16 and UTF-32 without a byte order mark are told by the zero bytes of so many bytes, or all.
_WIDE_BYTES = 16


class UnreadableError(Exception):
    """A file, or the rest of it, can't be read: the message says what it is and what to do."""


class ReplacedError(UnreadableError):
    """A file was replaced by another one while it was read."""

    def __init__(self) -> None:
        """Say so."""
        super().__init__("it was replaced while it was read; the next load reads it")


class _Mark(NamedTuple):
    """What files of a format begin with, what they are, and what makes a file of JSON of one."""

    begin: bytes
    name: str
    remedy: str = "export what is in it as JSON"


_UNPACKED = "unpack it: {} FILE"
_MARKS = (
    _Mark(b"BZh", "bzip2", _UNPACKED.format("bunzip2")),
    _Mark(b"\xfd7zXZ\0", "xz", _UNPACKED.format("unxz")),
    _Mark(b"\x5d\0\0\x80\0", "lzma", _UNPACKED.format("unlzma")),
    _Mark(b"LZIP\1", "lzip", _UNPACKED.format("lzip -d")),
    _Mark(b"\x89LZO\0\r\n\x1a\n", "lzop", _UNPACKED.format("lzop -d")),
    _Mark(b"\x04\x22\x4d\x18", "lz4", _UNPACKED.format("unlz4")),
    _Mark(b"\x02\x21\x4c\x18", "lz4", _UNPACKED.format("unlz4")),
    _Mark(b"\xff\6\0\0sNaPpY", "Snappy", _UNPACKED.format("snzip -d")),
    _Mark(b"\x1f\x9d", "a file of compress", _UNPACKED.format("uncompress")),
    _Mark(b"PK\3\4", "a zip archive", _UNPACKED.format("unzip")),
    _Mark(b"PK\5\6", "a zip archive", _UNPACKED.format("unzip")),
    _Mark(b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACKED.format("7z x")),
    _Mark(b"Rar!\x1a\7", "a RAR archive", _UNPACKED.format("unrar x")),
    _Mark(b"PAR1", "Parquet"),
    _Mark(b"Obj\1", "Avro"),
    _Mark(b"ORC\x0a", "ORC"),
    _Mark(b"ORC\x08", "ORC"),
    _Mark(b"ARROW1\0\0", "Arrow"),
    _Mark(b"SEQ\6", "a Hadoop sequence file"),
    _Mark(b"\x89HDF\r\n\x1a\n", "HDF5"),
    _Mark(b"SQLite format 3\0", "a SQLite database"),
    _Mark(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Office document"),
    _Mark(b"%PDF-", "a PDF document"),
    _Mark(b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    _Mark(b"\xff\xd8\xff", "a JPEG picture"),
    _Mark(b"\x7fELF", "a program"),
)
_LFS = (b"version https://git-lfs.github.com/spec/", b"version https://hawser.github.com/spec/")
_ENCODINGS = (
    # In this order: the byte order mark of UTF-16 begins the one of UTF-32.
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\0\0\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
# Which of each four bytes are zero in text of few but Latin letters.
_ZEROS = {"x0x0": "UTF-16LE", "0x0x": "UTF-16BE", "x000": "UTF-32LE", "000x": "UTF-32BE"}


def tell(head: bytes) -> Packing:
    """Tell how a file is packed by its first `HEAD_BYTES`, or as many as it has.

    Raises:
        UnreadableError: it is known to hold no JSON text.
    """
    if head[:1] in (b"{", b"["):
        # The only beginning of most files; but zero bytes betray wide characters.
        _refuse_encoding(head)
        return "plain"
    packing = packing_of(head)
    if packing != "plain":
        return packing
    for mark in _MARKS:
        if head.startswith(mark.begin) and (mark.begin != b"BZh" or _is_bzip2(head)):
            raise UnreadableError(f"it is {mark.name}; {mark.remedy}")
    if head.startswith(_LFS):
        raise UnreadableError("it is a Git LFS pointer, not the file; get the file: git lfs pull")
    if head.startswith(b"/annex/objects/"):
        raise UnreadableError(
            "it is a git-annex pointer, not the file; get the file: git annex get"
        )
    if head[257:262] == b"ustar":
        raise UnreadableError("it is a tar archive; unpack it: tar -xf FILE")
    if _is_zlib(head):
        raise UnreadableError("it is zlib data; unpack it: pigz -dcz < FILE")
    _refuse_encoding(head)
    return "plain"


def packing_of(head: bytes) -> Packing:
    """Tell by its first four bytes whether gzip or zstandard data begin here."""
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    # Parallel compressors begin with a frame that holds no data, and is to be skipped.
    if head.startswith(b"\x28\xb5\x2f\xfd") or _SKIPPED.match(head):
        return "zstandard"
    return "plain"


def _is_bzip2(head: bytes) -> bool:
    return head[4:10] in (b"1AY&SY", b"\x17rE8P\x90")


def _is_zlib(head: bytes) -> bool:
    """Tell whether a zlib stream begins here: text may begin like one, but doesn't go on so."""
    if head[:1] not in _ZLIB or int.from_bytes(head[:2], "big") % 31 or head.isascii():
        return False
    try:
        zlib.decompressobj().decompress(head)
    except zlib.error:
        return False
    return True


def _refuse_encoding(head: bytes) -> None:
    """Refuse text of UTF-16 and UTF-32, with a byte order mark or without.

    Raises:
        UnreadableError: it is such a text.
    """
    name = next((name for mark, name in _ENCODINGS if head.startswith(mark)), None)
    wide = head[:_WIDE_BYTES]
    if name is None and 0 in wide and len(wide) % 2 == 0:
        zeros = "".join("x0"[not byte] for byte in wide)
        name = _ZEROS.get(zeros[:4]) if zeros == (zeros[:4] * len(wide))[: len(wide)] else None
    if name:
        raise UnreadableError(f"it is {name} text; make it UTF-8: iconv -f {name} -t UTF-8 FILE")

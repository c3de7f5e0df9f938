"""Read the small plain files of a local folder, as they are listed or by their names.

A hundred thousand files take a second of system calls. Threads of one interpreter wait for each
other at every one of them, and take twice the processor time of one thread alone, so processes
beside read them. Only the standard library may be imported here.
"""

import os
import stat
from array import array
from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import islice

from sparkify_bulk.source import listing
from sparkify_bulk.source.folder_walk import EVERYTHING, Span, entry_of, found_below, walk
from sparkify_bulk.source.listing import PACKED, Entry, LeftOut, Read, clamped

# What files of JSON text in UTF-8 begin with, mostly.
_BEGINS_TEXT = frozenset(
    {b""} | {bytes((one, two)) for one in b"{[ \t\r\n" for two in b'"{}[] \t\r\n'}
)
# Larger files are read where they are parsed, in parts if need be.
SMALL_BYTES = 2**18
# How much is read before it is handed on.
_BYTES = 8 * 2**20


def open_flags(*, follow_links: bool) -> int:
    """Return how an input file is opened."""
    # Not blocking, so that a pipe put in a file's place can't hang the run.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    return flags if follow_links else flags | os.O_NOFOLLOW


def list_files(
    root: str,
    span: Span = EVERYTHING,
    left_out: LeftOut | None = None,
    *,
    follow_links: bool,
    read: bool = False,
) -> Iterator[Read | list[Entry]]:
    """Yield what `walk`, many files at a time, or `walk_and_read` yields."""
    if read:
        yield from walk_and_read(root, follow_links=follow_links, span=span, left_out=left_out)
        return
    entries = walk(root, follow_links=follow_links, span=span, left_out=left_out)
    while some := list(islice(entries, listing.FILES)):
        yield some


def walk_and_read(
    root: str, *, follow_links: bool, span: Span = EVERYTHING, left_out: LeftOut | None = None
) -> Iterator[Read | list[Entry]]:
    """Yield what `walk` does, many files at a time: small plain ones read, and the others listed.

    Files that are yielded together stand together in the order of all paths.

    Raises:
        OSError: a folder can't be read.
    """
    flags = open_flags(follow_links=follow_links)
    read = Reading()
    listed: list[Entry] = []
    # What is packed by its name is rarely plain text, and not worth the attempt.
    for path, found in found_below(root, span, left_out or LeftOut(), follow_links=follow_links):
        small = None if path.endswith(PACKED) else _read_small(found.path, flags)
        if small and not listed and read.size < _BYTES and len(read.paths) < listing.FILES:
            read.add(path, small)
            continue
        if read.paths:
            yield read.take()
            read = Reading()
        if listed and (small or len(listed) >= listing.FILES):
            yield listed
            listed = []
        if small:
            read.add(path, small)
        elif entry := entry_of(path, found, follow_links=follow_links):
            listed.append(entry)
    if read.paths:
        yield read.take()
    if listed:
        yield listed


def read_small(root: str, paths: Sequence[str], *, follow_links: bool) -> tuple[Read, list[int]]:
    """Read those of some files that are small and plain; return them, and where they stood."""
    flags = open_flags(follow_links=follow_links)
    read = Reading()
    places = []
    for place, path in enumerate(paths):
        small = None if path.endswith(PACKED) else _read_small(f"{root}/{path}", flags)
        if small:
            read.add(path, small)
            places.append(place)
    return read.take(), places


_Small = tuple[int, int, bytes]


def _read_small(name: str, flags: int) -> _Small | None:
    """Return size, time of change and bytes of a small file.

    None if it isn't small, no plain text, no file, can't be read, or changes meanwhile.
    """
    try:
        descriptor = os.open(name, flags)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        size = status.st_size
        if size > SMALL_BYTES or not stat.S_ISREG(status.st_mode):
            return None
        data = os.read(descriptor, size + 1)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return (size, status.st_mtime_ns, data) if is_text(data) and len(data) == size else None


def is_text(data: bytes) -> bool:
    """Tell whether a file begins as most JSON text does; others are looked at more closely."""
    return data[:2] in _BEGINS_TEXT


def _as_array(nanoseconds: Sequence[int]) -> "array[int]":
    try:
        return array("q", nanoseconds)
    except OverflowError:
        return array("q", map(clamped, nanoseconds))


class Reading:
    """Small files read so far."""

    def __init__(self) -> None:
        """Begin with none."""
        self.paths: list[str] = []
        self.small: list[_Small] = []
        self.size = 0

    def add(self, path: str, small: _Small) -> None:
        """Add a file: its size, time of change and bytes."""
        self.paths.append(path)
        self.small.append(small)
        self.size += small[0]

    def take(self) -> Read:
        """Return all that were added."""
        sizes, times, data = zip(*self.small, strict=True) if self.small else ((), (), ())
        return Read(
            "\0".join(self.paths),
            array("q", sizes),
            _as_array(times),
            [sha256(one).digest() for one in data],
            b"\n".join(data),
            all(one[:1] == b"{" and one.find(b"\n", 0, -1) < 0 for one in data),
        )

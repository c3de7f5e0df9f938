"""A folder of this machine as a store of input files."""

import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote_to_bytes, urlsplit

from sparkify_bulk.errors import UsageError
from sparkify_bulk.source.folder_processes import Beside
from sparkify_bulk.source.folder_read import list_files, open_flags, read_small
from sparkify_bulk.source.formats import UnreadableError
from sparkify_bulk.source.listing import Entry, LeftOut, Listing, Read, clamped, escape
from sparkify_bulk.source.store import File, Store

# What looks like the address of another kind of store; the path that is left of s3://bucket/folder.
_ADDRESS = re.compile("[A-Za-z][A-Za-z0-9+.-]+:/")


@dataclass(frozen=True, slots=True)
class Folder(Store):
    """A folder.

    Attributes:
        address: its path.
        follow_links: follow symbolic links; a folder that leads back above itself isn't entered.
    """

    address: str
    follow_links: bool = False

    def __post_init__(self) -> None:
        """Write the path in the shortest way."""
        object.__setattr__(self, "address", str(Path(self.address)))

    @property
    def identity(self) -> str:
        """Its path without links; what isn't UTF-8 is escaped."""
        return escape(os.path.realpath(self.address))

    def missing(self) -> str:
        """Say why the path names no folder; empty if it does."""
        if os.path.isdir(self.address):
            return ""
        if os.path.exists(self.address):
            return f"{self.address} is a file, not a folder"
        if _ADDRESS.match(self.address):
            return (
                f"{self.address} is an address of no kind that is read: name a folder of this "
                "machine, or s3://, gs:// or az:// with a bucket, each with both slashes"
            )
        return f"{self.address} does not exist"

    def list_files(self, left_out: LeftOut) -> Iterator[list[Entry]]:
        """Yield every input file, many at a time."""
        for some in list_files(self.address, left_out=left_out, follow_links=self.follow_links):
            if isinstance(some, list):
                yield some

    def begin(self, *, readers: int) -> Listing:
        """Begin to list in processes beside this one."""
        return Beside(self.address, follow_links=self.follow_links, readers=readers)

    @contextmanager
    def open(self, path: str) -> Iterator[File]:
        """Open a file: never a pipe or a device put in its place."""
        name = os.path.join(self.address, path)
        descriptor = os.open(name, open_flags(follow_links=self.follow_links))
        try:
            yield _File(descriptor)
        finally:
            os.close(descriptor)

    def read_small(self, paths: Sequence[str]) -> tuple[Read, list[int]]:
        """Read those of some files that are small and plain."""
        return read_small(self.address, paths, follow_links=self.follow_links)

    def may_read(self, path: str) -> bool:
        """Ask the system."""
        return os.access(os.path.join(self.address, path), os.R_OK)


def folder_of_url(url: str, follow_links: bool = False) -> Folder:
    """Return the folder that a `file:` URL names.

    Raises:
        UsageError: it names another machine.
    """
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost") or parts.query or parts.fragment:
        raise UsageError(
            f"{url} names no folder of this machine",
            hint="write file:///FOLDER, with ? and # in names as %3F and %23",
        )
    return Folder(os.fsdecode(unquote_to_bytes(parts.path)), follow_links)


class _File(File):
    """A file that is open.

    Bytes are read, never mapped: a file that shrinks meanwhile ends early instead of killing the
    process. The length is taken at opening, so that a file that grows doesn't hold the run up.
    """

    def __init__(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableError("it is not a regular file")
        self._descriptor = descriptor
        self.size = status.st_size
        self.modified_ns = clamped(status.st_mtime_ns)

    def read(self, start: int, stop: int) -> bytes:
        data = os.pread(self._descriptor, stop - start, start)
        if len(data) == stop - start or not data:
            return data
        parts = [data]
        while data := os.pread(self._descriptor, stop - start, start + sum(map(len, parts))):
            parts.append(data)
        return b"".join(parts)

    @contextmanager
    def stream(self, start: int = 0) -> Iterator[BinaryIO]:
        with os.fdopen(os.dup(self._descriptor), "rb") as raw:
            raw.seek(start)
            yield raw

    def has_grown(self) -> bool:
        return os.fstat(self._descriptor).st_size > self.size

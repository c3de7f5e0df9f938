"""What workers take: batches of whole files, and parts of a file that is much larger than one."""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Literal

from sparkify_bulk.source.formats import HEAD_BYTES, UnreadableError, tell
from sparkify_bulk.source.listing import FILES, Entry, Read, escape
from sparkify_bulk.source.store import Store

Kind = Literal["songs", "events"]
KINDS: tuple[Kind, ...] = ("songs", "events")

# Large enough that parsing and COPY outweigh the cost of starting them: twice as much is no faster,
# and takes 40 MB more. A worker (bytes, frame and encoded rows at once) stays around 100 MB.
BATCH_BYTES = 16 * 2**20
BATCH_FILES = FILES

# The end of one record and the begin of the next. Inside a record a `}` is never followed by a line
# that begins with `{`: a comma would have to stand between them, and a string can't hold a newline.
BOUNDARY = re.compile(rb"\}[ \t\r]*\n[ \t\r\n]*(?=\{)")
_BOUNDARY_WINDOW = 2**20


@dataclass(frozen=True, slots=True)
class Batch:
    """What one worker takes: some whole files, or a part of one big file.

    Attributes:
        number: place in the manifest, from 0.
        kind: what the records are.
        store: the tree that `paths` are relative to.
        paths: relative paths joined by NUL, which no path can hold: a million small files fit in
            the memory that a million strings would not.
        size: their bytes when they were listed.
        start, stop: byte range of a single big file; `stop` is None for "to its end".
        modified_ns: when that file was changed last, as it was listed.
        read: the files, where they were read when they were listed.
    """

    number: int
    kind: Kind
    store: Store
    paths: str
    size: int
    start: int = 0
    stop: int | None = None
    modified_ns: int | None = None
    read: Read | None = None

    @property
    def root(self) -> str:
        """The address of the tree."""
        return self.store.address

    @property
    def files(self) -> list[str]:
        """The relative paths."""
        return self.paths.split("\0")

    @property
    def is_part(self) -> bool:
        """Whether it is a part of a big file rather than whole files."""
        return self.start > 0 or self.stop is not None

    @property
    def place(self) -> tuple[bytes, int]:
        """Where it stands among all batches of its manifest, by the order of paths."""
        return escape(self.paths.partition("\0")[0]).encode(), self.start


def cut_batches(
    kind: Kind, store: Store, files: Iterable[Read | list[Entry]], batch_bytes: int | None = None
) -> Iterator[Batch]:
    """Make batches of groups of files, and of the parts of a file that is much larger than one.

    Args:
        kind: what the records are.
        store: where the files are.
        files: many at a time.
        batch_bytes: what a batch holds, about; `BATCH_BYTES` if not named.
    """
    batch_bytes = batch_bytes or BATCH_BYTES
    batch = partial(Batch, kind=kind, store=store)
    numbers = count()
    for some in files:
        if isinstance(some, Read):
            yield batch(next(numbers), paths=some.paths, size=sum(some.sizes), read=some)
            continue
        for group in _group(some, batch_bytes):
            first, paths = group[0], "\0".join(entry.path for entry in group)
            parts = parts_of(store, first.path, first.size, batch_bytes)
            if len(parts) == 1:
                yield batch(next(numbers), paths=paths, size=sum(entry.size for entry in group))
                continue
            for start, stop in parts:
                size = (stop or first.size) - start
                yield batch(
                    next(numbers),
                    paths=paths,
                    size=size,
                    start=start,
                    stop=stop,
                    modified_ns=first.modified_ns,
                )


def _group(entries: Iterable[Entry], batch_bytes: int) -> Iterator[list[Entry]]:
    """Gather files; one that is larger than a batch comes alone."""
    group: list[Entry] = []
    size = 0
    for entry in entries:
        if group and (size + entry.size > batch_bytes or len(group) >= BATCH_FILES):
            yield group
            group, size = [], 0
        group.append(entry)
        size += entry.size
    if group:
        yield group


def parts_of(
    store: Store, path: str, size: int, batch_bytes: int | None = None
) -> list[tuple[int, int | None]]:
    """Return the byte ranges a file is read in: one, unless it is much larger than a batch.

    `stop` is None for "to its end". A compressed file can't be cut.
    """
    batch_bytes = batch_bytes or BATCH_BYTES
    if size <= 2 * batch_bytes:
        return [(0, None)]
    return _cut(store, path, size, batch_bytes)


def _cut(store: Store, path: str, length: int, batch_bytes: int) -> list[tuple[int, int | None]]:
    """Cut a big file where records end; a file without such a place stays whole."""
    cuts = [0]
    # Who can't open it, or knows what it is instead, says so when it is read.
    with suppress(OSError, UnreadableError), store.open(path) as file:
        if tell(file.read(0, HEAD_BYTES)) != "plain":
            return [(0, None)]
        for target in range(batch_bytes, length - batch_bytes // 2, batch_bytes):
            if target <= cuts[-1]:
                continue
            match = BOUNDARY.search(file.read(target, target + _BOUNDARY_WINDOW))
            if match is None:
                break
            cuts.append(target + match.end())
    return list(zip(cuts, [*cuts[1:], None], strict=True))

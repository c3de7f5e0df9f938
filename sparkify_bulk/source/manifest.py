"""List the input files and cut them into batches.

Hidden files and folders are left out, symbolic links aren't followed, and only regular files count,
so that editor copies, loops and pipes do no harm.
"""

import contextlib
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, count, islice
from pathlib import PurePath
from typing import Literal

from sparkify_bulk.errors import UsageError
from sparkify_bulk.settings import EXPECTED_FOLDERS, Settings, no_folder
from sparkify_bulk.source.formats import HEAD_BYTES, UnreadableError, tell
from sparkify_bulk.source.reader import FILES, Entry, LeftOut, Lister, Read, escape, list_files

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
        root: the folder that `paths` are relative to.
        paths: relative paths joined by NUL, which no path can hold: a million small files fit in
            the memory that a million strings would not.
        size: bytes on disk when listed.
        start, stop: byte range of a single big file; `stop` is None for "to its end".
        follow_links: a path may be a symbolic link.
        read: the files, where they were read when they were listed.
    """

    number: int
    kind: Kind
    root: str
    paths: str
    size: int
    start: int = 0
    stop: int | None = None
    follow_links: bool = False
    read: Read | None = None

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


@dataclass(frozen=True, slots=True)
class Known:
    """A file that the ledger has: its name there, and what it was when it was read."""

    name: str
    size: int
    modified_ns: int
    digest: bytes


@dataclass(slots=True)
class Manifest:
    """The input files of one kind: those to read, cut into batches, and what became of the others.

    Batches are listed as they are asked for, and the numbers grow with them.

    Attributes:
        kind: what the records are.
        root: the folder.
        files, size: how many files there are to read, and their bytes.
        new, changed: how many of them the ledger hasn't, and has otherwise.
        same: how many files are as the ledger has them, and aren't read.
        left_out: what the folder holds that isn't input; complete once all is listed.
        vanished: names of files that the ledger has and the folder no longer.
        listing: lists the rest of the batches.
        ahead: those listed before they were asked for.
    """

    kind: Kind
    root: str
    files: int = 0
    size: int = 0
    new: int = 0
    changed: int = 0
    same: int = 0
    left_out: LeftOut = field(default_factory=LeftOut)
    vanished: list[str] = field(default_factory=list)
    listing: Iterator[Batch] = field(default_factory=lambda: iter(()))
    ahead: deque[Batch] = field(default_factory=deque)

    @property
    def batches(self) -> Iterator[Batch]:
        """The files to read; each batch comes once."""
        while self.ahead:
            yield self.ahead.popleft()
        yield from self.listing

    def look_ahead(self, batches: int | None = None) -> int:
        """List so many batches, or all, before they are asked for; return how many there are."""
        wanted = None if batches is None else max(0, batches - len(self.ahead))
        self.ahead.extend(islice(self.listing, wanted))
        return len(self.ahead)


@contextlib.contextmanager
def listing(settings: Settings, *, read: bool) -> Iterator[dict[Kind, Lister]]:
    """Begin to list the input folders, while others still get ready to load what is in them.

    Args:
        settings: name the folders.
        read: read songs, too: they are many and small, and all of them are wanted.
    """
    readers = {"songs": settings.jobs if read else 0, "events": 0}
    listers: dict[Kind, Lister] = {}
    try:
        for kind, folder in zip(KINDS, (settings.songs, settings.logs), strict=True):
            if folder:
                listers[kind] = Lister(
                    str(folder), follow_links=settings.follow_links, readers=readers[kind]
                )
        yield listers
    finally:
        for lister in listers.values():
            lister.close()


def make_manifest(
    kind: Kind,
    root: str,
    *,
    known: Iterable[Known] = (),
    is_same: Callable[[str, Known], bool] | None = None,
    follow_links: bool = False,
    batch_bytes: int | None = None,
    lister: Lister | None = None,
) -> Manifest:
    """List the files below a folder, leave out those already loaded, and cut the rest into batches.

    The order is that of the files' names by bytes; neither the file system nor the number of
    workers has a say in it. Files listed by several at once come as they are found, but those of a
    batch stand together in that order.

    Args:
        kind: what the records are.
        root: the folder.
        known: what the ledger has, in the order of the names' bytes.
        is_same: looks closer at a file whose size and time of change are as the ledger has them.
        follow_links: follow symbolic links; a folder that leads back above itself isn't entered.
        batch_bytes: what a batch holds, about; `BATCH_BYTES` if not named.
        lister: lists the folder already, where somebody does; it reads none, if any are known.

    Raises:
        UsageError: the folder doesn't exist, or can't be read; what lies deeper is found out when
            it is listed.
    """
    if not os.path.isdir(root):
        raise UsageError(no_folder(root), hint=EXPECTED_FOLDERS)
    manifest = Manifest(kind, root)
    left_out = manifest.left_out
    if lister is None:
        found = list_files(root, left_out=left_out, follow_links=follow_links)
    else:
        found = lister.found(left_out)
    wanted = _wanted(manifest, _named_errors(found), known, is_same)
    manifest.listing = _cut_batches(
        manifest, wanted, batch_bytes or BATCH_BYTES, follow_links=follow_links
    )
    return manifest


# What is left out, by reason: one of it, and several.
_LEFT_OUT = {
    "suffix": ("file with another ending", "files with other endings"),
    "link": ("symbolic link", "symbolic links"),
    "hidden_folder": ("hidden folder", "hidden folders"),
    "hidden_file": ("hidden file", "hidden files"),
    "not_regular": ("pipe, socket or device", "pipes, sockets or devices"),
}


def describe_left_out(found: Iterable[tuple[str, LeftOut]]) -> str:
    """Say what isn't read, and name the first of each reason.

    What commonly lies beside input is no reason to say anything.

    Args:
        found: folders, and what each holds that isn't input.
    """
    total = LeftOut()
    for root, left_out in found:
        named = dict(zip(left_out.first, ledger_names(root, left_out.first.values()), strict=True))
        total.merge(left_out.counts, named)
    parts = []
    for reason, (one, several) in _LEFT_OUT.items():
        number, first = total.counts.get(reason, 0), total.first.get(reason)
        if first:
            more = f"{number:,} {several} ({first} first)"
            parts.append(f"1 {one} ({first})" if number == 1 else more)
    return ", ".join(parts) + ("; --follow-links follows links" if "link" in total.first else "")


def _named_errors(found: Iterable[Read | list[Entry]]) -> Iterator[Read | list[Entry]]:
    """Say which folder can't be read."""
    try:
        yield from found
    except OSError as error:
        raise UsageError(
            f"the folder {escape(str(error.filename))} can't be read: {error.strerror}",
            hint="give the loading user the right to read it, or name another folder",
        ) from error


def _wanted(
    manifest: Manifest,
    found: Iterator[Read | list[Entry]],
    known: Iterable[Known],
    is_same: Callable[[str, Known], bool] | None,
) -> Iterator[Read | list[Entry]]:
    """Yield the files to read, and count them and the others."""
    left = iter(known)
    had = next(left, None)
    if had is None:
        for some in found:
            sizes = some.sizes if isinstance(some, Read) else [entry.size for entry in some]
            manifest.new += len(sizes)
            manifest.files += len(sizes)
            manifest.size += sum(sizes)
            yield some
        return
    entries = (entry for some in found if not isinstance(some, Read) for entry in some)
    others = _others(manifest, entries, chain([had], left), is_same)
    while some := list(islice(others, BATCH_FILES)):
        yield some


def _others(
    manifest: Manifest,
    entries: Iterator[Entry],
    known: Iterator[Known],
    is_same: Callable[[str, Known], bool] | None,
) -> Iterator[Entry]:
    """Yield the files that are not as the ledger has them."""
    for entry, had in _match(entries, known, manifest.root, manifest.vanished):
        untouched = had and (entry.size, entry.modified_ns) == (had.size, had.modified_ns)
        if had and untouched and (is_same is None or is_same(entry.path, had)):
            manifest.same += 1
            continue
        if had:
            manifest.changed += 1
        else:
            manifest.new += 1
        manifest.files += 1
        manifest.size += entry.size
        yield entry


def _cut_batches(
    manifest: Manifest,
    wanted: Iterable[Read | list[Entry]],
    batch_bytes: int,
    *,
    follow_links: bool,
) -> Iterator[Batch]:
    """Make batches of groups of files, and of the parts of a file that is much larger than one."""
    batch = partial(Batch, kind=manifest.kind, root=manifest.root, follow_links=follow_links)
    numbers = count()
    for some in wanted:
        if isinstance(some, Read):
            yield batch(next(numbers), paths=some.paths, size=sum(some.sizes), read=some)
            continue
        for group in _group(some, batch_bytes):
            first, paths = group[0], "\0".join(entry.path for entry in group)
            parts = parts_of(manifest.root, first.path, first.size, batch_bytes)
            if len(parts) == 1:
                yield batch(next(numbers), paths=paths, size=sum(entry.size for entry in group))
                continue
            for start, stop in parts:
                size = (stop or first.size) - start
                yield batch(next(numbers), paths=paths, size=size, start=start, stop=stop)


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


def ledger_names(root: str, paths: Iterable[str]) -> list[str]:
    """Name files as the ledger does: below their root's own name; what isn't UTF-8 is escaped."""
    above = PurePath(root).name
    return [escape(f"{above}/{path}") for path in paths]


def _match(
    found: Iterator[Entry], known: Iterator[Known], root: str, vanished: list[str]
) -> Iterator[tuple[Entry, Known | None]]:
    """Pair the files found with those known, both in the order of their names' bytes.

    Two streams side by side: a million known files take no memory.
    """
    had = next(known, None)
    for entry in found:
        if had is None:
            yield entry, None
            continue
        (name,) = ledger_names(root, [entry.path])
        while had and had.name.encode() < name.encode():
            vanished.append(had.name)
            had = next(known, None)
        if had and had.name == name:
            yield entry, had
            had = next(known, None)
        else:
            yield entry, None
    while had:
        vanished.append(had.name)
        had = next(known, None)


def parts_of(
    root: str, path: str, size: int, batch_bytes: int | None = None
) -> list[tuple[int, int | None]]:
    """Return the byte ranges a file is read in: one, unless it is much larger than a batch.

    `stop` is None for "to its end". A compressed file can't be cut.
    """
    batch_bytes = batch_bytes or BATCH_BYTES
    if size <= 2 * batch_bytes:
        return [(0, None)]
    return _cut(os.path.join(root, path), size, batch_bytes)


def _cut(path: str, length: int, batch_bytes: int) -> list[tuple[int, int | None]]:
    """Cut a big file where records end; a file without such a place stays whole."""
    cuts = [0]
    # Who can't open it, or knows what it is instead, says so when it is read.
    with contextlib.suppress(OSError, UnreadableError), open(path, "rb") as file:
        if tell(file.read(HEAD_BYTES)) != "plain":
            return [(0, None)]
        for target in range(batch_bytes, length - batch_bytes // 2, batch_bytes):
            if target <= cuts[-1]:
                continue
            file.seek(target)
            match = BOUNDARY.search(file.read(_BOUNDARY_WINDOW))
            if match is None:
                break
            cuts.append(target + match.end())
    return list(zip(cuts, [*cuts[1:], None], strict=True))

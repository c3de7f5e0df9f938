"""List the input files and cut them into batches.

Hidden files and folders are left out, symbolic links aren't followed, and only regular files count,
so that editor copies, loops and pipes do no harm.
"""

import contextlib
import os
import re
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count, islice
from operator import itemgetter
from pathlib import PurePath
from typing import Literal, NamedTuple

from sparkify_bulk.errors import UsageError

Kind = Literal["songs", "events"]
KINDS: tuple[Kind, ...] = ("songs", "events")

SUFFIXES = (".json", ".json.gz", ".json.zst")

# Large enough that parsing and COPY outweigh the cost of starting them: half as much takes a fifth
# longer, twice as much gains nothing. Small enough that a worker (bytes, frame and encoded rows at
# once) stays around 150 MB.
BATCH_BYTES = 32 * 2**20
BATCH_FILES = 8192

# The end of one record and the begin of the next. Inside a record a `}` is never followed by a line
# that begins with `{`: a comma would have to stand between them, and a string can't hold a newline.
BOUNDARY = re.compile(rb"\}[ \t\r]*\n[ \t\r\n]*(?=\{)")
_BOUNDARY_WINDOW = 2**20


class _Entry(NamedTuple):
    """A file found."""

    path: str
    size: int
    modified_ns: int


def _int64s() -> "array[int]":
    return array("q")


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
        sizes, modified_ns: what each file was when listed, 8 bytes each; empty for a part of a
            file, which is looked at when it is opened.
    """

    number: int
    kind: Kind
    root: str
    paths: str
    size: int
    start: int = 0
    stop: int | None = None
    follow_links: bool = False
    sizes: "array[int]" = field(default_factory=_int64s)
    modified_ns: "array[int]" = field(default_factory=_int64s)

    @property
    def files(self) -> list[str]:
        """The relative paths."""
        return self.paths.split("\0")

    @property
    def is_part(self) -> bool:
        """Whether it is a part of a big file rather than whole files."""
        return self.start > 0 or self.stop is not None


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


def make_manifest(
    kind: Kind,
    root: str,
    *,
    known: Iterable[Known] = (),
    is_same: Callable[[str, Known], bool] | None = None,
    follow_links: bool = False,
    batch_bytes: int | None = None,
) -> Manifest:
    """List the files below a folder, leave out those already loaded, and cut the rest into batches.

    The order is that of the files' names by bytes; neither the file system nor the number of
    workers has a say in it.

    Args:
        kind: what the records are.
        root: the folder.
        known: what the ledger has, in the order of the names' bytes.
        is_same: looks closer at a file whose size and time of change are as the ledger has them.
        follow_links: follow symbolic links; a folder that leads back above itself isn't entered.
        batch_bytes: what a batch holds, about; `BATCH_BYTES` if not named.

    Raises:
        UsageError: the folder doesn't exist, or can't be read; what lies deeper is found out when
            it is listed.
    """
    if not os.path.isdir(root):
        what = "is not a folder" if os.path.exists(root) else "does not exist"
        raise UsageError(
            f"the {kind} folder {root} {what}",
            hint="DATA must hold song_data/ and log_data/; --songs and --logs name them apart",
        )
    manifest = Manifest(kind, root)
    entries = _wanted(manifest, known, is_same, follow_links=follow_links)
    manifest.listing = _cut_batches(
        manifest, entries, batch_bytes or BATCH_BYTES, follow_links=follow_links
    )
    return manifest


def _wanted(
    manifest: Manifest,
    known: Iterable[Known],
    is_same: Callable[[str, Known], bool] | None,
    *,
    follow_links: bool,
) -> Iterator[_Entry]:
    """Yield the files to read, and count them and the others."""
    found = _walk(manifest.root, follow_links=follow_links)
    for entry, had in _match(found, iter(known), manifest.root, manifest.vanished):
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
    manifest: Manifest, entries: Iterable[_Entry], batch_bytes: int, *, follow_links: bool
) -> Iterator[Batch]:
    """Make batches of groups of files, and of the parts of a file that is much larger than one."""
    numbers = count()
    for group in _group(entries, batch_bytes):
        first, size = group[0], sum([entry.size for entry in group])
        paths = "\0".join([entry.path for entry in group])
        parts = parts_of(manifest.root, first.path, first.size, batch_bytes)
        is_whole = len(parts) == 1
        for start, stop in parts:
            yield Batch(
                number=next(numbers),
                kind=manifest.kind,
                root=manifest.root,
                paths=paths,
                size=size if is_whole else (stop or size) - start,
                start=start,
                stop=stop,
                follow_links=follow_links,
                sizes=array("q", [entry.size for entry in group if is_whole]),
                modified_ns=array("q", [entry.modified_ns for entry in group if is_whole]),
            )


def _group(entries: Iterable[_Entry], batch_bytes: int) -> Iterator[list[_Entry]]:
    """Gather files; one that is larger than a batch comes alone."""
    group: list[_Entry] = []
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
    return [_escape(f"{above}/{path}") for path in paths]


def _escape(name: str) -> str:
    return name if name.isascii() else name.encode(errors="backslashreplace").decode()


def _match(
    found: Iterator[_Entry], known: Iterator[Known], root: str, vanished: list[str]
) -> Iterator[tuple[_Entry, Known | None]]:
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


class _Found(NamedTuple):
    """What a folder holds: `key` orders it as the whole names of the files below are ordered."""

    key: bytes
    is_folder: bool
    entry: os.DirEntry[str]


class _Folder(NamedTuple):
    """A folder under way: what it still holds, and what is known of it."""

    below: str
    above: tuple[tuple[int, int], ...]
    found: Iterator[_Found]


def _walk(root: str, *, follow_links: bool) -> Iterator[_Entry]:
    """Yield every input file, in the order of the names' bytes."""
    folders = [_open_folder(root, "", (), follow_links=follow_links)]
    while folders:
        below, above, found = folders[-1]
        for _, is_folder, entry in found:
            path = below + entry.name
            if is_folder:
                folder = _open_folder(root, path + os.sep, above, follow_links=follow_links)
                folders.append(folder)
                break
            try:
                status = entry.stat(follow_symlinks=follow_links)
            except FileNotFoundError:
                continue
            yield _Entry(path, status.st_size, status.st_mtime_ns)
        else:
            folders.pop()


def _open_folder(
    root: str, below: str, above: tuple[tuple[int, int], ...], *, follow_links: bool
) -> _Folder:
    """List a folder in the order of its names' bytes, without what is hidden or no input.

    `above` are the folders that lead here, by device and number: a link back to one is a loop, and
    holds nothing.

    Raises:
        UsageError: it can't be read.
    """
    path = os.path.join(root, below)
    try:
        status = os.stat(path)
        here = (status.st_dev, status.st_ino)
        if here in above:
            return _Folder(below, above, iter(()))
        with os.scandir(path) as entries:
            found = list(_look_at(entries, follow_links=follow_links))
    except FileNotFoundError:
        return _Folder(below, above, iter(()))  # vanished since its parent was listed
    except OSError as error:
        raise UsageError(
            f"the folder {_escape(path)} can't be read: {error.strerror}",
            hint="give the loading user the right to read it, or name another folder",
        ) from error
    found.sort(key=itemgetter(0))
    return _Folder(below, (*above, here), iter(found))


def _look_at(entries: Iterable[os.DirEntry[str]], *, follow_links: bool) -> Iterator[_Found]:
    for entry in entries:
        name = entry.name
        if name[0] == ".":
            continue
        if entry.is_dir(follow_symlinks=follow_links):
            # With the separator, a folder stands where its files' whole names stand.
            yield _Found(_escape(name).encode() + b"/", True, entry)
        elif name.endswith(SUFFIXES) and entry.is_file(follow_symlinks=follow_links):
            yield _Found(_escape(name).encode(), False, entry)


def parts_of(
    root: str, path: str, size: int, batch_bytes: int | None = None
) -> list[tuple[int, int | None]]:
    """Return the byte ranges a file is read in: one, unless it is much larger than a batch.

    `stop` is None for "to its end". A compressed file can't be cut.
    """
    batch_bytes = batch_bytes or BATCH_BYTES
    if size <= 2 * batch_bytes or not path.endswith(".json"):
        return [(0, None)]
    return _cut(os.path.join(root, path), size, batch_bytes)


def _cut(path: str, length: int, batch_bytes: int) -> list[tuple[int, int | None]]:
    """Cut a big file where records end; a file without such a place stays whole."""
    cuts = [0]
    # Who can't open it says so when it is read.
    with contextlib.suppress(OSError), open(path, "rb") as file:
        for target in range(batch_bytes, length - batch_bytes // 2, batch_bytes):
            if target <= cuts[-1]:
                continue
            file.seek(target)
            match = BOUNDARY.search(file.read(_BOUNDARY_WINDOW))
            if match is None:
                break
            cuts.append(target + match.end())
    return list(zip(cuts, [*cuts[1:], None], strict=True))

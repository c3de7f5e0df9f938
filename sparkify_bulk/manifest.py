"""List the input files and cut them into batches.

Hidden files and folders are left out, symbolic links aren't followed, and only regular files count,
so that editor copies, loops and pipes do no harm.
"""

import contextlib
import os
import re
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
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

    Attributes:
        kind: what the records are.
        root: the folder.
        files, size: how many files there are to read, and their bytes.
        new, changed: how many of them the ledger hasn't, and has otherwise.
        same: how many files are as the ledger has them, and aren't read.
        vanished: names of files that the ledger has and the folder no longer.
        batches: the files to read.
    """

    kind: Kind
    root: str
    files: int = 0
    size: int = 0
    new: int = 0
    changed: int = 0
    same: int = 0
    vanished: list[str] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)


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
        UsageError: the folder doesn't exist, or can't be read.
    """
    if not os.path.isdir(root):
        what = "is not a folder" if os.path.exists(root) else "does not exist"
        raise UsageError(
            f"the {kind} folder {root} {what}",
            hint="DATA must hold song_data/ and log_data/; --songs and --logs name them apart",
        )
    manifest = Manifest(kind, root)
    pending = _Pending(manifest, batch_bytes or BATCH_BYTES, follow_links=follow_links)
    found = _walk(root, follow_links=follow_links)
    for entry, had in _match(found, iter(known), root, manifest.vanished):
        untouched = had and (entry.size, entry.modified_ns) == (had.size, had.modified_ns)
        if had and untouched and (is_same is None or is_same(entry.path, had)):
            manifest.same += 1
            continue
        manifest.changed += had is not None
        manifest.new += had is None
        manifest.files += 1
        manifest.size += entry.size
        pending.add(entry)
    pending.close()
    return manifest


def ledger_names(root: str, paths: Iterable[str]) -> list[str]:
    """Name files as the ledger does: below their root's own name; what isn't UTF-8 is escaped."""
    above = PurePath(root).name
    return [_escape(f"{above}/{path}") for path in paths]


def _escape(name: str) -> str:
    return name if name.isascii() else name.encode(errors="backslashreplace").decode()


class _Entry(NamedTuple):
    """A file found."""

    path: str
    size: int
    modified_ns: int


class _Pending:
    """Gather files into batches."""

    def __init__(self, manifest: Manifest, batch_bytes: int, *, follow_links: bool) -> None:
        self._follow_links = follow_links
        self._manifest = manifest
        self._batch_bytes = batch_bytes
        self._entries: list[_Entry] = []
        self._size = 0

    def add(self, entry: _Entry) -> None:
        """Take a file; one that is much larger than a batch is cut."""
        if self._size + entry.size > self._batch_bytes or len(self._entries) >= BATCH_FILES:
            self.close()
            parts = parts_of(self._manifest.root, entry.path, entry.size, self._batch_bytes)
            if len(parts) > 1:
                for start, stop in parts:
                    size = (stop or entry.size) - start
                    self._append(entry.path, size, start, stop)
                return
        self._entries.append(entry)
        self._size += entry.size

    def close(self) -> None:
        """Make a batch of what was gathered."""
        if self._entries:
            self._append(
                "\0".join(entry.path for entry in self._entries),
                self._size,
                sizes=array("q", (entry.size for entry in self._entries)),
                modified_ns=array("q", (entry.modified_ns for entry in self._entries)),
            )
            self._entries.clear()
            self._size = 0

    def _append(
        self,
        paths: str,
        size: int,
        start: int = 0,
        stop: int | None = None,
        **listed: "array[int]",
    ) -> None:
        made, follow = self._manifest, self._follow_links
        made.batches.append(
            Batch(
                len(made.batches), made.kind, made.root, paths, size, start, stop, follow, **listed
            )
        )


def _match(
    found: Iterator[_Entry], known: Iterator[Known], root: str, vanished: list[str]
) -> Iterator[tuple[_Entry, Known | None]]:
    """Pair the files found with those known, both in the order of their names' bytes.

    Two streams side by side: a million known files take no memory.
    """
    had = next(known, None)
    if had is None:
        yield from ((entry, None) for entry in found)
        return
    for entry in found:
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


class _Folder(NamedTuple):
    """A folder under way: what it still holds, and what is known of it."""

    below: str
    above: tuple[tuple[int, int], ...]
    entries: Iterator[os.DirEntry[str]]


def _walk(root: str, *, follow_links: bool) -> Iterator[_Entry]:
    """Yield every input file, in the order of the names' bytes."""
    folders = [_open_folder(root, "", (), follow_links=follow_links)]
    while folders:
        below, above, entries = folders[-1]
        for entry in entries:
            path = below + entry.name
            if entry.is_dir(follow_symlinks=follow_links):
                folder = _open_folder(root, path + os.sep, above, follow_links=follow_links)
                folders.append(folder)
                break
            if entry.name.endswith(SUFFIXES) and entry.is_file(follow_symlinks=follow_links):
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=follow_links)
                    yield _Entry(path, status.st_size, status.st_mtime_ns)
        else:
            folders.pop()


def _open_folder(
    root: str, below: str, above: tuple[tuple[int, int], ...], *, follow_links: bool
) -> _Folder:
    """List a folder in the order of its names' bytes, without what is hidden.

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
        with os.scandir(path) as found:
            entries = [
                (_name_order(entry, follow_links=follow_links), entry)
                for entry in found
                if not entry.name.startswith(".")
            ]
    except FileNotFoundError:
        return _Folder(below, above, iter(()))  # vanished since its parent was listed
    except OSError as error:
        raise UsageError(
            f"the folder {_escape(path)} can't be read: {error.strerror}",
            hint="give the loading user the right to read it, or name another folder",
        ) from error
    entries.sort(key=itemgetter(0))
    return _Folder(below, (*above, here), (entry for _, entry in entries))


def _name_order(entry: os.DirEntry[str], *, follow_links: bool) -> bytes:
    """Sort a folder as the whole names of its files sort: with the separator at a folder's end."""
    name = _escape(entry.name).encode()
    return name + b"/" if entry.is_dir(follow_symlinks=follow_links) else name


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

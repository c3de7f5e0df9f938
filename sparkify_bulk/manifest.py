"""List the input files and cut them into batches.

Hidden files and folders are left out, symbolic links aren't followed, and only regular files count,
so that editor copies, loops and pipes do no harm.
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePath
from typing import Literal

from sparkify_bulk.errors import UsageError

Kind = Literal["songs", "events"]
KINDS: tuple[Kind, ...] = ("songs", "events")

SUFFIXES = (".json", ".json.gz", ".json.zst")

# Large enough that parsing and COPY outweigh the cost of starting them, small enough that a worker
# (bytes, frame and encoded rows at once) stays around 100 MB.
BATCH_BYTES = 16 * 2**20
BATCH_FILES = 8192

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
    """

    number: int
    kind: Kind
    root: str
    paths: str
    size: int
    start: int = 0
    stop: int | None = None
    follow_links: bool = False

    @property
    def files(self) -> list[str]:
        """The relative paths."""
        return self.paths.split("\0")


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
    batch_bytes: int = BATCH_BYTES,
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
        batch_bytes: what a batch holds, about.

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
    pending = _Pending(manifest, batch_bytes, follow_links=follow_links)
    found = _walk(root, "", (), follow_links=follow_links)
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


def ledger_name(root: str, path: str) -> str:
    """Name a file as the ledger does: below its root's own name; what isn't UTF-8 is escaped."""
    return _escape(f"{PurePath(root).name}/{path}")


def _escape(name: str) -> str:
    return name.encode(errors="backslashreplace").decode()


@dataclass(frozen=True, slots=True)
class _Entry:
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
        self._paths: list[str] = []
        self._size = 0

    def add(self, entry: _Entry) -> None:
        """Take a file; one that is much larger than a batch is cut."""
        if entry.path.endswith(".json") and entry.size > 2 * self._batch_bytes:
            self.close()
            whole = os.path.join(self._manifest.root, entry.path)
            for start, stop in cut(whole, entry.size, self._batch_bytes):
                self._append(entry.path, (stop or entry.size) - start, start, stop)
            return
        if self._size + entry.size > self._batch_bytes or len(self._paths) >= BATCH_FILES:
            self.close()
        self._paths.append(entry.path)
        self._size += entry.size

    def close(self) -> None:
        """Make a batch of what was gathered."""
        if self._paths:
            self._append("\0".join(self._paths), self._size)
            self._paths.clear()
            self._size = 0

    def _append(self, paths: str, size: int, start: int = 0, stop: int | None = None) -> None:
        batches = self._manifest.batches
        kind, root = self._manifest.kind, self._manifest.root
        number, follow = len(batches), self._follow_links
        batches.append(Batch(number, kind, root, paths, size, start, stop, follow))


def _match(
    found: Iterator[_Entry], known: Iterator[Known], root: str, vanished: list[str]
) -> Iterator[tuple[_Entry, Known | None]]:
    """Pair the files found with those known, both in the order of their names' bytes.

    Two streams side by side: a million known files take no memory.
    """
    had = next(known, None)
    for entry in found:
        name = ledger_name(root, entry.path)
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


def _walk(
    root: str, below: str, above: tuple[tuple[int, int], ...], *, follow_links: bool
) -> Iterator[_Entry]:
    """Yield every input file, in the order of the names' bytes.

    `above` are the folders that lead here, by device and number: a link back to one is a loop.
    """
    folder = os.path.join(root, below)
    try:
        status = os.stat(folder)
        here = (status.st_dev, status.st_ino)
        if here in above:
            return
        entries = sorted(os.scandir(folder), key=partial(_name_order, follow_links=follow_links))
    except FileNotFoundError:
        return  # vanished since its parent was listed
    except OSError as error:
        raise UsageError(
            f"the folder {_escape(folder)} can't be read: {error.strerror}",
            hint="give the loading user the right to read it, or name another folder",
        ) from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        path = os.path.join(below, entry.name)
        if entry.is_dir(follow_symlinks=follow_links):
            yield from _walk(root, path, (*above, here), follow_links=follow_links)
        elif entry.name.endswith(SUFFIXES) and entry.is_file(follow_symlinks=follow_links):
            with contextlib.suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=follow_links)
                yield _Entry(path, status.st_size, status.st_mtime_ns)


def _name_order(entry: os.DirEntry[str], *, follow_links: bool) -> bytes:
    """Sort a folder as the whole names of its files sort: with the separator at a folder's end."""
    name = _escape(entry.name).encode()
    return name + b"/" if entry.is_dir(follow_symlinks=follow_links) else name


def cut(path: str, length: int, batch_bytes: int = BATCH_BYTES) -> list[tuple[int, int | None]]:
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

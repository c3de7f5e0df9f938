"""List the input files and cut them into batches.

Hidden files and folders are left out, symbolic links aren't followed, and only regular files count,
so that editor copies, loops and pipes do no harm.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sparkify_bulk.errors import UsageError

Kind = Literal["songs", "events"]

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
    """

    number: int
    kind: Kind
    root: str
    paths: str
    size: int
    start: int = 0
    stop: int | None = None

    @property
    def files(self) -> list[str]:
        """The relative paths."""
        return self.paths.split("\0")


@dataclass(frozen=True, slots=True)
class Manifest:
    """All input files of one kind, cut into batches."""

    kind: Kind
    root: str
    files: int
    size: int
    batches: tuple[Batch, ...]


def make_manifest(kind: Kind, root: str, *, batch_bytes: int = BATCH_BYTES) -> Manifest:
    """List the files below a folder and cut them into batches.

    The order is that of the paths' bytes, folder by folder; neither the file system nor the number
    of workers has a say in it.

    Raises:
        UsageError: the folder doesn't exist, or can't be read.
    """
    if not os.path.isdir(root):
        what = "is not a folder" if os.path.exists(root) else "does not exist"
        raise UsageError(
            f"the {kind} folder {root} {what}",
            hint="DATA must hold song_data/ and log_data/; --songs and --logs name them apart",
        )
    batches: list[Batch] = []
    files = size = 0
    gathered: list[str] = []
    gathered_bytes = 0

    def close() -> None:
        nonlocal gathered_bytes
        if gathered:
            paths = "\0".join(gathered)
            batches.append(Batch(len(batches), kind, root, paths, gathered_bytes))
            gathered.clear()
            gathered_bytes = 0

    for path, length in _walk(root, ""):
        files += 1
        size += length
        if path.endswith(".json") and length > 2 * batch_bytes:
            close()
            for start, stop in _cut(os.path.join(root, path), length, batch_bytes):
                part = (stop or length) - start
                batches.append(Batch(len(batches), kind, root, path, part, start, stop))
            continue
        if gathered_bytes + length > batch_bytes or len(gathered) >= BATCH_FILES:
            close()
        gathered.append(path)
        gathered_bytes += length
    close()
    return Manifest(kind, root, files, size, tuple(batches))


def _walk(root: str, below: str) -> Iterator[tuple[str, int]]:
    """Yield relative path and size of every input file, in the order of the paths' bytes."""
    try:
        entries = sorted(os.scandir(os.path.join(root, below)), key=_path_order)
    except PermissionError as error:
        raise UsageError(
            f"the folder {os.path.join(root, below)} can't be read: {error.strerror}",
            hint="give the loading user the right to read it, or name another folder",
        ) from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        path = os.path.join(below, entry.name)
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(root, path)
        elif entry.name.endswith(SUFFIXES) and entry.is_file(follow_symlinks=False):
            yield path, entry.stat(follow_symlinks=False).st_size


def _path_order(entry: os.DirEntry[str]) -> bytes:
    """Sort a folder as its files' whole paths sort: by bytes, with the separator at its end."""
    name = os.fsencode(entry.name)
    return name + b"/" if entry.is_dir(follow_symlinks=False) else name


def _cut(path: str, length: int, batch_bytes: int) -> list[tuple[int, int | None]]:
    """Cut a big file where records end; a file without such a place stays whole."""
    cuts = [0]
    with open(path, "rb") as file:
        for target in range(batch_bytes, length - batch_bytes // 2, batch_bytes):
            if target <= cuts[-1]:
                continue
            file.seek(target)
            match = BOUNDARY.search(file.read(_BOUNDARY_WINDOW))
            if match is None:
                break
            cuts.append(target + match.end())
    return list(zip(cuts, [*cuts[1:], None], strict=True))

"""List a local folder in the order of its names' bytes, all of it or a share.

Hidden files, and folders that begin with a dot or an underscore, are left out, and only regular
files count, so that editor copies, loops and pipes do no harm. Only the standard library may be
imported here: processes run it that begin before anything else is loaded.
"""

import errno
import os
from collections.abc import Iterable, Iterator
from itertools import pairwise
from operator import itemgetter
from typing import NamedTuple

from sparkify_bulk.source.listing import Entry, LeftOut, clamped, escape, has_suffix

# Folders are shared among processes: so many for each, if there are so many near the top.
_FOLDERS_EACH = 8
_DEEPEST_CUT = 4


class Span(NamedTuple):
    """Some of a folder's files: whose paths, as bytes, aren't before `first`, and before `stop`.

    Where either is empty there is no such limit.
    """

    first: bytes = b""
    stop: bytes = b""

    def holds(self, path: bytes, *, is_folder: bool) -> bool:
        """Tell whether it holds a file, or any below a folder, whose path ends with a `/`."""
        begins = path >= self.first or (is_folder and self.first.startswith(path))
        return begins and (not self.stop or path < self.stop)

    def holds_all(self, folder: bytes) -> bool:
        """Tell whether it holds all files below a folder."""
        ends = not self.stop or (folder < self.stop and not self.stop.startswith(folder))
        return folder >= self.first and ends


EVERYTHING = Span()


class _Found(NamedTuple):
    """What a folder holds: `key` orders it as the whole names of the files below are ordered."""

    key: bytes
    is_folder: bool
    entry: os.DirEntry[str]


class _Folder(NamedTuple):
    """A folder under way: its path as text and as bytes, what it still holds, and what limits it.

    `above` are the folders that lead here, by device and number, where links are followed.
    """

    below: str
    key: bytes
    above: tuple[tuple[int, int], ...]
    span: Span
    found: Iterator[_Found]


def walk(
    root: str, *, follow_links: bool, span: Span = EVERYTHING, left_out: LeftOut | None = None
) -> Iterator[Entry]:
    """Yield every input file below a folder, in the order of the names' bytes.

    Hidden files, and folders that begin with a dot or an underscore, are left out, and only regular
    files count.

    Args:
        root: the folder.
        follow_links: follow symbolic links.
        span: yield some of the files only.
        left_out: counts what is no input.

    Raises:
        OSError: a folder can't be read.
    """
    for path, found in found_below(root, span, left_out or LeftOut(), follow_links=follow_links):
        if entry := entry_of(path, found, follow_links=follow_links):
            yield entry


def entry_of(path: str, found: os.DirEntry[str], *, follow_links: bool) -> Entry | None:
    """Return what a file found is now; None if it is gone."""
    try:
        status = found.stat(follow_symlinks=follow_links)
    except FileNotFoundError:
        return None
    except OSError:
        return Entry(path, 0, 0)  # whoever reads it says what is wrong with it
    return Entry(path, status.st_size, clamped(status.st_mtime_ns))


def found_below(
    root: str, span: Span, left_out: LeftOut, *, follow_links: bool
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield the path of every input file below a folder, and what the system says of it."""
    top = _Folder("", b"", (), span, iter(()))
    folders = [_open_folder(root, top, left_out, follow_links=follow_links)]
    while folders:
        folder = folders[-1]
        below = folder.below
        for key, is_folder, entry in folder.found:
            path = below + entry.name
            if is_folder:
                inner = folder._replace(below=path + os.sep, key=folder.key + key)
                try:
                    folders.append(_open_folder(root, inner, left_out, follow_links=follow_links))
                except OSError as error:
                    if error.errno != errno.ENAMETOOLONG:
                        raise
                    yield inner.below, entry  # nor can it be read as a file: a reject says so
                    continue
                break
            yield path, entry
        else:
            folders.pop()


def _open_folder(root: str, folder: _Folder, left_out: LeftOut, *, follow_links: bool) -> _Folder:
    """List a folder in the order of its names' bytes, and count what is hidden or no input.

    Raises:
        OSError: it can't be read.
    """
    path = os.path.join(root, folder.below)
    above = folder.above
    try:
        if follow_links:
            status = os.stat(path)
            here = (status.st_dev, status.st_ino)
            if here in above:  # a link back to a folder above is a loop, and holds nothing
                if folder.span.holds(folder.key, is_folder=False):
                    left_out.add("link", folder.below.rstrip(os.sep))
                return folder._replace(found=iter(()))
            above = (*above, here)
        with os.scandir(path) as entries:
            found = list(_look_at(entries, folder, left_out, follow_links=follow_links))
    except FileNotFoundError:
        return folder._replace(found=iter(()))  # vanished since its parent was listed
    span = EVERYTHING if folder.span.holds_all(folder.key) else folder.span
    if span != EVERYTHING:
        found = [one for one in found if span.holds(folder.key + one.key, is_folder=one.is_folder)]
    found.sort(key=itemgetter(0))
    return folder._replace(above=above, span=span, found=iter(found))


def _look_at(
    entries: Iterable[os.DirEntry[str]], folder: _Folder, left_out: LeftOut, *, follow_links: bool
) -> Iterator[_Found]:
    for entry in entries:
        name = entry.name
        if name[0] != "." and _is_folder(entry, follow_links=follow_links):
            if name[0] != "_":
                # With the separator, a folder stands where its files' whole names stand.
                yield _Found(escape(name).encode() + b"/", True, entry)
                continue
        elif name[0] != "." and has_suffix(name) and _is_file(entry, follow_links=follow_links):
            yield _Found(escape(name).encode(), False, entry)
            continue
        # Of several that share a folder, one counts each.
        if folder.span.holds(folder.key + escape(name).encode(), is_folder=False):
            left_out.add(_why_left_out(entry, follow_links=follow_links), folder.below + name)


def _is_folder(entry: os.DirEntry[str], *, follow_links: bool) -> bool:
    """Tell whether it is a folder; a link that leads in a circle, or out of reach, is none."""
    try:
        return entry.is_dir(follow_symlinks=follow_links)
    except OSError:
        return False


def _is_file(entry: os.DirEntry[str], *, follow_links: bool) -> bool:
    """Tell whether it is a regular file; a link that leads in a circle is none."""
    try:
        return entry.is_file(follow_symlinks=follow_links)
    except OSError:
        return False


def _why_left_out(entry: os.DirEntry[str], *, follow_links: bool) -> str:
    is_folder = _is_folder(entry, follow_links=follow_links)
    if entry.name[0] == "." or is_folder:
        return "hidden_folder" if is_folder else "hidden_file"
    # Where links are followed, one that is left leads nowhere.
    if entry.is_symlink() and not (follow_links and _is_file(entry, follow_links=True)):
        return "link"
    return "not_regular" if has_suffix(entry.name) else "suffix"


def cut(root: str, number: int, *, follow_links: bool) -> list[Span]:
    """Share what is below a folder among so many processes, or fewer, by its upper folders.

    Raises:
        OSError: a folder can't be read.
    """
    uncounted = LeftOut()
    top = _Folder("", b"", (), EVERYTHING, iter(()))
    level = [_open_folder(root, top, uncounted, follow_links=follow_links)]
    keys: list[bytes] = []
    for _ in range(_DEEPEST_CUT if number > 1 else 0):
        inner = [
            folder._replace(below=folder.below + one.entry.name + os.sep, key=folder.key + one.key)
            for folder in level
            for one in folder.found
            if one.is_folder
        ]
        keys = max(keys, [folder.key for folder in inner], key=len)
        if len(keys) >= number * _FOLDERS_EACH:
            break
        level = [
            _open_folder(root, folder, uncounted, follow_links=follow_links) for folder in inner
        ]
    if len(keys) < number:
        return [EVERYTHING]
    limits = [b"", *(keys[len(keys) * part // number] for part in range(1, number)), b""]
    return [Span(*span) for span in pairwise(limits)]

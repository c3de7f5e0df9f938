"""List folders and read the small files in them, in processes beside this one.

A hundred thousand files take a second of system calls. Threads of one interpreter wait for each
other at every one of them, and take twice the processor time of one thread alone; processes beside
begin before this one has loaded its libraries, and hold nobody up. They are this file, run as a
script: it must not import anything but the standard library.
"""

import contextlib
import errno
import gc
import os
import pickle
import queue
import selectors
import stat
import subprocess
import sys
import threading
from array import array
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import islice, pairwise
from operator import itemgetter
from typing import IO, Any, NamedTuple, cast

# What an input file's name ends in, in any case. What a file is its first bytes tell.
SUFFIXES = tuple(
    ending + packing for ending in (".json", ".jsonl", ".ndjson") for packing in ("", ".gz", ".zst")
)
# Files of such names are rarely plain text, and not worth the attempt.
_PACKED = (".gz", ".zst")
# What desktops, editors, version control and Spark put beside files: counted, but not warned of.
_COMMON_FOLDERS = (".git", ".svn", ".ipynb_checkpoints", ".snapshot", "__MACOSX")
_COMMON_FILES = ("_SUCCESS", "Thumbs.db", "desktop.ini", "README", "LICENSE", "SHA256SUMS")
_COMMON_SUFFIXES = (".md", ".txt", ".crc", ".md5", ".sha256")
# What files of JSON text in UTF-8 begin with, mostly; others are looked at more closely.
_BEGINS_TEXT = frozenset(
    {b""} | {bytes((one, two)) for one in b"{[ \t\r\n" for two in b'"{}[] \t\r\n'}
)
# What 64 bits hold: some file systems keep times far beyond it.
_LARGEST = 2**63 - 1
# Larger files are read where they are parsed, in parts if need be.
SMALL_BYTES = 2**18
# How much is listed, or read, before it is handed on.
FILES = 8192
_BYTES = 8 * 2**20
_PIPE_BYTES = 2**20
# How many of these a process reads ahead.
_AHEAD = 4
# Folders are shared among processes: so many for each, if there are so many near the top.
_FOLDERS_EACH = 8
_DEEPEST_CUT = 4


class Entry(NamedTuple):
    """A file found: its path below the folder, and what it is now."""

    path: str
    size: int
    modified_ns: int


class LeftOut:
    """What a folder holds that isn't input: how much of it, by reason, and what comes first.

    Reasons are `suffix`, `link`, `hidden_folder`, `hidden_file` and `not_regular`.

    Attributes:
        counts: how many, by reason.
        first: the first by name of each reason, but for what commonly lies beside input.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self.counts: dict[str, int] = {}
        self.first: dict[str, str] = {}

    def add(self, reason: str, path: str) -> None:
        """Count a file, a folder or a link."""
        self._add(reason, 1, "" if _is_common(reason, path) else path)

    def merge(self, counts: dict[str, int], first: dict[str, str]) -> None:
        """Count what somebody else has left out."""
        for reason, number in counts.items():
            self._add(reason, number, first.get(reason, ""))

    def _add(self, reason: str, number: int, path: str) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + number
        if path:
            self.first[reason] = min(path, self.first.get(reason, path))


def _is_common(reason: str, path: str) -> bool:
    """Tell whether something left out commonly lies beside input, and is no reason to worry."""
    name = path.rpartition(os.sep)[2]
    if reason == "hidden_file":
        return name.startswith("._") or not has_suffix(name)
    if reason == "hidden_folder":
        return name in _COMMON_FOLDERS or name.startswith(".Trash")
    return reason == "suffix" and (name in _COMMON_FILES or name.endswith(_COMMON_SUFFIXES))


class Read(NamedTuple):
    """Some small files, read whole.

    Attributes:
        paths: below the folder, a NUL between each two.
        sizes, modified_ns: what each was when it was read.
        digests: SHA-256 of each.
        data: their bytes, a newline between each two.
        one_line_each: every one is a single line that begins with `{`.
    """

    paths: str
    sizes: "array[int]"
    modified_ns: "array[int]"
    digests: list[bytes]
    data: bytes
    one_line_each: bool


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


def escape(name: str) -> str:
    """Return a name as text that is UTF-8, and no other name's: what isn't is escaped."""
    if name.isascii() and "\\" not in name:
        return name
    return os.fsencode(name.replace("\\", "\\\\")).decode(errors="backslashreplace")


def clamped(nanoseconds: int) -> int:
    """Return a file's time of change as 64 bits hold it: until the year 2262."""
    return max(-_LARGEST, min(nanoseconds, _LARGEST))


def has_suffix(name: str) -> bool:
    """Tell whether a file is input by its name."""
    return name.endswith(SUFFIXES) or name.lower().endswith(SUFFIXES)


def open_flags(*, follow_links: bool) -> int:
    """Return how an input file is opened."""
    # Not blocking, so that a pipe put in a file's place can't hang the run.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    return flags if follow_links else flags | os.O_NOFOLLOW


# --- listing --------------------------------------------------------------------------------------


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
    for path, found in _walk(root, span, left_out or LeftOut(), follow_links=follow_links):
        if entry := _entry(path, found, follow_links=follow_links):
            yield entry


def _entry(path: str, found: os.DirEntry[str], *, follow_links: bool) -> Entry | None:
    try:
        status = found.stat(follow_symlinks=follow_links)
    except FileNotFoundError:
        return None
    except OSError:
        return Entry(path, 0, 0)  # whoever reads it says what is wrong with it
    return Entry(path, status.st_size, clamped(status.st_mtime_ns))


def _walk(
    root: str, span: Span, left_out: LeftOut, *, follow_links: bool
) -> Iterator[tuple[str, os.DirEntry[str]]]:
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


# --- reading --------------------------------------------------------------------------------------


def walk_and_read(
    root: str, *, follow_links: bool, span: Span = EVERYTHING, left_out: LeftOut | None = None
) -> Iterator[Read | list[Entry]]:
    """Yield what `walk` does, many files at a time: small plain ones read, and the others listed.

    Files that are yielded together stand together in the order of all paths.

    Raises:
        OSError: a folder can't be read.
    """
    flags = open_flags(follow_links=follow_links)
    read = _Reading()
    listed: list[Entry] = []
    for path, found in _walk(root, span, left_out or LeftOut(), follow_links=follow_links):
        small = None if path.endswith(_PACKED) else _read_small(found.path, flags)
        if small and not listed and read.size < _BYTES and len(read.paths) < FILES:
            read.add(path, small)
            continue
        if read.paths:
            yield read.take()
            read = _Reading()
        if listed and (small or len(listed) >= FILES):
            yield listed
            listed = []
        if small:
            read.add(path, small)
        elif entry := _entry(path, found, follow_links=follow_links):
            listed.append(entry)
    if read.paths:
        yield read.take()
    if listed:
        yield listed


def read_small(root: str, paths: list[str], *, follow_links: bool) -> tuple[Read, list[int]]:
    """Read those of some files that are small and plain; return them, and where they stood."""
    flags = open_flags(follow_links=follow_links)
    read = _Reading()
    places = []
    for place, path in enumerate(paths):
        small = None if path.endswith(_PACKED) else _read_small(f"{root}/{path}", flags)
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
    is_text = data[:2] in _BEGINS_TEXT
    return (size, status.st_mtime_ns, data) if is_text and len(data) == size else None


def _as_array(nanoseconds: Sequence[int]) -> "array[int]":
    try:
        return array("q", nanoseconds)
    except OverflowError:
        return array("q", map(clamped, nanoseconds))


class _Reading:
    """Small files read so far."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.small: list[_Small] = []
        self.size = 0

    def add(self, path: str, small: _Small) -> None:
        self.paths.append(path)
        self.small.append(small)
        self.size += small[0]

    def take(self) -> Read:
        sizes, times, data = zip(*self.small, strict=True) if self.small else ((), (), ())
        return Read(
            "\0".join(self.paths),
            array("q", sizes),
            _as_array(times),
            [sha256(one).digest() for one in data],
            b"\n".join(data),
            all(one[:1] == b"{" and one.find(b"\n", 0, -1) < 0 for one in data),
        )


# --- in processes beside --------------------------------------------------------------------------


class Lister:
    """Lists a folder in processes beside, which begin at once.

    They end when this one does: what they list has nobody at the other end.
    """

    def __init__(self, root: str, *, follow_links: bool, readers: int = 0) -> None:
        """Begin.

        Args:
            root: the folder.
            follow_links: follow symbolic links.
            readers: how many processes share the folder and read small files in it; if none does,
                one process lists all of it, in order.
        """
        self._root = root
        self._follow_links = follow_links
        self._reads = readers > 0
        # Whoever uses the listing says what is wrong with a folder.
        with contextlib.suppress(OSError):
            spans = cut(root, max(1, readers), follow_links=follow_links)
            self._processes = [_start(root, follow_links, self._reads, span) for span in spans]
            return
        self._processes = []

    def found(self, left_out: LeftOut) -> Iterator[Read | list[Entry]]:
        """Yield files, many at a time, once; those of several processes as they come.

        Args:
            left_out: counts what is no input.

        Raises:
            OSError: a folder can't be read.
        """
        if not self._processes:
            yield from list_files(
                self._root,
                EVERYTHING,
                left_out,
                follow_links=self._follow_links,
                read=self._reads,
            )
            return
        with selectors.DefaultSelector() as ready:
            for process in self._processes:
                ready.register(_output(process), selectors.EVENT_READ)
            while ready.get_map():
                for key, _ in ready.select():
                    some = self._receive(cast("IO[bytes]", key.fileobj))
                    if isinstance(some, dict):
                        left_out.merge(**some)
                        ready.unregister(key.fileobj)
                    else:
                        yield some

    def _receive(self, output: IO[bytes]) -> Read | list[Entry] | dict[str, Any]:
        """Return what comes next from a process; at its end what it has left out."""
        try:
            some = pickle.load(output)  # noqa: S301 - our own process
        except (EOFError, pickle.UnpicklingError):
            raise OSError(0, "the process that lists it has ended", self._root) from None
        if isinstance(some, OSError):
            raise some
        if isinstance(some, dict):
            return some
        # Plain tuples: what a script's classes are named is of no use elsewhere.
        return Read(*some) if isinstance(some, tuple) else [Entry(*one) for one in some]

    def close(self) -> None:
        """End the processes, whatever they do."""
        for process in self._processes:
            process.kill()
            process.communicate()


def _output(process: subprocess.Popen[bytes]) -> IO[bytes]:
    return cast("IO[bytes]", process.stdout)


def _start(
    root: str,
    follow_links: bool,
    read: bool,
    span: Span,
) -> subprocess.Popen[bytes]:
    # As alone as can be, but with the same mind about file names.
    python = [sys.executable or "", "-I", "-S", "-X", f"utf8={sys.flags.utf8_mode}"]
    words = [str(int(follow_links)), str(int(read)), *(os.fsdecode(limit) for limit in span)]
    return subprocess.Popen(  # noqa: S603 - our own file
        [*python, __file__, root, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=_PIPE_BYTES,
        pipesize=_PIPE_BYTES,
        # Ctrl-C reaches this process alone, which then ends the other.
        start_new_session=True,
    )


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
    while some := list(islice(entries, FILES)):
        yield some


def _main() -> None:
    gc.disable()  # there are no cycles to be found among bytes
    root, follow_links, read, first, stop = sys.argv[1:]
    span, left_out = Span(os.fsencode(first), os.fsencode(stop)), LeftOut()
    # Who asked may still be loading libraries: read on meanwhile.
    answers: queue.Queue[object] = queue.Queue(_AHEAD)
    answering = threading.Thread(target=_answer, args=(answers, sys.stdout.buffer), daemon=True)
    answering.start()
    try:
        for some in list_files(
            root, span, left_out, follow_links=follow_links == "1", read=read == "1"
        ):
            answers.put(tuple(some) if isinstance(some, Read) else [tuple(one) for one in some])
        answers.put({"counts": left_out.counts, "first": left_out.first})
    except OSError as error:
        answers.put(error)
    answering.join()


def _answer(answers: queue.Queue[object], output: IO[bytes]) -> None:
    last = False
    while not last:
        answer = answers.get()
        last = isinstance(answer, dict | OSError)
        try:
            pickle.dump(answer, output, pickle.HIGHEST_PROTOCOL)
            output.flush()
        except BrokenPipeError:
            os._exit(1)  # nobody is left who asked


if __name__ == "__main__":
    _main()

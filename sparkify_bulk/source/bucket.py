"""Buckets of S3, Google Cloud Storage and Azure as stores of input files."""

import io
import queue
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TypeVar

from sparkify_bulk.errors import UsageError
from sparkify_bulk.source.bucket_access import (
    CHECK_SECONDS,
    BucketError,
    OutOfRangeError,
    ask,
    client_of,
    requests,
    wait_for,
)
from sparkify_bulk.source.folder_read import Reading, is_text
from sparkify_bulk.source.formats import UnreadableError
from sparkify_bulk.source.listing import PACKED, Entry, LeftOut, Read, has_suffix
from sparkify_bulk.source.store import File, Store

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from obstore import GetOptions, ObjectMeta
    from obstore.store import ObjectStore

Answer = TypeVar("Answer")

# Objects that share a batch are read whole; no such batch is larger.
_WHOLE_BYTES = 16 * 2**20
# Bytes per request of a compressed object.
_RANGE_BYTES = 8 * 2**20
# Keys per response of a listing; a batch has no more objects, so that a signal ends a run soon.
_PAGE = 1000
# Folders listed concurrently, and groups of files of each that may wait in memory.
_LISTERS = 8
_AHEAD = 32
# Folders listed separately: finding each costs a request.
_MOST_FOLDERS = 64
# Sorts after all keys that begin with a folder's name and a slash.
_LAST = "/\U0010ffff"
# What signed URLs have behind the question mark.
_SIGNED = re.compile(r"[?&](sig|signature|x-amz-[a-z-]+|x-goog-[a-z-]+)=", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Bucket(Store):
    """The objects of a bucket below a prefix.

    Attributes:
        address: scheme, bucket and prefix, as in `s3://bucket/folder`.
    """

    address: str
    follow_links: bool = False

    is_versioned = True
    tells_rights = False

    def __post_init__(self) -> None:
        """Normalize the address.

        Raises:
            UsageError: it is not the address of a bucket.
        """
        scheme, _, rest = self.address.partition("://")
        rest, scheme = rest.rstrip("/"), scheme.lower()
        bucket = rest.partition("/")[0]
        if _SIGNED.search(rest):
            raise UsageError(
                f"the address {scheme}://{rest.partition('?')[0]}?… has a signature in it",
                hint="give credentials by the environment, such as AZURE_STORAGE_SAS_TOKEN",
            )
        if not bucket or "@" in bucket or ":" in bucket:
            raise UsageError(
                f"{self.address} is not the address of a bucket",
                hint=f"write it as {scheme}://BUCKET/FOLDER; credentials come from the environment",
            )
        if "//" in rest:
            raise UsageError(
                f"{self.address} has an empty part between two slashes",
                hint="name a folder without one; objects with such keys can't be read",
            )
        object.__setattr__(self, "address", f"{scheme}://{rest}")

    @property
    def _bucket(self) -> str:
        scheme, _, rest = self.address.partition("://")
        return f"{scheme}://{rest.partition('/')[0]}"

    @property
    def _prefix(self) -> str:
        return self.address.removeprefix(self._bucket).lstrip("/")

    @property
    def _client(self) -> "ObjectStore":
        return client_of(self._bucket)

    def _key(self, path: str) -> str:
        return f"{self._prefix}/{path}" if self._prefix else path

    def _ask(self, question: Callable[[], Answer], what: str, path: str = "") -> Answer:
        where = f"{self.address}/{path}" if path else self.address
        return ask(question, f"{where} can't be {what}", of_object=bool(path))

    def missing(self) -> str:
        """Return a message if there is no object below the prefix.

        Raises:
            BucketError: it can't be listed; the message says why.
            UsageError: obstore isn't installed, or a setting is wrong.
        """
        client = client_of(self._bucket, patient=False)

        def first() -> object:
            return next(client.list(self._prefix or None, chunk_size=1), None)

        (found,) = wait_for(lambda: self._ask(first, "listed"))
        return "" if found else f"there is nothing below {self.address}"

    # --- listing ----------------------------------------------------------------------------------

    def list_files(self, left_out: LeftOut) -> Iterator[list[Entry]]:
        """Yield every input file, many at a time, in the order of their keys.

        Raises:
            BucketError: the bucket can't be listed, or not in that order.
        """
        last, hidden = "", ""
        for some in self._listed():
            entries = []
            for path, size, mark in some:
                # Web consoles make empty objects to show folders; obstore omits their slash.
                if not size and (path <= last or not has_suffix(path)):
                    continue
                if path <= last:
                    raise BucketError(
                        f"{self.address} can't be listed: its objects don't come in the order of "
                        "their keys",
                        hint="directory buckets of S3 Express list so: copy what is in it to "
                        "another bucket",
                    )
                last = path
                if hidden and path.startswith(hidden):
                    continue
                hidden = _hidden_folder(path)
                if hidden:
                    left_out.add("hidden_folder", hidden.rstrip("/"))
                elif path.rpartition("/")[2].startswith("."):
                    left_out.add("hidden_file", path)
                elif has_suffix(path):
                    entries.append(Entry(path, size, mark))
                else:
                    left_out.add("suffix", path)
            if entries:
                yield entries

    def _listed(self) -> Iterator[list[Entry]]:
        """Yield all objects in groups; large folders are listed concurrently."""
        stops = threading.Event()
        parts = queue.SimpleQueue[_Part]()
        waiting = deque[_Part]()
        try:
            for prefix, offset in self._cut():
                waiting.append(_Part(prefix, offset, queue.Queue(_AHEAD)))
                parts.put(waiting[-1])
            for _ in range(min(_LISTERS, len(waiting))):
                # Not waited for: a request can't be interrupted.
                threading.Thread(target=self._list, args=(parts, stops), daemon=True).start()
            while waiting:
                groups = waiting.popleft().groups
                while (some := _take(groups)) is not None:
                    if isinstance(some, BaseException):
                        raise some
                    yield some
        finally:
            stops.set()

    def _list(self, parts: "queue.SimpleQueue[_Part]", stops: threading.Event) -> None:
        """List one part after the other, until none is left."""
        with suppress(queue.Empty):
            while not stops.is_set():
                self._list_part(parts.get_nowait(), stops)

    def _list_part(self, part: "_Part", stops: threading.Event) -> None:
        """Put the groups of a part into its queue; an error or None comes last."""
        last: BaseException | None = None
        try:
            for some in self._pages(part.prefix, part.offset):
                if not _put(part.groups, some, stops):
                    return
        except BaseException as error:  # noqa: BLE001 - raised by the consumer
            last = error
        _put(part.groups, last, stops)

    def _pages(self, prefix: str, offset: str | None) -> Iterator[list[Entry]]:
        skip = len(self._key(""))
        client = self._client
        pages = self._ask(
            lambda: client.list(prefix or None, offset=offset, chunk_size=_PAGE), "listed"
        )
        while page := self._ask(lambda: next(pages, None), "listed"):
            yield [Entry(one["path"][skip:], one["size"], _mark(one)) for one in page]

    def _first_page(self, offset: str | None) -> list[Entry]:
        return next(self._pages(self._prefix, offset), [])

    def _cut(self) -> Iterator[tuple[str, str | None]]:
        """Yield the parts to list concurrently, in order: a prefix, and the key to begin behind.

        Each folder that fills a page is a part; the next one is found by listing from behind it.
        The rest is one part. Azure can't begin in the middle of a listing.
        """
        prefix, offset = self._prefix, None
        if not self._bucket.startswith("az"):
            for _ in range(_MOST_FOLDERS):
                (page,) = wait_for(partial(self._first_page, offset))
                folder = page[0].path.partition("/")[0] if page else ""
                if len(page) < _PAGE or not page[-1].path.startswith(f"{folder}/"):
                    break
                yield self._key(folder), None
                offset = self._key(folder) + _LAST
        yield prefix, offset

    # --- reading ----------------------------------------------------------------------------------

    @contextmanager
    def open(self, path: str) -> Iterator[File]:
        """Open the current version of an object.

        Raises:
            BucketError: the service doesn't answer.
            OSError: the object is gone, or access is denied.
        """
        (meta,) = wait_for(
            lambda: self._ask(lambda: self._client.head(self._key(path)), "read", path)
        )
        yield _Object(self, path, meta)

    def get(self, path: str, start: int, stop: int, etag: str | None) -> "tuple[ObjectMeta, bytes]":
        """Return metadata and a range of bytes of an object.

        Args:
            path: of the object, below the prefix.
            start: of the range.
            stop: of the range.
            etag: of the version to read; None for the current one.

        Raises:
            ReplacedError: the object is another version.
        """

        def question() -> "tuple[ObjectMeta, bytes]":
            options: GetOptions = {"range": (start, stop)}
            if etag:
                options["if_match"] = etag
            found = self._client.get(self._key(path), options=options)
            return found.meta, found.bytes().to_bytes()

        return self._ask(question, "read", path)

    @contextmanager
    def ahead(self, paths: Sequence[str]) -> Iterator[Store]:
        """Read several objects concurrently; a single one is read on demand."""
        if len(paths) == 1:
            yield self
            return
        yield _Fetched(self.address, self, self._fetch_all(paths))

    def _fetch_all(self, paths: Sequence[str]) -> "dict[str, _Whole | Exception | None]":
        """Read objects concurrently; each has its error instead if it can't be read.

        Raises:
            BucketError: the service doesn't answer.
        """
        fetched: dict[str, _Whole | Exception | None] = {}
        left = deque(paths)

        def fetch() -> None:
            # One after the other: a task for each object would take a third more processor time.
            with suppress(IndexError):
                while True:
                    path = left.popleft()
                    try:
                        fetched[path] = self._fetch(path)
                    except (OSError, UnreadableError) as error:
                        fetched[path] = error

        try:
            wait_for(fetch, min(requests(), len(paths)))
        finally:
            left.clear()
        return fetched

    def _fetch(self, path: str) -> "_Whole | None":
        """Read an object; None if it is too large to be kept, or empty."""
        try:
            meta, data = self.get(path, 0, _WHOLE_BYTES, None)
        except OutOfRangeError:
            return None
        return _Whole(meta, data) if len(data) == meta["size"] else None


class _Part(NamedTuple):
    """A part of a listing: its prefix, the key it begins behind, and what has been found."""

    prefix: str
    offset: str | None
    groups: "queue.Queue[list[Entry] | BaseException | None]"


@dataclass(frozen=True, slots=True)
class _Fetched(Store):
    """A bucket, some objects of which have been read."""

    address: str
    bucket: Bucket
    objects: "dict[str, _Whole | Exception | None]"

    is_versioned = True

    def missing(self) -> str:
        return self.bucket.missing()

    def list_files(self, left_out: LeftOut) -> Iterator[list[Entry]]:
        yield from self.bucket.list_files(left_out)

    @contextmanager
    def open(self, path: str) -> Iterator[File]:
        found = self.objects.pop(path, None)
        if isinstance(found, Exception):
            raise found
        if found:
            yield found
        else:
            with self.bucket.open(path) as file:
                yield file

    def read_small(self, paths: Sequence[str]) -> tuple[Read, list[int]]:
        """Return the plain ones, in the order of the paths; `open` has the others."""
        reading = Reading()
        places = []
        for place, path in enumerate(paths):
            found = self.objects[path]
            if not isinstance(found, _Whole) or path.endswith(PACKED) or not is_text(found.data):
                continue
            reading.add(path, (found.size, found.modified_ns, found.data))
            places.append(place)
            del self.objects[path]
        return reading.take(), places


class _Whole(File):
    """An object read whole."""

    def __init__(self, meta: "ObjectMeta", data: bytes) -> None:
        self.size = len(data)
        self.modified_ns = _mark(meta)
        self.data = data

    def read(self, start: int, stop: int) -> bytes:
        return self.data[start:stop]

    @contextmanager
    def stream(self, start: int = 0) -> Iterator[BinaryIO]:
        stream = io.BytesIO(self.data)
        stream.seek(start)
        yield stream


class _Object(File):
    """An object read by ranges, all from the version that was opened."""

    def __init__(self, bucket: Bucket, path: str, meta: "ObjectMeta") -> None:
        self.size = meta["size"]
        self.modified_ns = _mark(meta)
        self._bucket, self._path, self._etag = bucket, path, meta["e_tag"]

    def read(self, start: int, stop: int) -> bytes:
        stop = min(stop, self.size)
        if start >= stop:
            return b""
        read = partial(self._bucket.get, self._path, start, stop, self._etag)
        ((_, data),) = wait_for(read)
        return data

    @contextmanager
    def stream(self, start: int = 0) -> Iterator[BinaryIO]:
        with io.BufferedReader(_Ranges(self, start), _RANGE_BYTES) as stream:
            yield stream


class _Ranges(io.RawIOBase):
    """A stream of an object's bytes, a request for each read.

    A response that stayed open while its bytes are parsed would be closed by the service.
    """

    def __init__(self, file: _Object, start: int) -> None:
        self._file, self._position = file, start

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._file.size}
        self._position = max(0, base[whence] + offset)
        return self._position

    def readinto(self, buffer: "WriteableBuffer") -> int:
        into = memoryview(buffer)
        data = self._file.read(self._position, self._position + len(into))
        into[: len(data)] = data
        self._position += len(data)
        return len(data)


def _hidden_folder(path: str) -> str:
    """Return the hidden folder that a path leads through, with a slash behind; empty if none."""
    if "/." not in path and "/_" not in path and path[0] not in "._":
        return ""
    above = path.split("/")[:-1]
    hidden = [number for number, name in enumerate(above) if name.startswith((".", "_"))]
    return "/".join(above[: hidden[0] + 1]) + "/" if hidden else ""


def _mark(meta: "ObjectMeta") -> int:
    """Return 64 bits that identify the version of an object: a digest of its ETag.

    Services quote ETags in some responses only. Without an ETag the time of change, in whole
    seconds, is used.
    """
    etag = (meta["e_tag"] or "").removeprefix("W/").strip('"') or str(meta["last_modified"])
    return int.from_bytes(sha256(etag.encode()).digest()[:8], signed=True)


def _take(groups: "queue.Queue[Answer]") -> Answer:
    """Take a value from a queue; a thread that waited without end might not see Ctrl-C."""
    while True:
        with suppress(queue.Empty):
            return groups.get(timeout=CHECK_SECONDS)


def _put(groups: "queue.Queue[Any]", some: object, stops: threading.Event) -> bool:
    """Put a value into a queue when there is room; return False if the listing was abandoned."""
    while not stops.is_set():
        try:
            groups.put(some, timeout=CHECK_SECONDS)
        except queue.Full:
            continue
        return True
    return False

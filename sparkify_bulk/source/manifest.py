"""Which files are input: those to read, cut into batches, and what becomes of the others."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice

from sparkify_bulk.errors import UsageError
from sparkify_bulk.settings import Settings
from sparkify_bulk.source.batches import BATCH_FILES, KINDS, Batch, Kind, cut_batches
from sparkify_bulk.source.input import EXPECTED_FOLDERS
from sparkify_bulk.source.listing import Entry, LeftOut, Listing, Read, escape
from sparkify_bulk.source.names import ledger_names
from sparkify_bulk.source.store import Store
from sparkify_bulk.source.stores import open_store


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
        store: where they are.
        files, size: how many files there are to read, and their bytes.
        new, changed: how many of them the ledger hasn't, and has otherwise.
        same: how many files are as the ledger has them, and aren't read.
        left_out: what the tree holds that isn't input; complete once all is listed.
        vanished: names of files that the ledger has and the tree no longer.
        listing: lists the rest of the batches.
        ahead: those listed before they were asked for.
    """

    kind: Kind
    store: Store
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
    def root(self) -> str:
        """The address of the tree."""
        return self.store.address

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


@contextmanager
def begin_listing(settings: Settings, *, read: bool) -> Iterator[dict[Kind, Listing]]:
    """Begin to list the input, while others still get ready to load what is in it.

    Args:
        settings: name it.
        read: read songs, too: they are many and small, and all of them are wanted.
    """
    readers = {"songs": settings.jobs if read else 0, "events": 0}
    listings: dict[Kind, Listing] = {}
    try:
        for kind, store in input_stores(settings).items():
            listings[kind] = store.begin(readers=readers[kind])
        yield listings
    finally:
        for listing in listings.values():
            listing.close()


def input_stores(settings: Settings) -> dict[Kind, Store]:
    """Return where the input of each kind is that a run reads."""
    named = zip(KINDS, (settings.songs, settings.logs), strict=True)
    return {
        kind: open_store(address, follow_links=settings.follow_links)
        for kind, address in named
        if address
    }


def make_manifest(
    kind: Kind,
    store: Store,
    *,
    known: Iterable[Known] = (),
    is_same: Callable[[str, Known], bool] | None = None,
    batch_bytes: int | None = None,
    listing: Listing | None = None,
) -> Manifest:
    """List the files of a tree, leave out those already loaded, and cut the rest into batches.

    The order is that of the files' names by bytes; neither the file system nor the number of
    workers has a say in it. Files listed by several at once come as they are found, but those of a
    batch stand together in that order.

    Args:
        kind: what the records are.
        store: the tree.
        known: what the ledger has, in the order of the names' bytes.
        is_same: looks closer at a file whose size and time of change are as the ledger has them.
        batch_bytes: what a batch holds, about.
        listing: one of the tree that is under way; it reads no files, if any are known.

    Raises:
        UsageError: there is no such tree, or it can't be read; what lies deeper is found out when
            it is listed.
    """
    if missing := store.missing():
        raise UsageError(missing, hint=EXPECTED_FOLDERS)
    manifest = Manifest(kind, store)
    left_out = manifest.left_out
    found = listing.found(left_out) if listing else store.list_files(left_out)
    wanted = _wanted(manifest, _named_errors(found), known, is_same)
    manifest.listing = cut_batches(kind, store, wanted, batch_bytes)
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

"""What a store of input files can do: the one interface to where the bytes come from.

A new kind of store is one module beside this one with a subclass of `Store`, and a line in
`stores.py` that names it. Nothing else knows what kind there is.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import BinaryIO

from sparkify_bulk.source.formats import UnreadableError
from sparkify_bulk.source.listing import Entry, LeftOut, Listing, Read

# Called again and again while a store waits for an answer; an exception of it ends the wait.
check_wait: ContextVar[Callable[[], None]] = ContextVar("check_wait", default=lambda: None)


class File(ABC):
    """An input file that is open, to be closed by whoever opened it.

    Attributes:
        size: its bytes when it was opened.
        modified_ns: when it was changed last, in nanoseconds since 1970; or any other number of 64
            bits that is another one once the file is another.
    """

    size: int
    modified_ns: int

    @abstractmethod
    def read(self, start: int, stop: int) -> bytes:
        """Return a range of its bytes, or as much of it as there is."""

    @abstractmethod
    def stream(self, start: int = 0) -> AbstractContextManager[BinaryIO]:
        """Open a stream of its bytes, which can seek, from there on."""

    def has_grown(self) -> bool:
        """Tell whether it is longer now than when it was opened, as somebody is writing it."""
        return False


class Store(ABC):
    """A tree of input files; a small value that can be sent to workers elsewhere.

    Paths are relative to the tree, their parts joined by `/`.

    Attributes:
        address: of the tree, as a user names it.
        is_versioned: a file is replaced as a whole, so that the parts of one belong together only
            if they have the same `modified_ns`; elsewhere a log may grow while it is read.
        tells_rights: `may_read` asks nobody, and may be asked of every file.
    """

    address: str
    is_versioned = False
    tells_rights = True

    @property
    def identity(self) -> str:
        """The address that the ledger knows the tree by, however a user has named it."""
        return self.address

    @abstractmethod
    def missing(self) -> str:
        """Say why there is no such tree, in a sentence that names it; empty if there is one."""

    @abstractmethod
    def list_files(self, left_out: LeftOut) -> Iterator[list[Entry]]:
        """Yield every input file, many at a time, in the order of their escaped names' bytes.

        Args:
            left_out: counts what is no input.

        Raises:
            OSError: a folder can't be read; `filename` names it.
        """

    @abstractmethod
    def open(self, path: str) -> AbstractContextManager[File]:
        """Open a file.

        Raises:
            OSError: it can't be opened.
            UnreadableError: it is no file.
        """

    # What a store may do better, but need not.

    def begin(self, *, readers: int) -> Listing:
        """Begin to list.

        Args:
            readers: how many processes may read small files, too; 0 for none.
        """
        del readers
        return _AsAsked(self)

    def read_small(self, paths: Sequence[str]) -> tuple[Read, list[int]] | None:
        """Read those of some files that are small and plain, all at once.

        Returns: them and their places among the paths; None where each is as well read by itself.
        """
        del paths
        return None

    @contextmanager
    def ahead(self, paths: Sequence[str]) -> Iterator["Store"]:
        """Return a store to read some files from, in any order, which may read several at once."""
        del paths
        yield self

    def may_read(self, path: str) -> bool:
        """Tell whether a file can be opened."""
        try:
            with self.open(path) as file:
                file.read(0, 1)
        except (OSError, UnreadableError):
            return False
        return True


class _AsAsked(Listing):
    """Lists when somebody asks."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def found(self, left_out: LeftOut) -> Iterator[Read | list[Entry]]:
        yield from self._store.list_files(left_out)

    def close(self) -> None:
        pass

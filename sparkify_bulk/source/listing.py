"""What a listing of input files gives: files found, small ones read, and what was left out.

Whatever lists them: only the standard library may be imported here, as processes do that begin
before anything else is loaded.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from array import array

# What an input file's name ends in, in any case. What a file is its first bytes tell.
PACKED = (".gz", ".zst")
SUFFIXES = tuple(
    ending + packing for ending in (".json", ".jsonl", ".ndjson") for packing in ("", *PACKED)
)
# What desktops, editors, version control and Spark put beside files: counted, but not warned of.
_COMMON_FOLDERS = (".git", ".svn", ".ipynb_checkpoints", ".snapshot", "__MACOSX")
_COMMON_FILES = ("_SUCCESS", "Thumbs.db", "desktop.ini", "README", "LICENSE", "SHA256SUMS")
_COMMON_SUFFIXES = (".md", ".txt", ".crc", ".md5", ".sha256")
# What 64 bits hold: some file systems keep times far beyond it.
_LARGEST = 2**63 - 1
# How many files are listed, or read, before they are handed on.
FILES = 8192


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


class Listing(ABC):
    """A listing that is under way, perhaps ahead of whoever is going to ask for it."""

    @abstractmethod
    def found(self, left_out: LeftOut) -> Iterator[Read | list[Entry]]:
        """Yield files, many at a time, once; those that come together stand together by name.

        Args:
            left_out: counts what is no input.

        Raises:
            OSError: a folder can't be read; `filename` names it.
        """

    @abstractmethod
    def close(self) -> None:
        """End it, whether or not all was asked for."""


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

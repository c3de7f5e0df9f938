"""Read many small files at once, in a process of its own.

Threads of one interpreter that open a hundred thousand files wait for each other at every system
call, and take twice the processor time of one thread alone. A process beside takes half the time.
It is this file, run as a script: it must not import anything but the standard library.
"""

import contextlib
import gc
import logging
import os
import pickle
import subprocess
import sys
from hashlib import sha256
from typing import IO, NamedTuple

logger = logging.getLogger("sparkify_bulk")

# Fewer files than this are read before a process has started; and of larger ones the bytes are what
# takes time, which would have to come through a pipe.
_WORTH_A_PROCESS = 256
_MEAN_BYTES = 2**14
_UNREAD = -1


class Read(NamedTuple):
    """What was read of some files.

    Attributes:
        data: the files' bytes, a newline between each two.
        lengths: bytes of each file; -1 for one that couldn't be read, or has another length than it
            had when it was listed: somebody must look at it, and nothing of it is in `data`.
        digests: SHA-256 of each file; empty for one that wasn't read.
        one_line_each: every file that was read is one line that begins with `{`.
    """

    data: bytes
    lengths: list[int]
    digests: list[bytes]
    one_line_each: bool


def read_files(root: str, paths: list[str], sizes: list[int], flags: int) -> Read:
    """Read small files whole: three system calls each.

    Args:
        root: the folder that paths are relative to.
        paths: the files.
        sizes: their bytes when they were listed.
        flags: for `os.open`.
    """
    found: list[bytes] = []
    lengths: list[int] = []
    digests: list[bytes] = []
    one_line_each = True
    for path, size in zip(paths, sizes, strict=True):
        data = _read(f"{root}/{path}", size, flags)
        if data is None:
            lengths.append(_UNREAD)
            digests.append(b"")
            continue
        found.append(data)
        lengths.append(size)
        digests.append(sha256(data).digest())
        if data[:1] != b"{" or data.find(b"\n", 0, -1) >= 0:
            one_line_each = False
    return Read(b"\n".join(found), lengths, digests, one_line_each)


def _read(path: str, size: int, flags: int) -> bytes | None:
    try:
        descriptor = os.open(path, flags)
        try:
            data = os.read(descriptor, size + 1)
        finally:
            os.close(descriptor)
    except OSError:
        return None
    return data if len(data) == size else None


class Reader:
    """Reads files in a process beside, which is started when there is enough for it to do."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._process: subprocess.Popen[bytes] | None = None
        self._is_broken = False

    def read(self, root: str, paths: list[str], sizes: list[int], flags: int) -> Read:
        """Do what `read_files` does; where there is no process to be had, do it here."""
        many = len(paths) >= _WORTH_A_PROCESS and sum(sizes) < _MEAN_BYTES * len(paths)
        if many and not self._is_broken:
            try:
                return self._ask((root, paths, sizes, flags))
            except (OSError, EOFError, pickle.UnpicklingError) as error:
                logger.debug("No process reads files beside this one: %s", error)
                self._is_broken = True
        return read_files(root, paths, sizes, flags)

    def _ask(self, request: tuple[str, list[str], list[int], int]) -> Read:
        if self._process is None:
            self._process = subprocess.Popen(  # noqa: S603 - our own file
                [sys.executable, "-I", "-S", __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                # Ctrl-C ends this process, and with it what the other reads.
                start_new_session=True,
            )
        asked, answered = self._process.stdin, self._process.stdout
        if asked is None or answered is None:  # only to be sure: both are pipes
            raise EOFError
        pickle.dump(request, asked, pickle.HIGHEST_PROTOCOL)
        asked.flush()
        return Read(*pickle.load(answered))  # noqa: S301 - it comes from our own process

    def close(self) -> None:
        """End the process: what it is asked has ended."""
        if self._process is not None:
            with contextlib.suppress(OSError):
                self._process.communicate()
            self._process = None


def _serve(asked: IO[bytes], answered: IO[bytes]) -> None:
    gc.disable()  # there are no cycles to be found among bytes
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            read = read_files(*pickle.load(asked))  # noqa: S301 - our own process asks
            pickle.dump(tuple(read), answered, pickle.HIGHEST_PROTOCOL)
            answered.flush()


if __name__ == "__main__":
    _serve(sys.stdin.buffer, sys.stdout.buffer)

"""List a local folder, and read the small files in it, in processes beside this one.

They begin before this one has loaded its libraries, and hold nobody up. For that they import the
standard library alone, and of this package only the modules that list and read.
"""

import contextlib
import gc
import os
import pickle
import queue
import selectors
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import IO, Any, cast

from sparkify_bulk.source.folder_read import list_files
from sparkify_bulk.source.folder_walk import EVERYTHING, Span, cut
from sparkify_bulk.source.listing import Entry, LeftOut, Listing, Read

_PIPE_BYTES = 2**20
# How many answers a process reads ahead.
_AHEAD = 4
_HERE = os.path.dirname(__file__)
_PACKAGES = {"sparkify_bulk": os.path.dirname(_HERE), "sparkify_bulk.source": _HERE}
# The packages without what their `__init__` loads, which isn't needed.
_SCRIPT = f"""
import sys, types
for name, folder in {_PACKAGES!r}.items():
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [folder]
from sparkify_bulk.source.folder_processes import answer
answer()
"""


class Beside(Listing):
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
        # Plain tuples: to name the class of each would take longer.
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
    return subprocess.Popen(  # noqa: S603 - our own module
        [*python, "-c", _SCRIPT, root, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=_PIPE_BYTES,
        pipesize=_PIPE_BYTES,
        # Ctrl-C reaches this process alone, which then ends the other.
        start_new_session=True,
    )


def answer() -> None:
    """List, and perhaps read, what the arguments name; write it to stdout."""
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

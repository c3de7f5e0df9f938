"""Run the command line, but halt at a named point until told to go on.

    FAULT_POINT=NAME FAULT_SAY=FD FAULT_HEAR=FD python fault_child.py COMMAND…

Says `reached` on one file descriptor, and halts until it hears a byte on the other; says `signal`
for every signal that it takes. What halts is the thread that got there, as a slow machine would.
The program itself knows nothing of points: its functions are wrapped here.
"""

import importlib
import os
import resource
import select
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from typing import Any


@dataclass(frozen=True)
class Point:
    """A place in the story of a run: before or after a call of a function.

    Attributes:
        commands: those whose run comes there.
        module: where the function is looked up.
        name: the function, or class and method.
        before: halt before the call rather than after it.
        only: tells by the call's arguments whether it is the one.
        published: the run has published, or may have.
    """

    commands: tuple[str, ...]
    module: str
    name: str
    before: bool = False
    only: Callable[..., bool] = lambda *_args, **_options: True
    published: bool = False


BOTH = ("reload", "load")
# About what a batch of real files takes.
_BATCH_BYTES = 2**26


def _of(word: str) -> Callable[..., bool]:
    """Tell whether a call has a word among its arguments."""
    return lambda *args, **_options: word in args


def _is_event_frame(frame: Any) -> bool:
    return "session_id" in frame.columns


def _is_of(table: str) -> Callable[..., bool]:
    """Tell whether a method's table is the one."""
    return lambda fill, *_args: fill.name == table


# In the order in which a run comes to them. `encode` is a generator: the numbers are its
# blocks, cut in halves: the header, half the rows.
POINTS = {
    "start": Point(BOTH, "run", "find_server", before=True),
    "lock taken": Point(BOTH, "run", "_take_lock"),
    "run on record": Point(BOTH, "run", "_put_on_record"),
    "left-overs cleared": Point(BOTH, "run", "clear"),
    "files listed": Point(BOTH, "pipeline", "_list_kinds"),
    "staging made": Point(BOTH, "loading.collect", "make_staging"),
    "new tables made": Point(("reload",), "loading.rebuild", "_make_tables"),
    "songs read": Point(BOTH, "loading.batches", "stage_songs", before=True),
    "songs staged": Point(BOTH, "loading.collect", "stage_batch"),
    "plays read": Point(("reload",), "loading.batches", "songplays_frame", before=True),
    "events read": Point(("load",), "loading.batches", "stage_events", before=True),
    "first byte of COPY": Point(BOTH, "loading.copy", "encode:1", only=_is_event_frame),
    "mid-COPY": Point(BOTH, "loading.copy", "encode:2", only=_is_event_frame),
    "COPY ended": Point(BOTH, "loading.copy", "send", only=lambda *a, **_: _is_event_frame(a[2])),
    "events staged": Point(
        BOTH, "loading.collect", "stage_batch", only=lambda *a: a[1].kind == "events"
    ),
    "plays committed": Point(("reload",), "loading.fill", "Fill.commit"),
    "artists filled": Point(("reload",), "loading.merge", "fill", only=_of("artists")),
    "songs filled": Point(("reload",), "loading.merge", "fill", only=_of("songs")),
    "repeated plays removed": Point(("reload",), "loading.rebuild", "_remove_repeated"),
    "moments sent": Point(("reload",), "loading.fill", "Fill.copy", only=_is_of("time")),
    "users merged": Point(BOTH, "loading.merge", "run_merge", only=_of("users")),
    "index built": Point(("reload",), "loading.rebuild", "_build_index"),
    "references checked": Point(("reload",), "loading.rebuild", "_refer_to_time"),
    "files complete": Point(("reload",), "loading.rebuild", "_finish_files"),
    "artists merged": Point(("load",), "loading.merge", "run_merge", only=_of("artists")),
    "songs merged": Point(("load",), "loading.merge", "run_merge", only=_of("songs")),
    "time merged": Point(("load",), "loading.merge", "run_merge", only=_of("time")),
    "songplays merged": Point(("load",), "loading.merge", "run_merge", only=_of("songplays")),
    "claims merged": Point(("load",), "loading.merge", "run_merge", only=_of("claims")),
    "files kept": Point(("load",), "ledger", "keep_files"),
    "rejects kept": Point(BOTH, "ledger", "keep_rejects"),
    "run completed": Point(BOTH, "ledger", "complete_run"),
    "switched": Point(("reload",), "pipeline", "_switch"),
    "before COMMIT": Point(BOTH, "pipeline", "commit", before=True),
    "COMMIT answered": Point(BOTH, "pipeline", "commit", published=True),
    "before clean-up": Point(BOTH, "run", "_tidy", before=True, published=True),
    "cleaned up": Point(BOTH, "run", "_tidy", published=True),
}


class Gate:
    """Where the run halts, once."""

    def __init__(self, say: int, hear: int) -> None:
        """Take the file descriptors."""
        self._say, self._hear = say, hear
        self._lock = threading.Lock()
        self._shut = True

    def say(self, word: str) -> None:
        """Tell the test something."""
        os.write(self._say, f"{word}\n".encode())

    def halt(self) -> None:
        """Halt until told to go on; only the first time."""
        with self._lock:
            shut, self._shut = self._shut, False
        if shut:
            self.say("reached")
            # A signal always ends this wait; reading goes on where a library has asked for that.
            select.select([self._hear], [], [])
            os.read(self._hear, 1)
            # Where the test has taken memory away, ask for some: these files are so small that a
            # run may have all it takes by now.
            if resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
                bytearray(_BATCH_BYTES)


def _halves(blocks: Iterator[memoryview]) -> Iterator[memoryview]:
    """Yield the header, and the two halves of each block after it."""
    yield next(blocks)
    for block in blocks:
        middle = len(block) // 2
        yield block[:middle]
        yield block[middle:]


def wrap(point: Point, gate: Gate) -> None:
    """Let calls of the point's function halt at the gate."""
    name, _, block = point.name.partition(":")
    owner: Any = importlib.import_module(f"sparkify_bulk.{point.module}")
    *path, attribute = name.split(".")
    for part in path:
        owner = getattr(owner, part)
    function = getattr(owner, attribute)

    @wraps(function)
    def halting(*args: Any, **options: Any) -> Any:
        chosen = point.only(*args, **options)
        if chosen and point.before:
            gate.halt()
        result = function(*args, **options)
        if chosen and not point.before:
            gate.halt()
        return result

    @wraps(function)
    def halting_blocks(frame: Any) -> Iterator[Any]:
        for number, piece in enumerate(_halves(function(frame))):
            if number == int(block) and point.only(frame):
                gate.halt()
            yield piece

    setattr(owner, attribute, halting_blocks if block else halting)


def main() -> None:
    """Wrap the point's function, then run the command line."""
    from sparkify_bulk import cli  # noqa: PLC0415 - the test reads POINTS without it

    gate = Gate(int(os.environ["FAULT_SAY"]), int(os.environ["FAULT_HEAR"]))
    take_signal = cli._on_signal  # noqa: SLF001

    def tell(number: int, frame: Any) -> None:
        gate.say("signal")
        take_signal(number, frame)

    cli._on_signal = tell  # type: ignore[assignment]  # noqa: SLF001
    if os.environ["FAULT_POINT"]:
        wrap(POINTS[os.environ["FAULT_POINT"]], gate)
    cli.main()


if __name__ == "__main__":
    main()

"""Lanes: workers side by side, each with a connection of its own. Sole owner of threads."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from typing import Concatenate, NamedTuple, ParamSpec, TypeVar

import psycopg

from sparkify_bulk.database.connection import Connection, backend_seconds, connect

_CANCEL_SECONDS = 3
# A waiting thread looks for signals so often.
_WAKE_SECONDS = 0.25

A = TypeVar("A")
P = ParamSpec("P")
T = TypeVar("T")


class StoppedError(Exception):
    """A task ended before its time, as nobody waits for its result any more."""


class Lane(NamedTuple):
    """What one worker works in: its number, from 0, and its connection, in autocommit.

    `stopping` is set once its tasks must end.
    """

    number: int
    connection: Connection
    stopping: threading.Event | None = None

    def check(self) -> None:
        """Raise if the task must end; to be called from time to time by one that takes long.

        Raises:
            StoppedError: it must.
        """
        if self.stopping and self.stopping.is_set():
            raise StoppedError


@dataclass(slots=True)
class Step:
    """A task with a name, to run after the steps named; and what it took, once it has run.

    Attributes:
        name: the step.
        task: what to do.
        after: the steps that must have ended before.
        began: when it began, by the monotonic clock.
        seconds: wall seconds.
        client_cpu_seconds: processor time of its thread.
        server_cpu_seconds: processor time of its lane's backend; None where it can't be known.
    """

    name: str
    task: Callable[[Lane], object]
    after: tuple[str, ...] = ()
    began: float = 0.0
    seconds: float = 0.0
    client_cpu_seconds: float = 0.0
    server_cpu_seconds: float | None = None

    def run(self, lane: Lane) -> None:
        """Run the task."""
        server = backend_seconds([lane.connection])
        self.began, client = time.monotonic(), time.thread_time()
        self.task(lane)
        self.seconds = time.monotonic() - self.began
        self.client_cpu_seconds = time.thread_time() - client
        spent = backend_seconds([lane.connection])
        self.server_cpu_seconds = None if server is None or spent is None else spent - server


class Lanes:
    """As many workers as there are lanes; each task has a lane to itself while it runs."""

    def __init__(self, connections: list[Connection]) -> None:
        """Make a lane of each connection."""
        self.connections = connections
        self._pool = ThreadPoolExecutor(len(connections), thread_name_prefix="worker")
        self._free: queue.SimpleQueue[Lane] = queue.SimpleQueue()
        self._begun: list[Future[object]] = []
        self._others: list[Connection] = []
        self._stopping = threading.Event()
        for number, connection in enumerate(connections):
            self._free.put(Lane(number, connection, self._stopping))

    def submit(
        self, task: Callable[Concatenate[Lane, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """Run a task in the next free lane."""
        return self._pool.submit(self._run, lambda lane: task(lane, *args, **kwargs))

    def begin(
        self, task: Callable[Concatenate[Lane, P], object], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Run a task in the next free lane, whose end `join` waits for."""
        self._begun.append(self.submit(task, *args, **kwargs))

    def join(self) -> None:
        """Wait for all tasks begun; raise the first error among theirs."""
        while self._begun:
            _wait(self._begun[:1])
            self._begun.pop(0).result()

    def each(
        self,
        task: Callable[Concatenate[Lane, A, P], T],
        items: Iterable[A],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Iterator[T]:
        """Run a task for each item; yield the results as they come.

        Items are taken as lanes need them, and results are let go: there may be many of both.
        """
        items = iter(items)
        pending: set[Future[T]] = set()
        while True:
            for item in islice(items, 2 * len(self.connections) - len(pending)):
                pending.add(self.submit(task, item, *args, **kwargs))
            if not pending:
                return
            done, pending = _wait(pending)
            while done:
                yield done.pop().result()

    def run(self, *steps: Step) -> Iterator[Step]:
        """Run steps side by side, each after those it names; yield them as they end.

        Of those that may begin, the first ones begin first.
        """
        waiting = list(steps)
        running: dict[Future[None], Step] = {}
        ended: set[str] = set()
        while waiting or running:
            for step in [step for step in waiting if ended.issuperset(step.after)]:
                if len(running) < len(self.connections):
                    waiting.remove(step)
                    running[self.submit(step.run)] = step
            done, _ = _wait(running)
            for future in done:
                future.result()
                step = running.pop(future)
                ended.add(step.name)
                yield step

    def _run(self, task: Callable[[Lane], T]) -> T:
        lane = self._free.get()
        try:
            return task(lane)
        finally:
            self._free.put(lane)

    def share(self, *connections: Connection) -> None:
        """Take note of connections that tasks of all lanes use: `stop` ends their work, too."""
        self._others += connections

    def stop(self) -> None:
        """Let no task begin any more; end those under way, and what the server does for them."""
        self._stopping.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        connections = (*self.connections, *self._others)
        # At once, as each takes the whole time where the server can't be reached.
        with ThreadPoolExecutor(len(connections)) as pool:
            pool.map(_cancel, connections)

    def close(self) -> None:
        """Wait for the workers to end."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def _wait(futures: Iterable[Future[T]]) -> tuple[set[Future[T]], set[Future[T]]]:
    """Wait until one has ended; return those that have, and the others.

    A signal is seen only by a thread that wakes: Polars has system calls restarted after Ctrl-C.
    """
    futures = set(futures)
    while True:
        done, others = wait(futures, _WAKE_SECONDS, FIRST_COMPLETED)
        if done:
            return done, others


def _cancel(connection: Connection) -> None:
    # Its server may be what failed.
    with contextlib.suppress(psycopg.Error):
        connection.cancel_safe(timeout=_CANCEL_SECONDS)


@contextlib.contextmanager
def open_lanes(dsn: str, number: int) -> Iterator[Lanes]:
    """Open lanes; whatever ends the block, no worker is left behind.

    Raises:
        DatabaseError: the server can't be reached or refused.
    """
    with contextlib.ExitStack() as stack:
        lanes = Lanes([stack.enter_context(connect(dsn)) for _ in range(number)])
        try:
            yield lanes
        except BaseException:
            lanes.stop()
            raise
        finally:
            lanes.close()

"""Workers side by side, each with a connection of its own.

The seam between what is to be done and where: nothing else of a run knows that workers are threads
of this process. What a batch needs, and what comes of it, can be pickled; what can't is shared by
workers only where `Workers.share_memory` says so.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from graphlib import TopologicalSorter
from itertools import islice
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

import psycopg

from sparkify_bulk.database.connection import Connection, backend_seconds, connect
from sparkify_bulk.source.store import check_wait

_CANCEL_SECONDS = 3
# A waiting thread looks for signals so often.
_WAKE_SECONDS = 0.25

A = TypeVar("A")
P = ParamSpec("P")
T = TypeVar("T")


class StoppedError(Exception):
    """A task ended before its time, as nobody waits for its result any more."""


class Worker(NamedTuple):
    """What a task works with: its worker's number, from 0, and connection, in autocommit.

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


@dataclass(frozen=True, slots=True)
class Step:
    """A task with a name, to run after the steps named.

    Attributes:
        name: the step.
        task: what to do.
        after: the steps that must have ended before.
        connection: what the task works over, if that isn't its worker's connection.
    """

    name: str
    task: Callable[[Worker], object]
    after: tuple[str, ...] = ()
    connection: Connection | None = None

    def run(self, worker: Worker) -> "Ended":
        """Run the task, and measure it."""
        used = [self.connection or worker.connection]
        server = backend_seconds(used)
        began, client = time.monotonic(), time.thread_time()
        result = self.task(worker)
        ended, spent = time.monotonic(), backend_seconds(used)
        return Ended(
            self.name,
            result,
            began,
            seconds=ended - began,
            client_cpu_seconds=time.thread_time() - client,
            server_cpu_seconds=None if server is None or spent is None else spent - server,
        )


class Ended(NamedTuple):
    """A step that has ended: what its task returned, and what it took.

    Attributes:
        name: the step.
        result: what the task returned.
        began: when it began, by the monotonic clock.
        seconds: wall seconds.
        client_cpu_seconds: processor time of its thread.
        server_cpu_seconds: processor time of its backend; None where it can't be known.
    """

    name: str
    result: object
    began: float
    seconds: float
    client_cpu_seconds: float
    server_cpu_seconds: float | None


class Workers:
    """Threads, as many as there are connections; each runs one task at a time.

    Attributes:
        connections: the workers' own.
        share_memory: tasks may be handed what this process holds: locks, connections, counters.
    """

    share_memory = True

    def __init__(self, connections: list[Connection]) -> None:
        """Make a worker of each connection."""
        self.connections = connections
        self._pool = ThreadPoolExecutor(len(connections), thread_name_prefix="worker")
        self._free: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        self._begun: list[Future[Any]] = []
        self._others: list[Connection] = []
        self._stopping = threading.Event()
        for number, connection in enumerate(connections):
            self._free.put(Worker(number, connection, self._stopping))

    def submit(
        self, task: Callable[Concatenate[Worker, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """Let the next free worker run a task."""
        return self._pool.submit(self._run, task, args, kwargs)

    def begin(
        self, task: Callable[Concatenate[Worker, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """Let the next free worker run a task, whose end `join` waits for."""
        future = self._pool.submit(self._run, task, args, kwargs)
        self._begun.append(future)
        return future

    def join(self) -> None:
        """Wait for all tasks begun; raise the first error among theirs."""
        while self._begun:
            _wait(self._begun[:1])
            self._begun.pop(0).result()

    def each(
        self,
        task: Callable[Concatenate[Worker, A, P], T],
        items: Iterable[A],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Iterator[T]:
        """Run a task for each item; yield the results as they come.

        Items are taken as workers need them, and results are let go: there may be many of both.
        """
        items = iter(items)
        pending: set[Future[T]] = set()
        while True:
            for item in islice(items, 2 * len(self.connections) - len(pending)):
                pending.add(self._pool.submit(self._run, task, (item, *args), kwargs))
            if not pending:
                return
            done, pending = _wait(pending)
            while done:
                yield done.pop().result()

    def run(self, *steps: Step) -> Iterator[Ended]:
        """Run steps side by side, each after those it names; yield them as they end.

        Of those that may begin, the first ones begin first.

        Raises:
            ValueError: a step waits for one that there isn't, or for itself: nothing was run.
        """
        order = _ordered(steps)
        waiting: list[Step] = []
        running: set[Future[Ended]] = set()
        while order.is_active():
            ready = order.get_ready()
            waiting = [step for step in steps if step in waiting or step.name in ready]
            while waiting and len(running) < len(self.connections):
                running.add(self._pool.submit(self._run, waiting.pop(0).run, (), {}))
            done, running = _wait(running)
            for future in done:
                ended = future.result()
                order.done(ended.name)
                yield ended

    def _run(
        self, task: Callable[..., T], args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> T:
        worker = self._free.get()
        check_wait.set(worker.check)
        try:
            return task(worker, *args, **kwargs)
        finally:
            self._free.put(worker)

    def share(self, *connections: Connection) -> None:
        """Take note of connections that tasks of all workers use: `stop` ends their work, too."""
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


def _ordered(steps: Sequence[Step]) -> TopologicalSorter[str]:
    """Return the order of steps.

    Raises:
        ValueError: a step waits for one that there isn't, or for itself.
    """
    names = [step.name for step in steps]
    for step in steps:
        if unknown := set(step.after).difference(names):
            raise ValueError(
                f"step {step.name!r} waits for unknown steps: {', '.join(sorted(unknown))}"
            )
    order = TopologicalSorter({step.name: step.after for step in steps})
    # A circle is an error here.
    order.prepare()
    return order


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
def open_workers(dsn: str, number: int) -> Iterator[Workers]:
    """Open workers; whatever ends the block, none is left behind.

    Raises:
        DatabaseError: the server can't be reached or refused.
    """
    with contextlib.ExitStack() as stack:
        workers = Workers([stack.enter_context(connect(dsn)) for _ in range(number)])
        try:
            yield workers
        except BaseException:
            workers.stop()
            raise
        finally:
            workers.close()

"""Lanes: workers side by side, each with a connection of its own. Sole owner of threads."""

import contextlib
import queue
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Concatenate, NamedTuple, ParamSpec, TypeVar

import psycopg

from sparkify_bulk.connection import Connection, connect

P = ParamSpec("P")
T = TypeVar("T")


class Lane(NamedTuple):
    """What one worker works in: its number, from 0, and its connection, in autocommit."""

    number: int
    connection: Connection


class Lanes:
    """As many workers as there are lanes; each task has a lane to itself while it runs."""

    def __init__(self, connections: list[Connection]) -> None:
        """Make a lane of each connection."""
        self.connections = connections
        self._pool = ThreadPoolExecutor(len(connections), thread_name_prefix="worker")
        self._free: queue.SimpleQueue[Lane] = queue.SimpleQueue()
        for number, connection in enumerate(connections):
            self._free.put(Lane(number, connection))

    def submit(
        self, task: Callable[Concatenate[Lane, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """Run a task in the next free lane."""
        return self._pool.submit(self._run, lambda lane: task(lane, *args, **kwargs))

    def run(self, *tasks: Callable[[Lane], object]) -> None:
        """Run tasks side by side, the first ones first, and wait for all of them."""
        for future in [self.submit(task) for task in tasks]:
            future.result()

    def _run(self, task: Callable[[Lane], T]) -> T:
        lane = self._free.get()
        try:
            return task(lane)
        finally:
            self._free.put(lane)

    def stop(self) -> None:
        """Let no task begin any more, and cancel what the server does for those under way."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for connection in self.connections:
            # Its server may be what failed.
            with contextlib.suppress(psycopg.Error):
                connection.cancel_safe(timeout=5)

    def close(self) -> None:
        """Wait for the workers to end."""
        self._pool.shutdown(wait=True, cancel_futures=True)


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

"""What every step of a run may know: a frozen context, and the phases that are recorded in it."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from sparkify_bulk.database.connection import Connection, backend_seconds
from sparkify_bulk.database.session import Session
from sparkify_bulk.loading.workers import Ended
from sparkify_bulk.report import InputReport, Phase, Report
from sparkify_bulk.settings import Schemas, Settings
from sparkify_bulk.source.batches import Kind


class Watch(Protocol):
    """A progress listener: told what begins, how far it is, and what has ended."""

    def begin(self, phase: str) -> None:
        """Tell that a phase begins."""

    def note(self, text: str) -> None:
        """Tell what takes long within the phase."""

    def expect(self, *, files: int, bytes_: int) -> None:
        """Tell how much there is to read in a phase, once that is known."""

    def advance(self, *, files: int, bytes_: int, records: int) -> None:
        """Tell that the phase got this much further."""

    def end(self, phase: Phase) -> None:
        """Tell that the phase has ended."""


class Unwatched:
    """A no-op progress listener."""

    def begin(self, phase: str) -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Do nothing."""

    def expect(self, *, files: int, bytes_: int) -> None:
        """Do nothing."""

    def advance(self, *, files: int, bytes_: int, records: int) -> None:
        """Do nothing."""

    def end(self, phase: Phase) -> None:
        """Do nothing."""


class Phases:
    """Records the phases of a run as they end: the only one who measures and tells of them.

    Attributes:
        watch: the progress listener.
        begun: when the run began, by the monotonic clock.
    """

    def __init__(self, watch: Watch, ended: list[Phase]) -> None:
        """Begin now; phases are added to a list as they end."""
        self.watch = watch
        self.begun = time.monotonic()
        self._ended = ended
        self._connections: list[Connection] = []

    @contextlib.contextmanager
    def counting(self, *connections: Connection) -> Iterator[None]:
        """Count the work of connections' backends in the phases that end in this block."""
        self._connections += connections
        try:
            yield
        finally:
            del self._connections[-len(connections) :]

    def add(self, name: str) -> None:
        """Record a phase that began with the run."""
        self._end(Phase(name, round(time.monotonic() - self.begun, 3)))

    @contextlib.contextmanager
    def phase(self, name: str, counts: InputReport | None = None) -> Iterator[list[Phase]]:
        """Record a phase, unless it fails.

        Args:
            name: the phase.
            counts: of what it reads.

        Yields:
            A list to fill with the steps that it consists of.
        """
        self.watch.begin(name)
        begun, client = time.monotonic(), time.process_time()
        server = backend_seconds(self._connections)
        steps: list[Phase] = []
        yield steps
        ended, spent = time.monotonic(), backend_seconds(self._connections)
        phase = Phase(
            name,
            seconds=round(ended - begun, 3),
            began=round(begun - self.begun, 3),
            client_cpu_seconds=round(time.process_time() - client, 3),
            server_cpu_seconds=_rounded_difference(server, spent),
            records=counts.records if counts else 0,
            bytes=counts.bytes if counts else 0,
            steps=tuple(steps),
        )
        self._end(phase)

    def step(self, ended: Ended) -> Phase:
        """Return what a step took, as the report has it."""
        return Phase(
            ended.name,
            seconds=round(ended.seconds, 3),
            began=round(ended.began - self.begun, 3),
            client_cpu_seconds=round(ended.client_cpu_seconds, 3),
            server_cpu_seconds=_rounded_difference(0.0, ended.server_cpu_seconds),
        )

    def _end(self, phase: Phase) -> None:
        self._ended.append(phase)
        self.watch.end(phase)


def _rounded_difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else round(after - before, 3)


@dataclass(frozen=True, slots=True)
class Run:
    """One execution under way, on record and with the star's lock.

    `control` works in autocommit; `publisher` holds the lock in a transaction that is open from
    begin to end, and publishes in that same transaction: who loses the lock can't publish.
    """

    settings: Settings
    schemas: Schemas
    run_id: int
    roots: Mapping[Kind, int]
    dsn: str
    control: Connection
    publisher: Session
    phases: Phases
    report: Report

    @property
    def mark(self) -> str:
        """The comment of the tables it makes beside the star."""
        return self.schemas.mark(f"run {self.run_id}")
